/* The script: loading and its errors, the call gate (deadline, memory, waiting, coroutines),
 * verdicts, strict globals, what a filter cannot reach. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "tests/unit/worker_fixture.h"

#define HOOK_MESSAGE_DOES(code) "function filter_message(msg)\n" code "\nend\n"

enum { SHORT_MS = 150, ENDS_WITHIN_MS = 20000 };

static char log_text[65536];

static void on_log(enum log_level level, const char *line, void *context)
{
    (void)level;
    (void)context;
    size_t n = strlen(log_text);
    snprintf(log_text + n, sizeof log_text - n, "%s\n", line);
}

static int set_up(void **state)
{
    struct worker_fixture *f = calloc(1, sizeof *f);
    log_text[0] = '\0';
    log_set_sink(on_log, NULL);
    fixture_open(f, (const char *[]){"worker.lua_memory=16M", "filter.limit=12", "filter.name=x y",
                        "filter.on=yes", "filter.code=007", NULL});
    fixture_envelope(f);
    fixture_message(f, "Subject: hello\n\nbody\n");
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct worker_fixture *f = *state;
    fixture_close(f);
    free(f);
    log_set_sink(NULL, NULL);
    return 0;
}

/* ---- loading ---- */

static char *write_file(struct worker_fixture *f, const char *name, const void *bytes, size_t len)
{
    char *path = arena_printf(f->texts, "%s/%s", f->dir, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
    return path;
}

static int load(
    struct worker_fixture *f, const void *bytes, size_t len, int64_t load_ms, char **error)
{
    struct script *script = NULL;
    char *path = write_file(f, "other.lua", bytes, len);
    int err = script_new(f->conf, path, load_ms, &script, error);
    unlink(path);
    assert_true((err == 0) == (script != NULL));
    script_free(script);
    return err;
}

struct load_row {
    const char *text;
    int err;
    const char *part;
};

static const struct load_row load_rows[] = {
    {"function filter_message(msg)\n  return reject(\nend\n", -ERR_BAD, "other.lua:3:"},
    {"x = = 1", -ERR_BAD, "other.lua:1:"},
    {"\033Lua\x54\x00", -ERR_BAD, "bytecode"},
    {"local t = nil\nt.x = 1\nfunction filter_message() end", -ERR_BAD, "other.lua:2:"},
    {"error({})", -ERR_BAD, "other.lua:1: (the error is a table value)"},
    {"error(nil)", -ERR_BAD, "(the error is a nil value)"},
    {"error(setmetatable({}, {__tostring = function() return 'mine' end}))", -ERR_BAD, "mine"},
    {"error(setmetatable({}, {__tostring = function() error('x') end}))", -ERR_BAD, "table value"},
    {"", -ERR_BAD, "defines no hook"},
    {"local x = 1", -ERR_BAD, "defines no hook"},
    {"filter_message = 1", -ERR_BAD, "a hook is a function"},
    {"function filter_message() end\n\nfunction filter_mesage() end", -ERR_BAD,
        "other.lua:3: filter_mesage is no hook; did you mean filter_message?"},
    {"while true do end", -ERR_TIMEOUT, "other.lua:1: the top level did not end within its time"},
    {"while true do pcall(function() while true do end end) end", -ERR_TIMEOUT, "other.lua:1:"},
    {"require('postern.async').sleep(1)", -ERR_BAD, "cannot wait here"},
    {"require 'no.such.module'", -ERR_BAD, "other.lua:1: module 'no.such.module' not found"},
    {"local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1e5) .. i end", -ERR_BAD,
        "not enough memory"},
    {"local s = ('x'):rep(1e9)", -ERR_BAD, "not enough memory"},
    {"local function f() return 1 + f() end f()", -ERR_BAD, "other.lua:1:"},
    {"coroutine.yield()", -ERR_BAD, "outside a coroutine"},
    {"load(('('):rep(300))()", -ERR_BAD, "other.lua:1:"},
    {"os.exit(1)", -ERR_BAD, "other.lua:1:"},
    {"\xef\xbb\xbf#!/usr/bin/lua\nfunction filter_message() end", 0, NULL},
    {"filter_list = {}\nfunction filter_map() end function filter_tick() end", 0, NULL},
};

static void test_load(void **state)
{
    struct worker_fixture *f = *state;
    for (size_t i = 0; i < sizeof load_rows / sizeof load_rows[0]; i++) {
        const struct load_row *row = &load_rows[i];
        char *error = NULL;
        size_t len = row->text[0] == '\033' ? 6 : strlen(row->text);
        int err = load(f, row->text, len, row->err == -ERR_TIMEOUT ? SHORT_MS : 20000, &error);
        if (err != row->err ||
            (row->part != NULL && (error == NULL || strstr(error, row->part) == NULL))) {
            fail_msg("%s: got %d, %s; wanted %d, %s", row->text, err,
                error != NULL ? error : "no error", row->err,
                row->part != NULL ? row->part : "no error");
        }
        free(error);
    }
}

static void test_load_no_file(void **state)
{
    struct worker_fixture *f = *state;
    struct script *script = NULL;
    char *error = NULL;
    assert_int_equal(
        script_new(f->conf, "/nonexistent/filter.lua", 1000, &script, &error), -ERR_NOTFOUND);
    assert_non_null(strstr(error, "no such file"));
    free(error);
    assert_int_equal(script_new(f->conf, f->dir, 1000, &script, &error), -ERR_BAD);
    assert_non_null(strstr(error, "not a regular file"));
    free(error);
    char *fifo = arena_printf(f->texts, "%s/fifo", f->dir);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(script_new(f->conf, fifo, 1000, &script, &error), -ERR_BAD);
    free(error);
    unlink(fifo);
}

static void test_modules(void **state)
{
    struct worker_fixture *f = *state;
    static const char good[] = "return { answer = 42 }";
    static const char bad[] = "local x =\n\n= 1";
    char *good_path = write_file(f, "beside.lua", good, sizeof good - 1);
    char *bad_path = write_file(f, "broken.lua", bad, sizeof bad - 1);
    char *code_path = write_file(f, "compiled.lua", "\033Lua", 4);
    char *error = NULL;
    static const char uses[] =
        "local m = require 'beside' assert(m.answer == 42) function filter_message() end";
    assert_int_equal(load(f, uses, sizeof uses - 1, 1000, &error), 0);
    static const char broken[] = "require 'broken'";
    assert_int_equal(load(f, broken, sizeof broken - 1, 1000, &error), -ERR_BAD);
    assert_non_null(strstr(error, "broken.lua:3:"));
    free(error);
    static const char compiled[] = "require 'compiled'";
    assert_int_equal(load(f, compiled, sizeof compiled - 1, 1000, &error), -ERR_BAD);
    assert_non_null(strstr(error, "bytecode"));
    free(error);
    unlink(good_path);
    unlink(bad_path);
    unlink(code_path);
}

static void test_init(void **state)
{
    struct worker_fixture *f = *state;
    static const char *const rows[][2] = {
        {"function filter_init() error('no database') end", "other.lua:1: no database"},
        {"function filter_init() return 1 end", "filter_init returned a number"},
        {"function filter_init() while true do end end", "filter_init did not end within its time"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct script *script = NULL;
        char *error = NULL;
        char *path = write_file(f, "other.lua", rows[i][0], strlen(rows[i][0]));
        assert_int_equal(script_new(f->conf, path, 1000, &script, &error), 0);
        assert_int_equal(script_init(script, SHORT_MS, &error), -ERR_BAD);
        assert_non_null(error);
        if (strstr(error, rows[i][1]) == NULL) {
            fail_msg("%s", error);
        }
        free(error);
        script_exit(script, SHORT_MS);
        script_free(script);
        unlink(path);
    }
}

/* ---- what ends a hook ---- */

static void run_for(struct worker_fixture *f, const char *code, int64_t budget_ms)
{
    fixture_filter(f, code);
    assert_int_equal(fixture_job(f, HOOK_MESSAGE), 0);
    int64_t start_ms = clock_now_ms();
    script_run(f->script, &f->job, start_ms + budget_ms, &f->reply);
    snprintf(f->error, sizeof f->error, "%.*s", (int)f->reply.error.len,
        f->reply.error.len > 0 ? f->reply.error.data : "");
    assert_in_range(clock_now_ms() - start_ms, 0, ENDS_WITHIN_MS);
}

/* The script serves on after whatever happened. */
static void assert_serves(struct worker_fixture *f)
{
    fixture_run(f, HOOK_HELO);
    assert_int_equal(f->reply.outcome, OUTCOME_OK);
    assert_int_equal(f->reply.verdict, VERDICT_ACCEPT);
}

#define HELO_SERVES "function filter_helo() return accept() end\n"

static const char *const endless[] = {
    HOOK_MESSAGE_DOES("while true do end"),
    HOOK_MESSAGE_DOES("while true do pcall(function() while true do end end) end"),
    HOOK_MESSAGE_DOES("while true do xpcall(function() while true do end end, function() while "
                      "true do end end) end"),
    HOOK_MESSAGE_DOES("pcall(function() while true do end end)"),
    HOOK_MESSAGE_DOES("coroutine.wrap(function() while true do end end)()"),
    HOOK_MESSAGE_DOES(
        "while true do coroutine.resume(coroutine.create(function() while true do end end)) end"),
    HOOK_MESSAGE_DOES(
        "local co = coroutine.create(function() while true do coroutine.yield() end end)"
        "while true do coroutine.resume(co) end"),
    HOOK_MESSAGE_DOES("table.sort({3, 2, 1}, function() while true do end end)"),
    HOOK_MESSAGE_DOES(
        "while true do pcall(string.gsub, 'aaaa', 'a', function() while true do end end) end"),
    HOOK_MESSAGE_DOES(
        "local t = setmetatable({}, {__index = function() while true do end end}) return t.x"),
    HOOK_MESSAGE_DOES("local c <close> = setmetatable({}, {__close = function() while true do end "
                      "end}) while true do end"),
    HOOK_MESSAGE_DOES("local co = coroutine.create(function() local c <close> = setmetatable({}, "
                      "{__close = function() while true do end end}) coroutine.yield() end)"
                      "coroutine.resume(co) coroutine.close(co)"),
    HOOK_MESSAGE_DOES("for i = 1, math.huge do end"),
    HOOK_MESSAGE_DOES("goto again ::again:: goto again"),
    HOOK_MESSAGE_DOES("error(setmetatable({}, {__tostring = function() while true do end end}))"),
    HOOK_MESSAGE_DOES("require('postern.log').info('%s', setmetatable({}, {__tostring = function() "
                      "while true do end end}))"),
    HOOK_MESSAGE_DOES("require('postern.async').sleep(60)"),
    HOOK_MESSAGE_DOES("pcall(require('postern.async').sleep, 60) return accept()"),
    HOOK_MESSAGE_DOES(
        "coroutine.wrap(function() require('postern.async').sleep(60) end)() return accept()"),
    HOOK_MESSAGE_DOES("pcall(coroutine.wrap(function() pcall(coroutine.wrap(function() "
                      "require('postern.async').sleep(60) end)) end)) return accept()"),
};

static void test_deadline(void **state)
{
    struct worker_fixture *f = *state;
    for (size_t i = 0; i < sizeof endless / sizeof endless[0]; i++) {
        run_for(f, arena_printf(f->texts, HELO_SERVES "%s", endless[i]), SHORT_MS);
        if (f->reply.outcome != OUTCOME_DEADLINE || f->reply.verdict != VERDICT_TEMPFAIL) {
            fail_msg(
                "%s: outcome %s: %s", endless[i], wire_outcome_name(f->reply.outcome), f->error);
        }
        if (strstr(f->error, "filter_message did not end within its time") == NULL) {
            fail_msg("%s: %s", endless[i], f->error);
        }
        assert_serves(f);
    }
}

/* What the hook failed for is told, though its __close then ran into the deadline. */
static void test_endless_close(void **state)
{
    struct worker_fixture *f = *state;
    static const char code[] =
        HELO_SERVES HOOK_MESSAGE_DOES("local c <close> = setmetatable({}, "
                                      "{__close = function() while true do end end}) error('x')");
    run_for(f, code, SHORT_MS);
    assert_int_equal(f->reply.outcome, OUTCOME_ERROR);
    assert_string_equal(f->error, "filter.lua:3: x");
    assert_serves(f);
}

static const char *const greedy[] = {
    HOOK_MESSAGE_DOES("local function f() return f() + 1 end return f()"),
    HOOK_MESSAGE_DOES("local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end"),
    HOOK_MESSAGE_DOES("return ('x'):rep(1e9)"),
    HOOK_MESSAGE_DOES("local s = 'x' while true do s = s .. s end"),
    HOOK_MESSAGE_DOES(
        "coroutine.wrap(function() local s = 'x' while true do s = s .. s end end)()"),
    HOOK_MESSAGE_DOES("local t = {} while true do t = {t, t, t} end"),
    HOOK_MESSAGE_DOES("table.concat({}, 'x', 1, 1e15)"),
};

static void test_memory(void **state)
{
    struct worker_fixture *f = *state;
    for (size_t i = 0; i < sizeof greedy / sizeof greedy[0]; i++) {
        run_for(f, arena_printf(f->texts, HELO_SERVES "%s", greedy[i]), 10000);
        bool is_expected =
            f->reply.outcome == OUTCOME_MEMORY || strstr(greedy[i], "concat") != NULL;
        if (!is_expected || f->reply.verdict != VERDICT_TEMPFAIL) {
            fail_msg(
                "%s: outcome %s: %s", greedy[i], wire_outcome_name(f->reply.outcome), f->error);
        }
        assert_in_range(script_heap_kb(f->script), 0, 1024);
        assert_serves(f);
    }
    /* One that catches it goes on. */
    run_for(f,
        HOOK_MESSAGE_DOES("local ok, err = pcall(string.rep, 'x', 1e9) assert(not ok and err == "
                          "'not enough memory') return accept()"),
        10000);
    assert_int_equal(f->reply.outcome, OUTCOME_OK);
}

static const char *const errors[][2] = {
    {"error('x')", "filter.lua:3: x"},
    {"error({})", "filter.lua:3: (the error is a table value)"},
    {"error(nil)", "(the error is a nil value)"},
    {"error()", "(the error is a nil value)"},
    {"error(setmetatable({}, {__tostring = function() return 'spoken' end}))",
        "filter.lua:3: spoken"},
    {"error(setmetatable({}, {__tostring = error}))", "(the error is a table value)"},
    {"xpcall(error, function() error('again') end) error('after')", "filter.lua:3: after"},
    {"local t = nil; return t.x", "filter.lua:3:"},
    {"local function f() return pcall(f) end while true do f() error('deep') end",
        "filter.lua:3: deep"},
    {"local function f(n) return coroutine.wrap(f)(n + 1) end f(1)", "filter.lua:3: filter.lua:3: "},
    {"string.find('x', ('('):rep(40) .. 'x' .. (')'):rep(40))", "too many captures"},
    {"string.find(('a'):rep(300000), ('a?'):rep(300000) .. 'b')", "too complex"},
    {"coroutine.yield(1)", "outside a coroutine"},
    {"os.exit(0)", "filter.lua:3:"},
    {"os.execute('true')", "filter.lua:3:"},
    {"io.popen('true')", "filter.lua:3:"},
    {"assert(load(string.dump(function() end)))", "filter.lua:3:"},
    {"assert(load('\\27Lua', 'x', 'b'))", "bytecode is not loaded"},
    {"assert(load('\\27Lua', 'x'))", "attempt to load"},
    {"dofile('x')", "filter.lua:3:"},
    {"assert(io.open('/tmp/x', 'w'))", "worker.write_paths"},
    {"io.lines()", "filter.lua:3:"},
    {"x = 1", "assignment to global 'x'"},
    {"print = 1", "assignment to global 'print'"},
    {"filter_message = nil", "assignment to global 'filter_message'"},
    {"function helper() end", "assignment to global 'helper'"},
    {"config.limit = 1", "config is read-only"},
    {"setmetatable(_G, nil)", "protected metatable"},
    {"table.sort({2, 1}, function() require('postern.async').sleep(0) end)", "cannot wait here"},
    {"('a'):gsub('a', function() require('postern.async').sleep(0) end)", "cannot wait here"},
    {"table.sort({2, 1}, coroutine.wrap(function() require('postern.async').sleep(0) end))",
        "cannot wait here"},
    {"require('postern.async').sleep(-1)", "seconds expected"},
    {"require('postern.async').sleep(0/0)", "seconds expected"},
    {"require('postern.async').sleep({})", "number expected"},
};

static void test_errors(void **state)
{
    struct worker_fixture *f = *state;
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        log_text[0] = '\0';
        run_for(f,
            arena_printf(
                f->texts, HELO_SERVES "function filter_message(msg)\n%s\nend", errors[i][0]),
            10000);
        if (f->reply.outcome != OUTCOME_ERROR || strstr(f->error, errors[i][1]) == NULL) {
            fail_msg(
                "%s: outcome %s: %s", errors[i][0], wire_outcome_name(f->reply.outcome), f->error);
        }
        assert_int_equal(f->reply.verdict, VERDICT_TEMPFAIL);
        assert_int_equal(f->reply.code, 451);
        assert_memory_equal(f->reply.dsn.data, "4.3.0", 5);
        assert_null(memmem(f->reply.text.data, f->reply.text.len, "filter.lua", 10));
        assert_non_null(memmem(f->reply.text.data, f->reply.text.len, "CONN1.1", 7));
        /* logged once, with its place and whose it was */
        assert_non_null(strstr(log_text, "hook=filter_message"));
        assert_non_null(strstr(log_text, "uid=CONN1.1"));
        assert_non_null(strstr(log_text, "traceback"));
        assert_ptr_equal(strchr(log_text, '\n'), log_text + strlen(log_text) - 1);
        assert_serves(f);
    }
}

static const char *const fine[] = {
    "local ok, e = pcall(error, {1}) assert(not ok and e[1] == 1) ok, e = pcall(function(...) "
    "return select('#', ...), ... end, 1, nil) assert(ok and e == 2)",
    "local ok, a, b = xpcall(function(x, y) return y, x end, print, 1, 2) assert(ok and a == 2 and "
    "b == 1)",
    "local ok, e = xpcall(function() error('x', 0) end, function(m) return m .. '!' end) "
    "assert(not ok and e == 'x!')",
    "local gen = coroutine.wrap(function(a) local b = coroutine.yield(a + 1) coroutine.yield(b * "
    "2) end) assert(gen(1) == 2 and gen(5) == 10)",
    "local co = coroutine.create(function() error('x') end) local ok, e = coroutine.resume(co) "
    "assert(not ok and e:find('x')) assert(coroutine.status(co) == 'dead') assert(not "
    "coroutine.resume(co))",
    "local async = require 'postern.async' local co = coroutine.wrap(function() async.sleep(0.001) "
    "local v = coroutine.yield(1) async.sleep(0) return v end) assert(co() == 1) assert(co(7) == "
    "7)",
    "local async = require 'postern.async' local ok, e = pcall(function() async.sleep(0.001) "
    "error('late', 0) end) assert(not ok and e == 'late')",
    "local async = require 'postern.async' assert(async.time_left() > 5 and async.time_left() <= "
    "10) local t = os.time() async.sleep(0.01)",
    "assert(config.limit == 12 and config.name == 'x y' and config.on == true and config.code == "
    "'007' and config.none == nil)",
    "local n = 0 for k, v in pairs(config) do n = n + 1 end assert(n == 4)",
    "assert(_G.print == print and undefined_name == nil) local seen for k in pairs(_G) do seen = "
    "seen or k == 'string' end assert(seen)",
    "assert(os.exit == nil and os.remove == nil and os.rename == nil and os.tmpname == nil and "
    "os.setlocale == nil and os.execute == nil)",
    "assert(io.popen == nil and io.stdout == nil and io.output == nil and string.dump == nil and "
    "dofile == nil and loadfile == nil and debug.sethook == nil and package.loadlib == nil)",
    "assert(load('return 1 + 1')() == 2) assert(load('return x', 'c', 't', {x = 3})() == 3) local "
    "parts = {'return ', '5', nil} local i = 0 assert(load(function() i = i + 1 return parts[i] "
    "end)() == 5) assert(load('x = ') == nil)",
    "local f = assert(io.open('/etc/passwd')) assert(f:read('l')) f:close() for l in "
    "io.lines('/etc/passwd') do assert(l) break end",
    "assert(os.time() > 0 and os.date('%Y') and os.clock() and os.getenv('PATH'))",
    "collectgarbage() collectgarbage('count')",
    "print('a', nil, {}, 1.5) local log = require 'postern.log' log.info() log.info(nil) "
    "log.info({}) log.info('%d', 'x') log.info('%s %s', 1) log.info('a\\nb\\0c') log.warn('%5.2f', "
    "1) log.debug('x') log.error(setmetatable({}, {__tostring = error}))",
};

static void test_fine(void **state)
{
    struct worker_fixture *f = *state;
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++) {
        run_for(f, arena_printf(f->texts, "function filter_message(msg)\n%s\nend", fine[i]), 10000);
        if (f->reply.outcome != OUTCOME_OK || f->reply.verdict != VERDICT_CONTINUE) {
            fail_msg("%s: outcome %s: %s", fine[i], wire_outcome_name(f->reply.outcome), f->error);
        }
    }
    assert_non_null(strstr(log_text, "a\\tnil\\ttable: "));
}

