/* Functions that run at the same time in one hook: what they give back, what ends them, and that
 * nothing of them is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/clock.h"
#include "tests/unit/patience.h"
#include "tests/unit/script_fixture.h"

enum { ENOUGH_MS = 30000 };

#define ASYNC "local async = require 'postern.async' "
/* A variable whose __close says so in the table `closed`. */
#define CLOSES(name)                                                                               \
    "local c <close> = setmetatable({}, {__close = function() closed." name " = true end}) "

static void run_for(struct worker_fixture *f, const char *code, int64_t budget_ms)
{
    fixture_filter(f, arena_printf(f->texts, "function filter_message(msg)\n%s\nend", code));
    assert_int_equal(fixture_job(f, HOOK_MESSAGE), 0);
    script_run(f->script, &f->job, clock_now_ms() + budget_ms, &f->reply);
    snprintf(f->error, sizeof f->error, "%.*s", (int)f->reply.error.len,
        f->reply.error.len > 0 ? f->reply.error.data : "");
}

static const char *const fine[] = {
    /* keys, values, errors */
    ASYNC "local r = async.all{} assert(next(r) == 'errors' and next(r.errors) == nil)",
    ASYNC "local r = async.all{ a = function() return 1 end, [7] = function() async.sleep(0.01) "
          "return 'x', 'y' end, [false] = function() return false end, n = function() end } "
          "assert(r.a == 1 and r[7] == 'x' and r[false] == false and r.n == nil and next(r.errors) "
          "== nil)",
    ASYNC "local r = async.all{ function() return 1 end, function() return nil, 'why' end, "
          "function() error('x', 0) end, function() error({ code = 3 }) end } assert(#r == 1 and "
          "r[1] == 1 and r.errors[2] == 'why' and r.errors[3] == 'x' and r.errors[4].code == 3)",
    ASYNC "local r = async.all{ a = function() async.sleep(0) error('late') end } "
          "assert(r.errors.a:find('filter.lua:2: late'))",
    /* at the same time */
    ASYNC "local order = {} local function f(n, s) return function() async.sleep(s) order[#order + "
          "1] = n return n end end local r = async.all{ f(1, 0.09), f(2, 0.01), f(3, 0.05) } "
          "assert(table.concat(order) == '231' and r[1] == 1 and r[2] == 2 and r[3] == 3)",
    ASYNC "local function deep(n) if n == 0 then async.sleep(0.01) return 1 end local r = "
          "async.all{ a = function() return deep(n - 1) end, b = function() return deep(n - 1) end "
          "} return r.a + r.b end assert(deep(6) == 64)",
    ASYNC "local t = {} for i = 1, 1000 do t[i] = function() async.sleep(0.001) return i end end "
          "local r = async.all(t) for i = 1, 1000 do assert(r[i] == i) end",
    /* within pcall and coroutines */
    ASYNC
    "local r = async.all{ a = function() return pcall(function() async.sleep(0.01) error('x', "
    "0) end) end, b = coroutine.wrap(function() async.sleep(0.01) return 2 end) } assert(r.a "
    "== false and r.b == 2)",
    ASYNC "local gen = coroutine.wrap(function() for i = 1, 3 do local r = async.all{ function() "
          "async.sleep(0.001) return i end } coroutine.yield(r[1]) end end) assert(gen() + gen() + "
          "gen() == 6)",
    ASYNC "local ok, e = pcall(async.all, { function() async.sleep(0.001) end }) assert(ok and "
          "type(e) == 'table')",
    /* a verdict is a value */
    ASYNC "local r = async.all{ v = function() async.sleep(0.001) return reject('no') end } "
          "assert(tostring(r.v):find('reject')) return r.v",
    /* nobody else goes on with what waits */
    ASYNC
    "local co = coroutine.create(function() async.sleep(0.05) return 'mine' end) local r = "
    "async.all{ function() return select(2, coroutine.resume(co)) end, function() "
    "local ok, e = coroutine.resume(co) assert(not ok and e:find('non%-suspended')) "
    "assert(not pcall(coroutine.close, co)) return 'kept off' end } assert(r[1] == 'mine' and "
    "r[2] == 'kept off')",
    ASYNC "local co local r = async.all{ a = function() co = coroutine.running() async.sleep(0.02) "
          "return 1 end, b = function() async.sleep(0.001) assert(not coroutine.resume(co)) "
          "assert(not pcall(coroutine.close, co)) return 2 end } assert(r.a == 1 and r.b == 2)",
    ASYNC
    "local co local r = async.all{ a = function() co = coroutine.running() return 1 end, b = "
    "function() async.sleep(0.001) assert(not coroutine.resume(co)) return 2 end } assert(r.a "
    "== 1 and r.b == 2) assert(not coroutine.resume(co))",
    ASYNC "local hook = coroutine.running() local r = async.all{ function() assert(not "
          "coroutine.resume(hook)) return 1 end } assert(r[1] == 1)",
    ASYNC
    "local r = async.all{ function() coroutine.yield() end } assert(r.errors[1]:find('outside "
    "a coroutine'))",
    /* its own limit */
    ASYNC
    "local closed = {} local r = async.all({ a = function() return 1 end, b = "
    "function() " CLOSES("b") "async.sleep(20) end, c = function() return async.all{ "
                              "function() " CLOSES(
                                  "c") " async.sleep(20) end } end }, { timeout = 0.02 }) "
                                       "assert(r.a == 1 and "
                                       "r.errors.b:find('^timeout: sleep of 20 s "
                                       "%(filter.lua:2%)') and "
                                       "r.errors.c:find('^timeout: ') and closed.b and closed.c)",
    ASYNC
    "local r = async.all({ function() local r = async.all({ function() async.sleep(20) end }, { "
    "timeout = 10 }) return r.errors[1] end }, { timeout = 0.02 }) assert(r[1] or "
    "r.errors[1]:find('^timeout'))",
    ASYNC "local closed = {} local inner = coroutine.wrap(function() " CLOSES(
        "inner") " async.sleep(20) end) async.all({ function() inner() end }, { timeout = 0.01 }) "
                 "assert(closed.inner)",
    ASYNC "local r = async.all({ function() return async.time_left() end }, { timeout = 0.5 }) "
          "assert(r[1] <= 0.5 and async.time_left() > 1)",
    ASYNC "local r = async.all({ function() async.sleep(0) return 1 end }, { timeout = 20 }) "
          "assert(r[1] == 1)",
    /* any */
    ASYNC "local closed = {} local v, k = async.any{ slow = function() " CLOSES(
        "slow") " async.sleep(20) end, none = function() end, err = function() error('x', 0) end, "
                "good = "
                "function() async.sleep(0.01) return 'v' end } assert(v == 'v' and k == 'good' and "
                "closed.slow)",
    ASYNC "local v, e = async.any{ a = function() return nil, 'why' end } assert(v == nil and e == "
          "'no answer: a: why')",
    ASYNC "local v, e = async.any({ a = function() async.sleep(9) end }, { timeout = 0 }) assert(v "
          "== nil and e:find('^no answer: a: timeout: sleep of 9 s'))",
    ASYNC "local v, k = async.any{ function() return false end } assert(v == false and k == 1)",
    /* timeout */
    ASYNC
    "local a, b, c = async.timeout(5, function(x, y) async.sleep(0.001) return y, x, nil end, "
    "1, 2) assert(a == 2 and b == 1 and c == nil)",
    ASYNC "local closed = {} local v, e = async.timeout(0.01, function() " CLOSES(
        "f") " async.sleep(20) end) assert(v == nil and e:find('^timeout: sleep of 20 s') and "
             "closed.f)",
    ASYNC
    "local ok, e = pcall(async.timeout, 5, function() error({ n = 1 }) end) assert(not ok and "
    "e.n == 1)",
    ASYNC "assert(select('#', async.timeout(1, function() end)) == 0)",
    ASYNC "assert(select('#', async.timeout(1, function(...) return ... end, table.unpack({}, 1, "
          "5000))) == 5000)",
    /* an end that cannot wait, and one that fails */
    ASYNC "local said async.timeout(0.01, function() local c <close> = setmetatable({}, {__close = "
          "function() local ok, e = pcall(async.sleep, 0) said = e end}) async.sleep(20) end) "
          "assert(said:find('cannot wait here'))",
    ASYNC "async.timeout(0.01, function() local c <close> = setmetatable({}, {__close = function() "
          "error('in close') end}) async.sleep(20) end)",
    /* waiting where Lua calls back: either it waits, or says that it cannot; and goes on */
    ASYNC
    "local v = setmetatable({}, { __add = function() async.sleep(0.001) return 1 end, __index "
    "= function() async.sleep(0.001) return 2 end, __call = function() async.sleep(0.001) "
    "return 3 end, __lt = function() async.sleep(0.001) return true end, __close = function() "
    "async.sleep(0.001) end }) do local c <close> = v assert(v + 1 == 1 and v.x == 2 and v() == "
    "3 and v < v) end for _ in function() async.sleep(0.001) end do end",
    ASYNC
    "local function fails(f, ...) local ok, e = pcall(f, ...) assert(not ok and e:find('cannot "
    "wait "
    "here'), e) end local function wait() async.sleep(0) end fails(string.gsub, 'x', '.', wait) "
    "fails(table.sort, { 2, 1 }, wait) fails(tostring, setmetatable({}, { __tostring = wait })) "
    "fails(table.concat, setmetatable({}, { __index = wait }), '', 1, 1) local said "
    "setmetatable({}, { __gc = function() local ok, e = pcall(wait) said = e end }) "
    "collectgarbage() "
    "assert(said:find('cannot wait here')) assert(async.all{ function() return 1 end }[1] == 1)",
    /* numbers that are none, keys that are strange */
    ASYNC
    "for _, n in ipairs{ -1, 0/0, 1/0, -1/0, 1e300, 86401, math.mininteger, {}, 'x', print } do "
    "assert(not pcall(async.sleep, n)) assert(not pcall(async.timeout, n, print)) "
    "assert(not pcall(async.all, { print }, { timeout = n })) end",
    ASYNC
    "local k = setmetatable({}, { __tostring = function() error('x') end }) "
    "assert(async.all{ [k] = function() return 1 end }[k] == 1) assert(not pcall(async.all, { "
    "[k] = 1 })) assert(not pcall(async.any, { [k] = function() end }))",
    ASYNC "local t = {} for i = 1, 100000 do t[i] = print end assert(not pcall(async.all, t)) "
          "assert(not pcall(async.any, t)) assert(async.all{ function() return 1 end }[1] == 1)",
    /* coroutines that close each other, deeper than the C stack */
    "local last for i = 1, 2000 do local under = last last = coroutine.create(function() local c "
    "<close> = setmetatable({}, { __close = function() if under then "
    "assert(coroutine.close(under)) end end }) coroutine.yield() end) coroutine.resume(last) end "
    "local ok, e = coroutine.close(last) assert(not ok and e:find('C stack overflow'), e)",
    /* the next waits are as the first */
    ASYNC
    "for i = 1, 50 do async.any{ function() async.sleep(9) end, function() return i end } end "
    "async.sleep(0.001) collectgarbage() assert(async.all{ function() return 1 end }[1] == 1)",
};

