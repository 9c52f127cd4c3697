#include "milterd/consult.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/network.h"
#include "common/parcel.h"
#include "common/xalloc.h"
#include "milterd/front.h"
#include "milterd/generation.h"
#include "milterd/poison_store.h"

enum {
    CONSULT_LAST_WORD_MS = 2000
}; /* budget of filter_abort and filter_close: nobody waits for them */

/* What became of a request, as the log names it and as the configuration answers it. */
static const struct {
    const char *name;
    bool is_nobody; /* milterd.on_failure answers */
} outcome_rows[OUTCOME_COUNT] = {
    [OUTCOME_OK] = {NULL, false},
    [OUTCOME_ERROR] = {"error", false},
    [OUTCOME_DEADLINE] = {"deadline", false},
    [OUTCOME_MEMORY] = {"memory", false},
    [OUTCOME_OVERLOAD] = {"overload", false},
    [OUTCOME_POISON] = {"poison", false},
    [OUTCOME_NOBODY] = {"nobody", true},
    [OUTCOME_RENEGOTIATE] = {"renegotiate", false},
    [OUTCOME_DIED] = {"died", true},
    [OUTCOME_DRAIN] = {"drain", false},
};

/* The one that serves what comes next on this connection. */
static uint32_t generation_of(const struct conn *conn)
{
    if (conn->message.is_open && conn->message.generation != 0)
        return conn->message.generation;
    return generations_claimed(conn->front->generations, &conn->claim);
}

bool consult_is_due(const struct conn *conn, enum stage stage)
{
    const struct message *message = &conn->message;
    uint32_t answers;

    if (conn->is_accepted || (message->is_open && message->is_accepted))
        return false;
    if (((conn->stages.answers | STAGES_ALWAYS) & STAGE_BIT(stage)) == 0)
        return false;
    if (!generations_answers(conn->front->generations, generation_of(conn), &answers))
        return true;
    return (answers & STAGE_BIT(stage)) != 0;
}

static int64_t budget_of(const struct conf *conf, const struct hook_info *info)
{
    if (info->answers == STAGE_EOM)
        return conf->milterd.message_time;
    if (info->flags & HOOK_ONCE && conf->milterd.stage_time > CONSULT_LAST_WORD_MS)
        return CONSULT_LAST_WORD_MS;
    return conf->milterd.stage_time;
}

static void put_message(
    const struct conn *conn, const struct hook_info *info, struct wire_request *request)
{
    const struct message *message = &conn->message;

    if (!message->is_open || !(info->flags & HOOK_HAS_MSG))
        return;
    request->uid = slice_text(message->uid);
    request->queue_id = slice_text(message->queue_id);
    request->domain = slice_text(
        info->subject == SUBJECT_RECIPIENT ? message->last_domain : message->first_domain);
    request->header_bytes = message->header_bytes;
    request->message_bytes = parcel_message_bytes(conn->parcel);
    request->msg_state = buf_slice(&message->state);
    request->changes = buf_slice(&message->changes);
    request->flags |= message->has_state ? REQUEST_HAS_MSG_STATE : 0;
    request->flags |= message->is_asked ? 0 : REQUEST_NEW_MESSAGE;
}

/* A client without an address is a program of this host. */
static bool is_reserved(const struct conn *conn)
{
    const char *ip = conn->client_ip[0] != '\0' ? conn->client_ip : "127.0.0.1";

    return network_list_has(&conn->front->conf->multiplexor.reserved_networks, ip);
}

static void put_request(
    const struct conn *conn, const struct question *question, struct wire_request *request)
{
    *request = (struct wire_request){
        .attempt = 1,
        .hook = (uint8_t)question->hook,
        .generation = generation_of(conn),
        .flags = (uint8_t)((conn->has_state ? REQUEST_HAS_CONN_STATE : 0) |
                           (is_reserved(conn) ? REQUEST_RESERVED : 0)),
        .negotiated_sees = conn->stages.sees,
        .negotiated_answers = conn->stages.answers,
        .capabilities = conn->capabilities,
        .recipient_offset = question->recipient_offset,
        .recipient_number = question->recipient_number,
        .envelope_bytes = (uint32_t)parcel_envelope_bytes(conn->parcel),
        .chunk_offset = question->chunk_offset,
        .chunk_bytes = question->chunk_bytes,
        .conn_id = slice_text(conn->id),
        .client = slice_text(conn->client_ip),
        .name = question->name,
        .argument = question->argument,
        .conn_state = buf_slice(&conn->state),
    };
    put_message(conn, hook_info(question->hook), request);
}

static int on_progress(void *context)
{
    return smfi_progress(context) == MI_SUCCESS ? 0 : -ERR_PEER;
}

static bool put_state(struct buf *state, struct slice bytes)
{
    buf_reset(state);
    return buf_put(state, bytes.data, bytes.len) == 0;
}