/* ---- verdicts ---- */

struct verdict_row {
    enum hook hook;
    const char *code;
    const char *error; /* NULL: fine, and then */
    enum verdict verdict;
    unsigned code_wanted;
    const char *dsn, *text;
    uint32_t delay_ms;
};

static const struct verdict_row verdict_rows[] = {
    {HOOK_MESSAGE, "", NULL, VERDICT_CONTINUE, 0, "", "", 0},
    {HOOK_MESSAGE, "return nil", NULL, VERDICT_CONTINUE, 0, "", "", 0},
    {HOOK_MESSAGE, "return continue()", NULL, VERDICT_CONTINUE, 0, "", "", 0},
    {HOOK_MESSAGE, "return accept()", NULL, VERDICT_ACCEPT, 0, "", "", 0},
    {HOOK_MESSAGE, "return discard()", NULL, VERDICT_DISCARD, 0, "", "", 0},
    {HOOK_MESSAGE, "return reject('no spam')", NULL, VERDICT_REJECT, 550, "5.7.1", "no spam", 0},
    {HOOK_MESSAGE, "return tempfail('later')", NULL, VERDICT_TEMPFAIL, 451, "4.7.1", "later", 0},
    {HOOK_MESSAGE, "return reject{text = 'a\\nb', code = 554, dsn = '5.6.0', delay = 1.5}", NULL,
        VERDICT_REJECT, 554, "5.6.0", "a\nb", 1500},
    {HOOK_MESSAGE, "return reject{text = '100% sure'}", NULL, VERDICT_REJECT, 550, "5.7.1",
        "100% sure", 0},
    {HOOK_MESSAGE, "return tempfail{text = 'x', delay = 1e9}", NULL, VERDICT_TEMPFAIL, 451, "4.7.1",
        "x", 60000},
    {HOOK_MESSAGE, "reject('unused') return accept()", NULL, VERDICT_ACCEPT, 0, "", "", 0},
    {HOOK_RECIPIENT, "return discard{whole_message = true}", NULL, VERDICT_DISCARD, 0, "", "", 0},
    {HOOK_RECIPIENT, "return reject('who?')", NULL, VERDICT_REJECT, 550, "5.7.1", "who?", 0},
    {HOOK_RELAY, "return reject('go')", NULL, VERDICT_REJECT, 550, "5.7.1", "go", 0},
    {HOOK_MESSAGE, "reject('spam')",
        "filter.lua:2: the verdict reject(…) was made but filter_message did not return it", 0, 0,
        NULL, NULL, 0},
    {HOOK_MESSAGE, "accept()\nreturn nil", "filter.lua:2: the verdict accept(…)", 0, 0, NULL, NULL,
        0},
    {HOOK_MESSAGE, "return reject", "returned the function reject; call it", 0, 0, NULL, NULL, 0},
    {HOOK_MESSAGE, "return print", "returned a function", 0, 0, NULL, NULL, 0},
    {HOOK_MESSAGE, "return false", "returned a boolean", 0, 0, NULL, NULL, 0},
    {HOOK_MESSAGE, "return true", "returned a boolean", 0, 0, NULL, NULL, 0},
    {HOOK_MESSAGE, "return 'reject'", "returned a string", 0, 0, NULL, NULL, 0},
    {HOOK_MESSAGE, "return msg", "returned a userdata", 0, 0, NULL, NULL, 0},
    {HOOK_MESSAGE, "return nil, 'err'", "returned 2 values", 0, 0, NULL, NULL, 0},
    {HOOK_MESSAGE, "return reject{txt = 'x'}",
        "filter.lua:2: unknown key 'txt'; did you mean 'text'?", 0, 0, NULL, NULL, 0},
    {HOOK_MESSAGE, "return reject{'x'}", "filter.lua:2: unknown key '1'", 0, 0, NULL, NULL, 0},
    {HOOK_MESSAGE, "return reject{code = 250}", "filter.lua:2: reject: ", 0, 0, NULL, NULL, 0},
    {HOOK_MESSAGE, "return reject{code = 451}", "filter.lua:2: reject: ", 0, 0, NULL, NULL, 0},
    {HOOK_MESSAGE, "return tempfail{code = 550}", "filter.lua:2: tempfail: ", 0, 0, NULL, NULL, 0},
    {HOOK_MESSAGE, "return reject{dsn = '4.7.1'}", "filter.lua:2: reject: ", 0, 0, NULL, NULL, 0},
    {HOOK_MESSAGE, "return reject{dsn = 'x'}", "filter.lua:2: reject: ", 0, 0, NULL, NULL, 0},
    {HOOK_MESSAGE, "return reject{dsn = ('5'):rep(100)}", "dsn must be", 0, 0, NULL, NULL, 0},
    {HOOK_MESSAGE, "return reject{dsn = '5.7.1\\0x'}", "dsn must be", 0, 0, NULL, NULL, 0},
    {HOOK_MESSAGE, "return reject{code = '5x0'}", "code must be", 0, 0, NULL, NULL, 0},
    {HOOK_MESSAGE, "return reject{code = 1e300}", "code must be", 0, 0, NULL, NULL, 0},
    {HOOK_MESSAGE, "return reject{delay = -1}", "delay must be", 0, 0, NULL, NULL, 0},
    {HOOK_MESSAGE, "return reject{delay = 0/0}", "delay must be", 0, 0, NULL, NULL, 0},
    {HOOK_MESSAGE, "return reject{text = {}}", "text must be", 0, 0, NULL, NULL, 0},
    {HOOK_MESSAGE, "return reject('a\\0b')", "filter.lua:2: reject: ", 0, 0, NULL, NULL, 0},
    {HOOK_MESSAGE, "return reject('a\\rb')", "filter.lua:2: reject: ", 0, 0, NULL, NULL, 0},
    {HOOK_MESSAGE, "return reject(('x'):rep(100000))", "filter.lua:2: reject: ", 0, 0, NULL, NULL,
        0},
    {HOOK_MESSAGE, "return reject(msg)", "text or table expected", 0, 0, NULL, NULL, 0},
    {HOOK_MESSAGE, "return accept('x')", "accept() takes no argument", 0, 0, NULL, NULL, 0},
    {HOOK_MESSAGE, "return reject('x').code", "a verdict has no fields", 0, 0, NULL, NULL, 0},
    {HOOK_RELAY, "return discard()", "discard is not allowed in filter_relay", 0, 0, NULL, NULL, 0},
    {HOOK_RECIPIENT, "return discard()", "use msg:delete_recipient(rcpt)", 0, 0, NULL, NULL, 0},
    {HOOK_UNKNOWN, "return accept()", "accept is not allowed in filter_unknown", 0, 0, NULL, NULL,
        0},
    {HOOK_CLOSE, "return reject('x')", "reject is not allowed in filter_close", 0, 0, NULL, NULL,
        0},
};

