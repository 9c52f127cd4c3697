/*
 * Which of several name servers a question goes to: in the order in which they are configured, but
 * those that were silent lately come last, so that a dead first one costs its time-out once in a
 * while and not for each question.
 */
#ifndef POSTERN_WORKER_DNS_TURN_H
#define POSTERN_WORKER_DNS_TURN_H

#include <stdint.h>

enum { DNS_SERVERS_MAX = 8 };

/* Zeroed at first: nobody was silent. Times of the monotonic clock. */
struct dns_turns {
    int64_t answered_ms[DNS_SERVERS_MAX];     /* when it last said anything */
    int64_t silent_until_ms[DNS_SERVERS_MAX]; /* till then it comes last */
};

/*
 * The server to be asked next.
 *
 * n_servers  1 to DNS_SERVERS_MAX.
 * asked      the question's own, zeroed at first: a bit for each that had its turn; when all had, a
 *            new round begins.
 */
unsigned dns_turn_next(
    const struct dns_turns *turns, unsigned n_servers, uint32_t *asked, int64_t now_ms);
/* It answered, whatever it said. */
void dns_turn_answered(struct dns_turns *turns, unsigned server, int64_t now_ms);
/* It did not answer what it was asked at asked_ms. If it answered others since, it is only slow. */
void dns_turn_silent(
    struct dns_turns *turns, unsigned server, int64_t asked_ms, int64_t now_ms, int64_t retry_ms);

#endif
