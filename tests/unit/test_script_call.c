/* The call gate: what ends a hook (deadline, memory, errors), what a filter cannot reach, wrong
 * arguments everywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/clock.h"
#include "tests/unit/patience.h"
#include "tests/unit/script_fixture.h"

enum { ENOUGH_MS = 30000, ENDS_WITHIN_MS = 40000 };

/* ---- what ends a hook ---- */

static uint32_t profile_number; /* of the profile that is made meanwhile; 0: none */

static void run_for(struct worker_fixture *f, const char *code, int64_t budget_ms)
{
    fixture_filter(f, code);
    script_profile(f->script, profile_number);
    assert_int_equal(fixture_job(f, HOOK_MESSAGE), 0);
    int64_t start_ms = clock_now_ms();
    script_run(f->script, &f->job, start_ms + budget_ms, &f->reply);
    snprintf(f->error, sizeof f->error, "%.*s", (int)f->reply.error.len,
        f->reply.error.len > 0 ? f->reply.error.data : "");
    assert_in_range(clock_now_ms() - start_ms, 0, patience_ms(ENDS_WITHIN_MS));
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
    HOOK_MESSAGE_DOES("while true do xpcall(error, function() while true do end end) end"),
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
        run_for(f, arena_printf(f->texts, HELO_SERVES "%s", endless[i]), SCRIPT_SHORT_MS);
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

/* The deadline and the profile share one hook function. */
static void test_deadline_in_a_profile(void **state)
{
    struct worker_fixture *f = *state;
    profile_number = 1;
    test_deadline(state);
    assert_non_null(script_samples(f->script));
    script_profile(f->script, 0);
    assert_null(script_samples(f->script));
    profile_number = 0;
    assert_serves(f);
}

/* What the hook failed for is told, though its __close then ran into the deadline. */
static void test_endless_close(void **state)
{
    struct worker_fixture *f = *state;
    static const char code[] =
        HELO_SERVES HOOK_MESSAGE_DOES("local c <close> = setmetatable({}, "
                                      "{__close = function() while true do end end}) error('x')");
    run_for(f, code, SCRIPT_SHORT_MS);
    assert_int_equal(f->reply.outcome, OUTCOME_DEADLINE);
    assert_string_equal(f->error, "filter.lua:3: x; then filter.lua:3: filter_message did not end "
                                  "within its time");
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
        run_for(f, arena_printf(f->texts, HELO_SERVES "%s", greedy[i]), patience_ms(ENOUGH_MS));
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
        patience_ms(ENOUGH_MS));
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
    {"local function f(n) return coroutine.wrap(f)(n + 1) end f(1)",
        "filter.lua:3: filter.lua:3: "},
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
        script_log[0] = '\0';
        run_for(f,
            arena_printf(
                f->texts, HELO_SERVES "function filter_message(msg)\n%s\nend", errors[i][0]),
            patience_ms(ENOUGH_MS));
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
        assert_non_null(strstr(script_log, "hook=filter_message"));
        assert_non_null(strstr(script_log, "uid=CONN1.1"));
        assert_non_null(strstr(script_log, "traceback"));
        assert_ptr_equal(strchr(script_log, '\n'), script_log + strlen(script_log) - 1);
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
    "30) local t = os.time() async.sleep(0.01)",
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

/* No more time than that: a row asks how much is left. */
static void test_fine(void **state)
{
    struct worker_fixture *f = *state;
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++) {
        run_for(
            f, arena_printf(f->texts, "function filter_message(msg)\n%s\nend", fine[i]), ENOUGH_MS);
        if (f->reply.outcome != OUTCOME_OK || f->reply.verdict != VERDICT_CONTINUE) {
            fail_msg("%s: outcome %s: %s", fine[i], wire_outcome_name(f->reply.outcome), f->error);
        }
    }
    assert_non_null(strstr(script_log, "a\\tnil\\ttable: "));
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
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(test_deadline),
        SCRIPT_TEST(test_deadline_in_a_profile),
        SCRIPT_TEST(test_endless_close),
        SCRIPT_TEST(test_memory),
        SCRIPT_TEST(test_errors),
        SCRIPT_TEST(test_fine),
        SCRIPT_TEST(test_abuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
