#include "worker/link_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/io.h"

enum {
    FOLDER_FLAGS = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
    UNFINISHED = 0500,       /* mode of a folder that is not yet safe on the disk */
    LOCK_PAUSE_NS = 5000000, /* between two looks at a lock that somebody holds */
};

static int close_with_error(int fd)
{
    const int error = errno;
    close(fd);
    errno = error;
    return -ERR_SYSTEM;
}

/* ---- folders ---- */

static int open_at(int folder, const char *name, int flags)
{
    const int fd = openat(folder, name, FOLDER_FLAGS | flags);
    if (fd >= 0)
        return fd;
    if (errno == ELOOP || errno == ENOTDIR)
        return -ERR_BAD;
    return errno == ENOENT ? -ERR_NOTFOUND : -ERR_SYSTEM;
}

/* The new name is only safe with the folder above it on the disk. */
static int sync_parent(int fd)
{
    const int parent = openat(fd, "..", FOLDER_FLAGS);
    if (parent < 0)
        return -ERR_SYSTEM;
    if (fsync(parent) != 0)
        return close_with_error(parent);
    close(parent);
    return 0;
}

/* Its name is on the disk before it has its mode, so that the mode tells. */
static int finish_folder(int fd, mode_t mode)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return close_with_error(fd);
    if ((st.st_mode & 0777) == UNFINISHED && (sync_parent(fd) != 0 || fchmod(fd, mode) != 0))
        return close_with_error(fd);
    return fd;
}

static int open_or_make(int folder, const char *name, int flags, bool may_make, mode_t mode)
{
    int fd = open_at(folder, name, flags);
    if (fd == -ERR_NOTFOUND && may_make) {
        if (mkdirat(folder, name, UNFINISHED) != 0 && errno != EEXIST)
            return errno == ENOENT ? -ERR_NOTFOUND : -ERR_SYSTEM;
        fd = open_at(folder, name, flags);
    }
    return fd >= 0 && may_make ? finish_folder(fd, mode) : fd;
}

int link_folder_open(const char *path, bool may_make, mode_t mode)
{
    return open_or_make(AT_FDCWD, path, 0, may_make, mode);
}

int link_folder_open_at(int folder, const char *name, bool may_make, mode_t mode)
{
    return open_or_make(folder, name, O_NOFOLLOW, may_make, mode);
}

int link_folder_lock(int folder, int64_t deadline_ms)
{
    const struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};
    while (flock(folder, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return -ERR_SYSTEM;
        if (clock_now_ms() >= deadline_ms)
            return -ERR_TIMEOUT;
        (void)nanosleep(&pause, NULL);
    }
    return 0;
}

/* ---- files ---- */

static int random_name(char *out)
{
    uint8_t random[12];
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return -ERR_SYSTEM;
    size_t n = (size_t)snprintf(out, LINK_FILE_NAME_MAX, "%s", LINK_FILE_NEW);
    for (size_t i = 0; i < sizeof(random); i++)
        n += (size_t)snprintf(out + n, LINK_FILE_NAME_MAX - n, "%02x", random[i]);
    return 0;
}

int link_file_write(int folder, struct slice bytes, mode_t mode, char *name_out)
{
    if (random_name(name_out) != 0)
        return -ERR_SYSTEM;
    const int fd =
        openat(folder, name_out, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -ERR_SYSTEM;
    int rc = io_write_at(fd, bytes, 0);
    if (rc == 0 && (fchmod(fd, mode) != 0 || fsync(fd) != 0))
        rc = -ERR_SYSTEM;
    const int error = errno;
    if (close(fd) != 0 && rc == 0)
        rc = -ERR_SYSTEM;
    else
        errno = error;
    if (rc != 0) {
        const int why = errno;
        (void)unlinkat(folder, name_out, 0);
        errno = why;
    }
    return rc;
}

int link_file_rename(int folder, const char *temporary, const char *name)
{
    if (renameat(folder, temporary, folder, name) != 0) {
        const int error = errno;
        (void)unlinkat(folder, temporary, 0);
        errno = error;
        return -ERR_SYSTEM;
    }
    return fsync(folder) == 0 ? 0 : -ERR_SYSTEM;
}

static bool is_left_over(int folder, const char *name, int64_t older_than_secs)
{
    struct stat st;
    return strncmp(name, LINK_FILE_NEW, strlen(LINK_FILE_NEW)) == 0 &&
           fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
           time(NULL) - st.st_mtime >= older_than_secs;
}

uint32_t link_file_clean(int folder, int64_t older_than_secs, bool is_rehearsal)
{
    const int fd = openat(folder, ".", FOLDER_FLAGS);
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *row;
    uint32_t n = 0;
    if (stream == NULL) {
        if (fd >= 0)
            close(fd);
        return 0;
    }
    while ((row = readdir(stream)) != NULL) {
        if (is_left_over(folder, row->d_name, older_than_secs) &&
            (is_rehearsal || unlinkat(folder, row->d_name, 0) == 0))
            n++;
    }
    closedir(stream);
    return n;
}
