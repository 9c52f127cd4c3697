/* From record to answer: routing, time, second attempts, our own answers. */
#include "multiplexor/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/parcel.h"
#include "common/xalloc.h"
#include "multiplexor/canary.h"
#include "multiplexor/child.h"
#include "multiplexor/client.h"
#include "multiplexor/death.h"
#include "multiplexor/generation.h"
#include "multiplexor/limits.h"
#include "multiplexor/link.h"
#include "multiplexor/loop.h"
#include "multiplexor/mux.h"
#include "multiplexor/shadow.h"

enum {
    ANSWER_RESERVE_MAX_MS = 100, /* kept of the budget for the way back */
    TRY_MIN_MS = 20,             /* with less left, no worker is asked */
    OVERLOAD_LOG_MS = 5000,
    DYING_MAX_MS = 1000, /* how long an answer waits to hear how a worker ended */
};

static void request_set_state(struct request *request, enum request_state state)
{
    static const uint8_t allowed[] = {
        [REQUEST_NEW] = 1 << REQUEST_QUEUED | 1 << REQUEST_DONE,
        [REQUEST_QUEUED] = 1 << REQUEST_NEW | 1 << REQUEST_RUNNING | 1 << REQUEST_DONE,
        [REQUEST_RUNNING] =
            1 << REQUEST_QUEUED | 1 << REQUEST_NEW | 1 << REQUEST_DYING | 1 << REQUEST_DONE,
        [REQUEST_DYING] = 1 << REQUEST_DONE,
        [REQUEST_DONE] = 0,
    };
    LOG_INVARIANT((allowed[request->state] & 1 << state) != 0);
    if (!request_is_reserved(request)) {
        request->mux->n_common -= request->state == REQUEST_RUNNING ? 1 : 0;
        request->mux->n_common += state == REQUEST_RUNNING ? 1 : 0;
    }
    if (request->state == REQUEST_RUNNING)
        limits_on_end(request);
    if (state == REQUEST_RUNNING)
        limits_on_run(request);
    request->state = state;
}

static void request_free(struct request *request)
{
    request_set_state(request, REQUEST_DONE);
    shadow_forget_live(request);
    event_del(&request->timer);
    if (request->queue != NULL)
        queue_remove(request);
    limits_leave(request);
    for (int i = 0; i < request->n_fds; i++)
        close(request->fds[i]);
    deaths_free(request->deaths);
    free(request);
}

/* What may be kept for the way back: a sixteenth of what is left, at most a tenth of a second. */
static int64_t answer_reserve_ms(int64_t left_ms)
{
    int64_t reserve = left_ms / 16;
    return reserve < ANSWER_RESERVE_MAX_MS ? reserve : ANSWER_RESERVE_MAX_MS;
}

static void arm(struct request *request, int64_t after_ms)
{
    if (after_ms < 0)
        after_ms = 0;
    struct timeval tv = {.tv_sec = after_ms / 1000, .tv_usec = after_ms % 1000 * 1000};
    loop_add(&request->timer, &tv);
}

static void fail_over_limit(struct request *request, struct limit_key *key)
{
    char why[LIMIT_NAME_MAX + 32];
    limit_key_count_refusal(key);
    snprintf(why, sizeof(why), "over the limit %s", limit_key_name(key));
    request_fail(request, OUTCOME_OVERLOAD, why);
}

/* Two workers are dead. */
static void fail_as_poison(struct request *request)
{
    char why[DEATHS_TEXT_MAX];
    deaths_sentence(request->deaths, why, sizeof(why));
    request_fail(request, OUTCOME_POISON, why);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct request *request = context;
    if (request->state == REQUEST_RUNNING) {
        child_on_deadline(request->child);
        return;
    }
    if (request->state == REQUEST_DYING) {
        fail_as_poison(request);
        return;
    }
    LOG_INVARIANT(request->state == REQUEST_QUEUED);
    if (request->limits != NULL && request->limits->parked_on != NULL)
        fail_over_limit(request, request->limits->parked_on);
    else if (request->deaths != NULL)
        request_fail(request, OUTCOME_DIED, "no worker was free for a second attempt in time");
    else if (request->queue == &request->mux->lobby)
        request_fail(request, OUTCOME_NOBODY, "no filter has loaded yet");
    else
        request_fail(request, OUTCOME_OVERLOAD, "it waited too long");
}

