/* The process of the tests, and the text that its output becomes. */
#include "multiplexor/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/proc.h"
#include "common/text.h"
#include "common/xalloc.h"
#include "multiplexor/child.h"
#include "multiplexor/loop.h"
#include "multiplexor/mux.h"
#include "multiplexor/spawn.h"

enum { GUARD_NICE = 10, READS_MAX = 16 };

/* ---- what it prints ---- */

/* Only the last of it is kept. */
static void keep(struct guard *guard, const char *bytes, size_t n)
{
    if (n > sizeof(guard->output)) {
        bytes += n - sizeof(guard->output);
        n = sizeof(guard->output);
    }
    size_t room = sizeof(guard->output) - guard->len;
    size_t dropped = n > room ? n - room : 0;
    memmove(guard->output, guard->output + dropped, guard->len - dropped);
    guard->len -= dropped;
    memcpy(guard->output + guard->len, bytes, n);
    guard->len += n;
}

/* Takes what has come. False at the end of it. */
static bool take_output(struct guard *guard)
{
    char piece[4096];
    for (int i = 0; i < READS_MAX; i++) {
        ssize_t n = read(guard->fd, piece, sizeof(piece));
        if (n <= 0)
            return n < 0 && (errno == EAGAIN || errno == EINTR);
        keep(guard, piece, (size_t)n);
    }
    return true;
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct mux *mux = context;
    if (!take_output(&mux->guard))
        event_del(&mux->guard.readable); /* its exit is still to come */
}

/* A line, or nothing where it tells of a test that passed. */
static size_t put_line(char *out, size_t out_bytes, struct slice line)
{
    while (line.len > 0 && line.data[0] == ' ')
        line = slice_of(line.data + 1, line.len - 1);
    if (line.len == 0 || (line.len > 3 && memcmp(line.data, "ok ", 3) == 0))
        return 0;
    return text_escape_controls(out, out_bytes, line);
}

/* What it printed as one line, without the tests that passed: the last of it that there is room
 * for. */
static void output_text(const struct guard *guard, char *out, size_t out_bytes)
{
    char *all = xmalloc(4 * sizeof(guard->output) + 1); /* every byte escaped */
    size_t len = 0;
    for (size_t at = 0; at < guard->len;) {
        const char *line = guard->output + at;
        const char *end = memchr(line, '\n', guard->len - at);
        size_t n = end != NULL ? (size_t)(end - line) : guard->len - at;
        size_t room = 4 * sizeof(guard->output) + 1 - len;
        size_t joint = len > 0 && room > 2 ? 2 : 0;
        size_t put = put_line(all + len + joint, room - joint, slice_of(line, n));
        if (put > 0) {
            memcpy(all + len, "; ", joint);
            len += joint + put;
        }
        at += n + 1;
    }
    size_t skipped = len >= out_bytes ? len - out_bytes + 1 : 0;
    while (skipped > 0 && skipped < len && ((unsigned char)all[skipped] & 0xc0) == 0x80)
        skipped++; /* no half character */
    snprintf(out, out_bytes, "%.*s", (int)(len - skipped), all + skipped);
    free(all);
}

/* ---- the process ---- */

void guard_init(struct mux *mux)
{
    mux->guard.fd = -1;
}

bool guard_is_running(const struct mux *mux)
{
    return mux->guard.pid > 0;
}

static void kill_all(const struct guard *guard)
{
    (void)kill(-guard->pid, SIGKILL); /* fails when it has not made its group yet */
    if (kill(guard->pid, SIGKILL) != 0)
        log_warn("tests %d: kill: %s", (int)guard->pid, strerror(errno));
}

void guard_give_up(struct mux *mux, const char *why)
{
    struct guard *guard = &mux->guard;
    if (guard->pid <= 0 || guard->refusal != NULL)
        return;
    guard->refusal = why;
    kill_all(guard);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    guard_give_up(context, "the filter's tests did not end within load_time");
}

static void forget_process(struct guard *guard)
{
    event_del(&guard->readable);
    event_del(&guard->timer);
    close(guard->fd);
    guard->fd = -1;
    guard->pid = 0;
}

void guard_clear(struct mux *mux)
{
    struct guard *guard = &mux->guard;
    if (guard->pid > 0) {
        kill_all(guard);
        forget_process(guard);
    }
    conf_free(guard->conf);
    guard->conf = NULL;
}

