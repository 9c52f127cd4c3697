/*
 * The call gate: the only place where a hook is started. It runs as a coroutine; when a C function
 * waits (script_wait.h), the gate polls and continues it. All of this happens in protected mode on
 * the main thread, which itself never runs the filter's code.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/xalloc.h"
#include "worker/script_internal.h"

enum { TRACEBACK_MAX = 6000 };

/* ---- waiting ---- */

int script_wait(
    lua_State *L, const struct script_wait *wait, lua_KContext context, lua_KFunction on_woken)
{
    struct script *script = script_of(L);
    if (script->phase == SCRIPT_LOADING) {
        return luaL_error(L, "cannot wait here: the top level of the filter runs before there are "
                             "workers; do it in filter_init");
    }
    if (script->n_unyieldable > 0 || !lua_isyieldable(L)) {
        return luaL_error(
            L, "cannot wait here (inside a comparator, a gsub callback, a metamethod or require)");
    }
    script->wait = *wait;
    script->is_waiting = true;
    return lua_yieldk(L, 0, context, on_woken);
}

enum script_woken script_wait_result(lua_State *L)
{
    struct script *script = script_of(L);
    if (script->is_expired) {
        script_deadline_raise(L);
    }
    return script->woken;
}

int64_t script_time_left(lua_State *L)
{
    int64_t left = script_of(L)->deadline_ms - clock_now_ms();
    return left > 0 ? left : 0;
}

static int poll_milliseconds(int64_t until_ms)
{
    int64_t left = until_ms - clock_now_ms();
    if (left <= 0) {
        return 0;
    }
    return left > INT_MAX ? INT_MAX : (int)left;
}

/* One hook at a time, one thing that it waits for: poll(2) is the whole event loop. */
static void poll_wait(struct script *script)
{
    const struct script_wait *wait = &script->wait;
    int64_t until_ms = wait->until_ms < script->deadline_ms ? wait->until_ms : script->deadline_ms;
    struct pollfd pfd = {.fd = wait->fd, .events = wait->events};
    int n;
    do {
        n = poll(&pfd, 1, poll_milliseconds(until_ms));
    } while ((n < 0 && errno == EINTR) || (n == 0 && clock_now_ms() < until_ms));
    script->woken = n > 0 ? SCRIPT_WOKEN_READY : SCRIPT_WOKEN_TIMEOUT;
    script->is_waiting = false;
    if (n <= 0 && clock_now_ms() >= script->deadline_ms) {
        script->is_expired = true;
    }
}

/* ---- the coroutine of hooks ---- */

