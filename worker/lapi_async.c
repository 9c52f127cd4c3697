/*
 * postern.async: time inside a hook, and functions that run at the same time. Their coroutines are
 * tasks (script_task.h) under the one that called; it waits until enough of them have ended, drops
 * the others and reads what they left.
 */
#include <math.h>

#include "common/clock.h"
#include "worker/script_internal.h"

enum { SECONDS_MAX = 86400, PENDING_MAX = 300 /* bytes of what an operation waited for */ };

/* ---- time ---- */

static int64_t check_ms(lua_State *L, int index)
{
    lua_Number secs = luaL_checknumber(L, index);
    luaL_argcheck(L, secs >= 0 && secs <= SECONDS_MAX, index,
        "seconds expected, 0 to 86400"); /* NaN fails too */
    return (int64_t)ceil(secs * 1000);
}

static int sleep_done(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    script_wait_result(L);
    return 0;
}

static int async_sleep(lua_State *L)
{
    int64_t ms = check_ms(L, 1);
    script_wait_check(L);
    lua_settop(L, 1);
    lua_pushfstring(L, "sleep of %s s", luaL_tolstring(L, 1, NULL));
    struct script_wait wait = {
        .fd = -1, .until_ms = clock_now_ms() + ms, .what = lua_tostring(L, -1)};
    return script_wait(L, &wait, 0, sleep_done);
}

static int async_time_left(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)script_time_left(L) / 1000);
    return 1;
}

/* ---- starting ---- */

/* What lies on the stack while tasks run: functions by key, options, keys in order, coroutines in
 * order. For timeout only the coroutine, anywhere. */
enum { KEYS = 3, THREADS, GROUP_TOP = THREADS };

static const char *const option_keys[] = {"timeout", NULL};

static int64_t end_of(lua_State *L, const char *name)
{
    int64_t end_ms = script_time_end(L);
    if (lua_isnoneornil(L, 2)) {
        return end_ms;
    }
    lapi_check_keys(L, 2, option_keys);
    lua_getfield(L, 2, "timeout");
    if (!lua_isnil(L, -1)) {
        if (lua_type(L, -1) != LUA_TNUMBER) {
            luaL_error(L, "async.%s: timeout is a number of seconds", name);
        }
        int64_t own_ms = clock_now_ms() + check_ms(L, lua_gettop(L));
        end_ms = own_ms < end_ms ? own_ms : end_ms;
    }
    lua_pop(L, 1);
    return end_ms;
}

static int refuse_value(lua_State *L, const char *name)
{
    const char *type = luaL_typename(L, -1);
    const char *key = luaL_tolstring(L, -2, NULL);
    return luaL_error(L, "async.%s: a table of functions expected; %s is a %s", name, key, type);
}

/* The number of functions. */
static size_t check_functions(lua_State *L, const char *name)
{
    size_t n = 0;
    luaL_checktype(L, 1, LUA_TTABLE);
    for (lua_pushnil(L); lua_next(L, 1) != 0; lua_pop(L, 1)) {
        if (!lua_isfunction(L, -1)) {
            refuse_value(L, name);
        }
        if (lua_type(L, -2) == LUA_TSTRING && strcmp(lua_tostring(L, -2), "errors") == 0) {
            luaL_error(L,
                "async.%s: what went wrong stands under \"errors\" in the result: choose another "
                "name",
                name);
        }
        n++;
    }
    return n;
}

static void check_room(lua_State *L, const char *name, size_t n)
{
    script_wait_check(L);
    const char *why = script_tasks_room(script_of(L), n);
    if (why != NULL) {
        luaL_error(L, "async.%s: %s (%d functions and %d levels at most)", name, why,
            (int)SCRIPT_TASKS_MAX, (int)SCRIPT_TASK_DEPTH_MAX);
    }
}

/* All that can fail for want of memory, before there are tasks. */
static void make_threads(lua_State *L, size_t n)
{
    lua_settop(L, 2);
    lua_createtable(L, (int)n, 0);
    lua_createtable(L, (int)n, 0);
    lua_Integer i = 0;
    for (lua_pushnil(L); lua_next(L, 1) != 0;) {
        lua_State *co = lua_newthread(L);
        lua_rawseti(L, THREADS, ++i);
        lua_xmove(L, co, 1);
        lua_pushvalue(L, -1);
        lua_rawseti(L, KEYS, i);
    }
}

static void start(lua_State *L, size_t n, int64_t end_ms, bool wants_first)
{
    struct script *script = script_of(L);
    script->task->wants_first = wants_first;
    for (size_t i = 1; i <= n; i++) {
        lua_rawgeti(L, THREADS, (lua_Integer)i);
        script_task_new(script, lua_tothread(L, -1), 0, end_ms);
        lua_pop(L, 1);
    }
}

/* Does not return. At the hook's own deadline the gate ends it, and at that of a function around it
 * that function: woken by the same time it would go on, for a moment, with what it took for the
 * whole. */
static int wait_for_children(lua_State *L, int64_t end_ms, lua_KFunction on_woken)
{
    struct script_wait wait = {
        .fd = -1, .until_ms = end_ms < script_time_end(L) ? end_ms : INT64_MAX};
    return script_wait(L, &wait, 0, on_woken);
}

/* ---- results ---- */

/* Why the task at its end has no answer, pushed: what it raised, what it returned after nil, or
 * that its time was over. nil: it returned nothing. [-0, +1, m] */
