/* The folder of poison: names, listing, reading, removing. Nothing here follows a link. */
#include "common/poison.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/err.h"
#include "common/io.h"
#include "common/xalloc.h"

enum { FOLDER_FLAGS = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, LEFT_OVER_SECS = 60 };

static const char *const file_names[] = {POISON_FACTS, POISON_ENVELOPE, POISON_MESSAGE};
enum { N_FILES = sizeof(file_names) / sizeof(file_names[0]) };

static int from_errno(void)
{
    return errno == ENOENT ? -ERR_NOTFOUND : -ERR_SYSTEM;
}

/* Whoever else could write there could have us read, write or remove what is not ours. */
static bool is_private(int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return false;
    return (st.st_mode & (S_IRWXG | S_IRWXO)) == 0 && (st.st_uid == geteuid() || geteuid() == 0);
}

int poison_open(const char *spool, bool may_make)
{
    int spool_fd = open(spool, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd, rc;

    if (spool_fd < 0)
        return from_errno();
    if (may_make)
        (void)mkdirat(spool_fd, POISON_FOLDER, 0700);
    fd = openat(spool_fd, POISON_FOLDER, FOLDER_FLAGS);
    rc = fd >= 0 ? fd : errno == ELOOP || errno == ENOTDIR ? -ERR_DENIED : from_errno();
    close(spool_fd);
    if (rc < 0 || is_private(rc))
        return rc;
    close(rc);
    return -ERR_DENIED;
}

/* Letters, digits, "-", "_" and ".", not first; at most POISON_ID_MAX. Safe as a name of a file. */
static bool poison_id_is_good(const char *id)
{
    size_t len = strlen(id);

    return len > 0 && len <= POISON_ID_MAX && id[0] != '.' &&
           strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == len;
}

int poison_open_one(int folder, const char *id)
{
    int fd;

    if (!poison_id_is_good(id))
        return -ERR_NOTFOUND;
    fd = openat(folder, id, FOLDER_FLAGS);
    if (fd >= 0)
        return fd;
    return errno == ELOOP || errno == ENOTDIR ? -ERR_BAD : from_errno();
}

/* Time and size of one. False: it has gone, or is none. */
static bool look_at(int folder, const char *id, struct poison_entry *out)
{
    struct stat st;
    int one = poison_open_one(folder, id);

    if (one < 0)
        return false;
    *out = (struct poison_entry){.bytes = 0};
    memcpy(out->id, id, strlen(id) + 1); /* a good name fits */
    for (int i = 0; i < N_FILES; i++)
        if (fstatat(one, file_names[i], &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
            out->bytes += (uint64_t)st.st_size;
    if (fstat(one, &st) == 0)
        out->time_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    close(one);
    return true;
}

static int by_time(const void *left, const void *right)
{
    const struct poison_entry *a = left, *b = right;

    if (a->time_ns != b->time_ns)
        return a->time_ns < b->time_ns ? -1 : 1;
    return strcmp(a->id, b->id);
}

/* A stream of its own, so that nobody's position in the folder moves. */
static DIR *open_stream(int folder)
{
    int fd = openat(folder, ".", FOLDER_FLAGS);
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;

    if (stream == NULL && fd >= 0)
        close(fd);
    return stream;
}

int poison_scan(int folder, struct poison_list *out)
{
    DIR *stream = open_stream(folder);
    const struct dirent *row;
    size_t cap = 0;

    *out = (struct poison_list){.n = 0};
    if (stream == NULL)
        return -ERR_SYSTEM;
    while ((row = readdir(stream)) != NULL) {
        if (!poison_id_is_good(row->d_name))
            continue;
        if (out->n == cap) {
            cap = cap > 0 ? 2 * cap : 64;
            out->items = xreallocarray(out->items, cap, sizeof(*out->items));
        }
        out->n += look_at(folder, row->d_name, &out->items[out->n]) ? 1 : 0;
    }
    closedir(stream);
    if (out->n > 1)
        qsort(out->items, out->n, sizeof(*out->items), by_time);
    return 0;
}

void poison_list_clear(struct poison_list *list)
{
    free(list->items);
    *list = (struct poison_list){.n = 0};
}

int poison_read(int one, const char *name, size_t max_bytes, struct buf *out)
{
    int fd = openat(one, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;
    int rc = 0;

    if (fd < 0)
        return errno == ELOOP ? -ERR_BAD : from_errno();
    if (fstat(fd, &st) != 0)
        rc = -ERR_SYSTEM;
    else if (!S_ISREG(st.st_mode))
        rc = -ERR_BAD;
    else if ((uint64_t)st.st_size > max_bytes)
        rc = -ERR_TOOBIG;
    if (rc == 0) {
        buf_init(out, max_bytes);
        out->cap = (size_t)st.st_size + 1;
        out->data = xmalloc(out->cap);
        out->len = (size_t)st.st_size;
        rc = io_read_at(fd, out->data, out->len, 0);
        if (rc != 0)
            buf_clear(out);
    }
    close(fd);
    return rc;
}

int poison_discard(int folder, const char *name)
{
    int one = openat(folder, name, FOLDER_FLAGS);

    if (one < 0)
        return from_errno();
    for (int i = 0; i < N_FILES; i++)
        (void)unlinkat(one, file_names[i], 0);
    close(one);
    return unlinkat(folder, name, AT_REMOVEDIR) == 0 ? 0 : from_errno();
}

int poison_remove(int folder, const char *id)
{
    char gone[POISON_ID_MAX + 16];

    if (!poison_id_is_good(id))
        return -ERR_NOTFOUND;
    snprintf(gone, sizeof(gone), ".old-%s", id);
    (void)poison_discard(folder, gone); /* of one that could not be removed wholly before */
    if (renameat(folder, id, folder, gone) != 0)
        return from_errno();
    return poison_discard(folder, gone);
}

/* Nobody has touched it for a while, and nobody holds its lock. */
static bool is_left_over(int folder, const char *name)
{
    struct stat st;
    int fd = openat(folder, name, FOLDER_FLAGS);
    bool is_ours = fd >= 0 && fstat(fd, &st) == 0 && time(NULL) - st.st_mtime >= LEFT_OVER_SECS &&
                   flock(fd, LOCK_EX | LOCK_NB) == 0;

    if (fd >= 0)
        close(fd);
    return is_ours;
}

void poison_clean(int folder)
{
    DIR *stream = open_stream(folder);
    const struct dirent *row;

    if (stream == NULL)
        return;
    while ((row = readdir(stream)) != NULL) {
        bool is_ours =
            strncmp(row->d_name, ".new-", 5) == 0 || strncmp(row->d_name, ".old-", 5) == 0;

        if (is_ours && is_left_over(folder, row->d_name))
            (void)poison_discard(folder, row->d_name);
    }
    closedir(stream);
}
