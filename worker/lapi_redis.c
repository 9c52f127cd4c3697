/*
 * postern.redis: commands to a server of Redis (section [redis]), by redis.h. Each call waits, and
 * only its own task. Commands that would change the link for the next one, or that are answered
 * more than once or never, are refused.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/clock.h"
#include "worker/redis.h"
#include "worker/resp.h"
#include "worker/script_internal.h"

#define CALL_NAME "postern.redis.call"

enum { COMMANDS_MAX = 1000, WORDS_MAX = 100000 };

/* One call. The userdata stays on the stack of the function that waits. */
struct call {
    struct redis_call redis;
    struct redis *client; /* borrowed */
    struct buf request;
    int (*finish)(lua_State *L, struct slice reply); /* pushes the results */
};

static struct redis *client(lua_State *L)
{
    struct script *script = script_of(L);
    if (script->redis == NULL)
        script->redis = redis_new(script->conf);
    return script->redis;
}

static void end_call(void *context)
{
    struct call *call = context;
    redis_end(call->client, &call->redis);
    buf_clear(&call->request);
}

/* What Lua ended by an error on the way. */
static int call_gc(lua_State *L)
{
    if (script_of(L)->redis != NULL)
        end_call(lua_touserdata(L, 1));
    return 0;
}

/* [-0, +1, m] */
static struct call *push_call(lua_State *L, int (*finish)(lua_State *L, struct slice reply))
{
    struct call *call = lua_newuserdatauv(L, sizeof *call, 0);
    *call = (struct call){.finish = finish, .client = client(L)};
    buf_init(&call->request, REDIS_REQUEST_MAX);
    lapi_own(L, CALL_NAME, call_gc);
    return call;
}

/* ---- commands ---- */

static bool is_refused(const char *name)
{
    static const char *const names[] = {"asking", "auth", "client", "discard", "exec", "hello",
        "monitor", "multi", "psubscribe", "psync", "punsubscribe", "quit", "readonly", "readwrite",
        "replconf", "reset", "select", "ssubscribe", "subscribe", "sunsubscribe", "sync",
        "unsubscribe", "unwatch", "watch"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcasecmp(name, names[i]) == 0)
            return true;
    return false;
}

static void check_name(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TSTRING)
        luaL_error(L, "redis: the name of a command expected, got %s", luaL_typename(L, index));
    if (is_refused(lua_tostring(L, index)))
        luaL_error(L, "redis: %s is not for a connection that calls share", lua_tostring(L, index));
}

static void refuse_size(lua_State *L)
{
    luaL_error(L, "redis: a request has at most %d bytes", REDIS_REQUEST_MAX);
}

/* A string, or a number as Redis reads it. */
static void put_argument(lua_State *L, struct buf *out, int index)
{
    char text[40];
    int err = 0;
    if (lua_type(L, index) == LUA_TSTRING) {
        err = resp_put_word(out, lapi_check_slice(L, index));
    } else if (lua_isinteger(L, index)) {
        err = resp_put_number(out, lua_tointeger(L, index));
    } else if (lua_type(L, index) == LUA_TNUMBER) {
        snprintf(text, sizeof text, "%.17g", lua_tonumber(L, index));
        err = resp_put_text(out, text);
    } else {
        luaL_error(
            L, "redis: arguments are strings and numbers, not a %s", luaL_typename(L, index));
    }
    if (err != 0)
        refuse_size(L);
}

static void put_head(lua_State *L, struct buf *out, size_t n)
{
    if (resp_put_head(out, n) != 0)
        refuse_size(L);
}

/* The command is a list at index. */
static void put_list(lua_State *L, struct buf *out, int index)
{
    if (lua_type(L, index) != LUA_TTABLE)
        luaL_error(L, "redis: a command is a list such as { \"GET\", key }, not a %s",
            luaL_typename(L, index));
    lua_Unsigned n = lua_rawlen(L, index);
    if (n < 1 || n > WORDS_MAX)
        luaL_error(L, "redis: a command has 1 to %d words", WORDS_MAX);
    put_head(L, out, (size_t)n);
    for (lua_Unsigned i = 1; i <= n; i++) {
        lua_rawgeti(L, index, (lua_Integer)i);
        if (i == 1)
            check_name(L, -1);
        put_argument(L, out, lua_gettop(L));
        lua_pop(L, 1);
    }
}

/* All commands of the list at 1; how many. */
static size_t put_lists(lua_State *L, struct buf *out)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Unsigned n = lua_rawlen(L, 1);
    if (n < 1 || n > COMMANDS_MAX)
        luaL_error(L, "redis: a list of 1 to %d commands expected", COMMANDS_MAX);
    for (lua_Unsigned i = 1; i <= n; i++) {
        lua_rawgeti(L, 1, (lua_Integer)i);
        put_list(L, out, lua_gettop(L));
        lua_pop(L, 1);
    }
    return (size_t)n;
}

static void put_word_alone(lua_State *L, struct buf *out, const char *word)
{
    put_head(L, out, 1);
    if (resp_put_text(out, word) != 0)
        refuse_size(L);
}

/* ---- replies ---- */

/* Takes an item off *in. What is not there is false, so that a list has no holes; an error within a
 * list is { err = text }. [-0, +1, m] */
