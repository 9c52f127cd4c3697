/* The life of a generation, and which one serves whom. */
#include "multiplexor/generation_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/xalloc.h"
#include "multiplexor/canary.h"
#include "multiplexor/loop.h"
#include "multiplexor/mux.h"
#include "multiplexor/nursery.h"
#include "multiplexor/reload.h"
#include "multiplexor/request.h"
#include "multiplexor/request_route.h"
#include "multiplexor/shadow.h"

enum {
    QUIET_MS = 5000
}; /* without any watcher, a lingering generation goes after so long without a request */

const char *generation_state_name(enum generation_state state)
{
    static const char *const names[] = {
        "loading", "warming", "candidate", "current", "lingering", "shadow", "retiring"};
    return names[state];
}

void generation_set_state(struct generation *generation, enum generation_state state)
{
    static const uint8_t allowed[] = {
        [GENERATION_LOADING] = 1 << GENERATION_WARMING | 1 << GENERATION_RETIRING,
        [GENERATION_WARMING] = 1 << GENERATION_CANDIDATE | 1 << GENERATION_CURRENT |
                               1 << GENERATION_SHADOW | 1 << GENERATION_RETIRING,
        [GENERATION_CANDIDATE] =
            1 << GENERATION_CURRENT | 1 << GENERATION_LINGERING | 1 << GENERATION_RETIRING,
        [GENERATION_CURRENT] = 1 << GENERATION_LINGERING | 1 << GENERATION_RETIRING,
        [GENERATION_LINGERING] = 1 << GENERATION_CURRENT | 1 << GENERATION_RETIRING,
        [GENERATION_SHADOW] = 1 << GENERATION_RETIRING,
        [GENERATION_RETIRING] = 0,
    };
    LOG_INVARIANT((allowed[generation->state] & 1 << state) != 0);
    generation->state = state;
}

/* New messages come to it: CANDIDATE or CURRENT. */
static bool generation_takes_new(const struct generation *generation)
{
    return generation->state == GENERATION_CANDIDATE || generation->state == GENERATION_CURRENT;
}

bool generation_is_serving(const struct generation *generation)
{
    return generation_takes_new(generation) || generation->state == GENERATION_LINGERING;
}

bool generation_is_staffed(const struct generation *generation)
{
    return generation_takes_new(generation) || generation->state == GENERATION_SHADOW;
}

bool generation_can_fork(const struct generation *generation)
{
    return link_is_open(&generation->link);
}

void generation_kill_nursery(struct generation *generation)
{
    link_close(&generation->link);
    if (generation->nursery > 0 && kill(generation->nursery, SIGKILL) != 0)
        log_warn("nursery %d: kill: %s", (int)generation->nursery, strerror(errno));
}

void generation_kill(struct generation *generation)
{
    pool_kill(&generation->pool);
    generation_kill_nursery(generation);
}

/* A lingering one to which no message belongs any more. */
static bool is_unused(const struct generation *generation, int64_t now_ms)
{
    if (generation->state != GENERATION_LINGERING || generation->queue.n > 0 ||
        generation->pool.n_in[CHILD_BUSY] > 0)
        return false;
    if (clients_n_watchers(generation->mux) > 0)
        return !clients_hold_generation(generation->mux, generation->number);
    int64_t quiet_since = generation->used_ms > generation->lingering_ms ? generation->used_ms
                                                                         : generation->lingering_ms;
    return now_ms - quiet_since >= QUIET_MS;
}

/* generation_linger has passed. */
static void stop_lingering(struct generation *generation)
{
    if (is_unused(generation, clock_now_ms()))
        log_info("generation %u is not kept any longer", generation->number);
    else
        log_warn("generation %u: messages still belong to it after generation_linger; they go on "
                 "with generation %u",
            generation->number,
            generation->mux->current != NULL ? generation->mux->current->number : 0);
    generation_retire(generation);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct generation *generation = context;
    switch (generation->state) {
    case GENERATION_LOADING:
        generation_fail(generation, "the filter did not load within load_time");
        break;
    case GENERATION_WARMING:
        generation_fail(generation, "no worker was ready within load_time");
        break;
    case GENERATION_LINGERING:
        stop_lingering(generation);
        break;
    case GENERATION_RETIRING:
        log_warn("generation %u: its nursery %d did not end within exit_time: killed",
            generation->number, (int)generation->nursery);
        generation_kill_nursery(generation);
        break;
    case GENERATION_CANDIDATE:
    case GENERATION_CURRENT:
    case GENERATION_SHADOW:
        break;
    }
}

