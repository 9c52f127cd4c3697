#include "worker/link_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/err.h"
#include "common/text.h"
#include "worker/link_file.h"

/* What is open while one is stored; -1: not yet. */
struct storing {
    const struct link *link;
    const struct conf *conf;
    int index, shard;       /* in the index, with its lock */
    int directory, content; /* the folder that is served, and the one in it */
    int64_t deadline_ms;
    const char *what; /* is being done, for the error */
};

void link_file_path(const char *id, char out[LINK_FILE_LEN + 1])
{
    snprintf(out, LINK_FILE_LEN + 1, "%.2s/%s%s", id, id, LINK_SUFFIX);
}

static void file_name(const char *id, char out[LINK_FILE_LEN + 1])
{
    snprintf(out, LINK_FILE_LEN + 1, "%s%s", id, LINK_SUFFIX);
}

/* ---- the entry ---- */

static json_t *text_json(struct slice text, size_t max)
{
    char clean[LINK_NAME_BYTES];
    const struct text_bounds bounds = {max, max, 1};
    return json_stringn(clean, text_clean(clean, text, &bounds));
}

static json_t *use_new(const struct link *link)
{
    _Static_assert(LINK_FACT_BYTES <= LINK_NAME_BYTES, "text_json");
    return json_pack("{s:I, s:o, s:o, s:o, s:o}", "time", (json_int_t)link->now_secs, "filename",
        text_json(link->filename, LINK_NAME_BYTES), "message_id",
        text_json(link->message_id, LINK_FACT_BYTES), "sender",
        text_json(link->sender, LINK_FACT_BYTES), "queue_id",
        text_json(link->queue_id, LINK_FACT_BYTES));
}

static json_t *entry_new(const struct link *link)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:s, s:I, s:I, s:I, s:[]}", "id", link->id,
        "directory", link->directory, "url", link->url, "type", link->type, "size",
        (json_int_t)link->content.len, "sha256", link->sha256, "stored", (json_int_t)link->now_secs,
        "used", (json_int_t)link->now_secs, "expires", (json_int_t)link->expires_secs, "uses");
}

/* The same mail once more, after a tempfail. */
static bool is_same_use(const json_t *a, const json_t *b)
{
    static const char *const names[] = {"filename", "message_id", "sender"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (!json_equal(json_object_get(a, names[i]), json_object_get(b, names[i])))
            return false;
    }
    return true;
}

static int add_use(json_t *entry, const struct link *link)
{
    json_t *uses = json_object_get(entry, "uses");
    json_t *use = use_new(link);
    size_t i = json_array_size(uses);
    while (i > 0 && !is_same_use(json_array_get(uses, i - 1), use))
        i--;
    if (i > 0)
        (void)json_array_remove(uses, i - 1);
    else if (json_array_size(uses) >= LINK_USES_MAX)
        (void)json_array_remove(uses, 0);
    return json_array_append_new(uses, use);
}

/* The later one; 0 is never. */
static int64_t later_expiry(int64_t a, int64_t b)
{
    return a == 0 || b == 0 ? 0 : a > b ? a : b;
}

static int refresh(json_t *entry, const struct link *link)
{
    const int64_t expires = json_integer_value(json_object_get(entry, "expires"));
    const int64_t used = json_integer_value(json_object_get(entry, "used"));
    int rc = json_object_set_new(
        entry, "expires", json_integer(later_expiry(expires, link->expires_secs)));
    rc |= json_object_set_new(
        entry, "used", json_integer(used > link->now_secs ? used : link->now_secs));
    rc |= json_object_set_new(entry, "url", json_string(link->url));
    return rc | add_use(entry, link);
}

/* An entry that cannot be read is written anew; one whose file has gone is that of a new file. */
static int write_entry(struct storing *s, bool has_file)
{
    char name[LINK_INDEX_NAME_MAX];
    json_t *entry = NULL;
    s->what = "the index";
    link_index_name(s->link->id, s->link->directory, name);
    int rc = has_file ? link_index_read(s->shard, name, &entry) : -ERR_NOTFOUND;
    if (rc == -ERR_NOTFOUND || rc == -ERR_BAD) {
        entry = entry_new(s->link);
        rc = 0;
    }
    if (rc == 0 && (entry == NULL || refresh(entry, s->link) != 0)) {
        errno = ENOMEM;
        rc = -ERR_SYSTEM;
    }
    if (rc == 0)
        rc = link_index_write(s->shard, name, entry);
    json_decref(entry);
    return rc;
}

/* ---- the file ---- */

static mode_t folder_mode(const struct conf *conf)
{
    const mode_t mode = (mode_t)conf->urls.mode & 0666;
    return 0700 | mode | ((mode & 0444) >> 2);
}

static bool is_there(int folder, const char *name, size_t size)
{
    struct stat st;
    return fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
           (uint64_t)st.st_size == size;
}

/* Before it is full: the mail server's queue may be on the same disk. */
static int check_room(const struct storing *s)
{
    struct statvfs fs;
    if (fstatvfs(s->content, &fs) != 0)
        return -ERR_SYSTEM;
    const uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (free_bytes >= s->link->content.len + (uint64_t)s->conf->urls.min_free)
        return 0;
    errno = ENOSPC;
    return -ERR_SYSTEM;
}

