/*
 * Where a filter spends its time, as sampled in this worker since it was last told: stacks with
 * their time, bounded to what one record takes. Knows neither Lua nor sockets.
 */
#ifndef POSTERN_WORKER_PROFILE_H
#define POSTERN_WORKER_PROFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/wire.h"

enum { PROFILE_STACK_MAX = 4000 }; /* as in records.def */

struct profile;

/* number: of the profile, as the multiplexor calls it. */
struct profile *profile_new(uint32_t number);
void profile_free(struct profile *profile);
/* us were spent with this stack (frames from the root on, separated by ";", at most
 * PROFILE_STACK_MAX bytes, clean text). Without room the time counts as that of others. */
void profile_add(struct profile *profile, struct slice stack, int64_t us);
bool profile_has_news(const struct profile *profile);
/* All of it, which is forgotten then; slices live until the next call. */
void profile_take(struct profile *profile, struct wire_samples *out);

#endif
