#include "ctl/session.h"

#include <string.h>

#include "common/address.h"
#include "common/clock.h"
#include "common/envelope.h"
#include "common/err.h"
#include "common/header.h"
#include "common/parcel.h"
#include "common/plan.h"
#include "worker/job.h"

enum { BODY_CHUNK = 65535, STATE_MAX = 32768, LOG_FIELDS_MAX = 65536, NAME_MAX_BYTES = 512 };
enum { CHANGES_MAX = 402653184 };

static const char conn_id[] = "run";
static const char msg_uid[] = "run.1";

/* What differs from one request to the next. */
struct question {
    enum hook hook;
    size_t header_bytes, message_bytes;
    uint32_t recipient_offset, recipient_number;
    struct slice name, argument;
    uint64_t chunk_offset;
    uint32_t chunk_bytes;
};

/* The answer to one question, copied out of the job. */
struct answer {
    enum verdict verdict;
    bool whole_message;
};

static void keep_reply(struct session *s, enum hook hook, const struct wire_reply *reply)
{
    s->verdict = reply->verdict;
    s->delay_ms = reply->delay_ms;
    s->hook = hook;
    s->reply = (struct smtp_reply){.code = reply->code};
    if (reply->dsn.len <= REPLY_DSN_MAX && reply->dsn.len > 0) {
        memcpy(s->reply.dsn, reply->dsn.data, reply->dsn.len);
    }
    s->reply.text = slice_of(
        arena_memdup0(s->arena, reply->text.len > 0 ? reply->text.data : "", reply->text.len),
        reply->text.len);
    s->where =
        arena_memdup0(s->arena, reply->where.len > 0 ? reply->where.data : "", reply->where.len);
}

static void keep_failure(
    struct session *s, enum hook hook, const char *text, const struct wire_reply *reply)
{
    if (reply != NULL) {
        keep_reply(s, hook, reply);
    }
    s->hook = hook;
    s->error = text;
    s->is_over = true;
}

static void replace_state(struct buf *state, bool *has, struct slice bytes)
{
    buf_reset(state);
    *has = buf_put(state, bytes.data, bytes.len) == 0;
}

/* States and changes of a hook that went well; a refused recipient's changes are dropped, as
 * milterd does. */
static void keep_deeds(struct session *s, const struct question *q, const struct wire_reply *reply)
{
    if ((reply->flags & REPLY_HAS_CONN_STATE) != 0) {
        replace_state(&s->conn_state, &s->has_conn_state, reply->conn_state);
    }
    if ((reply->flags & REPLY_HAS_MSG_STATE) != 0) {
        replace_state(&s->msg_state, &s->has_msg_state, reply->msg_state);
    }
    bool is_refusal = reply->verdict == VERDICT_REJECT || reply->verdict == VERDICT_TEMPFAIL;
    s->drops_changes = s->drops_changes || (reply->flags & REPLY_NO_CHANGES) != 0;
    if (s->drops_changes) {
        buf_reset(&s->changes);
    } else if (!(q->hook == HOOK_RECIPIENT && is_refusal) &&
               buf_put(&s->changes, reply->changes.data, reply->changes.len) < 0) {
        keep_failure(s, q->hook, "the changes asked for are over the limit", NULL);
    }
    if (reply->log_fields.len > 0) {
        /* Bounded; what does not fit is left out of the report only. */
        (void)buf_put(&s->log_fields, reply->log_fields.data, reply->log_fields.len);
    }
}

static int64_t hook_limit_ms(const struct session *s, enum hook hook)
{
    int64_t budget =
        hook == HOOK_MESSAGE ? s->conf->milterd.message_time : s->conf->milterd.stage_time;
    int64_t grace = s->conf->multiplexor.kill_grace;
    return budget > 2 * grace ? budget - grace : budget / 2;
}

