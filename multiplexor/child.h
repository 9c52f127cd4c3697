/*
 * One worker process: from the FORK that asks for it to its exit status. Knows what it runs, never
 * why it should end (pool.c's) or who else could run it (request.c's).
 *
 * States: FORKING (asked for; the nursery has not told its pid) → STARTING (filter_init runs) →
 * IDLE ⇄ BUSY → QUITTING (asked to end) or KILLED (SIGKILL, or it is dead already) → gone when
 * waitpid has told. The worker is not trusted: whatever it says wrongly kills it.
 */
#ifndef POSTERN_MULTIPLEXOR_CHILD_H
#define POSTERN_MULTIPLEXOR_CHILD_H

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "multiplexor/link.h"
#include "multiplexor/stats.h"

struct generation;
struct mux;
struct note;
struct request;

enum child_state {
    CHILD_FORKING = 0,
    CHILD_STARTING,
    CHILD_IDLE,
    CHILD_BUSY,
    CHILD_QUITTING,
    CHILD_KILLED,
    CHILD_STATE_COUNT
};

struct child {
    TAILQ_ENTRY(child) entry;      /* of its pool */
    TAILQ_ENTRY(child) idle_entry; /* while IDLE */
    struct mux *mux;
    struct generation *generation;
    enum child_state state;
    uint32_t number;         /* our name for it until the pid is known */
    pid_t pid;               /* 0: not known yet */
    bool is_reaped;          /* the pid is no longer ours */
    bool is_ready;           /* READY came */
    bool has_failed;         /* it will never be: the pool was told */
    enum recycle mark;       /* to be replaced for this cause; RECYCLE_NONE: not */
    const struct note *note; /* what it says it is at; NULL: it cannot */
    struct link link;
    struct event timer;       /* start, or exit */
    struct request *request;  /* while BUSY */
    struct request *death_of; /* the request it died on, which waits to hear how it ended */
    uint64_t hop_id;          /* of the request's record to it */
    int64_t started_ms;
    int64_t since_ms; /* in this state */
    uint64_t n_requests;
    uint32_t heap_kb;         /* as it says */
    uint32_t checked_heap_kb; /* when its resident size was last looked at */
    uint64_t resident_bytes;
    char doing[96]; /* hook and uid of the request it runs or died of; empty: none */
};

/* Asks the generation's nursery for a worker. 0, or the error of the system (logged; nothing is
 * left then). */
int child_start(struct generation *generation);
const char *child_state_name(enum child_state state);

/*
 * Gives it a request, which it owns until its answer; child must be IDLE. 0; -ERR_TIMEOUT when the
 * request has too little time left (nothing happened); -ERR_PEER when the worker is gone: child is
 * KILLED then, and the request untouched.
 */
int child_assign(struct child *child, struct request *request);

void child_quit(struct child *child, enum recycle cause); /* IDLE only */
void child_kill(struct child *child, enum recycle cause,
    const char *why); /* any state; its request must be taken away before */
/* The request that it runs must end now: takes a reply that has just come, else kills it and
 * answers OUTCOME_DEADLINE. */
void child_on_deadline(struct child *child);
/* The nursery told its pid; 0: the fork failed. The child may be freed. */
void child_on_forked(struct child *child, pid_t pid, const char *error);
/* waitpid gave its status: reads what it still said, settles its request, frees it. */
void child_on_exit(struct child *child, int status);
/* Its nursery is gone before it told the pid: nobody will. Frees it. */
void child_abandon(struct child *child);
/* "exit status 3", "signal 11 (SEGV)". */
void child_status_text(int status, char *out, size_t out_bytes);

#endif
