/*
 * Changes to a message as data: made by hooks, carried and appended to as bytes, validated and applied at its end.
 * Knows nothing of milter: a capability is what the front door said the MTA can do.
 */
#ifndef POSTERN_ACTION_H
#define POSTERN_ACTION_H

#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/buf.h"

enum mta_capability {
    MTA_CAN_ADD_HEADER = 1,
    MTA_CAN_CHANGE_HEADER = 2,
    MTA_CAN_REPLACE_BODY = 4,
    MTA_CAN_ADD_RECIPIENT = 8,
    MTA_CAN_ADD_RECIPIENT_ARGS = 16,
    MTA_CAN_DELETE_RECIPIENT = 32,
    MTA_CAN_HOLD = 64,
    MTA_CAN_CHANGE_SENDER = 128,
    MTA_CAN_ALL = 255,
};

enum action_field { ACTION_HAS_INDEX = 1, ACTION_HAS_NAME = 2, ACTION_HAS_VALUE = 4, ACTION_HAS_ADDRESS = 8, ACTION_HAS_ARGS = 16, ACTION_HAS_BODY = 32 };

enum action_kind {
#define ACTION(id, number, name, fields, capability) ACTION_##id = (number),
#include "common/actions.def"
#undef ACTION
};

enum {
    ACTION_NAME_MAX = 256,
    ACTION_VALUE_MAX = 65536,
    ACTION_COUNT_MAX = 20000,      /* per message */
    ACTION_BODY_MAX = 256 << 20,
};

/* All slices are borrowed. */
struct action {
    enum action_kind kind;
    uint32_t index; /* SET, DELETE: nth of that name as received, from 1 (0 in DELETE: all of them); INSERT: position as received, 0 is the top */
    struct slice name;    /* header field name */
    struct slice value;   /* header value without leading space, folded with "\n" + blank where long; or the reason of a hold */
    struct slice address; /* without angle brackets */
    struct slice args;    /* "NOTIFY=NEVER ORCPT=…", or empty */
    struct slice body;
};

struct action_info {
    enum action_kind kind;
    const char *name;
    unsigned fields;
    uint32_t capability;
};
const struct action_info *action_info(unsigned kind); /* NULL when there is no such kind */

/*
 * Whether an action is well-formed and safe to hand to an MTA, whoever made it: header name per RFC 5322 (printable ASCII without
 * colon), no CR or NUL anywhere, LF in a value only before a blank, lengths, addresses, arguments, and the capability in
 * `can`. Returns NULL or what is wrong (borrowed).
 */
const char *action_check(const struct action *action, uint32_t can);

/* Appends one action to bytes that travel. 0, -ERR_TOOBIG, -ERR_BAD (no such kind); after an error out is as it was. */
int action_put(struct buf *out, const struct action *action);
/* Takes the next one; slices point into in. 0, -ERR_NOTFOUND at the end, -ERR_BAD, -ERR_SHORT, -ERR_TOOBIG. */
int action_get(struct buf *in, struct action *out);

struct action_list {
    struct action *items; /* in call order; in the arena */
    uint32_t n;
};
/* Decodes all of them (bounded by ACTION_COUNT_MAX); slices point into bytes. 0 or the error of action_get. */
int action_list_get(struct slice bytes, struct arena *arena, struct action_list *out);

#endif
