/* Counting, judging, and what follows from it. */
#include "multiplexor/canary.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/verdict.h"
#include "multiplexor/generation.h"
#include "multiplexor/mux.h"
#include "multiplexor/reload.h"
#include "multiplexor/report.h"

void canary_init(struct mux *mux)
{
    mux->canary = (struct canary){0};
}

/* The options that judge it: those that it was loaded with. */
static const struct conf *conf_of(const struct mux *mux)
{
    const struct generation *candidate = mux->canary.candidate;
    return candidate->conf != NULL ? candidate->conf : mux->conf;
}

void canary_begin(struct generation *generation, unsigned share)
{
    struct mux *mux = generation->mux;
    struct canary *canary = &mux->canary;
    canary_end(mux, "a newer candidate takes its place");
    canary->candidate = generation;
    canary->share = share;
    canary->since_ms = clock_now_ms();
    canary->tried = canary->current = (struct canary_side){0};
    generation_become_candidate(generation);
    log_info("generation %u is a candidate for %u %% of the clients: %s; generation %u stays "
             "current",
        generation->number, share, generation->filter, mux->current->number);
}

static void note_result(struct canary *canary, uint32_t number, const char *result, const char *why)
{
    canary->last = number;
    canary->last_result = result;
    snprintf(canary->last_why, sizeof(canary->last_why), "%s", why);
    canary->last_at = time(NULL);
}

void canary_end(struct mux *mux, const char *why)
{
    struct generation *candidate = mux->canary.candidate;
    if (candidate == NULL)
        return;
    log_info("generation %u is no candidate any more: %s", candidate->number, why);
    note_result(&mux->canary, candidate->number, "replaced", why);
    mux->canary.candidate = NULL;
    if (candidate->state == GENERATION_CANDIDATE)
        generation_linger(candidate);
}

void canary_forget(const struct generation *generation)
{
    struct canary *canary = &generation->mux->canary;
    if (canary->candidate == generation)
        canary->candidate = NULL;
    if (canary->previous == generation)
        canary->previous = NULL;
}

/* Whether it can take the mail that comes to it: a worker is there, or may come. */
static bool is_able(const struct generation *generation)
{
    const struct pool *pool = &generation->pool;
    return generation_can_fork(generation) && (pool_n_live(pool) > 0 || pool->n_failures == 0);
}

static void promote(struct mux *mux, const char *why)
{
    struct generation *candidate = mux->canary.candidate;
    note_result(&mux->canary, candidate->number, "promoted", why);
    mux->canary.candidate = NULL;
    mux->stats.promotions++;
    log_info("generation %u is promoted: %s", candidate->number, why);
    reload_take_over(candidate);
    if (mux->canary.previous != NULL)
        mux->canary.previous->is_kept = true; /* so that there is a way back */
}

/* Its messages under way stay with it while it can serve them. */
static void roll_back(struct mux *mux, const char *why)
{
    struct generation *candidate = mux->canary.candidate;
    note_result(&mux->canary, candidate->number, "rolled back", why);
    mux->canary.candidate = NULL;
    mux->stats.rollbacks++;
    log_warn("generation %u is rolled back, generation %u goes on: %s", candidate->number,
        mux->current->number, why);
    if (is_able(candidate))
        generation_linger(candidate);
    else
        generation_retire(candidate);
    mux_tell_needs(mux);
    mux_wake(mux);
}

const char *canary_promote(struct mux *mux, uint32_t *generation_out)
{
    if (mux->canary.candidate == NULL)
        return "there is no candidate";
    *generation_out = mux->canary.candidate->number;
    promote(mux, "by hand");
    return NULL;
}

/* Back to the generation that the current one has replaced. */
static const char *go_back(struct mux *mux, uint32_t *generation_out)
{
    struct generation *previous = mux->canary.previous, *current = mux->current;
    if (current == NULL || previous == NULL || !is_able(previous))
        return "there is no candidate, and the generation before the current one is gone";
    *generation_out = previous->number;
    mux->stats.rollbacks++;
    log_warn("generation %u is rolled back, generation %u is current again: by hand",
        current->number, previous->number);
    reload_take_over(previous);
    mux->canary.previous = NULL;
    note_result(
        &mux->canary, current->number, "rolled back", "by hand, after it had become current");
    return NULL;
}