/* Decodes far enough to know what is asked; texts point into the record. Spilled fields are checked
 * in passing, and not kept. */
static int decode(const struct link_record *record, struct wire_request *out)
{
    struct slice annex = {0};
    int index = wire_fd_index(&record->header, WIRE_ANNEX);
    if (index >= 0) {
        int err = annex_open(record->received->fds[index], WIRE_ANNEX_MAX, &annex);
        if (err != 0)
            return err;
    }
    int err = wire_get_request(slice_of(record->bytes, record->len), annex, out);
    annex_close(annex);
    if (err == 0 && (out->hook >= HOOK_COUNT || out->attempt < 1 || out->attempt > 2 ||
                        (hook_info(out->hook)->flags & HOOK_LOCAL) != 0))
        err = -ERR_BAD;
    return err;
}

static void copy_text(char *out, size_t out_bytes, struct slice text)
{
    size_t n = text.len < out_bytes - 1 ? text.len : out_bytes - 1;
    if (n > 0)
        memcpy(out, text.data, n);
    out[n] = '\0';
}

int request_new(
    struct mux *mux, struct client *client, const struct link_record *record, struct request **out)
{
    struct wire_request decoded;
    int err = decode(record, &decoded);
    if (err != 0)
        return err;
    struct request *request = xmalloc(sizeof(*request) + record->len);
    *request = (struct request){
        .mux = mux,
        .client = client,
        .hook = hook_info(decoded.hook),
        .client_id = record->header.id,
        .asked_generation = decoded.generation,
        /* The last stages come whether negotiated or not. */
        .negotiated = {.sees = decoded.negotiated_sees | STAGES_ALWAYS,
            .answers = decoded.negotiated_answers | STAGE_BIT(STAGE_EOM)},
        .flags = decoded.flags,
        .attempt = decoded.attempt,
        .deadline_ms = clock_now_ms() + decoded.budget_ms,
        .n_fds = record->received->n_fds,
        .len = record->len,
    };
    copy_text(request->conn_id, sizeof(request->conn_id), decoded.conn_id);
    copy_text(request->uid, sizeof(request->uid), decoded.uid);
    copy_text(request->queue_id, sizeof(request->queue_id), decoded.queue_id);
    memcpy(request->record, record->bytes, record->len);
    for (int i = 0; i < request->n_fds; i++) {
        request->fds[i] = record->received->fds[i];
        record->received->fds[i] = -1;
    }
    evtimer_assign(&request->timer, mux->base, on_timer, request);
    limits_join(request, decoded.client, decoded.domain);
    *out = request;
    return 0;
}

/* Starts its waiting time. */
static void begin_waiting(struct request *request)
{
    int64_t now_ms = clock_now_ms();
    int64_t left_ms = request->deadline_ms - now_ms;
    int64_t wait_ms = left_ms - answer_reserve_ms(left_ms);
    if (wait_ms > request->mux->conf->multiplexor.queue_time)
        wait_ms = request->mux->conf->multiplexor.queue_time;
    request_set_state(request, REQUEST_QUEUED);
    request->queued_us = clock_now_us();
    arm(request, wait_ms);
}

static void enter_queue(struct request *request, struct queue *queue, bool in_front)
{
    begin_waiting(request);
    if (in_front)
        queue_push_front(queue, request);
    else
        queue_push(queue, request);
    mux_wake(request->mux);
}

