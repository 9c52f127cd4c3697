/* Files of tests: what they have that filters have not, and how one of their functions is run. */
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/xalloc.h"
#include "worker/script_internal.h"

#define TEST_PREFIX "test_"

enum { TESTS_MAX = 10000, ADVANCE_MAX_SECS = 1000000000 };

/* assert, which tells where it stands: the author of a test wants the line, not a text for it. */
static int assert_here(lua_State *L)
{
    luaL_checkany(L, 1);
    if (lua_toboolean(L, 1)) {
        return lua_gettop(L);
    }
    lua_settop(L, 2);
    luaL_where(L, 1);
    if (lua_isnil(L, 2)) {
        lua_pushliteral(L, "assertion failed!");
    } else {
        luaL_tolstring(L, 2, NULL);
    }
    lua_concat(L, 2);
    return lua_error(L);
}

/* advance_clock(seconds): what os.time and the store call now. */
static int advance_clock(lua_State *L)
{
    lua_Number secs = luaL_checknumber(L, 1);
    luaL_argcheck(L, secs >= 0 && secs <= ADVANCE_MAX_SECS, 1, "seconds expected, from 0 on");
    clock_shift_wall((int64_t)(secs * 1000));
    return 0;
}

struct play {
    lua_CFunction function;
    void *context;
};

/* Stack: a struct play. */
static int add_functions(lua_State *L)
{
    const struct play *play = lua_touserdata(L, 1);
    lua_pushlightuserdata(L, play->context);
    lua_pushcclosure(L, play->function, 1);
    lua_setglobal(L, "run");
    lua_pushcfunction(L, advance_clock);
    lua_setglobal(L, "advance_clock");
    script_libs_follow_clock(L);
    lua_pushcfunction(L, assert_here);
    lua_setglobal(L, "assert");
    script_world_open(L);
    return 0;
}

int script_new_test(const struct conf *conf, const char *path, int64_t load_ms,
    lua_CFunction function, void *context, struct script **out, char **error_out)
{
    struct play play = {function, context};
    struct script *script;
    int err = script_make(conf, path, &script, error_out);
    *out = NULL;
    if (err != 0) {
        return err;
    }
    err = script_protect(script, add_functions, &play, error_out);
    if (err == 0) {
        err = script_load_file(script, load_ms, error_out);
    }
    if (err != 0) {
        script_free(script);
        return err;
    }
    script->phase = SCRIPT_SERVING;
    *out = script;
    return 0;
}

struct found {
    struct script_test *items;
    size_t n;
};

/* Name and function are on top. */
static void add_test(lua_State *L, struct found *found)
{
    lua_Debug ar;
    size_t len;
    const char *name = lua_tolstring(L, -2, &len);
    if (len > SCRIPT_TEST_NAME_MAX || strlen(name) != len) {
        luaL_error(L, "the name of a test is too long, or has a NUL in it");
    }
    if (found->n == TESTS_MAX) {
        luaL_error(L, "more than %d tests in one file", TESTS_MAX);
    }
    found->items = xreallocarray(found->items, found->n + 1, sizeof(*found->items));
    struct script_test *test = &found->items[found->n++];
    memcpy(test->name, name, len + 1);
    lua_pushvalue(L, -1);
    lua_getinfo(L, ">S", &ar);
    test->line = ar.linedefined;
}

/* Stack: a struct found. */
static int find_tests(lua_State *L)
{
    struct found *found = lua_touserdata(L, 1);
    script_globals_push(L);
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        if (lua_type(L, -2) == LUA_TSTRING && lua_isfunction(L, -1) &&
            strncmp(lua_tostring(L, -2), TEST_PREFIX, strlen(TEST_PREFIX)) == 0) {
            add_test(L, found);
        }
    }
    return 0;
}

static int compare_tests(const void *a, const void *b)
{
    const struct script_test *left = a, *right = b;
    return left->line != right->line ? (left->line > right->line) - (left->line < right->line)
                                     : strcmp(left->name, right->name);
}

int script_tests(struct script *script, struct script_test **out, size_t *n_out, char **error_out)
{
    struct found found = {0};
    int err = script_protect(script, find_tests, &found, error_out);
    if (err != 0) {
        free(found.items);
        return err;
    }
    if (found.n > 1) {
        qsort(found.items, found.n, sizeof(*found.items), compare_tests);
    }
    *out = found.items;
    *n_out = found.n;
    return 0;
}

struct lookup {
    const char *name;
    int ref;
};

/* Stack: a struct lookup. */
static int find_function(lua_State *L)
{
    struct lookup *lookup = lua_touserdata(L, 1);
    script_globals_push(L);
    lua_getfield(L, -1, lookup->name);
    if (!lua_isfunction(L, -1)) {
        return luaL_error(L, "%s is no function", lookup->name);
    }
    lookup->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

int script_run_test(struct script *script, const char *name, int64_t budget_ms, char **error_out)
{
    struct lookup lookup = {.name = name, .ref = LUA_NOREF};
    int err = script_protect(script, find_function, &lookup, error_out);
    if (err != 0) {
        return err;
    }
    struct script_call call = {
        .function_ref = lookup.ref, .deadline_ms = clock_now_ms() + budget_ms};
    script_call(script, &call);
    luaL_unref(script->L, LUA_REGISTRYINDEX, lookup.ref);
    if (call.outcome != OUTCOME_OK) {
        *error_out = xstrdup(call.error);
        err = call.outcome == OUTCOME_DEADLINE ? -ERR_TIMEOUT : -ERR_BAD;
    }
    script_call_clear(&call);
    return err;
}
