/* posternctl trap show: all that is known of one, its header and its parts; or its bytes. */
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "common/header.h"
#include "common/log.h"
#include "ctl/render.h"
#include "ctl/trap.h"

enum { HEADER_SHOWN_MAX = 65536, PARTS_SHOWN_MAX = 100 };

static void say(const char *key, const char *text, const char *more)
{
    if (text[0] == 0 && more[0] == 0) {
        return;
    }
    printf("  %-10s ", key);
    render_escaped(stdout, slice_text(text));
    if (more[0] != 0) {
        printf("%s", text[0] != 0 ? " " : "");
        render_escaped(stdout, slice_text(more));
    }
    printf("\n");
}

static void say_time(const char *key, const json_t *object)
{
    char when[32];
    render_time(when, sizeof(when), render_number_of(object, "time_ms") / 1000);
    say(key, when, "");
}

static void say_envelope(const json_t *facts)
{
    const json_t *client = json_object_get(facts, "client");
    const char *sender = render_text_of(facts, "sender");
    size_t i;
    json_t *recipient;
    say("client", render_text_of(client, "ip"), render_text_of(client, "name"));
    say("helo", render_text_of(facts, "helo"), "");
    say("auth", render_text_of(facts, "auth"), "");
    say("from", sender[0] != 0 ? sender : "<>", render_text_of(facts, "sender_args"));
    json_array_foreach(json_object_get(facts, "recipients"), i, recipient)
    {
        say("to", render_text_of(recipient, "address"), render_text_of(recipient, "args"));
    }
}

static void say_parts(const json_t *facts)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(facts, "parts"), i, item)
    {
        if (i == PARTS_SHOWN_MAX) {
            printf("  %-10s and %zu more\n", "part",
                json_array_size(json_object_get(facts, "parts")) - i);
            break;
        }
        printf("  %-10s ", "part");
        render_escaped(stdout, slice_text(render_text_of(item, "path")));
        printf(" ");
        render_escaped(stdout, slice_text(render_text_of(item, "type")));
        printf(", %lld bytes ", (long long)render_number_of(item, "size"));
        render_escaped(stdout, slice_text(render_text_of(item, "filename")));
        printf("\n");
    }
    json_array_foreach(json_object_get(facts, "defects"), i, item)
    {
        if (i < PARTS_SHOWN_MAX) {
            say("defect", render_text_of(item, "kind"), render_text_of(item, "detail"));
        }
    }
}

static void say_decisions(const json_t *facts)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(facts, "deliveries"), i, item)
    {
        char when[32];
        render_time(when, sizeof(when), render_number_of(item, "time_ms") / 1000);
        printf("  %-10s ", "delivery");
        render_escaped(stdout, slice_text(render_text_of(item, "address")));
        printf(" %s ", when);
        render_escaped(stdout, slice_text(render_text_of(item, "state")));
        printf(" ");
        render_escaped(stdout, slice_text(render_text_of(item, "text")));
        printf("\n");
    }
    json_array_foreach(json_object_get(facts, "history"), i, item)
    {
        char when[32];
        render_time(when, sizeof(when), render_number_of(item, "time_ms") / 1000);
        printf("  %-10s %s ", "history", when);
        render_escaped(stdout, slice_text(render_text_of(item, "what")));
        printf(" by ");
        render_escaped(stdout, slice_text(render_text_of(item, "who")));
        printf("\n");
    }
}

static void say_header(struct slice header)
{
    printf("\n");
    while (header.len > 0) {
        const char *end = memchr(header.data, '\n', header.len);
        size_t len = end != NULL ? (size_t)(end - header.data) : header.len;
        size_t shown = len > 0 && header.data[len - 1] == '\r' ? len - 1 : len;
        printf("  ");
        render_escaped(stdout, slice_of(header.data, shown));
        printf("\n");
        len += end != NULL ? 1 : 0;
        header = slice_of(header.data + len, header.len - len);
    }
}

static void say_all(const char *id, const json_t *facts, struct slice header)
{
    const json_t *reply = json_object_get(facts, "reply");
    printf("%s\n", id);
    say_time("when", facts);
    say("what", render_text_of(facts, "kind"), render_text_of(facts, "part"));
    say("mode", render_text_of(facts, "mode"), "");
    say("state", render_text_of(facts, "state"), "");
    say("reason", render_text_of(facts, "reason"), "");
    say("filter", render_text_of(facts, "where"), "");
    say("verdict", render_text_of(facts, "verdict"), render_text_of(reply, "text"));
    say("uid", render_text_of(facts, "uid"), "");
    say("queue id", render_text_of(facts, "queue_id"), "");
    say_envelope(facts);
    say("subject", render_text_of(facts, "subject"), "");
    printf("  %-10s %lld bytes, SHA-256 ", "content", (long long)render_number_of(facts, "bytes"));
    render_escaped(stdout, slice_text(render_text_of(facts, "sha256")));
    printf("\n");
    say_parts(facts);
    say_decisions(facts);
    say_header(header);
}

static int show_raw(const struct trap_ctl *ctl, const char *id)
{
    struct buf content;
    int rc = ctl->store->calls->read(ctl->store, id, &content);
    if (rc != 0) {
        return trap_ctl_fail(id, rc);
    }
    bool is_written = fwrite(content.data, 1, content.len, stdout) == content.len;
    buf_clear(&content);
    return is_written ? EXIT_CODE_OK : EXIT_CODE_SYSTEM;
}

/* Of a message; a part has none. */
static struct slice header_of(const json_t *facts, const struct buf *content)
{
    size_t body_at;
    if (strcmp(render_text_of(facts, "kind"), "message") != 0) {
        return slice_of(NULL, 0);
    }
    size_t len = header_block_length(buf_slice(content), &body_at);
    return slice_of(content->data, len < HEADER_SHOWN_MAX ? len : HEADER_SHOWN_MAX);
}

int trap_ctl_show(const struct trap_ctl *ctl, const char *id)
{
    json_t *facts = NULL;
    struct buf content;
    if (args_has(ctl->args, ARG_RAW)) {
        return show_raw(ctl, id);
    }
    int rc = ctl->store->calls->find(ctl->store, id, &facts);
    if (rc == 0 && (rc = ctl->store->calls->read(ctl->store, id, &content)) != 0) {
        json_decref(facts);
    }
    if (rc != 0) {
        return trap_ctl_fail(id, rc);
    }
    struct slice header = header_of(facts, &content);
    if (args_has(ctl->args, ARG_JSON)) {
        json_object_set_new(facts, "header", render_json_text(header));
        render_json_line(stdout, facts);
    } else {
        say_all(id, facts, header);
    }
    buf_clear(&content);
    json_decref(facts);
    return EXIT_CODE_OK;
}
