#include "milterd/trace.h"

#include <errno.h>
#include <string.h>

#include "common/action.h"
#include "common/clock.h"
#include "common/conf.h"
#include "common/err.h"
#include "common/log.h"
#include "common/proc.h"
#include "common/ring.h"
#include "common/trace_entry.h"
#include "common/trace_file.h"
#include "milterd/conn.h"
#include "milterd/front.h"

/* Bytes kept of each text, so that an ordinary entry takes one slot or two of the ring. */
enum {
    NAME_ROOM = 128,
    ADDRESS_ROOM = 160,
    LIST_ROOM = 400,
    REPLY_ROOM = 240,
    ERROR_ROOM = 400,
    VALUE_ROOM = 200,
    LOG_ROOM = 160,
    ACTIONS_MAX = 50, /* of a message, noted one by one */
};

struct ring *trace_open(const struct conf *conf)
{
    struct ring *ring = NULL;
    char path[TRACE_PATH_MAX];
    gid_t group = (gid_t)-1;

    if (!trace_is_on(conf))
        return NULL;
    trace_path(conf, path);
    if (conf->multiplexor.control_group[0] != '\0' &&
        proc_group_id(conf->multiplexor.control_group, &group) != 0)
        log_warn("multiplexor.control_group: no group %s", conf->multiplexor.control_group);
    if (ring_create(path, conf->trace.size, group, &ring) != 0)
        log_warn("%s: %s; posternctl why and trace will know nothing", path, err_text(-ERR_SYSTEM));
    else if (errno != 0)
        log_warn("%s: not for group %s: %s", path, conf->multiplexor.control_group,
            err_text(-ERR_SYSTEM));
    return ring;
}

static void put(struct trace_entry *entry, enum trace_field field, const char *text, size_t room)
{
    trace_entry_put_text(entry, field, slice_text(text), room);
}

static void put_ids(struct trace_entry *entry, const struct conn *conn)
{
    if (!conn->message.is_open) {
        put(entry, TRACE_FIELD_CONN, conn->id, NAME_ROOM);
        return;
    }
    put(entry, TRACE_FIELD_UID, conn->message.uid, NAME_ROOM);
    put(entry, TRACE_FIELD_ID, conn->message.queue_id, NAME_ROOM);
}

/* Whose it is, in every entry, so that a reader who selects need not remember. */
static void put_source(struct trace_entry *entry, const struct conn *conn)
{
    put(entry, TRACE_FIELD_IP, conn->client_ip, NAME_ROOM);
    if (conn->message.is_open)
        trace_entry_put_text(entry, TRACE_FIELD_FROM, buf_slice(&conn->message.from), ADDRESS_ROOM);
}

static void put_decision(struct trace_entry *entry, const struct decision *decision)
{
    put(entry, TRACE_FIELD_VERDICT, verdict_name(decision->verdict), NAME_ROOM);
    trace_entry_put_number(entry, TRACE_FIELD_CODE, decision->code);
    put(entry, TRACE_FIELD_DSN, decision->dsn, NAME_ROOM);
    put(entry, TRACE_FIELD_REPLY, decision->text, REPLY_ROOM);
    put(entry, TRACE_FIELD_WHERE, decision->where, NAME_ROOM);
    put(entry, TRACE_FIELD_OUTCOME, decision->outcome, NAME_ROOM);
    put(entry, TRACE_FIELD_ERROR, decision->error, ERROR_ROOM);
}

static void put_served(struct trace_entry *entry, const struct served *served)
{
    trace_entry_put_number(entry, TRACE_FIELD_QUEUE_US, served->queue_us);
    trace_entry_put_number(entry, TRACE_FIELD_HOOK_US, served->hook_us);
    trace_entry_put_number(entry, TRACE_FIELD_ATTEMPTS, served->attempts);
    trace_entry_put_number(entry, TRACE_FIELD_WORKER, served->worker_pid);
    trace_entry_put_number(entry, TRACE_FIELD_GENERATION, served->generation);
}

static void write_entry(const struct conn *conn, struct trace_entry *entry)
{
    ring_put(conn->front->ring, trace_entry_bytes(entry));
}

void trace_connection(const struct conn *conn, uint16_t port)
{
    struct trace_entry entry;

    if (conn->front->ring == NULL)
        return;
    trace_entry_init(&entry, TRACE_CONNECTION);
    put(&entry, TRACE_FIELD_CONN, conn->id, NAME_ROOM);
    put(&entry, TRACE_FIELD_IP, conn->client_ip, NAME_ROOM);
    put(&entry, TRACE_FIELD_HOST, conn->client_name, NAME_ROOM);
    trace_entry_put_number(&entry, TRACE_FIELD_PORT, port);
    write_entry(conn, &entry);
}

static bool is_worth_it(enum stage stage, const struct decision *decision)
{
    return (stage != STAGE_HEADER && stage != STAGE_BODY) ||
           decision->verdict != VERDICT_CONTINUE || decision->outcome != NULL ||
           decision->served.attempts > 1;
}

