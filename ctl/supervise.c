#include "ctl/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"
#include "common/log.h"
#include "common/proc.h"

void supervise_init(struct supervised *child, const char *name, char **argv, int64_t now_ms)
{
    *child = (struct supervised){.name = name,
        .argv = argv,
        .stderr_fd = -1,
        .restart_ms = now_ms,
        .pause_ms = SUPERVISE_PAUSE_MIN_MS};
    buf_init(&child->line, SUPERVISE_LINE_MAX);
}

void supervise_clear(struct supervised *child)
{
    if (child->stderr_fd >= 0) {
        close(child->stderr_fd);
    }
    for (int i = 0; child->argv != NULL && child->argv[i] != NULL; i++) {
        free(child->argv[i]);
    }
    free(child->argv);
    buf_clear(&child->line);
    *child = (struct supervised){.stderr_fd = -1};
}

static _Noreturn void run_child(const struct supervised *child, int stderr_fd, pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    setpgid(0, 0); /* so that Ctrl-C reaches us alone, and we end it in order */
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(stderr_fd, STDOUT_FILENO) < 0 ||
        dup2(stderr_fd, STDERR_FILENO) < 0 || proc_die_with_parent(SIGTERM, parent) < 0) {
        _exit(EXIT_CODE_SYSTEM);
    }
    proc_close_fds_except(NULL, 0);
    execv(child->argv[0], child->argv);
    dprintf(STDERR_FILENO, "posternctl: cannot start %s: %s\n", child->argv[0], strerror(errno));
    _exit(EXIT_CODE_SYSTEM);
}

static void plan_restart(struct supervised *child, int64_t now_ms)
{
    bool was_steady = now_ms - child->started_ms >= SUPERVISE_STEADY_MS;
    if (was_steady) {
        child->pause_ms = SUPERVISE_PAUSE_MIN_MS;
    }
    child->restart_ms = now_ms + child->pause_ms;
    child->pause_ms *= 2;
    if (child->pause_ms > SUPERVISE_PAUSE_MAX_MS) {
        child->pause_ms = SUPERVISE_PAUSE_MAX_MS;
    }
}

int supervise_start(struct supervised *child, int64_t now_ms)
{
    int ends[2];
    if (child->pid != 0 || child->restart_ms == 0 || now_ms < child->restart_ms) {
        return -ERR_AGAIN;
    }
    child->restart_ms = 0;
    child->started_ms = now_ms;
    if (pipe2(ends, O_CLOEXEC) < 0) {
        plan_restart(child, now_ms);
        return -ERR_SYSTEM;
    }
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        run_child(child, ends[1], parent);
    }
    int saved = errno;
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        plan_restart(child, now_ms);
        errno = saved;
        return -ERR_SYSTEM;
    }
    setpgid(pid, pid); /* here too: whichever comes first */
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    if (child->stderr_fd >= 0) {
        close(child->stderr_fd);
    }
    child->stderr_fd = ends[0];
    child->pid = pid;
    child->n_starts++;
    buf_reset(&child->line);
    return 0;
}

int64_t supervise_due_ms(const struct supervised *child, int64_t now_ms)
{
    if (child->pid != 0 || child->restart_ms == 0) {
        return -1;
    }
    return child->restart_ms > now_ms ? child->restart_ms - now_ms : 0;
}

/* Hands on each whole line; one that is too long is cut. */
static void take_bytes(
    struct supervised *child, const char *data, size_t len, supervise_line_cb cb, void *context)
{
    while (len > 0) {
        const char *end = memchr(data, '\n', len);
        size_t n = end != NULL ? (size_t)(end - data) : len;
        size_t room = SUPERVISE_LINE_MAX - child->line.len;
        (void)buf_put(&child->line, data, n < room ? n : room);
        if (end != NULL) {
            cb(child->name, buf_slice(&child->line), context);
            buf_reset(&child->line);
            n++;
        }
        data += n;
        len -= n;
    }
}

void supervise_read(struct supervised *child, supervise_line_cb cb, void *context)
{
    char chunk[8192];
    ssize_t n;
    while (child->stderr_fd >= 0 && (n = read(child->stderr_fd, chunk, sizeof(chunk))) != 0) {
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return;
        }
        take_bytes(child, chunk, (size_t)n, cb, context);
    }
    if (child->stderr_fd >= 0) {
        close(child->stderr_fd);
        child->stderr_fd = -1;
    }
}

bool supervise_ended(struct supervised *child, pid_t pid, int64_t now_ms)
{
    if (child->pid != pid) {
        return false;
    }
    kill(-pid, SIGKILL); /* what it started and left behind */
    child->pid = 0;
    plan_restart(child, now_ms);
    return true;
}

void supervise_stop(struct supervised *child, bool hard)
{
    if (child->pid != 0) {
        kill(hard ? -child->pid : child->pid, hard ? SIGKILL : SIGTERM);
    }
    child->restart_ms = 0;
}
