/*
 * The resolver of a worker: questions to the servers of [dns], or of /etc/resolv.conf, through
 * c-ares on the worker's event loop. Answers are cached; who asks what is being asked already waits
 * for the same answer. A question goes to each server in turn, as often as dns.tries says.
 */
#ifndef POSTERN_WORKER_DNS_H
#define POSTERN_WORKER_DNS_H

#include "common/conf.h"
#include "worker/dns_answer.h"
#include "worker/script_wait.h"

struct dns;
struct dns_query;
struct event_base;

/* Who asks. Zeroed at first; lives until dns_forget. */
struct dns_waiter {
    struct script_waker waker; /* pulled when it is done */
    struct dns_query *query;   /* in flight; NULL: none */
    struct dns_waiter *next;
    bool is_done;
    struct dns_answer *answer; /* a reference; NULL: it failed */
    char error[160];           /* "timeout", "servfail: …" when it did */
};

/*
 * base  borrowed; outlives it.
 * NULL: why_out says what is wrong (no server, no memory).
 */
struct dns *dns_new(const struct conf *conf, struct event_base *base, char *why, size_t why_bytes);
void dns_free(struct dns *dns); /* nobody waits any more; NULL is fine */
/* Asks; a good name. When waiter->is_done then, it need not wait. */
void dns_ask(struct dns *dns, const char *name, enum dns_type type, struct dns_waiter *waiter);
/* Lets go of its answer; or it does not want one any more. */
void dns_forget(struct dns_waiter *waiter);

#endif
