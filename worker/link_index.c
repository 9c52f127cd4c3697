#include "worker/link_index.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"
#include "common/io.h"
#include "common/xalloc.h"
#include "worker/link_file.h"

#define INDEX_FOLDER "urls" /* in worker.state_dir, unless the options say otherwise */
#define KEY_NAME     "key"

enum { FOLDER_FLAGS = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, DIRECTORY_DIGITS = 8 };

/* ---- where it is ---- */

static bool set_path(char *out, const char *given, const char *state_dir, const char *below)
{
    const int n = given[0] != '\0' ? snprintf(out, PATH_MAX, "%s", given)
                                   : snprintf(out, PATH_MAX, "%s/%s", state_dir, below);
    return n < PATH_MAX;
}

bool link_index_path(const struct conf *conf, char *out)
{
    return set_path(out, conf->urls.index, conf->worker.state_dir, INDEX_FOLDER);
}

bool link_key_path(const struct conf *conf, char *out)
{
    return set_path(out, conf->urls.key_file, conf->worker.state_dir, INDEX_FOLDER "/" KEY_NAME);
}

/* Whoever else could write there could have us remove what is not ours. */
static bool is_private(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && (st.st_mode & (S_IRWXG | S_IRWXO)) == 0 &&
           (st.st_uid == geteuid() || geteuid() == 0);
}

int link_index_open(const struct conf *conf, bool may_make)
{
    char path[PATH_MAX];
    if (!link_index_path(conf, path)) {
        errno = ENAMETOOLONG;
        return -ERR_SYSTEM;
    }
    const int fd = link_folder_open(path, may_make, 0700);
    if (fd < 0 || is_private(fd))
        return fd;
    close(fd);
    return -ERR_DENIED;
}

int link_index_shard(int index, const char *id, bool may_make)
{
    const char name[3] = {id[0], id[1], '\0'};
    return link_folder_open_at(index, name, may_make, 0700);
}

void link_index_name(const char *id, const char *directory, char out[LINK_INDEX_NAME_MAX])
{
    char sum[65];
    link_sha256(slice_text(directory), sum);
    snprintf(out, LINK_INDEX_NAME_MAX, "%s-%.*s.json", id, (int)DIRECTORY_DIGITS, sum);
}

/* ---- entries ---- */

static bool has_texts(const json_t *object, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!json_is_string(json_object_get(object, names[i])))
            return false;
    }
    return true;
}

static bool has_numbers(const json_t *object, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const json_t *number = json_object_get(object, names[i]);
        if (!json_is_integer(number) || json_integer_value(number) < 0)
            return false;
    }
    return true;
}

static bool has_uses(const json_t *entry)
{
    static const char *const texts[] = {"filename", "message_id", "sender", "queue_id"};
    static const char *const numbers[] = {"time"};
    const json_t *uses = json_object_get(entry, "uses");
    if (!json_is_array(uses) || json_array_size(uses) == 0 || json_array_size(uses) > LINK_USES_MAX)
        return false;
    for (size_t i = 0; i < json_array_size(uses); i++) {
        const json_t *use = json_array_get(uses, i);
        if (!json_is_object(use) || !has_texts(use, texts, sizeof(texts) / sizeof(texts[0])) ||
            !has_numbers(use, numbers, 1))
            return false;
    }
    return true;
}

/* The id and the folder are parts of a path to what will be removed: they must be those that the
 * name of the entry says. */
static bool is_entry(const char *name, const json_t *entry)
{
    static const char *const texts[] = {"id", "directory", "url", "type", "sha256"};
    static const char *const numbers[] = {"size", "stored", "used", "expires"};
    char expected[LINK_INDEX_NAME_MAX];
    if (!json_is_object(entry) || !has_texts(entry, texts, sizeof(texts) / sizeof(texts[0])) ||
        !has_numbers(entry, numbers, sizeof(numbers) / sizeof(numbers[0])) || !has_uses(entry))
        return false;
    const char *id = json_string_value(json_object_get(entry, "id"));
    const char *directory = json_string_value(json_object_get(entry, "directory"));
    if (!link_id_is_good(id) || directory[0] != '/' || strlen(directory) >= PATH_MAX)
        return false;
    link_index_name(id, directory, expected);
    return strcmp(name, expected) == 0;
}

