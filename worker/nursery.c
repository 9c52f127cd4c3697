#include "worker/nursery.h"

#include <jansson.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/note.h"
#include "common/proc.h"
#include "common/sock.h"
#include "common/wire.h"
#include "common/xalloc.h"
#include "worker/mime.h"
#include "worker/sandbox.h"
#include "worker/script.h"
#include "worker/serve.h"

enum { GO_ON = -1, ERROR_TEXT_MAX = 4096, INIT_MIN_MS = 100 };

struct nursery {
    const struct conf *conf;
    struct script *script;
    struct sandbox *sandbox;
    uint32_t generation;
    bool is_shadow;
    int64_t init_ms;   /* what loading left of load_time: for filter_init */
    pid_t multiplexor; /* parent of the nursery and of all workers */
    struct buf out;
    uint8_t *record;
};

/* ---- the fork ---- */

/*
 * A fork whose child is our sibling: the multiplexor, not the nursery, gets SIGCHLD and the exit
 * status, and the child's parent-death signal follows the multiplexor. fork(3) cannot do it. What
 * glibc does around fork is not needed here: there is one thread, so no lock is held by another,
 * and nothing asks for its cached thread id.
 */
static pid_t fork_sibling(void)
{
    return (pid_t)syscall(SYS_clone, (unsigned long)(CLONE_PARENT | SIGCHLD), 0UL, 0UL, 0UL, 0UL);
}

static int send_record(struct nursery *nursery)
{
    return sock_send_record(NURSERY_FD, buf_slice(&nursery->out), NULL, 0, 0);
}

static int send_forked(
    struct nursery *nursery, uint64_t id, uint32_t number, pid_t pid, const char *error)
{
    struct wire_forked forked = {
        .number = number, .pid = pid > 0 ? (uint32_t)pid : 0, .error = slice_text(error)};
    int err = wire_put_forked(&nursery->out, NULL, id, 0, &forked);
    return err != 0 ? err : send_record(nursery);
}

/* In the child. The record socket of the nursery is among what is closed. */
static int become_worker(struct nursery *nursery, int fd, int note_fd)
{
    char name[16];
    if (proc_die_with_parent(SIGKILL, nursery->multiplexor) != 0) {
        return EXIT_CODE_OK; /* the multiplexor died meanwhile: nobody needs us */
    }
    const int keep[] = {fd, sandbox_fd(nursery->sandbox)};
    struct note *note = note_fd >= 0 ? note_open(note_fd) : NULL;
    proc_close_fds_except(keep, sizeof keep / sizeof keep[0]);
    log_reopen_child(nursery->is_shadow ? "shadow" : "worker");
    snprintf(name, sizeof name, "postern-w%u", nursery->generation);
    prctl(PR_SET_NAME, name, 0, 0, 0);
    if (sandbox_enter_worker(nursery->sandbox) != 0) {
        log_error("sandbox: %s", err_text(-ERR_SYSTEM));
        return EXIT_CODE_SYSTEM;
    }
    script_after_fork(nursery->script);
    script_note_set(nursery->script, note);
    if (!nursery->is_shadow) {
        script_do_deeds(nursery->script);
    }
    return serve_run(nursery->conf, nursery->script, fd, nursery->generation, nursery->init_ms);
}

static int fork_worker(struct nursery *nursery, uint64_t id, uint32_t number, int fd, int note_fd)
{
    int n_threads = proc_thread_count();
    if (n_threads != 1) {
        log_error("the nursery has %d threads, which a fork would lose: a module that the filter "
                  "loads starts them; start them in filter_init",
            n_threads);
        return send_forked(nursery, id, number, 0, "the filter's top level started threads");
    }
    pid_t pid = fork_sibling();
    if (pid == 0) {
        proc_exit(become_worker(nursery, fd, note_fd));
    }
    if (pid < 0) {
        const char *error = err_text(-ERR_SYSTEM);
        log_error("fork: %s", error);
        return send_forked(nursery, id, number, 0, error);
    }
    return send_forked(nursery, id, number, pid, "");
}

/* ---- the start ---- */

static int send_loaded(struct nursery *nursery, const char *sandbox, const char *error)
{
    struct wire_loaded loaded = {.is_ok = nursery->script != NULL,
        .hooks = nursery->script != NULL ? script_hooks(nursery->script) : 0,
        .sandbox = slice_text(sandbox),
        .error = slice_text(error)};
    loaded.error.len = loaded.error.len < ERROR_TEXT_MAX ? loaded.error.len : ERROR_TEXT_MAX;
    int err = wire_put_loaded(&nursery->out, NULL, 0, 0, &loaded);
    return err != 0 ? err : send_record(nursery);
}

/* It will fail when it comes to it, which a reload should not leave to the mail to find out.
 * Malloc'd; NULL: nothing to say. */