const char *canary_roll_back(struct mux *mux, uint32_t *generation_out)
{
    if (mux->canary.candidate == NULL)
        return go_back(mux, generation_out);
    *generation_out = mux->current->number;
    roll_back(mux, "by hand");
    return NULL;
}

static double percent(uint64_t n, uint64_t of)
{
    return of > 0 ? (double)n * 100 / (double)of : 0;
}

/*
 * Whether the candidate has so many more of something that it goes at once. Its own share is taken
 * of at least `least` runs, so that one mishap at the start is not 100 %.
 */
static bool has_more(uint64_t tried, uint64_t tried_runs, uint64_t current, uint64_t current_runs,
    uint64_t least, int64_t points)
{
    return percent(tried, tried_runs > least ? tried_runs : least) >
           percent(current, current_runs) + (double)points;
}

/*
 * The mean time of a run on each side in microseconds, weighted by how often the candidate ran each
 * hook, over the hooks that both have run. False without any.
 */
static bool mean_times(const struct canary *canary, double *tried_out, double *current_out)
{
    double tried = 0, current = 0;
    uint64_t n = 0;
    for (int hook = 0; hook < HOOK_COUNT; hook++) {
        uint64_t tried_n = canary->tried.n_by_hook[hook];
        uint64_t current_n = canary->current.n_by_hook[hook];
        if (tried_n == 0 || current_n == 0)
            continue;
        n += tried_n;
        tried += (double)canary->tried.us_by_hook[hook];
        current += (double)canary->current.us_by_hook[hook] / (double)current_n * (double)tried_n;
    }
    *tried_out = n > 0 ? tried / (double)n : 0;
    *current_out = n > 0 ? current / (double)n : 0;
    return n > 0;
}

static bool is_slower(const struct canary *canary, const struct conf *conf)
{
    double tried, current;
    return conf->multiplexor.canary_latency > 0 && mean_times(canary, &tried, &current) &&
           tried > (double)conf->multiplexor.canary_latency_least * 1000 &&
           tried * 100 > current * (double)conf->multiplexor.canary_latency;
}

/* The figures of a judgement, for log and status. */
static void describe(const struct canary *canary, const char *what, char *out, size_t out_bytes)
{
    double tried, current;
    mean_times(canary, &tried, &current);
    snprintf(out, out_bytes,
        "%s: errors %.1f %%, tempfails %.1f %%, %.1f ms in %llu runs, against %.1f %%, %.1f %%, "
        "%.1f ms in %llu",
        what, percent(canary->tried.errors, canary->tried.runs),
        percent(canary->tried.tempfails, canary->tried.runs), tried / 1000,
        (unsigned long long)canary->tried.runs,
        percent(canary->current.errors, canary->current.runs),
        percent(canary->current.tempfails, canary->current.runs), current / 1000,
        (unsigned long long)canary->current.runs);
}

/* What speaks against the candidate now; NULL: nothing. */
static const char *find_fault(const struct canary *canary, const struct conf *conf)
{
    const struct canary_side *tried = &canary->tried, *current = &canary->current;
    uint64_t least = (uint64_t)conf->multiplexor.canary_requests;
    if (!is_able(canary->candidate))
        return "its workers do not start";
    if (has_more(tried->errors, tried->runs, current->errors, current->runs, least,
            conf->multiplexor.canary_errors))
        return "too many errors";
    if (has_more(tried->tempfails, tried->runs, current->tempfails, current->runs, least,
            conf->multiplexor.canary_tempfails))
        return "too many tempfails";
    if (tried->runs >= least && is_slower(canary, conf))
        return "too slow";
    return NULL;
}