static struct wire_request make_request(const struct session *s, const struct question *q)
{
    bool has_msg = (hook_info(q->hook)->flags & HOOK_HAS_MSG) != 0;
    return (struct wire_request){
        .budget_ms = (uint32_t)hook_limit_ms(s, q->hook),
        .generation = 1,
        .attempt = 1,
        .hook = (uint8_t)q->hook,
        .flags = (uint8_t)((s->has_conn_state ? REQUEST_HAS_CONN_STATE : 0) |
                           (s->has_msg_state ? REQUEST_HAS_MSG_STATE : 0)),
        .negotiated_sees = STAGES_ALL,
        .negotiated_answers = STAGES_ALL,
        .capabilities = MTA_CAN_ALL,
        .recipient_offset = q->recipient_offset,
        .recipient_number = q->recipient_number,
        .envelope_bytes = (uint32_t)s->region.len,
        .header_bytes = q->header_bytes,
        .message_bytes = q->message_bytes,
        .chunk_offset = q->chunk_offset,
        .chunk_bytes = q->chunk_bytes,
        .conn_id = slice_text(conn_id),
        .uid = slice_text(has_msg ? msg_uid : ""),
        .name = q->name,
        .argument = q->argument,
        .conn_state = buf_slice(&s->conn_state),
        .msg_state = has_msg ? buf_slice(&s->msg_state) : slice_of(NULL, 0),
        .changes = has_msg ? buf_slice(&s->changes) : slice_of(NULL, 0),
    };
}

/* Runs the hook, if the filter has it. */
static struct answer ask(struct session *s, const struct question *q)
{
    struct answer answer = {.verdict = VERDICT_CONTINUE};
    if ((script_hooks(s->script) & HOOK_BIT(q->hook)) == 0) {
        return answer;
    }
    int64_t limit_ms = hook_limit_ms(s, q->hook);
    s->on_hook(q->hook, limit_ms, s->on_hook_context);
    struct wire_request request = make_request(s, q);
    struct job job;
    int rc = job_open(&job, s->conf, &request, buf_slice(&s->region),
        slice_of(s->mail->message.data, q->message_bytes));
    if (rc < 0) {
        keep_failure(s, q->hook, err_text(rc), NULL);
        return answer;
    }
    struct wire_reply reply = {0};
    script_run(s->script, &job, clock_now_ms() + limit_ms, &reply);
    answer = (struct answer){reply.verdict, (reply.flags & REPLY_WHOLE_MESSAGE) != 0};
    if (reply.outcome == OUTCOME_OK) {
        keep_deeds(s, q, &reply);
        if (reply.verdict != VERDICT_CONTINUE) {
            keep_reply(s, q->hook, &reply);
        }
    } else {
        const char *name = wire_outcome_name(reply.outcome);
        struct slice text = reply.error.len > 0 ? reply.error : slice_text(name);
        keep_failure(s, q->hook, arena_memdup0(s->arena, text.data, text.len), &reply);
    }
    job_close(&job);
    return answer;
}

/* Asks, and ends the session when the verdict says so. */
static void ask_and_judge(struct session *s, const struct question *q)
{
    struct answer answer = ask(s, q);
    if (answer.verdict != VERDICT_CONTINUE) {
        s->is_over = true;
    }
}

static void put_macros(struct session *s, enum stage stage)
{
    const struct transaction_macros *macros = &s->transaction->macros[stage];
    if (macros->n > 0) {
        (void)envelope_put_macros(&s->region, stage, macros->items, macros->n);
    }
}

static void play_connect(struct session *s)
{
    const struct transaction *t = s->transaction;
    (void)envelope_put_connect(&s->region, t->family, t->ip, t->port, t->hostname);
    put_macros(s, STAGE_CONNECT);
    ask_and_judge(s, &(struct question){.hook = HOOK_RELAY});
}

static void play_helo(struct session *s)
{
    (void)envelope_put_helo(&s->region, s->transaction->helo);
    put_macros(s, STAGE_HELO);
    ask_and_judge(s, &(struct question){.hook = HOOK_HELO});
}

static void play_sender(struct session *s)
{
    const struct transaction_address *sender = &s->transaction->sender;
    (void)envelope_put_sender(&s->region, sender->address, sender->args);
    put_macros(s, STAGE_MAIL);
    ask_and_judge(s, &(struct question){.hook = HOOK_SENDER});
}

