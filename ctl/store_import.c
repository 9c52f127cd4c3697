/* posternctl store import: a line for each entry, as JSON or in the format of another program. A
 * line that is wrong is told and left out; the others are taken. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/arena.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "ctl/store.h"
#include "ctl/store_entry.h"

enum { LINE_MAX_BYTES = 1 << 20, TOLD_MAX = 20 };

struct import {
    const struct store_ctl *ctl;
    bool is_greylist;
    const char *name;
    int64_t now_ms;
    struct arena *arena; /* of one line */
    uint64_t n_lines, n_taken, n_ended, n_wrong;
};

static void say_wrong(struct import *import, const char *why)
{
    if (++import->n_wrong <= TOLD_MAX)
        fprintf(stderr, "posternctl: %s:%llu: %s\n", import->name,
            (unsigned long long)import->n_lines, why);
}

/* 0, or an error of the store. What has ended is not brought back. */
static int put(struct import *import, const struct store_entry *entry)
{
    struct store_request request = store_ctl_request(STORE_SET, entry->key);
    request.value = entry->value;
    if (entry->expires_ms != STORE_FOREVER) {
        request.ttl_ms = entry->expires_ms - import->now_ms;
        if (request.ttl_ms <= 0) {
            import->n_ended++;
            return 0;
        }
        if (request.ttl_ms > STORE_TTL_MAX_MS)
            request.ttl_ms = STORE_TTL_MAX_MS;
    }
    int err = store_ctl_run(import->ctl, &request);
    import->n_taken += err == 0;
    return err;
}

static int take_json(struct import *import, const char *line, size_t len)
{
    json_error_t error;
    struct store_entry entry;
    json_t *object = json_loadb(line, len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
    const char *why =
        object == NULL ? "this is no JSON" : store_entry_from_json(object, import->arena, &entry);
    int err = 0;
    if (why != NULL)
        say_wrong(import, why);
    else
        err = put(import, &entry);
    json_decref(object);
    return err;
}

static int take_greylist(struct import *import, char *line)
{
    char key[STORE_KEY_MAX + 1];
    struct store_entry entry;
    switch (store_greylist_read(import->ctl->conf, line, import->now_ms, key, &entry)) {
    case STORE_LINE_ENTRY:
        return put(import, &entry);
    case STORE_LINE_WRONG:
        say_wrong(import, "this is no tuple");
        break;
    case STORE_LINE_NOTHING:
        break;
    }
    return 0;
}

static int take_line(struct import *import, char *line, size_t len)
{
    while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
        line[--len] = '\0';
    import->n_lines++;
    if (len == 0)
        return 0;
    if (len > LINE_MAX_BYTES || strlen(line) != len) {
        say_wrong(import, "the line is too long, or has a NUL");
        return 0;
    }
    arena_reset(import->arena);
    return import->is_greylist ? take_greylist(import, line) : take_json(import, line, len);
}

static int take_all(struct import *import, FILE *file)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t len;
    int err = 0;
    while (err == 0 && (len = getline(&line, &size, file)) >= 0)
        err = take_line(import, line, (size_t)len);
    free(line);
    if (err == 0 && ferror(file)) {
        fprintf(stderr, "posternctl: %s: %s\n", import->name, strerror(errno));
        return -ERR_SYSTEM;
    }
    return err;
}

/* Root makes the file for whom its folder belongs to: workers could not write it otherwise. */
static bool make_file(const struct conf *conf)
{
    char path[PATH_MAX], folder[PATH_MAX];
    struct stat st;
    if (!store_path(conf, path))
        return false;
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash == NULL || slash == folder)
        return true;
    *slash = '\0';
    umask(077);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno == EEXIST;
    bool is_given =
        geteuid() != 0 || (stat(folder, &st) == 0 && fchown(fd, st.st_uid, st.st_gid) == 0);
    close(fd);
    return is_given;
}

static int set_format(struct import *import)
{
    const char *from = args_get(import->ctl->args, ARG_FROM);
    import->is_greylist = from != NULL && strcmp(from, "milter-greylist") == 0;
    if (from == NULL || import->is_greylist || strcmp(from, "json") == 0)
        return EXIT_CODE_OK;
    fprintf(stderr, "posternctl: --from is json or milter-greylist\n");
    return EXIT_CODE_USAGE;
}

int store_ctl_import(const struct store_ctl *ctl, const char *path)
{
    bool is_stdin = path[0] == '\0' || strcmp(path, "-") == 0;
    struct import import = {
        .ctl = ctl, .name = is_stdin ? "standard input" : path, .now_ms = clock_wall_ms()};
    if (set_format(&import) != EXIT_CODE_OK)
        return EXIT_CODE_USAGE;
    FILE *file = is_stdin ? stdin : fopen(path, "re");
    if (file == NULL) {
        fprintf(stderr, "posternctl: cannot read %s: %s\n", path, strerror(errno));
        return EXIT_CODE_USAGE;
    }
    int err = -ERR_SYSTEM;
    if (ctl->conf->store.backend != STORE_IN_SQLITE || make_file(ctl->conf)) {
        import.arena = arena_new();
        err = take_all(&import, file);
        arena_free(import.arena);
    } else {
        fprintf(stderr, "posternctl: the file of the store cannot be made: %s\n", strerror(errno));
    }
    if (!is_stdin)
        fclose(file);
    printf("imported: %llu, ended already: %llu, wrong: %llu\n", (unsigned long long)import.n_taken,
        (unsigned long long)import.n_ended, (unsigned long long)import.n_wrong);
    if (err != 0)
        return EXIT_CODE_SYSTEM;
    return import.n_wrong > 0 ? EXIT_CODE_FOUND : EXIT_CODE_OK;
}