static void test_fine(void **state)
{
    struct worker_fixture *f = *state;
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++) {
        run_for(f, fine[i], patience_ms(ENOUGH_MS));
        if (f->reply.outcome != OUTCOME_OK) {
            fail_msg("%s: outcome %s: %s", fine[i], wire_outcome_name(f->reply.outcome), f->error);
        }
    }
}

static const struct {
    const char *code, *error;
} refused[] = {
    {"async.all()", "table expected"},
    {"async.all{ 1 }", "async.all: a table of functions expected; 1 is a number"},
    {"async.all{ a = print, b = {} }", "b is a table"},
    {"async.all{ errors = print }", "choose another name"},
    {"async.all({ print }, { time = 1 })", "time"},
    {"async.all({ print }, { timeout = 'x' })", "timeout is a number of seconds"},
    {"async.all({ print }, { timeout = -1 })", "seconds expected"},
    {"async.any{}", "at least one function expected"},
    {"async.any(print)", "table expected"},
    {"async.timeout(1)", "function expected"},
    {"async.timeout(-1, print)", "seconds expected"},
    {"async.timeout(0/0, print)", "seconds expected"},
    {"local t = {} for i = 1, 1001 do t[i] = print end async.all(t)", "too many functions"},
    {"local function f() local r = async.all{ f } error(r.errors[1] or 'none', 0) end f()",
        "too many levels"},
    {"table.sort({ 2, 1 }, function() async.all{ print } end)", "cannot wait here"},
    {"async.timeout(5, function() error('x') end)", "filter.lua:2: x"},
    {"async.all{ function() return reject('no') end }", "did not return it"},
};

