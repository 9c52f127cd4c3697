/*
 * What a filter may try against the worker, each as a hook: none may crash it, get out of its
 * state, or leave the next request without a worker. Outcomes are what Lua gives; what matters is
 * that there is one, and that the next hook runs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/log.h"
#include "tests/unit/worker_fixture.h"

enum { HOOK_MS = 20000 };

static struct worker_fixture f;

static void on_log(enum log_level level, const char *line, void *context)
{
    (void)level;
    (void)line;
    (void)context;
}

static int set_up(void **state)
{
    (void)state;
    log_set_sink(on_log, NULL);
    fixture_open(&f, (const char *[]){"worker.lua_memory=32M", NULL});
    fixture_start(&f, "Subject: hello\nTo: a@example.org\nX-A: 1\nX-A: 2\n\nbody\n");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture_close(&f);
    log_set_sink(NULL, NULL);
    return 0;
}

/* The hook's outcome; the one after it must be served. */
static enum reply_outcome run(const char *code)
{
    fixture_filter(
        &f, arena_printf(f.texts,
                "function filter_helo() return accept() end\nfunction filter_message(msg)\n%s\nend",
                code));
    assert_int_equal(fixture_job(&f, HOOK_MESSAGE), 0);
    script_run(f.script, &f.job, clock_now_ms() + HOOK_MS, &f.reply);
    const enum reply_outcome outcome = (enum reply_outcome)f.reply.outcome;
    snprintf(f.error, sizeof(f.error), "%.*s", (int)f.reply.error.len,
        f.reply.error.len > 0 ? f.reply.error.data : "");
    struct worker_fixture *g = &f;
    char error[sizeof(f.error)];
    memcpy(error, f.error, sizeof(error));
    fixture_run_ok(g, HOOK_HELO, VERDICT_ACCEPT);
    memcpy(f.error, error, sizeof(error));
    return outcome;
}

static void check_all_fine(const char *const *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (run(rows[i]) != OUTCOME_OK)
            fail_msg("%s\n-- in: %s", f.error, rows[i]);
    }
}

static void check_all_errors(const char *const (*rows)[2], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const enum reply_outcome outcome = run(rows[i][0]);
        if ((outcome != OUTCOME_ERROR && outcome != OUTCOME_MEMORY) ||
            strstr(f.error, rows[i][1]) == NULL)
            fail_msg("outcome %d, expected \"%s\", got \"%s\"\n-- in: %s", outcome, rows[i][1],
                f.error, rows[i][0]);
    }
}

#define CHECK_FINE(rows)   check_all_fine(rows, sizeof(rows) / sizeof((rows)[0]))
#define CHECK_ERRORS(rows) check_all_errors(rows, sizeof(rows) / sizeof((rows)[0]))

/* ---- ways out ---- */

