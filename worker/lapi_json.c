/*
 * require "postern.internal.json": JSON (RFC 8259) that a server sent, as Lua values.
 *
 *   decode(text)   a value: null is nil, objects and arrays are tables; or nil and why
 *
 * What is parsed stands in a userdata meanwhile, so that an error of Lua's loses nothing.
 */
#include <jansson.h>

#include "worker/lapi_json.h"
#include "worker/script_internal.h"

#define CLASS_NAME "postern.json"

enum { DEPTH_MAX = 100 }; /* of what is within each other */

static int document_gc(lua_State *L)
{
    json_t **document = luaL_checkudata(L, 1, CLASS_NAME);
    json_decref(*document);
    *document = NULL;
    return 0;
}

static json_t **push_document(lua_State *L)
{
    json_t **document = lua_newuserdatauv(L, sizeof(json_t *), 0);
    *document = NULL;
    lapi_own(L, CLASS_NAME, document_gc);
    return document;
}

static void push_array(lua_State *L, const json_t *array)
{
    size_t n = json_array_size(array);
    lua_createtable(L, n < 1000 ? (int)n : 1000, 0);
    for (size_t i = 0; i < n; i++) {
        lapi_json_push(L, json_array_get(array, i));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

static void push_object(lua_State *L, json_t *object)
{
    const char *key;
    json_t *value;
    lua_newtable(L);
    json_object_foreach(object, key, value)
    {
        lua_pushstring(L, key);
        lapi_json_push(L, value);
        lua_rawset(L, -3);
    }
}

void lapi_json_push(lua_State *L, json_t *value)
{
    luaL_checkstack(L, 4, "JSON");
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        push_object(L, value);
        break;
    case JSON_ARRAY:
        push_array(L, value);
        break;
    case JSON_STRING:
        lua_pushlstring(L, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
        lua_pushinteger(L, json_integer_value(value));
        break;
    case JSON_REAL:
        lua_pushnumber(L, json_real_value(value));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        lua_pushboolean(L, json_is_true(value));
        break;
    case JSON_NULL:
        lua_pushnil(L);
        break;
    }
}

/* jansson itself goes 2048 deep, too deep for the stack of ours. */
static bool is_too_deep(json_t *value, int depth)
{
    const char *key;
    json_t *within;
    size_t i;
    if (depth > DEPTH_MAX) {
        return true;
    }
    json_object_foreach(value, key, within)
    {
        if (is_too_deep(within, depth + 1)) {
            return true;
        }
    }
    json_array_foreach(value, i, within)
    {
        if (is_too_deep(within, depth + 1)) {
            return true;
        }
    }
    return false;
}

static int module_decode(lua_State *L)
{
    json_error_t error;
    struct slice text = lapi_check_slice(L, 1);
    json_t **document = push_document(L);
    *document = json_loadb(text.data, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (*document == NULL || is_too_deep(*document, 0)) {
        lua_pushnil(L);
        lua_pushfstring(L, "no JSON: %s", *document == NULL ? error.text : "too deep");
        return 2;
    }
    lapi_json_push(L, *document);
    json_decref(*document);
    *document = NULL;
    return 1;
}

static const luaL_Reg functions[] = {
    {"decode", module_decode},
    {NULL, NULL},
};

int lapi_json_open(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
