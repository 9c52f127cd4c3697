/*
 * The store as a plain folder. An entry is there when its facts are: they get their name last, once
 * the content is on the disk, and lose it first. Each entry is written, changed and removed under a
 * lock of its own.
 */
#include "worker/trap_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"
#include "common/xalloc.h"

static struct trap_folder *folder_of(struct trap_store *store)
{
    return (struct trap_folder *)store;
}

bool trap_id_is_good(const char *id)
{
    return strlen(id) == TRAP_ID_CHARS &&
           strspn(id, "abcdefghijklmnopqrstuvwxyz234567") == TRAP_ID_CHARS;
}

void trap_rows_clear(struct trap_rows *rows)
{
    free(rows->items);
    *rows = (struct trap_rows){.n = 0};
}

/* ---- single steps ---- */

static bool has_file(const struct trap_folder *folder, const char *id, const char *ending)
{
    char name[TRAP_NAME_MAX];
    struct stat st;
    trap_file_name(name, id, ending);
    return fstatat(folder->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

static uint64_t file_bytes(const struct trap_folder *folder, const char *id, const char *ending)
{
    char name[TRAP_NAME_MAX];
    struct stat st;
    trap_file_name(name, id, ending);
    if (fstatat(folder->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || st.st_size < 0)
        return 0;
    return (uint64_t)st.st_size;
}

static int write_file(
    const struct trap_folder *folder, const char *id, const char *ending, struct slice bytes)
{
    char name[TRAP_NAME_MAX];
    trap_file_name(name, id, ending);
    return trap_file_write(folder, name, bytes);
}

static int remove_file(const struct trap_folder *folder, const char *id, const char *ending)
{
    char name[TRAP_NAME_MAX];
    trap_file_name(name, id, ending);
    if (unlinkat(folder->fd, name, 0) == 0)
        return 0;
    return errno == ENOENT ? -ERR_NOTFOUND : -ERR_SYSTEM;
}

static int sync_folder(const struct trap_folder *folder)
{
    return fsync(folder->fd) == 0 ? 0 : -ERR_SYSTEM;
}

/* ---- keep ---- */

static int write_both(const struct trap_folder *folder, const struct trap_new *entry)
{
    const char *ending = entry->is_part ? "part" : "eml";
    int rc = write_file(folder, entry->id, ending, entry->content);
    if (rc == 0)
        rc = write_file(folder, entry->id, "json", entry->facts);
    if (rc == 0)
        rc = sync_folder(folder);
    if (rc != 0) {
        const int saved = errno;
        (void)remove_file(folder, entry->id, "json");
        (void)remove_file(folder, entry->id, ending);
        errno = saved;
    }
    return rc;
}

/* One that is there may have been made a moment ago by a process that has not synced it yet. */
static int keep_locked(const struct trap_folder *folder, const struct trap_new *entry)
{
    const uint64_t bytes = entry->content.len + entry->facts.len;
    if (has_file(folder, entry->id, "json")) {
        const int rc = sync_folder(folder);
        return rc == 0 ? -ERR_IN_USE : rc;
    }
    int rc = trap_usage_check(folder, bytes);
    if (rc == 0)
        rc = write_both(folder, entry);
    if (rc == 0)
        trap_usage_add(folder, bytes, false);
    return rc;
}

static int folder_keep(struct trap_store *store, const struct trap_new *entry)
{
    const struct trap_folder *folder = folder_of(store);
    int lock;
    int rc = trap_file_lock(folder, TRAP_LOCK_ENTRY, entry->id, TRAP_LOCK_WAIT_MS, &lock);
    if (rc != 0)
        return rc;
    rc = keep_locked(folder, entry);
    const int saved = errno;
    close(lock);
    errno = saved;
    return rc;
}

/* ---- find, change, read ---- */

static int folder_find(struct trap_store *store, const char *id, json_t **facts_out)
{
    char name[TRAP_NAME_MAX];
    struct buf text;
    json_error_t where;
    trap_file_name(name, id, "json");
    int rc = trap_file_read(folder_of(store), name, TRAP_FACTS_MAX, &text);
    if (rc != 0)
        return rc == -ERR_TOOBIG ? -ERR_BAD : rc;
    json_t *facts = json_loadb((const char *)text.data, text.len, JSON_ALLOW_NUL, &where);
    buf_clear(&text);
    if (!json_is_object(facts)) {
        json_decref(facts);
        return -ERR_BAD;
    }
    *facts_out = facts;
    return 0;
}

static int rewrite(const struct trap_folder *folder, const char *id, const json_t *facts)
{
    char *text = json_dumps(facts, JSON_INDENT(1));
    int rc = text != NULL ? write_file(folder, id, "json", slice_text(text)) : -ERR_BAD;
    free(text);
    return rc == 0 ? sync_folder(folder) : rc;
}

static int folder_change(
    struct trap_store *store, const char *id, trap_change_cb change, void *context)
{
    const struct trap_folder *folder = folder_of(store);
    json_t *facts = NULL;
    int lock;
    int rc = trap_file_lock(folder, TRAP_LOCK_ENTRY, id, TRAP_LOCK_WAIT_MS, &lock);
    if (rc != 0)
        return rc;
    rc = folder_find(store, id, &facts);
    if (rc == 0)
        rc = change(facts, context);
    if (rc == 0)
        rc = rewrite(folder, id, facts);
    const int saved = errno;
    json_decref(facts);
    close(lock);
    errno = saved;
    return rc == -ERR_AGAIN ? 0 : rc;
}

static int folder_read(struct trap_store *store, const char *id, struct buf *out)
{
    const struct trap_folder *folder = folder_of(store);
    char name[TRAP_NAME_MAX];
    if (!has_file(folder, id, "json"))
        return -ERR_NOTFOUND;
    trap_file_name(name, id, "eml");
    int rc = trap_file_read(folder, name, TRAP_CONTENT_MAX, out);
    if (rc == -ERR_NOTFOUND) {
        trap_file_name(name, id, "part");
        rc = trap_file_read(folder, name, TRAP_CONTENT_MAX, out);
    }
    return rc;
}

/* ---- remove ---- */

static int folder_remove(struct trap_store *store, const char *id)
{
    const struct trap_folder *folder = folder_of(store);
    int lock;
    int rc = trap_file_lock(folder, TRAP_LOCK_ENTRY, id, TRAP_LOCK_WAIT_MS, &lock);
    if (rc != 0)
        return rc;
    const uint64_t bytes = file_bytes(folder, id, "json") + file_bytes(folder, id, "eml") +
                           file_bytes(folder, id, "part");
    rc = remove_file(folder, id, "json");
    if (rc == 0) {
        (void)remove_file(folder, id, "eml");
        (void)remove_file(folder, id, "part");
        trap_usage_add(folder, bytes, true);
        rc = sync_folder(folder);
    }
    const int saved = errno;
    close(lock);
    errno = saved;
    return rc;
}

/* ---- one release at a time ---- */

static int folder_lock(struct trap_store *store, const char *id)
{
    struct trap_folder *folder = folder_of(store);
    const int rc = trap_file_lock(folder, TRAP_LOCK_RELEASE, id, 0, &folder->release_lock);
    if (rc != 0)
        folder->release_lock = -1;
    return rc == -ERR_TIMEOUT ? -ERR_IN_USE : rc;
}

static void folder_unlock(struct trap_store *store)
{
    struct trap_folder *folder = folder_of(store);
    if (folder->release_lock >= 0)
        close(folder->release_lock);
    folder->release_lock = -1;
}

/* ---- the store ---- */

static int folder_secret(struct trap_store *store, uint8_t out[KEYED_HASH_BYTES])
{
    return keyed_hash_secret(folder_of(store)->fd, TRAP_SECRET, true, out);
}

static void folder_close(struct trap_store *store)
{
    struct trap_folder *folder = folder_of(store);
    folder_unlock(store);
    close(folder->fd);
    free(folder);
}

static const struct trap_calls folder_calls = {
    .close = folder_close,
    .secret = folder_secret,
    .keep = folder_keep,
    .find = folder_find,
    .change = folder_change,
    .read = folder_read,
    .list = trap_folder_list,
    .remove = folder_remove,
    .lock = folder_lock,
    .unlock = folder_unlock,
    .mend = trap_folder_mend,
};

void trap_store_place(const struct conf *conf, char *out, size_t out_bytes)
{
    if (conf->trap.directory[0] != '\0')
        snprintf(out, out_bytes, "%s", conf->trap.directory);
    else
        snprintf(out, out_bytes, "%s/trap", conf->worker.state_dir);
}

/* Whoever else could write there could put mail in, or have us send what is not ours. */
static bool is_safe(const struct stat *st)
{
    return (st->st_mode & (S_IWGRP | S_IWOTH)) == 0 &&
           (st->st_uid == geteuid() || geteuid() == 0 || (st->st_mode & S_IRGRP) != 0);
}

static int open_folder(const struct conf *conf, bool may_make, int *fd_out)
{
    char path[PATH_MAX];
    trap_store_place(conf, path, sizeof(path));
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && may_make) {
        const mode_t mode = (mode_t)(conf->trap.mode & 0750) | 0700;
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            return -ERR_SYSTEM;
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0 && fchmod(fd, mode) != 0) {
            close(fd);
            return -ERR_SYSTEM;
        }
    }
    if (fd < 0)
        return errno == ENOENT ? -ERR_NOTFOUND : -ERR_SYSTEM;
    *fd_out = fd;
    return 0;
}

int trap_store_open(const struct conf *conf, bool may_make, struct trap_store **out)
{
    struct stat st;
    int fd;
    int rc = open_folder(conf, may_make, &fd);
    if (rc != 0)
        return rc;
    rc = fstat(fd, &st) != 0 ? -ERR_SYSTEM : is_safe(&st) ? 0 : -ERR_DENIED;
    if (rc != 0) {
        close(fd);
        return rc;
    }
    struct trap_folder *folder = xcalloc(1, sizeof(*folder));
    *folder = (struct trap_folder){.store.calls = &folder_calls,
        .conf = conf,
        .fd = fd,
        .owner = st.st_uid,
        .group = st.st_gid,
        .release_lock = -1};
    *out = &folder->store;
    return 0;
}

void trap_store_close(struct trap_store *store)
{
    if (store != NULL)
        store->calls->close(store);
}