static const char *parameters(enum hook hook)
{
    return (hook_info(hook)->flags & HOOK_HAS_MSG) != 0 ? "msg, rcpt" : "conn";
}

static void check_verdict(struct worker_fixture *f, const struct verdict_row *row)
{
    const struct wire_reply *reply = &f->reply;
    if (row->error != NULL) {
        if (reply->outcome != OUTCOME_ERROR || strstr(f->error, row->error) == NULL) {
            fail_msg("%s: outcome %s: %s", row->code, wire_outcome_name(reply->outcome), f->error);
        }
        return;
    }
    if (reply->outcome != OUTCOME_OK || reply->verdict != row->verdict ||
        reply->code != row->code_wanted) {
        fail_msg("%s: outcome %s: %s, %u %u", row->code, wire_outcome_name(reply->outcome),
            f->error, reply->verdict, reply->code);
    }
    assert_int_equal(reply->delay_ms, row->delay_ms);
    assert_true(slice_equal(reply->dsn, slice_text(row->dsn)));
    assert_true(slice_equal(reply->text, slice_text(row->text)));
    bool is_made = row->verdict != VERDICT_CONTINUE || strstr(row->code, "continue") != NULL;
    assert_true(slice_equal(reply->where, slice_text(is_made ? "filter.lua:2" : "")));
}

