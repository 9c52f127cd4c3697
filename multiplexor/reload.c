/* The order of loads, and what each one's end changes. */
#include "multiplexor/reload.h"

#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/proc.h"
#include "common/xalloc.h"
#include "multiplexor/canary.h"
#include "multiplexor/loop.h"
#include "multiplexor/mux.h"
#include "multiplexor/request.h"
#include "multiplexor/request_route.h"
#include "multiplexor/settings.h"

enum { PATIENCE_MS = 5000 }; /* a load may take so long while a newer one waits */

static void add_waiter(struct reload_waiter_list *list, struct reload_waiter *waiter)
{
    if (waiter == NULL)
        return;
    TAILQ_INSERT_TAIL(list, waiter, entry);
    waiter->list = list;
}

void reload_forget(struct reload_waiter *waiter)
{
    if (waiter->list == NULL)
        return;
    TAILQ_REMOVE(waiter->list, waiter, entry);
    waiter->list = NULL;
}

static void answer_waiters(struct reload_waiter_list *list, uint32_t generation, const char *error)
{
    struct reload_waiter *waiter;
    while ((waiter = TAILQ_FIRST(list)) != NULL) {
        reload_forget(waiter);
        waiter->done(waiter, generation, error);
    }
}

static void move_waiters(struct reload_waiter_list *from, struct reload_waiter_list *to)
{
    struct reload_waiter *waiter;
    while ((waiter = TAILQ_FIRST(from)) != NULL) {
        reload_forget(waiter);
        add_waiter(to, waiter);
    }
}

static bool is_under_way(const struct mux *mux)
{
    return mux->loading != NULL || guard_is_running(mux);
}

/* The load under way has had time enough: whoever waits for it waits for the newer one instead. */
static void on_patience(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    static const char why[] = "a newer reload took its place";
    struct mux *mux = context;
    if (!is_under_way(mux) || !mux->reload.is_pending)
        return;
    move_waiters(&mux->reload.waiting, &mux->reload.pending);
    if (mux->loading != NULL)
        generation_fail(mux->loading, why);
    else
        guard_give_up(mux, why);
}

static void on_retry(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    reload_ask(context, NULL, RELOAD_CANARY_OPTION);
}

void reload_init(struct mux *mux)
{
    struct reload *reload = &mux->reload;
    TAILQ_INIT(&reload->waiting);
    TAILQ_INIT(&reload->pending);
    evtimer_assign(&reload->patience, mux->base, on_patience, mux);
    evtimer_assign(&reload->retry, mux->base, on_retry, mux);
}

void reload_clear(struct mux *mux)
{
    event_del(&mux->reload.patience);
    event_del(&mux->reload.retry);
    free(mux->reload.error);
    mux->reload.error = NULL;
}

static void set_error(struct reload *reload, const char *error)
{
    free(reload->error);
    reload->error = error != NULL ? xstrdup(error) : NULL;
}

static void retry_later(struct mux *mux)
{
    const struct conf *conf = mux->conf;
    int64_t pause_ms =
        mux->reload.retry_ms > 0 ? mux->reload.retry_ms * 2 : conf->multiplexor.respawn_min;
    if (pause_ms > conf->multiplexor.respawn_max)
        pause_ms = conf->multiplexor.respawn_max;
    mux->reload.retry_ms = pause_ms;
    loop_add_ms(&mux->reload.retry, pause_ms);
}

/*
 * A load that changed nothing: said to the log, to status and to those who wait. Where nothing
 * serves, or nothing can be forked any more, it is tried again: what failed may have been the
 * system and not the filter, and nobody may be there to ask.
 */
static void fail(struct mux *mux, const char *why)
{
    if (mux->current != NULL)
        log_error("reload failed, generation %u goes on: %s", mux->current->number, why);
    else
        log_error("no filter has loaded, mail is answered by on_failure: %s", why);
    mux->stats.load_failures++;
    set_error(&mux->reload, why);
    answer_waiters(&mux->reload.waiting, 0, why);
    if (mux->current == NULL || !generation_can_fork(mux->current))
        retry_later(mux);
}

/* Where nothing serves, or nothing can be forked any more, mail cannot wait for the tests. */
static bool is_guarded(const struct mux *mux, const struct conf *conf)
{
    return conf->multiplexor.reload_tests && mux->current != NULL &&
           generation_can_fork(mux->current);
}

/* Not to be called while a load is under way. */
static void begin(struct mux *mux)
{
    struct conf *conf = NULL;
    char *error = NULL;
    mux->reload.is_pending = false;
    mux->reload.canary = mux->reload.pending_canary;
    move_waiters(&mux->reload.pending, &mux->reload.waiting);
    if (settings_reload(mux->conf, &conf, &error) != 0) {
        fail(mux, error != NULL ? error : "the configuration cannot be read");
        free(error);
        return;
    }
    if (is_guarded(mux, conf))
        guard_begin(mux, conf);
    else
        generation_start(mux, conf);
}

