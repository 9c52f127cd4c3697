#include "worker/lapi_store_value.h"

#include <math.h>

#include "worker/script_internal.h"
#include "worker/state.h"

struct slice lapi_store_check_key(lua_State *L, int index, size_t min_bytes)
{
    struct slice key = lapi_check_slice(L, index);
    luaL_argcheck(
        L, key.len >= min_bytes && key.len <= STORE_KEY_MAX, index, "a key has 1 to 1024 bytes");
    return key;
}

int64_t lapi_store_check_ttl(lua_State *L, int index, int64_t otherwise)
{
    if (lua_isnoneornil(L, index))
        return otherwise;
    lua_Number secs = luaL_checknumber(L, index);
    luaL_argcheck(L, secs > 0 && secs <= (lua_Number)STORE_TTL_MAX_MS / 1000, index,
        "a ttl is in seconds, greater than 0 and at most ten years"); /* NaN fails too */
    return (int64_t)ceil(secs * 1000);
}

/* Encodes the table at index; the bytes are a string that is pushed. [-0, +1, m] */
static struct slice pack_table(lua_State *L, int index)
{
    char why[256];
    struct buf *out = &script_of(L)->scratch;
    size_t max_bytes = out->max;
    buf_reset(out);
    out->max = STATE_BYTES_MAX;
    int err = state_put(L, index, out, "the value", why, sizeof why);
    out->max = max_bytes;
    if (err != 0)
        luaL_error(L, "%s", why);
    lapi_push_slice(L, buf_slice(out));
    return lapi_check_slice(L, -1);
}

struct store_value lapi_store_check_value(lua_State *L, int index)
{
    struct store_value value = {.kind = STORE_NONE};
    switch (lua_type(L, index)) {
    case LUA_TNIL:
        break;
    case LUA_TBOOLEAN:
        value.kind = STORE_BOOLEAN;
        value.integer = lua_toboolean(L, index);
        break;
    case LUA_TNUMBER:
        value.kind = lua_isinteger(L, index) ? STORE_INTEGER : STORE_FLOAT;
        value.integer = lua_tointeger(L, index);
        value.number = lua_tonumber(L, index);
        if (isnan(value.number))
            luaL_error(L, "the store keeps no NaN");
        break;
    case LUA_TSTRING:
        value.kind = STORE_TEXT;
        value.bytes = lapi_check_slice(L, index);
        if (value.bytes.len > STORE_VALUE_MAX)
            luaL_error(L, "a text in the store has at most %d bytes, this one %I", STORE_VALUE_MAX,
                (lua_Integer)value.bytes.len);
        break;
    case LUA_TTABLE:
        value.kind = STORE_TABLE;
        value.bytes = pack_table(L, index);
        break;
    default:
        luaL_error(L, "the store keeps booleans, numbers, strings and tables of these, not a %s",
            luaL_typename(L, index));
    }
    return value;
}

void lapi_store_push_value(lua_State *L, const struct store_value *value)
{
    switch (value->kind) {
    case STORE_INTEGER:
        lua_pushinteger(L, value->integer);
        return;
    case STORE_FLOAT:
        lua_pushnumber(L, value->number);
        return;
    case STORE_BOOLEAN:
        lua_pushboolean(L, value->integer != 0);
        return;
    case STORE_TEXT:
        lapi_push_slice(L, value->bytes);
        return;
    case STORE_TABLE:
        if (state_get(L, value->bytes) != 0)
            luaL_error(L, "an entry of the store is malformed");
        return;
    case STORE_NONE:
    case STORE_KIND_COUNT:
        lua_pushnil(L);
        return;
    }
}
