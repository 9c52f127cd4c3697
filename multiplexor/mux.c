/* The loop and what belongs to the whole: signals, exit statuses, needs, housekeeping, stopping. */
#include "multiplexor/mux.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/proc.h"
#include "common/xalloc.h"
#include "multiplexor/kin.h"
#include "multiplexor/loop.h"
#include "multiplexor/request.h"
#include "multiplexor/request_route.h"

enum { HOUSEKEEPING_MS = 500 };

void mux_wake(struct mux *mux)
{
    if (mux->is_awake)
        return;
    mux->is_awake = true;
    event_active(&mux->tend, 0, 0);
}

unsigned mux_n_live(const struct mux *mux)
{
    const struct generation *generation;
    unsigned n = 0;
    TAILQ_FOREACH(generation, &mux->generations, entry)
    {
        n += generation->is_shadow ? 0 : pool_n_live(&generation->pool);
    }
    return n;
}

bool mux_may_run_common(const struct mux *mux)
{
    int64_t most = mux->conf->multiplexor.max_workers - mux->conf->multiplexor.reserved_workers;
    return mux->n_common < (most > 1 ? most : 1);
}

unsigned mux_n_busy(const struct mux *mux)
{
    const struct generation *generation;
    unsigned n = 0;
    TAILQ_FOREACH(generation, &mux->generations, entry)
    {
        n += generation->is_shadow ? 0 : generation->pool.n_in[CHILD_BUSY];
    }
    return n;
}

void mux_count_workers(const struct mux *mux, unsigned n_out[CHILD_STATE_COUNT])
{
    const struct generation *generation;
    memset(n_out, 0, CHILD_STATE_COUNT * sizeof(n_out[0]));
    TAILQ_FOREACH(generation, &mux->generations, entry)
    {
        for (int i = 0; i < CHILD_STATE_COUNT && !generation->is_shadow; i++)
            n_out[i] += generation->pool.n_in[i];
    }
}

int64_t mux_oldest_ms(const struct mux *mux, int64_t now_ms)
{
    const struct generation *generation;
    int64_t oldest_ms = queue_oldest_ms(&mux->lobby, now_ms);
    int64_t parked_ms = limits_oldest_ms(&mux->limits, now_ms);
    oldest_ms = parked_ms > oldest_ms ? parked_ms : oldest_ms;
    TAILQ_FOREACH(generation, &mux->generations, entry)
    {
        int64_t ms = generation->is_shadow ? 0 : queue_oldest_ms(&generation->queue, now_ms);
        oldest_ms = ms > oldest_ms ? ms : oldest_ms;
    }
    return oldest_ms;
}

void mux_needs(const struct mux *mux, struct wire_needs *out)
{
    const struct generation *generation;
    struct hook_needs all = hook_needs_all();
    *out = (struct wire_needs){
        .current_sees = all.sees,
        .current_answers = all.answers,
        .union_sees = all.sees,
        .union_answers = all.answers,
    };
    const struct generation *candidate = mux->canary.candidate;
    if (mux->current == NULL)
        return; /* nothing is known: everything may be needed */
    struct hook_needs needs = mux->current->needs;
    out->generation = mux->current->number;
    out->current_sees = needs.sees;
    out->current_answers = needs.answers;
    TAILQ_FOREACH(generation, &mux->generations, entry)
    {
        if (generation_is_serving(generation))
            needs = hook_needs_union(needs, generation->needs);
    }
    out->union_sees = needs.sees;
    out->union_answers = needs.answers;
    if (candidate == NULL)
        return;
    out->candidate = candidate->number;
    out->candidate_share = mux->canary.share;
    out->candidate_sees = candidate->needs.sees;
    out->candidate_answers = candidate->needs.answers;
}

void mux_tell_needs(struct mux *mux)
{
    struct wire_needs needs;
    mux_needs(mux, &needs);
    if (memcmp(&needs, &mux->told, sizeof(needs)) == 0) /* numbers of one size: no padding */
        return;
    mux->told = needs;
    clients_push_needs(mux);
}

/* Lingering generations that nobody needs, and the oldest when there are too many. */
static void retire_old(struct mux *mux, int64_t now_ms)
{
    struct generation *generation, *oldest = NULL;
    unsigned n = 0;
    TAILQ_FOREACH(generation, &mux->generations, entry)
    {
        if (generation_is_unneeded(generation, now_ms))
            generation_retire(generation);
        if (generation->state != GENERATION_LINGERING)
            continue;
        oldest = oldest != NULL ? oldest : generation;
        n++;
    }
    if (n > GENERATION_LIVING_MAX) {
        log_warn(
            "generation %u retires early: too many reloads while messages live", oldest->number);
        generation_retire(oldest);
    }
}