static void test_verdicts(void **state)
{
    struct worker_fixture *f = *state;
    for (size_t i = 0; i < sizeof verdict_rows / sizeof verdict_rows[0]; i++) {
        const struct verdict_row *row = &verdict_rows[i];
        fixture_filter(f, arena_printf(f->texts, "function %s(%s)\n%s\nend",
                              hook_info(row->hook)->name, parameters(row->hook), row->code));
        fixture_run(f, row->hook);
        check_verdict(f, row);
    }
}

static void test_verdict_of_load(void **state)
{
    struct worker_fixture *f = *state;
    fixture_filter(f, "local spam = reject('spam')\nfunction filter_message(msg) if msg.subject == "
                      "'hello' then return spam end end\nfunction filter_sender() end");
    fixture_run_ok(f, HOOK_SENDER, VERDICT_CONTINUE);
    fixture_run_ok(f, HOOK_MESSAGE, VERDICT_REJECT);
    assert_true(slice_equal(f->reply.where, slice_text("filter.lua:1")));
    fixture_run_ok(f, HOOK_MESSAGE, VERDICT_REJECT);
}

/* ---- on_error ---- */

static void test_on_error(void **state)
{
    struct worker_fixture *f = *state;
    static const struct {
        const char *answer;
        enum hook hook;
        enum verdict verdict;
        unsigned flags;
    } rows[] = {
        {"tempfail", HOOK_MESSAGE, VERDICT_TEMPFAIL, 0},
        {"tempfail", HOOK_RELAY, VERDICT_TEMPFAIL, 0},
        {"tempfail", HOOK_RECIPIENT, VERDICT_TEMPFAIL, 0},
        {"tempfail", HOOK_ABORT, VERDICT_CONTINUE, 0},
        {"tempfail", HOOK_CLOSE, VERDICT_CONTINUE, 0},
        {"reject", HOOK_MESSAGE, VERDICT_REJECT, 0},
        {"accept", HOOK_MESSAGE, VERDICT_ACCEPT, REPLY_NO_CHANGES},
        {"accept", HOOK_RELAY, VERDICT_ACCEPT, REPLY_NO_CHANGES},
        {"accept", HOOK_RECIPIENT, VERDICT_CONTINUE, REPLY_NO_CHANGES},
        {"accept", HOOK_UNKNOWN, VERDICT_CONTINUE, REPLY_NO_CHANGES},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct worker_fixture g;
        fixture_open(&g,
            (const char *[]){arena_printf(f->texts, "worker.on_error=%s", rows[i].answer), NULL});
        fixture_envelope(&g);
        fixture_message(&g, "Subject: x\n\ny\n");
        fixture_filter(&g, arena_printf(f->texts, "function %s(x) error('broken') end",
                               hook_info(rows[i].hook)->name));
        fixture_run(&g, rows[i].hook);
        assert_int_equal(g.reply.outcome, OUTCOME_ERROR);
        assert_int_equal(g.reply.verdict, rows[i].verdict);
        assert_int_equal(g.reply.flags, rows[i].flags);
        fixture_close(&g);
    }
}

