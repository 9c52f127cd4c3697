#include "milterd/message.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/address.h"
#include "common/clock.h"
#include "common/envelope.h"
#include "common/err.h"
#include "common/log.h"
#include "common/parcel.h"
#include "common/text.h"
#include "milterd/conn.h"
#include "milterd/front.h"
#include "milterd/generation.h"
#include "milterd/watch.h"

enum { ENVELOPE_ENTRY_MAX = 256 << 10 };

void message_init(struct message *message)
{
    memset(message, 0, sizeof *message);
    buf_init(&message->state, MESSAGE_STATE_MAX);
    buf_init(&message->changes, MESSAGE_CHANGES_MAX);
    buf_init(&message->from, MESSAGE_TO_MAX);
    buf_init(&message->to, MESSAGE_TO_MAX);
    buf_init(&message->log_fields, MESSAGE_LOG_MAX);
}

void message_clear(struct message *message)
{
    buf_clear(&message->state);
    buf_clear(&message->changes);
    buf_clear(&message->from);
    buf_clear(&message->to);
    buf_clear(&message->log_fields);
    decision_clear(&message->decision);
}

void message_open(struct conn *conn)
{
    struct message *message = &conn->message;
    struct front *front = conn->front;
    int rc;

    message_close(conn);
    message->is_open = true;
    message->start_us = clock_now_us();
    snprintf(message->uid, sizeof message->uid, "%s.%u", conn->id, ++conn->n_messages);
    atomic_fetch_add(&front->n_open, 1);
    atomic_fetch_add(&front->counters.messages, 1);
    if (atomic_load(&front->is_draining))
        message_refuse(message, REFUSAL_DRAINING);
    rc = conn_need_parcel(conn);
    if (rc != 0) {
        log_error("message %s: no parcel: %s", message->uid, err_text(rc));
        message_refuse(message, REFUSAL_PARCEL);
    }
    watch_catch_up(front->watch);
    message->generation = generations_stamp(front->generations, &conn->claim);
}

void message_close(struct conn *conn)
{
    struct message *message = &conn->message;

    if (!message->is_open)
        return;
    message->is_open = false;
    conn_return_parcel(conn);
    generations_drop(conn->front->generations, message->generation);
    atomic_fetch_sub(&conn->front->n_open, 1);
    /* Memory of a large message is given back; that of ordinary ones is too small to matter. */
    message_clear(message);
    message_init(message);
}

void message_refuse(struct message *message, enum refusal refusal)
{
    if (message->refusal == REFUSAL_NONE)
        message->refusal = refusal;
}

/* Puts an entry, and its stage's macros, into the parcel's envelope region. */
static bool put_entry(struct conn *conn, struct buf *entry, enum stage stage)
{
    int rc = macros_put(&conn->front->macros, conn->ctx, stage, entry);

    if (rc == 0 && entry->len > 0)
        rc = parcel_append_envelope(conn->parcel, buf_slice(entry));
    if (rc == 0)
        return true;
    log_warn("message %s: its envelope does not fit: %s", conn->message.uid, err_text(rc));
    message_refuse(&conn->message, rc == -ERR_TOOBIG ? REFUSAL_ADDRESS : REFUSAL_PARCEL);
    return false;
}

/* ESMTP arguments as one text. False when they are longer than the envelope takes. */
static bool join_arguments(char **argv, struct buf *out)
{
    for (unsigned i = 1; argv[0] != NULL && argv[i] != NULL; i++)
        if (buf_printf(out, "%s%s", i > 1 ? " " : "", argv[i]) != 0)
            return false;
    return true;
}

typedef int (*put_address_cb)(struct buf *out, struct slice address, struct slice args);

static bool put_address(struct conn *conn, put_address_cb put, char **argv, enum stage stage)
{
    struct buf entry, args;
    struct slice address = slice_text(argv[0]);
    bool is_put = false;

    buf_init(&args, ENVELOPE_TEXT_MAX);
    buf_init(&entry, ENVELOPE_ENTRY_MAX);
    if (address.len > ENVELOPE_TEXT_MAX || !join_arguments(argv, &args) ||
        put(&entry, address, buf_slice(&args)) != 0)
        message_refuse(&conn->message, REFUSAL_ADDRESS);
    else
        is_put = put_entry(conn, &entry, stage);
    buf_clear(&args);
    buf_clear(&entry);
    return is_put;
}

static void note(struct buf *list, const char *address)
{
    (void)buf_printf(list, "%s%.*s", list->len > 0 ? "," : "", 512, address);
}

void message_put_sender(struct conn *conn, char **argv)
{
    note(&conn->message.from, argv[0] != NULL ? argv[0] : "");
    if (conn->parcel != NULL)
        put_address(conn, envelope_put_sender, argv, STAGE_MAIL);
}

