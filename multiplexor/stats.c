/* Counting, and the numbers as JSON. */
#include "multiplexor/stats.h"

#include "common/log.h"

void stats_init(struct stats *stats, int64_t now_ms)
{
    *stats = (struct stats){.started_ms = now_ms, .second = now_ms / 1000};
}

/* Bucket 4 * log2(us) + the two bits after the leading one; below 4 each value has its own. */
static int bucket_of(uint64_t us)
{
    if (us < 4)
        return (int)us;
    int log2 = 63 - __builtin_clzll(us);
    int bucket = 4 * (log2 - 1) + (int)(us >> (log2 - 2) & 3);
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
    histogram->buckets[bucket_of(us > 0 ? (uint64_t)us : 0)]++;
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

/* Moves the ring on to the present second, zeroing the seconds in which nothing happened. */
static void turn_ring(struct stats *stats, int64_t now_ms)
{
    int64_t now = now_ms / 1000;
    if (now - stats->second >= STATS_SECONDS)
        stats->second = now - STATS_SECONDS;
    while (stats->second < now)
        stats->per_second[++stats->second % STATS_SECONDS] = 0;
}

void stats_answered(struct stats *stats, enum hook hook, unsigned outcome, unsigned verdict,
    int64_t queue_us, int64_t hook_us, int64_t now_ms)
{
    LOG_INVARIANT(hook < HOOK_COUNT && outcome < OUTCOME_COUNT && verdict < VERDICT_COUNT);
    stats->requests++;
    stats->by_hook[hook]++;
    stats->verdicts[verdict]++;
    stats->outcomes[outcome]++;
    if (hook == HOOK_MESSAGE)
        stats->messages[verdict]++;
    histogram_add(&stats->queue, queue_us);
    if (hook_us >= 0)
        histogram_add(&stats->hook, hook_us);
    turn_ring(stats, now_ms);
    stats->per_second[stats->second % STATS_SECONDS]++;
}

json_t *stats_family_json(const uint64_t *values, int size, const char *(*key)(int))
{
    json_t *object = json_object();
    for (int i = 0; i < size; i++)
        if (key(i) != NULL)
            json_object_set_new(object, key(i), json_integer((json_int_t)values[i]));
    return object;
}

json_t *stats_counters_json(const struct stats *stats)
{
    json_t *object = json_object();
#define COUNTER(name, help)                                                                        \
    json_object_set_new(object, #name, json_integer((json_int_t)stats->name));
#define FAMILY(name, size, key, help)
#include "multiplexor/stats.def"
#undef COUNTER
#undef FAMILY
    return object;
}

static json_t *percentiles_json(const struct histogram *histogram)
{
    return json_pack("{s:f, s:f}", "p50", histogram_percentile_ms(histogram, 0.50), "p99",
        histogram_percentile_ms(histogram, 0.99));
}

json_t *stats_latency_json(const struct stats *stats)
{
    return json_pack("{s:o, s:o}", "queue", percentiles_json(&stats->queue), "hook",
        percentiles_json(&stats->hook));
}

/* Per second over the last `seconds` whole seconds, or over our life when that is shorter. */
static double rate(const struct stats *stats, int seconds, int64_t now_ms)
{
    uint64_t n = 0;
    for (int64_t s = stats->second - seconds; s < stats->second; s++)
        if (s >= 0)
            n += stats->per_second[s % STATS_SECONDS];
    double life = (double)(now_ms - stats->started_ms) / 1000;
    double span = life < seconds ? life : seconds;
    return span >= 1 ? (double)n / span : (double)n;
}

json_t *stats_rates_json(struct stats *stats, int64_t now_ms)
{
    turn_ring(stats, now_ms);
    return json_pack("{s:f, s:f, s:f}", "10s", rate(stats, 10, now_ms), "1m",
        rate(stats, 60, now_ms), "10m", rate(stats, 600, now_ms));
}

const char *stats_hook_key(int hook)
{
    const struct hook_info *info = hook_info((enum hook)hook);
    return (info->flags & HOOK_LOCAL) != 0 ? NULL : info->name;
}

const char *stats_verdict_key(int verdict)
{
    return verdict_name((enum verdict)verdict);
}

const char *stats_outcome_key(int outcome)
{
    return wire_outcome_name((unsigned)outcome);
}

const char *stats_recycle_key(int cause)
{
    static const char *const names[RECYCLE_COUNT] = {
        [RECYCLE_REQUESTS] = "requests",
        [RECYCLE_AGE] = "age",
        [RECYCLE_IDLE] = "idle",
        [RECYCLE_MEMORY] = "memory",
        [RECYCLE_ASKED] = "asked",
        [RECYCLE_RELOAD] = "reload",
        [RECYCLE_DIED] = "died",
        [RECYCLE_DEADLINE] = "deadline",
    };
    return names[cause];
}
