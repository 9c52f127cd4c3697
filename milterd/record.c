#include "milterd/record.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/text.h"
#include "milterd/conn.h"

enum { RECORD_LINE_MAX = LOG_LINE_MAX - 200, RECORD_VALUE_MAX = 1200 };

/* A field; the line simply ends where it is full. */
static void put(struct buf *line, const char *key, struct slice value)
{
    char text[RECORD_VALUE_MAX + 1];

    if (value.len == 0)
        return;
    text_escape(text, sizeof text, value, '"');
    if (strpbrk(text, " \"=") != NULL)
        (void)buf_printf(line, " %s=\"%s\"", key, text);
    else
        (void)buf_printf(line, " %s=%s", key, text);
}

static void put_text(struct buf *line, const char *key, const char *value)
{
    put(line, key, slice_text(value));
}

static void put_client(struct buf *line, const struct conn *conn)
{
    put_text(line, "ip", conn->client_ip);
    put_text(line, "host", conn->client_name);
    put_text(line, "helo", conn->helo);
}

static void put_reply(struct buf *line, const struct decision *decision)
{
    char text[600];

    if (decision->code == 0)
        return;
    snprintf(text, sizeof text, "%u%s%s%s%s", (unsigned)decision->code,
        decision->dsn[0] != '\0' ? " " : "", decision->dsn, decision->text != NULL ? " " : "",
        decision->text != NULL ? decision->text : "");
    put_text(line, "reply", text);
}

static void put_decision(struct buf *line, const struct decision *decision)
{
    put_text(line, "verdict", verdict_name(decision->verdict));
    put_text(line, "stage", stage_name(decision->stage));
    put_reply(line, decision);
    put_text(line, "where", decision->where);
    put_text(line, "outcome", decision->outcome);
    put_text(line, "error", decision->error);
}

/* msg:log pairs; a key that is no plain word is left out, so that it cannot pass for one of ours.
 */
static void put_log_fields(struct buf *line, const struct buf *pairs)
{
    struct buf in;
    struct slice name, value;

    buf_view(&in, pairs->data, pairs->len);
    while (buf_get_bytes(&in, MESSAGE_LOG_MAX, &name) == 0 &&
           buf_get_bytes(&in, MESSAGE_LOG_MAX, &value) == 0) {
        char key[64];

        snprintf(key, sizeof key, "x-%.*s", (int)(name.len < 60 ? name.len : 60),
            name.data != NULL ? name.data : "");
        if (strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") ==
            strlen(key))
            put(line, key, value);
    }
}

static void put_figures(struct buf *line, const struct message *message)
{
    (void)buf_printf(line, " size=%" PRIu64 " ms=%" PRId64 " queue_us=%" PRIu64 " hook_us=%" PRIu64,
        message->header_bytes + message->body_bytes, (clock_now_us() - message->start_us) / 1000,
        message->queue_us, message->hook_us);
    if (message->attempts > 1)
        (void)buf_printf(line, " attempt=%u", message->attempts);
    if (message->generation != 0)
        (void)buf_printf(line, " generation=%u", message->generation);
}

static void end_line(struct buf *line)
{
    log_info("%.*s", (int)line->len, (const char *)line->data);
    buf_clear(line);
}

void record_message(const struct conn *conn, const struct decision *decision, const char *actions)
{
    const struct message *message = &conn->message;
    struct buf line;

    buf_init(&line, RECORD_LINE_MAX);
    (void)buf_printf(&line, "message uid=%s", message->uid);
    put_text(&line, "id", message->queue_id);
    put_client(&line, conn);
    put(&line, "from", buf_slice(&message->from));
    put(&line, "to", buf_slice(&message->to));
    if (message->n_recipients > 1 || message->n_refused > 0)
        (void)buf_printf(
            &line, " recipients=%u refused=%u", message->n_recipients, message->n_refused);
    if (decision != NULL)
        put_decision(&line, decision);
    else
        put_text(&line, "verdict", "aborted");
    put_text(&line, "actions", actions);
    put_figures(&line, message);
    put_log_fields(&line, &message->log_fields);
    end_line(&line);
}

void record_connection(const struct conn *conn, const struct decision *decision)
{
    struct buf line;

    buf_init(&line, RECORD_LINE_MAX);
    (void)buf_printf(&line, "connection conn=%s", conn->id);
    put_client(&line, conn);
    put_decision(&line, decision);
    end_line(&line);
}

void record_recipient(const struct conn *conn, const struct decision *decision, const char *address)
{
    struct buf line;

    buf_init(&line, RECORD_LINE_MAX);
    (void)buf_printf(&line, "recipient uid=%s", conn->message.uid);
    put_text(&line, "id", conn->message.queue_id);
    put_client(&line, conn);
    put(&line, "from", buf_slice(&conn->message.from));
    put_text(&line, "to", address);
    put_decision(&line, decision);
    end_line(&line);
}
