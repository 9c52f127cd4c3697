#include "ctl/dev_system.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/conf.h"
#include "common/err.h"
#include "common/log.h"
#include "common/proc.h"
#include "common/sock.h"
#include "common/xalloc.h"

/* What is fixed in a system of our own; those of the command line come after and win. */
enum { N_OWN_SETTINGS = 8, SETTING_MILTER_SOCKET = 3 };

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "posternctl: %s: %s\n", what, why);
    return EXIT_CODE_USAGE;
}

static int find_filter(struct dev_system *system, const char *path)
{
    char *absolute = realpath(path, NULL);
    if (absolute == NULL || access(absolute, R_OK) < 0) {
        int code = fail(path, strerror(errno));
        free(absolute);
        return code;
    }
    free(absolute);
    /* A filter that is a link stays one: what is saved is the name that was given. */
    const char *slash = strrchr(path, '/');
    char *folder = slash == NULL ? xstrdup(".") : xmemdup0(path, (size_t)(slash - path) + 1);
    system->filter_folder = realpath(folder, NULL);
    free(folder);
    if (system->filter_folder == NULL) {
        return fail(path, strerror(errno));
    }
    system->filter_name = xstrdup(slash != NULL ? slash + 1 : path);
    system->filter = xasprintf("%s/%s", system->filter_folder, system->filter_name);
    return EXIT_CODE_OK;
}

static int make_dir(struct dev_system *system, const char *given)
{
    if (given == NULL) {
        const char *tmp = getenv("TMPDIR");
        system->dir =
            xasprintf("%s/postern-dev.XXXXXX", tmp != NULL && tmp[0] == '/' ? tmp : "/tmp");
        system->dir_is_ours = mkdtemp(system->dir) != NULL;
        return system->dir_is_ours ? EXIT_CODE_OK : fail(system->dir, strerror(errno));
    }
    if (mkdir(given, 0755) < 0 && errno != EEXIST) {
        return fail(given, strerror(errno));
    }
    system->dir = realpath(given, NULL);
    if (system->dir == NULL) {
        return fail(given, strerror(errno));
    }
    return EXIT_CODE_OK;
}

static int make_spool(struct dev_system *system)
{
    system->spool = xasprintf("%s/spool", system->dir);
    if (mkdir(system->spool, 0700) < 0 && errno != EEXIST) {
        return fail(system->spool, strerror(errno));
    }
    return EXIT_CODE_OK;
}

static int make_sockets(struct dev_system *system, const char *given)
{
    struct sock_spec spec;
    system->control_socket = xasprintf("%s/control.sock", system->dir);
    system->multiplexor_socket = xasprintf("%s/multiplexor.sock", system->dir);
    system->milter_spec =
        given != NULL ? xstrdup(given) : xasprintf("unix:%s/milter.sock", system->dir);
    if (strlen(system->multiplexor_socket) > SOCK_PATH_MAX) {
        return fail(system->dir, "the path is too long for a socket in it");
    }
    if (sock_spec_from_text(system->milter_spec, &spec) < 0 || spec.kind == SOCK_KIND_FD) {
        return fail(system->milter_spec, "not a socket such as unix:PATH or inet:PORT@HOST");
    }
    return EXIT_CODE_OK;
}

static void make_settings(struct dev_system *system, const struct args *args)
{
    const struct arg_values *given = &args->values[ARG_SET];
    system->settings = xcalloc((size_t)given->n + N_OWN_SETTINGS, sizeof(char *));
    char *own[N_OWN_SETTINGS] = {
        xasprintf("worker.filter=%s", system->filter),
        xasprintf("multiplexor.socket=%s", system->multiplexor_socket),
        xasprintf("multiplexor.control_socket=%s", system->control_socket),
        [SETTING_MILTER_SOCKET] = xasprintf("milterd.socket=%s", system->milter_spec),
        xasprintf("milterd.spool=%s", system->spool),
        xstrdup("log.target=stderr"),
        xstrdup("milterd.drain_time=2s"),
        xstrdup("multiplexor.drain_time=2s"),
    };
    memcpy(system->settings, own, sizeof(own));
    system->n_settings = N_OWN_SETTINGS;
    for (int i = 0; i < given->n; i++) {
        system->settings[system->n_settings++] = xstrdup(given->items[i]);
    }
}

/* The settings as a file: with -c of it, the other commands reach this system. */
static int write_conf(const struct dev_system *system)
{
    FILE *out = fopen(system->conf_path, "we");
    if (out == NULL) {
        return fail(system->conf_path, strerror(errno));
    }
    for (int i = 0; i < system->n_settings; i++) {
        const char *setting = system->settings[i];
        const char *dot = strchr(setting, '.');
        if (dot != NULL) {
            fprintf(out, "[%.*s]\n%s\n", (int)(dot - setting), setting, dot + 1);
        }
    }
    return fclose(out) == 0 ? EXIT_CODE_OK : fail(system->conf_path, strerror(errno));
}

