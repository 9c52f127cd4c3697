/*
 * The life of a generation (generation.c) as what its nursery tells (generation_record.c) acts on
 * it. Nobody else includes it.
 */
#ifndef POSTERN_MULTIPLEXOR_GENERATION_INTERNAL_H
#define POSTERN_MULTIPLEXOR_GENERATION_INTERNAL_H

#include "multiplexor/generation.h"

/* What the nursery's link tells: the context is the generation. */
extern const struct link_events generation_events;

/* Checks that the next state may follow. */
void generation_set_state(struct generation *generation, enum generation_state state);
/* The nursery process, if it still runs. */
void generation_kill_nursery(struct generation *generation);
/* The nursery is no use any more, by its own fault; told once. Its workers go on. */
void generation_lose_nursery(struct generation *generation, const char *why);

#endif
