/*
 * What is done when a hook has ended well and the message's changes are known: signatures, which
 * are of the message as it will leave. Functions of our own modules, run in order as a coroutine
 * that the hook's deadline watches; they cannot wait.
 */
#include "worker/script_internal.h"

/* The function is on top; it goes. */
void script_finish_add(lua_State *L, int order)
{
    struct script *script = script_of(L);
    luaL_argcheck(L, order >= 1 && order <= SCRIPT_FINISH_ORDERS, 2, "an order expected");
    if (script->finish_ref == LUA_NOREF) {
        lua_newtable(L);
        script->finish_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, script->finish_ref);
    const lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
    if (n >= 2 * SCRIPT_FINISH_MAX)
        luaL_error(L, "a message gets at most %d signatures", SCRIPT_FINISH_MAX);
    lua_insert(L, -2);
    lua_rawseti(L, -2, n + 1);
    lua_pushinteger(L, order);
    lua_rawseti(L, -2, n + 2);
    lua_pop(L, 1);
}

void script_finish_forget(struct script *script)
{
    if (script->finish_ref == LUA_NOREF)
        return;
    luaL_unref(script->L, LUA_REGISTRYINDEX, script->finish_ref);
    script->finish_ref = LUA_NOREF;
}

/* The function is on top of L; it goes. Leaves the error's text on L when it fails. */
static bool run_one(lua_State *L, struct script *script)
{
    int n_results = 0;
    lua_State *co = lua_newthread(L);
    lua_insert(L, -2);
    lua_xmove(L, co, 1);
    script_deadline_watch(co);
    script->n_unyieldable++;
    const int status = lua_resume(co, L, 0, &n_results);
    script->n_unyieldable--;
    if (status == LUA_OK && !script->is_ending) {
        lua_pop(L, 1);
        return true;
    }
    const char *text = status != LUA_YIELD ? lua_tostring(co, -1) : NULL;
    lua_pushstring(L, text != NULL ? text : "a signature could not be made");
    return false;
}

const char *script_finish_run(lua_State *L, struct script *script)
{
    if (script->finish_ref == LUA_NOREF)
        return NULL;
    lua_rawgeti(L, LUA_REGISTRYINDEX, script->finish_ref);
    const int list = lua_gettop(L);
    const lua_Integer n = (lua_Integer)lua_rawlen(L, list);
    for (int order = 1; order <= SCRIPT_FINISH_ORDERS; order++) {
        for (lua_Integer i = 1; i < n; i += 2) {
            lua_rawgeti(L, list, i + 1);
            const bool is_now = lua_tointeger(L, -1) == order;
            lua_pop(L, 1);
            if (!is_now)
                continue;
            lua_rawgeti(L, list, i);
            if (!run_one(L, script))
                return lua_tostring(L, -1);
        }
    }
    return NULL;
}
