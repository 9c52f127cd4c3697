/*
 * One hook that a client wants run: from its record to its one answer, through queue, worker, and a
 * second worker when the first died. Owns the record as it came and its descriptors, which are kept
 * till the answer for a second attempt.
 *
 * States: NEW → QUEUED → RUNNING → (QUEUED again →) DONE. One that killed two workers is DYING
 * until it is known how the second ended. A request whose client went away has client NULL: it
 * leaves the queue at once, or ends without an answer when its worker is through.
 */
#ifndef POSTERN_MULTIPLEXOR_REQUEST_H
#define POSTERN_MULTIPLEXOR_REQUEST_H

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/hook.h"
#include "common/sock.h"
#include "common/wire.h"

struct child;
struct client;
struct deaths;
struct generation;
struct limit_hold;
struct limit_key;
struct link_record;
struct mux;
struct queue;
struct shadow_run;

enum request_state {
    REQUEST_NEW = 0,
    REQUEST_QUEUED,
    REQUEST_RUNNING,
    REQUEST_DYING,
    REQUEST_DONE
};

struct request {
    TAILQ_ENTRY(request) entry;        /* of its queue, or of the limit that it is set aside for */
    TAILQ_ENTRY(request) parked_entry; /* of all that are set aside */
    struct mux *mux;
    struct client *client; /* NULL: cancelled */
    enum request_state state;
    struct queue *queue; /* where it waits; NULL while it does not */
    struct child *child; /* who runs it; NULL while nobody does */
    struct event
        timer; /* QUEUED: waited too long; RUNNING: the worker must die; DYING: never mind how */
    const struct hook_info *hook;
    uint64_t client_id; /* of the client's record; the answer repeats it */
    uint32_t asked_generation;
    struct hook_needs negotiated;
    uint8_t flags;             /* enum request_flag */
    uint8_t attempt;           /* 1 or 2, of the run at hand */
    struct limit_hold *limits; /* what it counts for; NULL: nothing */
    struct deaths *deaths;     /* workers that died on it here; NULL: none */
    int64_t deadline_ms;       /* when the client's budget ends */
    int64_t queued_us;         /* since when it waits */
    int64_t sent_us;           /* when the worker got it */
    int64_t queue_us;          /* waited in all */
    bool is_shadow;            /* the shadow is asked: nobody gets the answer, nothing is counted */
    bool is_shadowed;          /* the shadow was told of it */
    bool is_parcel_held;       /* the shadow may still be reading the parcel */
    struct shadow_run *shadow; /* the shadow's part in it, which waits for the answer; or NULL */
    char conn_id[33], uid[49], queue_id[65];
    int fds[SOCK_MAX_FDS]; /* parcel, annex: as they came */
    int n_fds;
    size_t len;
    uint8_t record[];
};

/* Whether it may use the reserved workers. */
static inline bool request_is_reserved(const struct request *request)
{
    return (request->flags & REQUEST_RESERVED) != 0;
}

/*
 * Makes a request of a REQUEST record; its descriptors are taken over.
 *
 * client  borrowed; one request at a time; its request pointer is the caller's to set.
 * Returns 0, or the error of decoding, -ERR_BAD for a hook that nobody may ask for: the client is
 * to be dropped.
 */
int request_new(
    struct mux *mux, struct client *client, const struct link_record *record, struct request **out);

/* Ends it, wherever it is: out of its queue, its descriptors closed. No answer is sent. */
void request_free(struct request *request);

/* QUEUED from now on: starts its waiting time. The queue is the caller's to find. */
void request_wait(struct request *request);
/* NEW again, and no time runs; it is in no queue and at no worker. */
void request_begin_anew(struct request *request);

/*
 * The time that a worker gets now: what is left of the budget without a little for the way back.
 * Its end is when the worker is killed; the worker itself cancels its hook kill_grace before
 * (records.def: the budget includes the grace). False: too little is left to try.
 */
bool request_plan_time(const struct request *request, int64_t now_ms, int64_t *time_ms_out);
/* A worker has it: starts its time. */
void request_started(struct request *request, struct child *child, int64_t kill_after_ms);
/* The worker that ran it died or sent garbage: again on another one, or an answer. how: NULL when
 * request_worker_ended will tell. The request may be gone afterwards. */
void request_worker_died(struct request *request, struct child *child, const char *how);
/* waitpid told how a worker ended that died on it. The request may be gone afterwards. */
void request_worker_ended(struct request *request, struct child *child, const char *how);
/* The client is gone. */
void request_cancel(struct request *request);

#endif
