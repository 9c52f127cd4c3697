/*
 * postern-multiplexor: options, configuration, log, sockets, privileges, limits, loop. What it does
 * is in mux.c.
 */
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/conf.h"
#include "common/err.h"
#include "common/log.h"
#include "common/proc.h"
#include "common/sock.h"
#include "common/version.h"
#include "common/xalloc.h"
#include "multiplexor/mux.h"

enum {
    BACKLOG = 1024,
    METRICS_BACKLOG = 16,
};

static const char *const sections[] = {"multiplexor", "worker", "metrics", "log", NULL};
static const struct program program = {
    .name = "postern-multiplexor",
    .summary = "the pool of workers that run the filter",
    .sections = sections,
    .default_conf = "/etc/postern/postern.conf",
};

/* The uid that we shall become, so that the sockets are its already. (uid_t)-1: we stay who we are.
 */
static uid_t future_uid(const struct conf *conf)
{
    if (conf->multiplexor.user[0] == '\0')
        return (uid_t)-1;
    const struct passwd *user = getpwnam(conf->multiplexor.user);
    if (user == NULL)
        log_fatal(EXIT_CODE_USAGE, "multiplexor.user: no user %s", conf->multiplexor.user);
    return user->pw_uid;
}

static int listen_at(const char *path, const struct sock_listen_options *options)
{
    struct sock_spec spec = {.kind = SOCK_KIND_UNIX};
    int fd;
    if (strlen(path) > SOCK_PATH_MAX)
        log_fatal(EXIT_CODE_USAGE, "socket path %s is too long", path);
    strcpy(spec.path, path);
    int err = sock_listen(&spec, options, &fd);
    if (err == -ERR_IN_USE)
        log_fatal(EXIT_CODE_SYSTEM, "%s: another process answers on it", path);
    if (err != 0)
        log_fatal(EXIT_CODE_SYSTEM, "%s: cannot listen: %s", path, err_text(err));
    return fd;
}

/* Where a collector asks; anyone may connect to a path who may reach it. */
static void listen_for_metrics(const struct conf *conf, struct mux_sockets *out)
{
    struct sock_spec spec;
    struct sock_listen_options options = {.type = SOCK_STREAM,
        .mode = 0666,
        .gid = (gid_t)-1,
        .uid = future_uid(conf),
        .backlog = METRICS_BACKLOG};
    char text[SOCK_PATH_MAX + 300];
    out->metrics = -1;
    if (conf->metrics.listen[0] == '\0')
        return;
    if (sock_spec_from_text(conf->metrics.listen, &spec) != 0)
        log_fatal(EXIT_CODE_USAGE, "metrics.listen: %s is no socket", conf->metrics.listen);
    int err = sock_listen(&spec, &options, &out->metrics);
    if (err != 0)
        log_fatal(EXIT_CODE_SYSTEM, "metrics.listen: cannot listen at %s: %s", conf->metrics.listen,
            err_text(err));
    out->is_metrics_inet = spec.kind == SOCK_KIND_INET || spec.kind == SOCK_KIND_INET6;
    sock_spec_to_text(&spec, out->metrics, text, sizeof(text));
    log_info("metrics on %s", text);
}

/* Where mail servers look keys up. */
static void listen_for_maps(const struct conf *conf, struct mux_sockets *out)
{
    struct sock_listen_options options = {.type = SOCK_STREAM,
        .mode = (mode_t)conf->multiplexor.map_socket_mode,
        .gid = (gid_t)-1,
        .uid = future_uid(conf),
        .backlog = BACKLOG};
    out->maps = -1;
    if (conf->multiplexor.map_socket[0] == '\0')
        return;
    if (conf->multiplexor.map_socket_group[0] != '\0' &&
        proc_group_id(conf->multiplexor.map_socket_group, &options.gid) != 0)
        log_fatal(EXIT_CODE_USAGE, "multiplexor.map_socket_group: no group %s",
            conf->multiplexor.map_socket_group);
    out->maps = listen_at(conf->multiplexor.map_socket, &options);
}

