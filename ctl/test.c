/*
 * posternctl test: finds files of tests, runs each test in them, and sums up.
 *
 * Exit code: 0 all passed, 1 one failed or there is none, 2 what was named cannot be read.
 */
#include "ctl/test.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"
#include "common/xalloc.h"
#include "ctl/command.h"
#include "ctl/render.h"
#include "ctl/server.h"

#define TEST_SUFFIX "_test.lua"

enum { FILES_MAX = 10000 };

struct test_paths {
    char **items;
    size_t n;
};

/* ---- the files ---- */

static void paths_add(struct test_paths *paths, char *path)
{
    paths->items = xreallocarray(paths->items, paths->n + 1, sizeof(*paths->items));
    paths->items[paths->n++] = path;
}

static void paths_clear(struct test_paths *paths)
{
    for (size_t i = 0; i < paths->n; i++) {
        free(paths->items[i]);
    }
    free(paths->items);
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_test_name(const char *name)
{
    size_t len = strlen(name), suffix = strlen(TEST_SUFFIX);
    return name[0] != '.' && len > suffix && strcmp(name + len - suffix, TEST_SUFFIX) == 0;
}

static int fail_to_read(const char *path)
{
    fprintf(stderr, "posternctl: cannot read %s: %s\n", path, strerror(errno));
    return EXIT_CODE_USAGE;
}

/* Those of a folder, in the order of their names; not of those below it. */
static int add_folder(struct test_paths *paths, const char *folder)
{
    size_t before = paths->n;
    struct dirent *entry;
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        return fail_to_read(folder);
    }
    while ((entry = readdir(dir)) != NULL && paths->n < FILES_MAX) {
        if (is_test_name(entry->d_name)) {
            paths_add(paths, xasprintf("%s/%s", folder, entry->d_name));
        }
    }
    closedir(dir);
    if (paths->n - before > 1) {
        qsort(paths->items + before, paths->n - before, sizeof(*paths->items), compare_paths);
    }
    return EXIT_CODE_OK;
}

static int add_named(struct test_paths *paths, const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0 || access(path, R_OK) < 0) {
        return fail_to_read(path);
    }
    if (S_ISDIR(st.st_mode)) {
        return add_folder(paths, path);
    }
    paths_add(paths, xstrdup(path));
    return EXIT_CODE_OK;
}

/* A path's folder. Malloc'd. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return xstrdup(".");
    }
    return xmemdup0(path, slash > path ? (size_t)(slash - path) : 1);
}

/* What was named, else what stands beside the filter. */
static int find_files(const struct args *args, const struct conf *conf, struct test_paths *paths)
{
    int n = command_n_arguments(args), code = EXIT_CODE_OK;
    for (int i = 0; i < n && code == EXIT_CODE_OK; i++) {
        code = add_named(paths, command_argument(args, i));
    }
    if (n == 0) {
        char *folder = folder_of(conf->worker.filter);
        code = add_folder(paths, folder);
        free(folder);
    }
    return code;
}

/* ---- running them ---- */

/*
 * The tests may read beside their file as the filter may beside its own. A folder whose name the
 * option cannot hold stays closed to them.
 */
static char *paths_with_folder(const char *read_paths, const char *path)
{
    char real[PATH_MAX];
    char *folder = folder_of(path);
    char *both = NULL;
    if (realpath(folder, real) != NULL && strchr(real, ':') == NULL) {
        both = xasprintf("%s%s%s", read_paths, read_paths[0] != 0 ? ":" : "", real);
    }
    free(folder);
    return both != NULL ? both : xstrdup(read_paths);
}

static void tell(const struct args *args, const char *path, const json_t *test, json_t *outcome,
    struct test_sum *sum)
{
    json_t *error = json_object_get(outcome, "error");
    bool ok = !json_is_string(error);
    json_t *name = json_object_get(test, "name"), *line = json_object_get(test, "line");
    json_t *result = json_pack("{s:o, s:O?, s:O?, s:b, s:O?, s:O}", "file",
        render_json_text(slice_text(path)), "test", name, "line", line, "ok", ok, "error", error,
        "log", json_object_get(outcome, "log"));
    test_print(stdout, result, args_has(args, ARG_JSON));
    fflush(stdout); /* the next one may take long */
    json_decref(result);
    sum->passed += ok;
    sum->failed += !ok;
}

static void run_file(
    const struct args *args, struct conf *conf, const char *path, struct test_sum *sum)
{
    char *kept = conf->worker.read_paths;
    struct test_file file = {conf, path};
    size_t i;
    json_t *test;
    conf->worker.read_paths = paths_with_folder(kept, path);
    json_t *list = test_list(&file);
    if (json_is_string(json_object_get(list, "error"))) {
        tell(args, path, NULL, list, sum);
    }
    json_array_foreach(json_object_get(list, "tests"), i, test)
    {
        json_t *outcome = test_run(&file, render_text_of(test, "name"));
        tell(args, path, test, outcome, sum);
        json_decref(outcome);
    }
    json_decref(list);
    free(conf->worker.read_paths);
    conf->worker.read_paths = kept;
}

static int run_all(const struct args *args, struct conf *conf, const struct test_paths *paths)
{
    struct test_sum sum = {0};
    for (size_t i = 0; i < paths->n; i++) {
        run_file(args, conf, paths->items[i], &sum);
    }
    if (sum.passed + sum.failed == 0) {
        fprintf(stderr, "posternctl: no test found: %s\n",
            paths->n > 0 ? "a test is a global function whose name begins with test_"
                         : "tests stand in files whose name ends in " TEST_SUFFIX
                           ", beside the filter or where the command line says");
        return EXIT_CODE_FOUND;
    }
    test_print_sum(stdout, &sum, args_has(args, ARG_JSON));
    return sum.failed > 0 ? EXIT_CODE_FOUND : EXIT_CODE_OK;
}

int command_test(const struct args *args)
{
    struct test_paths paths = {0};
    const char *filter = args_get(args, ARG_FILTER);
    struct conf *conf = server_conf(args, true);
    if (conf == NULL) {
        return EXIT_CODE_USAGE;
    }
    if (filter != NULL) {
        free(conf->worker.filter);
        conf->worker.filter = xstrdup(filter);
    }
    int code = access(conf->worker.filter, R_OK) < 0 ? fail_to_read(conf->worker.filter)
                                                     : find_files(args, conf, &paths);
    if (code == EXIT_CODE_OK) {
        code = run_all(args, conf, &paths);
    }
    paths_clear(&paths);
    conf_free(conf);
    return code;
}
