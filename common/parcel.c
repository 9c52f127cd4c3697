/*
 * The parcel, writer's side. In the usual case (a small message in a reused parcel) everything here
 * is memcpy: passing it costs the caller's sendmsg and nothing else.
 */
#include "common/parcel.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"
#include "common/io.h"
#include "common/log.h"
#include "common/xalloc.h"

enum { ENVELOPE = 0, MESSAGE, N_REGIONS };
static const size_t region_offset[N_REGIONS] = {0, PARCEL_MESSAGE_OFFSET};

#define PARCEL_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL)

struct region {
    size_t len;
    size_t high; /* memory: bytes above this were never written, or are zeroed; at least len */
    size_t peak; /* the most it ever held: how much memory the kernel keeps for it */
    void *map;   /* disk: what parcel_message and parcel_envelope mapped; NULL when not mapped */
    size_t map_bytes;
};

struct parcel {
    struct parcel_limits limits;
    size_t memory_bytes; /* message bytes that the mapping has room for */
    int memory_fd;       /* -1 when on disk */
    uint8_t *memory;
    int disk_fd;      /* for writing; -1 when in memory */
    int disk_read_fd; /* the same file, read-only: the one to pass */
    struct region regions[N_REGIONS];
};

/* Memory. */

static size_t memory_map_bytes(const struct parcel *parcel)
{
    return PARCEL_MESSAGE_OFFSET + parcel->memory_bytes;
}