/* Everything but the process; the conf in force is the generation's own, or the multiplexor's. */
static struct generation *generation_new(struct mux *mux, struct conf *conf, bool is_shadow)
{
    struct generation *generation = xcalloc(1, sizeof(*generation));
    const struct conf *in_force = conf != NULL ? conf : mux->conf;
    *generation = (struct generation){
        .mux = mux,
        .number = ++mux->last_generation,
        .is_shadow = is_shadow,
        .conf = conf,
        .filter = xstrdup(in_force->worker.filter),
        .link = {.fd = -1},
        .started_ms = clock_now_ms(),
        .used_ms = clock_now_ms(),
    };
    pool_init(&generation->pool, generation);
    queue_init(&generation->queue, is_shadow ? &mux->shadow.n_queued : &mux->n_queued);
    evtimer_assign(&generation->timer, mux->base, on_timer, generation);
    TAILQ_INSERT_TAIL(&mux->generations, generation, entry);
    return generation;
}

static void load(struct generation *generation)
{
    struct mux *mux = generation->mux;
    const struct conf *in_force = generation->conf != NULL ? generation->conf : mux->conf;
    char name[48];
    int fd;
    log_info("generation %u: loading %s", generation->number, generation->filter);
    int err = nursery_spawn(mux->worker_program, in_force, generation->number,
        generation->is_shadow, &generation->nursery, &fd);
    if (err != 0) {
        generation_fail(generation, "its nursery could not be started");
        return;
    }
    snprintf(name, sizeof(name), "nursery %d", (int)generation->nursery);
    err = link_open(&generation->link, mux->base, fd, ROLE_NURSERY, generation->number,
        mux->scratch, name, &generation_events, generation);
    if (err != 0) {
        generation_fail(generation, "no connection to its nursery");
        return;
    }
    /* Nursery and worker keep load_time themselves, and say where the filter was then. */
    loop_add_ms(
        &generation->timer, in_force->multiplexor.load_time + in_force->multiplexor.kill_grace);
}

struct generation *generation_start(struct mux *mux, struct conf *conf)
{
    struct generation *generation = mux->loading = generation_new(mux, conf, false);
    load(generation);
    return generation;
}

struct generation *generation_start_shadow(struct mux *mux, struct conf *conf)
{
    struct generation *generation = mux->shadow.generation = generation_new(mux, conf, true);
    load(generation);
    return generation;
}

void generation_on_worker_ready(struct generation *generation)
{
    if (generation->state != GENERATION_WARMING)
        return;
    event_del(&generation->timer);
    if (generation->is_shadow)
        shadow_on_loaded(generation);
    else
        reload_on_loaded(generation);
}

void generation_become_shadow(struct generation *generation)
{
    generation_set_state(generation, GENERATION_SHADOW);
}

void generation_become_candidate(struct generation *generation)
{
    generation_set_state(generation, GENERATION_CANDIDATE);
}

void generation_become_current(struct generation *generation)
{
    event_del(&generation->timer);
    generation_set_state(generation, GENERATION_CURRENT);
    generation->was_current = true;
    generation->is_kept = false;
}

void generation_fail(struct generation *generation, const char *why)
{
    bool was_loading = generation->state == GENERATION_LOADING;
    generation_retire(generation);
    if (was_loading)
        generation_kill_nursery(generation); /* it may hang in the file's top level, and there is
                                     nothing yet to end in good order */
    if (generation->is_shadow)
        shadow_on_failed(generation, why);
    else
        reload_on_failed(generation, why);
}

void generation_linger(struct generation *generation)
{
    generation_set_state(generation, GENERATION_LINGERING);
    generation->lingering_ms = clock_now_ms();
    loop_add_ms(&generation->timer, generation->mux->conf->multiplexor.generation_linger);
    mux_wake(generation->mux);
}

