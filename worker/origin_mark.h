/*
 * The field by which a server at our edge tells those behind it who brought a message: address and
 * names of the client, a time, and a keyed hash over these and the Message-ID, with a key that our
 * servers share. Whoever lacks the key can neither make one nor put one onto another message.
 */
#ifndef POSTERN_WORKER_ORIGIN_MARK_H
#define POSTERN_WORKER_ORIGIN_MARK_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/buf.h"
#include "worker/keyed_hash.h"

#define ORIGIN_MARK_FIELD "X-Postern-Origin"

enum {
    ORIGIN_MARK_KEY_MIN = 16, /* bytes of the key's file */
    ORIGIN_MARK_KEY_MAX = 4096,
    ORIGIN_MARK_NAME_MAX = 255,        /* of a client's name; longer ones are cut */
    ORIGIN_MARK_PAST_SECS = 7 * 86400, /* what waits in a queue comes late */
    ORIGIN_MARK_FUTURE_SECS = 300,
};

struct origin_mark {
    char ip[INET6_ADDRSTRLEN]; /* canonical */
    struct slice helo;         /* of a mark that was read: in the arena */
    struct slice hostname;
};

/* The key that the bytes of a file stand for. */
void origin_mark_key(struct slice bytes, uint8_t key_out[KEYED_HASH_BYTES]);
/* The field's value. message_id: the value of that field as it stands; empty when there is none. */
struct slice origin_mark_make(const struct origin_mark *mark, struct slice message_id,
    const uint8_t key[KEYED_HASH_BYTES], int64_t now_secs, struct arena *arena);
/* Whether the value is one of ours, of this message, and not too old. */
bool origin_mark_read(struct slice value, struct slice message_id,
    const uint8_t key[KEYED_HASH_BYTES], int64_t now_secs, struct arena *arena,
    struct origin_mark *out);

#endif
