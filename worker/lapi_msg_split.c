/* msg:split and msg.is_split: the work is postern.internal.split's, in Lua; the verdict that comes
 * of it is made here, so that it names the filter's line. */
#include "worker/lapi_msg.h"
#include "worker/split_mark.h"

/* Stack: … the kind of verdict or nil, its text. */
static int give_verdict(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    const int kind = lua_gettop(L) - 1;
    if (lua_isnil(L, kind)) {
        lua_pushnil(L);
        return 1;
    }
    const int n_arguments = lua_isnil(L, kind + 1) ? 0 : 1;
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    lua_getfield(L, -1, lua_tostring(L, kind));
    if (n_arguments > 0)
        lua_pushvalue(L, kind + 1);
    lua_call(L, n_arguments, 1);
    return 1;
}

/* A verdict to be returned, or nil: there is nothing to split. */
int lapi_msg_split(lua_State *L)
{
    lapi_msg_check_known(L, "msg:split()", HOOK_MESSAGE);
    lapi_msg_check_change(L, "split");
    lua_settop(L, 2);
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    lua_getfield(L, -1, "require");
    lua_pushliteral(L, "postern.internal.split");
    lua_call(L, 1, 1);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_callk(L, 2, 2, 0, give_verdict);
    return give_verdict(L, LUA_OK, 0);
}

int lapi_msg_is_split(lua_State *L)
{
    struct split_mark mark;
    struct job *job = lapi_msg_check_known(L, "msg.is_split", HOOK_HEADERS);
    lua_pushboolean(L, split_mark_get(job, &mark));
    return 1;
}
