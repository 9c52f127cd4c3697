/* Programs that get bytes and give bytes: real ones, well behaved and not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/unit/patience.h"
#include "worker/command.h"

enum { LONG_MS = 20000, SHORT_MS = 300, MIB = 1 << 20 };

struct ran {
    struct command command;
    struct arena *arena;
    const char *why;
    int64_t took_ms;
};

static int count_fds(void)
{
    int n = 0;
    DIR *stream = opendir("/proc/self/fd");
    assert_non_null(stream);
    while (readdir(stream) != NULL)
        n++;
    closedir(stream);
    return n;
}

/* Nothing is left of it: no descriptor, no child, no zombie. */
static void run_bytes(
    struct ran *r, const char *const *argv, struct slice input, int64_t ms, size_t max)
{
    const int before = count_fds();
    *r = (struct ran){.arena = arena_new()};
    r->command = (struct command){.argv = argv, .input = input};
    buf_init(&r->command.output, max);
    const int64_t start_ms = clock_now_ms();
    r->command.until_ms = start_ms + patience_ms(ms);
    r->why = command_execute(&r->command, r->arena);
    r->took_ms = clock_now_ms() - start_ms;
    assert_int_equal(count_fds(), before);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

static void run(struct ran *r, const char *script, const char *input, int64_t ms)
{
    const char *const argv[] = {"/bin/sh", "-c", script, NULL};
    run_bytes(r, argv, slice_text(input), ms, MIB);
}

static void done(struct ran *r)
{
    buf_clear(&r->command.output);
    arena_free(r->arena);
}

static void gives(const char *script, const char *input, const char *wanted)
{
    struct ran r;
    run(&r, script, input, LONG_MS);
    if (r.why != NULL)
        fail_msg("%s: %s", script, r.why);
    if (!slice_equal(buf_slice(&r.command.output), slice_text(wanted)))
        fail_msg("%s: \"%.*s\"", script, (int)r.command.output.len,
            r.command.output.len > 0 ? (const char *)r.command.output.data : "");
    done(&r);
}

static void fails(const char *script, const char *wanted)
{
    struct ran r;
    run(&r, script, "input", LONG_MS);
    if (r.why == NULL || strstr(r.why, wanted) == NULL)
        fail_msg("%s: %s", script, r.why != NULL ? r.why : "no error");
    done(&r);
}

static void real_programs(void **state)
{
    (void)state;
    gives("tr a-z A-Z", "hello", "HELLO");
    gives("cat", "", "");
    gives("true", "not read", "");
    gives("echo out; echo err >&2", "", "out\n");
    gives("exec head -c 3", "hello", "hel");
    gives("exec <&-; echo closed", "input", "closed\n");
    gives("pwd", "", "/\n");
    fails("false", "exit status 1");
    fails("exit 77", "exit status 77");
    fails("kill -SEGV $$", "signal 11 (Segmentation fault)");
    fails("no-such-program-at-all", "exit status 127");
}

static void a_vector_needs_no_shell(void **state)
{
    const char *const argv[] = {"printf", "%s|", "a b", "$HOME", "`id`", NULL};
    const char *const missing[] = {"/usr/bin/no-such-program", NULL};
    const char *const folder[] = {"/usr", NULL};
    struct ran r;
    (void)state;
    run_bytes(&r, argv, slice_text(""), LONG_MS, MIB);
    assert_null(r.why);
    assert_true(slice_equal(buf_slice(&r.command.output), slice_text("a b|$HOME|`id`|")));
    done(&r);
    run_bytes(&r, missing, slice_text(""), LONG_MS, MIB);
    assert_string_equal(r.why, "not started: No such file or directory");
    done(&r);
    run_bytes(&r, folder, slice_text(""), LONG_MS, MIB);
    assert_string_equal(r.why, "not started: Permission denied");
    done(&r);
}

static void much_in_and_out(void **state)
{
    enum { BYTES = 8 * MIB };
    const char *const argv[] = {"cat", NULL};
    const char *const early[] = {"head", "-c", "10", NULL};
    char *bytes = malloc(BYTES);
    struct ran r;
    (void)state;
    assert_non_null(bytes);
    for (size_t i = 0; i < BYTES; i++)
        bytes[i] = (char)(i * 31 >> 3);
    run_bytes(&r, argv, slice_of(bytes, BYTES), LONG_MS, BYTES);
    assert_null(r.why);
    assert_int_equal(r.command.output.len, BYTES);
    assert_memory_equal(r.command.output.data, bytes, BYTES);
    done(&r);
    run_bytes(&r, argv, slice_of(bytes, BYTES), LONG_MS, BYTES - 1);
    assert_string_equal(r.why, "more output than worker.command_output");
    done(&r);
    run_bytes(&r, early, slice_of(bytes, BYTES), LONG_MS, BYTES); /* ends with input left */
    assert_null(r.why);
    assert_int_equal(r.command.output.len, 10);
    done(&r);
    free(bytes);
}

static void output_is_bounded(void **state)
{
    struct ran r;
    (void)state;
    run(&r, "yes", "", LONG_MS);
    assert_string_equal(r.why, "more output than worker.command_output");
    assert_true(r.command.output.len <= MIB);
    done(&r);
    run(&r, "exec head -c 1073741824 /dev/zero", "", LONG_MS);
    assert_string_equal(r.why, "more output than worker.command_output");
    done(&r);
}

static void errors_are_kept_up_to_a_bound(void **state)
{
    struct ran r;
    (void)state;
    run(&r, "echo first >&2; head -c 1000000 /dev/zero >&2; echo done", "", LONG_MS);
    assert_null(r.why);
    assert_int_equal(r.command.n_errors, COMMAND_ERRORS_MAX);
    assert_memory_equal(r.command.errors, "first\n", 6);
    assert_true(slice_equal(buf_slice(&r.command.output), slice_text("done\n")));
    done(&r);
}

static void slow_ones_are_killed(void **state)
{
    static const char *const scripts[] = {"sleep 100", "while :; do :; done",
        "trap '' TERM; sleep 100", "echo begun; cat; sleep 100", "exec sleep 100 <&- >&- 2>&-",
        "sleep 100 | sleep 100"};
    (void)state;
    for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
        struct ran r;
        run(&r, scripts[i], "input", SHORT_MS);
        if (r.why == NULL || strcmp(r.why, "still running after its time") != 0)
            fail_msg("%s: %s", scripts[i], r.why != NULL ? r.why : "no error");
        assert_true(r.took_ms >= SHORT_MS);
        done(&r);
    }
}