/* One RCPT. The others go on when it is refused. */
static void play_recipient(struct session *s, uint32_t number)
{
    const struct transaction_address *rcpt = &s->transaction->recipients[number];
    size_t offset = s->region.len;
    if (envelope_put_recipient(&s->region, rcpt->address, rcpt->args) < 0) {
        keep_failure(s, HOOK_RECIPIENT, "the envelope is over the limit", NULL);
        return;
    }
    if (rcpt->n_macros > 0) {
        (void)envelope_put_macros(&s->region, STAGE_RCPT, rcpt->macros, rcpt->n_macros);
    } else {
        put_macros(s, STAGE_RCPT);
    }
    struct question q = {
        .hook = HOOK_RECIPIENT, .recipient_offset = (uint32_t)offset, .recipient_number = number};
    struct answer answer = ask(s, &q);
    if (s->is_over) {
        return;
    }
    switch (answer.verdict) {
    case VERDICT_CONTINUE:
    case VERDICT_ACCEPT:
    case VERDICT_COUNT:
        return;
    case VERDICT_DISCARD:
        s->is_over = true;
        return;
    case VERDICT_REJECT:
    case VERDICT_TEMPFAIL:
        break;
    }
    s->refusals[s->n_refusals++] =
        (struct session_refusal){rcpt->address, s->verdict, s->reply, s->where};
    (void)envelope_put_refused(&s->region, number);
}

static void play_recipients(struct session *s)
{
    const struct transaction *t = s->transaction;
    s->refusals = arena_calloc(s->arena, t->n_recipients, sizeof(*s->refusals));
    for (uint32_t i = 0; i < t->n_recipients && !s->is_over; i++) {
        play_recipient(s, i);
    }
    if (s->is_over) {
        return;
    }
    if (s->n_refusals == t->n_recipients) {
        s->is_over = true; /* nobody left: the client has the last refusal */
        return;
    }
    s->verdict = VERDICT_CONTINUE;
    s->reply = (struct smtp_reply){0};
    s->where = "";
    s->delay_ms = 0;
}

static void play_data(struct session *s)
{
    put_macros(s, STAGE_DATA);
    ask_and_judge(s, &(struct question){.hook = HOOK_DATA});
}

static bool is_oversize(const struct session *s)
{
    return s->mail->message.len > (size_t)s->conf->milterd.max_message ||
           s->mail->header.len > (size_t)s->conf->milterd.max_header_bytes;
}

static void play_size(struct session *s)
{
    if (!is_oversize(s)) {
        return;
    }
    enum { TEXT_MAX = 256 };
    char *text = arena_alloc(s->arena, TEXT_MAX);
    s->verdict = failure_verdict(
        FAILURE_CAUSE_OVERSIZE, s->conf->milterd.on_oversize, msg_uid, &s->reply, text, TEXT_MAX);
    s->where = "milterd.on_oversize";
    s->is_over = true;
}

static void play_header(struct session *s)
{
    if ((script_hooks(s->script) & HOOK_BIT(HOOK_HEADER)) == 0) {
        return;
    }
    struct header_list headers;
    header_list_scan(s->mail->header, (uint32_t)s->conf->worker.max_headers, s->arena, &headers);
    for (uint32_t i = 0; i < headers.n && !s->is_over; i++) {
        const struct header_field *field = &headers.items[i];
        size_t end = (size_t)(field->raw.data + field->raw.len - s->mail->header.data);
        struct question q = {.hook = HOOK_HEADER,
            .header_bytes = end,
            .message_bytes = end,
            .name = field->name,
            .argument = field->value};
        q.name.len = q.name.len > NAME_MAX_BYTES ? NAME_MAX_BYTES : q.name.len;
        ask_and_judge(s, &q);
    }
}

static void play_headers(struct session *s)
{
    size_t header_bytes = s->mail->header.len;
    ask_and_judge(s,
        &(struct question){
            .hook = HOOK_HEADERS, .header_bytes = header_bytes, .message_bytes = header_bytes + 2});
}

static void play_body(struct session *s)
{
    size_t header_bytes = s->mail->header.len, body_at = header_bytes + 2;
    size_t total = s->mail->message.len;
    for (size_t at = body_at; at < total && !s->is_over; at += BODY_CHUNK) {
        size_t n = total - at < BODY_CHUNK ? total - at : BODY_CHUNK;
        ask_and_judge(s, &(struct question){.hook = HOOK_BODY,
                             .header_bytes = header_bytes,
                             .message_bytes = at + n,
                             .chunk_offset = at,
                             .chunk_bytes = (uint32_t)n});
    }
}

static void play_message(struct session *s)
{
    put_macros(s, STAGE_EOM);
    ask_and_judge(s, &(struct question){.hook = HOOK_MESSAGE,
                         .header_bytes = s->mail->header.len,
                         .message_bytes = s->mail->message.len});
}

