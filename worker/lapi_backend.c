/* require "postern.internal.backend": what modules for scanners and policy servers need of us
 * (postern.internal.backends in Lua is built on it). */
#include <stddef.h>
#include <string.h>

#include "common/clock.h"
#include "common/conf_value.h"
#include "worker/lapi_content.h"
#include "worker/lapi_msg.h"
#include "worker/lapi_part.h"
#include "worker/script_internal.h"

enum { VALUE_MAX = 8192 };

static const struct conf_option *find_option(const char *section, const char *name)
{
    for (int i = 0; i < conf_n_options; i++) {
        if (strcmp(conf_options[i].section, section) == 0 &&
            strcmp(conf_options[i].name, name) == 0) {
            return &conf_options[i];
        }
    }
    return NULL;
}

/* A number in the option's stored unit, but seconds for a duration; a boolean; else a text. */
static void push_value(lua_State *L, const struct conf_option *option)
{
    const char *member = (const char *)script_conf(L) + option->offset;
    char text[VALUE_MAX];
    int64_t number = 0;
    bool flag = false;
    if (strcmp(option->type, "MS") == 0) {
        memcpy(&number, member, sizeof number);
        lua_pushnumber(L, (lua_Number)number / 1000);
    } else if (strcmp(option->type, "INT") == 0 || strcmp(option->type, "BYTES") == 0) {
        memcpy(&number, member, sizeof number);
        lua_pushinteger(L, number);
    } else if (strcmp(option->type, "BOOL") == 0) {
        memcpy(&flag, member, sizeof flag);
        lua_pushboolean(L, flag);
    } else {
        conf_value_text(script_conf(L), option, text, sizeof text);
        lua_pushstring(L, text);
    }
}

/* option(section, name): the section's own, else that of [backend]; nil: there is none. */
static int module_option(lua_State *L)
{
    const char *section = luaL_checkstring(L, 1), *name = luaL_checkstring(L, 2);
    const struct conf_option *option = find_option(section, name);
    option = option != NULL ? option : find_option("backend", name);
    if (option == NULL) {
        lua_pushnil(L);
        return 1;
    }
    push_value(L, option);
    return 1;
}

/* defer(why): the hook ends here. */
static int module_defer(lua_State *L)
{
    return script_defer(L, luaL_checkstring(L, 1));
}

/* finish(): when the time is over that the function has, by the clock of now(). */
static int module_finish(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)script_time_end(L) / 1000);
    return 1;
}

/* now(): seconds of a clock that only goes on. */
static int module_now(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)clock_now_ms() / 1000);
    return 1;
}

/* content(msg or part): "msg" or "part", and how many bytes that are; nil and why they cannot be
 * looked at as a whole. */
static int module_content(lua_State *L)
{
    const struct mime_part *part = lapi_part_test(L, 1);
    luaL_argexpected(L, part != NULL || lapi_msg_test(L, 1) != NULL, 1, "msg or part");
    const struct slice content = lapi_check_content(L, 1);
    if (part != NULL && mime_is_cut(part->mime)) {
        lua_pushnil(L);
        lua_pushliteral(L, "content was cut (worker.max_decoded)");
        return 2;
    }
    lua_pushstring(L, part != NULL ? "part" : "msg");
    lua_pushinteger(L, (lua_Integer)content.len);
    return 2;
}

/* holds(msg or part, from, bytes): whether these are its bytes from the from-th on. */
static int module_holds(lua_State *L)
{
    const struct slice content = lapi_check_content(L, 1);
    lua_Integer from = luaL_checkinteger(L, 2);
    const struct slice bytes = lapi_check_slice(L, 3);
    luaL_argcheck(L, from >= 1, 2, "a place in it expected");
    size_t at = (size_t)from - 1;
    lua_pushboolean(
        L, at <= content.len && bytes.len <= content.len - at &&
               (bytes.len == 0 || memcmp(content.data + at, bytes.data, bytes.len) == 0));
    return 1;
}

/* message(): the msg that the hook is about. */
static int module_message(lua_State *L)
{
    struct job *job = script_of(L)->job;
    if (job == NULL) {
        return luaL_error(L, "there is no message here");
    }
    lapi_push_msg(L, job);
    return 1;
}

/* is_simulated(): whether a test answers in place of back ends. */
static int module_is_simulated(lua_State *L)
{
    lua_pushboolean(L, script_world_is_simulated(L));
    return 1;
}

/* simulated(name, request): what the test's fake answers, or nil and why there is no answer. */
static int module_simulated(lua_State *L)
{
    luaL_checkstring(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_argcheck(L, script_world_is_simulated(L), 1, "only in tests");
    lua_settop(L, 2);
    script_world_ask(L, "call", 2);
    lua_pop(L, 1);
    return 2;
}

static const luaL_Reg functions[] = {
    {"content", module_content},
    {"defer", module_defer},
    {"finish", module_finish},
    {"holds", module_holds},
    {"is_simulated", module_is_simulated},
    {"message", module_message},
    {"now", module_now},
    {"option", module_option},
    {"simulated", module_simulated},
    {NULL, NULL},
};

int lapi_backend_open(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
