/*
 * The field of copies that msg:split has made: by what, whose mail it was, a time, and a keyed hash
 * over these and the sender, with a key in the state folder. It is believed of clients that are
 * trusted only: who has got hold of one can do nothing with it.
 *
 *   X-Postern-Split: v=1; t=SECONDS; by=recipient|domain; way=in|out; h=HEX
 */
#ifndef POSTERN_WORKER_SPLIT_MARK_H
#define POSTERN_WORKER_SPLIT_MARK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "worker/keyed_hash.h"

struct conf;
struct job;

#define SPLIT_MARK_FIELD "X-Postern-Split"

enum {
    SPLIT_MARK_MAX = 160,
    SPLIT_MARK_PAST_SECS = 7 * 86400, /* what waits in a queue comes late */
    SPLIT_MARK_FUTURE_SECS = 300,
};

struct split_mark {
    bool is_by_domain; /* else by recipient */
    bool is_out;       /* msg.direction of the mail that was split */
};

/* The key, from the file smtp.key in worker.state_dir; made there when may_make. 0 or what
 * keyed_hash_secret says. */
int split_mark_key(const struct conf *conf, bool may_make, uint8_t key_out[KEYED_HASH_BYTES]);
/* The field's value. sender: of the copy, without brackets. */
void split_mark_make(const struct split_mark *mark, struct slice sender,
    const uint8_t key[KEYED_HASH_BYTES], int64_t now_secs, char out[SPLIT_MARK_MAX]);
/* Whether the topmost field of the message, as received, is genuine, its client trusted, and
 * smtp.reinject set. In hooks that know the header. Nothing is asked of the disk when there is no
 * such field. */
bool split_mark_get(struct job *job, struct split_mark *out);

#endif
