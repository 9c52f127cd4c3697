/* Starts that fail: pauses between them, each longer than the one before, so that a filter that
 * does not run costs no more than a try now and then. */
#include <stdio.h>

#include "common/clock.h"
#include "common/log.h"
#include "multiplexor/generation.h"
#include "multiplexor/loop.h"
#include "multiplexor/mux.h"
#include "multiplexor/pool.h"

enum {
    EARLY_DEATH_PAUSES = 10, /* after a death before the first answer, times respawn_min at most */
};

void pool_on_resume(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct pool *pool = context;
    pool->is_paused = false;
    mux_wake(pool->generation->mux);
}

void pool_unthrottle(struct pool *pool)
{
    pool->n_failures = 0;
    pool->pause_ms = 0;
    pool->failure[0] = '\0';
}

void pool_on_ready(struct generation *generation)
{
    if (generation->pool.n_owed > 0)
        generation->pool.n_owed--;
    generation->pool.n_failures = 0;
    generation_on_worker_ready(generation);
}

void pool_on_first_answer(struct generation *generation)
{
    pool_unthrottle(&generation->pool);
}

/* Starts the next pause, each twice as long as the one before. Those that were started before a
 * pause and fail in it are its reason too, and do not make it longer. */
static void throttle(struct pool *pool, int64_t longest_ms, const char *why)
{
    const struct conf *conf = pool->generation->mux->conf;
    int64_t now_ms = clock_now_ms();
    bool is_of_use =
        generation_is_serving(pool->generation) || pool->generation->state == GENERATION_SHADOW;
    if (!is_of_use || pool->is_paused)
        return;
    int64_t pause_ms = pool->pause_ms > 0 ? pool->pause_ms * 2 : conf->multiplexor.respawn_min;
    if (pause_ms > longest_ms)
        pause_ms = longest_ms;
    pool->is_paused = true;
    pool->pause_ms = pause_ms;
    pool->paused_until_ms = now_ms + pause_ms;
    snprintf(pool->failure, sizeof(pool->failure), "%s", why);
    loop_add_ms(&pool->resume, pause_ms);
    log_error("a worker of generation %u is of no use: %s; the next start in %lld ms",
        pool->generation->number, why, (long long)pause_ms);
}

void pool_on_early_death(struct generation *generation, const char *why)
{
    /* The cause may be a message: whoever sends such must not stop the mail of others for long. */
    const struct conf *conf = generation->mux->conf;
    int64_t longest_ms = conf->multiplexor.respawn_min * EARLY_DEATH_PAUSES;
    generation->mux->stats.start_failures += generation->is_shadow ? 0 : 1;
    if (longest_ms > conf->multiplexor.respawn_max)
        longest_ms = conf->multiplexor.respawn_max;
    throttle(&generation->pool, longest_ms, why);
}

void pool_on_start_failed(struct generation *generation, const char *why)
{
    generation->mux->stats.start_failures += generation->is_shadow ? 0 : 1;
    generation->pool.n_failures++;
    if (generation->state == GENERATION_WARMING)
        generation_fail(generation, why);
    else
        throttle(&generation->pool, generation->mux->conf->multiplexor.respawn_max, why);
}
