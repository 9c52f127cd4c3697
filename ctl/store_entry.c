#include "ctl/store_entry.h"

#include <lauxlib.h>
#include <lua.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "common/xalloc.h"
#include "worker/keyed_hash.h"
#include "worker/state.h"

enum { PACKED_MAX = STORE_VALUE_MAX + 16, TABLE_DEPTH_MAX = STATE_DEPTH_MAX + 1 };

/* ---- hexadecimal ---- */

static json_t *to_hex(struct slice bytes)
{
    char *hex = xmalloc(2 * bytes.len + 1);
    keyed_hash_hex((const uint8_t *)bytes.data, bytes.len, hex);
    json_t *text = json_string(hex);
    free(hex);
    return text;
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool from_hex(const json_t *value, struct arena *arena, size_t max_bytes, struct slice *out)
{
    const char *hex = json_string_value(value);
    size_t len = hex != NULL ? json_string_length(value) : 1;
    if (len % 2 != 0 || len / 2 > max_bytes)
        return false;
    char *bytes = arena_alloc(arena, len / 2 + 1);
    for (size_t i = 0; i < len / 2; i++) {
        int high = digit_of(hex[2 * i]), low = digit_of(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        bytes[i] = (char)(high << 4 | low);
    }
    *out = slice_of(bytes, len / 2);
    return true;
}

/* ---- tables: by way of Lua, which has the codec ---- */

static json_t *json_of_lua(lua_State *L, int depth);

/* Whether the keys of the table on top are 1 to n. */
static bool is_list(lua_State *L, size_t *n_out)
{
    size_t n = 0;
    bool has_other = false;
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        has_other |= !lua_isinteger(L, -2);
        n++;
    }
    *n_out = n;
    return n > 0 && !has_other && lua_rawlen(L, -1) == n;
}

static json_t *json_of_table(lua_State *L, int depth)
{
    size_t n;
    if (depth > TABLE_DEPTH_MAX || !lua_checkstack(L, 4))
        return json_null();
    if (is_list(L, &n)) {
        json_t *list = json_array();
        for (size_t i = 1; i <= n; i++) {
            lua_rawgeti(L, -1, (lua_Integer)i);
            json_array_append_new(list, json_of_lua(L, depth + 1));
            lua_pop(L, 1);
        }
        return list;
    }
    json_t *object = json_object();
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        lua_pushvalue(L, -2); /* lua_next must not see the key converted */
        const char *key = lua_tostring(L, -1);
        lua_insert(L, -2);
        if (json_object_set_new(object, key, json_of_lua(L, depth + 1)) != 0)
            json_object_set_new(object, "?", json_null()); /* a key that is no UTF-8 */
        lua_remove(L, -2);
    }
    return object;
}

/* Of the value on top. What has no JSON becomes null; `packed` has it. */
static json_t *json_of_lua(lua_State *L, int depth)
{
    size_t len;
    const char *text;
    switch (lua_type(L, -1)) {
    case LUA_TBOOLEAN:
        return json_boolean(lua_toboolean(L, -1));
    case LUA_TNUMBER:
        if (lua_isinteger(L, -1))
            return json_integer(lua_tointeger(L, -1));
        return isfinite(lua_tonumber(L, -1)) ? json_real(lua_tonumber(L, -1)) : json_null();
    case LUA_TSTRING:
        text = lua_tolstring(L, -1, &len);
        return text_is_utf8(slice_of(text, len)) ? json_stringn(text, len) : json_null();
    case LUA_TTABLE:
        return json_of_table(L, depth);
    default:
        return json_null();
    }
}

/* Stack: the bytes as a struct slice, where the JSON goes. */
static int unpack(lua_State *L)
{
    const struct slice *bytes = lua_touserdata(L, 1);
    json_t **out = lua_touserdata(L, 2);
    if (state_get(L, *bytes) == 0)
        *out = json_of_lua(L, 1);
    return 0;
}

