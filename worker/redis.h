/*
 * A client of Redis that never waits by itself (section [redis]): each call is run until it says
 * what has to be waited for, as requests to the store are. Links to the server are kept open
 * between calls; calls that run at the same time have one each, so that one that is given up leaves
 * no stale answer for the next. With Sentinel the master is asked for, and asked for again when it
 * is lost or has become a replica.
 *
 * A request is sent once. Only what the server surely has not run is tried elsewhere: it could not
 * be reached, or said that it is a replica. Nothing that a server does ends the process.
 *
 * redis.c has the calls, redis_link.c one connection, redis_place.c servers' addresses.
 */
#ifndef POSTERN_WORKER_REDIS_H
#define POSTERN_WORKER_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/conf.h"
#include "worker/script_wait.h"

enum {
    REDIS_ERROR_MAX = 300,
    REDIS_REQUEST_MAX = 16 << 20, /* bytes of one request, all its commands together */
    REDIS_SENTINELS_MAX = 8,
    REDIS_IDLE_MAX = 8, /* links kept for later */
};

struct redis;
struct redis_link;

enum redis_phase {
    REDIS_BEGIN = 0,
    REDIS_SENTINEL, /* a sentinel is asked for the master */
    REDIS_GREETING, /* the link is new: who we are, which database, which role it has */
    REDIS_ASKING,   /* the request itself */
    REDIS_DONE,
};

/* Zeroed at first but for what the caller sets. Must be ended, whatever became of it. */
struct redis_call {
    struct slice request; /* of resp.h; borrowed until the end */
    size_t n_replies;     /* commands in it */
    int64_t deadline_ms;  /* monotonic clock */

    struct slice reply;          /* the replies, whole; borrowed until the end */
    char error[REDIS_ERROR_MAX]; /* after an error: "redis 127.0.0.1:6379: refused" */
    struct script_wait wait;     /* after -ERR_AGAIN */

    /* redis.c's own */
    enum redis_phase phase;
    char what[140]; /* wait.what */
    struct redis_link *link;
    struct buf greeting;   /* what is asked before the request */
    int64_t begun_ms;      /* monotonic clock: the begin of the phase */
    int64_t step_ms;       /* and its end */
    unsigned n_sentinels;  /* asked in vain */
    bool is_master_told;   /* a sentinel named the master during this call */
    bool was_told_replica; /* the request was refused by one */
};

/* Opens nothing. conf is borrowed. Never NULL. */
struct redis *redis_new(const struct conf *conf);
void redis_free(struct redis *redis); /* after the end of all calls; NULL is fine */

/*
 * Runs a call, or goes on with one. 0; -ERR_AGAIN (wait for call->wait, then call again);
 * -ERR_TIMEOUT, -ERR_PEER (no server, or none that can be used), -ERR_BAD (no RESP2), -ERR_TOOBIG
 * (redis.max_reply). An error reply is a reply.
 */
int redis_run(struct redis *redis, struct redis_call *call);
/* Gives the link back; one whose answer has not come is closed. May be called again. */
void redis_end(struct redis *redis, struct redis_call *call);

#endif