static void open_sockets(const struct conf *conf, struct mux_sockets *out)
{
    struct sock_listen_options options = {.type = SOCK_SEQPACKET,
        .mode = 0600,
        .gid = (gid_t)-1,
        .uid = future_uid(conf),
        .backlog = BACKLOG};
    *out = (struct mux_sockets){.control_gid = (gid_t)-1};
    if (conf->multiplexor.control_group[0] != '\0' &&
        proc_group_id(conf->multiplexor.control_group, &out->control_gid) != 0)
        log_fatal(EXIT_CODE_USAGE, "multiplexor.control_group: no group %s",
            conf->multiplexor.control_group);
    out->records = listen_at(conf->multiplexor.socket, &options);
    options.type = SOCK_STREAM;
    if (out->control_gid != (gid_t)-1) {
        options.mode = 0660;
        options.gid = out->control_gid;
    }
    out->control = listen_at(conf->multiplexor.control_socket, &options);
    listen_for_metrics(conf, out);
    listen_for_maps(conf, out);
}

/* Room for every client with a request in flight and for every worker; fewer clients when the
 * system gives less. */
static unsigned limit_clients(const struct conf *conf)
{
    size_t others =
        PROC_MUX_FDS_OTHER + PROC_MUX_FDS_PER_WORKER * (size_t)conf->multiplexor.max_workers;
    size_t wanted = PROC_MUX_FDS_PER_CLIENT * (size_t)conf->multiplexor.max_clients + others;
    size_t limit = proc_raise_fd_limit(wanted);
    if (limit >= wanted)
        return (unsigned)conf->multiplexor.max_clients;
    size_t n =
        limit > others + PROC_MUX_FDS_PER_CLIENT ? (limit - others) / PROC_MUX_FDS_PER_CLIENT : 1;
    log_warn("only %zu descriptors: %zu clients instead of %lld", limit, n,
        (long long)conf->multiplexor.max_clients);
    return (unsigned)n;
}

static char *find_worker_program(const struct conf *conf)
{
    char folder[4096];
    if (conf->multiplexor.worker_program[0] != '\0')
        return xstrdup(conf->multiplexor.worker_program);
    if (proc_program_dir(folder, sizeof(folder)) != 0)
        log_fatal(EXIT_CODE_SYSTEM, "cannot find our own folder; set multiplexor.worker_program");
    return xasprintf("%s/postern-worker", folder);
}

int main(int argc, char **argv)
{
    int rest;
    struct conf *conf = conf_from_args(&program, argc, argv, &rest);
    struct mux_sockets sockets;
    log_open("multiplexor", conf->log.target, conf->log.facility, conf->log.level);
    log_set_format(conf->log.format);
    char *worker = find_worker_program(conf);
    open_sockets(conf, &sockets);
    sockets.max_clients = limit_clients(conf);
    int err = proc_drop_privileges(conf->multiplexor.user, conf->multiplexor.group);
    if (err != 0)
        log_fatal(
            EXIT_CODE_SYSTEM, "cannot become user %s: %s", conf->multiplexor.user, err_text(err));
    char sandbox[128];
    if (confine_daemon(SYSCALLS_MUX, conf->multiplexor.sandbox, sandbox, sizeof(sandbox)) != 0)
        log_fatal(EXIT_CODE_SYSTEM, "multiplexor.sandbox = required: %s", sandbox);
    log_info("sandbox: %s", sandbox);
    log_info("postern-multiplexor %s: records on %s, control on %s, %lld to %lld workers",
        POSTERN_VERSION, conf->multiplexor.socket, conf->multiplexor.control_socket,
        (long long)conf->multiplexor.min_workers, (long long)conf->multiplexor.max_workers);
    struct mux *mux = mux_new(conf, worker, &sockets);
    if (mux == NULL)
        log_fatal(EXIT_CODE_SYSTEM, "libevent gives no event base");
    mux->sandbox = sandbox;
    free(worker);
    mux_run(mux);
    mux_free(mux);
    return EXIT_CODE_OK;
}