static char *warn_of_options(const struct nursery *nursery)
{
    const char *filter = nursery->conf->worker.filter;
    int line = script_method_line(nursery->script, "filter_through");
    const char *module = script_offline(nursery->script);
    char *text = NULL;
    if (line > 0 && !nursery->conf->worker.allow_exec) {
        text = xasprintf(
            "%s:%d: part:filter_through starts a program; worker.allow_exec = no forbids it",
            filter, line);
    } else if (module != NULL) {
        text = xasprintf(
            "%s: %s asks over the network; worker.allow_network = no forbids it", filter, module);
    }
    if (text != NULL) {
        log_warn("%s", text);
    }
    return text;
}

/* The sandbox comes before the filter's first line. */
static int load(struct nursery *nursery)
{
    char sandbox[256] = "";
    char *error = NULL;
    int64_t load_ms = nursery->conf->multiplexor.load_time;
    int64_t start_ms = clock_now_ms();
    if (sandbox_enter_nursery(nursery->conf, sandbox, sizeof sandbox, &nursery->sandbox) != 0) {
        log_error("sandbox: %s", sandbox);
        send_loaded(nursery, "", sandbox);
        return EXIT_CODE_SYSTEM;
    }
    mime_start();
    if (script_new(
            nursery->conf, nursery->conf->worker.filter, load_ms, &nursery->script, &error) != 0) {
        log_error("the filter does not load: %s", error);
    } else {
        script_note_watch(nursery->script);
        if (script_mentions(nursery->script, "detected_type"))
            mime_magic_start();
        error = warn_of_options(nursery);
    }
    int64_t left_ms = load_ms - (clock_now_ms() - start_ms);
    nursery->init_ms = left_ms > INIT_MIN_MS ? left_ms : INIT_MIN_MS;
    int err = send_loaded(nursery, sandbox, error);
    free(error);
    if (err != 0) {
        return EXIT_CODE_SYSTEM;
    }
    return nursery->script != NULL ? GO_ON : EXIT_CODE_FOUND;
}

/* ---- the loop ---- */

static int take_fork(struct nursery *nursery, const struct wire_header *header, size_t len,
    struct sock_received *received)
{
    struct wire_fork fork_record;
    int err = wire_get_fork(slice_of(nursery->record, len), slice_of(NULL, 0), &fork_record);
    int index = wire_fd_index(header, WIRE_SOCKET);
    int note = wire_fd_index(header, WIRE_NOTE);
    if (err != 0 || index < 0) {
        return -ERR_BAD;
    }
    return fork_worker(nursery, header->id, fork_record.number, received->fds[index],
        note >= 0 ? received->fds[note] : -1);
}

static int take_record(struct nursery *nursery)
{
    struct sock_received received = {.n_fds = 0};
    struct wire_header header;
    int err = sock_recv_record(NURSERY_FD, nursery->record, WIRE_RECORD_MAX, &received, 0);
    if (err == 0) {
        err = wire_get_header(
            slice_of(nursery->record, received.len), ROLE_MULTIPLEXOR, received.n_fds, &header);
        if (err == 0 && header.type == WIRE_QUIT) {
            sock_close_fds(&received);
            return EXIT_CODE_OK;
        }
        if (err == 0) {
            err = header.type == WIRE_FORK ? take_fork(nursery, &header, received.len, &received)
                                           : -ERR_BAD;
        }
        sock_close_fds(&received);
    }
    if (err == 0) {
        return GO_ON;
    }
    if (err == -ERR_PEER) {
        return EXIT_CODE_OK;
    }
    log_error("record of the multiplexor: %s; ending", err_text(err));
    return EXIT_CODE_PROTOCOL;
}

/*
 * A signal to the whole group or service (Ctrl-C, a stop of the unit) is for the multiplexor: it
 * lets running requests end, and then ends us. Workers inherit this.
 */
static void ignore_group_signals(void)
{
    static const int ignored[] = {SIGINT, SIGHUP, SIGTERM, SIGPIPE};
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++) {
        signal(ignored[i], SIG_IGN);
    }
}

int nursery_run(const struct conf *conf, uint32_t generation, bool is_shadow)
{
    struct nursery nursery = {.conf = conf,
        .generation = generation,
        .is_shadow = is_shadow,
        .multiplexor = getppid(),
        .record = xmalloc(WIRE_RECORD_MAX)};
    buf_init(&nursery.out, WIRE_RECORD_MAX);
    json_set_alloc_funcs(xmalloc, free); /* half an object must not look like a whole one */
    ignore_group_signals();
    int err = proc_die_with_parent(SIGKILL, nursery.multiplexor);
    err = err != 0 ? err : serve_greet(NURSERY_FD, ROLE_NURSERY, generation);
    int code = GO_ON;
    if (err != 0) {
        code = err == -ERR_PEER ? EXIT_CODE_OK : EXIT_CODE_PROTOCOL;
    }
    code = code == GO_ON ? load(&nursery) : code;
    while (code == GO_ON) {
        code = take_record(&nursery);
    }
    script_free(nursery.script);
    sandbox_free(nursery.sandbox);
    buf_clear(&nursery.out);
    free(nursery.record);
    return code;
}
