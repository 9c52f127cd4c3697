/* Configuration: what is accepted, and what each mistake is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/conf.h"
#include "common/err.h"
#include "common/xalloc.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
enum { VALUE_BYTES = 8192 };

static struct conf *parse_ok(const char *text, const char *const *overrides, int n)
{
    struct conf *conf = NULL;
    char *error = NULL;
    if (conf_parse(slice_text(text), "test.conf", overrides, n, &conf, &error) != 0)
        fail_msg("refused: %s", error);
    assert_null(error);
    return conf;
}

static void assert_refused(
    struct slice text, const char *const *overrides, int n, const char *expected)
{
    struct conf *conf = NULL;
    char *error = NULL;
    assert_int_equal(conf_parse(text, "test.conf", overrides, n, &conf, &error), -ERR_BAD);
    assert_null(conf);
    assert_string_equal(error, expected);
    free(error);
}

static void test_defaults(void **state)
{
    (void)state;
    struct conf *conf = parse_ok("", NULL, 0);
    assert_string_equal(conf->milterd.socket, "unix:/run/postern/milter.sock");
    assert_int_equal(conf->milterd.socket_mode, 0660);
    assert_int_equal(conf->milterd.stage_time, 8000);
    assert_int_equal(conf->milterd.message_time, 240000);
    assert_int_equal(conf->milterd.max_message, 128 << 20);
    assert_int_equal(conf->milterd.on_oversize, FAILURE_REJECT);
    assert_int_equal(conf->multiplexor.on_poison, FAILURE_TEMPFAIL);
    assert_true(conf->worker.strict_globals);
    assert_true(network_list_has(&conf->worker.trusted_networks, "::1"));
    assert_int_equal(conf->log.level, LOG_LEVEL_INFO);
    assert_int_equal(conf->log.target, LOG_TARGET_AUTO);
    assert_null(conf->path);
    conf_free(conf);
    conf_free(NULL);
}

static void test_file(void **state)
{
    (void)state;
    struct conf *conf = parse_ok("\xEF\xBB\xBF# comment\r\n"
                                 "[log]\r\n"
                                 "level = debug ; inline\r\n"
                                 "  target=stderr # inline\r\n"
                                 "[milterd] ; comment\n"
                                 "socket: inet:0@127.0.0.1\n"
                                 "socket_mode = 600\n"
                                 "scanned_by = a;b#c\n"
                                 "parcel_reuse = off\n"
                                 "stage_time = 9500ms\n"
                                 "macros_mail =\n"
                                 "; comment\n"
                                 "[filter]\n"
                                 "greeting = hello = world\n"
                                 "a.b-c_9 = x\n"
                                 "[log]\n"
                                 "facility = local3",
        NULL, 0);
    assert_int_equal(conf->log.level, LOG_LEVEL_DEBUG);
    assert_int_equal(conf->log.target, LOG_TARGET_STDERR);
    assert_string_equal(conf->log.facility, "local3");
    assert_string_equal(conf->milterd.socket, "inet:0@127.0.0.1");
    assert_int_equal(conf->milterd.socket_mode, 0600);
    assert_string_equal(conf->milterd.scanned_by, "a;b#c");
    assert_false(conf->milterd.parcel_reuse);
    assert_int_equal(conf->milterd.stage_time, 9500);
    assert_string_equal(conf->milterd.macros_mail, "");
    assert_int_equal(conf->n_filter, 2);
    assert_string_equal(conf->filter[0].name, "greeting");
    assert_string_equal(conf->filter[0].value, "hello = world");
    assert_string_equal(conf->filter[1].name, "a.b-c_9");
    conf_free(conf);
}

static void test_overrides(void **state)
{
    (void)state;
    static const char *const overrides[] = {"milterd.stage_time=5s", "milterd.stage_time=6s",
        "filter.a=two", "filter.b=x ; y", "worker.trusted_networks="};
    struct conf *conf = parse_ok("[milterd]\nstage_time = 4s\n[filter]\na = one\n", overrides, 5);
    assert_int_equal(conf->milterd.stage_time, 6000);
    assert_int_equal(conf->n_filter, 2);
    assert_string_equal(conf->filter[0].value, "two");
    assert_string_equal(conf->filter[1].value, "x ; y");
    assert_int_equal(conf->worker.trusted_networks.n, 0);
    assert_int_equal(conf->n_overrides, 5);
    assert_string_equal(conf->overrides[1], "milterd.stage_time=6s");
    conf_free(conf);
}

static void test_refused_files(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } rows[] = {
        {"\n[milterd]\nsokcet = /x\n",
            "test.conf:3: unknown option milterd.sokcet; did you mean socket?"},
        {"[milterd]\nmin_workers = 3\n", "test.conf:2: unknown option milterd.min_workers; did you "
                                         "mean multiplexor.min_workers?"},
        {"[log]\nbanana = 3\n", "test.conf:2: unknown option log.banana"},
        {"[log]\nLevel = info\n", "test.conf:2: unknown option log.Level; did you mean level?"},
        {"[mliterd]\n", "test.conf:1: unknown section [mliterd]; did you mean [milterd]?"},
        {"[nosuch]\n", "test.conf:1: unknown section [nosuch]"},
        {"[]\n", "test.conf:1: unknown section []"},
        {"[ log ]\n", "test.conf:1: unknown section [ log ]; did you mean [log]?"},
        {"[log\n", "test.conf:1: section without \"]\""},
        {"[log] level = info\n", "test.conf:1: text after the section's \"]\""},
        {"level = info\n", "test.conf:1: level stands before the first [section]"},
        {"[log]\nlevel\n", "test.conf:2: neither [section] nor name = value"},
        {"[log]\n = info\n", "test.conf:2: unknown option log."},
        {"[log]\nlevel = info\n\nlevel = info\n",
            "test.conf:4: log.level is set twice; the first time in line 2"},
        {"[log]\nlevel = info\n  level = info\n",
            "test.conf:3: log.level is set twice; the first time in line 2"},
        {"[filter]\na = 1\n[log]\n[filter]\na = 2\n",
            "test.conf:5: filter.a is set twice; the first time in line 2"},
        {"[log]\nlevel = loud\n",
            "test.conf:2: log.level: \"loud\" is none of debug, info, warn or error"},
        {"[log]\nlevel =\n", "test.conf:2: log.level: \"\" is none of debug, info, warn or error"},
        {"[log]\ntarget = file\n",
            "test.conf:2: log.target: \"file\" is none of auto, stderr or syslog"},
        {"[milterd]\non_failure = discard\n",
            "test.conf:2: milterd.on_failure: \"discard\" is none of tempfail, reject or accept"},
        {"[milterd]\nstage_time = 8 s\n", "test.conf:2: milterd.stage_time: \"8 s\" is not a "
                                          "duration, like 250ms, 8s, 5m, 2h, 1d"},
        {"[milterd]\nstage_time = 99ms\n",
            "test.conf:2: milterd.stage_time: \"99ms\" is out of range: 100ms to 10m"},
        {"[milterd]\nmax_message = 10X\n", "test.conf:2: milterd.max_message: \"10X\" is not a "
                                           "number of bytes, like 512, 64K, 16M, 2G"},
        {"[milterd]\nmax_message = 99999999999999999999\n",
            "test.conf:2: milterd.max_message: \"99999999999999999999\" is out of range: 1K to "
            "256M"},
        {"[milterd]\nmax_recipients = 1.5\n",
            "test.conf:2: milterd.max_recipients: \"1.5\" is not a whole number"},
        {"[milterd]\nsocket_mode = 0888\n",
            "test.conf:2: milterd.socket_mode: \"0888\" is not a file mode, like 0660"},
        {"[milterd]\nsocket_mode = 1777\n",
            "test.conf:2: milterd.socket_mode: \"1777\" is out of range: 0000 to 0777"},
        {"[milterd]\nparcel_reuse = maybe\n",
            "test.conf:2: milterd.parcel_reuse: \"maybe\" is neither yes nor no"},
        {"[milterd]\nsocket = 25\n",
            "test.conf:2: milterd.socket: \"25\" is not a socket, like unix:/PATH, inet:PORT@HOST, "
            "inet6:PORT@HOST or fd:N"},
        {"[milterd]\nallow = 10.0.0.1/8\n",
            "test.conf:2: milterd.allow: \"10.0.0.1/8\" has \"10.0.0.1/8\", which is no network "
            "(like 192.0.2.0/24, 2001:db8::/32, loopback; no bits past the prefix)"},
        {"[worker]\nfilter =\n", "test.conf:2: worker.filter: \"\" must not be empty"},
        {"[milterd]\nuser = aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n",
            "test.conf:2: milterd.user: "
            "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\" is too long: at "
            "most 64 bytes"},
        {"[filter]\n9x = 1\n", "test.conf:2: filter.9x: the name of a filter setting is a letter, "
                               "then letters, digits, \"_\", "
                               "\"-\" or \".\", at most 64 in all"},
        {"[log]\nlevel = \x1b[1m\n", "test.conf:2: control character (0x1B) in column 9"},
        {"[filter]\nname = caf\xE9\n", "test.conf:2: not valid UTF-8"},
        {"[sssssssssssssssssssssssssssssssssssssssssssssssssssssss]\n",
            "test.conf:1: section name of 55 bytes; at most 40 are allowed"},
        {"[multiplexor]\nmax_workers = 3\nmin_workers = 4\n",
            "test.conf:3: multiplexor.min_workers (4) must be at most multiplexor.max_workers (3): "
            "the pool keeps that many"},
        {"[multiplexor]\nkill_grace = 8s\n",
            "test.conf:2: multiplexor.kill_grace (8s) must be less than milterd.stage_time (8s): "
            "the grace is part of the budget"},
        {"[log]\nfacility = post\n", "test.conf:2: log.facility: \"post\" is no syslog facility, "
                                     "like mail, daemon or local0"},
        {"[multiplexor]\ncontrol_socket = /run/postern/multiplexor.sock\n",
            "test.conf:2: multiplexor.socket and multiplexor.control_socket are the same path"},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_refused(slice_text(rows[i].text), NULL, 0, rows[i].error);
    assert_refused(
        slice_of("[log]\0\n", 7), NULL, 0, "test.conf:1: control character (0x00) in column 6");
}

static void test_refused_overrides(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } rows[] = {
        {"log.levle=info", "-o log.levle=info: unknown option log.levle; did you mean level?"},
        {"level=info", "-o level=info: is not section.key=value"},
        {"level=a.b", "-o level=a.b: is not section.key=value"},
        {"log.level", "-o log.level: is not section.key=value"},
        {"", "-o : is not section.key=value"},
        {".level=info", "-o .level=info: level stands before the first [section]"},
        {"lgo.level=info", "-o lgo.level=info: unknown section [lgo]; did you mean [log]?"},
        {"log.level=\n",
            "-o log.level=\\n: log.level: \"\\n\" is none of debug, info, warn or error"},
        {"filter.a=\xFF", "-o filter.a=\\xFF: is not valid UTF-8"},
        {"multiplexor.min_workers=11", "multiplexor.min_workers (11) must be at most "
                                       "multiplexor.max_workers (10): the pool keeps that many"},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_refused(slice_text(""), &rows[i].text, 1, rows[i].error);
}

static void test_line_length(void **state)
{
    (void)state;
    static char text[16384];
    size_t len = (size_t)sprintf(text, "[filter]\na = ");
    memset(text + len, 'x', 8192 - 4); /* with "a = " exactly the limit */
    struct conf *conf = parse_ok(text, NULL, 0);
    assert_int_equal(strlen(conf->filter[0].value), 8192 - 4);
    conf_free(conf);
    memcpy(text + len + 8192 - 4, "x\nb = 2\n", 9);
    assert_refused(
        slice_text(text), NULL, 0, "test.conf:2: line of 8193 bytes; at most 8192 are allowed");
}