/* What a program has left behind holds its output open: it is not waited for, and goes with it. */
static void its_group_goes_with_it(void **state)
{
    struct ran r;
    (void)state;
    run(&r, "sleep 1000 & echo $!", "", LONG_MS);
    assert_null(r.why);
    char text[32] = "";
    memcpy(text, r.command.output.data, r.command.output.len < 31 ? r.command.output.len : 31);
    const pid_t left = (pid_t)atoi(text);
    assert_true(left > 1);
    const int64_t deadline_ms = clock_now_ms() + patience_ms(LONG_MS);
    char path[64], status[4096];
    bool is_gone = false;
    while (!is_gone && clock_now_ms() < deadline_ms) { /* gone, or a zombie that init will take */
        snprintf(path, sizeof(path), "/proc/%d/stat", left);
        FILE *file = fopen(path, "r");
        size_t n = file != NULL ? fread(status, 1, sizeof(status) - 1, file) : 0;
        status[n] = 0;
        const char *end = strrchr(status, ')');
        is_gone = n == 0 || (end != NULL && end[1] == ' ' && end[2] == 'Z');
        if (file != NULL)
            fclose(file);
    }
    assert_true(is_gone);
    done(&r);
}

static void its_surroundings_are_clean(void **state)
{
    (void)state;
    assert_int_equal(setenv("SECRET", "x", 1), 0);
    assert_true(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    gives("env | grep -c SECRET || true", "", "0\n");
    gives("echo $LC_ALL $HOME", "", "C.UTF-8 /\n");
    gives("ls /proc/self/fd | wc -l", "", "4\n"); /* three, and the one that lists */
    gives("yes | head -n 1", "", "y\n");          /* ends by SIGPIPE, as everywhere */
    gives("test $(ps -o pgid= -p $$) = $$ && echo own", "", "own\n");
    assert_true(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_programs),
        cmocka_unit_test(a_vector_needs_no_shell),
        cmocka_unit_test(much_in_and_out),
        cmocka_unit_test(output_is_bounded),
        cmocka_unit_test(errors_are_kept_up_to_a_bound),
        cmocka_unit_test(slow_ones_are_killed),
        cmocka_unit_test(its_group_goes_with_it),
        cmocka_unit_test(its_surroundings_are_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
