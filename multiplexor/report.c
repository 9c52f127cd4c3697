/* status, workers, config as JSON. */
#include "multiplexor/report.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/text.h"
#include "common/version.h"
#include "common/xalloc.h"
#include "multiplexor/metrics.h"
#include "multiplexor/mux.h"
#include "multiplexor/request.h"

enum { TEXT_MAX = 8192 };

json_t *report_text(const char *text)
{
    char escaped[TEXT_MAX];
    if (text == NULL)
        return json_null();
    json_t *json = json_string(text);
    if (json != NULL)
        return json;
    text_escape(escaped, sizeof(escaped), slice_text(text), 0);
    return json_string(escaped);
}

static json_t *hooks_json(uint32_t hooks)
{
    json_t *list = json_array();
    for (int hook = 0; hook < HOOK_COUNT; hook++)
        if ((hooks & HOOK_BIT(hook)) != 0)
            json_array_append_new(list, json_string(hook_info((enum hook)hook)->name));
    return list;
}

static json_t *generations_json(const struct mux *mux)
{
    json_t *list = json_array();
    const struct generation *generation;
    TAILQ_FOREACH(generation, &mux->generations, entry)
    {
        json_array_append_new(
            list, json_pack("{s:I, s:i, s:s}", "generation", (json_int_t)generation->number,
                      "workers", (int)pool_n_live(&generation->pool), "state",
                      generation_state_name(generation->state)));
    }
    return list;
}

static json_t *workers_json(const struct mux *mux)
{
    unsigned n[CHILD_STATE_COUNT];
    mux_count_workers(mux, n);
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:I, s:I, s:I}", "total", (int)mux_n_live(mux),
        "idle", (int)n[CHILD_IDLE], "busy", (int)n[CHILD_BUSY], "starting",
        (int)(n[CHILD_FORKING] + n[CHILD_STARTING]), "ending",
        (int)(n[CHILD_QUITTING] + n[CHILD_KILLED]), "min",
        (json_int_t)mux->conf->multiplexor.min_workers, "max",
        (json_int_t)mux->conf->multiplexor.max_workers, "target",
        (json_int_t)(mux->current != NULL ? pool_target(&mux->current->pool) : 0));
}

static json_t *queue_json(const struct mux *mux)
{
    int64_t now_ms = clock_now_ms(), oldest_ms = mux_oldest_ms(mux, now_ms);
    return json_pack("{s:i, s:I, s:I}", "length", (int)mux->n_queued, "max",
        (json_int_t)mux->conf->multiplexor.queue_size, "oldest_ms", (json_int_t)oldest_ms);
}

/* The first pool whose workers are of no use; null when all of them start and answer. */
static json_t *throttle_json(const struct mux *mux)
{
    int64_t now_ms = clock_now_ms();
    const struct generation *generation;
    TAILQ_FOREACH(generation, &mux->generations, entry)
    {
        const struct pool *pool = &generation->pool;
        if (pool->pause_ms == 0 || generation->is_shadow)
            continue;
        int64_t left_ms = pool->paused_until_ms - now_ms;
        return json_pack("{s:I, s:i, s:I, s:I, s:o}", "generation", (json_int_t)generation->number,
            "failures", (int)pool->n_failures, "pause_ms", (json_int_t)pool->pause_ms, "next_ms",
            (json_int_t)(left_ms > 0 ? left_ms : 0), "error", report_text(pool->failure));
    }
    return json_null();
}

static json_t *requests_json(const struct stats *stats)
{
    return json_pack("{s:I, s:o}", "total", (json_int_t)stats->requests, "by_hook",
        stats_family_json(stats->by_hook, HOOK_COUNT, stats_hook_key));
}

json_t *report_time(time_t when)
{
    char text[32];
    struct tm tm;
    if (when == 0 || gmtime_r(&when, &tm) == NULL)
        return json_null();
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    return json_string(text);
}

static json_t *tick_json(const struct tick *tick, int64_t now_ms)
{
    int64_t next_ms = tick->due_ms > now_ms ? tick->due_ms - now_ms : 0;
    return json_pack("{s:I, s:b, s:o, s:I, s:I, s:I, s:I, s:I}", "interval_s",
        (json_int_t)(tick->spec.interval_ms / 1000), "is_running", (int)tick->is_running, "last_at",
        report_time(tick->last_at), "took_ms", (json_int_t)tick->took_ms, "next_ms",
        (json_int_t)next_ms, "runs", (json_int_t)tick->runs, "failures", (json_int_t)tick->failures,
        "skipped", (json_int_t)tick->skipped);
}

/* Timers, by name. */
static json_t *ticks_json(const struct ticks *ticks)
{
    json_t *object = json_object();
    for (unsigned i = 0; i < ticks->n; i++)
        json_object_set_new(
            object, ticks->list[i]->spec.name, tick_json(ticks->list[i], clock_now_ms()));
    return object;
}

/* The filter and how it got here. */
static void put_filter(json_t *status, const struct mux *mux)
{
    const struct generation *current = mux->current;
    json_object_set_new(status, "generation", json_integer(current != NULL ? current->number : 0));
    json_object_set_new(status, "filter",
        report_text(current != NULL ? current->filter : mux->conf->worker.filter));
    json_object_set_new(status, "hooks", hooks_json(current != NULL ? current->needs.hooks : 0));
    json_object_set_new(status, "filter_error", report_text(mux->reload.error));
    json_object_set_new(status, "loaded_at", report_time(current != NULL ? current->loaded_at : 0));
    json_object_set_new(status, "is_loading", json_boolean(mux->loading != NULL));
    json_object_set_new(status, "multiplexor_sandbox", report_text(mux->sandbox));
    json_object_set_new(status, "sandbox", report_text(current != NULL ? current->sandbox : NULL));
    json_object_set_new(status, "generations", generations_json(mux));
    json_object_set_new(status, "canary", canary_json(mux));
    json_object_set_new(status, "canary_last", canary_last_json(mux));
    json_object_set_new(status, "shadow", shadow_brief_json(mux));
}

