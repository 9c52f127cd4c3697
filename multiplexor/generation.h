/*
 * One load of the filter: its nursery, the pool that the nursery forks, the queue of requests that
 * belong to it, and what the filter needs from the MTA. At most one is current; those before it
 * linger while messages that began with them live.
 *
 * States: LOADING (the nursery reads the file) → WARMING (it has; the first worker starts) →
 * CURRENT → LINGERING (another one is current) → RETIRING (no new requests; its processes end). A
 * load that fails goes from LOADING or WARMING to RETIRING and changes nothing else. Between
 * WARMING and CURRENT it may be a CANDIDATE (canary.h), and may go to LINGERING from there; a
 * LINGERING one may become CURRENT again. A shadow's (shadow.h) goes from WARMING to SHADOW and
 * from there to RETIRING, and serves nobody.
 */
#ifndef POSTERN_MULTIPLEXOR_GENERATION_H
#define POSTERN_MULTIPLEXOR_GENERATION_H

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <time.h>

#include "common/conf.h"
#include "common/hook.h"
#include "common/wire.h"
#include "multiplexor/link.h"
#include "multiplexor/pool.h"
#include "multiplexor/queue.h"

struct mux;

enum generation_state {
    GENERATION_LOADING = 0,
    GENERATION_WARMING,
    GENERATION_CANDIDATE,
    GENERATION_CURRENT,
    GENERATION_LINGERING,
    GENERATION_SHADOW,
    GENERATION_RETIRING
};

enum { GENERATION_LIVING_MAX = 16 }; /* the oldest lingering one goes when there are more */

struct generation {
    TAILQ_ENTRY(generation) entry; /* of mux->generations, oldest first */
    struct mux *mux;
    uint32_t number; /* from 1 */
    enum generation_state state;
    bool is_shadow;
    bool was_current;
    bool is_kept; /* while it lingers it stays although nobody needs it, so that it can be current
                     again */
    bool has_lost_nursery;
    struct conf *conf; /* what it was loaded with, while it is not current; NULL: the
                          multiplexor's own */
    struct hook_needs needs;
    char *filter;     /* path of the file */
    char *sandbox;    /* as its nursery says; NULL: not yet */
    char *warning;    /* what it says of a filter that has loaded; NULL: nothing */
    pid_t nursery;    /* 0: gone */
    struct link link; /* to the nursery */
    struct pool pool;
    struct queue queue;
    struct event timer; /* load, linger, or exit of the nursery */
    int64_t started_ms;
    time_t loaded_at;     /* wall clock, for status; 0: not yet */
    int64_t used_ms;      /* last request */
    int64_t lingering_ms; /* since when */
};

TAILQ_HEAD(generation_list, generation);

/* Starts a nursery with conf (ownership moves here; NULL: the multiplexor's). Never NULL: a nursery
 * that cannot be started is a load that fails. */
struct generation *generation_start(struct mux *mux, struct conf *conf);
/* The same for the shadow, which the generation becomes when it is ready. */
struct generation *generation_start_shadow(struct mux *mux, struct conf *conf);
/* The load failed: retires the generation and tells reload.c or shadow.c. */
void generation_fail(struct generation *generation, const char *why);
/* By canary.c, reload.c and shadow.c, which see to the rest. */
void generation_become_shadow(struct generation *generation);
void generation_become_candidate(struct generation *generation);
void generation_become_current(struct generation *generation);
/* Another one is current. */
void generation_linger(struct generation *generation);
/* No more requests: the queue is routed anew, workers and nursery are asked to end. */
void generation_retire(struct generation *generation);
/* Kills what is left of it. */
void generation_kill(struct generation *generation);
/* Nothing is left of it: no worker, no nursery. */
bool generation_is_over(const struct generation *generation);
void generation_free(struct generation *generation);

bool generation_is_serving(
    const struct generation *generation); /* CANDIDATE, CURRENT or LINGERING */
/* Its workers are kept at a number, and replaced: it takes new messages, or is the shadow. */
bool generation_is_staffed(const struct generation *generation);
bool generation_can_fork(const struct generation *generation);
/* A lingering one that nobody needs any more: released by every watcher, nothing queued or running.
 */
bool generation_is_unneeded(const struct generation *generation, int64_t now_ms);
const char *generation_state_name(enum generation_state state);

/*
 * The generation that serves a request.
 *
 * asked       the one the message belongs to, 0: the current one.
 * negotiated  stages that its connection negotiated.
 * Returns OUTCOME_OK and *out; OUTCOME_RENEGOTIATE when those do not cover what any fitting
 * generation needs; OUTCOME_NOBODY when none has loaded.
 */
enum reply_outcome generation_choose(
    struct mux *mux, uint32_t asked, struct hook_needs negotiated, struct generation **out);

/* Told by pool.c and mux.c. */
void generation_on_worker_ready(struct generation *generation);
void generation_on_nursery_exit(struct generation *generation, int status);

#endif