int link_index_parse(const char *name, struct slice text, json_t **out)
{
    json_error_t where;
    json_t *entry = text.len <= LINK_ENTRY_MAX
                        ? json_loadb(text.len > 0 ? text.data : "", text.len, 0, &where)
                        : NULL;
    if (entry != NULL && is_entry(name, entry)) {
        *out = entry;
        return 0;
    }
    json_decref(entry);
    return -ERR_BAD;
}

static int read_entry(int fd, const char *name, json_t **out)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return -ERR_SYSTEM;
    if (!S_ISREG(st.st_mode) || st.st_size > LINK_ENTRY_MAX)
        return -ERR_BAD;
    char *text = xmalloc((size_t)st.st_size + 1);
    int rc = io_read_at(fd, text, (size_t)st.st_size, 0);
    if (rc == 0)
        rc = link_index_parse(name, slice_of(text, (size_t)st.st_size), out);
    free(text);
    return rc == -ERR_SHORT ? -ERR_BAD : rc;
}

int link_index_read(int shard, const char *name, json_t **out)
{
    const int fd = openat(shard, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? -ERR_NOTFOUND : errno == ELOOP ? -ERR_BAD : -ERR_SYSTEM;
    const int rc = read_entry(fd, name, out);
    const int error = errno;
    close(fd);
    errno = error;
    return rc;
}

int link_index_write(int shard, const char *name, const json_t *entry)
{
    char temporary[LINK_FILE_NAME_MAX];
    char *text = json_dumps(entry, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
    if (text == NULL) {
        errno = ENOMEM;
        return -ERR_SYSTEM;
    }
    int rc = strlen(text) > LINK_ENTRY_MAX ? -ERR_TOOBIG : 0;
    if (rc == 0)
        rc = link_file_write(shard, slice_text(text), 0600, temporary);
    if (rc == 0)
        rc = link_file_rename(shard, temporary, name);
    free(text);
    return rc;
}

int link_index_remove(int shard, const char *name)
{
    if (unlinkat(shard, name, 0) == 0)
        return 0;
    return errno == ENOENT ? -ERR_NOTFOUND : -ERR_SYSTEM;
}

/* ---- the walk ---- */

static bool is_shard_name(const char *name)
{
    return strlen(name) == 2 && strspn(name, "0123456789abcdef") == 2;
}

static DIR *open_stream(int folder, const char *name)
{
    const int fd = openat(folder, name, FOLDER_FLAGS);
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    if (stream == NULL && fd >= 0)
        close(fd);
    return stream;
}

/* prefix: of the names that are meant. */
static bool walk_shard(
    DIR *stream, const char *prefix, link_index_cb cb, void *context, uint32_t *broken_out)
{
    const struct dirent *row;
    bool goes_on = true;
    while (goes_on && (row = readdir(stream)) != NULL) {
        json_t *entry = NULL;
        if (row->d_name[0] == '.' || strncmp(row->d_name, prefix, strlen(prefix)) != 0)
            continue;
        const int rc = link_index_read(dirfd(stream), row->d_name, &entry);
        if (rc == 0)
            goes_on = cb(dirfd(stream), row->d_name, entry, context);
        else if (rc != -ERR_NOTFOUND) /* removed meanwhile */
            (*broken_out)++;
        json_decref(entry);
    }
    return goes_on;
}

int link_index_walk(int index, link_index_cb cb, void *context, uint32_t *broken_out)
{
    DIR *stream = open_stream(index, ".");
    const struct dirent *row;
    bool goes_on = true;
    *broken_out = 0;
    if (stream == NULL)
        return -ERR_SYSTEM;
    while (goes_on && (row = readdir(stream)) != NULL) {
        DIR *shard = is_shard_name(row->d_name) ? open_stream(index, row->d_name) : NULL;
        if (shard != NULL) {
            goes_on = walk_shard(shard, "", cb, context, broken_out);
            closedir(shard);
        }
    }
    closedir(stream);
    return 0;
}

int link_index_each(
    int index, const char *id, link_index_cb cb, void *context, uint32_t *broken_out)
{
    const char name[3] = {id[0], id[1], '\0'};
    DIR *shard = open_stream(index, name);
    *broken_out = 0;
    if (shard == NULL)
        return errno == ENOENT ? 0 : -ERR_SYSTEM;
    (void)walk_shard(shard, id, cb, context, broken_out);
    closedir(shard);
    return 0;
}