static void test_refused(void **state)
{
    struct worker_fixture *f = *state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        run_for(f, arena_printf(f->texts, ASYNC "%s", refused[i].code), patience_ms(ENOUGH_MS));
        if (f->reply.outcome != OUTCOME_ERROR || strstr(f->error, refused[i].error) == NULL) {
            fail_msg("%s: outcome %s: %s", refused[i].code, wire_outcome_name(f->reply.outcome),
                f->error);
        }
    }
}

/* Ten waits at the same time take as long as one: far from ten. */
static void test_concurrent(void **state)
{
    struct worker_fixture *f = *state;
    int64_t start_ms = clock_now_ms();
    run_for(f,
        ASYNC "local t = {} for i = 1, 10 do t[i] = function() async.sleep(0.5) return i end end "
              "assert(#async.all(t) == 10)",
        patience_ms(ENOUGH_MS));
    assert_int_equal(f->reply.outcome, OUTCOME_OK);
    assert_in_range(clock_now_ms() - start_ms, 500, 2500);
}

/* ---- the hook's deadline ---- */

static const char *const endless[] = {
    ASYNC "async.all{ function() async.sleep(60) end, function() while true do end end }",
    ASYNC "async.all{ function() pcall(function() while true do end end) end }",
    ASYNC "async.all{ function() table.sort({3, 2, 1}, function() while true do end end) end }",
    ASYNC "async.all{ coroutine.wrap(function() while true do end end) }",
    ASYNC "async.all{ function() while true do async.sleep(0) end end }",
    ASYNC "pcall(async.all, { function() async.sleep(60) end }) return accept()",
    ASYNC "async.timeout(60, function() async.any{ function() async.sleep(60) end } end)",
    ASYNC "async.timeout(0.01, function() local c <close> = setmetatable({}, {__close = function() "
          "while true do end end}) async.sleep(60) end) return accept()",
    ASYNC "async.all{ function() local c <close> = setmetatable({}, {__close = function() while "
          "true do end end}) error('x') end } return accept()",
    ASYNC "async.all{ function() error(setmetatable({}, {__tostring = function() while true do end "
          "end})) end } return accept()",
    ASYNC "async.all{ function() local c <close> = setmetatable({}, {__close = function() while "
          "true do end end}) async.sleep(60) end, coroutine.wrap(function() async.sleep(60) end) }",
};