/* Beside our own program, or in the folder of programs for everybody when ours is that of daemons.
 * Malloc'd; NULL: it is not there. */
static char *find_program(void)
{
    static const char *const places[] = {"", "/../bin"};
    char folder[4096];
    if (proc_program_dir(folder, sizeof(folder)) != 0)
        return NULL;
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        char *path = xasprintf("%s%s/posternctl", folder, places[i]);
        if (access(path, X_OK) == 0)
            return path;
        free(path);
    }
    return NULL;
}

/* In the child: never returns. */
static _Noreturn void become_tests(char **arguments, int fd, pid_t parent)
{
    spawn_begin(parent);
    (void)setpriority(
        PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + GUARD_NICE); /* mail goes first */
    if (dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0)
        _exit(EXIT_CODE_SYSTEM);
    spawn_finish(NULL, 0);
    execv(arguments[0], arguments);
    dprintf(STDERR_FILENO, "cannot run %s: %s\n", arguments[0], strerror(errno));
    _exit(EXIT_CODE_SYSTEM);
}

/* 0 and the process, with *fd_out what it prints; -ERR_SYSTEM. */
static int start(const char *program, const struct conf *conf, pid_t *pid_out, int *fd_out)
{
    int ends[2];
    const char *const more[] = {"--filter", conf->worker.filter, NULL};
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -ERR_SYSTEM;
    if (fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0) {
        close(ends[0]);
        close(ends[1]);
        return -ERR_SYSTEM;
    }
    char **arguments = spawn_arguments(program, "test", conf, more);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        become_tests(arguments, ends[1], parent);
    int error = errno;
    free(arguments);
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        errno = error;
        return -ERR_SYSTEM;
    }
    *pid_out = pid;
    *fd_out = ends[0];
    return 0;
}

/* The conf goes on to the load, or is given up; error NULL: they have passed. */
static void tell(struct mux *mux, const char *error)
{
    struct conf *conf = mux->guard.conf;
    mux->guard.conf = NULL;
    reload_on_tested(mux, conf, error);
}

static void watch(struct mux *mux)
{
    struct guard *guard = &mux->guard;
    int64_t limit_ms = guard->conf->multiplexor.load_time;
    guard->refusal = NULL;
    guard->len = 0;
    guard->started_ms = clock_now_ms();
    event_assign(&guard->readable, mux->base, guard->fd, EV_READ | EV_PERSIST, on_readable, mux);
    evtimer_assign(&guard->timer, mux->base, on_timer, mux);
    loop_add(&guard->readable, NULL);
    loop_add_ms(&guard->timer, limit_ms);
}

void guard_begin(struct mux *mux, struct conf *conf)
{
    struct guard *guard = &mux->guard;
    char why[256];
    guard->conf = conf;
    char *program = find_program();
    if (program == NULL) {
        tell(
            mux, "reload_tests: there is no posternctl beside the multiplexor, and none in ../bin");
        return;
    }
    log_info("the tests of %s run before it is loaded", conf->worker.filter);
    int err = start(program, conf, &guard->pid, &guard->fd);
    free(program);
    if (err != 0) {
        snprintf(why, sizeof(why), "the filter's tests could not be started: %s", err_text(err));
        tell(mux, why);
        return;
    }
    watch(mux);
}

bool guard_on_exit(struct mux *mux, pid_t pid, int status)
{
    struct guard *guard = &mux->guard;
    char how[64], output[GUARD_TEXT_MAX], why[GUARD_TEXT_MAX + 256];
    if (guard->pid <= 0 || pid != guard->pid)
        return false;
    (void)take_output(guard); /* not to its end: what the filter started may hold it open */
    const char *refusal = guard->refusal;
    forget_process(guard);
    if (status == 0 && refusal == NULL) {
        log_info("the filter's tests have passed");
        tell(mux, NULL);
        return true;
    }
    child_status_text(status, how, sizeof(how));
    output_text(guard, output, sizeof(output));
    if (refusal != NULL)
        snprintf(why, sizeof(why), "%s%s%s", refusal, output[0] != '\0' ? ": " : "", output);
    else
        snprintf(why, sizeof(why), "the filter's tests failed (%s): %s", how, output);
    tell(mux, why);
    return true;
}
