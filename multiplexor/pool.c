/* How many workers, which one next, when to replace one. */
#include "multiplexor/pool.h"

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "multiplexor/generation.h"
#include "multiplexor/limits.h"
#include "multiplexor/mux.h"
#include "multiplexor/request.h"
#include "multiplexor/request_answer.h"
#include "multiplexor/request_route.h"

enum {
    POOL_STARTING_MAX = 32, /* started at the same time; the next ones when these are ready */
    POOL_BROKEN_FAILURES = 4,
};

void pool_init(struct pool *pool, struct generation *generation)
{
    *pool = (struct pool){.generation = generation};
    TAILQ_INIT(&pool->children);
    TAILQ_INIT(&pool->idle);
    evtimer_assign(&pool->resume, generation->mux->base, pool_on_resume, pool);
}

void pool_clear(struct pool *pool)
{
    LOG_INVARIANT(TAILQ_EMPTY(&pool->children));
    event_del(&pool->resume);
}

void pool_add(struct pool *pool, struct child *child)
{
    TAILQ_INSERT_TAIL(&pool->children, child, entry);
    pool->n_in[child->state]++;
}

static bool is_live(enum child_state state)
{
    return state <= CHILD_BUSY;
}

/* A live marked one goes: nobody owes it a replacement any more. */
static void forget_mark(struct pool *pool, const struct child *child)
{
    if (child->mark == RECYCLE_NONE || !is_live(child->state))
        return;
    pool->n_marked--;
    if (pool->n_owed > pool->n_marked)
        pool->n_owed = pool->n_marked;
}

/* Those that are to go are asked last, and end first. */
static void enter_idle(struct pool *pool, struct child *child)
{
    if (child->mark != RECYCLE_NONE)
        TAILQ_INSERT_TAIL(&pool->idle, child, idle_entry);
    else
        TAILQ_INSERT_HEAD(&pool->idle, child, idle_entry);
}

void pool_remove(struct pool *pool, struct child *child)
{
    LOG_INVARIANT(child->state != CHILD_IDLE && child->state != CHILD_BUSY);
    forget_mark(pool, child);
    pool->n_in[child->state]--;
    TAILQ_REMOVE(&pool->children, child, entry);
}

void pool_on_state(struct pool *pool, struct child *child, enum child_state next)
{
    if (child->state == CHILD_IDLE)
        TAILQ_REMOVE(&pool->idle, child, idle_entry);
    if (next == CHILD_IDLE)
        enter_idle(pool, child);
    if (!is_live(next))
        forget_mark(pool, child);
    pool->n_in[child->state]--;
    pool->n_in[next]++;
    scale_note(&pool->scale, pool->n_in[CHILD_BUSY], clock_now_us());
}

struct child *pool_find_pid(const struct pool *pool, pid_t pid)
{
    struct child *child;
    TAILQ_FOREACH(child, &pool->children, entry)
    {
        if (child->pid == pid && !child->is_reaped)
            return child;
    }
    return NULL;
}

struct child *pool_find_number(const struct pool *pool, uint32_t number)
{
    struct child *child;
    TAILQ_FOREACH(child, &pool->children, entry)
    {
        if (child->number == number)
            return child;
    }
    return NULL;
}

static unsigned n_starting(const struct pool *pool)
{
    return pool->n_in[CHILD_FORKING] + pool->n_in[CHILD_STARTING];
}

static unsigned n_ready(const struct pool *pool)
{
    return pool->n_in[CHILD_IDLE] + pool->n_in[CHILD_BUSY];
}

unsigned pool_n_live(const struct pool *pool)
{
    return n_starting(pool) + n_ready(pool);
}

bool pool_is_empty(const struct pool *pool)
{
    return TAILQ_EMPTY(&pool->children);
}

bool pool_is_broken(const struct pool *pool)
{
    return pool_n_live(pool) == 0 && pool->n_failures >= POOL_BROKEN_FAILURES;
}

/* The one that may run next. */
static struct request *next_request(const struct pool *pool)
{
    const struct queue *queue = &pool->generation->queue;
    return mux_may_run_common(pool->generation->mux) ? queue_first(queue)
                                                     : queue_first_reserved(queue);
}

