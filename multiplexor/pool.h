/*
 * The workers of one generation: how many there should be, who gets the next request, who is to be
 * replaced and why, and the throttle after workers that died at their start. A worker that is to be
 * replaced serves on until its replacement is ready, so that a recycle never delays a message.
 * Policy only; the processes are child.c's. pool_tend does everything that changes their number,
 * from the loop and never from inside a callback of a child.
 */
#ifndef POSTERN_MULTIPLEXOR_POOL_H
#define POSTERN_MULTIPLEXOR_POOL_H

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "multiplexor/child.h"
#include "multiplexor/scale.h"

struct generation;

TAILQ_HEAD(child_list, child);

struct pool {
    struct generation *generation;
    struct child_list children;
    struct child_list idle; /* the one used last is first, so that the others can idle out */
    unsigned n_in[CHILD_STATE_COUNT];
    unsigned n_marked;   /* live ones that are to be replaced */
    unsigned n_owed;     /* of them, those whose replacement is not ready yet: they stay */
    unsigned n_failures; /* starts that failed in a row */
    bool is_paused;      /* nothing is started for the moment */
    int64_t pause_ms;    /* the last pause, which the next one doubles; 0: not throttled */
    int64_t paused_until_ms;
    char failure[256]; /* why it is throttled */
    struct scale scale;
    struct event resume;
};

void pool_init(struct pool *pool, struct generation *generation);
void pool_clear(struct pool *pool); /* it must be empty */
void pool_add(struct pool *pool, struct child *child);
void pool_remove(struct pool *pool, struct child *child);
struct child *pool_find_pid(const struct pool *pool, pid_t pid);
struct child *pool_find_number(const struct pool *pool, uint32_t number);

/* Workers that run or will run requests: forking, starting, idle, busy. */
unsigned pool_n_live(const struct pool *pool);
bool pool_is_empty(const struct pool *pool);
/* No worker lives, and the last ones died at their start again and again: nobody should wait for
 * the next. */
bool pool_is_broken(const struct pool *pool);

/* Gives waiting requests to idle workers; starts, replaces and ends workers as the generation's
 * state asks. */
void pool_tend(struct pool *pool);
/* How many workers it keeps ready, whether needed at the moment or not. */
unsigned pool_target(const struct pool *pool);
/* Now and then: the load, a throttle that is over, workers that are too old or were idle too long.
 */
void pool_check(struct pool *pool, int64_t now_ms);
/* The worker is to be replaced in good order. */
void pool_mark(struct child *child, enum recycle cause);
/* Ends everything at once; requests that run are answered. For a stop that took too long. */
void pool_kill(struct pool *pool);
/* Ends those that run a request, which is answered, at once. */
void pool_kill_busy(struct pool *pool, const char *why);

/* Told by child.c. */
void pool_on_state(struct pool *pool, struct child *child, enum child_state next);
void pool_on_ready(struct generation *generation);
void pool_on_start_failed(struct generation *generation, const char *why);
/* A worker that was ready died before it gave its first answer. */
void pool_on_early_death(struct generation *generation, const char *why);
/* A worker gave its first answer. */
void pool_on_first_answer(struct generation *generation);

/* pool_pause.c's part of the above. */
void pool_on_resume(evutil_socket_t fd, short what, void *context);
void pool_unthrottle(struct pool *pool);

#endif
