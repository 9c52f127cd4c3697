#include "worker/lapi_sql_value.h"

#include <string.h>

#include "worker/script_internal.h"

/* ---- parameters ---- */

bool lapi_sql_has_nul(struct slice text)
{
    return memchr(text.data, 0, text.len) != NULL;
}

/* Takes it from the top of the stack. What it borrows is anchored in the table at `anchors`: the
 * filter may change a blob while we wait. */
static struct sql_value take_value(lua_State *L, size_t number, int anchors)
{
    struct sql_value value = {.kind = SQL_KIND_NULL};
    bool is_blob = lua_istable(L, -1);
    if (is_blob) {
        lua_pushliteral(L, "blob");
        lua_rawget(L, -2);
        lua_replace(L, -2);
    }
    switch (is_blob && lua_type(L, -1) != LUA_TSTRING ? LUA_TNONE : lua_type(L, -1)) {
    case LUA_TNIL:
        break;
    case LUA_TBOOLEAN:
        value.kind = SQL_KIND_BOOLEAN;
        value.integer = lua_toboolean(L, -1);
        break;
    case LUA_TNUMBER:
        value.kind = lua_isinteger(L, -1) ? SQL_KIND_INTEGER : SQL_KIND_FLOAT;
        value.integer = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
        value.number = lua_tonumber(L, -1);
        break;
    case LUA_TSTRING:
        value.kind = is_blob ? SQL_KIND_BLOB : SQL_KIND_TEXT;
        value.bytes = lapi_check_slice(L, -1);
        break;
    default:
        luaL_error(L, "sql: parameter %d is no value", (int)number);
    }
    lua_rawseti(L, anchors, (lua_Integer)number);
    return value;
}

const char *lapi_sql_take_values(
    lua_State *L, int index, int anchors, struct sql_value *out, size_t n)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, index, (lua_Integer)i + 1);
        out[i] = take_value(L, i + 1, anchors);
        bytes += out[i].bytes.len;
        if (out[i].kind == SQL_KIND_TEXT && lapi_sql_has_nul(out[i].bytes))
            return lua_pushfstring(
                L, "parameter %d has a NUL, which no text may: sql.blob is for bytes", (int)i + 1);
    }
    if (bytes > SQL_PARAMETERS_BYTES)
        return lua_pushfstring(L, "the parameters have more than %d bytes", SQL_PARAMETERS_BYTES);
    return NULL;
}

/* ---- results ---- */

static void push_value(lua_State *L, const struct sql_value *value)
{
    switch (value->kind) {
    case SQL_KIND_INTEGER:
        lua_pushinteger(L, value->integer);
        return;
    case SQL_KIND_FLOAT:
        lua_pushnumber(L, value->number);
        return;
    case SQL_KIND_BOOLEAN:
        lua_pushboolean(L, value->integer != 0);
        return;
    case SQL_KIND_TEXT:
        lapi_push_utf8(L, value->bytes);
        return;
    case SQL_KIND_BLOB:
        lapi_push_slice(L, value->bytes);
        return;
    case SQL_KIND_NULL:
    case SQL_KIND_COUNT:
        break;
    }
    lua_pushnil(L);
}

/* The names as a list, or nil and which is there twice. [-0, +1 or +4, m] */
static int push_names(lua_State *L, struct sql_ask *ask)
{
    struct slice name;
    lua_createtable(L, (int)ask->n_columns, 0);
    lua_createtable(L, 0, (int)ask->n_columns);
    for (size_t i = 1; i <= ask->n_columns; i++) {
        if (buf_get_bytes(&ask->names, SIZE_MAX, &name) != 0)
            break;
        lapi_push_utf8(L, name);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) != LUA_TNIL) {
            lua_pushnil(L);
            lua_pushfstring(L, "two columns have the name %s: say AS", lua_tostring(L, -3));
            lua_pushliteral(L, "limit");
            lua_pushnil(L);
            return 4;
        }
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        lua_rawseti(L, -4, (lua_Integer)i);
        lua_pushboolean(L, true);
        lua_rawset(L, -3);
    }
    lua_pop(L, 1);
    return 1;
}

/* A list of tables; the list of names is at index. [-0, +1, m] */
static void push_rows(lua_State *L, struct sql_ask *ask, int index)
{
    struct sql_value value;
    lua_createtable(L, (int)ask->n_rows, 0);
    for (size_t row = 1; row <= ask->n_rows; row++) {
        lua_createtable(L, 0, (int)ask->n_columns);
        for (size_t i = 1; i <= ask->n_columns && sql_rows_take(ask, &value) == 0; i++) {
            lua_rawgeti(L, index, (lua_Integer)i);
            push_value(L, &value);
            lua_rawset(L, -3);
        }
        lua_rawseti(L, -2, (lua_Integer)row);
    }
}

int lapi_sql_push_result(lua_State *L, struct sql_ask *ask)
{
    int n = push_names(L, ask), names = lua_gettop(L);
    if (n > 1)
        return n;
    push_rows(L, ask, names);
    lua_pushinteger(L, ask->n_affected);
    if (lua_rawgeti(L, names, 1) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_pushnil(L);
    }
    return 3;
}
