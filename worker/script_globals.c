/* Globals: `config`, and the rule that hooks assign none (worker.strict_globals), since a global
 * would be one worker's own and die with it. */
#include "common/text.h"
#include "worker/script_internal.h"

static const char
    frozen_key; /* its address: the table that holds the globals once they are frozen */

/* ---- config ---- */

/* "0", "-12", "120": a number as one would write it, so that "007" and a telephone number stay
 * text. */
static bool is_plain_number(const char *text, int64_t *out)
{
    const char *digits = text[0] == '-' ? text + 1 : text;
    bool has_leading_zero = digits[0] == '0' && (digits[1] != '\0' || text[0] == '-');
    return digits[0] >= '0' && digits[0] <= '9' && !has_leading_zero &&
           text_to_i64(text, INT64_MIN, INT64_MAX, out) == 0;
}

static void push_setting(lua_State *L, const char *value)
{
    int64_t number;
    if (strcmp(value, "yes") == 0 || strcmp(value, "true") == 0) {
        lua_pushboolean(L, true);
    } else if (strcmp(value, "no") == 0 || strcmp(value, "false") == 0) {
        lua_pushboolean(L, false);
    } else if (is_plain_number(value, &number)) {
        lua_pushinteger(L, number);
    } else {
        lua_pushstring(L, value);
    }
}

static int refuse_config(lua_State *L)
{
    return luaL_error(L, "config is read-only: it is the [filter] section of the configuration");
}

/* Upvalue: the real table. */
static int each_pair(lua_State *L)
{
    lua_getglobal(L, "next");
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushnil(L);
    return 3;
}

/* Makes the empty table at `proxy` show the table on top, which is popped; writing calls refuse. */
static void make_proxy(lua_State *L, int proxy, lua_CFunction refuse)
{
    proxy = lua_absindex(L, proxy);
    int real = lua_gettop(L);
    lua_createtable(L, 0, 4);
    lua_pushvalue(L, real);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, refuse);
    lua_setfield(L, -2, "__newindex");
    lua_pushvalue(L, real);
    lua_pushcclosure(L, each_pair, 1);
    lua_setfield(L, -2, "__pairs");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, proxy);
    lua_settop(L, real - 1);
}

/* ---- strict globals ---- */

static int refuse_global(lua_State *L)
{
    char name[80];
    size_t len;
    const char *text = luaL_tolstring(L, 2, &len);
    text_escape(name, sizeof name, slice_of(text, len), '\'');
    return luaL_error(L,
        "assignment to global '%s' in a hook: make it local, keep it in msg.state or conn.state, "
        "or set it in filter_init (worker.strict_globals)",
        name);
}

/* rawset, but for tables that are not to be written: it would pass by their __newindex. */
static int set_raw(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    luaL_checkany(L, 3);
    lua_settop(L, 3);
    if (luaL_getmetafield(L, 1, "__newindex") != LUA_TNIL) {
        lua_CFunction refuse = lua_tocfunction(L, -1);
        if (refuse == refuse_global || refuse == refuse_config) {
            return refuse(L);
        }
        lua_pop(L, 1);
    }
    lua_rawset(L, 1);
    return 1;
}

void script_globals_open(lua_State *L, struct script *script)
{
    lua_newtable(L);
    lua_createtable(L, 0, script->conf->n_filter);
    for (int i = 0; i < script->conf->n_filter; i++) {
        push_setting(L, script->conf->filter[i].value);
        lua_setfield(L, -2, script->conf->filter[i].name);
    }
    make_proxy(L, -2, refuse_config);
    lua_setglobal(L, "config");
    lua_pushcfunction(L, set_raw);
    lua_setglobal(L, "rawset");
}

void script_globals_push(lua_State *L)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &frozen_key) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_pushglobaltable(L);
    }
}

/* The table that chunks know as _G becomes empty and shows its former content, so that existing
 * names are guarded like new ones. */
void script_globals_freeze(lua_State *L)
{
    lua_pushglobaltable(L);
    int globals = lua_gettop(L);
    lua_newtable(L);
    for (lua_pushnil(L); lua_next(L, globals) != 0;) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, globals + 1);
        lua_pushvalue(L, -1);
        lua_pushnil(L);
        lua_rawset(L, globals);
    }
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &frozen_key);
    make_proxy(L, globals, refuse_global);
    lua_settop(L, globals - 1);
}
