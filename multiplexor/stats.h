/*
 * Counters of the multiplexor (stats.def), latency histograms and rates. Observes; decides nothing.
 */
#ifndef POSTERN_MULTIPLEXOR_STATS_H
#define POSTERN_MULTIPLEXOR_STATS_H

#include <jansson.h>
#include <stdint.h>

#include "common/hook.h"
#include "common/verdict.h"
#include "common/wire.h"
#include "multiplexor/histogram.h"

/* Why a worker ended. RECYCLE_NONE: it belonged to a generation that failed, or we are stopping. */
enum recycle {
    RECYCLE_NONE = 0,
    RECYCLE_REQUESTS,
    RECYCLE_AGE,
    RECYCLE_IDLE,
    RECYCLE_MEMORY,
    RECYCLE_HEAP,
    RECYCLE_ASKED,
    RECYCLE_RELOAD,
    RECYCLE_DIED,
    RECYCLE_DEADLINE,
    RECYCLE_COUNT,
};

enum { STATS_SECONDS = 601 }; /* the present second and ten minutes before it */

/* What took how long of late: slots of a second for 10 s and 1 m, of ten seconds for 10 m. */
struct recent {
    struct window fine, coarse;
};

struct stats {
#define COUNTER(name, help)           uint64_t name;
#define FAMILY(name, size, key, help) uint64_t name[size];
#include "multiplexor/stats.def"
#undef COUNTER
#undef FAMILY
    struct histogram queue, hook;          /* in the queue, and with the worker */
    struct histogram per_hook[HOOK_COUNT]; /* with the worker */
    struct recent recent_queue, recent_hook;
    int64_t started_ms;
    int64_t second; /* the second (monotonic) that per_second[second % STATS_SECONDS] counts */
    uint32_t per_second[STATS_SECONDS]; /* requests answered */
};

void stats_init(struct stats *stats, int64_t now_ms);
/* Counts one request answered; hook_us < 0: no worker ran it. */
void stats_answered(struct stats *stats, enum hook hook, unsigned outcome, unsigned verdict,
    int64_t queue_us, int64_t hook_us, int64_t now_ms);

/* A family as an object {key: number}. */
json_t *stats_family_json(const uint64_t *values, int size, const char *(*key)(int));
/* Every COUNTER as {name: number}. */
json_t *stats_counters_json(const struct stats *stats);
/* Since the start, and of the last 10 s, 1 m, 10 m: {"queue", "hook", "10s": {"queue", "hook"} …},
 * each with its percentiles. */
json_t *stats_latency_json(struct stats *stats, int64_t now_ms);
/* {"queue": histogram, "hooks": {name: histogram}}; hooks that no worker ran are left out. */
json_t *stats_histograms_json(const struct stats *stats);
/* Requests each second over 10 s, 1 m, 10 m. */
json_t *stats_rates_json(struct stats *stats, int64_t now_ms);

const char *stats_hook_key(int hook);
const char *stats_verdict_key(int verdict);
const char *stats_outcome_key(int outcome);
const char *stats_recycle_key(int cause); /* NULL for RECYCLE_NONE */

#endif