static void quit_nursery(struct generation *generation)
{
    struct buf *encoded = &generation->mux->encoded;
    struct wire_quit quit = {0};
    int err = wire_put_quit(encoded, NULL, 0, 0, &quit);
    LOG_INVARIANT(err == 0);
    if (!link_is_open(&generation->link) ||
        link_send(&generation->link, buf_slice(encoded), NULL, 0) != 0)
        generation_kill_nursery(generation);
    loop_add_ms(&generation->timer, generation->mux->conf->multiplexor.exit_time);
}

void generation_retire(struct generation *generation)
{
    struct request *request;
    struct child *child, *next;
    if (generation->state == GENERATION_RETIRING)
        return;
    generation_set_state(generation, GENERATION_RETIRING);
    canary_forget(generation);
    log_debug("generation %u retires", generation->number);
    for (child = TAILQ_FIRST(&generation->pool.children); child != NULL; child = next) {
        next = TAILQ_NEXT(child, entry);
        if (child->state == CHILD_FORKING || child->state == CHILD_STARTING)
            child_kill(child, RECYCLE_NONE, "its generation retires");
    }
    while ((request = queue_first(&generation->queue)) != NULL)
        request_reroute(request);
    quit_nursery(generation);
    clients_forget_generation(generation->mux, generation->number);
    mux_wake(generation->mux);
}

void generation_on_nursery_exit(struct generation *generation, int status)
{
    char text[64], why[160];
    child_status_text(status, text, sizeof(text));
    generation->nursery = 0;
    if (generation->state == GENERATION_RETIRING)
        event_del(&generation->timer);
    snprintf(why, sizeof(why), "its nursery ended: %s", text);
    link_drain(&generation->link); /* it may have said why */
    generation_lose_nursery(generation, why);
    mux_wake(generation->mux);
}

bool generation_is_over(const struct generation *generation)
{
    return generation->state == GENERATION_RETIRING && pool_is_empty(&generation->pool) &&
           generation->nursery == 0;
}

void generation_free(struct generation *generation)
{
    struct mux *mux = generation->mux;
    LOG_INVARIANT(
        generation->queue.n == 0 && mux->current != generation && mux->loading != generation);
    TAILQ_REMOVE(&mux->generations, generation, entry);
    event_del(&generation->timer);
    link_close(&generation->link);
    pool_clear(&generation->pool);
    conf_free(generation->conf);
    free(generation->filter);
    free(generation->sandbox);
    free(generation->warning);
    free(generation);
}

bool generation_is_unneeded(const struct generation *generation, int64_t now_ms)
{
    return !generation->is_kept && is_unused(generation, now_ms);
}

static bool fits(const struct generation *generation, struct hook_needs negotiated)
{
    return generation_is_serving(generation) &&
           hook_needs_are_covered(generation->needs, negotiated);
}

/* Whether messages can still go to the one that they belong to. A candidate whose workers do not
 * start is about to go. */
static bool is_there(const struct generation *generation)
{
    return generation_is_serving(generation) &&
           !(generation->state == GENERATION_CANDIDATE && pool_is_broken(&generation->pool));
}

/* The one it belongs to while it lives, else the current one, else the newest that was current
 * once; only if the negotiated stages cover its needs. */
static struct generation *find(struct mux *mux, uint32_t asked, struct hook_needs negotiated)
{
    struct generation *generation, *newest = NULL;
    TAILQ_FOREACH(generation, &mux->generations, entry)
    {
        if (asked != 0 && generation->number == asked && is_there(generation))
            return fits(generation, negotiated) ? generation : NULL;
        /* A message that belongs to a generation that is gone goes on with the current one or not
         * at all. */
        if (generation->was_current && asked == 0 && fits(generation, negotiated))
            newest = generation;
    }
    return fits(mux->current, negotiated) ? mux->current : newest;
}

enum reply_outcome generation_choose(
    struct mux *mux, uint32_t asked, struct hook_needs negotiated, struct generation **out)
{
    if (mux->current == NULL)
        return OUTCOME_NOBODY;
    *out = find(mux, asked, negotiated);
    if (*out == NULL)
        return OUTCOME_RENEGOTIATE;
    (*out)->used_ms = clock_now_ms();
    return OUTCOME_OK;
}