/* ---- changes and state ---- */

static void test_error_drops(void **state)
{
    struct worker_fixture *f = *state;
    fixture_filter(f, "function filter_sender(msg) msg.state.n = 1 msg.conn.state.n = 1 "
                      "msg:add_header('X-A', '1') end\n"
                      "function filter_data(msg) msg.state.n = 2 msg.conn.state.n = 2 "
                      "msg:add_header('X-B', '1') error('x') end\n"
                      "function filter_message(msg) assert(msg.state.n == 1 and msg.conn.state.n "
                      "== 1) assert(msg:header('X-A') == '1' and not msg:header('X-B')) end");
    fixture_run_ok(f, HOOK_SENDER, VERDICT_CONTINUE);
    assert_int_equal(f->reply.flags, REPLY_HAS_CONN_STATE | REPLY_HAS_MSG_STATE);
    assert_true(f->reply.changes.len > 0);
    fixture_run_error(f, HOOK_DATA, "x");
    assert_int_equal(f->reply.flags, 0);
    assert_int_equal(f->reply.changes.len, 0);
    fixture_run_ok(f, HOOK_MESSAGE, VERDICT_CONTINUE);
}

static void test_state(void **state)
{
    struct worker_fixture *f = *state;
    fixture_filter(f, "function filter_relay(conn) conn.state.list = {1, 2, {x = 'y'}} "
                      "conn.state.f = 0.5 conn.state[-3] = true end\n"
                      "function filter_sender(msg) local s = msg.conn.state assert(s.list[3].x == "
                      "'y' and s.f == 0.5 and s[-3] == true) assert(next(msg.state) == nil) end\n"
                      "function filter_data(msg) msg.state.deep = {a = {b = print}} end\n"
                      "function filter_headers(msg) local t = {} t.t = t msg.state.t = t end\n"
                      "function filter_message(msg) msg.state.long = ('x'):rep(40000) end");
    fixture_run_ok(f, HOOK_RELAY, VERDICT_CONTINUE);
    assert_int_equal(f->reply.flags, REPLY_HAS_CONN_STATE);
    fixture_run_ok(f, HOOK_SENDER, VERDICT_CONTINUE);
    fixture_run_error(f, HOOK_DATA, "msg.state.deep.a.b is a function");
    fixture_run_error(f, HOOK_HEADERS, "nested too deeply");
    fixture_run_error(f, HOOK_MESSAGE, "msg.state.long makes it larger than 32 KiB");
}

