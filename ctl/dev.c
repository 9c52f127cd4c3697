/*
 * posternctl dev: the whole system in the foreground for one filter. Owns the folder with its
 * sockets, the two programs, the watch on the filter's folder, and one poll loop over all of them;
 * waits for nothing else.
 *
 * Standard output gets, a line each: "ready SPEC" when mail can flow, "not loaded: ERROR" when the
 * filter does not load at first, "reloaded generation N" and "not reloaded: ERROR" after a save.
 * Log lines go to standard error.
 */
#include "ctl/dev_system.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/text.h"
#include "ctl/command.h"
#include "ctl/render.h"
#include "ctl/request.h"
#include "ctl/supervise.h"
#include "ctl/watch.h"

enum { ASK_INTERVAL_MS = 20, ASK_LIMIT_MS = 5000, STOP_LIMIT_MS = 8000, IDLE_MS = 60000 };
enum { RELOAD_LIMIT_MS = 900000, START_ATTEMPTS = 5 };

enum { PROGRAM_MULTIPLEXOR = 0, PROGRAM_MILTERD, N_PROGRAMS };

/* The one question to the multiplexor that may be under way. */
enum asking { ASKING_NOTHING = 0, ASKING_STATUS, ASKING_RELOAD };

struct dev {
    struct dev_system system;
    struct supervised programs[N_PROGRAMS];
    struct watch watch;
    struct request request;
    enum asking asking;
    int64_t asked_ms;
    int signal_fd;
    bool is_listening; /* milterd said where */
    bool is_ready;     /* told so */
    bool has_colour;
    bool is_stopping;
    int exit_code;
    char milter_spec[320]; /* with the real port */
};

/* Standard output is read by programs: a line at once, and no control characters. */
static void say(const char *what, const char *text)
{
    char shown[4096];
    text_escape(shown, sizeof(shown), slice_text(text), 0);
    printf("%s%s\n", what, shown);
    fflush(stdout);
}

static enum render_colour line_colour(struct slice line)
{
    static const struct {
        const char *mark;
        enum render_colour colour;
    } marks[] = {{": panic: ", RENDER_RED}, {": fatal: ", RENDER_RED}, {": error: ", RENDER_RED},
        {": warn: ", RENDER_YELLOW}, {": debug: ", RENDER_DIM}};
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
        if (line.len > 0 &&
            memmem(line.data, line.len, marks[i].mark, strlen(marks[i].mark)) != NULL) {
            return marks[i].colour;
        }
    }
    return RENDER_PLAIN;
}

/* milterd tells where it listens, with the port that the kernel chose. */
static void note_listening(struct dev *dev, struct slice line)
{
    static const char mark[] = "listening on ";
    const char *at = memmem(line.data, line.len, mark, sizeof(mark) - 1);
    if (at == NULL) {
        return;
    }
    at += sizeof(mark) - 1;
    size_t len = (size_t)(line.data + line.len - at);
    const char *blank = memchr(at, ' ', len);
    len = blank != NULL ? (size_t)(blank - at) : len;
    if (len > 0 && len < sizeof(dev->milter_spec)) {
        memcpy(dev->milter_spec, at, len);
        dev->milter_spec[len] = 0;
        dev->is_listening = true;
        /* Started again, it is to be found where it was. */
        dev_system_keep_port(&dev->system, &dev->programs[PROGRAM_MILTERD].argv, dev->milter_spec);
    }
}

static void on_line(const char *program, struct slice line, void *context)
{
    struct dev *dev = context;
    char shown[SUPERVISE_LINE_MAX];
    if (line.len > 0 && strcmp(program, "milterd") == 0) {
        note_listening(dev, line);
    }
    text_escape_controls(shown, sizeof(shown), line); /* the log has escaped its texts */
    enum render_colour colour = line_colour(line);
    fprintf(stderr, "%s%s%s\n", render_begin(colour, dev->has_colour), shown,
        render_end(dev->has_colour && colour != RENDER_PLAIN));
}

static void begin_asking(struct dev *dev, enum asking what, const char *command, int64_t now_ms)
{
    dev->asked_ms = now_ms;
    if (request_open(&dev->request, dev->system.control_socket, command, NULL) == 0) {
        dev->asking = what;
    }
}

static void end_asking(struct dev *dev)
{
    if (dev->asking != ASKING_NOTHING) {
        request_close(&dev->request);
    }
    dev->asking = ASKING_NOTHING;
}