/* Each waiting request to the idle worker that was used last. */
static void dispatch(struct pool *pool)
{
    struct request *request;
    struct child *child;
    while ((child = TAILQ_FIRST(&pool->idle)) != NULL && (request = next_request(pool)) != NULL) {
        struct limit_key *full = limits_full(request);
        if (full != NULL)
            request_hold_back(request, full);
        else if (child_assign(child, request) == -ERR_TIMEOUT)
            request_fail(request, request->deaths != NULL ? OUTCOME_DIED : OUTCOME_OVERLOAD,
                "too little of its time was left");
    }
}

/* So many requests wait, beyond those for idle workers, that one more is to be started for them. */
static bool is_short(const struct pool *pool)
{
    const struct queue *queue = &pool->generation->queue;
    bool may_run_all = mux_may_run_common(pool->generation->mux);
    unsigned waiting = may_run_all ? queue->n : queue->n_reserved, idle = pool->n_in[CHILD_IDLE];
    unsigned each = (unsigned)pool->generation->mux->conf->multiplexor.scale_queue;
    if (pool_n_live(pool) == 0)
        return waiting > 0;
    return waiting > idle && waiting - idle >= (n_starting(pool) + 1) * each;
}

/* What falls to this generation of a number of workers: all, or a candidate's share, rounded up. */
static unsigned portion(const struct pool *pool, int64_t n_workers)
{
    bool is_candidate = pool->generation->state == GENERATION_CANDIDATE;
    int64_t share = is_candidate ? pool->generation->mux->canary.share : 100;
    return (unsigned)((n_workers * share + 99) / 100);
}

unsigned pool_target(const struct pool *pool)
{
    const struct conf *conf = pool->generation->mux->conf;
    if (pool->generation->state == GENERATION_SHADOW)
        return (unsigned)conf->multiplexor.shadow_workers;
    return scale_target(&pool->scale, (unsigned)conf->multiplexor.scale_load,
        portion(pool, conf->multiplexor.min_workers), portion(pool, conf->multiplexor.max_workers));
}

/* Whether it may have one more for those that wait. A candidate may beyond its portion, as long as
 * there is room: its clients may be busy ones. */
static bool has_room(const struct pool *pool, unsigned live)
{
    const struct mux *mux = pool->generation->mux;
    return live < portion(pool, mux->conf->multiplexor.max_workers) ||
           (pool->generation->state == GENERATION_CANDIDATE &&
               mux_n_live(mux) < (unsigned)mux->conf->multiplexor.max_workers);
}

static bool wants_one_more(const struct pool *pool)
{
    const struct mux *mux = pool->generation->mux;
    const struct conf *conf = mux->conf;
    unsigned live = pool_n_live(pool);
    switch (pool->generation->state) {
    case GENERATION_CANDIDATE:
    case GENERATION_CURRENT:
        /* Those to be replaced do not count, so that the new one comes before the old one goes. */
        return live - pool->n_marked < pool_target(pool) || n_starting(pool) < pool->n_owed ||
               (is_short(pool) && has_room(pool, live));
    case GENERATION_SHADOW:
        return live - pool->n_marked < pool_target(pool) || n_starting(pool) < pool->n_owed;
    case GENERATION_LINGERING: /* one can always be had, whatever the others use */
        return is_short(pool) &&
               (live < 1 || mux_n_live(mux) < (unsigned)conf->multiplexor.max_workers);
    case GENERATION_WARMING:
        return live < 1 && pool->n_failures == 0;
    case GENERATION_LOADING:
    case GENERATION_RETIRING:
        return false;
    }
    return false;
}

static void start_workers(struct pool *pool)
{
    struct generation *generation = pool->generation;
    while (n_starting(pool) < POOL_STARTING_MAX && !pool->is_paused &&
           generation_can_fork(generation) && wants_one_more(pool)) {
        if (child_start(generation) != 0) {
            pool_on_start_failed(generation, "no worker could be asked for");
            return;
        }
    }
}

/* Ends idle ones that are to go, as many as have their replacement. They are last in the list. */
static void end_marked(struct pool *pool)
{
    struct child *child;
    while (pool->n_marked > pool->n_owed && (child = TAILQ_LAST(&pool->idle, child_list)) != NULL &&
           child->mark != RECYCLE_NONE)
        child_quit(child, child->mark);
}

/* Ends idle workers, those idle longest first, while more than keep are live. */
static void end_idle(struct pool *pool, unsigned keep, enum recycle cause)
{
    struct child *child;
    while (pool_n_live(pool) > keep && (child = TAILQ_LAST(&pool->idle, child_list)) != NULL)
        child_quit(child, child->mark != RECYCLE_NONE ? child->mark : cause);
}