static bool has_room(const struct mux *mux, const struct generation *generation)
{
    if (generation != NULL && generation->queue.n < generation->pool.n_in[CHILD_IDLE])
        return true; /* it will not wait */
    return mux->n_queued < (uint64_t)mux->conf->multiplexor.queue_size;
}

/* One that a limit has set aside gives way to what can run, or one of an earlier stage. */
static bool make_room(struct request *request, const struct queue *queue)
{
    struct request *least = limits_youngest(&request->mux->limits);
    if (least != NULL) {
        fail_over_limit(least, least->limits->parked_on);
        return true;
    }
    least = queue_least(queue, request);
    if (least == NULL)
        return false;
    request->mux->stats.displaced++;
    request_fail(least, OUTCOME_OVERLOAD, "it gave way to a later stage");
    return true;
}

/* It could be served, if there is room for it to wait. */
static void take_in(struct request *request, struct generation *generation, struct queue *queue)
{
    struct mux *mux = request->mux;
    struct limit_key *full = limits_full(request);
    if (full != NULL &&
        (limit_key_refuses(full) || mux->n_queued >= (uint64_t)mux->conf->multiplexor.queue_size)) {
        fail_over_limit(request, full);
    } else if (full != NULL) {
        begin_waiting(request);
        limits_park(request, full);
    } else if (!has_room(mux, generation) && !make_room(request, queue)) {
        request_fail(request, OUTCOME_OVERLOAD, "the queue is full");
    } else {
        enter_queue(request, queue, false);
    }
}

/* The hook is not defined in the generation that serves the message: nothing to run. */
static void answer_undefined(struct request *request, const struct generation *generation)
{
    struct wire_reply reply = {
        .generation = generation->number,
        .attempt = request->attempt,
        .outcome = OUTCOME_OK,
        .verdict = VERDICT_CONTINUE,
    };
    struct buf *record = &request->mux->encoded;
    int err = wire_put_reply(record, NULL, request->client_id, 0, &reply);
    LOG_INVARIANT(err == 0);
    request_answer(request, record->data, record->len, &reply, -1);
}

/* Whether it would begin a connection or a message; what ends one, and a stray command, does not.
 */
static bool begins_something(const struct request *request)
{
    return request->hook->subject == SUBJECT_CONNECTION ||
           (request->hook->subject != SUBJECT_NONE && (request->flags & REQUEST_NEW_MESSAGE) != 0);
}

/* A request to the shadow, which has a queue of its own, short because each that is in it is
 * counted before. */
static void route_to_shadow(struct request *request)
{
    struct generation *generation = request->mux->shadow.generation;
    if (generation == NULL || pool_is_broken(&generation->pool))
        request_fail(request, OUTCOME_NOBODY, "no shadow runs");
    else
        enter_queue(request, &generation->queue, false);
}

void request_route(struct request *request)
{
    struct mux *mux = request->mux;
    struct generation *generation = NULL;
    if (request->is_shadow) {
        route_to_shadow(request);
        return;
    }
    if (mux->is_stopping) {
        request_fail(request, OUTCOME_NOBODY, "stopping");
        return;
    }
    if (mux->is_draining && begins_something(request)) {
        request_fail(request, OUTCOME_DRAIN, "draining");
        return;
    }
    enum reply_outcome outcome =
        generation_choose(mux, request->asked_generation, request->negotiated, &generation);
    bool is_waiting_for_first = outcome == OUTCOME_NOBODY && mux->loading != NULL;
    struct queue *queue = generation != NULL ? &generation->queue : &mux->lobby;
    if (generation != NULL)
        shadow_begin(request);
    if (outcome != OUTCOME_OK && !is_waiting_for_first)
        request_fail(request, outcome, "no generation serves it");
    else if (generation != NULL && (generation->needs.hooks & HOOK_BIT(request->hook->hook)) == 0)
        answer_undefined(request, generation);
    else if (generation != NULL && pool_is_broken(&generation->pool))
        request_fail(request, OUTCOME_NOBODY, "no worker starts");
    else
        take_in(request, generation, queue);
}

