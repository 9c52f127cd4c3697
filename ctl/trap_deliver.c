#include "ctl/trap_deliver.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/sock.h"
#include "common/xalloc.h"

extern char **environ;

enum { POLL_MS = 20 };

/* ---- the command's words ---- */

struct words {
    char **items; /* owned, NULL-terminated */
    size_t n, cap;
};

static void add_word(struct words *words, struct slice text)
{
    if (words->n + 1 >= words->cap) {
        words->cap = words->cap > 0 ? 2 * words->cap : 16;
        words->items = xreallocarray(words->items, words->cap, sizeof(*words->items));
    }
    words->items[words->n++] = xmemdup0(text.data != NULL ? text.data : "", text.len);
    words->items[words->n] = NULL;
}

/*
 * The option's words, separated by blanks; {sender} is the envelope sender, {recipients} a word for
 * each recipient. No shell sees them.
 */
static void make_words(const char *text, const struct smtp_send_mail *mail, struct words *out)
{
    while (*(text += strspn(text, " \t")) != 0) {
        size_t len = strcspn(text, " \t");
        struct slice word = slice_of(text, len);
        if (slice_equal(word, slice_text("{sender}"))) {
            add_word(out, mail->sender);
        } else if (slice_equal(word, slice_text("{recipients}"))) {
            for (uint32_t i = 0; i < mail->n_recipients; i++) {
                add_word(out, mail->recipients[i]);
            }
        } else {
            add_word(out, word);
        }
        text += len;
    }
}

static void clear_words(struct words *words)
{
    for (size_t i = 0; i < words->n; i++) {
        free(words->items[i]);
    }
    free(words->items);
}

/* ---- the command ---- */

static int spawn(char **words, int in_fd, pid_t *pid_out)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t defaults;
    posix_spawnattr_init(&attributes);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE); /* which we ignore */
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in_fd, STDIN_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    int error = posix_spawn(pid_out, words[0], &actions, &attributes, words, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    errno = error;
    return error == 0 ? 0 : -ERR_SYSTEM;
}

static int feed(int fd, struct slice bytes, int64_t deadline_ms)
{
    while (bytes.len > 0) {
        struct pollfd pfd = {.fd = fd, .events = POLLOUT};
        int64_t left = deadline_ms - clock_now_ms();
        if (left <= 0) {
            return -ERR_TIMEOUT;
        }
        if (poll(&pfd, 1, left > 1000 ? 1000 : (int)left) <= 0) {
            continue;
        }
        ssize_t n = write(fd, bytes.data, bytes.len);
        if (n > 0) {
            bytes = slice_of(bytes.data + n, bytes.len - (size_t)n);
        } else if (n < 0 && errno != EINTR && errno != EAGAIN) {
            return -ERR_PEER; /* it reads no further: its exit status counts */
        }
    }
    return 0;
}

/* Its exit status; -ERR_TIMEOUT, and then it has been killed. */
static int wait_for(pid_t pid, int64_t deadline_ms)
{
    static const struct timespec pause = {.tv_nsec = POLL_MS * 1000000};
    int status = 0;
    for (;;) {
        pid_t ended = waitpid(pid, &status, WNOHANG);
        if (ended == pid) {
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
        if ((ended < 0 && errno != EINTR) || clock_now_ms() >= deadline_ms) {
            break;
        }
        nanosleep(&pause, NULL);
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return -ERR_TIMEOUT;
}

static void answer_all(const struct smtp_send_mail *mail, struct smtp_send_result *out)
{
    for (uint32_t i = 0; i < mail->n_recipients; i++) {
        out->answers[i] = out->last;
    }
}

static int run_command(char **words, const struct smtp_send_mail *mail, int64_t deadline_ms,
    struct smtp_send_result *out, bool *reached_out)
{
    int ends[2];
    pid_t pid;
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return -ERR_SYSTEM;
    }
    int rc = spawn(words, ends[0], &pid);
    close(ends[0]);
    if (rc != 0) {
        int saved = errno;
        close(ends[1]);
        errno = saved;
        return rc;
    }
    *reached_out = true;
    (void)sock_set_nonblocking(ends[1], true);
    rc = feed(ends[1], mail->head, deadline_ms);
    rc = rc == 0 ? feed(ends[1], mail->message, deadline_ms) : rc;
    close(ends[1]);
    int status = wait_for(pid, rc == -ERR_TIMEOUT ? 0 : deadline_ms);
    if (status < 0) {
        out->may_be_taken = true;
        return status;
    }
    out->last.code = status == 0 ? 250 : 554;
    snprintf(out->last.text, sizeof(out->last.text), "the command ended with status %d", status);
    answer_all(mail, out);
    return status == 0 ? 0 : -ERR_DENIED;
}

static int deliver_by_command(const struct conf *conf, const struct smtp_send_mail *mail,
    int64_t deadline_ms, struct smtp_send_result *out, bool *reached_out)
{
    struct words words = {.n = 0};
    out->stage = "trap.release_command";
    make_words(conf->trap.release_command, mail, &words);
    int rc = run_command(words.items, mail, deadline_ms, out, reached_out);
    clear_words(&words);
    return rc;
}

/* ---- both ---- */

int trap_deliver(const struct conf *conf, const struct smtp_send_mail *mail,
    struct smtp_send_result *out, bool *reached_out)
{
    int64_t deadline_ms = clock_now_ms() + conf->trap.release_time;
    struct sock_spec server;
    *reached_out = false;
    if (conf->trap.release_command[strspn(conf->trap.release_command, " \t")] != 0) {
        return deliver_by_command(conf, mail, deadline_ms, out, reached_out);
    }
    if (sock_spec_from_text(conf->notify.server, &server) != 0) {
        return -ERR_BAD;
    }
    int rc = smtp_send(&server, mail, deadline_ms, out);
    *reached_out = strcmp(out->stage, "connect") != 0;
    return rc;
}
