/* Buckets, percentiles, slots. */
#include "multiplexor/histogram.h"

#include <string.h>

/* Bucket 4 * log2(us) + the two bits after the leading one; below 4 each value has its own. */
static int bucket_of(int64_t us)
{
    uint64_t value = us > 0 ? (uint64_t)us : 0;
    if (value < 4)
        return (int)value;
    int log2 = 63 - __builtin_clzll(value);
    int bucket = 4 * (log2 - 1) + (int)(value >> (log2 - 2) & 3);
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

/* The first value above a bucket. */
static uint64_t bucket_end(int bucket)
{
    if (bucket < 4)
        return (uint64_t)bucket + 1;
    int log2 = bucket / 4 + 1;
    return (uint64_t)(bucket % 4 + 5) << (log2 - 2);
}

void histogram_add(struct histogram *histogram, int64_t us)
{
    histogram->n++;
    histogram->sum_us += us > 0 ? (uint64_t)us : 0;
    histogram->buckets[bucket_of(us)]++;
}

double histogram_percentile_ms(const struct histogram *histogram, double share)
{
    if (histogram->n == 0)
        return 0;
    uint64_t wanted = (uint64_t)((double)histogram->n * share);
    uint64_t seen = 0;
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen > wanted || seen == histogram->n)
            return (double)bucket_end(i) / 1000;
    }
    return 0;
}

uint64_t histogram_n_below(const struct histogram *histogram, int log2)
{
    uint64_t n = 0;
    for (int i = 0; i < HISTOGRAM_BUCKETS && i < 4 * (log2 - 1); i++)
        n += histogram->buckets[i];
    return n;
}

json_t *histogram_percentiles_json(const struct histogram *histogram)
{
    return json_pack("{s:f, s:f}", "p50", histogram_percentile_ms(histogram, 0.50), "p99",
        histogram_percentile_ms(histogram, 0.99));
}

json_t *histogram_json(const struct histogram *histogram)
{
    json_t *buckets = json_array();
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
        if (histogram->buckets[i] > 0)
            json_array_append_new(buckets, json_pack("[f, I]", (double)bucket_end(i) / 1000,
                                               (json_int_t)histogram->buckets[i]));
    return json_pack("{s:I, s:f, s:f, s:f, s:f, s:o}", "n", (json_int_t)histogram->n, "sum_ms",
        (double)histogram->sum_us / 1000, "p50", histogram_percentile_ms(histogram, 0.50), "p90",
        histogram_percentile_ms(histogram, 0.90), "p99", histogram_percentile_ms(histogram, 0.99),
        "buckets", buckets);
}

void window_init(struct window *window, int64_t slot_ms, int64_t now_ms)
{
    *window = (struct window){.slot_ms = slot_ms, .slot = now_ms / slot_ms};
}

/* Moves on to the present slot, emptying those in which nothing happened. */
static void turn(struct window *window, int64_t now_ms)
{
    int64_t now = now_ms / window->slot_ms;
    if (now - window->slot > WINDOW_SLOTS)
        window->slot = now - WINDOW_SLOTS;
    while (window->slot < now) {
        window->slot++;
        memset(window->slots[window->slot % WINDOW_SLOTS], 0, sizeof(window->slots[0]));
    }
}

void window_add(struct window *window, int64_t us, int64_t now_ms)
{
    turn(window, now_ms);
    window->slots[window->slot % WINDOW_SLOTS][bucket_of(us)]++;
}

void window_sum(struct window *window, int n_slots, int64_t now_ms, struct histogram *out)
{
    *out = (struct histogram){0};
    turn(window, now_ms);
    for (int64_t slot = window->slot; slot >= 0 && slot >= window->slot - n_slots; slot--) {
        const uint32_t *buckets = window->slots[slot % WINDOW_SLOTS];
        for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
            out->buckets[i] += buckets[i];
            out->n += buckets[i];
        }
    }
}