static void test_deadline(void **state)
{
    struct worker_fixture *f = *state;
    for (size_t i = 0; i < sizeof endless / sizeof endless[0]; i++) {
        run_for(f, endless[i], SCRIPT_SHORT_MS);
        if (f->reply.outcome != OUTCOME_DEADLINE || f->reply.verdict != VERDICT_TEMPFAIL) {
            fail_msg(
                "%s: outcome %s: %s", endless[i], wire_outcome_name(f->reply.outcome), f->error);
        }
        if (strstr(f->error, "filter_message did not end within its time") == NULL) {
            fail_msg("%s: %s", endless[i], f->error);
        }
    }
}

/* The same script serves on, and does not remember. */
static void test_serves_on(void **state)
{
    struct worker_fixture *f = *state;
    fixture_filter(f, ASYNC
        "function filter_helo() local r = async.all({ a = function() async.sleep(0.001) return "
        "1 end, b = function() async.sleep(60) end }, { timeout = 0.01 }) assert(r.a == 1 and "
        "not r.b) return accept() end "
        "function filter_message(msg) async.all{ function() async.sleep(60) end, function() "
        "async.all{ coroutine.wrap(function() async.sleep(60) end) } end } end");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(fixture_job(f, HOOK_MESSAGE), 0);
        script_run(f->script, &f->job, clock_now_ms() + SCRIPT_SHORT_MS, &f->reply);
        assert_int_equal(f->reply.outcome, OUTCOME_DEADLINE);
        fixture_run(f, HOOK_HELO);
        assert_int_equal(f->reply.outcome, OUTCOME_OK);
        assert_int_equal(f->reply.verdict, VERDICT_ACCEPT);
    }
}

