#include "ctl/isolate.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/proc.h"
#include "ctl/render.h"
#include "worker/sandbox.h"

enum { FRAME_MAX = 64 << 20, LOG_LINES_MAX = 10000, START_LIMIT_MS = 10000 };

struct isolate {
    int fd;
    int64_t grace_ms;
    int64_t end_ms; /* of all steps; 0: none */
    json_t *kept;   /* lines logged; NULL: they are said */
};

static void write_frame(struct isolate *isolate, json_t *frame)
{
    char *text = json_dumps(frame, JSON_COMPACT);
    json_decref(frame);
    if (text == NULL) {
        return;
    }
    size_t len = strlen(text);
    text[len++] = '\n'; /* the place of the final NUL */
    for (size_t at = 0; at < len;) {
        ssize_t n = write(isolate->fd, text + at, len - at);
        if (n < 0 && errno != EINTR) {
            break; /* the parent has gone: nobody is interested */
        }
        at += n > 0 ? (size_t)n : 0;
    }
    free(text);
}

void isolate_say_step(struct isolate *isolate, const char *step, int64_t limit_ms)
{
    int64_t left_ms = isolate->end_ms > 0 ? isolate->end_ms - clock_now_ms() : limit_ms;
    limit_ms = left_ms < limit_ms ? left_ms : limit_ms;
    write_frame(isolate, json_pack("{s:s, s:I}", "step", step, "limit_ms",
                             (json_int_t)(limit_ms + isolate->grace_ms)));
}

void isolate_say_result(struct isolate *isolate, const json_t *value)
{
    json_t *frame = json_object();
    json_object_set_new(frame, "result", json_deep_copy(value));
    write_frame(isolate, frame);
}

void isolate_set_end(struct isolate *isolate, int64_t end_ms)
{
    isolate->end_ms = end_ms;
}

void isolate_keep_log(struct isolate *isolate, json_t *lines)
{
    isolate->kept = lines;
}

static void say_or_keep(struct isolate *isolate, json_t *line)
{
    if (isolate->kept == NULL) {
        json_t *frame = json_object();
        json_object_set_new(frame, "log", line);
        write_frame(isolate, frame);
    } else if (json_array_size(isolate->kept) < LOG_LINES_MAX) {
        json_array_append_new(isolate->kept, line);
    } else {
        json_decref(line);
    }
}

static void on_log_line(enum log_level level, const char *line, void *context)
{
    struct buf text;
    buf_init(&text, LOG_LINE_MAX + 32);
    if (buf_printf(&text, "%s: %s", log_level_text(level), line) == 0) {
        say_or_keep(context, render_json_text(buf_slice(&text)));
    }
    buf_clear(&text);
}

static _Noreturn void run_child(const struct conf *conf, int fd, pid_t parent,
    void (*work)(struct isolate *isolate, void *context), void *context)
{
    struct isolate isolate = {.fd = fd, .grace_ms = conf->multiplexor.kill_grace};
    setpgid(0, 0);
    if (proc_die_with_parent(SIGKILL, parent) < 0) {
        _exit(EXIT_CODE_SYSTEM);
    }
    /* What a filter prints must not mix with what is printed about it. */
    dup2(STDERR_FILENO, STDOUT_FILENO);
    log_reopen_child("ctl");
    log_set_level(conf->log.level);
    log_set_sink(on_log_line, &isolate);
    char in_force[256];
    struct sandbox *sandbox;
    if (sandbox_enter_nursery(conf, in_force, sizeof(in_force), &sandbox) < 0) {
        log_error("no sandbox: %s", in_force);
        _exit(EXIT_CODE_SYSTEM);
    }
    if (sandbox_enter_worker(sandbox) < 0) {
        log_error("no sandbox: %s", err_text(-ERR_SYSTEM));
        _exit(EXIT_CODE_SYSTEM);
    }
    work(&isolate, context);
    _exit(EXIT_CODE_OK);
}

