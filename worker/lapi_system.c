/* require "postern.internal.system": what modules in Lua need to know of the process they run in:
 * the options of their section, and the time. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "worker/script_internal.h"

enum { OPTION_TEXT_MAX = 8192 };

static void push_networks(lua_State *L, const struct network_list *list)
{
    char ip[INET6_ADDRSTRLEN];
    lua_createtable(L, list->n, 0);
    for (int i = 0; i < list->n; i++) {
        inet_ntop(list->items[i].family, list->items[i].address, ip, sizeof ip);
        lua_pushfstring(L, "%s/%d", ip, (int)list->items[i].prefix);
        lua_rawseti(L, -2, i + 1);
    }
}

/* Durations are seconds in Lua; what has no type of its own there is the text of the file. */
static void push_option(
    lua_State *L, const struct conf *conf, const struct conf_option *option, const char *type)
{
    const char *at = (const char *)conf + option->offset;
    char text[OPTION_TEXT_MAX];
    if (strcmp(type, "BOOL") == 0) {
        lua_pushboolean(L, *(const bool *)at);
    } else if (strcmp(type, "INT") == 0 || strcmp(type, "BYTES") == 0) {
        lua_pushinteger(L, *(const int64_t *)at);
    } else if (strcmp(type, "MS") == 0) {
        lua_pushnumber(L, (lua_Number) * (const int64_t *)at / 1000);
    } else if (strcmp(type, "NETWORKS") == 0) {
        push_networks(L, (const struct network_list *)at);
    } else {
        conf_value_text(conf, option, text, sizeof text);
        lua_pushstring(L, text);
    }
}

/* options(section): name to value */
static int system_options(lua_State *L)
{
    const char *section = luaL_checkstring(L, 1);
    const struct conf *conf = script_conf(L);
    lua_newtable(L);
    for (int i = 0; i < conf_n_options; i++) {
        const struct conf_option *option = &conf_options[i];
        if (strcmp(option->section, section) == 0) {
            push_option(L, conf, option, option->type);
            lua_setfield(L, -2, option->name);
        }
    }
    return 1;
}

/* now(): seconds since 1970, with fractions; the clock by which entries of the store end */
static int system_now(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)clock_wall_ms() / 1000);
    return 1;
}

static const luaL_Reg functions[] = {
    {"now", system_now},
    {"options", system_options},
    {NULL, NULL},
};

int lapi_system_open(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
