/* The encoding of conn.state and msg.state: what travels and comes back, what is refused and named,
 * and bytes that lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <lauxlib.h>
#include <lualib.h>

#include "common/err.h"
#include "worker/state.h"

static int set_up(void **state)
{
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    *state = L;
    return L == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    lua_close(*state);
    return 0;
}

static void run(lua_State *L, const char *code)
{
    if (luaL_dostring(L, code) != LUA_OK) {
        fail_msg("%s: %s", code, lua_tostring(L, -1));
    }
}

struct row {
    const char *table; /* a Lua expression */
    const char *check; /* of `t`, what came back; or, when it is refused: */
    int err;
    const char *why;
};

static const struct row rows[] = {
    {"{}", "next(t) == nil", 0, NULL},
    {"{1, 2, 3}", "#t == 3 and t[3] == 3 and math.type(t[1]) == 'integer'", 0, NULL},
    {"{a = true, b = false, c = 1.5, d = 'x\\0y', e = {}}",
        "t.a == true and t.b == false and t.c == 1.5 and t.d == 'x\\0y' and next(t.e) == nil", 0,
        NULL},
    {"{[math.mininteger] = math.maxinteger, [0] = -1}",
        "t[math.mininteger] == math.maxinteger and t[0] == -1", 0, NULL},
    {"{x = 1/0, y = -0.0, z = 0/0}", "t.x == 1/0 and 1/t.y == -1/0 and t.z ~= t.z", 0, NULL},
    {"{[''] = ''}", "t[''] == ''", 0, NULL},
    {"{{{{{{{{{{{{{{{{}}}}}}}}}}}}}}}}", "t[1][1][1][1][1][1][1][1][1][1][1][1][1][1][1]", 0, NULL},
    {"setmetatable({x = 1}, {__index = error, __pairs = error})",
        "t.x == 1 and getmetatable(t) == nil", 0, NULL},
    {"{s = ('x'):rep(32000)}", "#t.s == 32000", 0, NULL},
    {"{s = ('x'):rep(33000)}", NULL, -ERR_TOOBIG, "state.s makes it larger than 32 KiB"},
    {"(function() local t = {} for i = 1, 10000 do t[i] = i end return t end)()", NULL, -ERR_TOOBIG,
        "larger than 32 KiB"},
    {"{f = print}", NULL, -ERR_BAD, "state.f is a function"},
    {"{a = {[3] = {when = io.stdout}}}", NULL, -ERR_BAD, "state.a[3].when is a userdata"},
    {"{[1.5] = 1}", NULL, -ERR_BAD, "state[a number] has a key that is neither string nor integer"},
    {"{a = {[true] = 1}}", NULL, -ERR_BAD, "state.a[a boolean] has a key"},
    {"{[{}] = 1}", NULL, -ERR_BAD, "state[a table]"},
    {"{co = coroutine.create(print)}", NULL, -ERR_BAD, "state.co is a thread"},
    {"{{{{{{{{{{{{{{{{{}}}}}}}}}}}}}}}}}", NULL, -ERR_BAD, "nested too deeply"},
    {"(function() local t = {} t.t = t return t end)()", NULL, -ERR_BAD, "state.t.t.t"},
    {"{['a\\nb\\0'] = print}", NULL, -ERR_BAD, "state.a\\nb\\x00 is"},
    {"{[('k'):rep(1000)] = print}", NULL, -ERR_BAD, "... is a function"},
};

static void test_round_trip(void **state)
{
    lua_State *L = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *row = &rows[i];
        struct buf out;
        char why[256], code[512];
        buf_init(&out, STATE_BYTES_MAX);
        snprintf(code, sizeof code, "t = %s", row->table);
        run(L, code);
        lua_getglobal(L, "t");
        int err = state_put(L, -1, &out, "state", why, sizeof why);
        if (err != row->err || (row->why != NULL && strstr(why, row->why) == NULL)) {
            fail_msg("%s: %d, %s", row->table, err, why);
        }
        lua_settop(L, 0);
        if (err == 0) {
            assert_int_equal(state_get(L, buf_slice(&out)), 0);
            assert_int_equal(lua_gettop(L), 1);
            lua_setglobal(L, "t");
            snprintf(code, sizeof code, "assert(%s)", row->check);
            run(L, code);
        }
        buf_clear(&out);
    }
}

static void assert_refused(lua_State *L, const void *bytes, size_t len)
{
    assert_int_equal(state_get(L, slice_of(bytes, len)), -ERR_BAD);
    assert_int_equal(lua_gettop(L), 0);
}

static void test_bad_bytes(void **state)
{
    lua_State *L = *state;
#define REFUSED(bytes) assert_refused(L, bytes, sizeof bytes - 1)
    REFUSED("");
    REFUSED("\x01");                                     /* no table */
    REFUSED("\x06");                                     /* no count */
    REFUSED("\x06\xff\xff\xff\xff");                     /* more pairs than bytes */
    REFUSED("\x06\0\0\0\1");                             /* no pair */
    REFUSED("\x06\0\0\0\0x");                            /* bytes left over */
    REFUSED("\x06\0\0\0\1\x05\0\0\0\1k");                /* no value */
    REFUSED("\x06\0\0\0\1\x05\0\0\0\1k\x09");            /* unknown tag */
    REFUSED("\x06\0\0\0\1\x05\xff\xff\xff\xffk\x01");    /* a string longer than all */
    REFUSED("\x06\0\0\0\1\x04\x7f\xf8\0\0\0\0\0\0\x01"); /* a float as key (NaN would raise) */
    REFUSED("\x06\0\0\0\1\x01\x01\0\0\0\0\0");           /* a boolean as key */
    REFUSED("\x06\0\0\0\1\x06\0\0\0\0\x01");             /* a table as key */
    char deep[17 * 11 + 1];
    size_t n = 0;
    for (int i = 0; i < 17; i++, n += 11) {
        memcpy(deep + n, "\x06\0\0\0\1\x05\0\0\0\1k", 11);
    }
    deep[n++] = 1;
    assert_refused(L, deep, n);
    static char large[STATE_BYTES_MAX + 1] = "\x06";
    assert_refused(L, large, sizeof large);
}

/* Every prefix of good bytes is refused. */
static void test_cut(void **state)
{
    lua_State *L = *state;
    struct buf out;
    char why[256];
    buf_init(&out, STATE_BYTES_MAX);
    run(L, "t = {a = {1, 2.5, 'x'}, b = true, [7] = {c = {}}}");
    lua_getglobal(L, "t");
    assert_int_equal(state_put(L, -1, &out, "state", why, sizeof why), 0);
    lua_settop(L, 0);
    for (size_t n = 0; n < out.len; n++) {
        assert_refused(L, out.data, n);
    }
    buf_clear(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cut, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
