/* require "postern.internal.address": IP addresses as bytes, for the modules that compare and
 * reverse them. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "common/address.h"
#include "common/network.h"
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

/* block(bytes, bits4, bits6): the network that the address is in, "192.0.2.0/24" */
static int module_block(lua_State *L)
{
    uint8_t block[16];
    char text[INET6_ADDRSTRLEN];
    const struct slice bytes = check_bytes(L);
    const bool is_four = bytes.len == 4;
    const lua_Integer bits = luaL_checkinteger(L, is_four ? 2 : 3);
    luaL_argcheck(
        L, bits >= 0 && bits <= (lua_Integer)bytes.len * 8, is_four ? 2 : 3, "too many bits");
    memcpy(block, bytes.data, bytes.len);
    for (lua_Integer i = bits; i < (lua_Integer)bytes.len * 8; i++)
        block[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
    inet_ntop(is_four ? AF_INET : AF_INET6, block, text, sizeof(text));
    lua_pushfstring(L, "%s/%d", text, (int)bits);
    return 1;
}

/* is_in(ip, networks): whether the text of an address is in one of a list of networks */
static int module_is_in(lua_State *L)
{
    struct network network;
    const char *ip = luaL_checkstring(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    bool found = false;
    for (lua_Integer i = 1; !found && lua_rawgeti(L, 2, i) == LUA_TSTRING; i++) {
        found = network_from_text(lua_tostring(L, -1), &network) == 0 && network_has(&network, ip);
        lua_pop(L, 1);
    }
    lua_pushboolean(L, found);
    return 1;
}

/* matches(address, pattern): as rcpt:matches */
static int module_matches(lua_State *L)
{
    const struct slice address = lapi_check_slice(L, 1);
    lua_pushboolean(L, address_matches(address, lapi_check_slice(L, 2)));
    return 1;
}

static const luaL_Reg functions[] = {
    {"block", module_block},
    {"is_in", module_is_in},
    {"matches", module_matches},
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
