/*
 * The generations of the filter as this front end knows them: what each needs, which is current,
 * and how many messages belong to each, so that the multiplexor can be told when an old one has
 * none left. Thread-safe; knows no sockets.
 */
#ifndef POSTERN_MILTERD_GENERATION_H
#define POSTERN_MILTERD_GENERATION_H

#include <stdbool.h>
#include <stdint.h>

#include "common/hook.h"
#include "common/wire.h"

struct generations;

struct generations *generations_new(void);
void generations_free(struct generations *generations);

/* Takes in a NEEDS record: its generation is the current one from now on. */
void generations_learn(struct generations *generations, const struct wire_needs *needs);
/* What to negotiate, as last learned; false when nothing was learned yet. */
bool generations_union(struct generations *generations, struct hook_needs *out);
/* Stage bits that a generation answers; false when it is not known. 0 means the current one. */
bool generations_answers(
    struct generations *generations, uint32_t generation, uint32_t *answers_out);

/*
 * Chooses the generation of a message that begins on a connection that negotiated `have`: the
 * current one if `have` covers its needs, else the one the connection used last if it has not been
 * released, else 0 (the multiplexor chooses). The message counts from now on.
 */
uint32_t generations_stamp(struct generations *generations, struct hook_needs have, uint32_t last);
/* The message belongs to `to` from now on (it was served by it); *held is where it counted. */
void generations_move(struct generations *generations, uint32_t *held, uint32_t to);
/* The message has ended. 0 is fine. */
void generations_drop(struct generations *generations, uint32_t held);

/* An old generation that has no message left, taken off the table: to be released. 0: there is
 * none. */
uint32_t generations_take_idle(struct generations *generations);
/* An eventfd that becomes readable when generations_take_idle may have something. Borrowed. */
int generations_wake_fd(const struct generations *generations);

#endif