static void test_hostile_state(void **state)
{
    struct worker_fixture *f = *state;
    fixture_filter(
        f, "function filter_relay(conn) return conn.state.x end\nfunction filter_helo(conn) end");
    assert_int_equal(buf_put(&f->conn_state, "\x06\xff\xff\xff\xff", 5), 0);
    fixture_run_error(f, HOOK_RELAY, "conn.state cannot be read");
    fixture_run_ok(f, HOOK_HELO, VERDICT_CONTINUE); /* not looked at: not read */
}

static void test_nothing_kept(void **state)
{
    struct worker_fixture *f = *state;
    fixture_filter(f, "local kept\nfunction filter_sender(msg) kept = msg end\n"
                      "function filter_data(msg) return reject(kept.sender) end\n"
                      "function filter_message(msg) assert(tostring(kept)) return "
                      "reject(kept:header('Subject')) end");
    fixture_run_ok(f, HOOK_SENDER, VERDICT_CONTINUE);
    fixture_run_error(f, HOOK_DATA, "msg is no longer available");
    fixture_run_error(f, HOOK_MESSAGE, "msg is no longer available");
}

static void test_undefined_hook(void **state)
{
    struct worker_fixture *f = *state;
    fixture_filter(f, "function filter_message() error('no') end function filter_map() error('no') "
                      "end function filter_tick(name) assert(type(name) == 'string') end");
    fixture_run_ok(f, HOOK_SENDER, VERDICT_CONTINUE);
    fixture_run_ok(f, HOOK_MAP, VERDICT_CONTINUE);
    fixture_run_ok(f, HOOK_TICK, VERDICT_CONTINUE);
    assert_int_equal(
        script_hooks(f->script), HOOK_BIT(HOOK_MESSAGE) | HOOK_BIT(HOOK_MAP) | HOOK_BIT(HOOK_TICK));
}