static const char *const absent[] = {
    "for _, n in ipairs{'getregistry', 'setmetatable', 'getmetatable', 'sethook', 'gethook', "
    "'setupvalue', 'getupvalue', 'upvalueid', 'upvaluejoin', 'getlocal', 'setlocal', "
    "'setuservalue', 'getuservalue', 'setcstacklimit', 'debug'} do assert(debug[n] == nil, n) end",
    "assert(require('debug') == debug and require('io') == io and require('os') == os)",
    "assert(package.loaded.os.execute == nil and package.loaded.io.popen == nil)",
    "assert(package.loadlib == nil and string.dump == nil and load('\\27Lua', 'x', 'b') == nil)",
    "for _, n in ipairs{'execute', 'exit', 'remove', 'rename', 'tmpname', 'setlocale'} do "
    "assert(os[n] == nil, n) end",
    "for _, n in ipairs{'popen', 'tmpfile', 'output', 'input', 'read', 'write', 'stdin', 'stdout', "
    "'stderr'} do assert(io[n] == nil, n) end",
    "for _, mode in ipairs{'w', 'a', 'r+', 'w+', 'a+', 'rb+', 'r+b'} do "
    "assert(io.open('/dev/null', mode) == nil) end",
    "assert(not pcall(io.open, '/dev/null', 'rw')) assert(io.open('/dev/null', 'rb'))",
    "assert(not pcall(io.lines)) assert(not pcall(io.close)) assert(not pcall(io.lines, nil))",
    /* a new metatable for strings changes what filters see, and nothing of ours */
    "local mt = getmetatable('') mt.__index = nil mt.__tostring = error mt.__name = 7 "
    "mt.__close = error assert(not pcall(function() return ('x'):rep(2) end)) "
    "assert(not pcall(function() return msg.nonsense end)) assert(msg.subject == 'hello')",
    "local mt = getmetatable(io.open('/dev/null')) mt.__gc = nil mt.__name = {} "
    "mt.__index = nil assert(not pcall(function() return io.open('/dev/null'):read() end))",
    "local f = io.open('/dev/null') local mt = getmetatable(f) mt.__gc(f) mt.__gc(f) "
    "assert(not pcall(mt.__gc, {})) assert(not pcall(mt.__gc, msg)) assert(not pcall(f.read, f))",
    "assert(getmetatable(msg) == false and getmetatable(accept()) == false) return continue()",
    "assert(not pcall(setmetatable, msg, {})) assert(not pcall(setmetatable, _G, {}))",
    "assert(not pcall(rawset, msg, 'x', 1)) assert(not pcall(rawget, msg, 'x')) "
    "assert(not pcall(next, msg)) assert(not pcall(rawset, config, nil, 1))",
    "local h = msg.header assert(not pcall(h, msg.conn, 'x')) assert(not pcall(h, 'x', 'x')) "
    "assert(not pcall(h, io.open('/dev/null'), 'x')) assert(not pcall(h, accept(), 'x')) return "
    "continue()",
    "package.searchpath = function() return {} end assert(not pcall(require, 'none'))",
    "package.searchpath = nil assert(not pcall(require, 'none'))",
    "package.path = 5 package.cpath = {} assert(not pcall(require, 'none'))",
    "package.searchers = nil assert(not pcall(require, 'none'))",
    "package.preload['postern.none'] = 1 assert(not pcall(require, 'postern.none'))",
    "package.loaded = nil package.loaded2 = {} assert(require('io') == io)",
    "for k in pairs(package.loaded) do package.loaded[k] = nil end assert(not pcall(error, {})) "
    "assert(debug.traceback() and not pcall(string.rep))",
    "accept = nil",
};

static void test_ways_out(void **state)
{
    (void)state;
    check_all_fine(absent, sizeof(absent) / sizeof(absent[0]) - 1);
    assert_int_equal(run(absent[sizeof(absent) / sizeof(absent[0]) - 1]), OUTCOME_ERROR);
}

static const char *const globals[][2] = {
    {"rawset(_G, 'x', 1)", "assignment to global 'x'"},
    {"rawset(_ENV, 'filter_message', print)", "assignment to global 'filter_message'"},
    {"rawset(require '_G', 'x', 1)", "assignment to global 'x'"},
    {"load('x = 1')()", "assignment to global 'x'"},
    {"table.insert(_G, 1)", "assignment to global '1'"},
    {"_G[1] = 1", "assignment to global '1'"},
    {"setmetatable(_G, {})", "protected metatable"},
    {"rawset(config, 'x', 1)", "config is read-only"},
};

static void test_globals(void **state)
{
    static const char *const fine[] = {
        "local t = rawset({}, 'x', 1) assert(t.x == 1 and rawget(t, 'x') == 1)",
        "local _ENV = {x = 1} x = 2",
        "local f = load('x = 1; return x', 'c', 't', {}) assert(f() == 1)",
        "assert(not pcall(rawset)) assert(not pcall(rawset, {}, nil, 1))",
        "assert(not pcall(rawset, 1, 1, 1)) assert(not pcall(rawset, {}, 1))",
        "assert(not pcall(rawset, {}, 0/0, 1))",
    };
    (void)state;
    CHECK_ERRORS(globals);
    CHECK_FINE(fine);
}

