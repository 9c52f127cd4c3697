/* Counting, and the numbers as JSON. */
#include "multiplexor/stats.h"

#include "common/log.h"

enum { FINE_MS = 1000, COARSE_MS = 10000 };

/* The spans that rates and latencies are told for. */
static const struct {
    const char *name;
    int seconds;
} spans[] = {{"10s", 10}, {"1m", 60}, {"10m", 600}};

enum { N_SPANS = sizeof(spans) / sizeof(spans[0]) };

static void recent_init(struct recent *recent, int64_t now_ms)
{
    window_init(&recent->fine, FINE_MS, now_ms);
    window_init(&recent->coarse, COARSE_MS, now_ms);
}

static void recent_add(struct recent *recent, int64_t us, int64_t now_ms)
{
    window_add(&recent->fine, us, now_ms);
    window_add(&recent->coarse, us, now_ms);
}

static json_t *recent_json(struct recent *recent, int seconds, int64_t now_ms)
{
    struct histogram sum;
    if (seconds < WINDOW_SLOTS)
        window_sum(&recent->fine, seconds, now_ms, &sum);
    else
        window_sum(&recent->coarse, seconds * 1000 / COARSE_MS, now_ms, &sum);
    return histogram_percentiles_json(&sum);
}

void stats_init(struct stats *stats, int64_t now_ms)
{
    *stats = (struct stats){.started_ms = now_ms, .second = now_ms / 1000};
    recent_init(&stats->recent_queue, now_ms);
    recent_init(&stats->recent_hook, now_ms);
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
    recent_add(&stats->recent_queue, queue_us, now_ms);
    if (hook_us >= 0) {
        histogram_add(&stats->hook, hook_us);
        histogram_add(&stats->per_hook[hook], hook_us);
        recent_add(&stats->recent_hook, hook_us, now_ms);
    }
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

json_t *stats_latency_json(struct stats *stats, int64_t now_ms)
{
    json_t *latency = json_pack("{s:o, s:o}", "queue", histogram_percentiles_json(&stats->queue),
        "hook", histogram_percentiles_json(&stats->hook));
    for (int i = 0; i < N_SPANS; i++)
        json_object_set_new(latency, spans[i].name,
            json_pack("{s:o, s:o}", "queue",
                recent_json(&stats->recent_queue, spans[i].seconds, now_ms), "hook",
                recent_json(&stats->recent_hook, spans[i].seconds, now_ms)));
    return latency;
}

json_t *stats_histograms_json(const struct stats *stats)
{
    json_t *hooks = json_object();
    for (int hook = 0; hook < HOOK_COUNT; hook++)
        if (stats->per_hook[hook].n > 0)
            json_object_set_new(
                hooks, stats_hook_key(hook), histogram_json(&stats->per_hook[hook]));
    return json_pack("{s:o, s:o}", "queue", histogram_json(&stats->queue), "hooks", hooks);
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
    json_t *rates = json_object();
    turn_ring(stats, now_ms);
    for (int i = 0; i < N_SPANS; i++)
        json_object_set_new(rates, spans[i].name, json_real(rate(stats, spans[i].seconds, now_ms)));
    return rates;
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
        [RECYCLE_HEAP] = "heap",
        [RECYCLE_ASKED] = "asked",
        [RECYCLE_RELOAD] = "reload",
        [RECYCLE_DIED] = "died",
        [RECYCLE_DEADLINE] = "deadline",
    };
    return names[cause];
}