static bool is_refused(const struct session *s, const struct transaction_address *rcpt)
{
    for (uint32_t i = 0; i < s->n_refusals; i++) {
        if (s->refusals[i].address.data == rcpt->address.data) {
            return true;
        }
    }
    return false;
}

static bool is_deleted(const struct plan *plan, struct slice address)
{
    for (uint32_t i = 0; i < plan->n_deleted; i++) {
        if (slice_equal_nocase(address_strip(plan->deleted[i]), address)) {
            return true;
        }
    }
    return false;
}

static bool has_recipient_left(const struct session *s, const struct plan *plan)
{
    const struct transaction *t = s->transaction;
    for (uint32_t i = 0; i < t->n_recipients; i++) {
        const struct transaction_address *rcpt = &t->recipients[i];
        if (!is_refused(s, rcpt) && !is_deleted(plan, address_strip(rcpt->address))) {
            return true;
        }
    }
    return false;
}

/* Who is left once the changes are applied; nobody means that the mail is thrown away. */
static void judge_recipients(struct session *s)
{
    bool goes_on = s->verdict == VERDICT_CONTINUE || s->verdict == VERDICT_ACCEPT;
    struct action_list actions;
    if (!goes_on || s->error != NULL || s->changes.len == 0 ||
        action_list_get(buf_slice(&s->changes), s->arena, &actions) < 0) {
        return;
    }
    struct header_list none = {0};
    struct plan plan;
    plan_make(&none, &actions, s->arena, &plan);
    if (plan.n_deleted > 0 && plan.n_added == 0 && !has_recipient_left(s, &plan)) {
        s->verdict = VERDICT_DISCARD;
    }
}

/* What milterd adds by itself to mail that goes on. */
static void add_scanned_by(struct session *s)
{
    const char *text = s->conf->milterd.scanned_by;
    bool goes_on = s->verdict == VERDICT_CONTINUE || s->verdict == VERDICT_ACCEPT;
    struct action action = {
        .kind = ACTION_ADD_HEADER, .name = slice_text("Scanned-By"), .value = slice_text(text)};
    if (s->error == NULL && goes_on && text[0] != 0) {
        (void)action_put(&s->changes, &action);
    }
}

/* The connection's end, whatever became of the message; its verdict stands. */
static void play_close(struct session *s)
{
    struct session kept = *s;
    if (s->error == NULL) {
        ask(s, &(struct question){.hook = HOOK_CLOSE});
    }
    if (s->error == NULL) {
        s->verdict = kept.verdict;
        s->reply = kept.reply;
        s->delay_ms = kept.delay_ms;
        s->where = kept.where;
        s->hook = kept.hook;
    }
}

void session_play(struct session *s)
{
    static const struct {
        void (*play)(struct session *s);
        enum hook hook;
    } steps[] = {{play_connect, HOOK_RELAY}, {play_helo, HOOK_HELO}, {play_sender, HOOK_SENDER},
        {play_recipients, HOOK_RECIPIENT}, {play_data, HOOK_DATA}, {play_size, HOOK_COUNT},
        {play_header, HOOK_HEADER}, {play_headers, HOOK_HEADERS}, {play_body, HOOK_BODY},
        {play_message, HOOK_MESSAGE}};
    s->verdict = VERDICT_CONTINUE;
    s->where = "";
    s->error = NULL;
    s->hook = HOOK_NONE;
    buf_init(&s->region, PARCEL_ENVELOPE_MAX);
    buf_init(&s->changes, CHANGES_MAX);
    buf_init(&s->conn_state, STATE_MAX);
    buf_init(&s->msg_state, STATE_MAX);
    buf_init(&s->log_fields, LOG_FIELDS_MAX);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && !s->is_over; i++) {
        steps[i].play(s);
        s->is_over = s->is_over || steps[i].hook == s->last_hook;
    }
    judge_recipients(s);
    add_scanned_by(s);
    play_close(s);
}

void session_clear(struct session *s)
{
    buf_clear(&s->region);
    buf_clear(&s->changes);
    buf_clear(&s->conn_state);
    buf_clear(&s->msg_state);
    buf_clear(&s->log_fields);
}

struct wire_request session_final_request(const struct session *s)
{
    return make_request(s, &(struct question){.hook = HOOK_MESSAGE,
                               .header_bytes = s->mail->header.len,
                               .message_bytes = s->mail->message.len});
}