/* ---- long and deep ---- */

static const char *const extremes[] = {
    "assert(not pcall(string.format, '%99999d', 1)) assert(not pcall(string.format, '%0100.100f', "
    "1)) assert(#string.format('%99.99f', 1e308) > 300)",
    "assert(not pcall(string.rep, 'x', 1 << 62)) assert(not pcall(string.rep, 'xx', 1 << 40, "
    "'y'))",
    "assert(not pcall(string.pack, ('i16'):rep(100), 1)) assert(not pcall(string.pack, '!17i', 1)) "
    "assert(not pcall(string.unpack, 's8', '\\255\\255\\255\\255\\255\\255\\255\\127')) "
    "assert(not pcall(string.packsize, ('c2147483647'):rep(4)))",
    "assert(not pcall(table.unpack, {}, 1, 1e7)) assert(not pcall(table.concat, {}, '', 1, 1e7)) "
    "assert(not pcall(select, -1 << 62, 1)) assert(not pcall(string.char, 256, -1))",
    "assert(not pcall(utf8.char, -1)) assert(not pcall(utf8.codepoint, 'x', 1, 1 << 62)) "
    "assert(not pcall(utf8.offset, 'x', 1, 1 << 62)) for _ in utf8.codes('ab') do end "
    "assert(utf8.len('\\xff') == nil)",
    "local t = {} for i = 1, 1000 do t[i] = i % 7 end pcall(table.sort, t, function() return true "
    "end) pcall(table.sort, t, function(a, b) return a ~= b end) pcall(table.sort, t, function() "
    "error() end) pcall(table.sort, t, function(a, b) t[a] = nil t[b] = nil return a < b end)",
    "assert(not pcall(table.sort, {1, 'x', {}, print})) assert(not pcall(table.sort, {3, 2, 1}, "
    "1)) assert(not pcall(table.sort, setmetatable({}, {__len = function() return 1 << 60 end})))",
    "local s = '' assert(not pcall(string.gsub, ('x'):rep(1000), '.', function() s = s .. s .. "
    "('y'):rep(1 << 20) end) or true)",
    "assert(not pcall(string.find, 'x', '%f')) assert(not pcall(string.gsub, 'x', 'x', '%9')) "
    "assert(not pcall(string.match, 'x', '(%1)')) assert(not pcall(string.find, 'x', '%'))",
    "for _, t in ipairs{{}, {year = 'x'}, {year = 1 << 62, month = 1, day = 1}, {year = 2020, "
    "month = 1.5, day = 1}, {year = 2020, month = -1 << 31, day = 1 << 31}, {year = 2020, month = "
    "1, day = 1, isdst = {}}, {year = -1 << 31, month = 1, day = 1}} do pcall(os.time, t) end "
    "assert(not pcall(os.time, setmetatable({}, {__index = error}))) assert(not pcall(os.date, "
    "'%Ez')) assert(not pcall(os.date, '%')) assert(not pcall(os.date, '*t', 1 << 62)) "
    "pcall(os.date, ('%c'):rep(10000)) assert(not pcall(os.getenv, {}))",
    "local a = {} for i = 1, 190 do a = {a} end local s = ('{'):rep(190) .. ('}'):rep(190) "
    "assert(load('return ' .. s)) assert(not load('return ' .. ('{'):rep(250) .. ('}'):rep(250)))",
    "assert(not load(('('):rep(1 << 16))) assert(not load('local a = ' .. ('-'):rep(1 << 16))) "
    "assert(not load(('x='):rep(1 << 12))) assert(load(('goto c ::c:: '):rep(1)) and not "
    "load('goto c'))",
    "local t = {} for i = 1, 300 do t[i] = 'local v' .. i end assert(not load(table.concat(t, "
    "'\\n')))",
    "local function r() return r end assert(not load(r)) assert(not load(function() error('x') "
    "end)) assert(not load(function() return {} end)) assert(not load(function() "
    "coroutine.yield() end))",
    "local f = io.open('/dev/zero') assert(not pcall(f.read, f, 1 << 40)) assert(not pcall(f.read, "
    "f, 'a')) assert(not pcall(f.read, f, 'l')) assert(#f:read(10) == 10) f:setvbuf('full', 1 << "
    "40) f:seek('set', math.maxinteger) f:close()",
    "assert(not pcall(io.lines, '/dev/null', table.unpack({}, 1, 251))) assert(not pcall(io.open, "
    "'\\0/etc/passwd', 'r') or not io.open('\\0/etc/passwd'))",
    "collectgarbage('setpause', 0) collectgarbage('setstepmul', 0) collectgarbage('step', 1 << 40) "
    "collectgarbage('incremental', 1 << 40, -1, 255) collectgarbage('generational', 255, 1 << 30) "
    "collectgarbage('stop') collectgarbage('restart') assert(not pcall(collectgarbage, 'x')) "
    "collectgarbage('incremental', 200, 100, 13) collectgarbage()",
};