static void test_many_settings(void **state)
{
    (void)state;
    struct buf text;
    buf_init(&text, 1 << 20);
    buf_printf(&text, "[filter]\n");
    for (int i = 0; i < 1001; i++)
        buf_printf(&text, "s%d = %d\n", i, i);
    assert_refused(
        buf_slice(&text), NULL, 0, "test.conf:1002: filter.s1000: more than 1000 settings");
    buf_clear(&text);
}

static void test_values_as_text(void **state)
{
    (void)state;
    static const struct {
        const char *section, *name, *text, *printed;
    } rows[] = {
        {"worker", "trusted_networks", "10.0.0.0/8, loopback ::1 ::ffff:192.0.2.0/120",
            "10.0.0.0/8 loopback ::1 192.0.2.0/24"},
        {"worker", "trusted_networks", "127.0.0.0/8", "127.0.0.0/8"},
        {"milterd", "max_message", "1536K", "1536K"},
        {"milterd", "max_message", "1048576", "1M"},
        {"milterd", "max_message", "1025", "1025"},
        {"milterd", "parcel_keep", "0", "0"},
        {"milterd", "stage_time", "90s", "90s"},
        {"milterd", "stage_time", "120", "2m"},
        {"milterd", "stage_time", "1500ms", "1500ms"},
        {"milterd", "socket_mode", "7", "0007"},
        {"milterd", "parcel_reuse", "0", "no"},
        {"milterd", "on_failure", "accept", "accept"},
        {"milterd", "scanned_by", "x \"y\"", "x \"y\""},
        {"log", "level", "warn", "warn"},
        {"log", "target", "syslog", "syslog"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char printed[VALUE_BYTES] = "";
        char *override = xasprintf("%s.%s=%s", rows[i].section, rows[i].name, rows[i].text);
        struct conf *conf = parse_ok("", (const char *const *)&override, 1);
        for (int k = 0; k < conf_n_options; k++)
            if (strcmp(conf_options[k].section, rows[i].section) == 0 &&
                strcmp(conf_options[k].name, rows[i].name) == 0)
                conf_value_text(conf, &conf_options[k], printed, sizeof(printed));
        assert_string_equal(printed, rows[i].printed);
        conf_free(conf);
        free(override);
    }
}

static char *print_to_text(void (*print)(FILE *out))
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    print(out);
    fclose(out);
    return text;
}

