/* What is said on a new link before the first request, and what the answers mean: to a server who
 * we are and which database we want, to a sentinel which master we look for. */
#ifndef POSTERN_WORKER_REDIS_GREETING_H
#define POSTERN_WORKER_REDIS_GREETING_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/conf.h"
#include "worker/redis_place.h"

enum { REDIS_GREETING_MAX = 8192 };

/* Write the commands: 0, or -ERR_BAD and why (the file of the password cannot be read). */
int redis_greeting_master(const struct conf *conf, bool asks_role, struct buf *out,
    size_t *n_replies, char *why, size_t why_bytes);
int redis_greeting_sentinel(
    const struct conf *conf, struct buf *out, size_t *n_replies, char *why, size_t why_bytes);

/* Read the replies, whole: 0, or -ERR_PEER and why this server cannot be used. */
int redis_greeting_take_master(struct slice reply, char *why, size_t why_bytes);
int redis_greeting_take_sentinel(const struct conf *conf, struct slice reply,
    struct redis_place *master_out, char *why, size_t why_bytes);

/* Whether the first of the replies is the error with which a replica refuses to write. */
bool redis_greeting_is_replica(struct slice reply);

#endif
