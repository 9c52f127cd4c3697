/*
 * The simulated world of a filter's tests. What DNS and back ends answer is decided by the file of
 * tests, in postern.internal.world, which lives in the Lua state of the tests; a filter that a test
 * plays has a state of its own, and asks from there. Questions and answers are copied between the
 * two: nil, booleans, numbers, strings, and tables of these.
 *
 * The test is inside its call of `run` while the filter asks, so its thread is there to be called.
 */
#include "worker/script_internal.h"

#define WORLD_MODULE "postern.internal.world"

enum { WORLD_LEVELS_MAX = 16, WORLD_ROOM = 8 /* slots that copying one value takes */ };

static const char world_key; /* its address: the module's table in the registry of the tests */

static const char *const globals[] = {"dns_answers", "fake_backend"};

/* ---- copies ---- */

static void copy_value(lua_State *from, int index, lua_State *to, int level);

static void copy_table(lua_State *from, int index, lua_State *to, int level)
{
    lua_newtable(to);
    for (lua_pushnil(from); lua_next(from, index) != 0; lua_pop(from, 1)) {
        int value = lua_gettop(from);
        copy_value(from, value - 1, to, level + 1);
        copy_value(from, value, to, level + 1);
        lua_rawset(to, -3);
    }
}

/* index is absolute. Raises in `to`, and leaves what it was at on `from`. [-0, +1, m] */
static void copy_value(lua_State *from, int index, lua_State *to, int level)
{
    size_t len;
    const char *text;
    luaL_checkstack(to, WORLD_ROOM, "the simulated world");
    if (!lua_checkstack(from, WORLD_ROOM) || level > WORLD_LEVELS_MAX) {
        luaL_error(to, "the simulated world: tables within tables, more than %d levels",
            (int)WORLD_LEVELS_MAX);
    }
    switch (lua_type(from, index)) {
    case LUA_TNIL:
        lua_pushnil(to);
        break;
    case LUA_TBOOLEAN:
        lua_pushboolean(to, lua_toboolean(from, index));
        break;
    case LUA_TNUMBER:
        if (lua_isinteger(from, index)) {
            lua_pushinteger(to, lua_tointeger(from, index));
        } else {
            lua_pushnumber(to, lua_tonumber(from, index));
        }
        break;
    case LUA_TSTRING:
        text = lua_tolstring(from, index, &len);
        lua_pushlstring(to, text, len);
        break;
    case LUA_TTABLE:
        copy_table(from, index, to, level);
        break;
    default:
        luaL_error(to,
            "the simulated world: nil, booleans, numbers, strings and tables of these expected, "
            "not a %s",
            lua_typename(from, lua_type(from, index)));
    }
}

/* ---- questions ---- */

struct question {
    lua_State *from; /* whose n topmost values are the arguments */
    const char *function;
    int n;
};

/* In the state of the tests: the function is called with what is on the stack above it. */
static void call_world(lua_State *L, const char *function, int n)
{
    luaL_checkstack(L, WORLD_ROOM, "the simulated world");
    lua_rawgetp(L, LUA_REGISTRYINDEX, &world_key);
    lua_getfield(L, -1, function);
    lua_insert(L, -2 - n);
    lua_pop(L, 1);
    lua_call(L, n, SCRIPT_WORLD_RESULTS);
}

/* In the state of the tests, protected. Stack: a struct question. */
static int answer(lua_State *L)
{
    const struct question *question = lua_touserdata(L, 1);
    int first = lua_gettop(question->from) - question->n + 1;
    lua_settop(L, 0);
    for (int i = 0; i < question->n; i++) {
        copy_value(question->from, first + i, L, 0);
    }
    call_world(L, question->function, question->n);
    return SCRIPT_WORLD_RESULTS;
}

/* What the tests answered, or the error that it was for them. */
static void take_answer(lua_State *L, lua_State *test, int status)
{
    int first = lua_gettop(test) - SCRIPT_WORLD_RESULTS + 1;
    if (status != LUA_OK) {
        const char *error = lua_tostring(test, -1);
        lua_pushstring(L, error != NULL ? error : "an error in a test's fake");
        lua_settop(test, script_of(L)->world_top);
        lua_error(L);
    }
    for (int i = 0; i < SCRIPT_WORLD_RESULTS; i++) {
        copy_value(test, first + i, L, 0);
    }
    lua_settop(test, script_of(L)->world_top);
}

void script_world_ask(lua_State *L, const char *function, int n)
{
    const struct script *script = script_of(L);
    lua_State *test = script->world;
    if (script_of(test) == script) { /* the tests themselves ask */
        call_world(L, function, n);
        return;
    }
    struct question question = {L, function, n};
    int top = lua_gettop(L);
    lua_settop(test, script->world_top); /* what an error of the filter's left there */
    if (!lua_checkstack(test, WORLD_ROOM)) {
        luaL_error(L, "the simulated world: no memory");
    }
    lua_pushcfunction(test, answer);
    lua_pushlightuserdata(test, &question);
    int status = lua_pcall(test, 1, SCRIPT_WORLD_RESULTS, 0);
    lua_settop(L, top - n);
    take_answer(L, test, status);
}

bool script_world_is_simulated(lua_State *L)
{
    return script_of(L)->world != NULL;
}

/* ---- whose world it is ---- */

void script_enter_world(struct script *script, lua_State *test)
{
    script->world = test;
    script->world_top = lua_gettop(test);
}

void script_world_open(lua_State *L)
{
    lua_getglobal(L, "require");
    lua_pushliteral(L, WORLD_MODULE);
    lua_call(L, 1, 1);
    for (size_t i = 0; i < sizeof globals / sizeof globals[0]; i++) {
        lua_getfield(L, -1, globals[i]);
        lua_setglobal(L, globals[i]);
    }
    lua_rawsetp(L, LUA_REGISTRYINDEX, &world_key);
    script_of(L)->world = L;
}