static void test_extremes(void **state)
{
    (void)state;
    CHECK_FINE(extremes);
}

/* C calls inside C calls: Lua counts them, and each of ours must leave room for 200. */
static const char *const deep[] = {
    "local function r(n) return pcall(r, n + 1) end r(1)",
    "local function r() return select(2, xpcall(r, r)) end pcall(r)",
    "local function r(x) return (x:gsub('.', r)) end assert(not pcall(r, 'x'))",
    "local t t = setmetatable({}, {__tostring = function() return tostring(t) end}) assert(not "
    "pcall(tostring, t)) assert(not pcall(print, t)) require('postern.log').info(t) "
    "require('postern.log').info('%s', t)",
    "local t t = setmetatable({}, {__index = function(_, k) return t[k] end}) assert(not "
    "pcall(function() return t.x end))",
    "local t = {} for i = 1, 3000 do t = setmetatable({}, {__index = t, __newindex = t}) end "
    "assert(not pcall(function() return t.x end)) assert(not pcall(function() t.x = 1 end))",
    "local t = {} t = setmetatable(t, {__index = t, __newindex = t}) assert(not pcall(function() "
    "return t.x end))",
    "local function r(n) local co = coroutine.wrap(r) return co(n + 1) end assert(not pcall(r, 1))",
    "local function r() local co = coroutine.create(r) local ok, e = coroutine.resume(co) "
    "return e end r()",
    "local function r() table.sort({2, 1}, r) end assert(not pcall(r))",
    "local function r() load(r) end r()",
    "local function r() return load('return ...', 'x')(require('postern.log').info('%s', "
    "setmetatable({}, {__tostring = r}))) end pcall(r)",
    "local function loop(x, y, z) return 1 + loop(x, y, z) end local ok, e = xpcall(loop, loop) "
    "assert(not ok)",
    "local function err(n) if type(n) ~= 'number' then return n elseif n == 0 then return 'END' "
    "else error(n - 1) end end local ok, m = xpcall(error, err, 300) assert(not ok) "
    "ok, m = xpcall(error, err, 150) assert(not ok)",
    "local function f() return 1 + f() end local co = coroutine.wrap(function() return xpcall(f, "
    "function(m) return f() end) end) co()",
    "local x = setmetatable({}, {__concat = function(a, b) return a .. b end}) assert(not "
    "pcall(function() return x .. x end))",
    "local x = setmetatable({}, {__eq = function(a, b) return a == b end}) assert(not "
    "pcall(function() return x == setmetatable({}, getmetatable(x)) end))",
    "local x = setmetatable({}, {}) for i = 1, 300 do x = setmetatable({}, {__call = x}) end "
    "assert(not pcall(x))",
    "local function r(n) local c <close> = setmetatable({}, {__close = function() if n < 300 then "
    "r(n + 1) end end}) end pcall(r, 1)",
    "local t = {} t.t = t msg.state.x = 1 for i = 1, 15 do t = {t} end",
};

