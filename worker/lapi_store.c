/*
 * postern.store: the memory that all workers share (store.h). A call that has to wait for others
 * yields; where a filter cannot wait, it waits here, within the same time.
 */
#include "common/clock.h"
#include "worker/lapi_store_value.h"
#include "worker/script_internal.h"
#include "worker/store.h"

#define CALL_NAME "postern.store.call"

enum {
    KEYS_DEFAULT = 1000,
    UPDATE_ROUNDS_MAX = 10000, /* of one update: each that failed means that another's succeeded */
};

/* One call. Its texts are on the Lua stack, or in the request's own. */
struct call {
    struct store_request request;
    struct store *store;                            /* borrowed */
    int (*finish)(lua_State *L, struct call *call); /* pushes the results */
    uint32_t n_rounds;
};

struct store *script_store(lua_State *L)
{
    struct script *script = script_of(L);
    if (script->phase == SCRIPT_LOADING)
        luaL_error(L, "the store is not there yet: the top level of the filter runs before there "
                      "are workers; do it in filter_init");
    if (script->store == NULL) {
        script->store = store_new(script->conf, script->does_deeds ? STORE_SHARED : STORE_PRIVATE);
        script->owns_store = true;
    }
    return script->store;
}

/* ---- results ---- */

static int push_error(lua_State *L)
{
    lua_pushnil(L);
    lua_pushstring(L, store_error(script_store(L)));
    return 2;
}

static int finish_value(lua_State *L, struct call *call)
{
    lapi_store_push_value(L, &call->request.result);
    return 1;
}

static int finish_done(lua_State *L, struct call *call)
{
    lua_pushboolean(L, call->request.is_done);
    return 1;
}

/* ---- one request ---- */

static void on_cancelled(void *context)
{
    struct call *call = context;
    store_cancel(call->store, &call->request);
}

/* What Lua ended by an error on the way. */
static int call_gc(lua_State *L)
{
    if (script_of(L)->store != NULL)
        on_cancelled(lua_touserdata(L, 1));
    return 0;
}

/* Pushes a call. Its time is the shorter one of the hook's and the option's. [-0, +1, m] */
static struct call *call_new(
    lua_State *L, enum store_op op, int (*finish)(lua_State *L, struct call *call))
{
    int64_t left_ms = script_time_left(L);
    int64_t timeout_ms = script_conf(L)->store.timeout;
    struct call *call = lua_newuserdatauv(L, sizeof *call, 0);
    *call = (struct call){.request.op = op, .store = script_store(L), .finish = finish};
    call->request.deadline_ms = clock_now_ms() + (left_ms < timeout_ms ? left_ms : timeout_ms);
    lapi_own(L, CALL_NAME, call_gc);
    return call;
}

static bool can_wait(lua_State *L)
{
    return lua_isyieldable(L) && script_of(L)->n_unyieldable == 0;
}

/* As store_run; -ERR_AGAIN only where script_wait will not raise. */
static int run(lua_State *L, struct call *call)
{
    int err = store_run(call->store, &call->request);
    return err == -ERR_AGAIN && !can_wait(L) ? store_run_to_end(call->store, &call->request) : err;
}

static int wait_for(lua_State *L, struct call *call, lua_KContext context, lua_KFunction on_woken)
{
    call->request.wait.on_cancelled = on_cancelled;
    call->request.wait.context = call;
    return script_wait(L, &call->request.wait, context, on_woken);
}

static int go_on(lua_State *L, int status, lua_KContext context);

static int run_call(lua_State *L, int index)
{
    struct call *call = lua_touserdata(L, index);
    int err = run(L, call);
    if (err == -ERR_AGAIN)
        return wait_for(L, call, index, go_on);
    return err != 0 ? push_error(L) : call->finish(L, call);
}

static int go_on(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    script_wait_result(L);
    return run_call(L, (int)context);
}

/* ---- functions ---- */