/* Ready when milterd listens and the multiplexor has loaded the filter, or knows why not. */
static void judge_status(struct dev *dev, const json_t *status)
{
    const char *error = json_string_value(json_object_get(status, "filter_error"));
    json_int_t generation = json_integer_value(json_object_get(status, "generation"));
    if (!dev->is_listening || (generation == 0 && error == NULL)) {
        return;
    }
    dev->is_ready = true;
    say("ready ", dev->milter_spec);
    if (generation == 0) {
        say("not loaded: ", error);
    }
}

static void judge_reload(int rc, const json_t *data, const char *error)
{
    if (rc == 0) {
        char number[32];
        snprintf(number, sizeof(number), "%lld",
            (long long)json_integer_value(json_object_get(data, "generation")));
        say("reloaded generation ", number);
    } else {
        say("not reloaded: ",
            error != NULL ? error : "the multiplexor went away; it is started again");
    }
}

/* The request's descriptor is readable, or its time is over. */
static void continue_asking(struct dev *dev, int64_t now_ms)
{
    json_t *data = NULL;
    char *error = NULL;
    int64_t limit = dev->asking == ASKING_RELOAD ? RELOAD_LIMIT_MS : ASK_LIMIT_MS;
    int rc = request_read(&dev->request, &data, &error);
    if (rc == -ERR_AGAIN && now_ms - dev->asked_ms < limit) {
        return;
    }
    if (dev->asking == ASKING_RELOAD) {
        judge_reload(rc, data, error);
    } else if (rc == 0) {
        judge_status(dev, data);
    }
    json_decref(data);
    free(error);
    end_asking(dev);
}

/* What there is to ask now, one thing at a time. */
static void ask_next(struct dev *dev, int64_t now_ms)
{
    if (dev->asking != ASKING_NOTHING || dev->is_stopping) {
        return;
    }
    if (!dev->is_ready) {
        if (now_ms - dev->asked_ms >= ASK_INTERVAL_MS) {
            begin_asking(dev, ASKING_STATUS, "status", now_ms);
        }
    } else if (watch_due_ms(&dev->watch, now_ms) == 0) {
        watch_take(&dev->watch);
        begin_asking(dev, ASKING_RELOAD, "reload", now_ms);
        if (dev->asking == ASKING_NOTHING) {
            judge_reload(-ERR_PEER, NULL, NULL);
        }
    }
}

static void start_due(struct dev *dev, int64_t now_ms)
{
    for (int i = 0; i < N_PROGRAMS && !dev->is_stopping; i++) {
        struct supervised *program = &dev->programs[i];
        int rc = supervise_start(program, now_ms);
        if (rc == 0 && program->n_starts > 1) {
            fprintf(stderr, "posternctl: %s is started again\n", program->name);
        } else if (rc == -ERR_SYSTEM) {
            fprintf(stderr, "posternctl: cannot start %s: %s\n", program->name, err_text(rc));
        }
    }
}

static void describe_end(const char *name, int status)
{
    if (WIFSIGNALED(status)) {
        fprintf(stderr, "posternctl: %s died by signal %d (%s)\n", name, WTERMSIG(status),
            strsignal(WTERMSIG(status)));
    } else {
        fprintf(stderr, "posternctl: %s ended with code %d\n", name, WEXITSTATUS(status));
    }
}

/* One that cannot even start (a wrong option, a socket in use) is not worth further attempts. */
static void give_up_if_hopeless(struct dev *dev, const struct supervised *program, int status)
{
    bool is_wrong = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_CODE_USAGE;
    if (!dev->is_ready && (is_wrong || program->n_starts >= START_ATTEMPTS)) {
        fprintf(stderr, "posternctl: %s does not start; giving up\n", program->name);
        dev->exit_code = is_wrong ? EXIT_CODE_USAGE : EXIT_CODE_SYSTEM;
        dev->is_stopping = true;
    }
}

static void reap(struct dev *dev, int64_t now_ms)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (int i = 0; i < N_PROGRAMS; i++) {
            struct supervised *program = &dev->programs[i];
            if (program->pid != pid) {
                continue;
            }
            supervise_read(program, on_line, dev); /* its last words */
            supervise_ended(program, pid, now_ms);
            if (!dev->is_stopping) {
                describe_end(program->name, status);
                give_up_if_hopeless(dev, program, status);
            }
        }
    }
}

static void read_signals(struct dev *dev, int64_t now_ms)
{
    struct signalfd_siginfo info;
    while (read(dev->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGCHLD) {
            reap(dev, now_ms);
        } else {
            dev->is_stopping = true;
        }
    }
}

static int sooner(int64_t a_ms, int b_ms)
{
    return a_ms >= 0 && a_ms < b_ms ? (int)a_ms : b_ms;
}

