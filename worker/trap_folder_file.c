/* Single files of the trap's folder, and its locks. The folder is not trusted to hold what was put
 * there: links are never followed, pipes never waited for. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/io.h"
#include "common/xalloc.h"
#include "worker/trap_folder.h"

enum { LOCK_PAUSE_MS = 5 };

void trap_file_name(char *out, const char *id, const char *ending)
{
    snprintf(out, TRAP_NAME_MAX, "%s.%s", id, ending);
}

/* ---- reading ---- */

static int read_whole(int fd, size_t max_bytes, struct buf *out)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return -ERR_SYSTEM;
    if (!S_ISREG(st.st_mode))
        return -ERR_BAD;
    if ((uint64_t)st.st_size > max_bytes)
        return -ERR_TOOBIG;
    buf_init(out, max_bytes);
    out->cap = (size_t)st.st_size + 1;
    out->data = xmalloc(out->cap);
    out->len = (size_t)st.st_size;
    const int rc = io_read_at(fd, out->data, out->len, 0);
    if (rc != 0)
        buf_clear(out);
    return rc == -ERR_SHORT ? -ERR_BAD : rc;
}

int trap_file_read(
    const struct trap_folder *folder, const char *name, size_t max_bytes, struct buf *out)
{
    int fd = openat(folder->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? -ERR_NOTFOUND : errno == ELOOP ? -ERR_BAD : -ERR_SYSTEM;
    const int rc = read_whole(fd, max_bytes, out);
    close(fd);
    return rc;
}

/* ---- writing ---- */

/* A worker that runs as root may not give files away: then all workers are root, and read them. */
int trap_file_give(const struct trap_folder *folder, int fd)
{
    if (geteuid() != 0 || folder->owner == 0 || fchown(fd, folder->owner, folder->group) == 0 ||
        errno == EPERM)
        return 0;
    return -ERR_SYSTEM;
}

/* The mode of the configuration, without the right to execute; whose the folder is. */
static int make_ours(const struct trap_folder *folder, int fd)
{
    const mode_t mode = (mode_t)(folder->conf->trap.mode & 0640);
    if (fchmod(fd, mode | 0600) != 0)
        return -ERR_SYSTEM;
    return trap_file_give(folder, fd);
}

static int write_whole(const struct trap_folder *folder, int fd, struct slice bytes)
{
    int rc = make_ours(folder, fd);
    if (rc == 0)
        rc = io_write_at(fd, bytes, 0);
    if (rc == 0 && fsync(fd) != 0)
        rc = -ERR_SYSTEM;
    return rc;
}

int trap_file_write(const struct trap_folder *folder, const char *name, struct slice bytes)
{
    uint8_t random[12];
    char hex[2 * sizeof(random) + 1], temporary[sizeof(TRAP_TMP) + sizeof(hex)];
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return -ERR_SYSTEM;
    keyed_hash_hex(random, sizeof(random), hex);
    snprintf(temporary, sizeof(temporary), "%s%s", TRAP_TMP, hex);
    int fd =
        openat(folder->fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -ERR_SYSTEM;
    int rc = write_whole(folder, fd, bytes);
    if (close(fd) != 0 && rc == 0)
        rc = -ERR_SYSTEM;
    if (rc == 0 && renameat(folder->fd, temporary, folder->fd, name) != 0)
        rc = -ERR_SYSTEM;
    if (rc != 0) {
        const int saved = errno;
        (void)unlinkat(folder->fd, temporary, 0);
        errno = saved;
    }
    return rc;
}

/* ---- locks ---- */

/* Twelve letters of an id are 60 bits: a byte of its own in a file that nobody fills. */
static off_t lock_offset(enum trap_lock kind, const char *id)
{
    uint64_t at = 0;
    if (kind == TRAP_LOCK_USAGE)
        return 0;
    for (int i = 0; i < 12; i++)
        at = at << 5 | (uint64_t)(id[i] >= 'a' ? id[i] - 'a' : id[i] - '2' + 26);
    return (off_t)(2 + 2 * at + (kind == TRAP_LOCK_RELEASE ? 1 : 0));
}

static int try_lock(int fd, off_t offset)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = offset, .l_len = 1};
    if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
        return 0;
    return errno == EAGAIN || errno == EACCES ? -ERR_AGAIN : -ERR_SYSTEM;
}

/* Locks of an open file description: they hold between the workers and within one process, and end
 * with whoever holds them. Asked for again and again, since who holds one may have been stopped. */
int trap_file_lock(
    const struct trap_folder *folder, enum trap_lock kind, const char *id, int wait_ms, int *fd_out)
{
    static const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * 1000000};
    const int64_t end_ms = clock_now_ms() + wait_ms;
    int fd = openat(folder->fd, TRAP_LOCK, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -ERR_SYSTEM;
    int rc = make_ours(folder, fd);
    while (rc == 0 && (rc = try_lock(fd, lock_offset(kind, id))) == -ERR_AGAIN) {
        if (clock_now_ms() >= end_ms) {
            rc = -ERR_TIMEOUT;
            break;
        }
        nanosleep(&pause, NULL);
        rc = 0;
    }
    if (rc != 0) {
        const int saved = errno;
        close(fd);
        errno = saved;
        return rc;
    }
    *fd_out = fd;
    return 0;
}
