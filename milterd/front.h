/*
 * What all connections share. Set up by main before the first connection and constant from then on,
 * but for the atomics and the members that have a lock of their own.
 */
#ifndef POSTERN_MILTERD_FRONT_H
#define POSTERN_MILTERD_FRONT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/conf.h"
#include "milterd/ask.h"
#include "milterd/macros.h"

struct generations;
struct parcels;
struct ring;
struct poison_store;
struct watch;

struct front_counters {
    atomic_uint_fast64_t connections; /* accepted */
    atomic_uint_fast64_t turned_away; /* over max_connections, or not in allow */
    atomic_uint_fast64_t messages;    /* begun */
    atomic_uint_fast64_t failures;    /* answered by on_failure, nobody having answered */
    atomic_uint_fast64_t bad_changes; /* replies or changes that did not validate */
    atomic_uint_fast64_t not_applied; /* messages for which a call of libmilter failed */
};

struct front {
    const struct conf *conf;
    struct ask_ops asker;
    struct generations *generations;
    struct parcels *parcels;
    struct watch *watch;         /* NULL: nobody tells of changes */
    struct poison_store *poison; /* NULL: such messages are not kept */
    struct macro_lists macros;
    struct ring *ring;   /* NULL: nothing is traced */
    int max_connections; /* as many as the descriptors allow */
    struct front_counters counters;
    atomic_bool is_draining;   /* no new messages */
    atomic_int n_open;         /* messages between MAIL and their end */
    atomic_uint_fast32_t next; /* for connection ids */
};

/*
 * Prepares a front, which lives as long as the process: macro lists and parcels. asker and
 * generations are borrowed, conf too.
 */
void front_init(struct front *front, const struct conf *conf, struct ask_ops asker,
    struct generations *generations);

/* A text that no other connection of this machine has had: time and counter. out: at least 24
 * bytes. */
void front_make_id(struct front *front, char *out, size_t out_bytes);

/* One info line with the counters, for the end of the process. */
void front_log_counters(struct front *front);

#endif
