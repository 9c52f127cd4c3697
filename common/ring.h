/*
 * A file of fixed size that keeps the newest entries of a process, for others to read while it is
 * written: a header page, then slots. An entry takes one slot or a few in a row. Written by any
 * number of threads of one process through a shared mapping, without locks, system calls (but for
 * two in RING_RELEASE_SLOTS) or waiting, and never synced: it is lost with the machine, not with
 * the process. Each slot names its place in the sequence and ends in a sum over it and its bytes,
 * so that a reader gets an entry whole or not at all, whatever writers do meanwhile. Knows nothing
 * of what entries say (trace_entry.h). In the byte order of the machine.
 *
 *   header  "PSTNRING", u32 version, u32 bytes of a slot, u64 slots, u64 when made (microseconds
 *           since 1970), u64 pid; at offset 128 the u64 number of the next slot
 *   slot    u64 head: sequence number << 16 | part << 12 | parts << 8 | bytes in this slot; 240
 *           bytes; u64 sum
 */
#ifndef POSTERN_RING_H
#define POSTERN_RING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/buf.h"

enum {
    RING_HEADER_BYTES = 4096,
    RING_SLOT_BYTES = 256,
    RING_PAYLOAD_BYTES = 240,
    RING_PARTS_MAX = 8,
    RING_ENTRY_MAX = RING_PARTS_MAX * RING_PAYLOAD_BYTES,
    RING_SIZE_MIN = 65536,
    RING_RELEASE_SLOTS = 512, /* after so many the pages behind are unmapped: they stay in the file
                                 and count for the page cache, not for the process */
};
#define RING_SIZE_MAX ((int64_t)1 << 30)

struct ring;

/*
 * Makes the file anew, with its disk space, and maps it. One that stands there is kept as
 * PATH.old when it has entries (in the place of an older one), else removed.
 *
 * bytes  at least RING_SIZE_MIN is made of it, at most RING_SIZE_MAX.
 * group  may read it, (gid_t)-1: only the owner.
 * Returns 0 and *out, or -ERR_SYSTEM, and then there is no file at path. A group that the process
 * may not give a file to is not an error: errno is left as 0 or says so.
 */
int ring_create(const char *path, int64_t bytes, gid_t group, struct ring **out);
/* Unmaps it; the file stays. NULL is fine. No other thread may be writing. */
void ring_close(struct ring *ring);
/* Adds an entry, of which what is over RING_ENTRY_MAX is cut off. Any thread. ring NULL: nothing.
 */
void ring_put(struct ring *ring, struct slice entry);

/*
 * A reader reads the file instead of mapping it: somebody may cut it short meanwhile. Nothing in it
 * is believed before it is checked.
 */
struct ring_reader {
    int fd;
    uint64_t n_slots;
    int64_t made_us; /* since 1970 */
    uint64_t inode;
    uint64_t next;   /* the slot to be read next */
    uint64_t end;    /* the slot to be written next, when last looked */
    uint64_t n_lost; /* slots overwritten before they were read, or damaged */
    /* private: slots read at once, and the entry put together */
    uint64_t chunk_first, chunk_slots;
    uint64_t *chunk;
    uint8_t entry[RING_ENTRY_MAX];
};

/* Begins with the oldest entry. 0, -ERR_SYSTEM (errno), -ERR_BAD (not such a file). */
int ring_reader_open(struct ring_reader *reader, const char *path);
void ring_reader_close(struct ring_reader *reader); /* also one that did not open */
/*
 * The next entry: *out lives until the next call. -ERR_AGAIN: nothing there yet (ring_is_at_end),
 * or one that is being written, or never will be: its writer died; the caller waits or skips.
 */
int ring_next(struct ring_reader *reader, struct slice *out);
bool ring_is_at_end(const struct ring_reader *reader);
/* Goes past the slot that ring_next is waiting for. */
void ring_skip(struct ring_reader *reader);
/* Goes to the newest entry: only what is written from now on is read. */
void ring_seek_end(struct ring_reader *reader);

#endif