static int wait_ms(const struct dev *dev, int64_t now_ms)
{
    int wait = IDLE_MS;
    for (int i = 0; i < N_PROGRAMS; i++) {
        wait = sooner(supervise_due_ms(&dev->programs[i], now_ms), wait);
    }
    if (dev->asking != ASKING_NOTHING) {
        return sooner(1000, wait);
    }
    if (!dev->is_ready) {
        return sooner(ASK_INTERVAL_MS, wait);
    }
    return sooner(watch_due_ms(&dev->watch, now_ms), wait);
}

/* Waits for whatever comes first and deals with it. */
static void step(struct dev *dev)
{
    struct pollfd fds[] = {
        {.fd = dev->signal_fd, .events = POLLIN},
        {.fd = dev->watch.fd, .events = POLLIN},
        {.fd = dev->asking != ASKING_NOTHING ? dev->request.fd : -1, .events = POLLIN},
        {.fd = dev->programs[PROGRAM_MULTIPLEXOR].stderr_fd, .events = POLLIN},
        {.fd = dev->programs[PROGRAM_MILTERD].stderr_fd, .events = POLLIN},
    };
    if (poll(fds, sizeof(fds) / sizeof(fds[0]), wait_ms(dev, clock_now_ms())) < 0) {
        return; /* EINTR cannot be: signals are blocked; whatever it is, the next round tells */
    }
    int64_t now_ms = clock_now_ms();
    if (fds[1].revents != 0) {
        watch_read(&dev->watch, now_ms);
    }
    for (int i = 0; i < N_PROGRAMS; i++) {
        if (fds[3 + i].revents != 0) {
            supervise_read(&dev->programs[i], on_line, dev);
        }
    }
    if (dev->asking != ASKING_NOTHING) {
        continue_asking(dev, now_ms);
    }
    read_signals(dev, now_ms);
    start_due(dev, now_ms);
    ask_next(dev, now_ms);
}

/* Waits until a program has ended, kills it when it takes too long. */
static void await_end(struct dev *dev, struct supervised *program)
{
    int64_t end_ms = clock_now_ms() + STOP_LIMIT_MS;
    supervise_stop(program, false);
    while (program->pid != 0) {
        int64_t now_ms = clock_now_ms();
        if (now_ms >= end_ms) {
            supervise_stop(program, true);
        }
        struct pollfd fds[] = {
            {.fd = dev->signal_fd, .events = POLLIN}, {.fd = program->stderr_fd, .events = POLLIN}};
        (void)poll(fds, 2, 50);
        supervise_read(program, on_line, dev);
        read_signals(dev, clock_now_ms());
        reap(dev, clock_now_ms());
    }
}

/* milterd first: it lets running messages end, for which it needs the multiplexor. */
static void stop_all(struct dev *dev)
{
    dev->is_stopping = true;
    end_asking(dev);
    await_end(dev, &dev->programs[PROGRAM_MILTERD]);
    await_end(dev, &dev->programs[PROGRAM_MULTIPLEXOR]);
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
}

static int open_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    static const int signals[] = {SIGCHLD, SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        sigaddset(&set, signals[i]);
    }
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void run_loop(struct dev *dev)
{
    int64_t now_ms = clock_now_ms();
    supervise_init(&dev->programs[PROGRAM_MULTIPLEXOR], "multiplexor",
        dev_system_argv(&dev->system, "postern-multiplexor"), now_ms);
    supervise_init(&dev->programs[PROGRAM_MILTERD], "milterd",
        dev_system_argv(&dev->system, "postern-milterd"), now_ms);
    start_due(dev, now_ms);
    while (!dev->is_stopping) {
        step(dev);
    }
    stop_all(dev);
    for (int i = 0; i < N_PROGRAMS; i++) {
        supervise_clear(&dev->programs[i]);
    }
}

int command_dev(const struct args *args)
{
    struct dev dev = {.has_colour = render_can_colour(stderr)};
    int code = dev_system_open(&dev.system, args);
    if (code != EXIT_CODE_OK) {
        return code;
    }
    dev.signal_fd = open_signals();
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* orphans of a killed program come to us */
    if (dev.signal_fd < 0 ||
        watch_open(&dev.watch, dev.system.filter_folder, dev.system.filter_name) < 0) {
        fprintf(
            stderr, "posternctl: cannot watch %s: %s\n", dev.system.filter_folder, strerror(errno));
        code = EXIT_CODE_SYSTEM;
    } else {
        run_loop(&dev);
        watch_close(&dev.watch);
        code = dev.exit_code;
    }
    if (dev.signal_fd >= 0) {
        close(dev.signal_fd);
    }
    dev_system_close(&dev.system);
    return code;
}