/* store.get(key) */
static int store_get(lua_State *L)
{
    struct slice key = lapi_store_check_key(L, 1, 1);
    struct call *call = call_new(L, STORE_GET, finish_value);
    call->request.key = key;
    return run_call(L, lua_gettop(L));
}

static int set_by(lua_State *L, enum store_op op)
{
    lua_settop(L, 3);
    struct slice key = lapi_store_check_key(L, 1, 1);
    int64_t ttl_ms = lapi_store_check_ttl(L, 3, STORE_TTL_NONE);
    struct store_value value = lapi_store_check_value(L, 2);
    luaL_argcheck(
        L, value.kind != STORE_NONE, 2, "a value expected; store.delete removes an entry");
    struct call *call = call_new(L, op, finish_done);
    call->request.key = key;
    call->request.value = value;
    call->request.ttl_ms = ttl_ms;
    return run_call(L, lua_gettop(L));
}

/* store.set(key, value[, ttl]) */
static int store_set(lua_State *L)
{
    return set_by(L, STORE_SET);
}

/* store.add(key, value[, ttl]) */
static int store_add(lua_State *L)
{
    return set_by(L, STORE_ADD);
}

/* store.incr(key[, n[, ttl]]) */
static int store_incr(lua_State *L)
{
    struct slice key = lapi_store_check_key(L, 1, 1);
    lua_Integer n = luaL_optinteger(L, 2, 1);
    int64_t ttl_ms = lapi_store_check_ttl(L, 3, STORE_TTL_NONE);
    struct call *call = call_new(L, STORE_INCR, finish_value);
    call->request.key = key;
    call->request.value = (struct store_value){.kind = STORE_INTEGER, .integer = n};
    call->request.ttl_ms = ttl_ms;
    return run_call(L, lua_gettop(L));
}

/* store.delete(key) */
static int store_delete(lua_State *L)
{
    struct slice key = lapi_store_check_key(L, 1, 1);
    struct call *call = call_new(L, STORE_DELETE, finish_done);
    call->request.key = key;
    return run_call(L, lua_gettop(L));
}

/* ---- keys ---- */

/* Lua must not raise while the back end reads: the keys are noted in the script's buffer first. */
struct key_list {
    struct buf *out;
    uint32_t n;
    bool is_cut;
};

static void on_key(const struct store_entry *entry, void *context)
{
    struct key_list *list = context;
    if (!list->is_cut && buf_put_bytes(list->out, entry->key) == 0)
        list->n++;
    else
        list->is_cut = true;
}

