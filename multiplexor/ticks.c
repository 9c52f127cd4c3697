/* When a timer runs, and what came of it. */
#include "multiplexor/ticks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/xalloc.h"
#include "multiplexor/client.h"
#include "multiplexor/loop.h"
#include "multiplexor/mux.h"

enum {
    RETRY_MS = 200,   /* when a timer is due and no worker is free */
    WORKERS_EACH = 4, /* one run at a time for each so many workers */
};

static bool has_hook(const struct mux *mux)
{
    return mux->current != NULL && (mux->current->needs.hooks & HOOK_BIT(HOOK_TICK)) != 0;
}

/* Whether a run would take nothing away from mail. */
static bool may_run(const struct mux *mux)
{
    int64_t most = mux->conf->multiplexor.max_workers / WORKERS_EACH;
    return !mux->is_draining && mux->n_queued == 0 && mux_may_run_common(mux) &&
           mux->current->pool.n_in[CHILD_IDLE] > 0 &&
           mux->ticks.n_running < (unsigned)(most > 1 ? most : 1);
}

/* The next beat after now. */
static void set_next(struct tick *tick, int64_t now_ms)
{
    int64_t interval_ms = tick->spec.interval_ms;
    if (tick->due_ms <= now_ms)
        tick->due_ms += ((now_ms - tick->due_ms) / interval_ms + 1) * interval_ms;
}

static void arm(struct mux *mux)
{
    struct ticks *ticks = &mux->ticks;
    int64_t now_ms = clock_now_ms(), wait_ms = INT64_MAX;
    for (unsigned i = 0; i < ticks->n; i++) {
        const struct tick *tick = ticks->list[i];
        int64_t left_ms = tick->due_ms > now_ms ? tick->due_ms - now_ms : RETRY_MS;
        if (!tick->is_running && left_ms < wait_ms)
            wait_ms = left_ms;
    }
    event_del(&ticks->timer);
    if (wait_ms == INT64_MAX || mux->is_stopping || !has_hook(mux))
        return;
    loop_add_ms(&ticks->timer, wait_ms);
}

static void skip(struct tick *tick)
{
    tick->skipped++;
    tick->mux->stats.ticks_skipped++;
    log_info("filter_tick %s: no worker was free: skipped", tick->spec.name);
}

static void on_answer(const struct wire_reply *reply, void *context)
{
    struct tick *tick = context;
    int64_t now_ms = clock_now_ms();
    tick->is_running = false;
    tick->mux->ticks.n_running--;
    tick->took_ms = now_ms - tick->started_ms;
    if (reply->outcome == OUTCOME_OVERLOAD) { /* mail came first after all */
        skip(tick);
    } else {
        tick->runs++;
        tick->failures += reply->outcome != OUTCOME_OK;
        if (reply->outcome != OUTCOME_OK)
            log_warn("filter_tick %s: %s", tick->spec.name, wire_outcome_name(reply->outcome));
    }
    set_next(tick, now_ms);
    arm(tick->mux);
}

static void run(struct tick *tick, int64_t now_ms)
{
    char id[TICK_NAME_MAX + 8];
    snprintf(id, sizeof(id), "tick.%s", tick->spec.name);
    struct wire_request request = {
        .budget_ms = (uint32_t)tick->mux->conf->multiplexor.tick_time,
        .attempt = 1,
        .hook = HOOK_TICK,
        .negotiated_sees = STAGES_ALL,
        .negotiated_answers = STAGES_ALL,
        .conn_id = slice_text(id),
        .name = slice_text(tick->spec.name),
    };
    tick->is_running = true;
    tick->mux->ticks.n_running++;
    tick->started_ms = now_ms;
    tick->last_at = time(NULL);
    int err = client_ask_local(tick->asker, &request, -1, false);
    LOG_INVARIANT(err == 0); /* it is ours, and short */
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct mux *mux = context;
    int64_t now_ms = clock_now_ms();
    for (unsigned i = 0; i < mux->ticks.n && has_hook(mux); i++) {
        struct tick *tick = mux->ticks.list[i];
        if (tick->is_running || tick->due_ms > now_ms)
            continue;
        if (may_run(mux)) {
            run(tick, now_ms);
        } else if (now_ms - tick->due_ms >= tick->spec.interval_ms) {
            skip(tick);
            set_next(tick, now_ms);
        }
    }
    arm(mux);
}

void ticks_init(struct mux *mux)
{
    evtimer_assign(&mux->ticks.timer, mux->base, on_timer, mux);
}

static void tick_free(struct tick *tick)
{
    if (tick->is_running)
        tick->mux->ticks.n_running--;
    client_close_local(tick->asker);
    free(tick);
}

/* Takes the timer of this name out of the list, if it is there. */
static struct tick *take(struct ticks *ticks, const char *name)
{
    for (unsigned i = 0; i < ticks->n; i++) {
        struct tick *tick = ticks->list[i];
        if (tick != NULL && strcmp(tick->spec.name, name) == 0) {
            ticks->list[i] = NULL;
            return tick;
        }
    }
    return NULL;
}

static struct tick *tick_new(struct mux *mux)
{
    struct tick *tick = xcalloc(1, sizeof(*tick));
    tick->mux = mux;
    tick->asker = client_open_local(mux, on_answer, tick);
    return tick;
}

/* An interval that changes begins anew. */
static struct tick *set_spec(struct tick *tick, const struct tick_spec *spec)
{
    if (tick->spec.interval_ms != spec->interval_ms)
        tick->due_ms = clock_now_ms() + spec->interval_ms;
    tick->spec = *spec;
    return tick;
}

void ticks_on_current(struct mux *mux)
{
    struct ticks *ticks = &mux->ticks;
    struct tick_spec specs[TICKS_MAX];
    struct tick *list[TICKS_MAX];
    unsigned n = 0;
    char why[256];
    (void)tick_specs_read(
        mux->conf->multiplexor.ticks, specs, &n, why, sizeof(why)); /* conf_load has read it */
    for (unsigned i = 0; i < n; i++) {
        struct tick *tick = take(ticks, specs[i].name);
        list[i] = set_spec(tick != NULL ? tick : tick_new(mux), &specs[i]);
    }
    for (unsigned i = 0; i < ticks->n; i++)
        if (ticks->list[i] != NULL)
            tick_free(ticks->list[i]);
    memcpy(ticks->list, list, n * sizeof(list[0]));
    ticks->n = n;
    if (n > 0 && !has_hook(mux))
        log_warn(
            "multiplexor.ticks names timers, but %s defines no filter_tick", mux->current->filter);
    for (unsigned i = 0; i < n; i++)
        set_next(list[i], clock_now_ms()); /* a filter without the hook may have let beats pass */
    arm(mux);
}

void ticks_stop(struct mux *mux)
{
    event_del(&mux->ticks.timer);
}

void ticks_clear(struct mux *mux)
{
    ticks_stop(mux);
    for (unsigned i = 0; i < mux->ticks.n; i++)
        tick_free(mux->ticks.list[i]);
    mux->ticks.n = 0;
}