static void test_deep(void **state)
{
    (void)state;
    CHECK_FINE(deep);
}

/* ---- coroutines, <close> and __gc ---- */

static const char *const coroutines[] = {
    "local co, is_main = coroutine.running() assert(not is_main and coroutine.isyieldable()) "
    "assert(not pcall(coroutine.close, co)) assert(not coroutine.resume(co)) assert(not "
    "pcall(coroutine.yield)) assert(coroutine.status(co) == 'running')",
    "local hook = coroutine.running() local ok = coroutine.wrap(function() "
    "assert(coroutine.status(hook) == 'normal') assert(not pcall(coroutine.close, hook)) "
    "assert(not coroutine.resume(hook)) return true end)() assert(ok)",
    "local co = coroutine.create(function() local c <close> = setmetatable({}, {__close = "
    "function() coroutine.yield(1) end}) coroutine.yield() end) coroutine.resume(co) "
    "local ok, e = coroutine.close(co) assert(not ok) assert(coroutine.status(co) == 'dead')",
    "local async = require 'postern.async' local co = coroutine.create(function() local c <close> "
    "= setmetatable({}, {__close = function() async.sleep(0.001) end}) coroutine.yield() end) "
    "coroutine.resume(co) local ok, e = coroutine.close(co) assert(not ok and "
    "e:find('cannot wait here')) "
    /* and a yield after it is one of the filter's */
    "local gen = coroutine.wrap(function() coroutine.yield(7) end) assert(gen() == 7)",
    "local co = coroutine.create(function() local c <close> = setmetatable({}, {__close = "
    "function() local g = coroutine.wrap(function() coroutine.yield(5) end) assert(g() == 5) "
    "end}) coroutine.yield() end) coroutine.resume(co) assert(coroutine.close(co))",
    "local co = coroutine.create(function() local c <close> = setmetatable({}, {__close = "
    "function() error('in close', 0) end}) coroutine.yield() end) coroutine.resume(co) "
    "local ok, e = coroutine.close(co) assert(not ok and e == 'in close') "
    "assert(coroutine.close(co)) assert(not coroutine.resume(co))",
    "local co co = coroutine.create(function() local c <close> = setmetatable({}, {__close = "
    "function() assert(not coroutine.resume(co)) pcall(coroutine.close, co) end}) "
    "coroutine.yield() end) coroutine.resume(co) coroutine.close(co)",
    "local w = coroutine.wrap(function() local c <close> = setmetatable({}, {__close = function() "
    "coroutine.yield(1) end}) error('x', 0) end) local ok, e = pcall(w) assert(ok or e)",
    "local async = require 'postern.async' do local c <close> = setmetatable({}, {__close = "
    "function() async.sleep(0.001) end}) end assert(coroutine.wrap(function() do local c <close> = "
    "setmetatable({}, {__close = function() async.sleep(0.001) coroutine.yield(3) end}) end end)() "
    "== 3)",
    "local co = coroutine.wrap(function(...) return select('#', ...) end) "
    "assert(co(table.unpack({}, "
    "1, 200000)) == 200000)",
    "local co = coroutine.create(function() return table.unpack({}, 1, 200000) end) "
    "assert(select('#', coroutine.resume(co)) == 200001)",
    "local co = coroutine.create(print) assert(coroutine.close(co)) assert(not "
    "coroutine.resume(co)) assert(coroutine.close(co)) assert(not pcall(coroutine.close, 1))",
    "assert(not pcall(coroutine.wrap(function() error(setmetatable({}, {__tostring = error})) "
    "end)))",
    "for i = 1, 2000 do coroutine.wrap(function() coroutine.yield() end)() end",
    "setmetatable({}, {__gc = function() error('in gc') end}) setmetatable({}, {__gc = function() "
    "coroutine.yield() end}) setmetatable({}, {__gc = 1}) collectgarbage() collectgarbage()",
    "setmetatable({}, {__gc = function() require('postern.async').sleep(1) end}) collectgarbage()",
    "setmetatable({}, {__gc = function(o) setmetatable(o, getmetatable(o)) collectgarbage() end}) "
    "for i = 1, 5 do collectgarbage() end",
    "setmetatable({}, {__gc = function() coroutine.wrap(function() coroutine.yield() end)() "
    "collectgarbage('step') end}) collectgarbage()",
    "setmetatable({}, {__gc = function() local t = {} for i = 1, 1e4 do t[i] = {} end end}) "
    "collectgarbage()",
};

