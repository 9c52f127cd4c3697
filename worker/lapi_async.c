/* postern.async: time inside a hook. */
#include <math.h>

#include "common/clock.h"
#include "worker/script_internal.h"

enum { SLEEP_MAX_SECS = 86400 };

static int sleep_done(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    script_wait_result(L);
    return 0;
}

static int async_sleep(lua_State *L)
{
    lua_Number secs = luaL_checknumber(L, 1);
    luaL_argcheck(L, secs >= 0 && secs <= SLEEP_MAX_SECS, 1,
        "seconds expected, 0 to 86400"); /* NaN fails too */
    struct script_wait wait = {.fd = -1, .until_ms = clock_now_ms() + (int64_t)ceil(secs * 1000)};
    return script_wait(L, &wait, 0, sleep_done);
}

static int async_time_left(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)script_time_left(L) / 1000);
    return 1;
}

static const luaL_Reg functions[] = {
    {"sleep", async_sleep},
    {"time_left", async_time_left},
    {NULL, NULL},
};

int lapi_async_open(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
