/* require "postern.internal.address": IP addresses as bytes, for the modules that compare and
 * reverse them. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "worker/script_internal.h"

/* bytes(text): 4 or 16 bytes, or nil. An IPv4 address within IPv6 stays as it is. */
static int module_bytes(lua_State *L)
{
    uint8_t bytes[16];
    const struct slice text = lapi_check_slice(L, 1);
    lua_settop(L, 1);
    lua_pushnil(L);
    if (strlen(text.data) != text.len)
        return 1;
    if (inet_pton(AF_INET, text.data, bytes) == 1)
        lua_pushlstring(L, (const char *)bytes, 4);
    else if (inet_pton(AF_INET6, text.data, bytes) == 1)
        lua_pushlstring(L, (const char *)bytes, 16);
    return 1;
}

static struct slice check_bytes(lua_State *L)
{
    const struct slice bytes = lapi_check_slice(L, 1);
    luaL_argcheck(L, bytes.len == 4 || bytes.len == 16, 1, "4 or 16 bytes expected");
    return bytes;
}

/* text(bytes) */
static int module_text(lua_State *L)
{
    char text[INET6_ADDRSTRLEN];
    const struct slice bytes = check_bytes(L);
    inet_ntop(bytes.len == 4 ? AF_INET : AF_INET6, bytes.data, text, sizeof(text));
    lua_pushstring(L, text);
    return 1;
}

/* reverse(bytes): the name that PTR records stand under. */
static int module_reverse(lua_State *L)
{
    char name[16 * 4 + sizeof("in-addr.arpa")];
    const struct slice bytes = check_bytes(L);
    const bool is_four = bytes.len == 4;
    char *to = name;
    for (size_t i = bytes.len; i > 0; i--) {
        const unsigned byte = (uint8_t)bytes.data[i - 1];
        const size_t room = sizeof(name) - (size_t)(to - name);
        to += is_four ? snprintf(to, room, "%u.", byte)
                      : snprintf(to, room, "%x.%x.", byte & 15, byte >> 4);
    }
    snprintf(to, sizeof(name) - (size_t)(to - name), is_four ? "in-addr.arpa" : "ip6.arpa");
    lua_pushstring(L, name);
    return 1;
}

static const luaL_Reg functions[] = {
    {"bytes", module_bytes},
    {"text", module_text},
    {"reverse", module_reverse},
    {NULL, NULL},
};

int lapi_address_open(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
