/* The header of a message: reads through the plan, so that they see the changes asked for so far;
 * changes. */
#include "worker/lapi_msg.h"

#include <string.h>

#include "common/text.h"
#include "worker/mime.h"

enum { HEADER_INDEX_MAX = 1000000 };

/* A value as a person reads it. Valid until the next call. */
static struct slice decoded(struct job *job, struct slice value)
{
    arena_reset(job->scratch_arena);
    struct slice text = mime_decode_header(value, job->scratch_arena);
    while (text.len > 0 && text_is_space(text.data[0])) {
        text.data++;
        text.len--;
    }
    while (text.len > 0 && text_is_space(text.data[text.len - 1]))
        text.len--;
    return text;
}

/* The first field of that name from *at on, which moves behind it; NULL. */
static const struct plan_field *next_field(const struct plan *plan, struct slice name, uint32_t *at)
{
    while (*at < plan->n_fields) {
        const struct plan_field *field = &plan->fields[(*at)++];
        if (slice_equal_nocase(field->name, name))
            return field;
    }
    return NULL;
}

struct slice lapi_msg_header_text(struct job *job, const char *name)
{
    uint32_t at = 0;
    const struct plan_field *field = next_field(job_plan(job), slice_text(name), &at);
    return field != NULL ? decoded(job, field->value) : slice_of(NULL, 0);
}

/* A name to look for. A received one may be odd, or empty where a line has no colon; one with a
 * colon is a mistake, and would silently find nothing. */
static struct slice check_wanted(lua_State *L, int index)
{
    const struct slice name = lapi_check_slice(L, index);
    if (memchr(name.data, ':', name.len) != NULL)
        luaL_argerror(L, index, "the name of a header field, without colon, expected");
    return name;
}

int lapi_msg_header(lua_State *L)
{
    struct job *job = lapi_msg_check_known(L, "msg:header()", HOOK_HEADERS);
    uint32_t at = 0;
    const struct slice name = check_wanted(L, 2);
    const struct plan_field *field = next_field(job_plan(job), name, &at);
    if (field != NULL)
        lapi_push_utf8(L, decoded(job, field->value));
    else
        lua_pushnil(L);
    return 1;
}

