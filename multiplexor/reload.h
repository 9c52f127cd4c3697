/*
 * Which load of the filter is under way, which one comes next, and who waits for them. One load at
 * a time; a reload that is asked for meanwhile comes after it, all such in one, and takes its place
 * when it takes long. What fails changes nothing.
 */
#ifndef POSTERN_MULTIPLEXOR_RELOAD_H
#define POSTERN_MULTIPLEXOR_RELOAD_H

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct conf;
struct generation;
struct mux;
struct reload_waiter;
TAILQ_HEAD(reload_waiter_list, reload_waiter);

enum { RELOAD_CANARY_OPTION = -1 }; /* as multiplexor.canary says */

/* Somebody who waits for the end of a reload. Embedded by its owner. */
struct reload_waiter {
    TAILQ_ENTRY(reload_waiter) entry;
    struct reload_waiter_list *list; /* NULL: it does not wait */
    /* error NULL: this generation is current, or the candidate. The waiter waits no more; it may be
     * freed by the callback. */
    void (*done)(struct reload_waiter *waiter, uint32_t generation, const char *error);
};

struct reload {
    struct reload_waiter_list waiting; /* for the load under way */
    struct reload_waiter_list pending; /* for the one after it */
    bool is_pending;
    int canary, pending_canary; /* share that was asked for, in percent; RELOAD_CANARY_OPTION */
    char *error;                /* why the last load failed; NULL: it did not */
    int64_t retry_ms; /* pause before the next try, while nothing is loaded or the current
                         generation's nursery is lost; 0: neither */
    struct event patience; /* the load under way gives way to the pending one */
    struct event retry;
};

void reload_init(struct mux *mux);
void reload_clear(struct mux *mux);
/* Loads the filter for the first time, with the configuration in force. */
void reload_first(struct mux *mux);
/* Loads configuration and filter anew. waiter: borrowed till its done is called (perhaps at once),
 * or NULL. canary: percent of the clients that the new generation is tried on, 0: none, it takes
 * over at once; RELOAD_CANARY_OPTION. */
void reload_ask(struct mux *mux, struct reload_waiter *waiter, int canary);
void reload_forget(struct reload_waiter *waiter); /* it waits no more; not called back */
/* Starts the pending one when its turn has come. */
void reload_tend(struct mux *mux);
/* We are stopping: nobody waits any more. */
void reload_stop(struct mux *mux);

/* A generation that is able to becomes the current one, with the settings it was loaded with; what
 * was current lingers, and so does the candidate. */
void reload_take_over(struct generation *generation);

/* Told by guard.c: conf (ours from now on) may be loaded, or the tests of its filter say no. */
void reload_on_tested(struct mux *mux, struct conf *conf, const char *error);

/* Told by generation.c. */
void reload_on_loaded(struct generation *generation);
void reload_on_failed(struct generation *generation, const char *why);
void reload_on_nursery_lost(struct mux *mux);

#endif
