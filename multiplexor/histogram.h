/*
 * How long things took: counts by size, four buckets to each power of two microseconds. A histogram
 * counts since its start; a window counts the recent past, in slots of equal length that are
 * dropped when they are too old. Observes; decides nothing.
 */
#ifndef POSTERN_MULTIPLEXOR_HISTOGRAM_H
#define POSTERN_MULTIPLEXOR_HISTOGRAM_H

#include <jansson.h>
#include <stdint.h>

enum {
    HISTOGRAM_BUCKETS = 160, /* from 1 microsecond up; the last one takes all that is longer */
    WINDOW_SLOTS = 61,       /* the present one and sixty before it */
};

struct histogram {
    uint64_t n;
    uint64_t sum_us;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

struct window {
    int64_t slot_ms; /* length of a slot */
    int64_t slot;    /* the present one: slots[slot % WINDOW_SLOTS] */
    uint32_t slots[WINDOW_SLOTS][HISTOGRAM_BUCKETS];
};

/* us below 0 counts as 0. */
void histogram_add(struct histogram *histogram, int64_t us);
/* The value that the share (0 … 1) of all samples does not exceed, in milliseconds, to within a
 * quarter; 0 without samples. */
double histogram_percentile_ms(const struct histogram *histogram, double share);
/* How many samples took less than 2^log2 microseconds; log2 from 2 up. */
uint64_t histogram_n_below(const struct histogram *histogram, int log2);
/* {"p50", "p99"} in milliseconds. */
json_t *histogram_percentiles_json(const struct histogram *histogram);
/* {"n", "sum_ms", "p50", "p90", "p99", "buckets": [[upper bound in ms, number of samples], …]};
 * buckets without samples are left out. */
json_t *histogram_json(const struct histogram *histogram);

void window_init(struct window *window, int64_t slot_ms, int64_t now_ms);
void window_add(struct window *window, int64_t us, int64_t now_ms);
/* The samples of the present slot and of the n_slots before it; sum_us stays 0. */
void window_sum(struct window *window, int n_slots, int64_t now_ms, struct histogram *out);

#endif