static void push_item(lua_State *L, struct slice *in)
{
    struct resp_item item;
    luaL_checkstack(L, 4, "redis: the reply is too deep");
    if (resp_take(in, SIZE_MAX, &item) != 0)
        item.type = RESP_NIL; /* the reply is whole: this cannot be */
    switch (item.type) {
    case RESP_STATUS:
    case RESP_BULK:
        lapi_push_slice(L, item.bytes);
        return;
    case RESP_INTEGER:
        lua_pushinteger(L, item.integer);
        return;
    case RESP_ERROR:
        lua_createtable(L, 0, 1);
        lapi_push_slice(L, item.bytes);
        lua_setfield(L, -2, "err");
        return;
    case RESP_ARRAY:
        lua_createtable(L, (int)(item.integer < 1024 ? item.integer : 1024), 0);
        for (int64_t i = 1; i <= item.integer; i++) {
            push_item(L, in);
            lua_rawseti(L, -2, i);
        }
        return;
    case RESP_NIL:
        lua_pushboolean(L, false);
        return;
    }
}

static int push_failure(lua_State *L, struct slice why)
{
    lua_pushnil(L);
    lapi_push_slice(L, why);
    return 2;
}

static int finish_one(lua_State *L, struct slice reply)
{
    struct resp_item item;
    struct slice rest = reply;
    if (resp_take(&rest, SIZE_MAX, &item) == 0 && item.type == RESP_ERROR)
        return push_failure(L, item.bytes);
    if (item.type == RESP_NIL)
        lua_pushnil(L);
    else
        push_item(L, &reply);
    return 1;
}

/* n results as a list, with the errors among them apart. [-0, +1, m] */
static int push_results(lua_State *L, struct slice *in, int64_t n)
{
    lua_createtable(L, (int)(n < 1024 ? n : 1024), 1);
    lua_createtable(L, 0, 0);
    for (int64_t i = 1; i <= n; i++) {
        struct resp_item item = {.type = RESP_NIL};
        struct slice rest = *in;
        if (resp_take(&rest, SIZE_MAX, &item) == 0 && item.type == RESP_ERROR) {
            *in = rest;
            lapi_push_slice(L, item.bytes);
            lua_rawseti(L, -2, i);
            lua_pushboolean(L, false);
        } else {
            push_item(L, in);
        }
        lua_rawseti(L, -3, i);
    }
    lua_setfield(L, -2, "errors");
    return 1;
}

static int finish_pipeline(lua_State *L, struct slice reply)
{
    int64_t n = 0;
    for (struct slice rest = reply; rest.len > 0; n++)
        resp_skip(&rest);
    return push_results(L, &reply, n);
}

/* Of MULTI, the commands, EXEC only the last reply counts: an array, or why nothing was done. A
 * command that was not even queued says more about that than EXEC does. */
static int finish_transaction(lua_State *L, struct slice reply)
{
    struct slice last = reply, first_error = slice_of(NULL, 0);
    struct resp_item item = {.type = RESP_NIL};
    for (struct slice rest = reply; rest.len > 0;) {
        last = rest;
        struct slice front = rest;
        if (resp_take(&front, SIZE_MAX, &item) == 0 && item.type == RESP_ERROR &&
            first_error.len == 0)
            first_error = item.bytes;
        resp_skip(&rest);
    }
    if (item.type == RESP_ERROR)
        return push_failure(L, first_error);
    if (item.type != RESP_ARRAY)
        return push_failure(L, slice_text("redis: nothing was done"));
    (void)resp_take(&last, SIZE_MAX, &item);
    return push_results(L, &last, item.integer);
}

/* ---- running ---- */

static int go_on(lua_State *L, int status, lua_KContext context);

static int run_call(lua_State *L, int index)
{
    struct call *call = lua_touserdata(L, index);
    int err = redis_run(call->client, &call->redis);
    if (err == -ERR_AGAIN) {
        call->redis.wait.on_cancelled = end_call;
        call->redis.wait.context = call;
        return script_wait(L, &call->redis.wait, index, go_on);
    }
    int n = err == 0 ? call->finish(L, call->redis.reply)
                     : push_failure(L, slice_text(call->redis.error));
    end_call(call);
    return n;
}

static int go_on(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    script_wait_result(L);
    return run_call(L, (int)context);
}

/* The call is on top of the stack, its request written. */
static int begin(lua_State *L, struct call *call, size_t n_replies)
{
    struct script *script = script_of(L);
    int64_t left_ms = script_time_left(L), timeout_ms = script->conf->redis.timeout;
    script_wait_check(L);
    if (!script->does_deeds)
        return push_failure(L,
            slice_text("redis: it is not asked where no deeds are done (posternctl run --deeds)"));
    call->redis.request = buf_slice(&call->request);
    call->redis.n_replies = n_replies;
    call->redis.deadline_ms = clock_now_ms() + (left_ms < timeout_ms ? left_ms : timeout_ms);
    return run_call(L, lua_gettop(L));
}

/* ---- functions ---- */

/* redis.call(command, …) */
static int redis_call(lua_State *L)
{
    int n = lua_gettop(L);
    luaL_argcheck(L, n >= 1, 1, "the name of a command expected");
    check_name(L, 1);
    struct call *call = push_call(L, finish_one);
    put_head(L, &call->request, (size_t)n);
    for (int i = 1; i <= n; i++)
        put_argument(L, &call->request, i);
    return begin(L, call, 1);
}

/* redis.pipeline{ { command, … }, … } */
static int redis_pipeline(lua_State *L)
{
    lua_settop(L, 1);
    struct call *call = push_call(L, finish_pipeline);
    return begin(L, call, put_lists(L, &call->request));
}

/* redis.transaction{ { command, … }, … } */
static int redis_transaction(lua_State *L)
{
    lua_settop(L, 1);
    struct call *call = push_call(L, finish_transaction);
    put_word_alone(L, &call->request, "MULTI");
    size_t n = put_lists(L, &call->request);
    put_word_alone(L, &call->request, "EXEC");
    return begin(L, call, n + 2);
}

static const luaL_Reg functions[] = {
    {"call", redis_call},
    {"pipeline", redis_pipeline},
    {"transaction", redis_transaction},
    {NULL, NULL},
};

int lapi_redis_open(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
