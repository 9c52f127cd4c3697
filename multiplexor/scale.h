/*
 * How many workers the load of the recent past asks for: the busy ones, averaged over a window,
 * with room above them. Arithmetic only; the workers are pool.c's.
 */
#ifndef POSTERN_MULTIPLEXOR_SCALE_H
#define POSTERN_MULTIPLEXOR_SCALE_H

#include <stdint.h>

struct scale {
    double average;  /* workers busy at the same time */
    int64_t busy_us; /* worker time since the last sample */
    int64_t seen_us; /* when n_busy was noted; 0: never */
    int64_t sampled_us;
    unsigned n_busy;
};

/* From now on so many are busy. now_us: monotonic clock. */
void scale_note(struct scale *scale, unsigned n_busy, int64_t now_us);
/* Now and then: takes the time since the last call into the average, whose memory is window_ms. */
void scale_sample(struct scale *scale, int64_t window_ms, int64_t now_us);
/* The workers of which at most load_percent (1 to 100) would have been busy, between min and max.
 */
unsigned scale_target(const struct scale *scale, unsigned load_percent, unsigned min, unsigned max);

/*
 * A limit of one worker, less a share of at most spread_percent of it. The shares of workers with
 * successive numbers are far apart, so that workers started together do not reach it together.
 * Never below 1 for a limit above 0.
 */
int64_t scale_spread(int64_t limit, unsigned spread_percent, uint32_t number);

#endif
