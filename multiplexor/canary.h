/*
 * The guard of a reload: a new generation that is tried on a share of the clients before it takes
 * over, what it does there compared with what the current one does meanwhile, and the judgement.
 * The comparison is between runs of hooks: a run that a worker answered, or died of. Who gets which
 * generation is milterd's to draw (NEEDS); which one is current is reload.c's to change.
 */
#ifndef POSTERN_MULTIPLEXOR_CANARY_H
#define POSTERN_MULTIPLEXOR_CANARY_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "common/hook.h"
#include "common/wire.h"
#include "multiplexor/histogram.h"

struct generation;
struct mux;

/* What one side has done since the candidate began. */
struct canary_side {
    uint64_t runs;
    uint64_t errors;    /* runs that failed, were cut off at the deadline, or killed the worker */
    uint64_t tempfails; /* verdicts of hooks that did not fail */
    struct histogram hook;
    uint64_t n_by_hook[HOOK_COUNT], us_by_hook[HOOK_COUNT]; /* of runs that were answered */
};

struct canary {
    struct generation *candidate; /* NULL: none is tried */
    struct generation *previous;  /* what a promotion or reload replaced, while it lives; or NULL */
    unsigned share;               /* percent of the clients that the candidate gets */
    int64_t since_ms;
    struct canary_side tried, current;
    uint32_t last; /* the generation that was judged last; 0: none */
    const char *last_result;
    char last_why[256];
    time_t last_at;
};

void canary_init(struct mux *mux);
/* The generation becomes the candidate, for `share` percent of the clients; the one before it, if
 * there is one, is no longer tried. */
void canary_begin(struct generation *generation, unsigned share);
/* Another generation takes over, or we stop: what is tried is tried no more. why: for the log. */
void canary_end(struct mux *mux, const char *why);
/* The generation goes: it is neither candidate nor previous any more. */
void canary_forget(const struct generation *generation);

/* By hand. 0 and *generation_out the one that is current now, or what stands against it. */
const char *canary_promote(struct mux *mux, uint32_t *generation_out);
const char *canary_roll_back(struct mux *mux, uint32_t *generation_out);

/* Judges the candidate, when there is one. Cheap. */
void canary_tend(struct mux *mux);

/* Told by request.c and child.c; nothing happens without a candidate. hook_us < 0: no worker ran
 * it. */
void canary_note(struct generation *generation, enum hook hook, enum reply_outcome outcome,
    unsigned verdict, int64_t hook_us);
void canary_note_death(struct generation *generation);

/* For status: null without a candidate, and what became of the last one. */
json_t *canary_json(const struct mux *mux);
json_t *canary_last_json(const struct mux *mux);

#endif
