/* postern-milterd: what the MTA talks to. Wiring only. */
#include <libmilter/mfapi.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/conf.h"
#include "common/err.h"
#include "common/log.h"
#include "common/proc.h"
#include "milterd/callbacks.h"
#include "milterd/front.h"
#include "milterd/generation.h"
#include "milterd/listen.h"
#include "milterd/mux_client.h"
#include "milterd/poison_store.h"
#include "milterd/session.h"
#include "milterd/stop.h"
#include "milterd/trace.h"
#include "milterd/watch.h"

enum {
    COMMAND_TIME_MAX_MS = 300000, /* for the rest of a command that has begun */
};

static struct front front;
static struct listener listener;
static char sandbox[128]; /* what is in force; for the watch, too */

static void check(int rc, const char *what)
{
    if (rc != 0)
        log_fatal(EXIT_CODE_SYSTEM, "%s: %s", what, err_text(rc));
}

/* libmilter's loop spins when it runs out of descriptors: accept fewer connections than could bring
 * that about. */
static int bound_connections(const struct conf *conf)
{
    int64_t wanted = conf->milterd.max_connections;
    size_t limit =
        proc_raise_fd_limit((size_t)wanted * PROC_MILTERD_FDS_EACH + PROC_MILTERD_FDS_RESERVE);
    int64_t possible = limit > PROC_MILTERD_FDS_RESERVE
                           ? (int64_t)(limit - PROC_MILTERD_FDS_RESERVE) / PROC_MILTERD_FDS_EACH
                           : 0;

    if (possible < 1)
        log_fatal(EXIT_CODE_SYSTEM, "%zu descriptors are too few", limit);
    if (possible >= wanted)
        return (int)wanted;
    log_warn("%zu descriptors are enough for %d connections only", limit, (int)possible);
    return (int)possible;
}

static void set_up_library(const struct conf *conf)
{
    int64_t command_ms = conf->milterd.idle_time < COMMAND_TIME_MAX_MS ? conf->milterd.idle_time
                                                                       : COMMAND_TIME_MAX_MS;

    check(callbacks_register(&front), "registering with libmilter");
    (void)smfi_settimeout((int)(command_ms / 1000 > 0 ? command_ms / 1000 : 1));
}

static void confine(const struct conf *conf)
{
    if (confine_daemon(SYSCALLS_MILTERD, conf->milterd.sandbox, sandbox, sizeof sandbox) != 0)
        log_fatal(EXIT_CODE_SYSTEM, "milterd.sandbox = required: %s", sandbox);
    log_info("sandbox: %s", sandbox);
}

static void on_ready(void *context)
{
    (void)context;
    log_info("listening on %s", listener.text);
    proc_notify("READY=1");
}

static void start_threads(const struct conf *conf)
{
    size_t stack = (size_t)conf->milterd.thread_stack;

    check(watch_start(conf, front.generations, &front.counters, sandbox, stack, &front.watch),
        "starting a thread");
    check(stop_start(&front, &listener), "starting a thread");
}

int main(int argc, char **argv)
{
    static const char *const sections[] = {"milterd", "trace", "log", NULL};
    static const struct program program = {
        .name = "postern-milterd",
        .summary = "the front end of Postern: speaks the milter protocol with sendmail and Postfix",
        .sections = sections,
        .default_conf = "/etc/postern/postern.conf",
    };
    struct conf *conf = conf_from_args(&program, argc, argv, NULL);
    struct session_options session = {.front = &front, .on_ready = on_ready};
    struct mux *mux;

    log_open("milterd", conf->log.target, conf->log.facility, conf->log.level);
    log_set_format(conf->log.format);
    stop_block_signals();
    listener_open(&listener, conf);
    check(proc_drop_privileges(conf->milterd.user, conf->milterd.group), "milterd.user");
    mux = mux_new(conf->multiplexor.socket, conf->milterd.reconnect_time);
    front_init(&front, conf, mux_asker(mux), generations_new());
    front.ring = trace_open(conf);
    front.max_connections = bound_connections(conf);
    set_up_library(conf);
    confine(conf);
    front.poison = poison_store_new(conf);
    session.listen_fd = listener.fd;
    session.allow = &conf->milterd.allow;
    check(session_prepare(&session), "preparing the listener");
    start_threads(conf);
    (void)smfi_main();
    /* It only returns when its loop failed; while we drain, the other thread ends the process. */
    while (atomic_load(&front.is_draining))
        pause();
    log_fatal(EXIT_CODE_SYSTEM, "libmilter's loop has ended");
}
