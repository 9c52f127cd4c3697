/* Averages of busy workers, and the spread of their limits. */
#include "multiplexor/scale.h"

void scale_note(struct scale *scale, unsigned n_busy, int64_t now_us)
{
    if (scale->seen_us != 0)
        scale->busy_us += (now_us - scale->seen_us) * scale->n_busy;
    scale->seen_us = now_us;
    scale->n_busy = n_busy;
}

void scale_sample(struct scale *scale, int64_t window_ms, int64_t now_us)
{
    int64_t span_us = now_us - scale->sampled_us;
    scale_note(scale, scale->n_busy, now_us);
    if (scale->sampled_us != 0 && span_us > 0) {
        double present = (double)scale->busy_us / (double)span_us;
        double weight = (double)span_us / ((double)span_us + (double)window_ms * 1000);
        scale->average += (present - scale->average) * weight;
    }
    scale->sampled_us = now_us;
    scale->busy_us = 0;
}

unsigned scale_target(const struct scale *scale, unsigned load_percent, unsigned min, unsigned max)
{
    double wanted = scale->average * 100 / load_percent;
    if (wanted >= max)
        return max;
    /* A hundredth is no reason for one more. */
    unsigned target = (unsigned)(wanted + 0.99);
    return target < min ? min : target;
}

int64_t scale_spread(int64_t limit, unsigned spread_percent, uint32_t number)
{
    /* The fractions of multiples of the golden ratio fill an interval evenly. */
    uint32_t fraction = number * UINT32_C(2654435769);
    double less = (double)limit * spread_percent / 100 * ((double)fraction / 4294967296.0);
    int64_t rest = limit - (int64_t)less;
    return rest < 1 && limit > 0 ? 1 : rest;
}
