/* The script: loading and its errors, verdicts, state, globals, names that nobody defined. */
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
#include "tests/unit/script_fixture.h"

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
        int err =
            load(f, row->text, len, row->err == -ERR_TIMEOUT ? SCRIPT_SHORT_MS : 20000, &error);
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
        assert_int_equal(script_init(script, SCRIPT_SHORT_MS, &error), -ERR_BAD);
        assert_non_null(error);
        if (strstr(error, rows[i][1]) == NULL) {
            fail_msg("%s", error);
        }
        free(error);
        script_exit(script, SCRIPT_SHORT_MS);
        script_free(script);
        unlink(path);
    }
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
    /* A text may come out of the mail. */
    {HOOK_MESSAGE, "return reject('a\\0b\\rc\\td')", NULL, VERDICT_REJECT, 550, "5.7.1", "a b c d",
        0},
    {HOOK_MESSAGE, "return tempfail{text = '\\xff'}", NULL, VERDICT_TEMPFAIL, 451, "4.7.1",
        "\xef\xbf\xbd", 0},
    {HOOK_MESSAGE, "return reject(('\\n'):rep(100000))", NULL, VERDICT_REJECT, 550, "5.7.1",
        "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n", 0},
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
    fixture_filter(f, "function filter_message() error('no') end function filter_map() return 'yes' "
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(test_load),
        SCRIPT_TEST(test_load_no_file),
        SCRIPT_TEST(test_modules),
        SCRIPT_TEST(test_init),
        SCRIPT_TEST(test_verdicts),
        SCRIPT_TEST(test_verdict_of_load),
        SCRIPT_TEST(test_on_error),
        SCRIPT_TEST(test_error_drops),
        SCRIPT_TEST(test_state),
        SCRIPT_TEST(test_hostile_state),
        SCRIPT_TEST(test_nothing_kept),
        SCRIPT_TEST(test_undefined_hook),
        SCRIPT_TEST(test_random),
        SCRIPT_TEST(test_globals_not_strict),
        SCRIPT_TEST(test_unknown_globals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