void trace_stage(const struct conn *conn, enum stage stage, enum hook hook, const char *recipient,
    const struct decision *decision)
{
    struct trace_entry entry;

    if (conn->front->ring == NULL || !is_worth_it(stage, decision))
        return;
    trace_entry_init(&entry, TRACE_STAGE);
    put_ids(&entry, conn);
    put(&entry, TRACE_FIELD_STAGE, stage_name(stage), NAME_ROOM);
    if (hook != HOOK_NONE)
        put(&entry, TRACE_FIELD_HOOK, hook_info(hook)->name, NAME_ROOM);
    put_decision(&entry, decision);
    put_served(&entry, &decision->served);
    trace_entry_put_number(&entry, TRACE_FIELD_DELAY_MS, decision->delay_ms);
    put(&entry, TRACE_FIELD_TO, recipient, ADDRESS_ROOM);
    if (stage == STAGE_HELO)
        put(&entry, TRACE_FIELD_HELO, conn->helo, NAME_ROOM);
    put_source(&entry, conn);
    write_entry(conn, &entry);
}

static void trace_action(const struct conn *conn, const struct action *action)
{
    const struct action_info *info = action_info(action->kind);
    struct trace_entry entry;

    trace_entry_init(&entry, TRACE_ACTION);
    put_ids(&entry, conn);
    put(&entry, TRACE_FIELD_ACTION, info != NULL ? info->name : NULL, NAME_ROOM);
    trace_entry_put_number(&entry, TRACE_FIELD_INDEX, action->index);
    trace_entry_put_text(&entry, TRACE_FIELD_NAME, action->name, NAME_ROOM);
    trace_entry_put_text(&entry, TRACE_FIELD_VALUE, action->value, VALUE_ROOM);
    trace_entry_put_text(&entry, TRACE_FIELD_ADDRESS, action->address, ADDRESS_ROOM);
    trace_entry_put_text(&entry, TRACE_FIELD_ARGS, action->args, ADDRESS_ROOM);
    trace_entry_put_number(&entry, TRACE_FIELD_BYTES, action->body.len);
    put_source(&entry, conn);
    write_entry(conn, &entry);
}

void trace_actions(const struct conn *conn, const struct action_list *actions)
{
    struct trace_entry entry;

    if (conn->front->ring == NULL)
        return;
    for (uint32_t i = 0; i < actions->n && i < ACTIONS_MAX; i++)
        trace_action(conn, &actions->items[i]);
    if (actions->n <= ACTIONS_MAX)
        return;
    trace_entry_init(&entry, TRACE_ACTION);
    put_ids(&entry, conn);
    trace_entry_put_number(&entry, TRACE_FIELD_MORE, actions->n - ACTIONS_MAX);
    put_source(&entry, conn);
    write_entry(conn, &entry);
}

/* msg:log pairs as "name=value". */
static void put_log_fields(struct trace_entry *entry, const struct buf *pairs)
{
    struct slice name, value;
    struct buf in;

    buf_view(&in, pairs->data, pairs->len);
    while (buf_get_bytes(&in, MESSAGE_LOG_MAX, &name) == 0 &&
           buf_get_bytes(&in, MESSAGE_LOG_MAX, &value) == 0) {
        char pair[LOG_ROOM + 1];
        size_t len = name.len < LOG_ROOM / 2 ? name.len : LOG_ROOM / 2;
        size_t rest;

        memcpy(pair, name.data, len);
        pair[len++] = '=';
        rest = value.len < sizeof pair - len ? value.len : sizeof pair - len;
        memcpy(pair + len, value.data, rest);
        trace_entry_put_text(entry, TRACE_FIELD_LOG, slice_of(pair, len + rest), LOG_ROOM);
    }
}

void trace_message(const struct conn *conn, const struct decision *decision, const char *actions)
{
    const struct message *message = &conn->message;
    struct trace_entry entry;

    if (conn->front->ring == NULL)
        return;
    trace_entry_init(&entry, TRACE_MESSAGE);
    put_ids(&entry, conn);
    put(&entry, TRACE_FIELD_MESSAGE_ID, message->id_header, MESSAGE_ID_MAX);
    put_source(&entry, conn);
    put(&entry, TRACE_FIELD_HOST, conn->client_name, NAME_ROOM);
    put(&entry, TRACE_FIELD_HELO, conn->helo, NAME_ROOM);
    trace_entry_put_text(&entry, TRACE_FIELD_TO, buf_slice(&message->to), LIST_ROOM);
    trace_entry_put_number(&entry, TRACE_FIELD_RECIPIENTS, message->n_recipients);
    trace_entry_put_number(&entry, TRACE_FIELD_REFUSED, message->n_refused);
    trace_entry_put_number(
        &entry, TRACE_FIELD_MS, (uint64_t)(clock_now_us() - message->start_us) / 1000);
    trace_entry_put_number(&entry, TRACE_FIELD_SIZE, message->header_bytes + message->body_bytes);
    trace_entry_put_number(&entry, TRACE_FIELD_QUEUE_US, message->queue_us);
    trace_entry_put_number(&entry, TRACE_FIELD_HOOK_US, message->hook_us);
    trace_entry_put_number(&entry, TRACE_FIELD_ATTEMPTS, message->attempts);
    trace_entry_put_number(&entry, TRACE_FIELD_GENERATION, message->generation);
    if (decision != NULL) {
        put(&entry, TRACE_FIELD_STAGE, stage_name(decision->stage), NAME_ROOM);
        put_decision(&entry, decision);
    } else {
        put(&entry, TRACE_FIELD_VERDICT, "aborted", NAME_ROOM);
    }
    put(&entry, TRACE_FIELD_SUMMARY, actions, NAME_ROOM);
    put_log_fields(&entry, &message->log_fields);
    write_entry(conn, &entry);
}
