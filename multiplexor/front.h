/*
 * What the front ends count. Each tells its numbers, which grow from its start, over its watch
 * connection; the totals here grow from ours, whichever of the two starts anew.
 */
#ifndef POSTERN_MULTIPLEXOR_FRONT_H
#define POSTERN_MULTIPLEXOR_FRONT_H

#include <jansson.h>
#include <stdint.h>

#include "common/wire.h"

enum { FRONTS_MAX = 64 };

/* FRONT(name, help): a field of COUNTERS. */
#define FRONT_COUNTERS(FRONT)                                                                      \
    FRONT(connections, "connections of mail servers accepted")                                     \
    FRONT(turned_away, "connections turned away: too many, or not in milterd.allow")               \
    FRONT(messages, "messages begun")                                                              \
    FRONT(failures, "questions that nobody answered: milterd.on_failure did")                      \
    FRONT(bad_changes, "replies or changes that did not validate")                                 \
    FRONT(not_applied, "messages whose changes the mail server did not take")

struct fronts {
    struct {
        uint32_t pid;  /* 0: free */
        uint64_t used; /* when, in reports */
        struct wire_counters last;
    } known[FRONTS_MAX];
    uint64_t n_reports;
    struct wire_counters total;
};

/* A report of the front end with this pid; a number smaller than before means that it is another
 * process. */
void fronts_add(struct fronts *fronts, uint32_t pid, const struct wire_counters *counters);
/* {name: total}. */
json_t *fronts_json(const struct fronts *fronts);

#endif