int lapi_msg_headers(lua_State *L)
{
    struct job *job = lapi_msg_check_known(L, "msg:headers()", HOOK_HEADERS);
    const struct slice name = check_wanted(L, 2);
    const struct plan *plan = job_plan(job);
    const struct plan_field *field;
    uint32_t at = 0;
    lua_Integer n = 0;
    lua_newtable(L);
    while ((field = next_field(plan, name, &at)) != NULL) {
        lapi_push_utf8(L, decoded(job, field->value));
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

/* As received, whatever was changed: the bytes between the colon and the last line end. */
int lapi_msg_raw_header(lua_State *L)
{
    struct job *job = lapi_msg_check_known(L, "msg:raw_header()", HOOK_HEADERS);
    const struct slice name = check_wanted(L, 2);
    const struct header_field *field = header_find(job_headers(job), name, 1);
    if (field != NULL)
        lapi_push_slice(L, field->value);
    else
        lua_pushnil(L);
    return 1;
}

/*
 * The iterator goes over the header as it was when the loop began, so that a loop may change it.
 * Upvalues: msg, the fields' slices as a block of Lua's own memory, the next index. The slices live
 * as long as msg does, which is checked first.
 */
struct snapshot {
    uint32_t n;
    struct {
        struct slice name, value;
    } fields[];
};

static int next_header(lua_State *L)
{
    lua_settop(L, 0);
    lua_pushvalue(L, lua_upvalueindex(1));
    struct job *job = lapi_msg_check(L);
    const struct snapshot *snapshot = lua_touserdata(L, lua_upvalueindex(2));
    const lua_Integer i = lua_tointeger(L, lua_upvalueindex(3));
    if (i >= (lua_Integer)snapshot->n)
        return 0;
    lua_pushinteger(L, i + 1);
    lua_replace(L, lua_upvalueindex(3));
    lapi_push_utf8(L, snapshot->fields[i].name);
    lapi_push_utf8(L, decoded(job, snapshot->fields[i].value));
    return 2;
}

int lapi_msg_each_header(lua_State *L)
{
    struct job *job = lapi_msg_check_known(L, "msg:each_header()", HOOK_HEADERS);
    const struct plan *plan = job_plan(job);
    struct snapshot *snapshot;
    lua_settop(L, 1);
    snapshot =
        lua_newuserdatauv(L, sizeof(*snapshot) + plan->n_fields * sizeof(snapshot->fields[0]), 0);
    snapshot->n = plan->n_fields;
    for (uint32_t i = 0; i < plan->n_fields; i++) {
        snapshot->fields[i].name = plan->fields[i].name;
        snapshot->fields[i].value = plan->fields[i].value;
    }
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, next_header, 3);
    return 1;
}

/* Text as it goes into a header: encoded, folded. */
static struct slice check_value(lua_State *L, int index, struct job *job, struct slice name)
{
    const struct slice text = lapi_check_slice(L, index);
    if (text_has_line_break_or_nul(text))
        luaL_argerror(L, index, "a header value must not have CR, LF or NUL");
    if (!text_is_utf8(text))
        luaL_argerror(L, index, "a header value must be UTF-8");
    if (text.len > ACTION_VALUE_MAX)
        luaL_argerror(L, index, "the header value is too long");
    arena_reset(job->scratch_arena);
    return mime_encode_header(text, name.len, job->scratch_arena);
}

static struct slice check_name(lua_State *L, int index)
{
    const struct slice name = lapi_check_slice(L, index);
    if (name.len == 0 || name.len > ACTION_NAME_MAX)
        luaL_argerror(L, index, "a header name has 1 to 256 characters");
    for (size_t i = 0; i < name.len; i++) {
        const char c = name.data[i];
        if (c <= ' ' || c >= 127 || c == ':')
            luaL_argerror(L, index, "a header name is printable ASCII without blanks and colon");
    }
    return name;
}

static uint32_t check_index(lua_State *L, int index, lua_Integer min)
{
    const lua_Integer n = luaL_checkinteger(L, index);
    if (n < min || n > HEADER_INDEX_MAX)
        luaL_argerror(L, index,
            min == 0 ? "a position is 0 (the top) or more" : "fields of a name are counted from 1");
    return (uint32_t)n;
}

int lapi_msg_add_header(lua_State *L)
{
    struct job *job = lapi_msg_check_change(L, "add_header");
    struct action action = {.kind = ACTION_ADD_HEADER, .name = check_name(L, 2)};
    action.value = check_value(L, 3, job, action.name);
    lapi_msg_add(L, job, "add_header", &action);
    return 0;
}

int lapi_msg_insert_header(lua_State *L)
{
    struct job *job = lapi_msg_check_change(L, "insert_header");
    struct action action = {.kind = ACTION_INSERT_HEADER, .index = check_index(L, 2, 0)};
    action.name = check_name(L, 3);
    action.value = check_value(L, 4, job, action.name);
    lapi_msg_add(L, job, "insert_header", &action);
    return 0;
}

int lapi_msg_set_header(lua_State *L)
{
    struct job *job = lapi_msg_check_change(L, "set_header");
    struct action action = {.kind = ACTION_SET_HEADER, .name = check_name(L, 2), .index = 1};
    action.value = check_value(L, 3, job, action.name);
    if (!lua_isnoneornil(L, 4))
        action.index = check_index(L, 4, 1);
    lapi_msg_add(L, job, "set_header", &action);
    return 0;
}

int lapi_msg_delete_header(lua_State *L)
{
    struct job *job = lapi_msg_check_change(L, "delete_header");
    struct action action = {.kind = ACTION_DELETE_HEADER, .name = check_name(L, 2)};
    if (!lua_isnoneornil(L, 3))
        action.index = check_index(L, 3, 1);
    lapi_msg_add(L, job, "delete_header", &action);
    return 0;
}
