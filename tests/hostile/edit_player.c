/*
 * For test_edits.py: plays scripts of changes (edit_play.h) on messages. Reads from its standard
 * input, again and again: u32 length and bytes of a message, u32 length and bytes of a script
 * (little endian). Writes for each: a line "outcome refused n why", a line for each part of the
 * message as received ("depth container decoded second header_at header_len content_at content_len
 * type", offsets into the message as handed over, -1 when it is not in there), a line "message
 * header_bytes length", the message as handed over, a line "result length", the result.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"
#include "tests/unit/edit_play.h"
#include "worker/mime_impl.h"

static struct slice take(struct slice *memory)
{
    uint8_t size[4];
    if (fread(size, 1, sizeof(size), stdin) != sizeof(size))
        return slice_of(NULL, 0);
    const uint32_t len =
        size[0] | (uint32_t)size[1] << 8 | (uint32_t)size[2] << 16 | (uint32_t)size[3] << 24;
    char *bytes = xmalloc((size_t)len + 1);
    if (fread(bytes, 1, len, stdin) != len)
        abort();
    free((void *)(uintptr_t)memory->data);
    *memory = slice_of(bytes, len);
    return *memory;
}

static long place_of(struct slice message, struct slice s)
{
    const bool is_inside = s.data >= message.data && s.data + s.len <= message.data + message.len;
    return is_inside ? (long)(s.data - message.data) : -1;
}

static void print_parts(const struct edit_play *play)
{
    const struct slice message = buf_slice(&play->message);
    uint32_t n;
    const struct mime_part *const *parts = mime_parts(play->job.mime, &n);
    for (uint32_t i = 0; i < n; i++) {
        printf("%u %d %d %d %ld %zu %ld %zu ", parts[i]->depth, parts[i]->is_container,
            parts[i]->is_decoded, mime_node_of(play->job.mime, parts[i])->is_second,
            place_of(message, parts[i]->header), parts[i]->header.len,
            place_of(message, parts[i]->content), parts[i]->content.len);
        for (const char *c = parts[i]->type; *c != '\0'; c++)
            putchar(*c > ' ' && *c < 127 ? *c : '?');
        putchar('\n');
    }
}

static void print_all(const struct edit_play *play)
{
    static const char *const outcomes[] = {
        "unchanged", "changed", "refused-adds", "refused-removes"};
    uint32_t n;
    mime_parts(play->job.mime, &n);
    printf("%s %u %u %s\n", outcomes[play->outcome], play->n_refused, n, play->why);
    print_parts(play);
    printf("message %zu %zu\n", (size_t)play->job.request.header_bytes, play->message.len);
    fwrite(play->message.data, 1, play->message.len, stdout);
    printf("result %zu\n", play->result.len);
    if (play->result.len > 0)
        fwrite(play->result.data, 1, play->result.len, stdout);
    fflush(stdout);
}

int main(void)
{
    struct edit_play play;
    struct slice message = {0}, script = {0};
    edit_play_open(&play, NULL);
    while (take(&message).data != NULL && take(&script).data != NULL) {
        edit_play_message(&play, message);
        edit_play_script(&play, script);
        print_all(&play);
    }
    edit_play_close(&play);
    free((void *)(uintptr_t)message.data);
    free((void *)(uintptr_t)script.data);
    return 0;
}
