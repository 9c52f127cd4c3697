#include "common/ring.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/xalloc.h"

enum {
    RING_VERSION = 1,
    WORDS = RING_SLOT_BYTES / 8,
    PAYLOAD_WORDS = RING_PAYLOAD_BYTES / 8,
    CHUNK_SLOTS = 256,
    PAGE_SLOTS = 16,
    PATH_ROOM = 4200,
};

static const char ring_magic[8] = {'P', 'S', 'T', 'N', 'R', 'I', 'N', 'G'};

/* The start of the header page. */
struct ring_header {
    char magic[8];
    uint32_t version;
    uint32_t slot_bytes;
    uint64_t n_slots;
    uint64_t made_us;
    uint64_t pid;
    uint64_t unused[11];
    _Atomic uint64_t next; /* on a cache line of its own */
};
static_assert(offsetof(struct ring_header, next) == 128, "readers look there");
static_assert(WORDS == PAYLOAD_WORDS + 2, "head, bytes, sum");

struct ring {
    struct ring_header *header; /* the mapping's start */
    _Atomic uint64_t *slots;
    uint64_t n_slots;
    size_t bytes; /* of the mapping */
};

static uint64_t mix(uint64_t sum, uint64_t word)
{
    sum = (sum ^ word) * UINT64_C(0x9E3779B97F4A7C15);
    return sum ^ sum >> 29;
}

/* Over the head and the payload, in lanes that do not wait for each other; an empty slot has none
 * that fits. */
static uint64_t sum_of(const uint64_t *slot)
{
    uint64_t a = UINT64_C(0x706F737465726E21), b = 0, c = 0, d = 0;
    unsigned i = 0;

    for (; i + 4 <= PAYLOAD_WORDS; i += 4) {
        a = mix(a, slot[i]);
        b = mix(b, slot[i + 1]);
        c = mix(c, slot[i + 2]);
        d = mix(d, slot[i + 3]);
    }
    for (; i <= PAYLOAD_WORDS; i++)
        a = mix(a, slot[i]);
    return mix(mix(mix(a, b), c), d);
}

static uint64_t head_of(uint64_t number, unsigned part, unsigned parts, size_t len)
{
    return number << 16 | (uint64_t)part << 12 | (uint64_t)parts << 8 | len;
}

/* The one of the process before is worth keeping when something is in it. */
static int put_old_away(const char *path)
{
    struct ring_reader old;
    char kept[PATH_ROOM];
    bool has_entries = ring_reader_open(&old, path) == 0 && old.end > 0;

    ring_reader_close(&old);
    if ((size_t)snprintf(kept, sizeof kept, "%s.old", path) >= sizeof kept) {
        errno = ENAMETOOLONG;
        return -ERR_SYSTEM;
    }
    if ((has_entries ? rename(path, kept) : unlink(path)) != 0 && errno != ENOENT)
        return -ERR_SYSTEM;
    return 0;
}

/* Space is taken now: a write into the mapping of a file with holes on a full disk is a SIGBUS. */
static int make_file(const char *path, size_t bytes)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    int error;

    if (fd < 0)
        return -ERR_SYSTEM;
    error = posix_fallocate(fd, 0, (off_t)bytes);
    if (error == 0)
        return fd;
    close(fd);
    unlink(path);
    errno = error;
    return -ERR_SYSTEM;
}

