/* Starting and stopping, and what is told of it. */
#include "multiplexor/shadow.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/conf.h"
#include "common/log.h"
#include "common/xalloc.h"
#include "multiplexor/generation.h"
#include "multiplexor/mux.h"
#include "multiplexor/report.h"

enum { UNUSED_MS = 300000 }; /* a connection that was not heard of for so long is forgotten */

void shadow_init(struct mux *mux)
{
    struct shadow *shadow = &mux->shadow;
    TAILQ_INIT(&shadow->waiting);
    TAILQ_INIT(&shadow->talks);
    for (int i = 0; i < SHADOW_BUCKETS; i++)
        TAILQ_INIT(&shadow->buckets[i]);
}

void shadow_clear(struct mux *mux)
{
    struct shadow *shadow = &mux->shadow;
    shadow_drop_talks(mux, INT64_MAX);
    shadow_tally_clear(&shadow->tally);
    free(shadow->filter);
    free(shadow->error);
    shadow->filter = shadow->error = NULL;
}

static void set_error(struct shadow *shadow, const char *error)
{
    free(shadow->error);
    shadow->error = error != NULL ? xstrdup(error) : NULL;
}

static void answer(struct shadow *shadow, uint32_t generation, const char *error)
{
    struct reload_waiter *waiter;
    while ((waiter = TAILQ_FIRST(&shadow->waiting)) != NULL) {
        reload_forget(waiter);
        waiter->done(waiter, generation, error);
    }
}

/*
 * The configuration in force, but for the filter and for what it may write: only the folder
 * "shadow" of the state folder, if there is one, so that it does not share the state of the filter
 * in service.
 */
static int make_conf(
    const struct conf *old, const char *filter, struct conf **out, char **error_out)
{
    const char **overrides = xcalloc((size_t)old->n_overrides + 3, sizeof(*overrides));
    char *set_filter = xasprintf("worker.filter=%s", filter);
    char *set_state = xasprintf("worker.state_dir=%s/shadow", old->worker.state_dir);
    int n = 0;
    for (; n < old->n_overrides; n++)
        overrides[n] = old->overrides[n];
    overrides[n++] = set_filter;
    overrides[n++] = set_state;
    overrides[n++] = "worker.write_paths=";
    int err = conf_load(old->path, overrides, n, out, error_out);
    free(set_filter);
    free(set_state);
    free(overrides);
    return err;
}

static void add_waiter(struct shadow *shadow, struct reload_waiter *waiter)
{
    if (waiter == NULL)
        return;
    TAILQ_INSERT_TAIL(&shadow->waiting, waiter, entry);
    waiter->list = &shadow->waiting;
}

void shadow_start(struct mux *mux, const char *filter, struct reload_waiter *waiter)
{
    struct shadow *shadow = &mux->shadow;
    struct conf *conf = NULL;
    char *error = NULL;
    if (mux->is_stopping) {
        waiter->done(waiter, 0, "stopping");
        return;
    }
    shadow_stop(mux);
    shadow_tally_clear(&shadow->tally);
    free(shadow->filter);
    shadow->filter = xstrdup(filter);
    set_error(shadow, NULL);
    add_waiter(shadow, waiter);
    if (make_conf(mux->conf, filter, &conf, &error) != 0) {
        set_error(shadow, error != NULL ? error : "the configuration cannot be read");
        answer(shadow, 0, shadow->error);
        free(error);
        return;
    }
    generation_start_shadow(mux, conf);
}

/* It is no longer given anything, and its generation goes. */
static void end(struct mux *mux)
{
    struct shadow *shadow = &mux->shadow;
    struct generation *generation = shadow->generation;
    shadow->generation = NULL;
    shadow->is_ready = false;
    shadow_drop_talks(mux, INT64_MAX);
    if (generation == NULL)
        return;
    generation_retire(generation);
    pool_kill_busy(&generation->pool, "the shadow is stopped"); /* nobody waits for them */
}

bool shadow_stop(struct mux *mux)
{
    struct shadow *shadow = &mux->shadow;
    bool was_there = shadow->generation != NULL;
    if (was_there)
        log_info("generation %u, the shadow, is stopped", shadow->generation->number);
    end(mux);
    answer(shadow, 0, "it was stopped");
    return was_there;
}

void shadow_check(struct mux *mux, int64_t now_ms)
{
    shadow_drop_talks(mux, now_ms - UNUSED_MS);
}

void shadow_on_loaded(struct generation *generation)
{
    struct mux *mux = generation->mux;
    struct shadow *shadow = &mux->shadow;
    shadow->is_ready = true;
    shadow->started_at = time(NULL);
    generation_become_shadow(generation);
    log_info("generation %u is the shadow: %s", generation->number, generation->filter);
    answer(shadow, generation->number, NULL);
    mux_wake(mux);
}

void shadow_on_failed(struct generation *generation, const char *why)
{
    struct mux *mux = generation->mux;
    struct shadow *shadow = &mux->shadow;
    if (shadow->generation != generation)
        return;
    log_error("generation %u, the shadow, does not run: %s", generation->number, why);
    set_error(shadow, why);
    end(mux);
    answer(shadow, 0, why);
}

/* Hooks of the shadow that are never run, since the filter in service has none of the name. */
static json_t *missed_hooks_json(const struct mux *mux)
{
    json_t *list = json_array();
    uint32_t missed = mux->shadow.is_ready && mux->current != NULL
                          ? mux->shadow.generation->needs.hooks & ~mux->current->needs.hooks
                          : 0;
    for (int hook = 0; hook < HOOK_COUNT; hook++)
        if ((missed & HOOK_BIT(hook)) != 0 && hook_info((enum hook)hook)->answers != STAGE_NONE)
            json_array_append_new(list, json_string(hook_info((enum hook)hook)->name));
    return list;
}

static json_t *make_json(const struct mux *mux, bool is_brief)
{
    const struct shadow *shadow = &mux->shadow;
    if (shadow->filter == NULL)
        return json_null();
    json_t *object =
        json_pack("{s:o, s:I, s:b, s:o, s:o, s:i}", "filter", report_text(shadow->filter),
            "generation", (json_int_t)(shadow->generation != NULL ? shadow->generation->number : 0),
            "is_running", (int)shadow->is_ready, "error", report_text(shadow->error), "started_at",
            report_time(shadow->started_at), "workers",
            shadow->generation != NULL ? (int)pool_n_live(&shadow->generation->pool) : 0);
    if (!is_brief) {
        json_object_set_new(object, "missed_hooks", missed_hooks_json(mux));
        json_object_set_new(object, "bytes", json_integer((json_int_t)shadow->bytes));
    }
    shadow_tally_json(&shadow->tally, !is_brief, object);
    return object;
}

json_t *shadow_json(const struct mux *mux)
{
    return make_json(mux, false);
}

json_t *shadow_brief_json(const struct mux *mux)
{
    return make_json(mux, true);
}