/* One line from the child. Returns true when it was the result. */
static bool take_frame(struct isolate_outcome *out, const char *line, size_t len, int64_t *end_ms)
{
    json_error_t where;
    json_t *frame = json_loadb(line, len, JSON_ALLOW_NUL, &where);
    json_t *value = json_object_get(frame, "result");
    json_t *log = json_object_get(frame, "log");
    const char *step = json_string_value(json_object_get(frame, "step"));
    if (value != NULL) {
        out->value = json_incref(value);
    } else if (log != NULL && json_array_size(out->log) < LOG_LINES_MAX) {
        json_array_append(out->log, log);
    } else if (step != NULL) {
        snprintf(out->step, sizeof(out->step), "%s", step);
        *end_ms = clock_now_ms() + json_integer_value(json_object_get(frame, "limit_ms"));
    }
    json_decref(frame);
    return value != NULL;
}

/* Takes every whole line that has arrived. */
static bool take_frames(struct isolate_outcome *out, struct buf *in, int64_t *end_ms)
{
    char *end;
    while (buf_left(in) > 0 && (end = memchr(in->data + in->pos, '\n', buf_left(in))) != NULL) {
        struct slice line;
        size_t len = (size_t)((uint8_t *)end - (in->data + in->pos)) + 1;
        if (buf_get(in, len, &line) < 0 || take_frame(out, line.data, line.len, end_ms)) {
            return true;
        }
    }
    if (buf_left(in) == 0) {
        buf_reset(in);
    }
    return false;
}

/* Reads until the result, the end of the child, or the end of its time. */
static enum isolate_end listen_to(int fd, struct isolate_outcome *out)
{
    struct buf in;
    buf_init(&in, FRAME_MAX);
    int64_t end_ms = clock_now_ms() + START_LIMIT_MS;
    enum isolate_end end = ISOLATE_DIED;
    char *chunk = malloc(65536);
    while (chunk != NULL) {
        int64_t left = end_ms - clock_now_ms();
        struct pollfd pfd = {.fd = fd, .events = POLLIN};
        int ready = left > 0 ? poll(&pfd, 1, left > 60000 ? 60000 : (int)left) : 0;
        if (ready == 0 && left <= 0) {
            end = ISOLATE_KILLED;
            break;
        }
        ssize_t n = ready > 0 ? read(fd, chunk, 65536) : -1;
        if (ready <= 0 || (n < 0 && errno == EINTR)) {
            continue;
        }
        if (n <= 0 || buf_put(&in, chunk, (size_t)n) < 0) {
            break;
        }
        if (take_frames(out, &in, &end_ms)) {
            end = ISOLATE_RESULT;
            break;
        }
    }
    free(chunk);
    buf_clear(&in);
    return end;
}

static void describe_end(struct isolate_outcome *out, int status)
{
    if (out->end == ISOLATE_KILLED) {
        snprintf(out->text, sizeof(out->text), "did not end in time and was killed");
    } else if (WIFSIGNALED(status)) {
        snprintf(out->text, sizeof(out->text), "died by signal %d (%s)", WTERMSIG(status),
            strsignal(WTERMSIG(status)));
    } else {
        snprintf(
            out->text, sizeof(out->text), "ended by itself with exit code %d", WEXITSTATUS(status));
    }
}

static void reap(pid_t pid, struct isolate_outcome *out)
{
    int status = 0;
    if (out->end != ISOLATE_DIED) {
        kill(-pid, SIGKILL);
        kill(pid, SIGKILL);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    kill(-pid, SIGKILL); /* what the filter may have started */
    if (out->end != ISOLATE_RESULT) {
        describe_end(out, status);
    }
}

void isolate_run(const struct conf *conf, void (*work)(struct isolate *isolate, void *context),
    void *context, struct isolate_outcome *out)
{
    int ends[2];
    *out = (struct isolate_outcome){.end = ISOLATE_NO_START, .log = json_array()};
    snprintf(out->step, sizeof(out->step), "start");
    if (pipe2(ends, O_CLOEXEC) < 0) {
        snprintf(out->text, sizeof(out->text), "pipe: %s", strerror(errno));
        return;
    }
    fflush(stdout);
    fflush(stderr);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        run_child(conf, ends[1], parent, work, context);
    }
    close(ends[1]);
    if (pid < 0) {
        snprintf(out->text, sizeof(out->text), "fork: %s", strerror(errno));
    } else {
        out->end = listen_to(ends[0], out);
        reap(pid, out);
    }
    close(ends[0]);
}

void isolate_outcome_clear(struct isolate_outcome *outcome)
{
    json_decref(outcome->value);
    json_decref(outcome->log);
    *outcome = (struct isolate_outcome){0};
}