static bool take_states(struct conn *conn, const struct wire_reply *reply)
{
    struct message *message = &conn->message;

    if (reply->flags & REPLY_HAS_CONN_STATE) {
        conn->has_state = true;
        if (!put_state(&conn->state, reply->conn_state))
            return false;
    }
    if (reply->flags & REPLY_HAS_MSG_STATE && message->is_open) {
        message->has_state = true;
        if (!put_state(&message->state, reply->msg_state))
            return false;
    }
    return true;
}

/* Changes are only appended to; those of a call that refused its recipient go with it. */
static bool take_changes(
    struct conn *conn, const struct hook_info *info, const struct wire_reply *reply)
{
    struct message *message = &conn->message;
    bool is_refused = info->subject == SUBJECT_RECIPIENT && reply->verdict != VERDICT_CONTINUE &&
                      reply->verdict != VERDICT_ACCEPT;

    if (!message->is_open)
        return true;
    if (reply->flags & REPLY_NO_CHANGES) {
        message->has_no_changes = true;
        buf_reset(&message->changes);
    }
    if (message->has_no_changes || is_refused || !(info->flags & HOOK_CHANGES) ||
        reply->outcome != OUTCOME_OK)
        return true;
    return buf_put(&message->changes, reply->changes.data, reply->changes.len) == 0;
}

static void take_figures(struct conn *conn, const struct wire_reply *reply)
{
    struct message *message = &conn->message;

    message->queue_us += reply->queue_us;
    message->hook_us += reply->hook_us;
    if (reply->attempt > message->attempts)
        message->attempts = reply->attempt;
    (void)buf_put(&message->log_fields, reply->log_fields.data, reply->log_fields.len);
}

/* What the log and the text of a failure name: the message, or the connection while there is none.
 */
static const char *id_of(const struct conn *conn)
{
    return conn->message.is_open ? conn->message.uid : conn->id;
}

static void decide(
    const struct conn *conn, const struct wire_reply *reply, struct decision *decision)
{
    struct smtp_reply smtp = {.code = reply->code, .text = reply->text};

    decision->verdict = reply->verdict;
    decision->is_whole_message = (reply->flags & REPLY_WHOLE_MESSAGE) != 0;
    decision->delay_ms = reply->delay_ms;
    decision->outcome = outcome_rows[reply->outcome].name;
    snprintf(decision->where, sizeof decision->where, "%.*s", (int)reply->where.len,
        reply->where.data != NULL ? reply->where.data : "");
    if (reply->error.len > 0)
        decision->error = xmemdup0(reply->error.data, reply->error.len);
    if (outcome_rows[reply->outcome].is_nobody) {
        decision_set_failure(
            decision, FAILURE_CAUSE_NOBODY, conn->front->conf->milterd.on_failure, id_of(conn));
    } else if (reply->outcome == OUTCOME_RENEGOTIATE) {
        decision_set_refusal(decision, 421, "4.3.2", "Please try again on a new connection");
    } else {
        memcpy(smtp.dsn, reply->dsn.data != NULL ? reply->dsn.data : "", reply->dsn.len);
        decision_set_reply(decision, &smtp);
    }
}

/* Whether the reply may be acted upon: a verdict that the hook may give, and a text that may reach
 * a client. */
static const char *find_fault(const struct hook_info *info, const struct wire_reply *reply)
{
    struct smtp_reply smtp = {.code = reply->code, .text = reply->text};
    bool is_whole = (reply->flags & REPLY_WHOLE_MESSAGE) != 0;

    if (info->subject == SUBJECT_NONE)
        return NULL;
    if (!verdict_is_allowed(reply->verdict, info->subject, is_whole))
        return "verdict not allowed here";
    if (reply->verdict != VERDICT_REJECT && reply->verdict != VERDICT_TEMPFAIL)
        return reply->code == 0 ? NULL : "a reply code without a refusal";
    memcpy(smtp.dsn, reply->dsn.data != NULL ? reply->dsn.data : "", reply->dsn.len);
    return reply->code == 0 ? NULL : smtp_reply_check(reply->verdict, &smtp);
}

static void decide_bad(struct conn *conn, const char *fault, struct decision *decision)
{
    atomic_fetch_add(&conn->front->counters.bad_changes, 1);
    log_error("%s: the reply does not validate: %s", id_of(conn), fault);
    decision->outcome = "bad_reply";
    decision_set_failure(decision, FAILURE_CAUSE_NOBODY, FAILURE_TEMPFAIL, id_of(conn));
}

static void take_reply(struct conn *conn, const struct question *question,
    const struct wire_reply *reply, struct decision *decision)
{
    const struct hook_info *info = hook_info(question->hook);
    const char *fault = find_fault(info, reply);

    decision->served = (struct served){.worker_pid = reply->worker_pid,
        .generation = reply->generation,
        .queue_us = reply->queue_us,
        .hook_us = reply->hook_us,
        .attempts = reply->attempt};
    if (conn->message.is_open) {
        generations_move(conn->front->generations, &conn->message.generation, reply->generation);
        take_figures(conn, reply);
    }
    if (fault == NULL && (!take_states(conn, reply) || !take_changes(conn, info, reply)))
        fault = "state or changes over the limit";
    if (fault != NULL)
        decide_bad(conn, fault, decision);
    else
        decide(conn, reply, decision);
}