static int push_keys(lua_State *L, const struct key_list *list, uint32_t limit)
{
    struct slice key;
    uint32_t n = list->n < limit ? list->n : limit;
    lua_createtable(L, (int)n, 0);
    for (uint32_t i = 0; i < n && buf_get_bytes(list->out, STORE_KEY_MAX, &key) == 0; i++) {
        lapi_push_slice(L, key);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_pushboolean(L, list->is_cut || list->n > limit);
    return 2;
}

/* Asks for one more than wanted, to know whether there are more. */
static int run_keys(lua_State *L, int index)
{
    struct call *call = lua_touserdata(L, index);
    struct key_list list = {.out = &script_of(L)->scratch};
    buf_reset(list.out);
    list.out->pos = 0;
    call->request.context = &list;
    int err = run(L, call);
    if (err != 0)
        return err == -ERR_AGAIN ? err : push_error(L);
    return push_keys(L, &list, call->request.limit - 1);
}

static int keys_go_on(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    script_wait_result(L);
    int n = run_keys(L, (int)context);
    if (n != -ERR_AGAIN)
        return n;
    struct call *call = lua_touserdata(L, (int)context);
    return wait_for(L, call, context, keys_go_on);
}

/* store.keys(prefix[, limit]) */
static int store_keys(lua_State *L)
{
    struct slice prefix = lapi_store_check_key(L, 1, 0);
    lua_Integer limit = luaL_optinteger(L, 2, KEYS_DEFAULT);
    luaL_argcheck(L, limit >= 1 && limit < STORE_PAGE_MAX, 2, "1 to 9999 expected");
    struct call *call = call_new(L, STORE_LIST, NULL);
    call->request.key = prefix;
    call->request.limit = (uint32_t)limit + 1;
    call->request.on_entry = on_key;
    int index = lua_gettop(L);
    int n = run_keys(L, index);
    if (n != -ERR_AGAIN)
        return n;
    return wait_for(L, call, index, keys_go_on);
}

/* ---- update ---- */

/* The stack of an update, from the bottom; what the function returned comes after them. */
enum { UPDATE_KEY = 1, UPDATE_FUNCTION, UPDATE_CALL, UPDATE_OLD, UPDATE_NEW, UPDATE_TTL };

static int update_run(lua_State *L);

static int update_woken(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    script_wait_result(L);
    return update_run(L);
}

static bool is_same(const struct store_value *a, const struct store_value *b)
{
    return a->kind == b->kind && a->integer == b->integer && a->number == b->number &&
           slice_equal(a->bytes, b->bytes);
}

/* The function has returned value and ttl: the entry becomes that, if it still is what it was. */
static int update_called(lua_State *L, int status, lua_KContext context)
{
    struct call *call = lua_touserdata(L, UPDATE_CALL);
    struct store_request *request = &call->request;
    (void)status;
    (void)context;
    request->ttl_ms = lapi_store_check_ttl(L, UPDATE_TTL, STORE_TTL_KEEP);
    request->value = lapi_store_check_value(L, UPDATE_NEW);
    request->op = STORE_SWAP;
    if (request->ttl_ms == STORE_TTL_KEEP && is_same(&request->value, &request->expected)) {
        lua_pushvalue(L, UPDATE_NEW);
        return 1;
    }
    return update_run(L);
}

/* The entry was read: its bytes as they are stand for it until the change. */
static int update_read(lua_State *L, struct store_request *request)
{
    lua_settop(L, UPDATE_CALL);
    request->expected = request->result;
    if (request->result.bytes.len > 0) {
        lapi_push_slice(L, request->result.bytes);
        request->expected.bytes = lapi_check_slice(L, UPDATE_OLD);
    } else {
        lua_pushnil(L);
    }
    lua_pushvalue(L, UPDATE_FUNCTION);
    lapi_store_push_value(L, &request->expected);
    lua_callk(L, 1, 2, 0, update_called);
    return update_called(L, LUA_OK, 0);
}

static int update_swapped(lua_State *L, struct call *call)
{
    if (call->request.is_done) {
        lua_pushvalue(L, UPDATE_NEW);
        return 1;
    }
    lua_settop(L, UPDATE_CALL);
    call->request.op = STORE_GET;
    if (++call->n_rounds < UPDATE_ROUNDS_MAX && clock_now_ms() < call->request.deadline_ms)
        return update_run(L);
    lua_pushnil(L);
    lua_pushliteral(L, "the entry is busy: others changed it each time");
    return 2;
}

static int update_run(lua_State *L)
{
    struct call *call = lua_touserdata(L, UPDATE_CALL);
    int err = run(L, call);
    if (err == -ERR_AGAIN)
        return wait_for(L, call, 0, update_woken);
    if (err != 0)
        return push_error(L);
    return call->request.op == STORE_GET ? update_read(L, &call->request) : update_swapped(L, call);
}

/* store.update(key, function) */
static int store_update(lua_State *L)
{
    lua_settop(L, 2);
    struct slice key = lapi_store_check_key(L, UPDATE_KEY, 1);
    luaL_checktype(L, UPDATE_FUNCTION, LUA_TFUNCTION);
    struct call *call = call_new(L, STORE_GET, NULL);
    call->request.key = key;
    return update_run(L);
}

static const luaL_Reg functions[] = {
    {"add", store_add},
    {"delete", store_delete},
    {"get", store_get},
    {"incr", store_incr},
    {"keys", store_keys},
    {"set", store_set},
    {"update", store_update},
    {NULL, NULL},
};

int lapi_store_open(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