void canary_tend(struct mux *mux)
{
    struct canary *canary = &mux->canary;
    char why[sizeof(canary->last_why)];
    if (canary->candidate == NULL || mux->current == NULL)
        return;
    const struct conf *conf = conf_of(mux);
    const char *fault = find_fault(canary, conf);
    if (fault != NULL) {
        describe(canary, fault, why, sizeof(why));
        roll_back(mux, why);
    } else if (conf->multiplexor.canary_time > 0 &&
               canary->tried.runs >= (uint64_t)conf->multiplexor.canary_requests &&
               clock_now_ms() - canary->since_ms >= conf->multiplexor.canary_time) {
        describe(canary, "its time is over", why, sizeof(why));
        promote(mux, why);
    }
}

/* The side that a run counts for; NULL: neither. */
static struct canary_side *side_of(const struct generation *generation)
{
    struct mux *mux = generation->mux;
    if (mux->canary.candidate == NULL)
        return NULL;
    if (generation == mux->canary.candidate)
        return &mux->canary.tried;
    return generation == mux->current ? &mux->canary.current : NULL;
}

static bool is_error(enum reply_outcome outcome)
{
    static const bool errors[OUTCOME_COUNT] = {
        [OUTCOME_ERROR] = true,
        [OUTCOME_DEADLINE] = true,
        [OUTCOME_MEMORY] = true,
        [OUTCOME_OVERLOAD] = true, /* its queue did not get on */
        [OUTCOME_NOBODY] = true,
    };
    return errors[outcome];
}

void canary_note(struct generation *generation, enum hook hook, enum reply_outcome outcome,
    unsigned verdict, int64_t hook_us)
{
    struct canary_side *side = side_of(generation);
    /* Look-ups and timers are the current one's alone; a death has been counted. */
    if (side == NULL || hook_info(hook)->answers == STAGE_NONE || outcome == OUTCOME_POISON ||
        outcome == OUTCOME_DIED)
        return;
    side->runs++;
    side->errors += is_error(outcome) ? 1 : 0;
    side->tempfails += outcome == OUTCOME_OK && verdict == VERDICT_TEMPFAIL ? 1 : 0;
    if (hook_us >= 0) {
        histogram_add(&side->hook, hook_us);
        side->n_by_hook[hook]++;
        side->us_by_hook[hook] += (uint64_t)hook_us;
    }
    mux_wake(generation->mux);
}

void canary_note_death(struct generation *generation)
{
    struct canary_side *side = side_of(generation);
    if (side == NULL)
        return;
    side->runs++;
    side->errors++;
    mux_wake(generation->mux);
}

static json_t *side_json(const struct canary_side *side, const struct generation *generation)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:f, s:f, s:f}", "generation",
        (json_int_t)generation->number, "runs", (json_int_t)side->runs, "errors",
        (json_int_t)side->errors, "tempfails", (json_int_t)side->tempfails, "mean_ms",
        side->hook.n > 0 ? (double)side->hook.sum_us / (double)side->hook.n / 1000 : 0, "p50_ms",
        histogram_percentile_ms(&side->hook, 0.5), "p95_ms",
        histogram_percentile_ms(&side->hook, 0.95));
}

json_t *canary_json(const struct mux *mux)
{
    const struct canary *canary = &mux->canary;
    if (canary->candidate == NULL || mux->current == NULL)
        return json_null();
    const struct conf *conf = conf_of(mux);
    return json_pack("{s:i, s:I, s:I, s:I, s:o, s:o}", "share", (int)canary->share, "age_s",
        (json_int_t)((clock_now_ms() - canary->since_ms) / 1000), "time_s",
        (json_int_t)(conf->multiplexor.canary_time / 1000), "least_runs",
        (json_int_t)conf->multiplexor.canary_requests, "candidate",
        side_json(&canary->tried, canary->candidate), "current",
        side_json(&canary->current, mux->current));
}

json_t *canary_last_json(const struct mux *mux)
{
    const struct canary *canary = &mux->canary;
    if (canary->last_result == NULL)
        return json_null();
    return json_pack("{s:I, s:s, s:o, s:o}", "generation", (json_int_t)canary->last, "result",
        canary->last_result, "why", report_text(canary->last_why), "at",
        report_time(canary->last_at));
}