static lua_State *take_thread(lua_State *L, struct script *script)
{
    if (script->thread == NULL) {
        script->thread = lua_newthread(L);
        script->thread_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    script_deadline_watch(script->thread);
    return script->thread;
}

static void drop_thread(lua_State *L, struct script *script)
{
    luaL_unref(L, LUA_REGISTRYINDEX, script->thread_ref);
    script->thread_ref = LUA_NOREF;
    script->thread = NULL;
}

static int resume_to_end(lua_State *L, struct script *script, int n_arguments, int *n_results_out)
{
    for (;;) {
        script->running = script->thread;
        int status = lua_resume(script->thread, L, n_arguments, n_results_out);
        if (status != LUA_YIELD || !script->is_waiting) {
            return status;
        }
        poll_wait(script);
        n_arguments = 0;
    }
}

/* ---- errors ---- */

static int object_to_text(lua_State *L)
{
    luaL_tolstring(L, 1, NULL);
    return 1;
}

/* Pushes the error object at the top as a text. Its __tostring is the filter's code: it runs as a
 * coroutine, watched like a hook. */
static void push_error_text(lua_State *L)
{
    int type = lua_type(L, -1);
    if (type == LUA_TSTRING || type == LUA_TNUMBER) {
        lua_pushvalue(L, -1);
        lua_tostring(L, -1);
        return;
    }
    if (luaL_getmetafield(L, -1, "__tostring") == LUA_TNIL) {
        lua_pushfstring(L, "(the error is a %s value)", luaL_typename(L, -1));
        return;
    }
    lua_pop(L, 1);
    lua_State *co = lua_newthread(L);
    int n_results = 0;
    script_deadline_watch(co);
    lua_pushcfunction(co, object_to_text);
    lua_pushvalue(L, -2);
    lua_xmove(L, co, 1);
    if (lua_resume(co, L, 1, &n_results) == LUA_OK && lua_type(co, -1) == LUA_TSTRING) {
        lua_xmove(co, L, 1);
    } else if (script_of(L)->is_expired) {
        lua_pushstring(L, script_of(L)->deadline_text);
    } else {
        lua_pushfstring(L, "(the error is a %s value)", luaL_typename(L, -2));
    }
    lua_remove(L, -2);
}

static char *copy_cut(lua_State *L, int index, size_t max)
{
    size_t len;
    const char *text = lua_tolstring(L, index, &len);
    return xmemdup0(text, len < max ? len : max);
}

/* A table raised by error(…) says nothing of its place; the traceback's first line of Lua does. */
static void set_error(lua_State *L, struct script_call *call, lua_State *co)
{
    push_error_text(L);
    bool has_place =
        lua_type(L, -2) == LUA_TSTRING && strcmp(lua_tostring(L, -2), "not enough memory") != 0;
    if (!has_place) {
        lua_Debug ar;
        for (int level = 0; lua_getstack(co, level, &ar); level++) {
            if (lua_getinfo(co, "Sl", &ar) && ar.currentline > 0) {
                lua_pushfstring(L, "%s:%d: ", ar.short_src, ar.currentline);
                lua_insert(L, -2);
                lua_concat(L, 2);
                break;
            }
        }
    }
    call->error = copy_cut(L, -1, TRACEBACK_MAX);
    luaL_traceback(L, co, NULL, 0);
    call->traceback = copy_cut(L, -1, TRACEBACK_MAX);
    lua_pop(L, 2);
}

static enum reply_outcome outcome_of(const struct script *script, int status, const char *error)
{
    if (script->is_expired) {
        return OUTCOME_DEADLINE;
    }
    if (status == LUA_ERRMEM || (error != NULL && strstr(error, "not enough memory") != NULL)) {
        return OUTCOME_MEMORY;
    }
    return OUTCOME_ERROR;
}

/* The error object is on top of the dead coroutine. */
static void fail(lua_State *L, struct script *script, struct script_call *call, int status)
{
    lua_State *co = script->thread;
    script->memory.reserve_bytes = SCRIPT_MEMORY_RESERVE;
    if (status == LUA_YIELD) {
        lua_pushstring(L, script->is_expired ? script->deadline_text
                                             : "attempt to yield from outside a coroutine");
    } else {
        lua_xmove(co, L, 1);
    }
    set_error(L, call, co);
    call->outcome = outcome_of(script, status, call->error);
    bool was_expired = script->is_expired;
    lua_resetthread(co); /* variables with __close end here, under the same deadline */
    if (script->is_expired && !was_expired) {
        char *error = xasprintf("%s; then %s", call->error, script->deadline_text);
        free(call->error);
        call->error = error;
        call->outcome = OUTCOME_DEADLINE;
    }
    drop_thread(L, script);
}

static void fail_text(struct script_call *call, const char *error)
{
    call->outcome = OUTCOME_ERROR;
    free(call->error);
    call->error = xstrdup(error);
}

/* Stack: the call as light userdata. */
static int run(lua_State *L)
{
    struct script_call *call = lua_touserdata(L, 1);
    struct script *script = script_of(L);
    int n_results = 0;
    lua_State *co = take_thread(L, script);
    lua_rawgeti(L, LUA_REGISTRYINDEX, call->function_ref);
    int n = call->push != NULL ? call->push(L, script, call->context) : 0;
    if (!lua_checkstack(co, n + 1)) {
        return luaL_error(L, "not enough memory");
    }
    lua_xmove(L, co, n + 1);
    int status = resume_to_end(L, script, n, &n_results);
    if (status != LUA_OK) {
        fail(L, script, call, status);
        return 0;
    }
    if (script->is_expired) { /* its last instruction swallowed the error */
        lua_pop(co, n_results);
        fail_text(call, "the hook did not end within its time");
        call->outcome = OUTCOME_DEADLINE;
        return 0;
    }
    luaL_checkstack(L, n_results, NULL);
    lua_xmove(co, L, n_results);
    if (call->take != NULL) {
        const char *why =
            call->take(L, script, lua_gettop(L) - n_results + 1, n_results, call->context);
        if (why != NULL) {
            fail_text(call, why);
        }
    }
    return 0;
}

/* What failed outside the hook: pushing arguments, taking results. */
static void fail_outside(lua_State *L, struct script *script, struct script_call *call, int status)
{
    const char *error = lua_tostring(L, -1);
    fail_text(call, error != NULL ? error : "the hook failed");
    call->outcome = outcome_of(script, status, call->error);
    lua_settop(L, 0);
    if (script->thread != NULL) {
        lua_resetthread(script->thread);
        drop_thread(L, script);
    }
}

void script_call(struct script *script, struct script_call *call)
{
    lua_State *L = script->L;
    call->outcome = OUTCOME_OK;
    script->deadline_ms = call->deadline_ms;
    script->is_expired = false;
    script->deadline_text[0] = '\0';
    script->is_waiting = false;
    script->n_unyieldable = 0;
    script->running = NULL;
    script_alarm_set(script);
    script_profile_begin(script);
    lua_pushcfunction(L, run);
    lua_pushlightuserdata(L, call);
    int status = lua_pcall(L, 1, 0, 0);
    if (status != LUA_OK) {
        script->memory.reserve_bytes = SCRIPT_MEMORY_RESERVE;
        fail_outside(L, script, call, status);
    }
    lua_settop(L, 0);
    if (call->outcome == OUTCOME_MEMORY) {
        lua_gc(L, LUA_GCCOLLECT);
    }
    script_alarm_clear(script);
    script->running = NULL;
    script->memory.reserve_bytes = 0;
}

void script_call_clear(struct script_call *call)
{
    free(call->error);
    free(call->traceback);
    call->error = NULL;
    call->traceback = NULL;
}

int script_protect(struct script *script, lua_CFunction function, void *context, char **error_out)
{
    lua_State *L = script->L;
    script->memory.reserve_bytes = SCRIPT_MEMORY_RESERVE;
    lua_pushcfunction(L, function);
    lua_pushlightuserdata(L, context);
    int status = lua_pcall(L, 1, 0, 0);
    script->memory.reserve_bytes = 0;
    if (status != LUA_OK && error_out != NULL) {
        const char *error = lua_tostring(L, -1);
        *error_out = xstrdup(error != NULL ? error : "failed without a text");
    }
    lua_settop(L, 0);
    return status == LUA_OK ? 0 : -ERR_BAD;
}
