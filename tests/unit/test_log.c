/* The log: what a line looks like, what is escaped and cut, and that nothing ever waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <regex.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/err.h"
#include "common/log.h"
#include "common/proc.h"

struct seen {
    int n;
    enum log_level level;
    char line[LOG_LINE_MAX];
};

static void on_line(enum log_level level, const char *line, void *context)
{
    struct seen *seen = context;
    seen->n++;
    seen->level = level;
    snprintf(seen->line, sizeof(seen->line), "%s", line);
}

static void test_sink_levels_and_escapes(void **state)
{
    (void)state;
    static struct seen seen;
    log_set_sink(on_line, &seen);
    log_set_level(LOG_LEVEL_INFO);
    log_debug("not seen");
    assert_int_equal(seen.n, 0);
    assert_false(log_is_on(LOG_LEVEL_DEBUG));
    errno = ENOENT;
    log_info("name=\"a\\nb\" %s", "x\ny\r\x1b[2J\x7f \xC3\xBC \xFF");
    assert_int_equal(errno, ENOENT);
    assert_int_equal(seen.level, LOG_LEVEL_INFO);
    assert_string_equal(seen.line, "name=\"a\\nb\" x\\ny\\r\\x1B[2J\\x7F \xC3\xBC \\xFF");
    log_set_context("uid=1 hook=filter_message");
    log_warn("x");
    assert_string_equal(seen.line, "uid=1 hook=filter_message x");
    log_set_context(NULL);
    log_at(LOG_LEVEL_ERROR, "%d", 5);
    assert_string_equal(seen.line, "5");
    assert_int_equal(seen.n, 3);
    log_set_level(LOG_LEVEL_ERROR);
    log_warn("not seen");
    assert_int_equal(seen.n, 3);
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug("seen");
    assert_int_equal(seen.n, 4);
    log_set_level(LOG_LEVEL_INFO);
    log_set_sink(NULL, NULL);
}

static void test_lines_are_bounded(void **state)
{
    (void)state;
    static struct seen seen;
    static char text[100000];
    log_set_sink(on_line, &seen);
    memset(text, 'x', sizeof(text) - 1);
    log_error("%s", text);
    size_t len = strlen(seen.line);
    assert_int_equal(len, LOG_LINE_MAX - 1);
    assert_string_equal(seen.line + len - 5, "xx...");
    memset(text, '\n', sizeof(text) - 1);
    log_error("%s", text);
    assert_true(strlen(seen.line) < LOG_LINE_MAX);
    log_set_sink(NULL, NULL);
}

static void test_texts(void **state)
{
    (void)state;
    int facility;
    assert_int_equal(log_facility_from_text("mail", &facility), 0);
    assert_int_equal(facility, 2 << 3);
    assert_int_equal(log_facility_from_text("post", &facility), -ERR_BAD);
}

/* Runs body in a child whose stderr is fd (closed when -1); returns its wait status. */
static int in_child(int fd, void (*body)(void))
{
    int status = 0;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (fd >= 0)
            dup2(fd, STDERR_FILENO);
        else
            close(STDERR_FILENO);
        body();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void assert_matches(const char *text, const char *pattern)
{
    regex_t regex;
    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    int rc = regexec(&regex, text, 0, NULL, 0);
    regfree(&regex);
    if (rc != 0)
        fail_msg("\"%s\" does not match %s", text, pattern);
}

static size_t read_all(int fd, char *out, size_t out_bytes)
{
    size_t len = 0;
    ssize_t n;
    while ((n = read(fd, out + len, out_bytes - 1 - len)) > 0)
        len += (size_t)n;
    out[len] = '\0';
    return len;
}

static void body_two_lines(void)
{
    log_open("milterd", LOG_TARGET_AUTO, "mail", LOG_LEVEL_INFO);
    log_info("one");
    log_reopen_child("worker");
    log_warn("two\n");
}

#define TIME_PATTERN "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z "

static void test_lines_on_a_pipe(void **state)
{
    (void)state;
    char text[1000];
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(in_child(fds[1], body_two_lines), 0);
    assert_int_equal(fcntl(fds[1], F_GETFL) & O_NONBLOCK, 0); /* our own end is as it was */
    close(fds[1]);
    read_all(fds[0], text, sizeof(text));
    close(fds[0]);
    assert_matches(text, "^" TIME_PATTERN "postern-milterd\\[[0-9]+\\]: info: one\n" TIME_PATTERN
                         "postern-worker\\[[0-9]+\\]: warn: two\\\\n\n$");
}

static void test_lines_in_the_journal(void **state)
{
    (void)state;
    char text[1000], stream[64];
    struct stat st;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(fstat(fds[1], &st), 0);
    snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    assert_int_equal(in_child(fds[1], body_two_lines), 0);
    unsetenv("JOURNAL_STREAM");
    close(fds[1]);
    read_all(fds[0], text, sizeof(text));
    close(fds[0]);
    assert_matches(text, "^<6>postern-milterd\\[[0-9]+\\]: info: "
                         "one\n<4>postern-worker\\[[0-9]+\\]: warn: two\\\\n\n$");
}

/* 300 lines of 1 KB into something nobody reads: returns at once, and every line that did not go
 * out is counted. */
static void body_flood(void)
{
    char text[1001];
    memset(text, 'x', 1000);
    text[1000] = '\0';
    alarm(30);
    log_open("milterd", LOG_TARGET_STDERR, "mail", LOG_LEVEL_INFO);
    for (int i = 0; i < 300; i++)
        log_info("%s", text);
    _exit(log_lost_count() > 0 ? 7 : 8);
}

static void test_full_pipe_and_socket_do_not_block(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(WEXITSTATUS(in_child(fds[1], body_flood)), 7);
    close(fds[0]);
    close(fds[1]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    int small = 4096;
    setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    assert_int_equal(WEXITSTATUS(in_child(fds[1], body_flood)), 7);
    close(fds[0]);
    close(fds[1]);
}

static void body_reader_is_gone(void)
{
    log_open("milterd", LOG_TARGET_STDERR, "mail", LOG_LEVEL_INFO);
    log_info("x");
    _exit(log_lost_count() == 1 ? 7 : 8);
}

static void test_reader_gone(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    close(fds[0]);
    int status = in_child(fds[1], body_reader_is_gone);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
    close(fds[1]);
}

/* Without a reader of stderr the lines go to syslog; whether there is one here or not, nothing else
 * may get number 2. */
static void body_closed_stderr(void)
{
    struct stat st;
    log_open("milterd", LOG_TARGET_AUTO, "mail", LOG_LEVEL_INFO);
    log_info("x");
    _exit(fstat(STDERR_FILENO, &st) == 0 && S_ISCHR(st.st_mode) ? 7 : 8);
}

static void test_closed_stderr(void **state)
{
    (void)state;
    assert_int_equal(WEXITSTATUS(in_child(-1, body_closed_stderr)), 7);
}

/* A syslog daemon's socket under an empty /dev of our own; exits with CHILD_SKIPS where that is not
 * allowed. */
enum { CHILD_SKIPS = 9 };

static int bind_dev_log(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    unlink(address.sun_path);
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
        _exit(CHILD_SKIPS);
    return fd;
}

static void expect_datagram(int fd, const char *pattern)
{
    char text[LOG_LINE_MAX];
    ssize_t len = recv(fd, text, sizeof(text) - 1, 0);
    regex_t regex;
    text[len > 0 ? len : 0] = '\0';
    regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB);
    if (regexec(&regex, text, 0, NULL, 0) != 0)
        _exit(8);
    regfree(&regex);
}

/* Lines arrive; after a new start of the daemon too; a daemon that does not read, or is gone, costs
 * lines and no time. */
static void body_syslog(void)
{
    static const char pattern[] =
        "^<[0-9]+>[A-Z][a-z]{2} [ 0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} postern-milterd\\[[0-9]+\\]: ";
    char expected[300];
    alarm(30);
    log_open("milterd", LOG_TARGET_SYSLOG, "mail", LOG_LEVEL_INFO);
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", "/dev", "tmpfs", 0, NULL) != 0)
        _exit(CHILD_SKIPS);
    log_info("nobody there");
    int daemon = bind_dev_log();
    log_warn("one\n");
    snprintf(expected, sizeof(expected), "%swarn: one\\\\n$", pattern);
    expect_datagram(daemon, expected);
    close(daemon);
    daemon = bind_dev_log();
    log_info("two");
    snprintf(expected, sizeof(expected), "%sinfo: two$", pattern);
    expect_datagram(daemon, expected);
    if (log_lost_count() != 1 || log_fd() < 0)
        _exit(8);
    for (int i = 0; i < 2000; i++)
        log_info("%d", i);
    uint64_t lost = log_lost_count();
    close(daemon);
    log_info("gone");
    _exit(lost > 1 && log_lost_count() == lost + 1 && log_fd() < 0 ? 7 : 8);
}

static void test_syslog(void **state)
{
    (void)state;
    int status = in_child(STDERR_FILENO, body_syslog);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == CHILD_SKIPS) {
        print_message("skipped: no namespace with a /dev/log of its own can be made\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 7);
}

static void body_fatal(void)
{
    log_fatal(EXIT_CODE_USAGE, "no");
}

static void body_panic(void)
{
    LOG_INVARIANT(1 + 1 == 3);
}

static void test_fatal_and_panic(void **state)
{
    (void)state;
    char text[1000];
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    int status = in_child(fds[1], body_fatal);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EXIT_CODE_USAGE);
    status = in_child(fds[1], body_panic);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    close(fds[1]);
    read_all(fds[0], text, sizeof(text));
    close(fds[0]);
    assert_non_null(strstr(text, ": fatal: no\n"));
    assert_matches(text, ": panic: .*test_log\\.c:[0-9]+: invariant does not hold: 1 \\+ 1 == 3\n");
}

enum { N_THREADS = 4, LINES_PER_THREAD = 200 };

static void *log_many(void *context)
{
    for (int i = 0; i < LINES_PER_THREAD; i++)
        log_info("thread %s line %d end", (const char *)context, i);
    return NULL;
}

static void body_threads(void)
{
    static char names[N_THREADS][2] = {"a", "b", "c", "d"};
    pthread_t threads[N_THREADS];
    log_open("milterd", LOG_TARGET_STDERR, "mail", LOG_LEVEL_INFO);
    for (int i = 0; i < N_THREADS; i++)
        pthread_create(&threads[i], NULL, log_many, names[i]);
    for (int i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    _exit(log_lost_count() == 0 ? 7 : 8);
}

/* To a file, which takes everything: each line whole and on its own. */
static void test_threads_do_not_mix_lines(void **state)
{
    (void)state;
    char line[300];
    int n = 0;
    FILE *file = tmpfile();
    assert_non_null(file);
    fcntl(fileno(file), F_SETFL, O_APPEND);
    assert_int_equal(WEXITSTATUS(in_child(fileno(file), body_threads)), 7);
    rewind(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        assert_matches(line,
            "^" TIME_PATTERN "postern-milterd\\[[0-9]+\\]: info: thread [a-d] line [0-9]+ end\n$");
        n++;
    }
    fclose(file);
    assert_int_equal(n, N_THREADS * LINES_PER_THREAD);
}

static void body_close_fds(void)
{
    int keep[2], extra = -1;
    keep[0] = dup(STDERR_FILENO);
    keep[1] = dup(STDERR_FILENO);
    for (int i = 0; i < 20; i++)
        extra = dup(STDERR_FILENO);
    keep[0] = dup(STDERR_FILENO);
    int keep_unordered[] = {keep[0], keep[1], keep[0], STDERR_FILENO, -1};
    proc_close_fds_except(keep_unordered, 5);
    bool is_right = fcntl(keep[0], F_GETFD) >= 0 && fcntl(keep[1], F_GETFD) >= 0 &&
                    fcntl(extra, F_GETFD) < 0 && fcntl(STDERR_FILENO, F_GETFD) >= 0 &&
                    fcntl(keep[0] + 1, F_GETFD) < 0 && fcntl(keep[1] + 1, F_GETFD) < 0;
    _exit(is_right ? 7 : 8);
}

static void test_close_fds(void **state)
{
    (void)state;
    assert_int_equal(WEXITSTATUS(in_child(STDOUT_FILENO, body_close_fds)), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sink_levels_and_escapes),
        cmocka_unit_test(test_lines_are_bounded),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_lines_on_a_pipe),
        cmocka_unit_test(test_lines_in_the_journal),
        cmocka_unit_test(test_full_pipe_and_socket_do_not_block),
        cmocka_unit_test(test_reader_gone),
        cmocka_unit_test(test_closed_stderr),
        cmocka_unit_test(test_syslog),
        cmocka_unit_test(test_fatal_and_panic),
        cmocka_unit_test(test_threads_do_not_mix_lines),
        cmocka_unit_test(test_close_fds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
