/*
 * What the filter has counted in this worker since it was last told to the multiplexor. Bounded: a
 * count that has no place is dropped, and the number of those is told. Knows neither Lua nor
 * sockets.
 */
#ifndef POSTERN_WORKER_TALLY_H
#define POSTERN_WORKER_TALLY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/count.h"
#include "common/wire.h"

struct tally;

/* max: how many counts, told apart by name and labels, are kept. */
struct tally *tally_new(size_t max);
void tally_free(struct tally *tally);
/* Adds count->add. The texts are copied; they must be valid as count_get has it. A sum stays at
 * UINT64_MAX when it gets there. */
void tally_add(struct tally *tally, const struct count *count);
/* Whether there is something to tell. */
bool tally_has_news(const struct tally *tally);
/* The next record's worth of news, which is forgotten then; slices live until the next call. */
void tally_take(struct tally *tally, struct wire_counts *out);

#endif
