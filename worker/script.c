#include "worker/script.h"

#include <inttypes.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/xalloc.h"
#include "worker/dns.h"
#include "worker/http.h"
#include "worker/origin_mark.h"
#include "worker/redis.h"
#include "worker/script_internal.h"
#include "worker/secret_file.h"
#include "worker/store.h"
#include "worker/tally.h"

enum { SCRATCH_MAX = 512 << 20, CHANGES_MAX = 402653184, KEEP_BYTES = 1 << 20 };

/* ---- accessors for the API ---- */

bool script_does_deeds(lua_State *L)
{
    return script_of(L)->does_deeds;
}

struct script *script_of(lua_State *L)
{
    return *(struct script **)lua_getextraspace(L);
}

struct job *script_job(lua_State *L)
{
    return script_of(L)->job;
}

const struct conf *script_conf(lua_State *L)
{
    return script_of(L)->conf;
}

enum hook script_current_hook(lua_State *L)
{
    return script_of(L)->hook;
}

uint32_t script_hooks(const struct script *script)
{
    return script->hooks;
}

bool script_mentions(const struct script *script, const char *word)
{
    return memmem(script->text, script->text_bytes, word, strlen(word)) != NULL;
}

const char *script_path(const struct script *script)
{
    return script->path;
}

const char *script_doing(const struct script *script)
{
    const char *outside = script->phase == SCRIPT_SERVING ? "the test" : "the top level";
    return script->hook < HOOK_COUNT ? hook_info(script->hook)->name : outside;
}

void script_do_deeds(struct script *script)
{
    script->does_deeds = true;
}

void script_share_store(struct script *script, struct store *store)
{
    script->store = store;
    script->owns_store = false;
}

struct tally *script_tally(struct script *script)
{
    return script->tally;
}

uint32_t script_heap_kb(const struct script *script)
{
    return (uint32_t)(script->memory.used_bytes >> 10);
}

/* ---- life cycle ---- */

/* All our calls into Lua are protected: this is a bug of ours. */
static int on_panic(lua_State *L)
{
    const char *error = lua_tostring(L, -1);
    log_panic("Lua error outside protected mode: %s", error != NULL ? error : "no text");
}

static int open_all(lua_State *L)
{
    script_libs_open(L);
    script_globals_open(L, script_of(L));
    lapi_verdict_register(L);
    lapi_state_register(L);
    lapi_conn_register(L);
    lapi_rcpt_register(L);
    lapi_part_register(L);
    lapi_msg_register(L);
    lapi_log_register(L);
    return 0;
}

static struct script *allocate(const struct conf *conf, const char *path)
{
    struct script *script = xcalloc(1, sizeof *script);
    script->conf = conf;
    script->memory.limit_bytes = (size_t)conf->worker.lua_memory;
    script->path = xstrdup(path);
    const char *slash = strrchr(path, '/');
    script->chunk_name = xstrdup(slash != NULL ? slash + 1 : path);
    size_t folder_len = slash != NULL && slash > path ? (size_t)(slash - path) : 1;
    script->folder = slash != NULL ? xmemdup0(path, folder_len) : xstrdup(".");
    script->hook = HOOK_NONE;
    script->thread_ref = LUA_NOREF;
    script->finish_ref = LUA_NOREF;
    TAILQ_INIT(&script->ready);
    TAILQ_INIT(&script->root.children);
    for (int i = 0; i < HOOK_COUNT; i++) {
        script->hook_refs[i] = LUA_NOREF;
    }
    script->tally = tally_new((size_t)conf->metrics.user_series);
    buf_init(&script->scratch, SCRATCH_MAX);
    buf_init(&script->reply_changes, CHANGES_MAX);
    for (int i = 0; i < 2; i++) {
        buf_init(&script->reply_states[i], SCRIPT_STATE_MAX);
    }
    return script;
}

/*
 * A collection writes a mark into each object, and a page that is written is no longer shared with
 * the nursery. After a full one here the next, with Lua's own pause, begins when the heap has
 * doubled: a large table that the filter loaded stays shared for long. The generational mode was no
 * better when measured.
 */
static int settle_heap(lua_State *L)
{
    lua_gc(L, LUA_GCCOLLECT);
    return 0;
}

/* Read by the nursery, so that a key that is wrong refuses the generation. */
static int read_origin_key(struct script *script, char **error_out)
{
    char bytes[ORIGIN_MARK_KEY_MAX];
    size_t len;
    const char *path = script->conf->worker.origin_key;
    if (path[0] == '\0')
        return 0;
    const char *why = secret_file_read(path, bytes, sizeof bytes, &len);
    if (why == NULL && len < ORIGIN_MARK_KEY_MIN)
        why = "it has fewer than 16 bytes";
    if (why != NULL) {
        *error_out = xasprintf("worker.origin_key: %s: %s", path, why);
        return -ERR_BAD;
    }
    origin_mark_key(slice_of(bytes, len), script->origin_key);
    explicit_bzero(bytes, sizeof bytes);
    script->has_origin_key = true;
    return 0;
}

