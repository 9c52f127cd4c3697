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

/* Why a worker ended. RECYCLE_NONE: it belonged to a generation that failed, or we are stopping. */
enum recycle {
    RECYCLE_NONE = 0,
    RECYCLE_REQUESTS,
    RECYCLE_AGE,
    RECYCLE_IDLE,
    RECYCLE_MEMORY,
    RECYCLE_ASKED,
    RECYCLE_RELOAD,
    RECYCLE_DIED,
    RECYCLE_DEADLINE,
    RECYCLE_COUNT,
};

enum {
    HISTOGRAM_BUCKETS = 160, /* four to each power of two, from 1 microsecond up */
    STATS_SECONDS = 601,     /* the present second and ten minutes before it */
};

struct histogram {
    uint64_t n;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

struct stats {
#define COUNTER(name, help)           uint64_t name;
#define FAMILY(name, size, key, help) uint64_t name[size];
#include "multiplexor/stats.def"
#undef COUNTER
#undef FAMILY
    struct histogram queue, hook; /* microseconds in the queue, and with the worker */
    int64_t started_ms;
    int64_t second; /* the second (monotonic) that per_second[second % STATS_SECONDS] counts */
    uint32_t per_second[STATS_SECONDS]; /* requests answered */
};

void stats_init(struct stats *stats, int64_t now_ms);
void histogram_add(struct histogram *histogram, int64_t us);
/* The value that the share (0 … 1) of all samples does not exceed, in milliseconds, to within a
 * quarter; 0 without samples. */
double histogram_percentile_ms(const struct histogram *histogram, double share);

/* Counts one request answered; hook_us < 0: no worker ran it. */
void stats_answered(struct stats *stats, enum hook hook, unsigned outcome, unsigned verdict,
    int64_t queue_us, int64_t hook_us, int64_t now_ms);

/* A family as an object {key: number}. */
json_t *stats_family_json(const uint64_t *values, int size, const char *(*key)(int));
/* Every COUNTER as {name: number}. */
json_t *stats_counters_json(const struct stats *stats);
json_t *stats_latency_json(const struct stats *stats);
/* Requests each second over 10 s, 1 m, 10 m. */
json_t *stats_rates_json(struct stats *stats, int64_t now_ms);

const char *stats_hook_key(int hook);
const char *stats_verdict_key(int verdict);
const char *stats_outcome_key(int outcome);
const char *stats_recycle_key(int cause); /* NULL for RECYCLE_NONE */

#endif