static int memory_open(const struct parcel *parcel, int *fd_out, uint8_t **memory_out)
{
    size_t bytes = memory_map_bytes(parcel);
    int fd = memfd_create("postern-parcel", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    void *map;

    if (fd < 0)
        return -ERR_SYSTEM;
    if (ftruncate(fd, (off_t)bytes) != 0)
        goto fail_fd;
    map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        goto fail_fd;
    /* After this nobody can write except through the mapping that exists already: ours. */
    if (fcntl(fd, F_ADD_SEALS, PARCEL_SEALS) != 0)
        goto fail_map;
    *fd_out = fd;
    *memory_out = map;
    return 0;

fail_map:
    munmap(map, bytes);
fail_fd:
    close(fd);
    return -ERR_SYSTEM;
}

static void memory_close(struct parcel *parcel)
{
    if (parcel->memory_fd < 0)
        return;
    munmap(parcel->memory, memory_map_bytes(parcel));
    close(parcel->memory_fd);
    parcel->memory_fd = -1;
    parcel->memory = NULL;
}

static void memory_append(struct parcel *parcel, int which, struct slice bytes)
{
    struct region *region = &parcel->regions[which];

    memcpy(parcel->memory + region_offset[which] + region->len, bytes.data, bytes.len);
    region->len += bytes.len;
    if (region->len > region->high)
        region->high = region->len;
    if (region->len > region->peak)
        region->peak = region->len;
}

/* Disk. */

/*
 * A file that never had a name. It is read-only by mode too, so that a holder cannot open it again
 * for writing.
 */
static int disk_open_nameless(const char *spool, int *fd_out, int *read_fd_out)
{
    char path[64];
    int fd = open(spool, O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0400);

    if (fd < 0)
        return -ERR_SYSTEM;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    *read_fd_out = open(path, O_RDONLY | O_CLOEXEC);
    if (*read_fd_out < 0) {
        close(fd);
        return -ERR_SYSTEM;
    }
    *fd_out = fd;
    return 0;
}

/* For file systems without O_TMPFILE, and where /proc is not there. */
static int disk_open_unlinked(const char *spool, int *fd_out, int *read_fd_out)
{
    char path[PATH_MAX];
    int fd, saved;

    if (snprintf(path, sizeof(path), "%s/parcel.XXXXXX", spool) >= (int)sizeof(path)) {
        errno = ENAMETOOLONG;
        return -ERR_SYSTEM;
    }
    fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return -ERR_SYSTEM;
    *read_fd_out = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    saved = errno;
    unlink(path);
    if (*read_fd_out < 0) {
        close(fd);
        errno = saved;
        return -ERR_SYSTEM;
    }
    /* Without it a holder could write, no more; our own uid at that. */
    (void)fchmod(fd, 0400);
    *fd_out = fd;
    return 0;
}

static void maps_drop(struct parcel *parcel)
{
    for (int i = 0; i < N_REGIONS; i++) {
        if (parcel->regions[i].map != NULL)
            munmap(parcel->regions[i].map, parcel->regions[i].map_bytes);
        parcel->regions[i].map = NULL;
    }
}

static void disk_close(struct parcel *parcel)
{
    if (parcel->disk_fd < 0)
        return;
    maps_drop(parcel);
    close(parcel->disk_fd);
    close(parcel->disk_read_fd);
    parcel->disk_fd = parcel->disk_read_fd = -1;
}

/* Copies what memory holds to a file and lets the memory go. After an error all is as it was. */
static int move_to_disk(struct parcel *parcel)
{
    const char *spool = parcel->limits.spool;
    int err = disk_open_nameless(spool, &parcel->disk_fd, &parcel->disk_read_fd);

    if (err != 0)
        err = disk_open_unlinked(spool, &parcel->disk_fd, &parcel->disk_read_fd);
    if (err != 0)
        return err;
    for (int i = 0; i < N_REGIONS && err == 0; i++)
        err = io_write_at(parcel->disk_fd,
            slice_of(parcel->memory + region_offset[i], parcel->regions[i].len), region_offset[i]);
    if (err != 0) {
        int saved = errno;
        disk_close(parcel);
        errno = saved;
        return err;
    }
    memory_close(parcel);
    return 0;
}

static int disk_append(struct parcel *parcel, int which, struct slice bytes)
{
    struct region *region = &parcel->regions[which];
    int err;

    maps_drop(parcel);
    err = io_write_at(parcel->disk_fd, bytes, region_offset[which] + region->len);
    if (err == 0)
        region->len += bytes.len;
    return err;
}

/* Reads through a mapping that lasts until the next append. */
static struct slice disk_read(struct parcel *parcel, int which)
{
    struct region *region = &parcel->regions[which];

    if (region->len == 0)
        return slice_of("", 0);
    if (region->map == NULL) {
        void *map = mmap(NULL, region->len, PROT_READ, MAP_SHARED, parcel->disk_read_fd,
            (off_t)region_offset[which]);
        if (map == MAP_FAILED)
            return slice_of(NULL, 0);
        region->map = map;
        region->map_bytes = region->len;
    }
    return slice_of(region->map, region->len);
}

/* The writer's side. */

int parcel_new(const struct parcel_limits *limits, struct parcel **out)
{
    struct parcel *parcel = xcalloc(1, sizeof(*parcel));
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    int err;

    parcel->limits = *limits;
    parcel->memory_bytes =
        limits->memory_bytes < limits->message_bytes ? limits->memory_bytes : limits->message_bytes;
    parcel->memory_bytes = (parcel->memory_bytes + page - 1) / page * page;
    parcel->memory_fd = parcel->disk_fd = parcel->disk_read_fd = -1;
    err = memory_open(parcel, &parcel->memory_fd, &parcel->memory);
    if (err != 0) {
        free(parcel);
        return err;
    }
    *out = parcel;
    return 0;
}

void parcel_free(struct parcel *parcel)
{
    if (parcel == NULL)
        return;
    disk_close(parcel);
    memory_close(parcel);
    free(parcel);
}

static int append(struct parcel *parcel, int which, struct slice bytes)
{
    if (bytes.len == 0)
        return 0;
    if (parcel_is_on_disk(parcel))
        return disk_append(parcel, which, bytes);
    memory_append(parcel, which, bytes);
    return 0;
}

int parcel_append_envelope(struct parcel *parcel, struct slice bytes)
{
    if (bytes.len > PARCEL_ENVELOPE_MAX - parcel->regions[ENVELOPE].len)
        return -ERR_TOOBIG;
    return append(parcel, ENVELOPE, bytes);
}

int parcel_append_message(struct parcel *parcel, struct slice bytes)
{
    size_t len = parcel->regions[MESSAGE].len;

    if (bytes.len > parcel->limits.message_bytes - len)
        return -ERR_TOOBIG;
    if (!parcel_is_on_disk(parcel) && bytes.len > parcel->memory_bytes - len) {
        int err = move_to_disk(parcel);
        if (err != 0)
            return err;
    }
    return append(parcel, MESSAGE, bytes);
}

size_t parcel_envelope_bytes(const struct parcel *parcel)
{
    return parcel->regions[ENVELOPE].len;
}

size_t parcel_message_bytes(const struct parcel *parcel)
{
    return parcel->regions[MESSAGE].len;
}

static struct slice read_region(struct parcel *parcel, int which)
{
    if (parcel_is_on_disk(parcel))
        return disk_read(parcel, which);
    return slice_of(parcel->memory + region_offset[which], parcel->regions[which].len);
}

struct slice parcel_message(struct parcel *parcel)
{
    return read_region(parcel, MESSAGE);
}

struct slice parcel_envelope(struct parcel *parcel)
{
    return read_region(parcel, ENVELOPE);
}

/*
 * A fresh memory file that holds the first envelope_bytes of the envelope. After an error all is as
 * it was.
 */
static int renew(struct parcel *parcel, size_t envelope_bytes)
{
    struct slice kept = parcel_envelope(parcel);
    uint8_t *memory;
    int fd, err;

    if (kept.data == NULL)
        return -ERR_SYSTEM;
    err = memory_open(parcel, &fd, &memory);
    if (err != 0)
        return err;
    memcpy(memory, kept.data, envelope_bytes);
    disk_close(parcel);
    memory_close(parcel);
    parcel->memory_fd = fd;
    parcel->memory = memory;
    parcel->regions[ENVELOPE] =
        (struct region){.len = envelope_bytes, .high = envelope_bytes, .peak = envelope_bytes};
    parcel->regions[MESSAGE] = (struct region){0};
    return 0;
}

int parcel_rewind(struct parcel *parcel, size_t envelope_bytes)
{
    LOG_INVARIANT(envelope_bytes <= parcel->regions[ENVELOPE].len);
    if (!parcel_is_reusable(parcel))
        return renew(parcel, envelope_bytes);
    parcel->regions[ENVELOPE].len = envelope_bytes;
    parcel->regions[MESSAGE].len = 0;
    return 0;
}

bool parcel_is_reusable(const struct parcel *parcel)
{
    size_t held = parcel->regions[ENVELOPE].peak + parcel->regions[MESSAGE].peak;

    return !parcel_is_on_disk(parcel) && held <= parcel->limits.keep_bytes;
}

bool parcel_is_on_disk(const struct parcel *parcel)
{
    return parcel->disk_fd >= 0;
}

int parcel_fd(struct parcel *parcel)
{
    if (parcel_is_on_disk(parcel))
        return parcel->disk_read_fd;
    for (int i = 0; i < N_REGIONS; i++) {
        struct region *region = &parcel->regions[i];
        memset(parcel->memory + region_offset[i] + region->len, 0, region->high - region->len);
        region->high = region->len;
    }
    return parcel->memory_fd;
}