void request_hold_back(struct request *request, struct limit_key *key)
{
    if (limit_key_refuses(key)) {
        fail_over_limit(request, key);
        return;
    }
    queue_remove(request);
    limits_park(request, key);
}

/* Its time goes on. A generation that would not have it says so as to any other. */
void request_unpark(struct request *request)
{
    struct mux *mux = request->mux;
    struct generation *generation = NULL;
    enum reply_outcome outcome =
        generation_choose(mux, request->asked_generation, request->negotiated, &generation);
    if (!mux->is_stopping && outcome == OUTCOME_OK &&
        (generation->needs.hooks & HOOK_BIT(request->hook->hook)) != 0) {
        queue_push_front(&generation->queue, request);
        mux_wake(mux);
        return;
    }
    event_del(&request->timer);
    request_set_state(request, REQUEST_NEW);
    request_route(request);
}

void request_reroute(struct request *request)
{
    queue_remove(request);
    event_del(&request->timer);
    request_set_state(request, REQUEST_NEW);
    request_route(request);
}

bool request_plan_time(const struct request *request, int64_t now_ms, int64_t *time_ms_out)
{
    int64_t left_ms = request->deadline_ms - now_ms;
    *time_ms_out = left_ms - answer_reserve_ms(left_ms);
    return left_ms >= TRY_MIN_MS;
}

void request_started(struct request *request, struct child *child, int64_t kill_after_ms)
{
    if (request->queue != NULL)
        queue_remove(request);
    request_set_state(request, REQUEST_RUNNING);
    request->child = child;
    request->sent_us = clock_now_us();
    request->queue_us += request->sent_us - request->queued_us;
    arm(request, kill_after_ms);
}

void request_return(struct request *request, struct generation *generation)
{
    event_del(&request->timer);
    request->child = NULL;
    if (generation_is_serving(generation)) {
        enter_queue(request, &generation->queue, true);
        return;
    }
    request_set_state(request, REQUEST_NEW);
    request_route(request);
}

/* Sends the answer and frees the request; counted when the client got it. hook_us < 0: no worker
 * ran it. */
static void deliver(struct request *request, struct slice record, unsigned outcome,
    unsigned verdict, int64_t hook_us, int annex_fd)
{
    struct mux *mux = request->mux;
    struct client *client = request->client;
    enum hook hook = request->hook->hook;
    int64_t queue_us = request->queue_us;
    bool is_shadow = request->is_shadow;
    request_free(request);
    if (client != NULL && client_answer(client, record, annex_fd) && !is_shadow)
        stats_answered(&mux->stats, hook, outcome, verdict, queue_us, hook_us, clock_now_ms());
}

/* Gives the shadow's part in it the answer to compare with; spilled fields have to be opened again.
 */
static void tell_shadow(
    struct request *request, struct slice record, const struct wire_reply *reply, int annex_fd)
{
    struct wire_reply opened = *reply;
    struct slice annex = {0};
    if (request->shadow == NULL)
        return;
    if (annex_fd >= 0 && (annex_open(annex_fd, WIRE_ANNEX_MAX, &annex) != 0 ||
                             wire_get_reply(record, annex, &opened) != 0))
        shadow_forget_live(request);
    else
        shadow_note_live(request, &opened);
    annex_close(annex);
}

void request_answer(struct request *request, uint8_t *record, size_t len,
    const struct wire_reply *reply, int annex_fd)
{
    uint32_t pid = 0, generation = reply->generation;
    int64_t hook_us = -1;
    if (request->child != NULL) {
        pid = (uint32_t)request->child->pid;
        generation = request->child->generation->number;
        hook_us = clock_now_us() - request->sent_us;
        canary_note(request->child->generation, request->hook->hook, reply->outcome, reply->verdict,
            hook_us);
    }
    wire_patch_id(record, request->client_id);
    wire_patch_reply(record, generation, pid, (uint32_t)request->queue_us, request->attempt);
    tell_shadow(request, slice_of(record, len), reply, annex_fd);
    if (request->is_parcel_held)
        wire_patch_reply_flags(record, reply->flags | REPLY_PARCEL_HELD);
    deliver(request, slice_of(record, len), reply->outcome, reply->verdict, hook_us, annex_fd);
}