static void on_tend(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct mux *mux = context;
    struct generation *generation, *next;
    mux->is_awake = false;
    limits_tend(mux);
    canary_tend(mux); /* before the queue of one that is of no use is given up */
    TAILQ_FOREACH(generation, &mux->generations, entry)
    {
        pool_tend(&generation->pool);
    }
    retire_old(mux, clock_now_ms());
    for (generation = TAILQ_FIRST(&mux->generations); generation != NULL; generation = next) {
        next = TAILQ_NEXT(generation, entry);
        if (generation_is_over(generation))
            generation_free(generation);
    }
    reload_tend(mux);
    mux_tell_needs(mux);
    if (mux->is_stopping && TAILQ_EMPTY(&mux->generations))
        event_base_loopbreak(mux->base);
}

static void on_housekeeping(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct mux *mux = context;
    struct generation *generation;
    int64_t now_ms = clock_now_ms();
    TAILQ_FOREACH(generation, &mux->generations, entry)
    {
        pool_check(&generation->pool, now_ms);
    }
    status_line_check(mux, now_ms);
    shadow_check(mux, now_ms);
    mux_wake(mux);
}

/* Whose process this was. A worker may die before its nursery has told us of it: then its status
 * waits for that. */
static void settle_exit(struct mux *mux, pid_t pid, int status)
{
    struct generation *generation;
    if (guard_on_exit(mux, pid, status))
        return;
    TAILQ_FOREACH(generation, &mux->generations, entry)
    {
        struct child *child = pool_find_pid(&generation->pool, pid);
        if (child != NULL) {
            child_on_exit(child, status);
            return;
        }
        if (generation->nursery == pid) {
            generation_on_nursery_exit(generation, status);
            return;
        }
    }
    mux->orphans[mux->next_orphan++ % MUX_ORPHANS] = (struct orphan){pid, status};
}

bool mux_take_orphan(struct mux *mux, pid_t pid, int *status_out)
{
    for (int i = 0; i < MUX_ORPHANS; i++) {
        if (mux->orphans[i].pid == pid) {
            *status_out = mux->orphans[i].status;
            mux->orphans[i].pid = 0;
            return true;
        }
    }
    return false;
}

static void reap(struct mux *mux)
{
    pid_t pid;
    int status;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        settle_exit(mux, pid, status);
}

static void kill_all(struct mux *mux)
{
    struct generation *generation;
    TAILQ_FOREACH(generation, &mux->generations, entry)
    {
        generation_kill(generation);
    }
}

static void on_drain_end(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    log_warn("stopping: requests still ran after drain_time");
    kill_all(context);
}

/* The queues are emptied by request_route, which answers NOBODY from now on. */
static void retire_all(struct mux *mux)
{
    struct generation *generation;
    struct request *request;
    mux->canary.candidate = mux->canary.previous = NULL;
    mux->current = NULL;
    mux->loading = NULL;
    while ((request = queue_first(&mux->lobby)) != NULL)
        request_reroute(request);
    TAILQ_FOREACH(generation, &mux->generations, entry)
    {
        generation_retire(generation);
    }
}

/* Stops taking requests; those that run may end within drain_time. A second call ends them at once.
 */
static void mux_stop(struct mux *mux)
{
    if (mux->is_stopping) {
        log_warn("asked to stop again: not waiting any longer");
        kill_all(mux);
        return;
    }
    int64_t drain_ms = mux->conf->multiplexor.drain_time;
    log_info("stopping: running requests may end within %lld ms", (long long)drain_ms);
    proc_notify("STOPPING=1\nSTATUS=stopping");
    mux->is_stopping = true;
    /* Before they are closed, while they are surely ours: the next multiplexor may start while we
     * drain. */
    (void)unlink(mux->conf->multiplexor.socket);
    (void)unlink(mux->conf->multiplexor.control_socket);
    clients_stop_listening(mux);
    ctl_stop_listening(mux);
    maps_stop_listening(mux);
    ticks_stop(mux);
    profile_finish(mux);
    reload_stop(mux);
    shadow_stop(mux);
    retire_all(mux);
    loop_add_ms(&mux->drain, drain_ms);
    mux_wake(mux);
}