static void test_coroutines(void **state)
{
    (void)state;
    CHECK_FINE(coroutines);
}

/* A finaliser runs in the middle of functions of ours, whenever they allocate. */
static const char *const finalisers[] = {
    "local seen, v collectgarbage('setpause', 0) collectgarbage('setstepmul', 1000)\n"
    "local function arm() setmetatable({}, {__gc = function()\n"
    "  local ok, e = pcall(function() msg:add_header('X-A', 'y') return msg:header('X-A') end)\n"
    "  seen = seen or e  arm() end}) end\n"
    "arm() for i = 1, 50 do for _, h in ipairs(msg:headers('X-A')) do v = h .. i end\n"
    "  for n, h in msg:each_header() do v = h .. i end for _, r in ipairs(msg.recipients) do\n"
    "  v = r.address .. i end for k, m in pairs(msg.macros) do v = m .. i end\n"
    "  msg:add_header('X-B', 'x' .. i) msg:text() end\n"
    "assert(seen and seen:find('msg is not available in __gc'), seen)",
    "local kept = {} setmetatable(kept, {__gc = function() reject('x') end}) kept = nil "
    "collectgarbage()",
};

static void test_finalisers(void **state)
{
    (void)state;
    CHECK_FINE(finalisers);
}

/* ---- errors that are no texts ---- */

static const char *const odd_errors[][2] = {
    {"error(setmetatable({}, {__tostring = function() error('again') end}))", "table value"},
    {"error(setmetatable({}, {__tostring = function() return {} end}))", "table value"},
    {"error(setmetatable({}, {__name = {}, __tostring = 7}))", "table value"},
    {"error(setmetatable({}, {__metatable = 1, __index = error}))", "table value"},
    {"error((coroutine.running()))", "thread value"},
    {"error(msg)", "msg"},
    {"error(('x'):rep(1 << 20))", "xxxx"},
    {"error('a\\0b\\nc', 0)", "a"},
    {"error(io.open('/dev/null'))", "file ("},
    {"local c <close> = setmetatable({}, {__close = function(_, e) error(e .. '+', 0) end}) "
     "error('x', 0)",
        "x"},
    {"local c <close> = 1", "non-closable"},
    {"return table.unpack({}, 1, 100000)", "returned 100000 values"},
    {"local t = setmetatable({}, {__close = error}) local c <close> = t return accept()", ""},
    {"debug.traceback(coroutine.create(print)) error(debug.traceback('x', 1 << 30))", "x"},
    {"xpcall(error, function() collectgarbage() error() end) error('end', 0)", "end"},
    {"msg.state[1] = setmetatable({}, {__pairs = error, __index = error, __len = error})\n"
     "msg.state.f = print",
        "msg.state.f is a function"},
};

static void test_odd_errors(void **state)
{
    (void)state;
    CHECK_ERRORS(odd_errors);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_ways_out),
        TEST(test_globals),
        TEST(test_extremes),
        TEST(test_deep),
        TEST(test_coroutines),
        TEST(test_finalisers),
        TEST(test_odd_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
