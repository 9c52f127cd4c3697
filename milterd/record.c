#include "milterd/record.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "milterd/conn.h"

enum {
    RECORD_PAIRS_MAX = 50, /* of msg:log */
    RECORD_FIELDS_MAX = 32 + RECORD_PAIRS_MAX,
    RECORD_KEY_MAX = 64,
    RECORD_REPLY_MAX = 600,
};

/* A line in the making. */
struct record {
    struct log_field fields[RECORD_FIELDS_MAX];
    size_t n;
    char keys[RECORD_PAIRS_MAX][RECORD_KEY_MAX]; /* of msg:log */
    char reply[RECORD_REPLY_MAX];
};

static void put(struct record *record, const char *key, struct slice value)
{
    if (value.len > 0 && record->n < RECORD_FIELDS_MAX)
        record->fields[record->n++] = (struct log_field){.key = key, .text = value};
}

static void put_text(struct record *record, const char *key, const char *value)
{
    put(record, key, slice_text(value));
}

static void put_number(struct record *record, const char *key, uint64_t number)
{
    if (record->n < RECORD_FIELDS_MAX)
        record->fields[record->n++] =
            (struct log_field){.key = key, .is_number = true, .number = number};
}

static void put_client(struct record *record, const struct conn *conn)
{
    put_text(record, "ip", conn->client_ip);
    put_text(record, "host", conn->client_name);
    put_text(record, "helo", conn->helo);
}

static void put_reply(struct record *record, const struct decision *decision)
{
    if (decision->code == 0)
        return;
    snprintf(record->reply, sizeof record->reply, "%u%s%s%s%s", (unsigned)decision->code,
        decision->dsn[0] != '\0' ? " " : "", decision->dsn, decision->text != NULL ? " " : "",
        decision->text != NULL ? decision->text : "");
    put_text(record, "reply", record->reply);
}

static void put_decision(struct record *record, const struct decision *decision)
{
    put_text(record, "verdict", verdict_name(decision->verdict));
    put_text(record, "stage", stage_name(decision->stage));
    put_reply(record, decision);
    put_text(record, "where", decision->where);
    put_text(record, "outcome", decision->outcome);
    put_text(record, "error", decision->error);
}

/* msg:log pairs; a key that is no plain word is left out, so that it cannot pass for one of ours.
 */
static void put_log_fields(struct record *record, const struct buf *pairs)
{
    struct slice name, value;
    struct buf in;
    unsigned n = 0;

    buf_view(&in, pairs->data, pairs->len);
    while (n < RECORD_PAIRS_MAX && buf_get_bytes(&in, MESSAGE_LOG_MAX, &name) == 0 &&
           buf_get_bytes(&in, MESSAGE_LOG_MAX, &value) == 0) {
        char *key = record->keys[n];

        snprintf(key, RECORD_KEY_MAX, "x-%.*s", (int)(name.len < 60 ? name.len : 60),
            name.data != NULL ? name.data : "");
        if (strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") !=
            strlen(key))
            continue;
        put(record, key, value);
        n++;
    }
}

static void put_figures(struct record *record, const struct message *message)
{
    put_number(record, "size", message->header_bytes + message->body_bytes);
    put_number(record, "ms", (uint64_t)(clock_now_us() - message->start_us) / 1000);
    put_number(record, "queue_us", message->queue_us);
    put_number(record, "hook_us", message->hook_us);
    if (message->attempts > 1)
        put_number(record, "attempt", message->attempts);
    if (message->generation != 0)
        put_number(record, "generation", message->generation);
}

void record_message(const struct conn *conn, const struct decision *decision, const char *actions)
{
    const struct message *message = &conn->message;
    struct record record;

    record.n = 0;
    put_text(&record, "uid", message->uid);
    put_text(&record, "id", message->queue_id);
    put_client(&record, conn);
    put(&record, "from", buf_slice(&message->from));
    put(&record, "to", buf_slice(&message->to));
    if (message->n_recipients > 1 || message->n_refused > 0) {
        put_number(&record, "recipients", message->n_recipients);
        put_number(&record, "refused", message->n_refused);
    }
    if (decision != NULL)
        put_decision(&record, decision);
    else
        put_text(&record, "verdict", "aborted");
    put_text(&record, "actions", actions);
    put_figures(&record, message);
    put_log_fields(&record, &message->log_fields);
    log_fields(LOG_LEVEL_INFO, "message", record.fields, record.n);
}

void record_connection(const struct conn *conn, const struct decision *decision)
{
    struct record record;

    record.n = 0;
    put_text(&record, "conn", conn->id);
    put_client(&record, conn);
    put_decision(&record, decision);
    log_fields(LOG_LEVEL_INFO, "connection", record.fields, record.n);
}

void record_recipient(const struct conn *conn, const struct decision *decision, const char *address)
{
    struct record record;

    record.n = 0;
    put_text(&record, "uid", conn->message.uid);
    put_text(&record, "id", conn->message.queue_id);
    put_client(&record, conn);
    put(&record, "from", buf_slice(&conn->message.from));
    put_text(&record, "to", address);
    put_decision(&record, decision);
    log_fields(LOG_LEVEL_INFO, "recipient", record.fields, record.n);
}
