/*
 * The deadline inside Lua. A count hook on every coroutine looks at the clock. Once the deadline
 * has passed it yields, past every pcall, to the call gate, which drops the coroutine; where it
 * cannot yield (in a comparator, a gsub callback) it raises, and goes on raising at each
 * instruction. The functions that could swallow the error (pcall, xpcall, coroutine.resume, wrap,
 * close) are ours and let it through. C functions that run long, and __gc (which Lua runs with
 * hooks off), are beyond it: the multiplexor kills the worker.
 *
 * coroutine.resume is ours for a second reason: a coroutine of the filter's own may call something
 * that waits. Then the wait is handed up, coroutine by coroutine, to the task that it runs in, and
 * nobody else may resume it meanwhile.
 */
#include "common/clock.h"
#include "common/text.h"
#include "worker/script_internal.h"

enum { CLOSE_DEPTH_MAX = 150 };

/* Pushes the error's text, and keeps it for the gate: at the first place that noticed. [-0, +1, m]
 */
static void deadline_text_push(lua_State *L)
{
    struct script *script = script_of(L);
    const char *what = script_doing(script);
    /* Level 0 is the Lua function that the count hook interrupted; for a C function the line is its
     * caller's. */
    if (script->is_deferred) {
        lua_pushstring(L, script->deferred_text);
        return;
    }
    luaL_where(L, 0);
    if (lua_rawlen(L, -1) == 0) {
        lua_pop(L, 1);
        luaL_where(L, 1);
    }
    lua_pushfstring(L, "%s did not end within its time", what);
    lua_concat(L, 2);
    if (script->deadline_text[0] == '\0') {
        text_escape(script->deadline_text, sizeof script->deadline_text,
            slice_text(lua_tostring(L, -1)), 0);
    }
}

int script_deadline_raise(lua_State *L)
{
    deadline_text_push(L);
    return lua_error(L);
}

int script_defer(lua_State *L, const char *why)
{
    struct script *script = script_of(L);
    if (script->is_ending) {
        return script_deadline_raise(L);
    }
    (void)script_place(L, 1, script->task, script->deferred_where, sizeof script->deferred_where);
    text_escape(script->deferred_text, sizeof script->deferred_text, slice_text(why), 0);
    script->is_deferred = true;
    script->is_ending = true;
    if (script->n_unyieldable == 0 && lua_isyieldable(L)) {
        return lua_yield(L, 0); /* to the gate, past every pcall */
    }
    return luaL_error(L, "%s", script->deferred_text);
}

static void on_event(lua_State *L, lua_Debug *ar);

static int event_mask(const struct script *script)
{
    return script->profile == NULL ? LUA_MASKCOUNT : LUA_MASKCOUNT | LUA_MASKCALL | LUA_MASKRET;
}

static void on_count(lua_State *L, struct script *script)
{
    script_note_line(script, L);
    if (!script->is_ending && clock_now_ms() < script->deadline_ms) {
        if (lua_gethookcount(L) == 1) { /* left over from an earlier hook that was too slow */
            script_deadline_watch(L);
        }
        return;
    }
    bool is_first = !script->is_ending;
    script->is_ending = true;
    lua_sethook(L, on_event, LUA_MASKCOUNT, 1);
    if (is_first && script->n_unyieldable == 0 && lua_isyieldable(L)) {
        deadline_text_push(L);
        lua_pop(L, 1);
        lua_yield(L, 0); /* from a hook this returns, and the coroutine stops after us */
        return;
    }
    script_deadline_raise(L);
}

/* Calls and returns are for the profile only; a coroutine that outlives it drops them. */
static void on_event(lua_State *L, lua_Debug *ar)
{
    struct script *script = script_of(L);
    if (script->profile != NULL) {
        script_profile_event(script, L, ar);
    } else if (ar->event != LUA_HOOKCOUNT) {
        script_deadline_watch(L);
    }
    if (ar->event == LUA_HOOKCOUNT) {
        on_count(L, script);
    }
}

void script_deadline_watch(lua_State *co)
{
    const struct script *script = script_of(co);
    int count = script->profile == NULL ? SCRIPT_HOOK_COUNT : SCRIPT_SAMPLE_COUNT;
    lua_sethook(co, on_event, event_mask(script), count);
}

