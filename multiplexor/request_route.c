/* Which queue a request waits in, and whether it may. */
#include "multiplexor/request_route.h"

#include "common/buf.h"
#include "common/err.h"
#include "common/log.h"
#include "multiplexor/generation.h"
#include "multiplexor/limits.h"
#include "multiplexor/mux.h"
#include "multiplexor/request.h"
#include "multiplexor/request_answer.h"
#include "multiplexor/shadow.h"

static void enter_queue(struct request *request, struct queue *queue, bool in_front)
{
    request_wait(request);
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
        request_fail_over_limit(least, least->limits->parked_on);
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
        request_fail_over_limit(request, full);
    } else if (full != NULL) {
        request_wait(request);
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
        request_fail_over_limit(request, key);
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
    request_begin_anew(request);
    request_route(request);
}

void request_reroute(struct request *request)
{
    queue_remove(request);
    request_begin_anew(request);
    request_route(request);
}

void request_return(struct request *request, struct generation *generation)
{
    event_del(&request->timer);
    request->child = NULL;
    if (generation_is_serving(generation)) {
        enter_queue(request, &generation->queue, true);
        return;
    }
    request_begin_anew(request);
    request_route(request);
}
