/* Loading the filter's file: its top level, run once with a time limit, and the hooks that it
 * defines. */
#include <stdlib.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/xalloc.h"
#include "worker/script_internal.h"

#define HOOK_PREFIX "filter_"

/* Stack: where to put the reference of the compiled chunk. Raises when it does not compile. */
static int compile(lua_State *L)
{
    int *ref_out = lua_touserdata(L, 1);
    struct script *script = script_of(L);
    lua_pushfstring(L, "@%s", script->chunk_name);
    if (script_load_buffer(L, script->text, script->text_bytes, lua_tostring(L, -1)) != LUA_OK) {
        return lua_error(L);
    }
    *ref_out = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static int read_filter(struct script *script, char **error_out)
{
    int err = script_read_file(script->path, &script->text, &script->text_bytes);
    if (err == -ERR_BAD) {
        *error_out = xasprintf("%s: is not a regular file", script->path);
    } else if (err == -ERR_TOOBIG) {
        *error_out = xasprintf("%s: is larger than %d MiB", script->path, SCRIPT_FILE_MAX >> 20);
        err = -ERR_BAD;
    } else if (err != 0) {
        *error_out = xasprintf(
            "%s: %s", script->path, err == -ERR_NOTFOUND ? "no such file" : err_text(err));
    }
    return err;
}

static const char *take_nothing(
    lua_State *L, struct script *script, int first, int n, void *context)
{
    (void)L;
    (void)script;
    (void)first;
    (void)n;
    (void)context;
    return NULL; /* what a file returns is nobody's business */
}

static int run_top_level(struct script *script, int ref, int64_t load_ms, char **error_out)
{
    struct script_call call = {
        .function_ref = ref, .take = take_nothing, .deadline_ms = clock_now_ms() + load_ms};
    script_call(script, &call);
    luaL_unref(script->L, LUA_REGISTRYINDEX, ref);
    if (call.outcome == OUTCOME_OK) {
        return 0;
    }
    log_debug("%s: %s", script->path, call.traceback != NULL ? call.traceback : "no traceback");
    *error_out = xstrdup(call.error);
    int err = call.outcome == OUTCOME_DEADLINE ? -ERR_TIMEOUT : -ERR_BAD;
    script_call_clear(&call);
    return err;
}

/* ---- hooks ---- */

/* One function whose name looks like a hook's and is none; the first in the file. */
struct misnamed {
    char name[128];
    char source[128];
    int line;
};

static void note_misnamed(lua_State *L, const char *name, struct misnamed *worst)
{
    lua_Debug ar;
    lua_pushvalue(L, -1);
    lua_getinfo(L, ">S", &ar);
    if (worst->name[0] == '\0' || ar.linedefined < worst->line) {
        snprintf(worst->name, sizeof worst->name, "%s", name);
        snprintf(worst->source, sizeof worst->source, "%s", ar.short_src);
        worst->line = ar.linedefined;
    }
}

static void raise_misnamed(lua_State *L, const struct misnamed *worst)
{
    const char *near = hook_nearest(worst->name);
    lua_pushfstring(L, "%s:%d: %s is no hook", worst->source, worst->line, worst->name);
    if (near != NULL) {
        lua_pushfstring(L, "%s; did you mean %s?", lua_tostring(L, -1), near);
    }
    lua_error(L);
}

/* The value of a global called filter_… is on top. */
static void check_global(
    lua_State *L, struct script *script, const char *name, struct misnamed *worst)
{
    const struct hook_info *info = hook_find(name);
    if (info != NULL && !lua_isfunction(L, -1)) {
        luaL_error(L, "%s: %s is a %s; a hook is a function", script->chunk_name, name,
            luaL_typename(L, -1));
    }
    if (info != NULL) {
        script->hooks |= HOOK_BIT(info->hook);
    } else if (lua_isfunction(L, -1)) {
        note_misnamed(L, name, worst);
    }
}

static int check_hooks(lua_State *L)
{
    struct script *script = script_of(L);
    struct misnamed worst = {.line = 0};
    script_globals_push(L);
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        if (strncmp(name, HOOK_PREFIX, strlen(HOOK_PREFIX)) == 0) {
            check_global(L, script, name, &worst);
        }
    }
    if (worst.name[0] != '\0') {
        raise_misnamed(L, &worst);
    }
    if (script->hooks == 0) {
        return luaL_error(L, "%s: defines no hook (a global function such as filter_message)",
            script->chunk_name);
    }
    script_find_hooks(L, script);
    return 0;
}

void script_find_hooks(lua_State *L, struct script *script)
{
    script_globals_push(L);
    for (int hook = 0; hook < HOOK_COUNT; hook++) {
        if ((script->hooks & HOOK_BIT(hook)) == 0) {
            continue;
        }
        lua_getfield(L, -1, hook_info((enum hook)hook)->name);
        if (!lua_isfunction(L, -1)) {
            luaL_error(L, "%s: %s is no longer a function", script->chunk_name,
                hook_info((enum hook)hook)->name);
        }
        luaL_unref(L, LUA_REGISTRYINDEX, script->hook_refs[hook]);
        script->hook_refs[hook] = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_pop(L, 1);
}

int script_load_file(struct script *script, int64_t load_ms, char **error_out)
{
    int ref = LUA_NOREF;
    int err = read_filter(script, error_out);
    if (err == 0) {
        err = script_protect(script, compile, &ref, error_out);
    }
    if (err == 0) {
        err = run_top_level(script, ref, load_ms, error_out);
    }
    return err;
}

int script_load(struct script *script, int64_t load_ms, char **error_out)
{
    int err = script_load_file(script, load_ms, error_out);
    if (err == 0) {
        err = script_protect(script, check_hooks, NULL, error_out);
    }
    return err;
}
