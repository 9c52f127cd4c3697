#include "worker/command.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/proc.h"

enum {
    CHUNK = 65536,
    TICK_MS = 20,      /* between two looks at whether it has ended, where the kernel cannot tell */
    ALARM_EXTRA_S = 2, /* over its time: should we be killed, an alarm ends it all the same */
    EXIT_NOT_STARTED = 127,
};

enum { END_INPUT = 0, END_OUTPUT, END_ERRORS, END_START, END_COUNT };

struct running {
    struct command *command;
    pid_t pid;
    int fds[END_COUNT]; /* our ends; -1: closed */
    int pid_fd;         /* -1: the kernel has none */
    size_t written;
    int start_error; /* errno of an exec that failed */
    bool has_ended;
    bool is_over; /* more output than allowed */
    int status;
};

/* The PATH, and with it all of the environment, that programs get. */
static const char *const command_environment[] = {
    "PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C.UTF-8", "HOME=/", "SHELL=/bin/sh", NULL};

/* ---- pipes ---- */

static void close_end(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void close_all(int *fds, size_t n)
{
    const int error = errno;
    for (size_t i = 0; i < n; i++)
        close_end(&fds[i]);
    errno = error;
}

/* For each, ours and the program's end. Ours do not block. */
static int open_pipes(int ours[END_COUNT], int theirs[END_COUNT])
{
    memset(ours, -1, END_COUNT * sizeof(*ours));
    memset(theirs, -1, END_COUNT * sizeof(*theirs));
    for (int i = 0; i < END_COUNT; i++) {
        int fds[2];
        if (pipe2(fds, O_CLOEXEC) != 0)
            return -ERR_SYSTEM;
        const bool we_write = i == END_INPUT;
        ours[i] = fds[we_write ? 1 : 0];
        theirs[i] = fds[we_write ? 0 : 1];
        if (fcntl(ours[i], F_SETFL, O_NONBLOCK) != 0)
            return -ERR_SYSTEM;
    }
    return 0;
}

/* ---- the program's side ---- */

/* Ours are ignored for the whole family of processes, or blocked; a program expects neither. */
static void reset_signals(void)
{
    static const int ignored[] = {SIGINT, SIGHUP, SIGTERM, SIGPIPE, SIGXFSZ};
    sigset_t none;
    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
        (void)signal(ignored[i], SIG_DFL);
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Above the standard ones, so that none is overwritten before it is in its place. */
static bool move_up(int fds[END_COUNT])
{
    for (int i = 0; i < END_COUNT; i++) {
        fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, END_COUNT + 1);
        if (fds[i] < 0)
            return false;
    }
    return true;
}

static unsigned alarm_secs(int64_t until_ms)
{
    const int64_t left = until_ms - clock_now_ms();
    return (unsigned)((left > 0 ? left : 0) / 1000) + ALARM_EXTRA_S;
}

static void become_program(const struct command *command, int fds[END_COUNT])
{
    if (setpgid(0, 0) == 0 && move_up(fds) && dup2(fds[END_INPUT], STDIN_FILENO) >= 0 &&
        dup2(fds[END_OUTPUT], STDOUT_FILENO) >= 0 && dup2(fds[END_ERRORS], STDERR_FILENO) >= 0 &&
        chdir("/") == 0) {
        const int keep = fds[END_START];
        proc_close_fds_except(&keep, 1);
        reset_signals();
        (void)alarm(alarm_secs(command->until_ms));
        (void)execvpe(command->argv[0], (char *const *)(uintptr_t)command->argv,
            (char *const *)(uintptr_t)command_environment);
    }
    const int error = errno;
    (void)!write(fds[END_START], &error, sizeof(error));
    _exit(EXIT_NOT_STARTED);
}

static int start(struct running *run)
{
    int theirs[END_COUNT];
    if (open_pipes(run->fds, theirs) != 0) {
        close_all(theirs, END_COUNT);
        return -ERR_SYSTEM;
    }
    run->pid = fork();
    if (run->pid == 0)
        become_program(run->command, theirs);
    close_all(theirs, END_COUNT);
    if (run->pid < 0)
        return -ERR_SYSTEM;
    (void)setpgid(run->pid, run->pid); /* whoever comes first; it may have begun already */
    run->pid_fd = (int)syscall(SYS_pidfd_open, run->pid, 0);
    return 0;
}

/* ---- our side ---- */

static void write_input(struct running *run)
{
    const struct slice input = run->command->input;
    while (run->written < input.len) {
        const size_t left = input.len - run->written;
        const ssize_t n =
            write(run->fds[END_INPUT], input.data + run->written, left < CHUNK ? left : CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) /* it has closed its end, and need not read all */
            break;
        run->written += (size_t)n;
    }
    close_end(&run->fds[END_INPUT]);
}

static void take_output(struct running *run, const char *bytes, size_t n)
{
    if (!run->is_over && buf_put(&run->command->output, bytes, n) != 0)
        run->is_over = true;
}

/* What is over the bound is read and thrown away, so that it does not block for it. */
static void take_errors(struct running *run, const char *bytes, size_t n)
{
    struct command *command = run->command;
    const size_t room = sizeof(command->errors) - command->n_errors;
    n = n < room ? n : room;
    memcpy(command->errors + command->n_errors, bytes, n);
    command->n_errors += n;
}

static void take_start(struct running *run, const char *bytes, size_t n)
{
    if (n >= sizeof(run->start_error))
        memcpy(&run->start_error, bytes, sizeof(run->start_error));
}

/* All there is now. */
static void read_end(struct running *run, int end)
{
    static void (*const take[END_COUNT])(struct running *, const char *, size_t) = {
        [END_OUTPUT] = take_output, [END_ERRORS] = take_errors, [END_START] = take_start};
    char chunk[CHUNK];
    while (!run->is_over && run->fds[end] >= 0) {
        const ssize_t n = read(run->fds[end], chunk, sizeof(chunk));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0)
            close_end(&run->fds[end]);
        else
            take[end](run, chunk, (size_t)n);
        if (clock_now_ms() >= run->command->until_ms)
            return;
    }
}

