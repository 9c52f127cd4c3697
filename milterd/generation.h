/*
 * The generations of the filter as this front end knows them: what each needs, which is current,
 * and how many messages and connections belong to each, so that the multiplexor can be told when an
 * old one has none left. Thread-safe; knows no sockets.
 */
#ifndef POSTERN_MILTERD_GENERATION_H
#define POSTERN_MILTERD_GENERATION_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/hook.h"
#include "common/wire.h"

struct generations;

struct generations *generations_new(void);

/* Takes in a NEEDS record: its generation is the current one from now on, and its candidate, if it
 * names one, the one that is tried. */
void generations_learn(struct generations *generations, const struct wire_needs *needs);
/* What to negotiate, as last learned; false when nothing was learned yet. */
bool generations_union(struct generations *generations, struct hook_needs *out);
/* Stage bits that a generation answers; false when it is not known. 0 means the current one. */
bool generations_answers(
    struct generations *generations, uint32_t generation, uint32_t *answers_out);

/*
 * A connection's claim on the generation whose needs it negotiated. It moves to a newer one by
 * itself as soon as what was negotiated covers that one's needs; until then the old one is not
 * released, so that the connection's messages have a generation to go to.
 */
struct generation_claim {
    struct hook_needs have; /* stages negotiated */
    uint32_t number;        /* 0: none was known */
    uint64_t client;        /* hash of the client that the connection serves */
    bool has_client;        /* without one it never points at a candidate */
    struct generation_claim *prev, *next;
    bool is_held;
};
/* claim is the caller's memory, zeroed before the first use, until generations_unclaim. */
void generations_claim(
    struct generations *generations, struct generation_claim *claim, struct hook_needs have);
void generations_unclaim(
    struct generations *generations, struct generation_claim *claim); /* not held: nothing */

/*
 * Whom the connection serves from now on: a candidate gets a share of the clients, always the same
 * ones while it lives, in every front end and every process. key: address, or what else names it.
 */
void generations_set_client(
    struct generations *generations, struct generation_claim *claim, struct slice key);
/* The generation that a connection's claim points at now: the candidate if the client is of its
 * share, else the current one, if its needs were negotiated. 0: the multiplexor chooses. */
uint32_t generations_claimed(struct generations *generations, const struct generation_claim *claim);
/* The same for a message that begins, which counts from now on. */
uint32_t generations_stamp(struct generations *generations, const struct generation_claim *claim);
/* The message belongs to `to` from now on (it was served by it); *held is where it counted. */
void generations_move(struct generations *generations, uint32_t *held, uint32_t to);
/* The message has ended. 0 is fine. */
void generations_drop(struct generations *generations, uint32_t held);

/* An old generation that nobody here needs any more, taken off the table: to be released. 0: there
 * is none. */
uint32_t generations_take_idle(struct generations *generations);
/* An eventfd that becomes readable when generations_take_idle may have something. Borrowed. */
int generations_wake_fd(const struct generations *generations);

#endif
