/* conn.state and msg.state between hooks: decoded when a filter first looks, encoded after the hook
 * only if it looked. */
#include <assert.h>

#include "common/err.h"
#include "worker/script_internal.h"
#include "worker/state.h"

static_assert((int)SCRIPT_STATE_MAX == (int)STATE_BYTES_MAX, "one limit");

static const char table_keys[2]; /* their addresses: the tables in the registry, by kind */
static const char *const names[2] = {"conn.state", "msg.state"};

void lapi_state_register(lua_State *L)
{
    for (int kind = LAPI_STATE_CONN; kind <= LAPI_STATE_MSG; kind++) {
        script_of(L)->states[kind] = (struct script_state_slot){.is_touched = false};
    }
}

int lapi_state_set(lua_State *L, enum lapi_state_kind kind, struct slice bytes)
{
    struct script_state_slot *slot = &script_of(L)->states[kind];
    slot->bytes = bytes;
    if (slot->is_touched) { /* the last request's table must not be seen by this one */
        lua_pushnil(L);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &table_keys[kind]);
        slot->is_touched = false;
    }
    if (bytes.len > SCRIPT_STATE_MAX) {
        slot->bytes = slice_of(NULL, 0);
        lua_pushfstring(L, "%s is over its limit of 32 KiB", names[kind]);
        return -ERR_BAD;
    }
    return 0;
}

void lapi_state_push(lua_State *L, enum lapi_state_kind kind)
{
    struct script_state_slot *slot = &script_of(L)->states[kind];
    if (slot->is_touched) {
        lua_rawgetp(L, LUA_REGISTRYINDEX, &table_keys[kind]);
        return;
    }
    if (slot->bytes.len == 0) {
        lua_newtable(L);
    } else if (state_get(L, slot->bytes) != 0) {
        luaL_error(L, "%s cannot be read: what came with the request is malformed", names[kind]);
    }
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &table_keys[kind]);
    slot->is_touched = true;
}

/* An empty table stands for no bytes, too. */
static bool is_same(const struct script_state_slot *slot, lua_State *L, const struct buf *out)
{
    if (slot->bytes.len == 0) {
        lua_pushnil(L);
        bool is_empty = lua_next(L, -2) == 0;
        lua_pop(L, is_empty ? 0 : 2);
        return is_empty;
    }
    return slice_equal(slot->bytes, buf_slice(out));
}

int lapi_state_take(lua_State *L, enum lapi_state_kind kind, struct buf *out, bool *changed_out,
    const char **error_out)
{
    struct script_state_slot *slot = &script_of(L)->states[kind];
    *changed_out = false;
    if (!slot->is_touched) {
        return 0;
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, &table_keys[kind]);
    int err = state_put(L, -1, out, names[kind], slot->error, sizeof slot->error);
    if (err == 0) {
        *changed_out = !is_same(slot, L, out);
    } else {
        *error_out = slot->error;
    }
    lua_pop(L, 1);
    return err;
}