struct failure {
    enum failure_cause cause;
    enum failure_answer answer;
};

static struct failure failure_of(const struct conf *conf, enum reply_outcome outcome)
{
    switch (outcome) {
    case OUTCOME_DEADLINE:
        return (struct failure){FAILURE_CAUSE_ERROR, conf->worker.on_error};
    case OUTCOME_OVERLOAD:
        return (struct failure){FAILURE_CAUSE_OVERLOAD, conf->multiplexor.on_overload};
    case OUTCOME_POISON:
        return (struct failure){FAILURE_CAUSE_POISON, conf->multiplexor.on_poison};
    case OUTCOME_NOBODY:
    case OUTCOME_DIED:
        return (struct failure){FAILURE_CAUSE_NOBODY, conf->milterd.on_failure};
    case OUTCOME_DRAIN:
    case OUTCOME_RENEGOTIATE: /* always temporary: the MTA reconnects and negotiates anew */
        return (struct failure){FAILURE_CAUSE_OVERLOAD, FAILURE_TEMPFAIL};
    case OUTCOME_OK:
    case OUTCOME_ERROR:
    case OUTCOME_MEMORY:
    case OUTCOME_COUNT:
        break;
    }
    log_panic("outcome %d is not the multiplexor's to give", (int)outcome);
}

/* An answer `accept` means, for a recipient or a command, that it goes on: one recipient must not
 * exempt the others. */
static enum verdict fit_subject(enum verdict verdict, enum subject subject)
{
    if (subject == SUBJECT_NONE)
        return VERDICT_CONTINUE; /* nothing is judged; the outcome says what happened */
    if (verdict == VERDICT_ACCEPT && (subject == SUBJECT_RECIPIENT || subject == SUBJECT_COMMAND))
        return VERDICT_CONTINUE;
    return verdict;
}

static void log_failure(struct request *request, enum reply_outcome outcome, const char *why)
{
    struct mux *mux = request->mux;
    enum log_level level =
        LOG_LEVEL_DEBUG; /* milterd's line of the message tells what it was answered */
    if (outcome == OUTCOME_POISON || outcome == OUTCOME_DIED)
        level = request->is_shadow ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR;
    if (outcome == OUTCOME_OVERLOAD && !request->is_shadow &&
        clock_now_ms() - mux->overload_logged_ms >= OVERLOAD_LOG_MS) {
        mux->overload_logged_ms = clock_now_ms();
        level = LOG_LEVEL_WARN;
    }
    log_at(level, "%s%s uid=%s conn=%s: answered %s: %s", request->is_shadow ? "shadow: " : "",
        request->hook->name, request->uid, request->conn_id, wire_outcome_name(outcome), why);
}

/* The one that runs it, or in whose queue it waits; NULL: neither. */
static struct generation *generation_of(const struct request *request)
{
    struct generation *generation;
    if (request->child != NULL)
        return request->child->generation;
    TAILQ_FOREACH(generation, &request->mux->generations, entry)
    {
        if (request->queue == &generation->queue)
            return generation;
    }
    return NULL;
}