static void test_pending_is_told(void **state)
{
    struct worker_fixture *f = *state;
    run_for(f,
        ASYNC "async.all{\n function() async.sleep(60) end,\n function() async.timeout(50,\n "
              "function() async.sleep(40) end) end }",
        SCRIPT_SHORT_MS);
    assert_int_equal(f->reply.outcome, OUTCOME_DEADLINE);
    assert_non_null(strstr(script_log, "filter_message is out of time, and still waits for: "));
    assert_non_null(strstr(script_log, "sleep of 60 s (filter.lua:3)"));
    assert_non_null(strstr(script_log, "sleep of 40 s (filter.lua:5)"));
}

/* ---- errors and memory ---- */

static void test_traceback(void **state)
{
    struct worker_fixture *f = *state;
    run_for(f,
        ASYNC
        "local function inner() error('broken') end\nasync.all{ function()\n async.sleep(0)\n "
        "inner() end }",
        patience_ms(ENOUGH_MS));
    assert_int_equal(f->reply.outcome, OUTCOME_OK);
    assert_non_null(strstr(script_log, "filter.lua:2: broken"));
    assert_non_null(strstr(script_log, "filter.lua:5: in function"));
}

static const char *const greedy[] = {
    ASYNC "async.all{ function() local s = 'x' while true do s = s .. s end end } error('not "
          "enough memory', 0)",
    ASYNC "local r = async.all{ function() return ('x'):rep(10 << 20) end, function() return "
          "('y'):rep(10 << 20) end } error(r.errors[1] or r.errors[2], 0)",
    ASYNC "local t = {} while true do local ok, e = pcall(async.all, { function() async.sleep(0) "
          "t[#t + 1] = ('x'):rep(100000) .. #t return 1 end }) if not ok then error(e, 0) end if "
          "next(e.errors) then error(e.errors[1], 0) end end",
};

static void test_memory(void **state)
{
    struct worker_fixture *f = *state;
    for (size_t i = 0; i < sizeof greedy / sizeof greedy[0]; i++) {
        run_for(f, greedy[i], patience_ms(ENOUGH_MS));
        if (f->reply.outcome != OUTCOME_MEMORY) {
            fail_msg(
                "%s: outcome %s: %s", greedy[i], wire_outcome_name(f->reply.outcome), f->error);
        }
    }
}

/* filter_init waits as hooks do; the top level does not. */
static void test_places(void **state)
{
    struct worker_fixture *f = *state;
    fixture_filter(f, ASYNC
        "local n function filter_init() n = async.all{ function() async.sleep(0.001) return 3 "
        "end }[1] end function filter_message() assert(n == 3) assert(not loaded) return "
        "accept() end assert(select(2, pcall(async.all, { print })):find('cannot wait here'))");
    fixture_run_ok(f, HOOK_MESSAGE, VERDICT_ACCEPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(test_fine),
        SCRIPT_TEST(test_refused),
        SCRIPT_TEST(test_concurrent),
        SCRIPT_TEST(test_deadline),
        SCRIPT_TEST(test_serves_on),
        SCRIPT_TEST(test_pending_is_told),
        SCRIPT_TEST(test_traceback),
        SCRIPT_TEST(test_memory),
        SCRIPT_TEST(test_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
