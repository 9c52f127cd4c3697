#include "worker/lapi_arena.h"

#include <lauxlib.h>

static const char class_name[] = "postern.arena";

static int collect(lua_State *L)
{
    struct arena **box = luaL_checkudata(L, 1, class_name);
    arena_free(*box);
    *box = NULL;
    return 0;
}

struct arena *lapi_arena_push(lua_State *L)
{
    struct arena **box = lua_newuserdatauv(L, sizeof(*box), 0);
    *box = NULL;
    if (luaL_newmetatable(L, class_name)) {
        lua_pushcfunction(L, collect);
        lua_setfield(L, -2, "__gc");
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
    }
    lua_setmetatable(L, -2);
    *box = arena_new();
    return *box;
}

void lapi_arena_end(lua_State *L, int index)
{
    struct arena **box = lua_touserdata(L, index);
    arena_free(*box);
    *box = NULL;
}
