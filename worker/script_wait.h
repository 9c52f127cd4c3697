/*
 * How a C function of the API waits for the outside world without blocking: it yields to the call
 * gate, which runs the other tasks of the hook meanwhile, sleeps in the worker's one event loop
 * when none can run, and continues it. Used by every module that talks to a server.
 */
#ifndef POSTERN_WORKER_SCRIPT_WAIT_H
#define POSTERN_WORKER_SCRIPT_WAIT_H

#include <lua.h>
#include <stdint.h>

struct event_base;
struct script_task;

enum script_woken { SCRIPT_WOKEN_READY = 0, SCRIPT_WOKEN_TIMEOUT };

/*
 * What C code that nobody waits in uses to wake one that does: an answer came for a query that
 * several share. Zeroed at first; must live until the wait is over (in a userdata on the waiting
 * function's stack: before a task is cancelled its waker is forgotten).
 */
struct script_waker {
    struct script_task *task; /* that waits; NULL: none */
};

struct script_wait {
    int fd;                     /* -1: only time and waker count */
    short events;               /* POLLIN, POLLOUT */
    int64_t until_ms;           /* monotonic clock; INT64_MAX: only the hook's deadline counts */
    struct script_waker *waker; /* NULL: none; borrowed until the wait is over */
    const char *what; /* "dns A example.org", told when time is over; the same. NULL: not told */
    /* Lets go of what is open for the wait, when the task is cancelled or the hook's time is over:
     * __gc comes too late for descriptors. Does nothing in Lua. NULL: there is nothing. */
    void (*on_cancelled)(void *context);
    void *context; /* as waker */
};

/*
 * Waits. Call as `return script_wait(L, &wait, context, on_woken);`: it does not return, on_woken
 * goes on (with the same Lua stack). Raises "cannot wait here" inside a sort comparator, a gsub
 * callback, a metamethod of C, __gc or require, in a __close of what is cancelled, and at the
 * filter's top level; and when the system has no descriptors left. The descriptor stays the
 * caller's: it is watched no more when on_woken or on_cancelled runs, or __gc and __close of what
 * is cancelled. After on_cancelled a coroutine does not go on, but for that of the hook itself,
 * where script_wait_result raises.
 */
int script_wait(
    lua_State *L, const struct script_wait *wait, lua_KContext context, lua_KFunction on_woken);
/* Raises what script_wait would: for those who must not fail any more once they have begun. */
void script_wait_check(lua_State *L);
/* In on_woken, first of all: what ended the wait. Raises when the hook's deadline has passed. */
enum script_woken script_wait_result(lua_State *L);
/* Continues who waits for it, soon; nothing when nobody does. */
void script_wake(struct script_waker *waker);
/* Milliseconds until the time is over that the running function has: the hook's deadline, or that
 * of an async.all, any or timeout around it. 0 when it has passed. */
int64_t script_time_left(lua_State *L);
/* The monotonic clock then, in milliseconds. */
int64_t script_time_end(lua_State *L);
/* The worker's event loop, for events of C code that outlive a hook (they are served while some
 * hook waits); NULL when the system has no descriptors left. Made at its first use, after the fork.
 */
struct event_base *script_event_base(lua_State *L);

#endif
