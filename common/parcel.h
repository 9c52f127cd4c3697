/*
 * A parcel: one message's bytes and its envelope so far, in a memory file that dies with its last holder.
 *
 * Layout of the file, the same in memory and on disk: bytes 0 … PARCEL_ENVELOPE_MAX - 1 hold envelope entries (envelope.h), bytes from
 * PARCEL_MESSAGE_OFFSET the message: header block, CRLF, body, as received. Only the lengths that travel in the record count.
 *
 * milterd writes: a memory file of fixed sparse size is mapped once and then sealed SHRINK, GROW, FUTURE_WRITE, SEAL, so that it alone can write.
 * When the message passes memory_bytes the whole moves to an unlinked file in the spool folder, written by pwrite and passed by a read-only
 * descriptor (a full disk is an error, not SIGBUS).
 * Reuse for another message: only after every holder answered or is dead; old bytes above the new length are zeroed before it is
 * passed again. A parcel over keep_bytes, or on disk, is not kept.
 */
#ifndef POSTERN_PARCEL_H
#define POSTERN_PARCEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

#define PARCEL_ENVELOPE_MAX   ((size_t)16 << 20)
#define PARCEL_MESSAGE_OFFSET PARCEL_ENVELOPE_MAX

struct parcel;

struct parcel_limits {
    size_t memory_bytes;  /* message bytes kept in memory */
    size_t message_bytes; /* message bytes in all (max_message) */
    size_t keep_bytes;    /* a parcel that held more is not reused */
    const char *spool;    /* folder for larger messages; borrowed for the parcel's life */
};

/* Returns 0, or -ERR_SYSTEM. */
int parcel_new(const struct parcel_limits *limits, struct parcel **out);
void parcel_free(struct parcel *parcel); /* unmaps and closes; holders keep theirs */

/* Appends; 0, -ERR_TOOBIG (message_bytes, PARCEL_ENVELOPE_MAX) or -ERR_SYSTEM (spool). After an error the lengths are unchanged. */
int parcel_append_envelope(struct parcel *parcel, struct slice bytes);
int parcel_append_message(struct parcel *parcel, struct slice bytes);

size_t parcel_envelope_bytes(const struct parcel *parcel);
size_t parcel_message_bytes(const struct parcel *parcel);
/* Everything written to the message so far, readable while in memory; on disk the slice is a mapping made by this call and dropped by the next
 * append, rewind or free. Data NULL on a mapping error. */
struct slice parcel_message(struct parcel *parcel);
struct slice parcel_envelope(struct parcel *parcel);

/* Forgets the message and all of the envelope past envelope_bytes (a length taken earlier). A parcel that is on disk,
 * or held more than keep_bytes, gets a fresh memory file, so that what was large is given back. 0, or -ERR_SYSTEM with nothing changed. */
int parcel_rewind(struct parcel *parcel, size_t envelope_bytes);
/* Whether it may serve another message (size, not on disk). */
bool parcel_is_reusable(const struct parcel *parcel);
bool parcel_is_on_disk(const struct parcel *parcel);

/*
 * The descriptor to pass: zeroes what earlier messages left above the present lengths first. Stays the parcel's. -ERR_SYSTEM.
 */
int parcel_fd(struct parcel *parcel);

/* The reader's side: a parcel that arrived, checked; mapped read-only, or copied when it is small. */
struct parcel_view {
    struct slice envelope;
    struct slice message;
    void *map; /* for parcel_view_close: NULL when nothing is mapped */
    size_t map_bytes;
    void *copy; /* the same: of a small parcel, in one allocation */
};
/*
 * Checks that fd is a memory file with the seals SHRINK and GROW, or an unlinked regular file opened read-only, large enough for both lengths, and makes both
 * readable. fd stays the caller's and may be closed afterwards. 0, -ERR_BAD, -ERR_SHORT, -ERR_TOOBIG, -ERR_SYSTEM.
 */
int parcel_view_open(int fd, size_t envelope_bytes, size_t message_bytes, struct parcel_view *out);
void parcel_view_close(struct parcel_view *view);

/*
 * Annex: fields that do not fit into a record. Writes bytes to a memory file and seals it SHRINK, GROW, WRITE, SEAL. The fd is the caller's. -ERR_SYSTEM.
 */
int annex_new(struct slice bytes, int *fd_out);
/* Maps an annex that arrived after checking seals and that its size is at most max_bytes. Unmap with annex_close. 0, -ERR_BAD, -ERR_TOOBIG, -ERR_SYSTEM. */
int annex_open(int fd, size_t max_bytes, struct slice *out);
void annex_close(struct slice annex);

#endif
