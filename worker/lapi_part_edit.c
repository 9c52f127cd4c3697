/* Changes that a filter asks for: those of parts, and those of the whole message that are made of
 * parts. */
#include "worker/lapi_part_edit.h"

#include "common/text.h"
#include "worker/edit.h"
#include "worker/lapi_msg.h"
#include "worker/lapi_part.h"

static int raise_if(lua_State *L, const char *method, const char *wrong)
{
    return wrong == NULL ? 0 : luaL_error(L, "%s: %s", method, wrong);
}

static struct slice optional_slice(lua_State *L, int index)
{
    return lua_isnoneornil(L, index) ? slice_of(NULL, 0) : lapi_check_slice(L, index);
}

/* ---- tables ---- */

/* A text of the table at index, which stays on the stack so that it lives. */
static struct slice field_slice(lua_State *L, int index, const char *key)
{
    struct slice s = slice_of(NULL, 0);
    lua_getfield(L, index, key);
    if (lua_isnil(L, -1))
        return s;
    if (lua_type(L, -1) != LUA_TSTRING)
        luaL_argerror(L, index, lua_pushfstring(L, "%s is a string", key));
    s.data = lua_tolstring(L, -1, &s.len);
    return s;
}

static bool field_bool(lua_State *L, int index, const char *key)
{
    lua_getfield(L, index, key);
    if (!lua_isnil(L, -1) && !lua_isboolean(L, -1))
        luaL_argerror(L, index, lua_pushfstring(L, "%s is true or false", key));
    return lua_toboolean(L, -1);
}

/* From 1; 0: not said. */
static uint32_t field_position(lua_State *L, int index)
{
    lua_getfield(L, index, "position");
    int is_whole;
    const lua_Integer n = lua_tointegerx(L, -1, &is_whole);
    if (!lua_isnil(L, -1) && (lua_type(L, -1) != LUA_TNUMBER || !is_whole || n < 1))
        luaL_argerror(L, index, "position is a whole number from 1");
    return n < UINT32_MAX ? (uint32_t)n : 0;
}

static const char *const entity_keys[] = {"type", "body", "charset", "filename", "inline", NULL};
static const char *const added_keys[] = {
    "type", "body", "charset", "filename", "inline", "position", NULL};

static struct edit_entity check_entity(lua_State *L, int index, const char *const *keys)
{
    luaL_checktype(L, index, LUA_TTABLE);
    lapi_check_keys(L, index, keys);
    luaL_checkstack(L, 8, NULL);
    struct edit_entity entity = {
        .type = field_slice(L, index, "type"),
        .body = field_slice(L, index, "body"),
        .charset = field_slice(L, index, "charset"),
        .filename = field_slice(L, index, "filename"),
        .is_inline = field_bool(L, index, "inline"),
        .position = field_position(L, index),
    };
    if (entity.body.data == NULL)
        luaL_argerror(L, index, "body is a string");
    if (entity.type.data == NULL)
        entity.type = slice_text("text/plain");
    return entity;
}

/* ---- parts ---- */

int lapi_part_drop(lua_State *L)
{
    const struct mime_part *part = lapi_part_check(L);
    return raise_if(L, "part:drop", edit_drop(script_job(L), part, optional_slice(L, 2)));
}

int lapi_part_replace(lua_State *L)
{
    const struct mime_part *part = lapi_part_check(L);
    const struct edit_entity entity = check_entity(L, 2, entity_keys);
    return raise_if(L, "part:replace", edit_replace(script_job(L), part, &entity));
}

int lapi_part_set_content(lua_State *L)
{
    const struct mime_part *part = lapi_part_check(L);
    return raise_if(L, "part:set_content",
        edit_set_content(script_job(L), part, lapi_check_slice(L, 2), EDIT_REMOVES));
}

int lapi_part_set_header(lua_State *L)
{
    const struct mime_part *part = lapi_part_check(L);
    const struct slice name = lapi_check_slice(L, 2);
    luaL_checkany(L, 3); /* nil takes the field out, and a forgotten value must not */
    const struct slice value = optional_slice(L, 3);
    if (text_has_line_break_or_nul(value))
        luaL_argerror(L, 3, "a header value must not have CR, LF or NUL");
    if (!text_is_utf8(value))
        luaL_argerror(L, 3, "a header value must be UTF-8");
    return raise_if(L, "part:set_header", edit_set_header(script_job(L), part, name, value));
}

int lapi_part_defang(lua_State *L)
{
    const struct mime_part *part = lapi_part_check(L);
    return raise_if(L, "part:defang", edit_defang(script_job(L), part, optional_slice(L, 2)));
}

/* ---- the message ---- */

static struct job *check_parts_known(lua_State *L, const char *method, const char *what)
{
    lapi_msg_check_change(L, method);
    struct job *job = lapi_msg_check_known(L, what, HOOK_MESSAGE);
    lapi_mime(L, job);
    return job;
}

int lapi_msg_replace_message(lua_State *L)
{
    struct job *job = check_parts_known(L, "replace_message", "msg:replace_message()");
    return raise_if(L, "msg:replace_message", edit_replace_message(job, lapi_check_slice(L, 2)));
}

int lapi_msg_add_part(lua_State *L)
{
    struct job *job = check_parts_known(L, "add_part", "msg:add_part()");
    const struct edit_entity entity = check_entity(L, 2, added_keys);
    return raise_if(L, "msg:add_part", edit_add_part(job, &entity));
}
