/*
 * A stranger's message and a script of changes (tests/unit/edit_play.h): never a crash; either
 * nothing is changed, or the result is made of the bytes of parts that nobody touched, in their
 * order, and of new ones. First byte: small limits or the usual ones; second: bytes of the script;
 * then the script, then the message.
 */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/edit_play.h"
#include "worker/mime_impl.h"

static void check(bool holds)
{
    if (!holds)
        abort();
}

static struct edit_play *player(bool is_small)
{
    static const char *const limits[] = {"worker.max_parts=5", "worker.max_depth=2",
        "worker.max_headers=10", "worker.max_header_line=1024", "worker.max_decoded=65536", NULL};
    static struct edit_play players[2];
    struct edit_play *play = &players[is_small];
    if (play->conf == NULL)
        edit_play_open(play, is_small ? limits : NULL);
    return play;
}

static bool overlap(struct slice a, struct slice b)
{
    return a.data < b.data + b.len && b.data < a.data + a.len;
}

static struct slice whole(const struct mime_part *part)
{
    const char *end = part->content.data + part->content.len;
    return slice_of(part->header.data, (size_t)(end - part->header.data));
}

static bool stands_within(const struct mime_part *part)
{
    const struct mime_part *above = part->parent;
    return !part->is_decoded && part->header.data != NULL &&
           part->header.data >= above->content.data &&
           part->header.data + part->header.len <= above->content.data + above->content.len;
}

/* The part whose bytes a change of this one is about: one around it, when it was found in decoded
 * content, or by a reading that has it elsewhere than within the part around it. */
static const struct mime_part *place_of(const struct mime_part *part)
{
    const struct mime_part *place = part;
    for (; part->parent != NULL; part = part->parent) {
        if (!stands_within(part))
            place = part->parent;
    }
    return place;
}

/* Whether a change of the script is about bytes of this part. */
static bool is_touched(
    const struct edit_play *play, struct slice script, const struct mime_part *part)
{
    uint32_t n;
    const struct mime_part *const *parts = mime_parts(play->job.mime, &n);
    for (size_t i = 0; i + 1 < script.len; i += 2) {
        const struct mime_part *of = place_of(parts[(uint8_t)script.data[i + 1] % n]);
        if ((uint8_t)script.data[i] % EDIT_PLAY_KINDS == EDIT_PLAY_ADD)
            continue;
        if (of == part || of->header.data == NULL || overlap(whole(of), whole(part)))
            return true;
    }
    return false;
}

static void check_untouched(const struct edit_play *play, struct slice script)
{
    uint32_t n;
    const struct mime_part *const *parts = mime_parts(play->job.mime, &n);
    const struct slice result = buf_slice(&play->result);
    for (uint32_t i = 0; i < n; i++) {
        const struct mime_part *part = parts[i];
        if (part->is_container || part->is_decoded || part->content.len == 0 ||
            mime_node_of(play->job.mime, part)->is_second || is_touched(play, script, part))
            continue;
        check(memmem(result.data, result.len, part->content.data, part->content.len) != NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 2 || len - 2 < data[1] % 16)
        return 0;
    const struct slice script = slice_of(data + 2, data[1] % 16);
    const struct slice message = slice_of(data + 2 + script.len, len - 2 - script.len);
    struct edit_play *play = player((data[0] & 1) != 0);
    edit_play_message(play, message);
    edit_play_script(play, script);
    if (play->outcome == EDIT_CHANGED)
        check_untouched(play, script);
    return 0;
}
