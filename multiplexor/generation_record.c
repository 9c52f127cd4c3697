/* What a nursery tells: that the filter is loaded, and of each worker that it forked. */
#include "common/err.h"
#include "common/log.h"
#include "common/text.h"
#include "common/xalloc.h"
#include "multiplexor/generation_internal.h"
#include "multiplexor/mux.h"
#include "multiplexor/reload.h"
#include "multiplexor/shadow.h"

/* The nursery is no use any more, by its own fault; told once. Its workers go on. */
void generation_lose_nursery(struct generation *generation, const char *why)
{
    struct child *child, *next;
    generation_kill_nursery(generation);
    for (child = TAILQ_FIRST(&generation->pool.children); child != NULL; child = next) {
        next = TAILQ_NEXT(child, entry);
        if (child->pid == 0)
            child_abandon(child);
    }
    if (generation->has_lost_nursery)
        return;
    generation->has_lost_nursery = true;
    if (generation->state == GENERATION_LOADING || generation->state == GENERATION_WARMING)
        generation_fail(generation, why);
    else if (generation_is_serving(generation))
        log_error("generation %u lost its nursery: %s", generation->number, why);
    else if (generation->state == GENERATION_SHADOW)
        shadow_on_failed(generation, why);
    if (generation->state == GENERATION_CURRENT)
        reload_on_nursery_lost(generation->mux);
    mux_wake(generation->mux);
}

static void on_loaded(struct generation *generation, const struct wire_loaded *loaded)
{
    char text[4096];
    if (generation->state != GENERATION_LOADING) {
        generation_lose_nursery(generation, "its nursery sent LOADED twice");
        return;
    }
    if (!loaded->is_ok) {
        text_escape(text, sizeof(text), loaded->error, 0);
        generation_fail(generation, text);
        return;
    }
    text_escape(text, sizeof(text), loaded->sandbox, 0);
    generation->sandbox = xstrdup(text);
    if (loaded->error.len > 0) {
        text_escape(text, sizeof(text), loaded->error, 0);
        generation->warning = xstrdup(text);
    }
    generation->needs = hook_needs_of(loaded->hooks);
    generation_set_state(generation, GENERATION_WARMING);
    mux_wake(generation->mux);
}

static void on_forked(struct generation *generation, const struct wire_forked *forked)
{
    char text[512];
    int status;
    struct child *child = pool_find_number(&generation->pool, forked->number);
    text_escape(text, sizeof(text), forked->error, 0);
    if (child == NULL || child->pid != 0) {
        generation_lose_nursery(generation, "its nursery told of a worker that nobody asked for");
        return;
    }
    child_on_forked(child, (pid_t)forked->pid, text[0] != '\0' ? text : "the fork failed");
    /* It may have died before we heard of it. */
    if (forked->pid > 0 && mux_take_orphan(generation->mux, (pid_t)forked->pid, &status))
        child_on_exit(child, status);
}

static void on_record(const struct link_record *record, void *context)
{
    struct generation *generation = context;
    struct slice bytes = slice_of(record->bytes, record->len), none = {0};
    struct wire_loaded loaded;
    struct wire_forked forked;
    if (record->header.type == WIRE_LOADED && wire_get_loaded(bytes, none, &loaded) == 0)
        on_loaded(generation, &loaded);
    else if (record->header.type == WIRE_FORKED && wire_get_forked(bytes, none, &forked) == 0)
        on_forked(generation, &forked);
    else
        generation_lose_nursery(generation, "its nursery sent a bad record");
}

/* The rest follows when waitpid tells how it ended; one that closed its socket and lives on is
 * helped. */
static void on_down(int err, void *context)
{
    struct generation *generation = context;
    if (err != -ERR_PEER)
        generation_lose_nursery(generation, "its nursery sent a bad record");
    else if (generation->state != GENERATION_RETIRING)
        generation_kill_nursery(generation);
}

const struct link_events generation_events = {.on_record = on_record, .on_down = on_down};