void reload_on_tested(struct mux *mux, struct conf *conf, const char *error)
{
    if (error == NULL && !mux->is_stopping) {
        generation_start(mux, conf);
        return;
    }
    conf_free(conf);
    if (!mux->is_stopping)
        fail(mux, error);
    mux_wake(mux); /* the next one's turn may have come */
}

void reload_first(struct mux *mux)
{
    generation_start(mux, NULL);
}

void reload_ask(struct mux *mux, struct reload_waiter *waiter, int canary)
{
    if (mux->is_stopping) {
        if (waiter != NULL)
            waiter->done(waiter, 0, "stopping");
        return;
    }
    add_waiter(&mux->reload.pending, waiter);
    if (!mux->reload.is_pending && is_under_way(mux)) {
        int64_t since_ms = mux->loading != NULL ? mux->loading->started_ms : mux->guard.started_ms;
        loop_add_ms(&mux->reload.patience, since_ms + PATIENCE_MS - clock_now_ms());
    }
    if (!mux->reload.is_pending || canary != RELOAD_CANARY_OPTION)
        mux->reload.pending_canary = canary;
    mux->reload.is_pending = true;
    mux_wake(mux);
}

void reload_tend(struct mux *mux)
{
    if (mux->reload.is_pending && !is_under_way(mux) && !mux->is_stopping)
        begin(mux);
}

void reload_stop(struct mux *mux)
{
    mux->reload.is_pending = false;
    event_del(&mux->reload.retry);
    event_del(&mux->reload.patience);
    guard_give_up(mux, "stopping");
    answer_waiters(&mux->reload.waiting, 0, "stopping");
    answer_waiters(&mux->reload.pending, 0, "stopping");
}

/* The settings that the generation was loaded with are in force from now on; those before it go
 * back to the generation that they were loaded for. */
static void adopt_settings(struct mux *mux, struct generation *generation, struct generation *old)
{
    struct conf *before = mux->conf;
    if (generation->conf == NULL)
        return;
    mux->conf = generation->conf;
    generation->conf = NULL;
    if (old != NULL)
        old->conf = before;
    else
        conf_free(before);
    log_set_level(mux->conf->log.level);
}

static void empty_lobby(struct mux *mux)
{
    struct request *request;
    while ((request = queue_first(&mux->lobby)) != NULL)
        request_reroute(request);
}

static void notify(const struct mux *mux)
{
    char *state = mux->current != NULL ? xasprintf("STATUS=generation %u of %s",
                                             mux->current->number, mux->current->filter)
                                       : xasprintf("STATUS=no filter has loaded");
    proc_notify(state);
    free(state);
}

void reload_take_over(struct generation *generation)
{
    struct mux *mux = generation->mux;
    struct generation *old = mux->current;
    canary_end(mux, "another generation takes over");
    if (mux->canary.previous != NULL)
        mux->canary.previous->is_kept = false;
    mux->canary.previous = old;
    mux->current = generation;
    generation_become_current(generation);
    event_del(&mux->reload.retry);
    mux->reload.retry_ms = 0;
    adopt_settings(mux, generation, old);
    limits_configure(mux);
    log_info("generation %u is current: %s (%s)", generation->number, generation->filter,
        generation->sandbox != NULL && generation->sandbox[0] != '\0' ? generation->sandbox
                                                                      : "no sandbox");
    if (old != NULL)
        generation_linger(old);
    ticks_on_current(mux);
    empty_lobby(mux);
    notify(mux);
    /* Before whoever asked for it hears of it: the next message is the new filter's. */
    mux_tell_needs(mux);
    mux_wake(mux);
}

/* The share of the clients that a generation is to be tried on, in percent; 0: it takes over at
 * once. So does one that is needed because the current one has no nursery any more. */
static unsigned canary_share(const struct mux *mux, const struct generation *generation)
{
    if (mux->current == NULL || generation->conf == NULL || !generation_can_fork(mux->current))
        return 0;
    return mux->reload.canary != RELOAD_CANARY_OPTION
               ? (unsigned)mux->reload.canary
               : (unsigned)generation->conf->multiplexor.canary;
}

void reload_on_loaded(struct generation *generation)
{
    struct mux *mux = generation->mux;
    unsigned share = canary_share(mux, generation);
    LOG_INVARIANT(mux->loading == generation);
    mux->loading = NULL;
    generation->loaded_at = time(NULL);
    mux->stats.loads++;
    set_error(&mux->reload, NULL);
    if (share > 0)
        canary_begin(generation, share);
    else
        reload_take_over(generation);
    mux_tell_needs(mux);
    answer_waiters(&mux->reload.waiting, generation->number, NULL);
    mux_wake(mux);
}

void reload_on_failed(struct generation *generation, const char *why)
{
    struct mux *mux = generation->mux;
    if (mux->loading != generation)
        return;
    mux->loading = NULL;
    if (mux->is_stopping)
        return;
    fail(mux, why);
    empty_lobby(mux);
    notify(mux);
    mux_wake(mux);
}

void reload_on_nursery_lost(struct mux *mux)
{
    if (!mux->is_stopping)
        retry_later(mux); /* a new generation is the way to a new nursery: the file may have changed
                             meanwhile */
}
