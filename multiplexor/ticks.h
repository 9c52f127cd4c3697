/*
 * filter_tick: timers of the configuration (multiplexor.ticks), each of which asks a worker of the
 * current generation for one run at its interval. Mail goes first: a timer that is due waits until
 * a worker is idle and no request waits, and its turn is skipped when the next one is due. Never
 * two runs of one timer at the same time, and never more than a quarter of the workers for all of
 * them.
 */
#ifndef POSTERN_MULTIPLEXOR_TICKS_H
#define POSTERN_MULTIPLEXOR_TICKS_H

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "common/tick_spec.h"

struct client;
struct mux;

struct tick {
    struct mux *mux;
    struct client *asker;
    struct tick_spec spec;
    bool is_running;
    int64_t due_ms;     /* monotonic */
    int64_t started_ms; /* of the last run */
    int64_t took_ms;    /* by the last run that ended */
    time_t last_at;     /* when it began; 0: never */
    uint64_t runs, failures, skipped;
};

struct ticks {
    struct tick *list[TICKS_MAX]; /* in the order of the configuration */
    unsigned n, n_running;
    struct event timer; /* for the one that is due next */
};

void ticks_init(struct mux *mux);
/* A generation is current: its settings are in force. Timers that keep their name go on. */
void ticks_on_current(struct mux *mux);
void ticks_stop(struct mux *mux); /* no further run; one under way goes on */
void ticks_clear(struct mux *mux);

#endif