static void decide_nobody(struct conn *conn, enum ask_result result, struct decision *decision)
{
    atomic_fetch_add(&conn->front->counters.failures, 1);
    decision->outcome = result == ASK_LATE ? "late" : "nobody";
    decision_set_failure(
        decision, FAILURE_CAUSE_NOBODY, conn->front->conf->milterd.on_failure, id_of(conn));
}

/* What killed two workers is kept for who mends the filter. */
static void keep_poison(struct conn *conn, const struct question *question, const struct ask *ask,
    const struct wire_reply *reply)
{
    const struct message *message = &conn->message;
    bool has_message = message->is_open;

    if (reply->outcome == OUTCOME_POISON)
        poison_store_keep(conn->front->poison, &(struct poison_case){
                                                   .uid = has_message ? message->uid : conn->id,
                                                   .queue_id = has_message ? message->queue_id : "",
                                                   .hook = question->hook,
                                                   .parcel_fd = ask->parcel_fd,
                                                   .request = &ask->request,
                                                   .reply = reply,
                                               });
}

/* on_failure = accept takes the thing as it came. */
static void heed_failure(struct conn *conn, const struct decision *decision)
{
    if (!decision->is_failure || decision->verdict != VERDICT_ACCEPT || !conn->message.is_open)
        return;
    conn->message.has_no_changes = true;
    buf_reset(&conn->message.changes);
}

static void fill_ask(const struct conn *conn, const struct question *question, struct ask *ask)
{
    const struct hook_info *info = hook_info(question->hook);
    const struct conf *conf = conn->front->conf;
    bool is_last_word = info->subject == SUBJECT_NONE;

    put_request(conn, question, &ask->request);
    ask->deadline_ms = clock_now_ms() + budget_of(conf, info);
    ask->gone_fd = is_last_word ? -1 : conn->fd;
    ask->may_repeat = !(info->flags & HOOK_ONCE);
    ask->progress_ms = info->answers == STAGE_EOM ? conf->milterd.progress_interval : 0;
    ask->on_progress = on_progress;
    ask->context = conn->ctx;
}

bool consult(struct conn *conn, const struct question *question, struct decision *decision)
{
    const struct ask_ops *asker = &conn->front->asker;
    struct message *message = &conn->message;
    struct ask ask = {.parcel_fd = -1};
    struct ask_reply reply = {0};
    enum ask_result result = ASK_NOBODY;

    decision->stage = hook_info(question->hook)->answers;
    if (conn_need_parcel(conn) == 0)
        ask.parcel_fd = parcel_fd(conn->parcel);
    if (ask.parcel_fd >= 0) {
        fill_ask(conn, question, &ask);
        result = asker->ask(asker->context, &ask, &reply);
        conn->is_parcel_free = conn->is_parcel_free && reply.is_parcel_free;
        /* One that was turned away has not begun: its next recipient is turned away as well. */
        message->is_asked =
            message->is_open && !(result == ASK_ANSWERED && reply.reply.outcome == OUTCOME_DRAIN);
        if (reply.attempts > message->attempts && message->is_open)
            message->attempts = reply.attempts;
    }
    if (result == ASK_ANSWERED) {
        keep_poison(conn, question, &ask, &reply.reply);
        take_reply(conn, question, &reply.reply, decision);
        asker->release(asker->context, &reply);
    } else if (result != ASK_CLIENT_GONE) {
        decide_nobody(conn, result, decision);
    }
    if (reply.attempts > decision->served.attempts)
        decision->served.attempts = reply.attempts;
    heed_failure(conn, decision);
    conn_return_parcel(conn);
    return result != ASK_CLIENT_GONE &&
           (decision->delay_ms == 0 ||
               consult_delay(conn, decision->stage, decision->delay_ms, ask.deadline_ms));
}

bool consult_delay(struct conn *conn, enum stage stage, uint32_t delay_ms, int64_t deadline_ms)
{
    int64_t until = clock_now_ms() + delay_ms;
    int64_t progress_ms = conn->front->conf->milterd.progress_interval;

    if (until > deadline_ms)
        until = deadline_ms;
    for (int64_t left; (left = until - clock_now_ms()) > 0;) {
        struct pollfd pfd = {.fd = conn->fd, .events = POLLRDHUP};

        if (poll(&pfd, 1, (int)(left < progress_ms ? left : progress_ms)) > 0)
            return false;
        if (stage == STAGE_EOM && until > clock_now_ms() && on_progress(conn->ctx) != 0)
            return false;
    }
    return true;
}
