/* How much is in the trap's folder: two numbers in a file, so that keeping one mail need not look
 * at all others; what is there; and what must not be. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "common/err.h"
#include "common/io.h"
#include "common/xalloc.h"
#include "worker/trap_folder.h"

/* ---- the folder's names ---- */

/* A stream of its own, so that nobody's position in the folder moves. */
static DIR *open_stream(const struct trap_folder *folder)
{
    int fd = openat(folder->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    if (stream == NULL && fd >= 0)
        close(fd);
    return stream;
}

/* Whether a name is ID.ending; then the id is in out. */
static bool split_name(const char *name, const char *ending, char out[TRAP_ID_CHARS + 1])
{
    const size_t len = strlen(name);
    if (len != TRAP_ID_CHARS + 1 + strlen(ending) || name[TRAP_ID_CHARS] != '.' ||
        strcmp(name + TRAP_ID_CHARS + 1, ending) != 0)
        return false;
    memcpy(out, name, TRAP_ID_CHARS);
    out[TRAP_ID_CHARS] = '\0';
    return trap_id_is_good(out);
}

static bool is_file(const struct trap_folder *folder, const char *name, struct stat *st)
{
    return fstatat(folder->fd, name, st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st->st_mode);
}

/* ---- listing ---- */

/* When the content was written is when the mail was kept: the facts change with each decision. */
static bool look_at(const struct trap_folder *folder, const char *id, struct trap_row *out)
{
    char name[TRAP_NAME_MAX];
    struct stat facts, content;
    trap_file_name(name, id, "json");
    if (!is_file(folder, name, &facts))
        return false;
    *out = (struct trap_row){.bytes = (uint64_t)facts.st_size};
    memcpy(out->id, id, sizeof(out->id));
    content = facts;
    trap_file_name(name, id, "eml");
    bool has_content = is_file(folder, name, &content);
    if (!has_content) {
        trap_file_name(name, id, "part");
        has_content = is_file(folder, name, &content);
    }
    out->bytes += has_content ? (uint64_t)content.st_size : 0;
    const struct timespec *when = has_content ? &content.st_mtim : &facts.st_mtim;
    out->time_ms = (int64_t)when->tv_sec * 1000 + when->tv_nsec / 1000000;
    return true;
}

static int by_time(const void *left, const void *right)
{
    const struct trap_row *a = left, *b = right;
    if (a->time_ms != b->time_ms)
        return a->time_ms < b->time_ms ? -1 : 1;
    return strcmp(a->id, b->id);
}

int trap_folder_list(struct trap_store *store, struct trap_rows *out)
{
    const struct trap_folder *folder = (const struct trap_folder *)store;
    DIR *stream = open_stream(folder);
    const struct dirent *row;
    size_t cap = 0;
    *out = (struct trap_rows){.n = 0};
    if (stream == NULL)
        return -ERR_SYSTEM;
    while ((row = readdir(stream)) != NULL) {
        char id[TRAP_ID_CHARS + 1];
        if (!split_name(row->d_name, "json", id))
            continue;
        if (out->n == cap) {
            cap = cap > 0 ? 2 * cap : 64;
            out->items = xreallocarray(out->items, cap, sizeof(*out->items));
        }
        out->n += look_at(folder, id, &out->items[out->n]) ? 1 : 0;
    }
    closedir(stream);
    if (out->n > 1)
        qsort(out->items, out->n, sizeof(*out->items), by_time);
    return 0;
}

static int count_all(const struct trap_folder *folder, struct trap_usage *out)
{
    struct trap_rows rows;
    const int rc = trap_folder_list((struct trap_store *)(uintptr_t)&folder->store, &rows);
    *out = (struct trap_usage){.n_entries = rows.n};
    for (size_t i = 0; i < rows.n; i++)
        out->bytes += rows.items[i].bytes;
    trap_rows_clear(&rows);
    return rc;
}

/* ---- the two numbers ---- */

enum { USAGE_BYTES = 2 * sizeof(uint64_t) };

static int read_numbers(const struct trap_folder *folder, struct trap_usage *out)
{
    struct buf bytes;
    int rc = trap_file_read(folder, TRAP_USAGE, USAGE_BYTES, &bytes);
    if (rc != 0)
        return rc;
    rc = buf_get_u64(&bytes, &out->n_entries);
    if (rc == 0)
        rc = buf_get_u64(&bytes, &out->bytes);
    buf_clear(&bytes);
    return rc;
}

/* In place: a reader that sees one number of the old pair and one of the new is off by one mail. */
static int write_numbers(const struct trap_folder *folder, const struct trap_usage *usage)
{
    struct buf bytes;
    buf_init(&bytes, USAGE_BYTES);
    int fd = openat(
        folder->fd, TRAP_USAGE, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    int rc = fd >= 0 ? 0 : -ERR_SYSTEM;
    if (rc == 0)
        rc = trap_file_give(folder, fd);
    if (rc == 0)
        rc = buf_put_u64(&bytes, usage->n_entries);
    if (rc == 0)
        rc = buf_put_u64(&bytes, usage->bytes);
    if (rc == 0)
        rc = io_write_at(fd, buf_slice(&bytes), 0);
    if (fd >= 0)
        close(fd);
    buf_clear(&bytes);
    return rc;
}

/* With the lock held. Numbers that cannot be read are made anew, by looking at all. */
static int need_numbers(const struct trap_folder *folder, struct trap_usage *out)
{
    int rc = read_numbers(folder, out);
    if (rc == 0 || rc == -ERR_SYSTEM)
        return rc;
    rc = count_all(folder, out);
    return rc == 0 ? write_numbers(folder, out) : rc;
}

static int lock_numbers(const struct trap_folder *folder, int *lock_out)
{
    return trap_file_lock(folder, TRAP_LOCK_USAGE, "", TRAP_LOCK_WAIT_MS, lock_out);
}

static int check_room(const struct trap_folder *folder, uint64_t bytes)
{
    struct statvfs vfs;
    if (fstatvfs(folder->fd, &vfs) != 0)
        return -ERR_SYSTEM;
    const uint64_t free_bytes = (uint64_t)vfs.f_bavail * vfs.f_frsize;
    if (free_bytes >= bytes + (uint64_t)folder->conf->trap.min_free)
        return 0;
    errno = ENOSPC;
    return -ERR_SYSTEM;
}

int trap_usage_check(const struct trap_folder *folder, uint64_t bytes)
{
    const struct conf *conf = folder->conf;
    struct trap_usage usage = {0};
    int lock;
    int rc = check_room(folder, bytes);
    if (rc == 0)
        rc = lock_numbers(folder, &lock);
    if (rc != 0)
        return rc;
    rc = need_numbers(folder, &usage);
    close(lock);
    if (rc != 0)
        return rc;
    const bool fits = usage.n_entries < (uint64_t)conf->trap.max_files &&
                      bytes <= (uint64_t)conf->trap.max_bytes &&
                      usage.bytes <= (uint64_t)conf->trap.max_bytes - bytes;
    return fits ? 0 : -ERR_TOOBIG;
}

void trap_usage_add(const struct trap_folder *folder, uint64_t bytes, bool is_gone)
{
    struct trap_usage usage;
    int lock;
    if (lock_numbers(folder, &lock) != 0)
        return;
    if (read_numbers(folder, &usage) == 0) {
        if (is_gone) {
            usage.n_entries -= usage.n_entries > 0 ? 1 : 0;
            usage.bytes -= usage.bytes > bytes ? bytes : usage.bytes;
        } else {
            usage.n_entries++;
            usage.bytes += bytes;
        }
        (void)write_numbers(folder, &usage);
    }
    close(lock);
}

/* ---- mending ---- */

static bool is_old(const struct stat *st)
{
    return time(NULL) - st->st_mtime >= TRAP_LEFT_OVER_SECS;
}

/* A content without facts, whose writer is gone: whoever writes holds the lock. */
static void drop_unfinished(const struct trap_folder *folder, const char *name, const char *id)
{
    char facts[TRAP_NAME_MAX];
    struct stat st;
    int lock;
    if (trap_file_lock(folder, TRAP_LOCK_ENTRY, id, 0, &lock) != 0)
        return;
    trap_file_name(facts, id, "json");
    if (!is_file(folder, facts, &st))
        (void)unlinkat(folder->fd, name, 0);
    close(lock);
}

static void mend_one(const struct trap_folder *folder, const char *name)
{
    char id[TRAP_ID_CHARS + 1], facts[TRAP_NAME_MAX];
    struct stat st;
    if (!is_file(folder, name, &st) || !is_old(&st))
        return;
    if (strncmp(name, TRAP_TMP, strlen(TRAP_TMP)) == 0) {
        (void)unlinkat(folder->fd, name, 0);
        return;
    }
    if (!split_name(name, "eml", id) && !split_name(name, "part", id))
        return;
    trap_file_name(facts, id, "json");
    if (!is_file(folder, facts, &st))
        drop_unfinished(folder, name, id);
}

int trap_folder_mend(struct trap_store *store, struct trap_usage *usage_out)
{
    const struct trap_folder *folder = (const struct trap_folder *)store;
    DIR *stream = open_stream(folder);
    const struct dirent *row;
    int lock;
    if (stream == NULL)
        return -ERR_SYSTEM;
    while ((row = readdir(stream)) != NULL)
        mend_one(folder, row->d_name);
    closedir(stream);
    int rc = lock_numbers(folder, &lock);
    if (rc != 0)
        return rc;
    rc = count_all(folder, usage_out);
    if (rc == 0)
        rc = write_numbers(folder, usage_out);
    close(lock);
    return rc;
}
