#include "worker/lapi_arena.h"

#include "worker/lapi.h"

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
    lapi_own(L, class_name, collect);
    *box = arena_new();
    return *box;
}

void lapi_arena_end(lua_State *L, int index)
{
    struct arena **box = lua_touserdata(L, index);
    arena_free(*box);
    *box = NULL;
}