void request_fail(struct request *request, enum reply_outcome outcome, const char *why)
{
    struct mux *mux = request->mux;
    struct failure failure = failure_of(mux->conf, outcome);
    struct smtp_reply smtp = {0};
    char text[REPLY_LINE_MAX];
    const char *id = request->uid[0] != '\0' ? request->uid : request->conn_id;
    enum verdict verdict =
        fit_subject(failure_verdict(failure.cause, failure.answer, id, &smtp, text, sizeof(text)),
            request->hook->subject);
    bool is_refusal = verdict == VERDICT_REJECT || verdict == VERDICT_TEMPFAIL;
    char deaths[DEATHS_TEXT_MAX] = "";
    if (outcome == OUTCOME_POISON)
        deaths_record(request->deaths, deaths, sizeof(deaths));
    struct wire_reply reply = {
        .generation =
            request->child != NULL ? request->child->generation->number : request->asked_generation,
        .worker_pid = request->child != NULL ? (uint32_t)request->child->pid : 0,
        .attempt = request->attempt,
        .outcome = (uint8_t)outcome,
        .verdict = (uint8_t)verdict,
        .flags = failure.answer == FAILURE_ACCEPT && (request->hook->flags & HOOK_HAS_MSG) != 0
                     ? REPLY_NO_CHANGES
                     : 0,
        .error = slice_text(why),
        .deaths = slice_text(deaths),
    };
    if (is_refusal) {
        reply.code = outcome == OUTCOME_RENEGOTIATE ? 421 : smtp.code;
        reply.dsn = slice_text(smtp.dsn);
        reply.text = smtp.text;
    }
    int64_t hook_us = request->child != NULL ? clock_now_us() - request->sent_us : -1;
    struct generation *generation = generation_of(request);
    if (generation != NULL)
        canary_note(generation, request->hook->hook, outcome, verdict, hook_us);
    shadow_note_live(request, &reply);
    reply.flags |= request->is_parcel_held ? REPLY_PARCEL_HELD : 0;
    log_failure(request, outcome, why);
    if (request->state == REQUEST_QUEUED)
        request->queue_us += clock_now_us() - request->queued_us;
    reply.queue_us = (uint32_t)request->queue_us;
    int err = wire_put_reply(&mux->encoded, NULL, request->client_id, 0, &reply);
    LOG_INVARIANT(err == 0);
    deliver(request, buf_slice(&mux->encoded), outcome, verdict, hook_us, -1);
}

/* The second death: the answer says how both ended, as soon as that is known. */
static void begin_dying(struct request *request)
{
    int64_t left_ms = request->deadline_ms - clock_now_ms();
    request_set_state(request, REQUEST_DYING);
    if (deaths_are_known(request->deaths))
        fail_as_poison(request);
    else
        arm(request, left_ms / 2 < DYING_MAX_MS ? left_ms / 2 : DYING_MAX_MS);
}

void request_worker_died(struct request *request, struct child *child, const char *how)
{
    int64_t time_ms;
    request->child = NULL;
    event_del(&request->timer);
    if (request->client == NULL) {
        request_free(request);
        return;
    }
    if (request->deaths == NULL)
        request->deaths = xcalloc(1, sizeof(*request->deaths));
    deaths_add(request->deaths, child, how);
    child->death_of = how == NULL ? request : NULL;
    if (request->deaths->n >= DEATHS_MAX)
        begin_dying(request);
    else if (request->attempt >= 2)
        request_fail(request, OUTCOME_DIED, "the worker died, and it was the second attempt");
    else if ((request->hook->flags & HOOK_ONCE) != 0)
        request_fail(request, OUTCOME_DIED, "the worker died, and this hook is never repeated");
    else if (request->mux->is_stopping || !request_plan_time(request, clock_now_ms(), &time_ms))
        request_fail(request, OUTCOME_DIED, "the worker died, and no time is left");
    else {
        request->attempt = 2;
        request->mux->stats.retries += request->is_shadow ? 0 : 1;
        request_return(request, child->generation);
    }
}

void request_worker_ended(struct request *request, struct child *child, const char *how)
{
    child->death_of = NULL;
    deaths_tell(request->deaths, child, how);
    if (request->state == REQUEST_DYING && deaths_are_known(request->deaths))
        fail_as_poison(request);
}

void request_cancel(struct request *request)
{
    request->client = NULL;
    request->mux->stats.cancelled += request->is_shadow ? 0 : 1;
    if (request->state != REQUEST_RUNNING)
        request_free(request);
}
