#include "multiplexor/status_line.h"

#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "multiplexor/mux.h"

enum {
    FAMILY_KEYS = VERDICT_COUNT + OUTCOME_COUNT + RECYCLE_COUNT,
    FIELDS_MAX = 16 + FAMILY_KEYS,
    KEY_MAX = 40,
};

/* A line in the making. */
struct line {
    struct log_field fields[FIELDS_MAX];
    size_t n;
    char keys[FAMILY_KEYS][KEY_MAX];
    size_t n_keys;
    char rate[32];
};

static void put(struct line *line, const char *key, uint64_t number)
{
    LOG_INVARIANT(line->n < FIELDS_MAX);
    line->fields[line->n++] = (struct log_field){.key = key, .is_number = true, .number = number};
}

static void put_workers(struct line *line, const struct mux *mux)
{
    unsigned n[CHILD_STATE_COUNT];
    mux_count_workers(mux, n);
    put(line, "idle", n[CHILD_IDLE]);
    put(line, "busy", n[CHILD_BUSY]);
    put(line, "starting", n[CHILD_FORKING] + n[CHILD_STARTING]);
    put(line, "ending", n[CHILD_QUITTING] + n[CHILD_KILLED]);
}

static void put_queue(struct line *line, const struct mux *mux, int64_t now_ms)
{
    int64_t oldest_ms = mux_oldest_ms(mux, now_ms);
    put(line, "queued", mux->n_queued);
    put(line, "oldest_ms", (uint64_t)oldest_ms);
}

static void put_rate(struct line *line, uint64_t requests, int64_t ms)
{
    snprintf(line->rate, sizeof(line->rate), "%.1f",
        ms > 0 ? (double)requests * 1000.0 / (double)ms : 0.0);
    line->fields[line->n++] = (struct log_field){.key = "rate", .text = slice_text(line->rate)};
}

/* Those that have grown, as PREFIX_NAME; `before` is brought up to date. */
static void put_family(struct line *line, const char *prefix, const uint64_t *now, uint64_t *before,
    int size, const char *(*name)(int))
{
    for (int i = 0; i < size; i++) {
        const char *text = name(i);
        uint64_t grown = now[i] - before[i];
        before[i] = now[i];
        if (grown == 0 || text == NULL)
            continue;
        char *key = line->keys[line->n_keys++];
        snprintf(key, KEY_MAX, "%s_%s", prefix, text);
        put(line, key, grown);
    }
}

static void put_counts(struct line *line, struct status_line *last, const struct stats *stats)
{
    put(line, "retries", stats->retries - last->retries);
    last->requests = stats->requests;
    last->retries = stats->retries;
    put_family(line, "verdict", stats->verdicts, last->verdicts, VERDICT_COUNT, stats_verdict_key);
    put_family(line, "outcome", stats->outcomes, last->outcomes, OUTCOME_COUNT, stats_outcome_key);
    put_family(line, "recycled", stats->recycles, last->recycles, RECYCLE_COUNT, stats_recycle_key);
}

static void write_line(struct mux *mux, int64_t now_ms)
{
    struct status_line *last = &mux->status_line;
    int64_t ms = now_ms - last->since_ms;
    uint64_t requests = mux->stats.requests - last->requests;
    struct line line;

    line.n = line.n_keys = 0;
    put(&line, "seconds", (uint64_t)((ms + 500) / 1000));
    put(&line, "generation", mux->current != NULL ? mux->current->number : 0);
    put_workers(&line, mux);
    put_queue(&line, mux, now_ms);
    put(&line, "requests", requests);
    put_rate(&line, requests, ms);
    put_counts(&line, last, &mux->stats);
    last->since_ms = now_ms;
    log_fields(LOG_LEVEL_INFO, "status", line.fields, line.n);
}

void status_line_init(struct mux *mux, int64_t now_ms)
{
    mux->status_line = (struct status_line){.since_ms = now_ms};
}

void status_line_check(struct mux *mux, int64_t now_ms)
{
    int64_t interval_ms = mux->conf->log.status_interval;

    if (interval_ms > 0 && now_ms - mux->status_line.since_ms >= interval_ms)
        write_line(mux, now_ms);
}