/* Its status stays, and with it its number, which is that of its group too. */
static void look_whether_ended(struct running *run)
{
    siginfo_t info = {.si_pid = 0};
    const int rc = waitid(P_PID, (id_t)run->pid, &info, WEXITED | WNOHANG | WNOWAIT);
    run->has_ended = rc == 0 && info.si_pid == run->pid;
}

static int poll_ms(const struct running *run)
{
    const int64_t left = run->command->until_ms - clock_now_ms();
    const int64_t most = run->pid_fd >= 0 ? INT_MAX : TICK_MS;
    return left <= 0 ? 0 : (int)(left < most ? left : most);
}

/* One round. Closed descriptors are -1, which poll passes over. */
static void serve(struct running *run)
{
    struct pollfd pfds[END_COUNT + 1];
    for (int i = 0; i < END_COUNT; i++)
        pfds[i] = (struct pollfd){run->fds[i], i == END_INPUT ? POLLOUT : POLLIN, 0};
    pfds[END_COUNT] = (struct pollfd){run->pid_fd, POLLIN, 0};
    if (poll(pfds, END_COUNT + 1, poll_ms(run)) < 0)
        return; /* a signal, and the next round */
    if (pfds[END_INPUT].revents != 0)
        write_input(run);
    for (int i = END_OUTPUT; i < END_COUNT; i++) {
        if (pfds[i].revents != 0)
            read_end(run, i);
    }
    look_whether_ended(run);
}

/* What it left in the pipes; programs of its own that still hold them are not waited for. */
static void drain(struct running *run)
{
    for (int i = END_OUTPUT; i < END_COUNT; i++)
        read_end(run, i);
}

/* Also what it has started, unless that went into a group of its own. */
static void end(struct running *run)
{
    (void)kill(-run->pid, SIGKILL);
    (void)kill(run->pid, SIGKILL);
    while (waitpid(run->pid, &run->status, 0) < 0 && errno == EINTR)
        ;
    close_all(run->fds, END_COUNT);
    close_end(&run->pid_fd);
}

static const char *status_text(const struct running *run, struct arena *arena)
{
    if (run->start_error != 0)
        return arena_printf(arena, "not started: %s", strerror(run->start_error));
    if (run->is_over)
        return arena_printf(arena, "more output than %s",
            run->command->bound != NULL ? run->command->bound : "worker.command_output");
    if (!run->has_ended)
        return "still running after its time";
    if (WIFSIGNALED(run->status))
        return arena_printf(
            arena, "signal %d (%s)", WTERMSIG(run->status), strsignal(WTERMSIG(run->status)));
    const int code = WEXITSTATUS(run->status);
    return code == 0 ? NULL : arena_printf(arena, "exit status %d", code);
}

static const char *run_to_end(struct command *command, struct arena *arena)
{
    struct running run = {.command = command, .pid = -1, .pid_fd = -1};
    command->n_errors = 0;
    if (start(&run) != 0) {
        const char *why = arena_printf(arena, "not started: %s", strerror(errno));
        close_all(run.fds, END_COUNT);
        return why;
    }
    if (command->input.len == 0)
        close_end(&run.fds[END_INPUT]);
    while (!run.has_ended && !run.is_over && clock_now_ms() < command->until_ms)
        serve(&run);
    if (run.has_ended)
        drain(&run);
    end(&run);
    return status_text(&run, arena);
}

/* Whoever closes its input early must not end us. */
const char *command_execute(struct command *command, struct arena *arena)
{
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct sigaction before;
    const bool is_changed = sigaction(SIGPIPE, &ignore, &before) == 0;
    const char *why = run_to_end(command, arena);
    if (is_changed)
        (void)sigaction(SIGPIPE, &before, NULL);
    return why;
}