static void on_signal(evutil_socket_t number, short what, void *context)
{
    (void)what;
    struct mux *mux = context;
    if (number == SIGCHLD)
        reap(mux);
    else if (number == SIGHUP)
        reload_ask(mux, NULL, RELOAD_CANARY_OPTION);
    else
        mux_stop(mux);
}

static void watch_signals(struct mux *mux)
{
    static const int numbers[MUX_SIGNALS] = {SIGCHLD, SIGHUP, SIGINT, SIGTERM};
    for (int i = 0; i < MUX_SIGNALS; i++) {
        evsignal_assign(&mux->signals[i], mux->base, numbers[i], on_signal, mux);
        loop_add(&mux->signals[i], NULL);
    }
}

struct mux *mux_new(
    struct conf *conf, const char *worker_program, const struct mux_sockets *sockets)
{
    struct event_base *base = event_base_new();
    if (base == NULL)
        return NULL;
    struct mux *mux = xcalloc(1, sizeof(*mux));
    *mux = (struct mux){
        .base = base,
        .conf = conf,
        .worker_program = xstrdup(worker_program),
        .scratch = xmalloc(LINK_SCRATCH_BYTES),
        .overload_logged_ms = INT64_MIN / 2,
    };
    struct timeval housekeeping = {.tv_usec = HOUSEKEEPING_MS * 1000};
    TAILQ_INIT(&mux->generations);
    queue_init(&mux->lobby, &mux->n_queued);
    buf_init(&mux->encoded, WIRE_RECORD_MAX);
    stats_init(&mux->stats, clock_now_ms());
    status_line_init(mux, clock_now_ms());
    event_assign(&mux->tend, base, -1, 0, on_tend, mux);
    event_assign(&mux->housekeeping, base, -1, EV_PERSIST, on_housekeeping, mux);
    evtimer_assign(&mux->drain, base, on_drain_end, mux);
    loop_add(&mux->housekeeping, &housekeeping);
    reload_init(mux);
    guard_init(mux);
    canary_init(mux);
    ticks_init(mux);
    limits_init(&mux->limits);
    limits_configure(mux);
    shadow_init(mux);
    profile_init(mux);
    mux_needs(mux, &mux->told);
    clients_open(mux, sockets->records, sockets->max_clients);
    ctl_open(mux, sockets->control, sockets->control_gid);
    http_open(mux, sockets->metrics, sockets->is_metrics_inet);
    maps_open(mux, sockets->maps);
    return mux;
}

/* The end is near and nobody reads signals any more: another one must not end us by its default
 * action, with a status that says we failed. */
static void block_signals(void)
{
    sigset_t asked_to_end;
    sigemptyset(&asked_to_end);
    sigaddset(&asked_to_end, SIGHUP);
    sigaddset(&asked_to_end, SIGINT);
    sigaddset(&asked_to_end, SIGTERM);
    sigprocmask(SIG_BLOCK, &asked_to_end, NULL);
}

void mux_run(struct mux *mux)
{
    signal(SIGPIPE, SIG_IGN);
    kin_adopt();
    watch_signals(mux);
    reload_first(mux);
    proc_notify("READY=1\nSTATUS=loading the filter");
    event_base_dispatch(mux->base);
    if (!mux->is_stopping)
        log_fatal(EXIT_CODE_SYSTEM, "the event loop has failed: %s", strerror(errno));
    block_signals();
    log_info("stopped after %llu requests", (unsigned long long)mux->stats.requests);
}

void mux_free(struct mux *mux)
{
    if (mux == NULL)
        return;
    clients_stop_listening(mux);
    maps_close(mux);
    ticks_clear(mux);
    profile_clear(mux);
    clients_close(mux);
    ctl_close(mux);
    http_close(mux);
    reload_clear(mux);
    guard_clear(mux);
    limits_clear(&mux->limits);
    shadow_clear(mux);
    for (int i = 0; i < MUX_SIGNALS; i++)
        if (event_initialized(&mux->signals[i]))
            event_del(&mux->signals[i]);
    event_del(&mux->drain);
    event_del(&mux->housekeeping);
    event_del(&mux->tend);
    event_base_free(mux->base);
    conf_free(mux->conf);
    counts_clear(&mux->counts);
    buf_clear(&mux->encoded);
    free(mux->scratch);
    free(mux->worker_program);
    free(mux);
}
