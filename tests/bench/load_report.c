#include "tests/bench/load.h"

#include <stdlib.h>
#include <sys/resource.h>

#include "common/xalloc.h"

static const char *const result_names[LOAD_RESULT_COUNT] = {"continue", "accept", "reject",
    "tempfail", "discard", "other", "protocol_error", "closed", "timeout"};
static const char *const sample_names[SAMPLE_COUNT] = {"setup", "msg", "eom"};

static struct {
    uint32_t *us;
    size_t n, cap;
} samples[SAMPLE_COUNT];

void sample_add(enum load_sample which, int64_t us)
{
    if (samples[which].n == samples[which].cap) {
        samples[which].cap = samples[which].cap > 0 ? samples[which].cap * 2 : 4096;
        samples[which].us =
            xreallocarray(samples[which].us, samples[which].cap, sizeof *samples[which].us);
    }
    samples[which].us[samples[which].n++] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

/* A quantile of sorted samples, in milliseconds. */
static double quantile(enum load_sample which, double q)
{
    if (samples[which].n == 0)
        return 0;
    size_t i = (size_t)(q * (double)samples[which].n);
    return samples[which].us[i < samples[which].n ? i : samples[which].n - 1] / 1000.0;
}

static void latency_print(enum load_sample which, bool is_terse)
{
    const char *name = sample_names[which];

    if (samples[which].n > 0)
        qsort(samples[which].us, samples[which].n, sizeof *samples[which].us, by_value);
    double p50 = quantile(which, .5), p95 = quantile(which, .95), p99 = quantile(which, .99),
           max = quantile(which, 1);
    if (is_terse)
        printf(" %s_p50=%.3f %s_p95=%.3f %s_p99=%.3f %s_max=%.3f", name, p50, name, p95, name, p99,
            name, max);
    else
        printf("  %-8s p50 %9.3f  p95 %9.3f  p99 %9.3f  max %9.3f ms  (%zu)\n", name, p50, p95, p99,
            max, samples[which].n);
}

static double own_cpu_secs(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

void load_report(const struct load_totals *totals, const struct load_options *options)
{
    double secs = (double)(totals->last_us - totals->start_us) / 1e6;
    double rate = secs > 0 ? (double)totals->done / secs : 0,
           mbps = secs > 0 ? (double)totals->payload / secs / 1e6 : 0;
    char between = options->is_terse ? '=' : ' ';

    if (options->is_terse)
        printf("msgs=%ld secs=%.3f rate=%.2f mbps=%.2f", totals->done, secs, rate, mbps);
    else
        printf("%ld messages in %.3f s: %.2f messages/s, %.2f MB/s of mail\n", totals->done, secs,
            rate, mbps);
    for (int i = 0; i < SAMPLE_COUNT; i++)
        latency_print(i, options->is_terse);
    fputs(options->is_terse ? "" : "  verdicts:", stdout);
    for (int i = 0; i < LOAD_RESULT_COUNT; i++) {
        if (totals->results[i] > 0 || options->is_terse)
            printf(" %s%c%ld", result_names[i], between, totals->results[i]);
    }
    fputs(options->is_terse ? "" : "\n  actions:", stdout);
    for (int i = 0; i < 9; i++) {
        if (totals->actions[i] > 0 || options->is_terse)
            printf(" %s%c%ld", load_actions[i].name, between, totals->actions[i]);
    }
    fputs(options->is_terse ? "" : "\n  other:", stdout);
    const struct {
        const char *name;
        long value;
    } others[] = {{"action_bytes", totals->action_bytes}, {"progress", totals->progress},
        {"unfinished", totals->begun - totals->done}, {"connects", totals->connects},
        {"retries", totals->retries}, {"unexpected", totals->unexpected},
        {"sent", (long)totals->sent}, {"received", (long)totals->received},
        {"flags", (long)totals->flags}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        printf(" %s%c%ld", others[i].name, between, others[i].value);
    if (options->is_terse)
        printf(" own_cpu=%.3f\n", own_cpu_secs());
    else
        printf("\n  own CPU %.3f s\n", own_cpu_secs());
}
