#include "tests/unit/edit_play.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MESSAGE_MAX = 64 << 20 };

static void must(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "does not hold: %s\n", what);
        abort();
    }
}

void edit_play_open(struct edit_play *play, const char *const *overrides)
{
    char *error = NULL;
    int n = 0;
    *play = (struct edit_play){0};
    while (overrides != NULL && overrides[n] != NULL)
        n++;
    mime_start();
    must(conf_load(NULL, overrides, n, &play->conf, &error) == 0, "the configuration");
    buf_init(&play->message, MESSAGE_MAX);
    buf_init(&play->result, MESSAGE_MAX);
}

static void close_job(struct edit_play *play)
{
    if (play->has_job)
        job_close(&play->job);
    play->has_job = false;
}

void edit_play_close(struct edit_play *play)
{
    close_job(play);
    buf_clear(&play->message);
    buf_clear(&play->result);
    conf_free(play->conf);
}

static void put(struct buf *out, const void *data, size_t len)
{
    must(len == 0 || buf_put(out, data, len) == 0, "room for the message");
}

void edit_play_message(struct edit_play *play, struct slice bytes)
{
    size_t body_at;
    const size_t header_bytes = header_block_length(bytes, &body_at);
    close_job(play);
    buf_reset(&play->message);
    buf_reset(&play->result);
    put(&play->message, bytes.data, header_bytes);
    if (header_bytes > 0 && bytes.data[header_bytes - 1] != '\n')
        put(&play->message, "\r\n", 2);
    const struct wire_request request = {.hook = HOOK_MESSAGE,
        .attempt = 1,
        .capabilities = MTA_CAN_ALL,
        .uid = slice_text("PLAY.1"),
        .header_bytes = play->message.len};
    put(&play->message, "\r\n", 2);
    put(&play->message, bytes.data + body_at, bytes.len - body_at);
    const struct slice message = buf_slice(&play->message);
    must(job_open(&play->job, play->conf, &request, slice_of(NULL, 0), message) == 0, "a job");
    play->has_job = true;
    play->job.mime = mime_new(message, job_headers(&play->job), play->conf, play->job.arena);
}

/* ---- changes ---- */

static const char *replace(
    struct edit_play *play, const struct mime_part *part, const char *type, struct slice body)
{
    const struct edit_entity entity = {.type = slice_text(type),
        .body = body,
        .filename = slice_text(type[0] == 't' ? "" : "new \xc3\xa4.bin")};
    return edit_replace(&play->job, part, &entity);
}

static const char *append_line(struct edit_play *play, const struct mime_part *part)
{
    static const char line[] = "\r\nNEW line appended\r\n";
    struct edit_now now;
    edit_part_now(&play->job, part, &now);
    if (now.is_gone || part->is_container ||
        (now.encoding[0] != '\0' && strchr("78", now.encoding[0]) == NULL))
        return "not this one";
    const size_t len = now.encoded.len + sizeof(line) - 1;
    char *bytes = malloc(len);
    must(bytes != NULL, "memory");
    if (now.encoded.len > 0)
        memcpy(bytes, now.encoded.data, now.encoded.len);
    memcpy(bytes + now.encoded.len, line, sizeof(line) - 1);
    const char *wrong =
        edit_set_encoded(&play->job, part, slice_of(bytes, len), NULL, NULL, EDIT_ADDS);
    free(bytes);
    return wrong;
}

static const char *add(struct edit_play *play, uint32_t position)
{
    const struct edit_entity entity = {.type = slice_text("text/plain"),
        .body = slice_text("NEW part added\n"),
        .position = position};
    return edit_add_part(&play->job, &entity);
}

/* One that cannot be encoded, with lines that could be boundaries. */
static const char *add_message(struct edit_play *play)
{
    const struct edit_entity entity = {.type = slice_text("message/rfc822"),
        .body = slice_text("Subject: added\nContent-Transfer-Encoding: 8bit\n\n"
                           "NEW \xc3\xa4\n--b\n--b--\n--\n")};
    return edit_add_part(&play->job, &entity);
}

static const char *change(
    struct edit_play *play, enum edit_play_kind kind, const struct mime_part *part)
{
    static const char binary[] = "NEW\0\xff\r\n--b\r\nbytes\n";
    const struct slice bytes = slice_of(binary, sizeof(binary) - 1);
    struct job *job = &play->job;
    switch (kind) {
    case EDIT_PLAY_DROP:
        return edit_drop(job, part, slice_of(NULL, 0));
    case EDIT_PLAY_WARN:
        return edit_drop(job, part, slice_text("NEW warning\n--b--\n\xc3\xa4"));
    case EDIT_PLAY_REPLACE_TEXT:
        return replace(play, part, "text/plain", slice_text("NEW text\n"));
    case EDIT_PLAY_REPLACE_BINARY:
        return replace(play, part, "application/x-new", bytes);
    case EDIT_PLAY_SET_TEXT:
        return edit_set_content(job, part, slice_text("NEW content\n"), EDIT_REMOVES);
    case EDIT_PLAY_SET_BINARY:
        return edit_set_content(job, part, bytes, EDIT_REMOVES);
    case EDIT_PLAY_SET_HEADER:
        return edit_set_header(job, part, slice_text("X-New"), slice_text("NEW \xc3\xa4"));
    case EDIT_PLAY_DEFANG:
        return edit_defang(job, part, slice_of(NULL, 0));
    case EDIT_PLAY_ADD:
        return add(play, 0);
    case EDIT_PLAY_APPEND:
        return append_line(play, part);
    case EDIT_PLAY_ADD_FIRST:
        return add(play, 1);
    case EDIT_PLAY_ADD_MESSAGE:
        return add_message(play);
    case EDIT_PLAY_KINDS:
        break;
    }
    abort();
}

void edit_play_script(struct edit_play *play, struct slice script)
{
    const uint8_t *bytes = (const uint8_t *)script.data;
    uint32_t n;
    const struct mime_part *const *parts = mime_parts(play->job.mime, &n);
    play->n_refused = 0;
    for (size_t i = 0; i + 1 < script.len; i += 2) {
        const char *wrong = change(
            play, (enum edit_play_kind)(bytes[i] % EDIT_PLAY_KINDS), parts[bytes[i + 1] % n]);
        play->n_refused += wrong != NULL;
    }
    play->why = "";
    play->outcome = edit_finish(&play->job, &play->why);
    must(job_render(&play->job, &play->result) == 0, "the result is not too large");
}
