/*
 * The standard libraries as a filter sees them, from lists: nothing that ends or forks the process,
 * changes what all share (locale, directory, standard descriptors), or runs bytecode.
 * What is not on a list is not there.
 */
#include <errno.h>
#include <lualib.h>

#include "common/clock.h"
#include "worker/sandbox_files.h"
#include "worker/script_internal.h"

/* keep NULL: all but `drop`. */
struct library {
    const char *name;
    lua_CFunction open;
    const char *const *keep;
    const char *const *drop;
};

static const char *const base_drop[] = {"dofile", "loadfile", NULL};
static const char *const string_drop[] = {"dump", NULL};
static const char *const os_keep[] = {"time", "date", "clock", "difftime", "getenv", NULL};
static const char *const io_keep[] = {"open", "lines", "type", "close", NULL};
static const char *const debug_keep[] = {"traceback", "getinfo", NULL};

static const struct library libraries[] = {
    {LUA_GNAME, luaopen_base, NULL, base_drop},
    {LUA_COLIBNAME, luaopen_coroutine, NULL, NULL},
    {LUA_TABLIBNAME, luaopen_table, NULL, NULL},
    {LUA_STRLIBNAME, luaopen_string, NULL, string_drop},
    {LUA_MATHLIBNAME, luaopen_math, NULL, NULL},
    {LUA_UTF8LIBNAME, luaopen_utf8, NULL, NULL},
    {LUA_OSLIBNAME, luaopen_os, os_keep, NULL},
    {LUA_IOLIBNAME, luaopen_io, io_keep, NULL},
    {LUA_DBLIBNAME, luaopen_debug, debug_keep, NULL},
};

static bool is_listed(const char *const *list, const char *name)
{
    for (; list != NULL && *list != NULL; list++) {
        if (strcmp(*list, name) == 0) {
            return true;
        }
    }
    return false;
}

/* The library's table is on top. */
static void take_out(lua_State *L, const struct library *library)
{
    for (lua_pushnil(L); lua_next(L, -2) != 0;) {
        lua_pop(L, 1);
        const char *name = lua_tostring(L, -1);
        bool is_kept = library->keep == NULL || is_listed(library->keep, name);
        if (!is_kept || is_listed(library->drop, name)) {
            lua_pushvalue(L, -1);
            lua_pushnil(L);
            lua_rawset(L, -4); /* clearing a field is allowed while lua_next walks */
        }
    }
}

/* ---- load: text only ---- */

static const char *read_piece(lua_State *L, void *context, size_t *size_out)
{
    (void)context;
    luaL_checkstack(L, 2, "too many nested functions");
    lua_pushvalue(L, 1);
    lua_call(L, 0, 1);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        *size_out = 0;
        return NULL;
    }
    if (lua_type(L, -1) != LUA_TSTRING) {
        luaL_error(L, "reader function must return a string");
    }
    lua_replace(L, 5); /* keeps the piece alive */
    return lua_tolstring(L, 5, size_out);
}

/* load(chunk, name, mode, env): mode "b" finds nothing that it may load. */
static int load_text(lua_State *L)
{
    bool has_env = !lua_isnone(L, 4);
    size_t len = 0;
    const char *text = lua_type(L, 1) == LUA_TSTRING ? lua_tolstring(L, 1, &len) : NULL;
    const char *name = luaL_optstring(L, 2, text != NULL ? text : "=(load)");
    const char *mode = luaL_optstring(L, 3, "t");
    lua_settop(L, 5);
    if (strchr(mode, 't') == NULL) {
        lua_pushnil(L);
        lua_pushliteral(L, "bytecode is not loaded");
        return 2;
    }
    if (text == NULL) {
        luaL_checktype(L, 1, LUA_TFUNCTION);
    }
    int status = text != NULL ? luaL_loadbufferx(L, text, len, name, "t")
                              : lua_load(L, read_piece, NULL, name, "t");
    if (status != LUA_OK) {
        lua_pushnil(L);
        lua_insert(L, -2);
        return 2;
    }
    if (has_env) {
        lua_pushvalue(L, 4);
        if (lua_setupvalue(L, -2, 1) == NULL) {
            lua_pop(L, 1);
        }
    }
    return 1;
}

/* ---- os: the wall clock of a test ---- */

/* Upvalue: Lua's os.time. */
static int time_now(lua_State *L)
{
    if (lua_isnoneornil(L, 1)) {
        lua_pushinteger(L, clock_wall_ms() / 1000);
        return 1;
    }
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 1, 1);
    return 1;
}

/* Upvalue: Lua's os.date. */
static int date_now(lua_State *L)
{
    lua_settop(L, 2);
    if (lua_isnil(L, 1)) {
        lua_pushliteral(L, "%c");
        lua_replace(L, 1);
    }
    if (lua_isnil(L, 2)) {
        lua_pushinteger(L, clock_wall_ms() / 1000);
        lua_replace(L, 2);
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 2, 1);
    return 1;
}

/* ---- io: what may be written is configured ---- */

static bool is_writing(const char *mode)
{
    return mode[0] != 'r' || strchr(mode, '+') != NULL;
}

/* Upvalue: Lua's io.open. A refusal names the option. */
static int open_file(lua_State *L)
{
    char why[128];
    const char *path = luaL_checkstring(L, 1);
    const char *mode = luaL_optstring(L, 2, "r");
    const struct conf *conf = script_of(L)->conf;
    if (is_writing(mode) && sandbox_files_check_write(conf, path, why, sizeof why) != 0) {
        lua_pushnil(L);
        lua_pushfstring(L, "%s: %s", path, why);
        return 2;
    }
    lua_settop(L, 2);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 2, LUA_MULTRET);
    int n = lua_gettop(L);
    if (n == 3 && lua_tointeger(L, 3) == EACCES && conf->worker.sandbox != SANDBOX_OFF) {
        lua_pushfstring(L, "%s (the sandbox: worker.%s)", lua_tostring(L, 2),
            is_writing(mode) ? "write_paths" : "read_paths");
        lua_replace(L, 2);
    }
    return n;
}

/* Upvalue: a function of io that without its first argument would mean standard input or output. */
static int with_argument(lua_State *L)
{
    luaL_checkany(L, 1);
    luaL_argexpected(L, !lua_isnil(L, 1), 1, "file");
    int n = lua_gettop(L);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, n, LUA_MULTRET);
    return lua_gettop(L);
}

static void wrap_field(lua_State *L, const char *name, lua_CFunction wrapper)
{
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, wrapper, 1);
    lua_setfield(L, -2, name);
}

void script_libs_follow_clock(lua_State *L)
{
    lua_getglobal(L, LUA_OSLIBNAME);
    wrap_field(L, "time", time_now);
    wrap_field(L, "date", date_now);
    lua_pop(L, 1);
}

void script_libs_open(lua_State *L)
{
    for (size_t i = 0; i < sizeof libraries / sizeof libraries[0]; i++) {
        luaL_requiref(L, libraries[i].name, libraries[i].open, 1);
        take_out(L, &libraries[i]);
        lua_pop(L, 1);
    }
    if (clock_wall_is_shifted())
        script_libs_follow_clock(L);
    lua_getglobal(L, LUA_IOLIBNAME);
    wrap_field(L, "open", open_file);
    wrap_field(L, "lines", with_argument);
    wrap_field(L, "close", with_argument);
    lua_pop(L, 1);
    lua_pushcfunction(L, load_text);
    lua_setglobal(L, "load");
    lua_pushcfunction(L, lapi_log_print);
    lua_setglobal(L, "print");
    script_deadline_open(L);
    script_require_open(L);
}
