/* A Lua module in C that ends its process in one way or another: what a message that kills workers needs. */
#include <lauxlib.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

int luaopen_deadly(lua_State *L);

static int segv(lua_State *L)
{
    (void)L;
    raise(SIGSEGV);
    return 0;
}

static int end_by_abort(lua_State *L)
{
    (void)L;
    abort();
}

static int end_by_exit(lua_State *L)
{
    _exit((int)luaL_checkinteger(L, 1));
}

int luaopen_deadly(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"segv", segv}, {"abort", end_by_abort}, {"exit", end_by_exit}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