/* Keeps the domain that limits tell requests apart by. */
static void note_domain(struct message *message, const char *address)
{
    struct slice domain = address_domain(address_strip(slice_text(address)));
    size_t len =
        domain.len < sizeof message->last_domain ? domain.len : sizeof message->last_domain - 1;

    if (len > 0)
        memcpy(message->last_domain, domain.data, len);
    message->last_domain[len] = '\0';
    text_lower(message->last_domain);
    if (message->n_recipients == 0)
        memcpy(message->first_domain, message->last_domain, len + 1);
}

bool message_put_recipient(struct conn *conn, char **argv, uint32_t *offset_out)
{
    struct message *message = &conn->message;

    note(&message->to, argv[0] != NULL ? argv[0] : "");
    note_domain(message, argv[0] != NULL ? argv[0] : "");
    if (conn->parcel == NULL)
        return false;
    *offset_out = (uint32_t)parcel_envelope_bytes(conn->parcel);
    if (message->n_recipients >= (uint32_t)conn->front->conf->milterd.max_recipients) {
        message_refuse(message, REFUSAL_RECIPIENTS);
        return false;
    }
    if (!put_address(conn, envelope_put_recipient, argv, STAGE_RCPT))
        return false;
    message->n_recipients++;
    return true;
}

void message_put_refused(struct conn *conn, uint32_t number)
{
    struct buf entry;

    buf_init(&entry, 64);
    if (envelope_put_refused(&entry, number) != 0 ||
        parcel_append_envelope(conn->parcel, buf_slice(&entry)) != 0)
        message_refuse(&conn->message, REFUSAL_PARCEL);
    conn->message.n_refused++;
    buf_clear(&entry);
}

void message_note_id(struct conn *conn)
{
    const char *id = macro_value(conn->ctx, "i");

    if (id[0] != '\0')
        snprintf(conn->message.queue_id, sizeof conn->message.queue_id, "%s", id);
}

void message_put_macros(struct conn *conn, enum stage stage)
{
    struct buf entry;

    message_note_id(conn);
    buf_init(&entry, ENVELOPE_ENTRY_MAX);
    if (conn->parcel != NULL)
        put_entry(conn, &entry, stage);
    buf_clear(&entry);
}

/* Appends message bytes unless the message is refused already. */
static bool append(struct conn *conn, const void *data, size_t len)
{
    struct message *message = &conn->message;
    int rc;

    if (message->refusal != REFUSAL_NONE || conn->parcel == NULL)
        return false;
    rc = len > 0 ? parcel_append_message(conn->parcel, slice_of(data, len)) : 0;
    if (rc == 0)
        return true;
    if (rc != -ERR_TOOBIG)
        log_error("message %s: its bytes cannot be kept: %s", message->uid, err_text(rc));
    message_refuse(message, rc == -ERR_TOOBIG ? REFUSAL_OVERSIZE : REFUSAL_PARCEL);
    return false;
}

/* The value as received, with CRLF where libmilter has a bare LF. */
static void append_value(struct conn *conn, const char *value)
{
    for (;;) {
        size_t len = strcspn(value, "\n");
        bool has_cr = len > 0 && value[len - 1] == '\r';

        append(conn, value, len);
        if (value[len] == '\0')
            return;
        append(conn, has_cr ? "\n" : "\r\n", has_cr ? 1 : 2);
        value += len + 1;
    }
}

/* For those who look for a message by it. */
static void note_message_id(struct message *message, const char *name, const char *value)
{
    if (message->id_header[0] != '\0' || strcasecmp(name, "Message-ID") != 0)
        return;
    value += strspn(value, " \t\r\n");
    snprintf(message->id_header, sizeof message->id_header, "%.*s", (int)strcspn(value, " \t\r\n"),
        value);
}

void message_put_header(struct conn *conn, const char *name, const char *value)
{
    struct message *message = &conn->message;
    bool needs_space = !conn->has_leading_space && value[0] != ' ' && value[0] != '\t';

    if (message->refusal != REFUSAL_NONE || message->has_eoh)
        return;
    note_message_id(message, name, value);
    append(conn, name, strlen(name));
    append(conn, ": ", needs_space ? 2 : 1);
    append_value(conn, value);
    append(conn, "\r\n", 2);
    if (conn->parcel == NULL || message->refusal != REFUSAL_NONE)
        return;
    message->header_bytes = parcel_message_bytes(conn->parcel);
    if (message->header_bytes > (uint64_t)conn->front->conf->milterd.max_header_bytes)
        message_refuse(message, REFUSAL_OVERSIZE);
}

void message_put_eoh(struct conn *conn)
{
    if (!conn->message.has_eoh)
        append(conn, "\r\n", 2);
    conn->message.has_eoh = true;
}

void message_put_body(
    struct conn *conn, const unsigned char *data, size_t len, uint64_t *offset_out)
{
    struct message *message = &conn->message;

    message_put_eoh(conn);
    *offset_out = conn->parcel != NULL ? parcel_message_bytes(conn->parcel) : 0;
    message->body_bytes += len;
    /* Nobody will look at it any more: do not keep it. */
    if (!message->is_accepted)
        append(conn, data, len);
}