/* Turns "#name = value" into "name = value". */
static void uncomment(char *text)
{
    for (char *line = text; line != NULL && *line != '\0';) {
        if (line[0] == '#' && line[1] >= 'a' && line[1] <= 'z')
            line[0] = ' ';
        line = strchr(line, '\n');
        if (line != NULL)
            line++;
    }
}

static void test_sample_is_the_defaults(void **state)
{
    (void)state;
    char *sample = print_to_text(conf_print_sample);
    struct conf *defaults = parse_ok("", NULL, 0), *as_printed = parse_ok(sample, NULL, 0);
    uncomment(sample);
    struct conf *uncommented = parse_ok(sample, NULL, 0);
    for (int i = 0; i < conf_n_options; i++) {
        char a[VALUE_BYTES], b[VALUE_BYTES], c[VALUE_BYTES];
        conf_value_text(defaults, &conf_options[i], a, sizeof(a));
        conf_value_text(as_printed, &conf_options[i], b, sizeof(b));
        conf_value_text(uncommented, &conf_options[i], c, sizeof(c));
        assert_string_equal(a, b);
        assert_string_equal(a, c);
        assert_non_null(strstr(sample, conf_options[i].help));
    }
    conf_free(defaults);
    conf_free(as_printed);
    conf_free(uncommented);
    free(sample);
}