/* Tells about a wrong option before anything is started. */
static int check_settings(const struct dev_system *system, const char *conf_path)
{
    struct conf *conf = NULL;
    char *error = NULL;
    const char **overrides = xcalloc((size_t)system->n_settings, sizeof(char *));
    for (int i = 0; i < system->n_settings; i++) {
        overrides[i] = system->settings[i];
    }
    int rc = conf_load(conf_path, overrides, system->n_settings, &conf, &error);
    int code = rc < 0 ? fail("configuration", error != NULL ? error : err_text(rc)) : EXIT_CODE_OK;
    free(overrides);
    free(error);
    conf_free(conf);
    return code;
}

static int make_conf(struct dev_system *system, const char *given)
{
    int code = check_settings(system, given);
    if (code != EXIT_CODE_OK) {
        return code;
    }
    system->conf_is_ours = given == NULL;
    if (given == NULL) {
        system->conf_path = xasprintf("%s/postern.conf", system->dir);
        return write_conf(system);
    }
    system->conf_path = realpath(given, NULL);
    return system->conf_path != NULL ? EXIT_CODE_OK : fail(given, strerror(errno));
}

static int find_programs(struct dev_system *system)
{
    char dir[PATH_MAX];
    if (proc_program_dir(dir, sizeof(dir)) < 0) {
        return fail("/proc/self/exe", strerror(errno));
    }
    /* Installed, the daemons are in ../sbin. */
    static const char *const places[] = {"", "/../sbin"};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        char *place = xasprintf("%s%s", dir, places[i]);
        char *program = xasprintf("%s/postern-multiplexor", place);
        bool is_there = access(program, X_OK) == 0;
        free(program);
        if (is_there) {
            system->program_dir = place;
            return EXIT_CODE_OK;
        }
        free(place);
    }
    return fail(dir, "postern-multiplexor is neither here nor in ../sbin");
}

int dev_system_open(struct dev_system *system, const struct args *args)
{
    *system = (struct dev_system){0};
    int code = find_filter(system, args->rest.items[1]);
    code = code == EXIT_CODE_OK ? find_programs(system) : code;
    code = code == EXIT_CODE_OK ? make_dir(system, args_get(args, ARG_DIR)) : code;
    code = code == EXIT_CODE_OK ? make_sockets(system, args_get(args, ARG_SOCKET)) : code;
    code = code == EXIT_CODE_OK ? make_spool(system) : code;
    if (code == EXIT_CODE_OK) {
        make_settings(system, args);
        code = make_conf(system, args_get(args, ARG_CONF));
    }
    if (code != EXIT_CODE_OK) {
        dev_system_close(system);
    }
    return code;
}

/* The front end's, and that of the one before; they stand beside the multiplexor's socket. */
static void remove_rings(const struct dev_system *system)
{
    static const char *const suffixes[] = {"", ".old"};
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        char *path = xasprintf("%s/trace%s", system->dir, suffixes[i]);
        unlink(path);
        free(path);
    }
}

static void remove_files(const struct dev_system *system)
{
    struct sock_spec spec;
    if (system->control_socket != NULL) {
        unlink(system->control_socket);
        unlink(system->multiplexor_socket);
        remove_rings(system);
    }
    if (system->milter_spec != NULL && sock_spec_from_text(system->milter_spec, &spec) == 0 &&
        spec.kind == SOCK_KIND_UNIX) {
        unlink(spec.path);
    }
    if (system->conf_is_ours && system->conf_path != NULL) {
        unlink(system->conf_path);
    }
    if (system->spool != NULL) {
        rmdir(system->spool);
    }
    if (system->dir_is_ours) {
        rmdir(system->dir);
    }
}

void dev_system_close(struct dev_system *system)
{
    remove_files(system);
    char *texts[] = {system->filter, system->filter_folder, system->filter_name, system->dir,
        system->conf_path, system->control_socket, system->multiplexor_socket, system->milter_spec,
        system->spool, system->program_dir};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        free(texts[i]);
    }
    for (int i = 0; i < system->n_settings; i++) {
        free(system->settings[i]);
    }
    free(system->settings);
    *system = (struct dev_system){0};
}

char **dev_system_argv(const struct dev_system *system, const char *program)
{
    char **argv = xcalloc(2 * (size_t)system->n_settings + 4, sizeof(char *));
    int n = 0;
    argv[n++] = xasprintf("%s/%s", system->program_dir, program);
    argv[n++] = xstrdup("-c");
    argv[n++] = xstrdup(system->conf_path);
    for (int i = 0; i < system->n_settings; i++) {
        argv[n++] = xstrdup("-o");
        argv[n++] = xstrdup(system->settings[i]);
    }
    return argv;
}

void dev_system_keep_port(struct dev_system *system, char ***argv, const char *spec)
{
    if (strcmp(system->milter_spec, spec) == 0 || system->n_settings == 0) {
        return;
    }
    free(system->milter_spec);
    system->milter_spec = xstrdup(spec);
    free(system->settings[SETTING_MILTER_SOCKET]);
    system->settings[SETTING_MILTER_SOCKET] = xasprintf("milterd.socket=%s", spec);
    for (int i = 0; (*argv)[i] != NULL; i++) {
        free((*argv)[i]);
    }
    free(*argv);
    *argv = dev_system_argv(system, "postern-milterd");
}
