#include "worker/sandbox_files.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/err.h"
#include "common/proc.h"
#include "common/sanitizer.h"

#ifndef POSTERN_LUA_DIR
#error "POSTERN_LUA_DIR: where the Lua modules are installed"
#endif

/* What any filter needs: libraries, modules, time zones, locales, character sets; names and
 * addresses. Single files of /etc, since keys lie there too. */
static const struct {
    const char *path;
    unsigned access;
} system_paths[] = {
    {"/usr", LANDLOCK_READ}, {"/lib", LANDLOCK_READ}, {"/lib64", LANDLOCK_READ},
    {"/etc/ld.so.cache", LANDLOCK_READ}, {"/etc/localtime", LANDLOCK_READ},
    {"/etc/locale.alias", LANDLOCK_READ}, {"/etc/nsswitch.conf", LANDLOCK_READ},
    {"/etc/resolv.conf", LANDLOCK_READ}, {"/run/systemd/resolve", LANDLOCK_READ},
    {"/etc/hosts", LANDLOCK_READ}, {"/etc/host.conf", LANDLOCK_READ},
    {"/etc/gai.conf", LANDLOCK_READ}, {"/etc/services", LANDLOCK_READ},
    {"/etc/protocols", LANDLOCK_READ}, {"/etc/passwd", LANDLOCK_READ},
    {"/etc/group", LANDLOCK_READ}, {"/etc/mime.types", LANDLOCK_READ},
    {"/etc/magic", LANDLOCK_READ}, {"/etc/ssl/openssl.cnf", LANDLOCK_READ},
    {"/etc/ssl/certs", LANDLOCK_READ}, {"/dev/null", LANDLOCK_READ | LANDLOCK_WRITE_FILE},
    {"/dev/zero", LANDLOCK_READ}, {"/dev/urandom", LANDLOCK_READ}, {"/dev/random", LANDLOCK_READ},
    {"/proc/self/task", LANDLOCK_LIST}, /* the nursery counts its threads */
};

/* Where programs are, with worker.allow_exec. /bin and /sbin are in /usr since Debian 12. */
static const char *const program_paths[] = {"/usr", "/lib", "/lib64"};

/* ---- folders ---- */

/* The folder of a file, without the last slash; "." when it has none. */
static void folder_of(const char *path, char *out, size_t out_bytes)
{
    const char *slash = strrchr(path, '/');
    size_t n = slash != NULL ? (size_t)(slash - path) : 0;
    if (slash == NULL) {
        snprintf(out, out_bytes, ".");
    } else {
        snprintf(out, out_bytes, "%.*s", (int)(n > 0 ? n : 1), path);
    }
}

/* The next folder of "A:B"; relative ones are the filter's. False at the end. */
static bool next_folder(const char **list, const struct conf *conf, char *out, size_t out_bytes)
{
    char base[PATH_MAX];
    *list += strspn(*list, ":");
    size_t n = strcspn(*list, ":");
    if (n == 0) {
        return false;
    }
    folder_of(conf->worker.filter, base, sizeof base);
    bool is_absolute = (*list)[0] == '/';
    snprintf(
        out, out_bytes, "%s%s%.*s", is_absolute ? "" : base, is_absolute ? "" : "/", (int)n, *list);
    *list += n;
    return true;
}

static int allow_list(
    struct landlock *landlock, const struct conf *conf, const char *list, unsigned access)
{
    char folder[2 * PATH_MAX];
    int err = 0;
    while (err == 0 && next_folder(&list, conf, folder, sizeof folder)) {
        err = landlock_allow(landlock, folder, access);
    }
    return err;
}

/* ---- rules ---- */

static int allow_system(struct landlock *landlock, const struct conf *conf)
{
    int err = 0;
    for (size_t i = 0; i < sizeof system_paths / sizeof system_paths[0] && err == 0; i++) {
        err = landlock_allow(landlock, system_paths[i].path, system_paths[i].access);
    }
    for (size_t i = 0;
         conf->worker.allow_exec && i < sizeof program_paths / sizeof program_paths[0] && err == 0;
         i++) {
        err = landlock_allow(landlock, program_paths[i], LANDLOCK_READ | LANDLOCK_EXECUTE);
    }
    if (SANITIZER_HAS_ANY && err == 0) {
        err = landlock_allow(landlock, "/proc", LANDLOCK_READ);
    }
#ifdef POSTERN_COVERAGE_DIR
    /* Where each process of such a build counts its lines when it ends. */
    err = err == 0 ? landlock_allow(landlock, POSTERN_COVERAGE_DIR, LANDLOCK_READ | LANDLOCK_WRITE)
                   : err;
#endif
    return err;
}

/* Where it is said to be, and where it is if that is a link. */
static int allow_filter(struct landlock *landlock, const struct conf *conf)
{
    char real[PATH_MAX];
    char folder[PATH_MAX];
    folder_of(conf->worker.filter, folder, sizeof folder);
    int err = landlock_allow(landlock, folder, LANDLOCK_READ);
    if (err == 0 && realpath(conf->worker.filter, real) != NULL) {
        folder_of(real, folder, sizeof folder);
        err = landlock_allow(landlock, folder, LANDLOCK_READ);
    }
    return err;
}

/* Those of Postern: installed, also when the installation was moved, or those of the checkout that
 * the program was built from. */