static json_t *json_of_packed(struct slice bytes)
{
    json_t *value = NULL;
    lua_State *L = luaL_newstate();
    if (L != NULL) {
        lua_pushcfunction(L, unpack);
        lua_pushlightuserdata(L, &bytes);
        lua_pushlightuserdata(L, &value);
        (void)lua_pcall(L, 2, 0, 0);
        lua_close(L);
    }
    return value != NULL ? value : json_null();
}

static void push_json(lua_State *L, const json_t *value, int depth)
{
    const char *key;
    json_t *item;
    size_t i;
    luaL_checkstack(L, 4, "too deep");
    if (depth > TABLE_DEPTH_MAX)
        luaL_error(L, "it is nested too deeply");
    if (json_is_object(value)) {
        lua_newtable(L);
        json_object_foreach((json_t *)(uintptr_t)value, key, item)
        {
            push_json(L, item, depth + 1);
            lua_setfield(L, -2, key);
        }
    } else if (json_is_array(value)) {
        lua_newtable(L);
        json_array_foreach(value, i, item)
        {
            push_json(L, item, depth + 1);
            lua_rawseti(L, -2, (lua_Integer)i + 1);
        }
    } else if (json_is_string(value)) {
        lua_pushlstring(L, json_string_value(value), json_string_length(value));
    } else if (json_is_integer(value)) {
        lua_pushinteger(L, json_integer_value(value));
    } else if (json_is_real(value)) {
        lua_pushnumber(L, json_real_value(value));
    } else if (json_is_boolean(value)) {
        lua_pushboolean(L, json_is_true(value));
    } else {
        lua_pushnil(L);
    }
}

/* Stack: the JSON, the buffer. */
static int pack(lua_State *L)
{
    char why[200];
    struct buf *out = lua_touserdata(L, 2);
    push_json(L, lua_touserdata(L, 1), 1);
    if (state_put(L, -1, out, "value", why, sizeof why) != 0)
        return luaL_error(L, "%s", why);
    return 0;
}

static bool packed_of_json(const json_t *value, struct arena *arena, struct slice *out)
{
    struct buf bytes;
    buf_init(&bytes, STATE_BYTES_MAX);
    lua_State *L = luaL_newstate();
    bool is_good = false;
    if (L != NULL) {
        lua_pushcfunction(L, pack);
        lua_pushlightuserdata(L, (void *)(uintptr_t)value);
        lua_pushlightuserdata(L, &bytes);
        is_good = lua_pcall(L, 2, 0, 0) == LUA_OK;
        lua_close(L);
    }
    if (is_good)
        *out = slice_of(arena_memdup0(arena, bytes.data, bytes.len), bytes.len);
    buf_clear(&bytes);
    return is_good;
}

/* ---- packed ---- */

static json_t *packed_of(const struct store_value *value)
{
    struct buf out;
    buf_init(&out, PACKED_MAX);
    uint64_t bits;
    memcpy(&bits, &value->number, sizeof bits);
    int err = buf_put_u8(&out, (uint8_t)value->kind);
    if (err == 0)
        err = value->kind == STORE_FLOAT ? buf_put_u64(&out, bits)
                                         : buf_put(&out, value->bytes.data, value->bytes.len);
    json_t *hex = err == 0 ? to_hex(buf_slice(&out)) : json_null();
    buf_clear(&out);
    return hex;
}

static bool unpack_value(const json_t *hex, struct arena *arena, struct store_value *out)
{
    struct slice bytes;
    struct buf in;
    uint8_t kind;
    uint64_t bits;
    if (!from_hex(hex, arena, PACKED_MAX, &bytes))
        return false;
    buf_view(&in, bytes.data, bytes.len);
    if (buf_get_u8(&in, &kind) != 0)
        return false;
    *out = (struct store_value){.kind = (enum store_kind)kind};
    if (kind == STORE_FLOAT) {
        if (buf_get_u64(&in, &bits) != 0 || buf_left(&in) != 0)
            return false;
        memcpy(&out->number, &bits, sizeof bits);
        return !isnan(out->number);
    }
    out->bytes = slice_of(bytes.data + 1, bytes.len - 1);
    if (kind == STORE_TABLE) {
        json_t *table = json_of_packed(out->bytes);
        bool is_table = !json_is_null(table);
        json_decref(table);
        return is_table;
    }
    return kind == STORE_TEXT && out->bytes.len <= STORE_VALUE_MAX;
}

