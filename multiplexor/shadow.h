/*
 * A filter that runs beside the one in service and is only looked at: it is given the same hooks
 * and parcels, answers nobody, and what it would have done otherwise is counted, with samples. It
 * has a generation of its own that no mail belongs to, and its own workers; when they are busy for
 * long, messages are left out and counted. What it keeps of a connection between hooks (states,
 * pending changes) is its own and lives here (shadow_talk.c), bounded in bytes.
 */
#ifndef POSTERN_MULTIPLEXOR_SHADOW_H
#define POSTERN_MULTIPLEXOR_SHADOW_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <time.h>

#include "multiplexor/reload.h"
#include "multiplexor/shadow_answer.h"

struct generation;
struct mux;
struct request;
struct talk;
struct wire_reply;

TAILQ_HEAD(talk_list, talk);

enum { SHADOW_BUCKETS = 1024 };

struct shadow {
    struct generation *generation; /* NULL: none runs */
    bool is_ready;                 /* it has loaded */
    char *filter;                  /* of the last one, absolute; NULL: there was none */
    char *error; /* why the last one does not run; NULL: it does, or was stopped */
    struct reload_waiter_list waiting; /* for its load */
    time_t started_at;
    struct shadow_tally tally;
    struct talk_list talks; /* the one unused for longest first */
    struct talk_list buckets[SHADOW_BUCKETS];
    size_t bytes;      /* of all talks */
    unsigned n_runs;   /* of all talks, not yet through */
    unsigned n_queued; /* in its generation's queue */
};

void shadow_init(struct mux *mux);
void shadow_clear(struct mux *mux);
/* Starts it anew, in the place of one that runs. waiter: as in reload_ask. */
void shadow_start(struct mux *mux, const char *filter, struct reload_waiter *waiter);
/* False: none runs. */
bool shadow_stop(struct mux *mux);
/* Now and then: forgets connections that have not been heard of for long. */
void shadow_check(struct mux *mux, int64_t now_ms);

/* Told by generation.c. */
void shadow_on_loaded(struct generation *generation);
void shadow_on_failed(struct generation *generation, const char *why);

/*
 * Told by request.c: a request of a client goes to its generation; its answer, with all slices
 * readable; it goes without one. While request->is_parcel_held, the shadow may still be reading the
 * parcel.
 */
void shadow_begin(struct request *request);
void shadow_note_live(struct request *request, const struct wire_reply *reply);
void shadow_forget_live(struct request *request);

/* All of it, and the few figures for status. */
json_t *shadow_json(const struct mux *mux);
json_t *shadow_brief_json(const struct mux *mux);

/* shadow_talk.c's part of the above. */
void shadow_drop_talks(struct mux *mux, int64_t unused_since_ms);

#endif