static int map_file(struct ring *ring, int fd)
{
    void *start = mmap(NULL, ring->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (start == MAP_FAILED)
        return -ERR_SYSTEM;
    ring->header = start;
    ring->slots = (_Atomic uint64_t *)((char *)start + RING_HEADER_BYTES);
    return 0;
}

static void write_header(struct ring *ring)
{
    struct ring_header *header = ring->header;

    header->version = RING_VERSION;
    header->slot_bytes = RING_SLOT_BYTES;
    header->n_slots = ring->n_slots;
    header->made_us = (uint64_t)clock_wall_us();
    header->pid = (uint64_t)getpid();
    memcpy(header->magic, ring_magic, sizeof ring_magic);
}

/* Opens it to its readers at last. */
static void let_read(int fd, gid_t group)
{
    errno = 0;
    if (group != (gid_t)-1 && fchown(fd, (uid_t)-1, group) != 0)
        return;
    if (fchmod(fd, group != (gid_t)-1 ? 0640 : 0600) == 0)
        errno = 0;
}

int ring_create(const char *path, int64_t bytes, gid_t group, struct ring **out)
{
    struct ring *ring = xcalloc(1, sizeof *ring);
    int rc = put_old_away(path);
    int fd = -1;

    bytes = bytes < RING_SIZE_MIN ? RING_SIZE_MIN : bytes > RING_SIZE_MAX ? RING_SIZE_MAX : bytes;
    ring->n_slots = ((uint64_t)bytes - RING_HEADER_BYTES) / RING_SLOT_BYTES;
    ring->bytes = RING_HEADER_BYTES + ring->n_slots * RING_SLOT_BYTES;
    if (rc == 0)
        rc = fd = make_file(path, ring->bytes);
    if (rc >= 0)
        rc = map_file(ring, fd);
    if (rc != 0) {
        int saved = errno;

        if (fd >= 0) {
            close(fd);
            unlink(path);
        }
        free(ring);
        errno = saved;
        return rc;
    }
    write_header(ring);
    let_read(fd, group);
    close(fd);
    *out = ring;
    return 0;
}

void ring_close(struct ring *ring)
{
    if (ring == NULL)
        return;
    munmap(ring->header, ring->bytes);
    free(ring);
}

/*
 * Stores are single words and unordered: whoever reads a slot meanwhile, or a slot that a writer a
 * whole turn behind has written into, sees by the sum that it is not whole.
 */
static void write_slot(struct ring *ring, uint64_t number, uint64_t head, struct slice bytes)
{
    _Atomic uint64_t *to = ring->slots + number % ring->n_slots * WORDS;
    uint64_t slot[WORDS] = {head};

    memcpy(slot + 1, bytes.data, bytes.len);
    slot[WORDS - 1] = sum_of(slot);
    for (unsigned i = 0; i < WORDS; i++)
        atomic_store_explicit(&to[i], slot[i], memory_order_relaxed);
}

/* The whole pages of a block of slots. */
static void advise(struct ring *ring, uint64_t block, int advice)
{
    uint64_t first = block * RING_RELEASE_SLOTS % ring->n_slots;
    uint64_t n = ring->n_slots - first;
    uint64_t shared = (PAGE_SLOTS - first % PAGE_SLOTS) % PAGE_SLOTS; /* on a page with others */

    n = n > RING_RELEASE_SLOTS ? RING_RELEASE_SLOTS : n;
    if (n < shared + PAGE_SLOTS)
        return;
    n = (n - shared) / PAGE_SLOTS * PAGE_SLOTS;
    (void)madvise((char *)ring->header + RING_HEADER_BYTES + (first + shared) * RING_SLOT_BYTES,
        (size_t)n * RING_SLOT_BYTES, advice);
}

/* Takes leave of the block that has just been filled (a late writer maps its page again), and maps
 * the next one at once, which costs less than a fault for each page. */
static void move_on(struct ring *ring, uint64_t number)
{
    uint64_t block = number / RING_RELEASE_SLOTS;

    advise(ring, block - 1, MADV_DONTNEED);
    advise(ring, block, MADV_POPULATE_WRITE);
}

void ring_put(struct ring *ring, struct slice entry)
{
    unsigned parts;
    uint64_t first;

    if (ring == NULL || entry.len == 0)
        return;
    if (entry.len > RING_ENTRY_MAX)
        entry.len = RING_ENTRY_MAX;
    parts = (unsigned)((entry.len + RING_PAYLOAD_BYTES - 1) / RING_PAYLOAD_BYTES);
    first = atomic_fetch_add_explicit(&ring->header->next, parts, memory_order_relaxed);
    for (unsigned part = 0; part < parts; part++) {
        size_t len = entry.len < RING_PAYLOAD_BYTES ? entry.len : RING_PAYLOAD_BYTES;

        write_slot(
            ring, first + part, head_of(first + part, part, parts, len), slice_of(entry.data, len));
        entry.data += len;
        entry.len -= len;
    }
    if ((first + parts) / RING_RELEASE_SLOTS != first / RING_RELEASE_SLOTS)
        move_on(ring, first + parts);
}

static bool is_sane(const struct ring_header *header, uint64_t file_bytes)
{
    return memcmp(header->magic, ring_magic, sizeof ring_magic) == 0 &&
           header->version == RING_VERSION && header->slot_bytes == RING_SLOT_BYTES &&
           header->n_slots > 0 && header->n_slots <= RING_SIZE_MAX / RING_SLOT_BYTES &&
           RING_HEADER_BYTES + header->n_slots * RING_SLOT_BYTES <= file_bytes &&
           header->made_us <= INT64_MAX;
}

/* Looks how far it has been written; numbers that a slot's head has no room for are not believed.
 */
static void look(struct ring_reader *reader)
{
    uint64_t next;

    if (pread(reader->fd, &next, sizeof next, offsetof(struct ring_header, next)) ==
            (ssize_t)sizeof next &&
        next >> 48 == 0 && next >= reader->end)
        reader->end = next;
}

int ring_reader_open(struct ring_reader *reader, const char *path)
{
    struct ring_header header;
    struct stat st;

    memset(reader, 0, sizeof *reader);
    reader->fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (reader->fd < 0 || fstat(reader->fd, &st) != 0)
        return -ERR_SYSTEM;
    if (!S_ISREG(st.st_mode) ||
        pread(reader->fd, &header, sizeof header, 0) != (ssize_t)sizeof header ||
        !is_sane(&header, (uint64_t)st.st_size))
        return -ERR_BAD;
    reader->n_slots = header.n_slots;
    reader->made_us = (int64_t)header.made_us;
    reader->inode = (uint64_t)st.st_ino;
    reader->chunk = xcalloc(CHUNK_SLOTS + 1, RING_SLOT_BYTES);
    look(reader);
    if (reader->end > reader->n_slots)
        reader->next = reader->end - reader->n_slots;
    return 0;
}

void ring_reader_close(struct ring_reader *reader)
{
    if (reader->fd >= 0)
        close(reader->fd);
    reader->fd = -1;
    free(reader->chunk);
    reader->chunk = NULL;
}

/* Reads the slots from number on, as many as are written, in a row in the file, and room is for. */
static void read_chunk(struct ring_reader *reader, uint64_t number)
{
    uint64_t at = number % reader->n_slots;
    uint64_t n = reader->end - number;
    ssize_t got;

    n = n > CHUNK_SLOTS ? CHUNK_SLOTS : n;
    n = n > reader->n_slots - at ? reader->n_slots - at : n;
    got = pread(reader->fd, reader->chunk, n * RING_SLOT_BYTES,
        (off_t)(RING_HEADER_BYTES + at * RING_SLOT_BYTES));
    reader->chunk_first = number;
    reader->chunk_slots = got > 0 ? (uint64_t)got / RING_SLOT_BYTES : 0;
}

static bool is_whole(const uint64_t *slot, uint64_t number)
{
    return slot[0] >> 16 == number && slot[WORDS - 1] == sum_of(slot);
}

/* Reads one slot anew: when it was read with others it was not whole. */
static const uint64_t *read_again(struct ring_reader *reader, uint64_t number)
{
    uint64_t *slot = reader->chunk + CHUNK_SLOTS * WORDS;
    uint64_t at = number % reader->n_slots;
    ssize_t got =
        pread(reader->fd, slot, RING_SLOT_BYTES, (off_t)(RING_HEADER_BYTES + at * RING_SLOT_BYTES));

    return got == RING_SLOT_BYTES && is_whole(slot, number) ? slot : NULL;
}

/* The slot of that number, or NULL when it is not (or no longer, or not yet) there. */
static const uint64_t *slot_at(struct ring_reader *reader, uint64_t number)
{
    const uint64_t *slot;

    if (number - reader->chunk_first >= reader->chunk_slots)
        read_chunk(reader, number);
    if (number - reader->chunk_first >= reader->chunk_slots)
        return NULL;
    slot = reader->chunk + (number - reader->chunk_first) * WORDS;
    return is_whole(slot, number) ? slot : read_again(reader, number);
}

/* Puts the entry together that begins in the slot of that number. Says how many slots it takes: 0
 * when they are not all there. */
static unsigned take_entry(struct ring_reader *reader, uint64_t number, size_t *len_out)
{
    unsigned parts = 1;

    *len_out = 0;
    for (unsigned part = 0; part < parts; part++) {
        const uint64_t *slot = number + part < reader->end ? slot_at(reader, number + part) : NULL;
        size_t len = slot != NULL ? slot[0] & 0xff : 0;

        if (part == 0 && slot != NULL)
            parts = slot[0] >> 8 & 15;
        if (slot == NULL || parts == 0 || parts > RING_PARTS_MAX || len > RING_PAYLOAD_BYTES ||
            (slot[0] >> 12 & 15) != part || (slot[0] >> 8 & 15) != parts)
            return 0;
        memcpy(reader->entry + *len_out, slot + 1, len);
        *len_out += len;
    }
    return parts;
}

/* Whether the slot is the rest of an entry whose beginning is gone. */
static bool is_rest(struct ring_reader *reader)
{
    const uint64_t *slot = slot_at(reader, reader->next);

    return slot != NULL && (slot[0] >> 12 & 15) != 0;
}

int ring_next(struct ring_reader *reader, struct slice *out)
{
    unsigned parts;
    size_t len;

    for (;;) {
        if (reader->next >= reader->end)
            look(reader);
        if (reader->next >= reader->end)
            return -ERR_AGAIN;
        parts = take_entry(reader, reader->next, &len);
        if (parts > 0)
            break;
        look(reader);
        if (reader->end - reader->next > reader->n_slots) {
            reader->n_lost += reader->end - reader->n_slots - reader->next;
            reader->next = reader->end - reader->n_slots;
        } else if (is_rest(reader)) {
            ring_skip(reader);
        } else {
            return -ERR_AGAIN;
        }
    }
    reader->next += parts;
    *out = slice_of(reader->entry, len);
    return 0;
}

bool ring_is_at_end(const struct ring_reader *reader)
{
    return reader->next >= reader->end;
}

void ring_skip(struct ring_reader *reader)
{
    if (reader->next >= reader->end)
        return;
    reader->next++;
    reader->n_lost++;
}

void ring_seek_end(struct ring_reader *reader)
{
    look(reader);
    reader->next = reader->end;
}
