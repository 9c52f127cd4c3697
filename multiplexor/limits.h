/*
 * Limits by hook and by key (multiplexor.limits): how many requests run at once, in all or for each
 * domain or client network. Only what runs counts. One that would be over a limit is set aside, out
 * of the queue, so that it is in nobody's way; when one of its like ends it goes back to where it
 * was. What is set aside counts for queue_size, keeps its time, and gives way first.
 *
 * A key lives while a request of it waits or runs, so there are never more than those for each
 * limit, whatever strangers send. After a reload requests count for the limits they came under.
 */
#ifndef POSTERN_MULTIPLEXOR_LIMITS_H
#define POSTERN_MULTIPLEXOR_LIMITS_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "common/buf.h"
#include "common/limit_spec.h"
#include "multiplexor/queue.h"

struct mux;
struct limit_key;
struct limit_set;

enum { LIMITS_BUCKETS = 1024, LIMITS_PER_REQUEST = 8 };

LIST_HEAD(limit_bucket, limit_key);
TAILQ_HEAD(limit_keys, limit_key);

struct limits {
    struct limit_set *set; /* in force; NULL: none */
    struct limit_bucket buckets[LIMITS_BUCKETS];
    struct limit_keys stuck;    /* those that requests are set aside for */
    struct request_list parked; /* all that are, the oldest first */
};

/* What a request counts for. NULL in a request that no limit is about. */
struct limit_hold {
    struct limit_key *keys[LIMITS_PER_REQUEST];
    unsigned n;
    struct limit_key *parked_on;   /* set aside for it; NULL: not */
    struct limit_key *promised_by; /* back in a queue with a place kept; NULL: not */
};

void limits_init(struct limits *limits);
void limits_clear(struct limits *limits); /* no request is left */
/* Takes the limits of the configuration in force. */
void limits_configure(struct mux *mux);

/* Which limits a new request is under. client: text of its address, empty for a program of this
 * host; domain: in lower case, empty when it has none, and then no limit by domain is about it. */
void limits_join(struct request *request, struct slice client, struct slice domain);
void limits_leave(struct request *request);
/* It runs; it does no more. */
void limits_on_run(struct request *request);
void limits_on_end(struct request *request);

/* The first limit that keeps it from running now; NULL: none does. */
struct limit_key *limits_full(const struct request *request);
const char *limit_key_name(const struct limit_key *key); /* of its limit */
bool limit_key_refuses(const struct limit_key *key);
void limit_key_count_refusal(struct limit_key *key);
/* Sets it aside; it must be in no queue. */
void limits_park(struct request *request, struct limit_key *key);
/* The youngest that is set aside, to give way to one that can run; NULL: none. */
struct request *limits_youngest(const struct limits *limits);
/* How long the one that was set aside first has waited; 0: none is. */
int64_t limits_oldest_ms(const struct limits *limits, int64_t now_ms);
/* Gives back to their queues as many as may run now (request_unpark). */
void limits_tend(struct mux *mux);

/* [{"limit", "most", "over", "running", "waiting", "refused", "keys"} …], those in force. */
json_t *limits_json(const struct mux *mux);
/* The same as metrics. */
void limits_put(const struct limits *limits, struct buf *out);

#endif