static void flush_broken(struct pool *pool)
{
    struct request *request;
    while (pool_is_broken(pool) && (request = queue_first(&pool->generation->queue)) != NULL)
        request_fail(request, OUTCOME_NOBODY, "no worker starts");
}

void pool_tend(struct pool *pool)
{
    const struct mux *mux = pool->generation->mux;
    if (generation_is_staffed(pool->generation))
        end_marked(pool); /* before they are given more to do */
    dispatch(pool);
    start_workers(pool);
    flush_broken(pool);
    switch (pool->generation->state) {
    case GENERATION_CURRENT:
        end_idle(
            pool, (unsigned)mux->conf->multiplexor.max_workers + pool->n_marked, RECYCLE_ASKED);
        break;
    case GENERATION_LINGERING:
        if (queue_first(&pool->generation->queue) == NULL)
            end_idle(pool, 1, RECYCLE_RELOAD);
        break;
    case GENERATION_RETIRING:
        end_idle(pool, 0,
            pool->generation->was_current && !mux->is_stopping ? RECYCLE_RELOAD : RECYCLE_NONE);
        break;
    case GENERATION_LOADING:
    case GENERATION_WARMING:
    case GENERATION_CANDIDATE:
        break;
    case GENERATION_SHADOW:
        end_idle(pool, pool_target(pool) + pool->n_marked, RECYCLE_ASKED);
        break;
    }
}

void pool_mark(struct child *child, enum recycle cause)
{
    if (child->mark != RECYCLE_NONE || !is_live(child->state))
        return;
    struct pool *pool = &child->generation->pool;
    child->mark = cause;
    pool->n_marked++;
    pool->n_owed++;
    if (child->state == CHILD_IDLE) {
        TAILQ_REMOVE(&pool->idle, child, idle_entry);
        enter_idle(pool, child);
    }
    mux_wake(child->mux);
}

static bool is_too_old(const struct conf *conf, const struct child *child, int64_t now_ms)
{
    return (child->state == CHILD_IDLE || child->state == CHILD_BUSY) &&
           now_ms - child->started_ms >= scale_spread(conf->multiplexor.recycle_age,
                                             (unsigned)conf->multiplexor.recycle_spread,
                                             child->number);
}

void pool_check(struct pool *pool, int64_t now_ms)
{
    const struct conf *conf = pool->generation->mux->conf;
    struct child *child;
    scale_sample(&pool->scale, conf->multiplexor.scale_window, clock_now_us());
    /* As long again without a failure as the pause was: what starts now, stays. */
    if (pool->pause_ms > 0 && n_ready(pool) > 0 && now_ms >= pool->paused_until_ms + pool->pause_ms)
        pool_unthrottle(pool);
    if (!generation_is_staffed(pool->generation))
        return;
    TAILQ_FOREACH(child, &pool->children, entry)
    {
        if (conf->multiplexor.recycle_age > 0 && is_too_old(conf, child, now_ms))
            pool_mark(child, RECYCLE_AGE);
    }
    if (conf->multiplexor.recycle_idle == 0)
        return;
    while (n_ready(pool) > pool_target(pool) + pool->n_marked &&
           (child = TAILQ_LAST(&pool->idle, child_list)) != NULL &&
           now_ms - child->since_ms >= conf->multiplexor.recycle_idle)
        child_quit(child, child->mark != RECYCLE_NONE ? child->mark : RECYCLE_IDLE);
}

static void kill_child(struct child *child, const char *why)
{
    struct request *request = child->request;
    child->request = NULL;
    if (request != NULL)
        request_fail(request, OUTCOME_NOBODY, "stopping");
    child_kill(child, RECYCLE_NONE, why);
}

void pool_kill(struct pool *pool)
{
    struct child *child, *next;
    for (child = TAILQ_FIRST(&pool->children); child != NULL; child = next) {
        next = TAILQ_NEXT(child, entry);
        kill_child(child, "it did not end in time");
    }
}

void pool_kill_busy(struct pool *pool, const char *why)
{
    struct child *child, *next;
    for (child = TAILQ_FIRST(&pool->children); child != NULL; child = next) {
        next = TAILQ_NEXT(child, entry);
        if (child->state == CHILD_BUSY)
            kill_child(child, why);
    }
}