static int allow_modules(struct landlock *landlock)
{
    char dir[PATH_MAX];
    char folder[2 * PATH_MAX];
    int err = landlock_allow(landlock, POSTERN_LUA_DIR, LANDLOCK_READ);
    if (err == 0 && proc_program_dir(dir, sizeof dir) == 0) {
        snprintf(folder, sizeof folder, "%s/../CMakeCache.txt", dir);
        err = landlock_allow(landlock, folder, LANDLOCK_READ);
        snprintf(folder, sizeof folder, "%s/../../../scripts/lib", dir);
        err = err == 0 ? landlock_allow(landlock, folder, LANDLOCK_READ) : err;
        snprintf(folder, sizeof folder, "%s/%s", dir, POSTERN_LUA_FROM_PROGRAM);
        err = err == 0 ? landlock_allow(landlock, folder, LANDLOCK_READ) : err;
    }
    return err;
}

/* Read at each connection. */
static int allow_redis(struct landlock *landlock, const struct conf *conf)
{
    const char *const files[] = {
        conf->redis.password_file, conf->redis.sentinel_password_file, conf->redis.ca_file};
    int err = 0;
    for (size_t i = 0; i < sizeof files / sizeof files[0] && err == 0; i++)
        err = files[i][0] == '/' ? landlock_allow(landlock, files[i], LANDLOCK_READ) : 0;
    return err;
}

/* Where part:replace_with_url puts files, with their index and key. */
static int allow_links(struct landlock *landlock, const struct conf *conf)
{
    char folder[PATH_MAX];
    const char *const folders[] = {conf->urls.directory, conf->urls.index};
    int err = 0;
    for (size_t i = 0; i < sizeof folders / sizeof folders[0] && err == 0; i++) {
        err = folders[i][0] == '/'
                  ? landlock_allow(landlock, folders[i], LANDLOCK_READ | LANDLOCK_WRITE)
                  : 0;
    }
    if (err == 0 && conf->urls.key_file[0] == '/') {
        folder_of(conf->urls.key_file, folder, sizeof folder);
        err = landlock_allow(landlock, folder, LANDLOCK_READ | LANDLOCK_WRITE);
    }
    return err;
}

int sandbox_files_allow(struct landlock *landlock, const struct conf *conf)
{
    int err = allow_system(landlock, conf);
    err = err == 0 ? allow_filter(landlock, conf) : err;
    err = err == 0 ? allow_modules(landlock) : err;
    err = err == 0 ? allow_list(landlock, conf, conf->worker.module_path, LANDLOCK_READ) : err;
    err = err == 0 ? allow_list(landlock, conf, conf->worker.read_paths, LANDLOCK_READ) : err;
    err = err == 0
              ? allow_list(landlock, conf, conf->worker.state_dir, LANDLOCK_READ | LANDLOCK_WRITE)
              : err;
    err = err == 0
              ? allow_list(landlock, conf, conf->worker.write_paths, LANDLOCK_READ | LANDLOCK_WRITE)
              : err;
    err = err == 0 ? landlock_allow(landlock, conf->trap.directory, LANDLOCK_READ | LANDLOCK_WRITE)
                   : err;
    if (err == 0 && conf->http.ca_file[0] == '/')
        err = landlock_allow(landlock, conf->http.ca_file, LANDLOCK_READ);
    if (err == 0 && conf->worker.origin_key[0] == '/')
        err = landlock_allow(landlock, conf->worker.origin_key, LANDLOCK_READ);
    err = err == 0 ? allow_redis(landlock, conf) : err;
    return err == 0 ? allow_links(landlock, conf) : err;
}

/* ---- the check ---- */

static bool is_below(const char *path, const char *folder)
{
    size_t n = strlen(folder);
    n -= n == 1; /* "/" */
    return strncmp(path, folder, n) == 0 && path[n] == '/';
}

static bool is_in_list(const char *real, const struct conf *conf, const char *list)
{
    char folder[2 * PATH_MAX];
    char real_folder[PATH_MAX];
    while (next_folder(&list, conf, folder, sizeof folder)) {
        if (realpath(folder, real_folder) != NULL && is_below(real, real_folder)) {
            return true;
        }
    }
    return false;
}

static bool is_in_folder(const char *real, const char *folder)
{
    char real_folder[PATH_MAX];
    return folder[0] == '/' && realpath(folder, real_folder) != NULL && is_below(real, real_folder);
}

/* The path with every link resolved; of a new file, its folder's. out: PATH_MAX bytes. */
static int resolve(const char *path, char *out)
{
    char folder[PATH_MAX];
    char real[PATH_MAX];
    struct stat st;
    if (realpath(path, out) != NULL) {
        return 0;
    }
    if (errno != ENOENT || strlen(path) >= PATH_MAX) {
        return -ERR_SYSTEM;
    }
    if (lstat(path, &st) == 0) { /* a link that leads nowhere: the file would be made there */
        errno = ELOOP;
        return -ERR_SYSTEM;
    }
    folder_of(path, folder, sizeof folder);
    if (realpath(folder, real) == NULL) {
        return -ERR_SYSTEM;
    }
    const char *slash = strrchr(path, '/');
    int n = snprintf(out, PATH_MAX, "%s/%s", strcmp(real, "/") == 0 ? "" : real,
        slash != NULL ? slash + 1 : path);
    errno = ENAMETOOLONG;
    return n < PATH_MAX ? 0 : -ERR_SYSTEM;
}

int sandbox_files_check_write(
    const struct conf *conf, const char *path, char *why_out, size_t why_bytes)
{
    char real[PATH_MAX];
    if (resolve(path, real) != 0) {
        snprintf(why_out, why_bytes, "%s", strerror(errno));
        return -ERR_SYSTEM;
    }
    if (is_in_list(real, conf, conf->worker.state_dir) ||
        is_in_list(real, conf, conf->worker.write_paths) ||
        is_in_folder(real, conf->urls.directory)) {
        return 0;
    }
    snprintf(why_out, why_bytes, "is outside worker.state_dir; worker.write_paths may allow it");
    return -ERR_DENIED;
}
