/*
 * The reader's side of a parcel, and annexes: what came from another process is checked before it
 * is looked at.
 */
#include "common/parcel.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"
#include "common/io.h"
#include "common/xalloc.h"

enum { VIEW_COPY_MAX = 32 << 10 };
#define ANNEX_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/*
 * A file that can shrink under a mapping would kill its reader: only milterd's own kinds are taken.
 */
static bool is_parcel_file(int fd, const struct stat *st)
{
    int seals = fcntl(fd, F_GET_SEALS), flags;

    if (seals >= 0 && (seals & F_SEAL_SHRINK) != 0 && (seals & F_SEAL_GROW) != 0)
        return true;
    flags = fcntl(fd, F_GETFL);
    return S_ISREG(st->st_mode) && st->st_nlink == 0 && flags >= 0 &&
           (flags & O_ACCMODE) == O_RDONLY;
}

/* Two reads cost a tenth of a mapping with its page faults, as long as the parcel is small. */
static int view_copy(int fd, size_t envelope_bytes, size_t message_bytes, struct parcel_view *out)
{
    char *copy = xmalloc(envelope_bytes + message_bytes + 1);
    int err = io_read_at(fd, copy, envelope_bytes, 0);

    if (err == 0)
        err = io_read_at(fd, copy + envelope_bytes, message_bytes, PARCEL_MESSAGE_OFFSET);
    if (err != 0) {
        free(copy);
        return err;
    }
    out->copy = copy;
    out->envelope = slice_of(copy, envelope_bytes);
    out->message = slice_of(copy + envelope_bytes, message_bytes);
    return 0;
}

/* One mapping for both regions; the gap between them costs address space only. */
static int view_map(int fd, size_t envelope_bytes, size_t message_bytes, struct parcel_view *out)
{
    size_t bytes = message_bytes > 0 ? PARCEL_MESSAGE_OFFSET + message_bytes : envelope_bytes;
    void *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);

    if (map == MAP_FAILED)
        return -ERR_SYSTEM;
    out->map = map;
    out->map_bytes = bytes;
    out->envelope = slice_of(map, envelope_bytes);
    out->message = message_bytes > 0
                       ? slice_of((const char *)map + PARCEL_MESSAGE_OFFSET, message_bytes)
                       : slice_of("", 0);
    return 0;
}

int parcel_view_open(int fd, size_t envelope_bytes, size_t message_bytes, struct parcel_view *out)
{
    struct stat st;

    memset(out, 0, sizeof(*out));
    if (envelope_bytes > PARCEL_ENVELOPE_MAX || message_bytes > SSIZE_MAX - PARCEL_MESSAGE_OFFSET)
        return -ERR_TOOBIG;
    if (fstat(fd, &st) != 0)
        return -ERR_SYSTEM;
    if (!is_parcel_file(fd, &st) || st.st_size < 0 || (size_t)st.st_size < envelope_bytes)
        return -ERR_BAD;
    if (message_bytes > 0 && (size_t)st.st_size < PARCEL_MESSAGE_OFFSET + message_bytes)
        return -ERR_BAD;
    if (envelope_bytes + message_bytes <= VIEW_COPY_MAX)
        return view_copy(fd, envelope_bytes, message_bytes, out);
    return view_map(fd, envelope_bytes, message_bytes, out);
}

void parcel_view_close(struct parcel_view *view)
{
    if (view->map != NULL)
        munmap(view->map, view->map_bytes);
    free(view->copy);
    memset(view, 0, sizeof(*view));
}

/* The annex. */

int annex_new(struct slice bytes, int *fd_out)
{
    int fd = memfd_create("postern-annex", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return -ERR_SYSTEM;
    if (io_write_at(fd, bytes, 0) != 0 || fcntl(fd, F_ADD_SEALS, ANNEX_SEALS | F_SEAL_SEAL) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -ERR_SYSTEM;
    }
    *fd_out = fd;
    return 0;
}

int annex_open(int fd, size_t max_bytes, struct slice *out)
{
    int seals = fcntl(fd, F_GET_SEALS);
    struct stat st;
    void *map;

    *out = slice_of(NULL, 0);
    if (seals < 0 || (seals & ANNEX_SEALS) != ANNEX_SEALS)
        return -ERR_BAD;
    if (fstat(fd, &st) != 0)
        return -ERR_SYSTEM;
    if (st.st_size < 0 || (size_t)st.st_size > max_bytes)
        return -ERR_TOOBIG;
    if (st.st_size == 0)
        return 0;
    /* Private: a shared mapping of a file sealed against writing is refused before Linux 6.7. */
    map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return -ERR_SYSTEM;
    *out = slice_of(map, (size_t)st.st_size);
    return 0;
}

void annex_close(struct slice annex)
{
    if (annex.len > 0)
        munmap((void *)(uintptr_t)annex.data, annex.len);
}