static void test_random(void **state)
{
    struct worker_fixture *f = *state;
    fixture_filter(f, "function filter_message() return reject(tostring(math.random(0))) end");
    script_after_fork(f->script);
    fixture_run_ok(f, HOOK_MESSAGE, VERDICT_REJECT);
    char *first = arena_memdup0(f->texts, f->reply.text.data, f->reply.text.len);
    script_after_fork(f->script);
    fixture_run_ok(f, HOOK_MESSAGE, VERDICT_REJECT);
    assert_false(slice_equal(f->reply.text, slice_text(first)));
}

static void test_globals_not_strict(void **state)
{
    struct worker_fixture *f = *state;
    struct worker_fixture g;
    fixture_open(&g, (const char *[]){"worker.strict_globals=no", NULL});
    fixture_envelope(&g);
    fixture_filter(&g, "function filter_sender() count = (count or 0) + 1 return count > 1 and "
                       "accept() or nil end");
    fixture_run_ok(&g, HOOK_SENDER, VERDICT_CONTINUE);
    fixture_run_ok(&g, HOOK_SENDER, VERDICT_ACCEPT);
    fixture_close(&g);
    fixture_filter(f,
        "function filter_init() shared = {} helper = function() return accept() end end\n"
        "function filter_sender() shared.n = 1 return helper() end");
    fixture_run_ok(f, HOOK_SENDER, VERDICT_ACCEPT);
}

