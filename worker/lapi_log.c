/*
 * postern.log, and print. Never raises: a log line must not cost a mail. What cannot be formatted
 * is logged as it came, with the reason. Control characters are escaped and lines bounded by the
 * log; the message's uid and the hook stand in each line.
 */
#include <lualib.h>

#include "common/log.h"
#include "common/text.h"
#include "worker/script_internal.h"

enum { LOG_ARGUMENTS_MAX = 32, LOG_TEXT_MAX = 4096 };

/* Stack: format, arguments. Runs under pcall: string.format and __tostring may raise. */
static int format_arguments(lua_State *L)
{
    int n = lua_gettop(L);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, n, 1);
    return 1;
}

static int text_of_value(lua_State *L)
{
    luaL_tolstring(L, 1, NULL);
    return 1;
}

/* The text at index escaped already, so that a NUL does not end it; what the log would cut is not
 * copied. */
static void write_line(lua_State *L, enum log_level level, int index, const char *problem)
{
    size_t len = 0;
    const char *text = lua_tolstring(L, index, &len);
    char out[LOG_TEXT_MAX + 64];
    size_t n = 0;
    for (size_t i = 0; i < len && n < LOG_TEXT_MAX; i++, n++) {
        out[n] = text[i] != '\0' ? text[i] : ' ';
    }
    out[n] = '\0';
    log_at(level, "%s%s%s%s", out, n < len ? "..." : "", problem != NULL ? ": " : "",
        problem != NULL ? problem : "");
}

/* Upvalues: string.format, the level. */
static int log_line(lua_State *L)
{
    enum log_level level = (enum log_level)lua_tointeger(L, lua_upvalueindex(2));
    int n = lua_gettop(L);
    if (!log_is_on(level) || n == 0) {
        return 0;
    }
    if (n == 1 && lua_type(L, 1) == LUA_TSTRING) {
        write_line(L, level, 1, NULL);
        return 0;
    }
    if (n > LOG_ARGUMENTS_MAX) {
        lua_settop(L, LOG_ARGUMENTS_MAX);
        n = LOG_ARGUMENTS_MAX;
    }
    bool is_format = lua_type(L, 1) == LUA_TSTRING;
    if (is_format) {
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_pushcclosure(L, format_arguments, 1);
    } else {
        lua_pushcfunction(L, text_of_value);
    }
    for (int i = 1; i <= (is_format ? n : 1); i++) {
        lua_pushvalue(L, i);
    }
    int status = lua_pcall(L, is_format ? n : 1, 1, 0);
    if (script_of(L)->is_ending) { /* the deadline is not for us to swallow */
        return script_deadline_raise(L);
    }
    if (status == LUA_OK && lua_type(L, -1) == LUA_TSTRING) {
        write_line(L, level, -1, NULL);
    } else {
        const char *problem =
            lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "cannot be shown";
        lua_pushstring(L, is_format ? "" : luaL_typename(L, 1));
        write_line(L, level, is_format ? 1 : -1, problem);
    }
    return 0;
}

static const struct {
    const char *name;
    enum log_level level;
} levels[] = {{"debug", LOG_LEVEL_DEBUG}, {"info", LOG_LEVEL_INFO}, {"warn", LOG_LEVEL_WARN},
    {"error", LOG_LEVEL_ERROR}};

static int lapi_log_open(lua_State *L)
{
    lua_newtable(L);
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
        lua_getfield(L, -1, LUA_STRLIBNAME);
        lua_getfield(L, -1, "format");
        lua_pushinteger(L, levels[i].level);
        lua_pushcclosure(L, log_line, 2);
        lua_setfield(L, -4, levels[i].name);
        lua_pop(L, 2);
    }
    return 1;
}

/* print(…): the values, separated by tabs, at level info. */
int lapi_log_print(lua_State *L)
{
    luaL_Buffer line;
    int n = lua_gettop(L);
    luaL_buffinit(L, &line);
    for (int i = 1; i <= n; i++) {
        if (i > 1) {
            luaL_addchar(&line, '\t');
        }
        luaL_tolstring(L, i, NULL);
        luaL_addvalue(&line);
    }
    luaL_pushresult(&line);
    write_line(L, LOG_LEVEL_INFO, -1, NULL);
    return 0;
}

/* Loaded by require only: log is no global. */
void lapi_log_register(lua_State *L)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, lapi_log_open);
    lua_setfield(L, -2, "postern.log");
    lua_pop(L, 1);
}
