/* The parcels that wait for their next message: a bounded free list for all threads. */
#ifndef POSTERN_MILTERD_PARCELS_H
#define POSTERN_MILTERD_PARCELS_H

#include <stdbool.h>

#include "common/conf.h"
#include "common/parcel.h"

struct parcels;

/* Limits come from [milterd]; conf is borrowed for its life. */
struct parcels *parcels_new(const struct conf *conf);

/* An empty parcel, kept or new; the caller's until parcels_put. 0 or -ERR_SYSTEM. */
int parcels_take(struct parcels *parcels, struct parcel **out);
/* Gives one back. is_free: nobody else can still read it; else, or when it is not worth keeping, it
 * is freed. */
void parcels_put(struct parcels *parcels, struct parcel *parcel, bool is_free);

#endif