/* ---- pcall and xpcall ---- */

/* skip: how many values under the results are not results. */
static int finish_pcall(lua_State *L, int status, lua_KContext skip)
{
    bool is_ok = status == LUA_OK || status == LUA_YIELD;
    if (!is_ok && script_of(L)->is_ending) {
        return lua_error(L);
    }
    if (is_ok) {
        return lua_gettop(L) - (int)skip;
    }
    lua_pushboolean(L, false);
    lua_insert(L, -2);
    return 2;
}

static int protected_call(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_pushboolean(L, true); /* the first result when all goes well */
    lua_insert(L, 1);
    int status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, finish_pcall);
    return finish_pcall(L, status, 0);
}

/*
 * Upvalue: the filter's message handler. The deadline's error is raised inside the count hook,
 * where Lua runs no other hook: a handler called for it would be without a deadline.
 */
static int guarded_handler(lua_State *L)
{
    if (script_of(L)->is_ending) {
        return 1;
    }
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 1, 1);
    return 1;
}

/* Stack: function, handler, true, function, arguments. A C function as handler (debug.traceback)
 * ends by itself, and finds the levels that it expects. */
static int protected_call_with_handler(lua_State *L)
{
    int n = lua_gettop(L) - 2;
    luaL_checktype(L, 2, LUA_TFUNCTION);
    if (!lua_iscfunction(L, 2)) {
        lua_pushvalue(L, 2);
        lua_pushcclosure(L, guarded_handler, 1);
        lua_replace(L, 2);
    }
    lua_pushboolean(L, true);
    lua_pushvalue(L, 1);
    lua_rotate(L, 3, 2);
    int status = lua_pcallk(L, n, LUA_MULTRET, 2, 2, finish_pcall);
    return finish_pcall(L, status, 2);
}

/* ---- coroutines ---- */

static int create(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *co = lua_newthread(L);
    script_deadline_watch(co);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    return 1;
}

static const char *why_not_resumable(lua_State *L, lua_State *co)
{
    if (co == L || script_task_holds(script_of(L), co)) {
        return "cannot resume non-suspended coroutine";
    }
    int status = lua_status(co);
    if (status == LUA_YIELD) {
        return NULL;
    }
    if (status != LUA_OK) {
        return "cannot resume dead coroutine";
    }
    lua_Debug ar;
    if (lua_getstack(co, 0, &ar)) {
        return "cannot resume non-suspended coroutine";
    }
    return lua_gettop(co) == 0 ? "cannot resume dead coroutine" : NULL;
}

/*
 * Resumes co with its n_arguments arguments on its own stack, until it yields to the filter, ends
 * or fails. Returns the number of results, moved to L, or -1 with the error on L; or, when co
 * waits, does not return (on_woken goes on).
 */
static int resume(lua_State *L, lua_State *co, int n_arguments, lua_KFunction on_woken)
{
    struct script *script = script_of(L);
    bool can_yield = lua_isyieldable(L);
    int n_results = 0;
    script->n_unyieldable += !can_yield;
    script->running = co;
    int status = lua_resume(co, L, n_arguments, &n_results);
    script->running = L;
    script->n_unyieldable -= !can_yield;
    if (status == LUA_YIELD && (script->is_waiting || script->is_ending)) {
        script_task_nest(script, co);
        return lua_yieldk(L, 0, 0, on_woken); /* both only happen where all coroutines can yield */
    }
    if (status != LUA_OK && status != LUA_YIELD) {
        lua_xmove(co, L, 1);
        return script->is_ending ? lua_error(L) : -1;
    }
    if (!lua_checkstack(L, n_results + 1)) {
        lua_pop(co, n_results);
        lua_pushliteral(L, "too many results to resume");
        return -1;
    }
    lua_xmove(co, L, n_results);
    return n_results;
}

static int finish_resume(lua_State *L, int n_results)
{
    lua_pushboolean(L, n_results >= 0);
    lua_insert(L, n_results >= 0 ? -(n_results + 1) : -2);
    return n_results >= 0 ? n_results + 1 : 2;
}