int script_make(const struct conf *conf, const char *path, struct script **out, char **error_out)
{
    *out = NULL;
    *error_out = NULL;
    struct script *script = allocate(conf, path);
    script->L = lua_newstate(script_alloc, &script->memory);
    if (script->L == NULL) {
        *error_out = xstrdup("not enough memory for Lua");
        script_free(script);
        return -ERR_SYSTEM;
    }
    *(struct script **)lua_getextraspace(script->L) = script;
    lua_atpanic(script->L, on_panic);
    int err = script_protect(script, open_all, NULL, error_out);
    err = err == 0 ? read_origin_key(script, error_out) : err;
    if (err != 0) {
        script_free(script);
        return err;
    }
    *out = script;
    return 0;
}

int script_new(const struct conf *conf, const char *path, int64_t load_ms, struct script **out,
    char **error_out)
{
    struct script *script;
    int err = script_make(conf, path, &script, error_out);
    *out = NULL;
    if (err != 0) {
        return err;
    }
    err = script_load(script, load_ms, error_out);
    if (err == 0) {
        err = script_protect(script, settle_heap, NULL, error_out);
    }
    if (err != 0) {
        script_free(script);
        return err;
    }
    script->phase = SCRIPT_LOADED;
    *out = script;
    return 0;
}

void script_free(struct script *script)
{
    if (script == NULL) {
        return;
    }
    if (script->L != NULL) {
        lua_close(script->L);
    }
    script_tasks_free(script);
    http_free(script->http);
    dns_free(script->dns);
    script_loop_free(script);
    redis_free(script->redis);
    if (script->owns_store) {
        store_free(script->store);
    }
    buf_clear(&script->scratch);
    buf_clear(&script->reply_changes);
    buf_clear(&script->reply_states[0]);
    buf_clear(&script->reply_states[1]);
    script_profile(script, 0);
    tally_free(script->tally);
    free(script->path);
    free(script->folder);
    free(script->chunk_name);
    free(script->text);
    free(script);
}

/* Workers forked from one nursery must not draw the same numbers. */
static int seed_random(lua_State *L)
{
    uint64_t seeds[2] = {(uint64_t)clock_now_us(), (uint64_t)time(NULL)};
    if (getrandom(seeds, sizeof seeds, GRND_NONBLOCK) < 0) {
        log_debug("getrandom: %s; seeding from the clock", err_text(-ERR_SYSTEM));
    }
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_getfield(L, -1, LUA_MATHLIBNAME);
    lua_getfield(L, -1, "randomseed");
    lua_pushinteger(L, (lua_Integer)seeds[0]);
    lua_pushinteger(L, (lua_Integer)seeds[1]);
    lua_call(L, 2, 0);
    return 0;
}

void script_after_fork(struct script *script)
{
    char *error = NULL;
    if (script_protect(script, seed_random, NULL, &error) != 0) {
        log_warn("cannot seed math.random: %s", error);
        free(error);
    }
}

/* ---- filter_init and filter_exit ---- */

static const char *take_no_verdict(
    lua_State *L, struct script *script, int first, int n, void *context)
{
    (void)context;
    if (n == 0 || (n == 1 && lua_isnil(L, first))) {
        return NULL;
    }
    return lua_pushfstring(L, "%s returned a %s; it returns nothing", hook_info(script->hook)->name,
        luaL_typename(L, first));
}

static int call_local(struct script *script, enum hook hook, int64_t budget_ms, char **error_out)
{
    if ((script->hooks & HOOK_BIT(hook)) == 0) {
        return 0;
    }
    struct script_call call = {.function_ref = script->hook_refs[hook],
        .take = take_no_verdict,
        .deadline_ms = clock_now_ms() + budget_ms};
    script->hook = hook;
    log_set_context(hook_info(hook)->name);
    script_call(script, &call);
    if (call.outcome != OUTCOME_OK) {
        log_error("%s%s%s", call.error, call.traceback != NULL ? "\n" : "",
            call.traceback != NULL ? call.traceback : "");
        *error_out = xstrdup(call.error);
    }
    log_set_context(NULL);
    script->hook = HOOK_NONE;
    script_call_clear(&call);
    return call.outcome == OUTCOME_OK ? 0 : -ERR_BAD;
}

static int finish_init(lua_State *L)
{
    struct script *script = script_of(L);
    script_find_hooks(L, script);
    if (script->conf->worker.strict_globals) {
        script_globals_freeze(L);
    }
    return 0;
}

int script_init(struct script *script, int64_t budget_ms, char **error_out)
{
    *error_out = NULL;
    int err = call_local(script, HOOK_INIT, budget_ms, error_out);
    if (err == 0) {
        err = script_protect(script, finish_init, NULL, error_out);
    }
    script->phase = SCRIPT_SERVING;
    return err;
}

void script_exit(struct script *script, int64_t budget_ms)
{
    char *error = NULL;
    if (call_local(script, HOOK_EXIT, budget_ms, &error) != 0) {
        free(error); /* logged; nobody waits for an answer */
    }
}