/* ---- unknown globals ---- */

static void on_unknown(const char *name, int line, void *context)
{
    struct buf *out = context;
    assert_int_equal(buf_printf(out, "%s:%d ", name, line), 0);
}

static void test_unknown_globals(void **state)
{
    struct worker_fixture *f = *state;
    static const char text[] =
        "local a, b <const> = 1, 2\n"
        "-- commented_out\n"
        "--[==[ also\nout ]==]\n"
        "local s = [[text_out]] .. 'quoted\\' out' .. \"more\"\n"
        "function helper(x, ...) return x + y_missing end\n"                          /* line 6 */
        "local t = { key = a, [b] = other_missing, f = function(p) inner = p end }\n" /* line 7 */
        "function t.method(q) self_missing = q; return self end\n"
        "function t:call() return self, t.field, t:method() end\n"
        "for i, v in ipairs(t) do goto done; print(i, v) ::done:: end\n"
        "for n = 1, 0x1f do local z = n end\n"
        "function filter_message(msg)\n"
        "  if msg:header('x') == missing.thing then return rejct('x') end\n" /* line 13 */
        "  helper(y_missing)\n"
        "  return reject(msg.subject)\n"
        "end\n";
    fixture_filter(f, text);
    struct buf out;
    buf_init(&out, 4096);
    script_each_unknown_global(f->script, on_unknown, &out);
    assert_int_equal(buf_put_u8(&out, 0), 0);
    assert_string_equal((char *)out.data, "y_missing:6 other_missing:7 missing:13 rejct:13 ");
    buf_clear(&out);
}

/* ---- abuse ---- */

static void test_abuse(void **state)
{
    struct worker_fixture *f = *state;
    char *path = arena_printf(f->texts, "%s/tests/unit/abuse.lua", POSTERN_SOURCE_DIR);
    char *filter = arena_printf(f->texts, "local path = '%s'\n%s", path,
        "local abuse = assert(load(assert(io.open(path)):read('a'), '@abuse.lua'))()\n"
        "function filter_message(msg) abuse(msg, msg.conn, msg.recipients[1], msg.root) return "
        "continue() end\n"
        "function filter_recipient(msg, rcpt) abuse(msg, rcpt, msg.conn) return continue() end\n"
        "function filter_relay(conn) abuse(conn) return continue() end\n");
    static const enum hook hooks[] = {HOOK_RELAY, HOOK_RECIPIENT, HOOK_MESSAGE};
    fixture_filter(f, filter);
    for (size_t i = 0; i < sizeof hooks / sizeof hooks[0]; i++) {
        fixture_run(f, hooks[i]);
        if (f->reply.outcome != OUTCOME_OK) {
            fail_msg("%s: %s", hook_info(hooks[i])->name, f->error);
        }
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_load),
        TEST(test_load_no_file),
        TEST(test_modules),
        TEST(test_init),
        TEST(test_deadline),
        TEST(test_endless_close),
        TEST(test_memory),
        TEST(test_errors),
        TEST(test_fine),
        TEST(test_verdicts),
        TEST(test_verdict_of_load),
        TEST(test_on_error),
        TEST(test_error_drops),
        TEST(test_state),
        TEST(test_hostile_state),
        TEST(test_nothing_kept),
        TEST(test_undefined_hook),
        TEST(test_random),
        TEST(test_globals_not_strict),
        TEST(test_unknown_globals),
        TEST(test_abuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
