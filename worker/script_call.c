/*
 * The call gate: the only place where a hook is started. It runs as a coroutine, the root of a tree
 * of tasks (script_task.h) when it waits for several things. All of this happens in protected mode
 * on the main thread, which itself never runs the filter's code.
 */
#include <stdlib.h>

#include "common/log.h"
#include "common/xalloc.h"
#include "worker/script_internal.h"

enum { TRACEBACK_MAX = 6000 };

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

/* ---- errors ---- */

static int object_to_text(lua_State *L)
{
    luaL_tolstring(L, 1, NULL);
    return 1;
}

/* Pushes the error object at the top as a text. Its __tostring is the filter's code: it runs as a
 * coroutine, watched like a hook. */
static void push_text_of_top(lua_State *L)
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
    script_of(L)->n_unyieldable++;
    int status = lua_resume(co, L, 1, &n_results);
    script_of(L)->n_unyieldable--;
    if (status == LUA_OK && lua_type(co, -1) == LUA_TSTRING) {
        lua_xmove(co, L, 1);
    } else if (script_of(L)->is_ending) {
        lua_pushstring(L, script_of(L)->deadline_text);
    } else {
        lua_pushfstring(L, "(the error is a %s value)", luaL_typename(L, -2));
    }
    lua_remove(L, -2);
}

void script_push_error_text(lua_State *L, lua_State *co)
{
    lua_pushvalue(co, -1);
    lua_xmove(co, L, 1);
    push_text_of_top(L);
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
    push_text_of_top(L);
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
    if (script->is_deferred) {
        return OUTCOME_ERROR; /* where a tempfail is no answer */
    }
    if (script->is_ending) {
        return OUTCOME_DEADLINE;
    }
    if (status == LUA_ERRMEM || (error != NULL && strstr(error, "not enough memory") != NULL)) {
        return OUTCOME_MEMORY;
    }
    return OUTCOME_ERROR;
}

/* The error object is on top of the dead coroutine, which is the hook's or that of a task under it.
 */
static void fail(
    lua_State *L, struct script *script, struct script_call *call, lua_State *co, int status)
{
    script->memory.reserve_bytes = SCRIPT_MEMORY_RESERVE;
    if (status == LUA_YIELD) {
        lua_pushstring(L, script->is_deferred ? script->deferred_text
                          : script->is_ending ? script->deadline_text
                                              : "attempt to yield from outside a coroutine");
    } else {
        lua_xmove(co, L, 1);
    }
    set_error(L, call, co);
    call->outcome = outcome_of(script, status, call->error);
    bool was_ending = script->is_ending;
    script_tasks_clear(script);
    script->n_unyieldable++;
    lua_resetthread(script->thread); /* variables with __close end here, under the same deadline */
    script->n_unyieldable--;
    if (script->is_ending && !was_ending) {
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
    int status = LUA_OK;
    co = script_tasks_run(L, script, n, &status, &n_results);
    if (status != LUA_OK || co != script->thread) {
        fail(L, script, call, co, status);
        return 0;
    }
    if (script->is_ending) { /* its last instruction swallowed the error */
        lua_pop(co, n_results);
        fail_text(call,
            script->is_deferred ? script->deferred_text : "the hook did not end within its time");
        call->outcome = script->is_deferred ? OUTCOME_ERROR : OUTCOME_DEADLINE;
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
    script_tasks_clear(script);
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
    script->is_ending = false;
    script->is_deferred = false;
    script->deadline_text[0] = '\0';
    script->is_waiting = false;
    script->n_unyieldable = 0;
    script->n_closing = 0;
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
    script->task = NULL;
    script->root.co = NULL;
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