/* Files. */

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/postern-test-conf.XXXXXX");
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static void write_file(const char *path, size_t len, char fill)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("[log]\nlevel = warn\n#", file);
    for (size_t i = 0; i < len; i++)
        fputc(i % 100 == 0 ? '\n' : fill, file);
    fclose(file);
}

static void test_load(void **state)
{
    (void)state;
    char path[128];
    struct conf *conf = NULL;
    char *error = NULL;
    snprintf(path, sizeof(path), "%s/a.conf", folder);
    assert_int_equal(conf_load(path, NULL, 0, &conf, &error), -ERR_NOTFOUND);
    assert_non_null(strstr(error, "a.conf: no such file"));
    free(error);
    assert_int_equal(conf_load(folder, NULL, 0, &conf, &error), -ERR_SYSTEM);
    assert_non_null(strstr(error, "Is a directory"));
    free(error);
    write_file(path, 10, '#');
    assert_int_equal(conf_load(path, NULL, 0, &conf, &error), 0);
    assert_int_equal(conf->log.level, LOG_LEVEL_WARN);
    assert_string_equal(conf->path, path);
    conf_free(conf);
    write_file(path, 2 << 20, '#');
    assert_int_equal(conf_load(path, NULL, 0, &conf, &error), -ERR_BAD);
    assert_non_null(strstr(error, "larger than"));
    free(error);
    unlink(path);
}

