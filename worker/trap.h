/*
 * Keeping one message, or parts of it, in the store of trap_store.h; and knowing mail again that
 * was kept before: by its id when it is sent again, by a mark in its header when it was released.
 */
#ifndef POSTERN_WORKER_TRAP_H
#define POSTERN_WORKER_TRAP_H

#include "worker/deeds.h"
#include "worker/trap_store.h"

struct job;

/* What became of a message that was to be kept. */
enum trap_fate {
    TRAP_KEPT = 0, /* written now, or by an earlier try of the same mail */
    TRAP_WAITING,  /* deferred: nobody has decided yet */
    TRAP_RELEASED, /* deferred, and somebody has let it go on */
    TRAP_SENT,     /* deferred, and released to its recipients meanwhile: they have it */
    TRAP_REFUSED,  /* deferred, and somebody has refused it */
};

struct trap_result {
    enum trap_fate fate;
    bool is_new;                /* written now */
    char id[TRAP_ID_CHARS + 1]; /* of the message; "": only parts were kept */
};

/*
 * Keeps what job->deeds asks for. reply: the hook's answer, for the facts. Returns 0 once all of it
 * is on the disk; or what trap_store_open and keep return (-ERR_TOOBIG: a bound of [trap]), and
 * then the message must not be accepted.
 */
int trap_keep(struct job *job, const struct wire_reply *reply, struct trap_result *out);

/* ---- the mark of released mail ---- */

#define TRAP_MARK_NAME "X-Postern-Released"
enum { TRAP_MARK_MAX = 200, TRAP_MARK_DAYS = 7 };

/*
 * The value of the header field that released mail carries, so that a filter which meets it again
 * does not keep it again: the id, the time, and a keyed hash over both and the message's body. It
 * holds for TRAP_MARK_DAYS.
 */
void trap_mark_make(const uint8_t secret[KEYED_HASH_BYTES], const char *id, int64_t time_secs,
    struct slice body, char out[TRAP_MARK_MAX]);
/* Whether one of the first fields of this name holds a mark of this secret for the mail as it is.
 */
bool trap_mark_is_good(struct job *job, const char *field, const uint8_t secret[KEYED_HASH_BYTES]);
/* Whether the mail was released from the store of its configuration. Without the field this costs a
 * look at the header, and opens nothing. */
bool trap_mark_is_on(struct job *job);

#endif
