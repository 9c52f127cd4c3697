/*
 * How a C function of the API waits for the outside world without blocking: it yields to the call
 * gate, which polls and continues it. Used by every module that talks to a server; postern.async is
 * the first.
 */
#ifndef POSTERN_WORKER_SCRIPT_WAIT_H
#define POSTERN_WORKER_SCRIPT_WAIT_H

#include <lua.h>
#include <stdint.h>

struct script_wait {
    int fd;           /* -1: only the time counts */
    short events;     /* POLLIN, POLLOUT */
    int64_t until_ms; /* monotonic clock; INT64_MAX: only the hook's deadline counts */
};

enum script_woken { SCRIPT_WOKEN_READY = 0, SCRIPT_WOKEN_TIMEOUT };

/*
 * Waits. Call as `return script_wait(L, &wait, context, on_woken);`: it does not return, on_woken
 * goes on (with the same Lua stack). Raises "cannot wait here" inside a sort comparator, a gsub
 * callback, a metamethod of C, __gc or require, and at the filter's top level. The descriptor stays
 * the caller's.
 */
int script_wait(
    lua_State *L, const struct script_wait *wait, lua_KContext context, lua_KFunction on_woken);
/* In on_woken, first of all: what ended the wait. Raises when the hook's deadline has passed. */
enum script_woken script_wait_result(lua_State *L);
/* Milliseconds until the deadline of the hook that runs; 0 when it has passed. */
int64_t script_time_left(lua_State *L);

#endif