/* The command line. */

struct run {
    int status;
    char out[65536]; /* stdout and stderr together */
};

static const char *const sections[] = {"log", NULL};

/* Runs conf_from_args in a child, which exits with 50 + rest when it returns. */
static void run_args(bool may_have_rest, char **argv, struct run *run)
{
    const struct program program = {.name = "prog",
        .summary = "a summary",
        .sections = sections,
        .default_conf = "/nonexistent",
        .may_have_rest = may_have_rest};
    int argc = 0, pipe_fds[2], status = 0, rest = 0;
    while (argv[argc] != NULL)
        argc++;
    assert_int_equal(pipe(pipe_fds), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(pipe_fds[1], STDOUT_FILENO);
        dup2(pipe_fds[1], STDERR_FILENO);
        close(pipe_fds[0]);
        close(pipe_fds[1]);
        conf_free(conf_from_args(&program, argc, argv, &rest));
        exit(50 + rest);
    }
    close(pipe_fds[1]);
    size_t len = 0;
    ssize_t n;
    while ((n = read(pipe_fds[0], run->out + len, sizeof(run->out) - 1 - len)) > 0)
        len += (size_t)n;
    run->out[len] = '\0';
    close(pipe_fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    run->status = WEXITSTATUS(status);
}

static void test_command_line(void **state)
{
    (void)state;
    static const struct {
        const char *argv[6];
        bool may_have_rest;
        int status;
        const char *out;
    } rows[] = {
        {{"prog"}, false, 51, ""},
        {{"prog", "-o", "log.level=debug", "-olog.target=stderr"}, false, 54, ""},
        {{"prog", "-t"}, false, 0, "prog: the configuration is fine\n"},
        {{"prog", "-V"}, false, 0, "prog "},
        {{"prog", "--version"}, false, 0, "prog "},
        {{"prog", "-h"}, false, 0, "prog: a summary\n"},
        {{"prog", "--help"}, false, 0, "least severe level"},
        {{"prog", "-x"}, false, 2, "prog: unknown option -x; -h shows the usage\n"},
        {{"prog", "rest"}, false, 2, "prog: unexpected argument rest; -h shows the usage\n"},
        {{"prog", "-"}, false, 2, "prog: unexpected argument -; -h shows the usage\n"},
        {{"prog", "-c"}, false, 2, "prog: -c needs a value; -h shows the usage\n"},
        {{"prog", "-c", "/nonexistent/x"}, false, 2, "prog: /nonexistent/x: no such file\n"},
        {{"prog", "-t", "-o", "log.levle=x"}, false, 2,
            "prog: -o log.levle=x: unknown option log.levle; did you mean level?\n"},
        {{"prog", "-o", "log.level=debug", "--nursery", "3"}, true, 53, ""},
        {{"prog", "-x", "-c"}, true, 51, ""},
        {{"prog", "--", "-t"}, true, 52, ""},
        {{"prog", "rest", "-t"}, true, 51, ""},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        static struct run run;
        char *argv[6] = {0};
        for (int k = 0; rows[i].argv[k] != NULL; k++)
            argv[k] = xstrdup(rows[i].argv[k]);
        run_args(rows[i].may_have_rest, argv, &run);
        if (run.status != rows[i].status || strstr(run.out, rows[i].out) == NULL)
            fail_msg("row %zu: exit %d, \"%s\"", i, run.status, run.out);
        for (int k = 0; argv[k] != NULL; k++)
            free(argv[k]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_overrides),
        cmocka_unit_test(test_refused_files),
        cmocka_unit_test(test_refused_overrides),
        cmocka_unit_test(test_line_length),
        cmocka_unit_test(test_many_settings),
        cmocka_unit_test(test_values_as_text),
        cmocka_unit_test(test_sample_is_the_defaults),
        cmocka_unit_test_setup_teardown(test_load, make_folder, remove_folder),
        cmocka_unit_test(test_command_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
