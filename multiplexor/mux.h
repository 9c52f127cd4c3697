/*
 * The multiplexor: owns clients, generations, the control socket, counters, and the loop that they
 * live in. Calls go down (mux → client, ctl → request → generation → pool → child → link); upwards
 * there are only mux_wake, which has everything looked after once more before the loop waits, and
 * the few reload_on_* of a load. Nothing here blocks.
 */
#ifndef POSTERN_MULTIPLEXOR_MUX_H
#define POSTERN_MULTIPLEXOR_MUX_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "common/conf.h"
#include "multiplexor/canary.h"
#include "multiplexor/client.h"
#include "multiplexor/counts.h"
#include "multiplexor/ctl.h"
#include "multiplexor/front.h"
#include "multiplexor/generation.h"
#include "multiplexor/guard.h"
#include "multiplexor/http.h"
#include "multiplexor/limits.h"
#include "multiplexor/map.h"
#include "multiplexor/profile.h"
#include "multiplexor/queue.h"
#include "multiplexor/reload.h"
#include "multiplexor/shadow.h"
#include "multiplexor/stats.h"
#include "multiplexor/status_line.h"
#include "multiplexor/ticks.h"

enum { MUX_SIGNALS = 4, MUX_ORPHANS = 64 };

/* A process of ours that ended before its nursery had told us that it exists. */
struct orphan {
    pid_t pid;
    int status;
};

struct mux {
    struct event_base *base;
    struct conf *conf;   /* in force */
    const char *sandbox; /* what the multiplexor itself has in force, for status; borrowed */
    char *worker_program;
    struct clients clients;
    struct ctl ctl;
    struct http http;
    struct maps maps;
    struct ticks ticks;
    struct limits limits;
    struct profile profile;
    struct fronts fronts;
    struct generation_list generations;
    struct generation *current; /* NULL: no filter has loaded */
    struct generation *loading; /* NULL: none */
    uint32_t last_generation, last_child;
    uint64_t last_hop_id;
    struct queue lobby; /* requests that came before the first filter has loaded */
    unsigned n_queued;  /* in all queues */
    unsigned n_common;  /* requests running that are not reserved */
    struct reload reload;
    struct guard guard; /* of reloads */
    struct canary canary;
    struct shadow shadow;
    struct wire_needs told; /* what the watchers know */
    struct orphan orphans[MUX_ORPHANS];
    unsigned next_orphan;
    bool is_stopping;
    bool is_draining; /* running messages end, new ones are turned away */
    bool is_awake;    /* tend is scheduled */
    struct event tend, housekeeping, drain;
    struct event signals[MUX_SIGNALS];
    struct stats stats;
    struct status_line status_line;
    struct counts counts; /* of filters */
    bool has_told_of_dropped_counts;
    int64_t overload_logged_ms;
    uint8_t *scratch;   /* what links receive into */
    struct buf encoded; /* the record being made; valid until the next one is */
};

struct mux_sockets {
    int records, control; /* listening; the multiplexor's; -1: none (tests) */
    gid_t control_gid;    /* group that may look; (gid_t)-1: none */
    unsigned max_clients;
    int metrics; /* listening; -1: none */
    bool is_metrics_inet;
    int maps; /* listening; -1: none */
};

/* conf: the multiplexor's from now on. NULL when libevent gives no base. */
struct mux *mux_new(
    struct conf *conf, const char *worker_program, const struct mux_sockets *sockets);
void mux_free(struct mux *mux);
/* Loads the filter and serves until it has been stopped and no process is left. */
void mux_run(struct mux *mux);
/* Tells the watching front ends what the filter needs now, if that has changed. Clients may be gone
 * afterwards. */
void mux_tell_needs(struct mux *mux);

/* Everything is looked after once more before the loop waits again. Cheap. */
void mux_wake(struct mux *mux);


void mux_needs(const struct mux *mux, struct wire_needs *out);
unsigned mux_n_live(const struct mux *mux); /* workers of all generations but the shadow's */
/* The same by state, and how long the request that waits for longest has waited. */
void mux_count_workers(const struct mux *mux, unsigned n_out[CHILD_STATE_COUNT]);
int64_t mux_oldest_ms(const struct mux *mux, int64_t now_ms);
/* Whether a worker may be given a request that is not reserved. */
bool mux_may_run_common(const struct mux *mux);
unsigned mux_n_busy(const struct mux *mux); /* those of them that run a request */
/* The status of a process that ended before it was known; true once. */
bool mux_take_orphan(struct mux *mux, pid_t pid, int *status_out);

#endif