static int resume_go_on(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    return finish_resume(L, resume(L, lua_tothread(L, 1), 0, resume_go_on));
}

static lua_State *check_thread(lua_State *L)
{
    lua_State *co = lua_tothread(L, 1);
    luaL_argexpected(L, co != NULL, 1, "coroutine");
    return co;
}

/* Moves the arguments above index 1; NULL or why they cannot be. */
static const char *hand_over(lua_State *L, lua_State *co, int n_arguments)
{
    const char *why = why_not_resumable(L, co);
    if (why == NULL && !lua_checkstack(co, n_arguments)) {
        why = "too many arguments to resume";
    }
    if (why == NULL) {
        lua_xmove(L, co, n_arguments);
    }
    return why;
}

static int coroutine_resume(lua_State *L)
{
    lua_State *co = check_thread(L);
    int n = lua_gettop(L) - 1;
    const char *why = hand_over(L, co, n);
    if (why != NULL) {
        lua_pushboolean(L, false);
        lua_pushstring(L, why);
        return 2;
    }
    return finish_resume(L, resume(L, co, n, resume_go_on));
}

static int finish_wrapped(lua_State *L, lua_State *co, int n_results)
{
    if (n_results >= 0) {
        return n_results;
    }
    int status = lua_status(co);
    if (status != LUA_OK && status != LUA_YIELD) {
        lua_pop(L, 1);
        status =
            lua_resetthread(co); /* closes its variables; leaves its error, or that of a __close */
        lua_xmove(co, L, 1);
    }
    if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

static int wrapped_go_on(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    return finish_wrapped(L, co, resume(L, co, 0, wrapped_go_on));
}

static int wrapped(lua_State *L)
{
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    int n = lua_gettop(L);
    const char *why = hand_over(L, co, n);
    if (why != NULL) {
        return luaL_error(L, "%s", why);
    }
    return finish_wrapped(L, co, resume(L, co, n, wrapped_go_on));
}

static int coroutine_wrap(lua_State *L)
{
    create(L);
    lua_pushcclosure(L, wrapped, 1);
    return 1;
}

/* To yield from the hook itself, or a function of async.all, has no meaning: nobody would resume
 * it.
 */
static int coroutine_yield(lua_State *L)
{
    const struct script *script = script_of(L);
    if (L == script->thread || (script->task != NULL && L == script->task->co)) {
        return luaL_error(L, "attempt to yield from outside a coroutine");
    }
    return lua_yield(L, lua_gettop(L));
}

/* Upvalue: Lua's own close, which does not count how deep the C stack is (Lua 5.4.4). A __close in
 * there may have been cut short by the deadline. */
static int coroutine_close(lua_State *L)
{
    struct script *script = script_of(L);
    int n = lua_gettop(L);
    lua_State *co = lua_tothread(L, 1);
    if (co != NULL && lua_status(co) == LUA_YIELD && script_task_holds(script, co)) {
        return luaL_error(L, "cannot close a coroutine that waits");
    }
    if (script->n_closing >= CLOSE_DEPTH_MAX) {
        return luaL_error(L, "C stack overflow (coroutines that close each other)");
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    script->n_closing++;
    int status = lua_pcall(L, n, LUA_MULTRET, 0);
    script->n_closing--;
    if (script->is_ending) {
        return script_deadline_raise(L);
    }
    return status == LUA_OK ? lua_gettop(L) : lua_error(L);
}

static const luaL_Reg base_functions[] = {
    {"pcall", protected_call},
    {"xpcall", protected_call_with_handler},
    {NULL, NULL},
};
static const luaL_Reg coroutine_functions[] = {
    {"create", create},
    {"resume", coroutine_resume},
    {"wrap", coroutine_wrap},
    {"yield", coroutine_yield},
    {NULL, NULL},
};

void script_deadline_open(lua_State *L)
{
    lua_pushglobaltable(L);
    luaL_setfuncs(L, base_functions, 0);
    lua_getfield(L, -1, "coroutine");
    luaL_setfuncs(L, coroutine_functions, 0);
    lua_getfield(L, -1, "close");
    lua_pushcclosure(L, coroutine_close, 1);
    lua_setfield(L, -2, "close");
    lua_pop(L, 2);
}
