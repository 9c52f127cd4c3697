/*
 * One profile at a time: the workers are told to sample where the filter spends its time, those
 * that start meanwhile too; what they tell is summed by stack, until the time is over or whoever
 * asked is gone. Bounded: the time of stacks without a place counts as that of others. Workers are
 * not trusted.
 */
#ifndef POSTERN_MULTIPLEXOR_PROFILE_H
#define POSTERN_MULTIPLEXOR_PROFILE_H

#include <event2/event_struct.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/wire.h"

enum { PROFILE_SECONDS_MAX = 600 };

struct child;
struct mux;
struct stack_sum;

/* Who waits for a profile. Embedded by its owner. */
struct profile_waiter {
    /* Takes the reference to what was found; the waiter waits no more. */
    void (*done)(struct profile_waiter *waiter, json_t *data);
};

struct profile {
    struct profile_waiter *waiter; /* NULL: no profile is made */
    uint32_t number;               /* of this one, or the last */
    int64_t started_ms;
    struct stack_sum **sums; /* in the order of their stacks */
    size_t n, cap, text_bytes;
    uint64_t us, n_samples, other_us;
    struct event timer;
};

void profile_init(struct mux *mux);
void profile_clear(struct mux *mux); /* nobody is told */

/* False: another one is being made. waiter: borrowed till its done is called, or profile_forget.
 * seconds: up to PROFILE_SECONDS_MAX. */
bool profile_start(struct mux *mux, unsigned seconds, struct profile_waiter *waiter);
/* It waits no more: its profile, if it has one, ends. Not called back. */
void profile_forget(struct mux *mux, const struct profile_waiter *waiter);
bool profile_is_awaited(const struct mux *mux, const struct profile_waiter *waiter);
/* The time is over, or we stop: what there is goes to the waiter. */
void profile_finish(struct mux *mux);

/* A worker enters service. */
void profile_on_worker(struct child *child);
/* What a worker has sampled. 0, or what is wrong with it. */
int profile_on_samples(struct mux *mux, const struct wire_samples *samples);

#endif