static void push_why(lua_State *L, struct script_task *task)
{
    char pending[PENDING_MAX];
    if (task->state != TASK_DONE) {
        size_t len = script_task_pending(task, pending, sizeof pending);
        lua_pushfstring(L, "timeout%s%s", len > 0 ? ": " : "", pending);
    } else if (task->status != LUA_OK || task->n_results > 1) {
        lua_pushvalue(task->co, task->status != LUA_OK ? -1 : 1 - task->n_results);
        lua_xmove(task->co, L, 1);
    } else {
        lua_pushnil(L);
    }
}

/*
 * The wait is over: what `read` makes of the tasks is returned. It is called with the keys, and may
 * raise; the tasks are gone in any case before the filter goes on. What their variables did as they
 * ended may have used up the hook's time.
 */
static int finish_group(lua_State *L, lua_CFunction read)
{
    struct script *script = script_of(L);
    script_wait_result(L);
    lua_settop(L, GROUP_TOP);
    lua_pushcfunction(L, read);
    lua_pushvalue(L, KEYS);
    int status = lua_pcall(L, 1, LUA_MULTRET, 0);
    script_task_drop_children(script, script->task);
    if (script->is_ending) {
        return script_deadline_raise(L);
    }
    return status == LUA_OK ? lua_gettop(L) - GROUP_TOP : lua_error(L);
}

static void take_answer(lua_State *L, const struct script_task *task)
{
    lua_pushvalue(task->co, -task->n_results);
    lua_xmove(task->co, L, 1);
}

/* Stack: keys. */
static int read_all(lua_State *L)
{
    struct script_task *child;
    lua_Integer i = 0;
    lua_newtable(L);
    lua_newtable(L);
    TAILQ_FOREACH(child, &script_of(L)->task->children, sibling)
    {
        bool has_answer = script_task_has_answer(child);
        lua_rawgeti(L, 1, ++i);
        if (has_answer) {
            take_answer(L, child);
        } else {
            push_why(L, child);
        }
        lua_rawset(L, has_answer ? 2 : 3);
    }
    lua_setfield(L, 2, "errors");
    return 1;
}

static int all_done(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    return finish_group(L, read_all);
}

static int async_all(lua_State *L)
{
    size_t n = check_functions(L, "all");
    int64_t end_ms = end_of(L, "all");
    check_room(L, "all", n);
    make_threads(L, n);
    if (n == 0) {
        return finish_group(L, read_all);
    }
    start(L, n, end_ms, false);
    return wait_for_children(L, end_ms, all_done);
}

/* "no answer: a: timeout: dns A example.org; b: refused" */
static void push_no_answer(lua_State *L)
{
    struct script_task *child;
    lua_Integer i = 0;
    int text = lua_gettop(L) + 1;
    lua_pushliteral(L, "no answer");
    TAILQ_FOREACH(child, &script_of(L)->task->children, sibling)
    {
        lua_rawgeti(L, 1, ++i);
        const char *key = luaL_tolstring(L, -1, NULL);
        push_why(L, child);
        const char *why =
            lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : luaL_typename(L, -1);
        lua_pushfstring(L, "%s%s: %s", i == 1 ? ": " : "; ", key, why);
        lua_replace(L, text + 1);
        lua_settop(L, text + 1);
        lua_concat(L, 2);
    }
}

/* Stack: keys. */
static int read_first(lua_State *L)
{
    struct script_task *child;
    lua_Integer i = 0;
    TAILQ_FOREACH(child, &script_of(L)->task->children, sibling)
    {
        i++;
        if (script_task_has_answer(child)) {
            take_answer(L, child);
            lua_rawgeti(L, 1, i);
            return 2;
        }
    }
    lua_pushnil(L);
    push_no_answer(L);
    return 2;
}

static int any_done(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    return finish_group(L, read_first);
}

static int async_any(lua_State *L)
{
    size_t n = check_functions(L, "any");
    int64_t end_ms = end_of(L, "any");
    luaL_argcheck(L, n > 0, 1, "at least one function expected");
    check_room(L, "any", n);
    make_threads(L, n);
    start(L, n, end_ms, true);
    return wait_for_children(L, end_ms, any_done);
}

/* ---- one function with less time ---- */

static int read_one(lua_State *L)
{
    struct script_task *child = TAILQ_FIRST(&script_of(L)->task->children);
    if (child->state != TASK_DONE) {
        lua_pushnil(L);
        push_why(L, child);
        return 2;
    }
    if (child->status != LUA_OK) {
        lua_xmove(child->co, L, 1);
        return lua_error(L);
    }
    luaL_checkstack(L, child->n_results, "too many results");
    lua_xmove(child->co, L, child->n_results);
    return child->n_results;
}

static int timeout_done(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    return finish_group(L, read_one);
}

/* timeout(seconds, function, …). Its error is raised here again, as without us. */
static int async_timeout(lua_State *L)
{
    int64_t end_ms = clock_now_ms() + check_ms(L, 1);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    check_room(L, "timeout", 1);
    int n = lua_gettop(L) - 2;
    lua_State *co = lua_newthread(L);
    lua_replace(L, 1); /* anchored there */
    if (!lua_checkstack(co, n + 1)) {
        return luaL_error(L, "async.timeout: too many arguments");
    }
    lua_xmove(L, co, n + 1);
    struct script *script = script_of(L);
    end_ms = end_ms < script_time_end(L) ? end_ms : script_time_end(L);
    script->task->wants_first = false;
    script_task_new(script, co, n, end_ms)->is_quiet = true;
    return wait_for_children(L, end_ms, timeout_done);
}

static const luaL_Reg functions[] = {
    {"all", async_all},
    {"any", async_any},
    {"sleep", async_sleep},
    {"time_left", async_time_left},
    {"timeout", async_timeout},
    {NULL, NULL},
};

int lapi_async_open(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
