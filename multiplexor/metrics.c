#include "multiplexor/metrics.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/version.h"
#include "multiplexor/mux.h"

/* Upper bounds of histogram buckets: 128 microseconds, doubling, to 134 seconds. */
enum { LE_FIRST_LOG2 = 7, LE_LAST_LOG2 = 27 };

/* What a FAMILY of stats.def is called here; others keep their name, with the label "key". */
static const struct {
    const char *family, *metric, *label;
} family_names[] = {
    {"by_hook", "hook_requests", "hook"},
    {"verdicts", "verdicts", "verdict"},
    {"messages", "messages", "verdict"},
    {"outcomes", "outcomes", "outcome"},
    {"recycles", "recycles", "cause"},
};

enum { N_FAMILY_NAMES = sizeof(family_names) / sizeof(family_names[0]) };

static void put_head(struct buf *out, const char *name, const char *type, const char *help)
{
    (void)buf_printf(out, "# TYPE postern_%s %s\n", name, type);
    if (strstr(name, "_seconds") != NULL && strcmp(type, "counter") != 0)
        (void)buf_printf(out, "# UNIT postern_%s seconds\n", name);
    (void)buf_printf(out, "# HELP postern_%s %s\n", name, help);
}

static void put_counter(struct buf *out, const char *name, uint64_t value, const char *help)
{
    put_head(out, name, "counter", help);
    (void)buf_printf(out, "postern_%s_total %" PRIu64 "\n", name, value);
}

static void put_gauge(struct buf *out, const char *name, double value, const char *help)
{
    put_head(out, name, "gauge", help);
    (void)buf_printf(out, "postern_%s %.15g\n", name, value);
}

static void put_family(struct buf *out, const char *name, const uint64_t *values, int size,
    const char *(*key)(int), const char *help)
{
    const char *metric = name, *label = "key";
    for (int i = 0; i < N_FAMILY_NAMES; i++) {
        if (strcmp(family_names[i].family, name) == 0) {
            metric = family_names[i].metric;
            label = family_names[i].label;
        }
    }
    put_head(out, metric, "counter", help);
    for (int i = 0; i < size; i++)
        if (key(i) != NULL)
            (void)buf_printf(
                out, "postern_%s_total{%s=\"%s\"} %" PRIu64 "\n", metric, label, key(i), values[i]);
}

static void put_counters(struct buf *out, const struct stats *stats)
{
#define COUNTER(name, help)           put_counter(out, #name, stats->name, help);
#define FAMILY(name, size, key, help) put_family(out, #name, stats->name, size, key, help);
#include "multiplexor/stats.def"
#undef COUNTER
#undef FAMILY
}

static void put_front(struct buf *out, const struct fronts *fronts)
{
#define FRONT(name, help) put_counter(out, "front_" #name, fronts->total.name, help);
    FRONT_COUNTERS(FRONT)
#undef FRONT
}

/* label: "hook=\"…\"," or "". */
static void put_histogram(
    struct buf *out, const char *name, const char *label, const struct histogram *histogram)
{
    for (int log2 = LE_FIRST_LOG2; log2 <= LE_LAST_LOG2; log2++)
        (void)buf_printf(out, "postern_%s_bucket{%sle=\"%.9g\"} %" PRIu64 "\n", name, label,
            ldexp(1e-6, log2), histogram_n_below(histogram, log2));
    (void)buf_printf(
        out, "postern_%s_bucket{%sle=\"+Inf\"} %" PRIu64 "\n", name, label, histogram->n);
    int n = (int)strlen(label) - 1; /* without the comma */
    const char *open = n > 0 ? "{" : "", *close = n > 0 ? "}" : "";
    n = n > 0 ? n : 0;
    (void)buf_printf(
        out, "postern_%s_count%s%.*s%s %" PRIu64 "\n", name, open, n, label, close, histogram->n);
    (void)buf_printf(out, "postern_%s_sum%s%.*s%s %.6f\n", name, open, n, label, close,
        (double)histogram->sum_us / 1e6);
}

static void put_histograms(struct buf *out, const struct stats *stats)
{
    put_head(out, "queue_seconds", "histogram", "how long requests waited for a worker");
    put_histogram(out, "queue_seconds", "", &stats->queue);
    put_head(out, "hook_seconds", "histogram", "how long hooks took with their worker");
    for (int hook = 0; hook < HOOK_COUNT; hook++) {
        char label[64];
        if (stats->per_hook[hook].n == 0)
            continue;
        snprintf(label, sizeof(label), "hook=\"%s\",", stats_hook_key(hook));
        put_histogram(out, "hook_seconds", label, &stats->per_hook[hook]);
    }
}

static void put_workers(struct buf *out, const struct mux *mux)
{
    unsigned n[CHILD_STATE_COUNT];
    mux_count_workers(mux, n);
    put_head(out, "workers", "gauge", "workers by state");
    for (int i = 0; i < CHILD_STATE_COUNT; i++)
        (void)buf_printf(
            out, "postern_workers{state=\"%s\"} %u\n", child_state_name((enum child_state)i), n[i]);
    put_gauge(
        out, "workers_min", (double)mux->conf->multiplexor.min_workers, "min_workers in force");
    put_gauge(
        out, "workers_max", (double)mux->conf->multiplexor.max_workers, "max_workers in force");
}

static void put_queue(struct buf *out, const struct mux *mux)
{
    int64_t now_ms = clock_now_ms(), oldest_ms = mux_oldest_ms(mux, now_ms);
    put_gauge(out, "queue_length", mux->n_queued, "requests that wait for a worker");
    put_gauge(out, "queue_max", (double)mux->conf->multiplexor.queue_size, "queue_size in force");
    put_gauge(out, "queue_oldest_seconds", (double)oldest_ms / 1000,
        "how long the oldest request has waited");
}

static void put_whole(struct buf *out, const struct mux *mux)
{
    double uptime = (double)(clock_now_ms() - mux->stats.started_ms) / 1000;
    put_head(out, "build", "info", "the version that runs");
    (void)buf_printf(out, "postern_build_info{version=\"%s\"} 1\n", POSTERN_VERSION);
    put_gauge(out, "uptime_seconds", uptime, "since the multiplexor's start");
    put_gauge(out, "generation", mux->current != NULL ? mux->current->number : 0,
        "the filter's generation; 0: none has loaded");
    put_gauge(out, "filter_failed", mux->reload.error != NULL, "1 when the last load failed");
    put_gauge(out, "clients", mux->clients.n, "record connections of front ends");
}

int metrics_put(const struct mux *mux, struct buf *out)
{
    put_whole(out, mux);
    put_workers(out, mux);
    put_queue(out, mux);
    put_counters(out, &mux->stats);
    put_front(out, &mux->fronts);
    put_histograms(out, &mux->stats);
    limits_put(&mux->limits, out);
    counts_put(&mux->counts, out);
    return buf_printf(out, "# EOF\n");
}
