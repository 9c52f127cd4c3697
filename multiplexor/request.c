/* From record to its end: states, time, second attempts. */
#include "multiplexor/request.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/parcel.h"
#include "common/text.h"
#include "common/xalloc.h"
#include "multiplexor/child.h"
#include "multiplexor/death.h"
#include "multiplexor/limits.h"
#include "multiplexor/link.h"
#include "multiplexor/loop.h"
#include "multiplexor/mux.h"
#include "multiplexor/request_answer.h"
#include "multiplexor/request_route.h"
#include "multiplexor/shadow.h"

enum {
    ANSWER_RESERVE_MAX_MS = 100, /* kept of the budget for the way back */
    TRY_MIN_MS = 20,             /* with less left, no worker is asked */
    DYING_MAX_MS = 1000,         /* how long an answer waits to hear how a worker ended */
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

void request_free(struct request *request)
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
        request_fail_as_poison(request);
        return;
    }
    LOG_INVARIANT(request->state == REQUEST_QUEUED);
    if (request->limits != NULL && request->limits->parked_on != NULL)
        request_fail_over_limit(request, request->limits->parked_on);
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
    text_copy(request->conn_id, sizeof(request->conn_id), decoded.conn_id);
    text_copy(request->uid, sizeof(request->uid), decoded.uid);
    text_copy(request->queue_id, sizeof(request->queue_id), decoded.queue_id);
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

void request_wait(struct request *request)
{
    int64_t now_ms = clock_now_ms();
    int64_t left_ms = request->deadline_ms - now_ms;
    int64_t wait_ms = left_ms - answer_reserve_ms(left_ms);
    if (wait_ms > request->mux->conf->multiplexor.queue_time)
        wait_ms = request->mux->conf->multiplexor.queue_time;
    request_set_state(request, REQUEST_QUEUED);
    request->queued_us = clock_now_us();
    loop_add_ms(&request->timer, wait_ms);
}

void request_begin_anew(struct request *request)
{
    event_del(&request->timer);
    request_set_state(request, REQUEST_NEW);
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
    loop_add_ms(&request->timer, kill_after_ms);
}

/* The second death: the answer says how both ended, as soon as that is known. */
static void begin_dying(struct request *request)
{
    int64_t left_ms = request->deadline_ms - clock_now_ms();
    request_set_state(request, REQUEST_DYING);
    if (deaths_are_known(request->deaths))
        request_fail_as_poison(request);
    else
        loop_add_ms(&request->timer, left_ms / 2 < DYING_MAX_MS ? left_ms / 2 : DYING_MAX_MS);
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
        request_fail_as_poison(request);
}

void request_cancel(struct request *request)
{
    request->client = NULL;
    request->mux->stats.cancelled += request->is_shadow ? 0 : 1;
    if (request->state != REQUEST_RUNNING)
        request_free(request);
}