static int write_content(struct storing *s)
{
    char temporary[LINK_FILE_NAME_MAX], name[LINK_FILE_LEN + 1];
    file_name(s->link->id, name);
    if (is_there(s->content, name, s->link->content.len))
        return write_entry(s, true);
    s->what = s->link->directory;
    int rc = check_room(s);
    if (rc == 0)
        rc = link_file_write(
            s->content, s->link->content, (mode_t)s->conf->urls.mode & 0666, temporary);
    if (rc != 0)
        return rc;
    rc = write_entry(s, false);
    if (rc != 0) {
        const int error = errno;
        (void)unlinkat(s->content, temporary, 0);
        errno = error;
        return rc;
    }
    s->what = s->link->directory;
    return link_file_rename(s->content, temporary, name);
}

/* ---- all of it ---- */

static int open_step(int *fd, int opened)
{
    *fd = opened;
    return opened < 0 ? opened : 0;
}

static int open_folders(struct storing *s)
{
    const char shard[3] = {s->link->id[0], s->link->id[1], '\0'};
    s->what = s->link->directory;
    int rc = open_step(&s->directory, link_folder_open(s->link->directory, false, 0));
    if (rc == 0)
        rc = open_step(
            &s->content, link_folder_open_at(s->directory, shard, true, folder_mode(s->conf)));
    if (rc != 0)
        return rc;
    s->what = "the index";
    rc = open_step(&s->index, link_index_open(s->conf, true));
    if (rc == 0)
        rc = open_step(&s->shard, link_index_shard(s->index, s->link->id, true));
    return rc == 0 ? link_folder_lock(s->shard, s->deadline_ms) : rc;
}

static void close_folders(const struct storing *s)
{
    const int fds[] = {s->content, s->directory, s->shard, s->index};
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
}

static const char *failure_text(const struct storing *s, int rc, struct arena *arena)
{
    const bool is_full = rc == -ERR_SYSTEM && errno == ENOSPC;
    const char *why = rc == -ERR_NOTFOUND ? "No such folder"
                      : is_full           ? "No space left on device, or less than urls.min_free"
                                          : err_text(rc);
    char path[4200] = "";
    if (strcmp(s->what, "the index") == 0 && !link_index_path(s->conf, path))
        path[0] = '\0';
    return path[0] != '\0' ? arena_printf(arena, "the index %s: %s", path, why)
                           : arena_printf(arena, "%s: %s", s->what, why);
}

const char *link_store(
    const struct link *link, const struct conf *conf, struct arena *arena, int64_t deadline_ms)
{
    struct storing s = {.link = link,
        .conf = conf,
        .index = -1,
        .shard = -1,
        .directory = -1,
        .content = -1,
        .deadline_ms = deadline_ms};
    int rc = open_folders(&s);
    if (rc == 0)
        rc = write_content(&s);
    const char *why = rc != 0 ? failure_text(&s, rc, arena) : NULL;
    close_folders(&s);
    return why;
}

/* ---- looking and removing ---- */

static const char *entry_text(const json_t *entry, const char *name)
{
    return json_string_value(json_object_get(entry, name));
}

int link_open_folder(const char *directory, const char *id)
{
    const char shard[3] = {id[0], id[1], '\0'};
    const int fd = link_folder_open(directory, false, 0);
    if (fd < 0)
        return fd;
    const int folder = link_folder_open_at(fd, shard, false, 0);
    const int error = errno;
    close(fd);
    errno = error;
    return folder;
}

static int stat_file(int folder, const char *id, struct stat *st)
{
    char name[LINK_FILE_LEN + 1];
    file_name(id, name);
    if (fstatat(folder, name, st, AT_SYMLINK_NOFOLLOW) == 0)
        return 0;
    return errno == ENOENT ? -ERR_NOTFOUND : -ERR_SYSTEM;
}

static int remove_file(int folder, const char *id, uid_t owner)
{
    char name[LINK_FILE_LEN + 1];
    struct stat st;
    int rc = stat_file(folder, id, &st);
    if (rc != 0)
        return rc == -ERR_NOTFOUND ? 0 : rc;
    if (!S_ISREG(st.st_mode) || st.st_uid != owner)
        return -ERR_DENIED;
    file_name(id, name);
    return unlinkat(folder, name, 0) == 0 || errno == ENOENT ? 0 : -ERR_SYSTEM;
}

int link_remove(int shard, const char *name, const json_t *entry)
{
    struct stat st;
    if (fstat(shard, &st) != 0)
        return -ERR_SYSTEM;
    const char *id = entry_text(entry, "id");
    const int folder = link_open_folder(entry_text(entry, "directory"), id);
    int rc = folder == -ERR_NOTFOUND ? 0 : folder < 0 ? folder : 0;
    if (folder >= 0) {
        rc = remove_file(folder, id, st.st_uid);
        const int error = errno;
        close(folder);
        errno = error;
    }
    if (rc == 0)
        rc = link_index_remove(shard, name);
    return rc == -ERR_NOTFOUND ? 0 : rc;
}

bool link_has_file(const json_t *entry)
{
    struct stat st;
    const int folder = link_open_folder(entry_text(entry, "directory"), entry_text(entry, "id"));
    if (folder < 0)
        return false;
    const bool has = stat_file(folder, entry_text(entry, "id"), &st) == 0 && S_ISREG(st.st_mode);
    close(folder);
    return has;
}