static void put_counts(json_t *status, struct mux *mux)
{
    struct stats *stats = &mux->stats;
    json_object_set_new(status, "requests", requests_json(stats));
    json_object_set_new(
        status, "verdicts", stats_family_json(stats->verdicts, VERDICT_COUNT, stats_verdict_key));
    json_object_set_new(
        status, "messages", stats_family_json(stats->messages, VERDICT_COUNT, stats_verdict_key));
    json_object_set_new(
        status, "outcomes", stats_family_json(stats->outcomes, OUTCOME_COUNT, stats_outcome_key));
    json_object_set_new(status, "retries", json_integer((json_int_t)stats->retries));
    json_object_set_new(
        status, "recycles", stats_family_json(stats->recycles, RECYCLE_COUNT, stats_recycle_key));
    json_object_set_new(status, "counters", stats_counters_json(stats));
    json_object_set_new(status, "user", counts_json(&mux->counts));
    json_object_set_new(status, "latency_ms", stats_latency_json(stats, clock_now_ms()));
    json_object_set_new(status, "rates", stats_rates_json(stats, clock_now_ms()));
}

json_t *report_status(struct mux *mux)
{
    json_t *status = json_pack("{s:s, s:i, s:I, s:b, s:b}", "version", POSTERN_VERSION, "pid",
        (int)getpid(), "uptime_s", (json_int_t)((clock_now_ms() - mux->stats.started_ms) / 1000),
        "is_stopping", (int)mux->is_stopping, "is_draining", (int)mux->is_draining);
    put_filter(status, mux);
    json_object_set_new(status, "workers", workers_json(mux));
    json_object_set_new(status, "throttle", throttle_json(mux));
    json_object_set_new(status, "queue", queue_json(mux));
    json_object_set_new(status, "limits", limits_json(mux));
    json_object_set_new(status, "ticks", ticks_json(&mux->ticks));
    json_object_set_new(status, "clients", json_integer(mux->clients.n));
    json_object_set_new(status, "front", fronts_json(&mux->fronts));
    json_object_set_new(status, "front_sandboxes", clients_sandboxes_json(mux));
    put_counts(status, mux);
    return status;
}

static json_t *worker_json(const struct child *child, int64_t now_ms)
{
    const struct request *request = child->request;
    return json_pack("{s:i, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:s}", "pid",
        (int)child->pid, "generation", (json_int_t)child->generation->number, "state",
        child_state_name(child->state), "state_ms", (json_int_t)(now_ms - child->since_ms), "age_s",
        (json_int_t)((now_ms - child->started_ms) / 1000), "requests",
        (json_int_t)child->n_requests, "heap_kb", (json_int_t)child->heap_kb, "resident_kb",
        (json_int_t)(child->resident_bytes / 1024), "hook",
        request != NULL ? json_string(request->hook->name) : json_null(), "uid",
        request != NULL ? report_text(request->uid) : json_null(), "queue_id",
        request != NULL ? report_text(request->queue_id) : json_null(), "recycle",
        child->mark != RECYCLE_NONE ? stats_recycle_key((int)child->mark) : "");
}

json_t *report_workers(const struct mux *mux)
{
    json_t *list = json_array();
    int64_t now_ms = clock_now_ms();
    const struct generation *generation;
    const struct child *child;
    TAILQ_FOREACH(generation, &mux->generations, entry)
    {
        TAILQ_FOREACH(child, &generation->pool.children, entry)
        {
            /* One without a pid yet is left out: whoever kills what is listed here would kill its
             * own group. */
            if (child->pid > 0)
                json_array_append_new(list, worker_json(child, now_ms));
        }
    }
    return json_pack("{s:o}", "workers", list);
}

json_t *report_histogram(const struct mux *mux)
{
    return stats_histograms_json(&mux->stats);
}

json_t *report_metrics(const struct mux *mux)
{
    struct buf text;
    buf_init(&text, METRICS_MAX);
    json_t *data = NULL;
    if (metrics_put(mux, &text) == 0)
        data = json_pack("{s:s#}", "text", (const char *)text.data, (int)text.len);
    buf_clear(&text);
    return data;
}

json_t *report_config(const struct conf *conf)
{
    json_t *options = json_object();
    char *text = xmalloc(TEXT_MAX);
    char key[256];
    for (int i = 0; i < conf_n_options; i++) {
        const struct conf_option *option = &conf_options[i];
        snprintf(key, sizeof(key), "%s.%s", option->section, option->name);
        conf_value_text(conf, option, text, TEXT_MAX);
        json_object_set_new(options, key, report_text(text));
    }
    for (int i = 0; i < conf->n_filter; i++) {
        snprintf(key, sizeof(key), "filter.%s", conf->filter[i].name);
        json_object_set_new(options, key, report_text(conf->filter[i].value));
    }
    free(text);
    return json_pack("{s:o, s:o}", "path", report_text(conf->path), "options", options);
}
