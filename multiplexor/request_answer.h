/*
 * What a client is answered: a worker's reply, patched and passed on, or the configured answer when
 * no worker gave one. Each counts it, tells the canary and the shadow, and ends the request.
 */
#ifndef POSTERN_MULTIPLEXOR_REQUEST_ANSWER_H
#define POSTERN_MULTIPLEXOR_REQUEST_ANSWER_H

#include <stddef.h>
#include <stdint.h>

#include "common/wire.h"

struct limit_key;
struct request;

/* The worker's reply, checked and decoded; patched, passed on, counted. Frees the request.
 * annex_fd: -1 or borrowed. */
void request_answer(struct request *request, uint8_t *record, size_t len,
    const struct wire_reply *reply, int annex_fd);
/* Our own answer (never OUTCOME_ERROR or OUTCOME_MEMORY). Frees the request. */
void request_fail(struct request *request, enum reply_outcome outcome, const char *why);
/* request_fail, OUTCOME_OVERLOAD: a limit refuses it, which is counted. */
void request_fail_over_limit(struct request *request, struct limit_key *key);
/* request_fail, OUTCOME_POISON: two workers are dead of it. */
void request_fail_as_poison(struct request *request);

#endif
