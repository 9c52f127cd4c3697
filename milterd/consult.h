/*
 * Consulting the filter about one hook: builds the request from the connection's state, asks, takes
 * in what the reply changes (state, pending changes, generation) and says what was decided. What
 * nobody answers is answered by the configuration.
 */
#ifndef POSTERN_MILTERD_CONSULT_H
#define POSTERN_MILTERD_CONSULT_H

#include <stdbool.h>
#include <stdint.h>

#include "milterd/conn.h"
#include "milterd/decision.h"

/* What a hook is asked about beyond the connection and the message. All zero for most. */
struct question {
    enum hook hook;
    uint32_t recipient_offset, recipient_number; /* filter_recipient */
    uint64_t chunk_offset;                       /* filter_body */
    uint32_t chunk_bytes;
    struct slice name;     /* filter_header */
    struct slice argument; /* filter_header, filter_unknown */
};

/* Whether the hook of a stage is to be asked: negotiated, defined by the generation (as far as it
 * is known), and not made needless by an accept. */
bool consult_is_due(const struct conn *conn, enum stage stage);

/*
 * Asks. decision must be all zero; it is filled in every case. False: the client has left and
 * nobody waits for an answer.
 */
bool consult(struct conn *conn, const struct question *question, struct decision *decision);

/*
 * Makes the client wait for an answer. False: it left meanwhile, or (for the part that deadline_ms
 * cuts off) never mind.
 */
bool consult_delay(struct conn *conn, enum stage stage, uint32_t delay_ms, int64_t deadline_ms);

#endif