/* ---- values ---- */

static json_t *value_to_json(const struct store_value *value, bool *is_whole_out)
{
    *is_whole_out = true;
    switch (value->kind) {
    case STORE_INTEGER:
        return json_integer(value->integer);
    case STORE_BOOLEAN:
        return json_boolean(value->integer != 0);
    case STORE_FLOAT:
        *is_whole_out = isfinite(value->number);
        return *is_whole_out ? json_real(value->number) : json_null();
    case STORE_TEXT:
        *is_whole_out = text_is_utf8(value->bytes);
        return *is_whole_out
                   ? json_stringn(value->bytes.len > 0 ? value->bytes.data : "", value->bytes.len)
                   : json_null();
    case STORE_TABLE:
        *is_whole_out = false;
        return json_of_packed(value->bytes);
    case STORE_NONE:
    case STORE_KIND_COUNT:
        break;
    }
    return json_null();
}

static bool value_from_json(const json_t *value, struct arena *arena, struct store_value *out)
{
    *out = (struct store_value){.kind = STORE_NONE};
    if (json_is_integer(value)) {
        out->kind = STORE_INTEGER;
        out->integer = json_integer_value(value);
    } else if (json_is_real(value)) {
        out->kind = STORE_FLOAT;
        out->number = json_real_value(value);
    } else if (json_is_boolean(value)) {
        out->kind = STORE_BOOLEAN;
        out->integer = json_is_true(value);
    } else if (json_is_string(value) && json_string_length(value) <= STORE_VALUE_MAX) {
        out->kind = STORE_TEXT;
        out->bytes = slice_of(json_string_value(value), json_string_length(value));
    } else if (json_is_object(value) || json_is_array(value)) {
        out->kind = STORE_TABLE;
        return packed_of_json(value, arena, &out->bytes);
    }
    return out->kind != STORE_NONE;
}

/* ---- entries ---- */

json_t *store_entry_to_json(const struct store_entry *entry)
{
    bool is_whole;
    json_t *object = json_object();
    bool is_text = text_is_utf8(entry->key) && memchr(entry->key.data, 0, entry->key.len) == NULL;
    json_object_set_new(object, is_text ? "key" : "key_hex",
        is_text ? json_stringn(entry->key.data, entry->key.len) : to_hex(entry->key));
    json_object_set_new(object, "value", value_to_json(&entry->value, &is_whole));
    if (!is_whole)
        json_object_set_new(object, "packed", packed_of(&entry->value));
    json_object_set_new(object, "expires",
        entry->expires_ms == STORE_FOREVER ? json_null()
                                           : json_real((double)entry->expires_ms / 1000));
    return object;
}

static bool key_from_json(const json_t *object, struct arena *arena, struct slice *out)
{
    const json_t *key = json_object_get(object, "key");
    if (json_is_string(key))
        *out = slice_of(json_string_value(key), json_string_length(key));
    else if (!from_hex(json_object_get(object, "key_hex"), arena, STORE_KEY_MAX, out))
        return false;
    return out->len > 0 && out->len <= STORE_KEY_MAX;
}

const char *store_entry_from_json(
    const json_t *object, struct arena *arena, struct store_entry *out)
{
    const json_t *packed = json_object_get(object, "packed");
    const json_t *expires = json_object_get(object, "expires");
    double secs = json_number_value(expires);
    *out = (struct store_entry){.expires_ms = STORE_FOREVER};
    if (!json_is_object(object))
        return "an object is expected on each line";
    if (!key_from_json(object, arena, &out->key))
        return "there is no good key (1 to 1024 bytes)";
    if (packed != NULL ? !unpack_value(packed, arena, &out->value)
                       : !value_from_json(json_object_get(object, "value"), arena, &out->value))
        return "there is no good value";
    if (expires == NULL || json_is_null(expires))
        return NULL;
    if (!json_is_number(expires) || !(secs >= 0 && secs < 1e15))
        return "expires is a number of seconds, or null";
    out->expires_ms = (int64_t)llround(secs * 1000);
    return NULL;
}
