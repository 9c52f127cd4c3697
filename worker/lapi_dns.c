/*
 * require "postern.internal.dns": query, on which postern.dns is built. A question's waiter is a
 * userdata on the stack of the function that waits: when that is cancelled, nobody is told any
 * more.
 */
#include <stdio.h>

#include "common/clock.h"
#include "worker/dns.h"
#include "worker/script_internal.h"

static const char waiter_key; /* its address: the metatable in the registry */

enum { WAITER = 3, WHAT = 4 };

static int waiter_forget(lua_State *L)
{
    dns_forget(lua_touserdata(L, 1));
    return 0;
}

static struct dns_waiter *push_waiter(lua_State *L)
{
    struct dns_waiter *waiter = lua_newuserdatauv(L, sizeof *waiter, 0);
    memset(waiter, 0, sizeof *waiter);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &waiter_key) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_createtable(L, 0, 2);
        lua_pushcfunction(L, waiter_forget);
        lua_setfield(L, -2, "__gc");
        lua_pushboolean(L, false);
        lua_setfield(L, -2, "__metatable");
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &waiter_key);
    }
    lua_setmetatable(L, -2);
    return waiter;
}

/* ---- results ---- */

static void push_record(lua_State *L, enum dns_type type, const struct dns_record *record)
{
    static const char *const names[] = {"priority", "weight", "port"};
    if (type != DNS_MX && type != DNS_SRV) {
        lapi_push_utf8(L, record->text);
        return;
    }
    lua_createtable(L, 0, 4);
    lapi_push_utf8(L, record->text);
    lua_setfield(L, -2, type == DNS_MX ? "exchange" : "target");
    for (int i = 0; i < (type == DNS_MX ? 1 : 3); i++) {
        lua_pushinteger(L, record->numbers[i]);
        lua_setfield(L, -2, type == DNS_MX ? "preference" : names[i]);
    }
}

static int push_result(lua_State *L, enum dns_type type, const struct dns_waiter *waiter)
{
    const struct dns_answer *answer = waiter->answer;
    if (answer == NULL) {
        lua_pushnil(L);
        lua_pushstring(L, waiter->error);
        return 2;
    }
    lua_createtable(L, (int)answer->n, answer->is_nxdomain);
    for (size_t i = 0; i < answer->n; i++) {
        push_record(L, type, &answer->records[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    if (answer->is_nxdomain) {
        lua_pushboolean(L, true);
        lua_setfield(L, -2, "nxdomain");
    }
    return 1;
}

static int refuse(lua_State *L, const char *why)
{
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

/* ---- asking ---- */

static int query_done(lua_State *L, int status, lua_KContext type)
{
    (void)status;
    script_wait_result(L);
    struct dns_waiter *waiter = lua_touserdata(L, WAITER);
    int n = push_result(L, (enum dns_type)type, waiter);
    dns_forget(waiter);
    return n;
}

static void on_cancelled(void *context)
{
    dns_forget(context);
}

/* NULL: why says what is wrong. */
static struct dns *resolver(lua_State *L, char *why, size_t why_bytes)
{
    struct script *script = script_of(L);
    const struct conf *conf = script->conf;
    if (script->dns != NULL) {
        return script->dns;
    }
    if (!conf->worker.allow_network && conf->worker.sandbox != SANDBOX_OFF && script->does_deeds) {
        snprintf(why, why_bytes, "the sandbox: worker.allow_network");
        return NULL;
    }
    script->dns = dns_new(conf, script_event_base(L), why, why_bytes);
    return script->dns;
}

/* ---- in a test ---- */

static int simulated_done(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    script_wait_result(L);
    return 2;
}

/* Stack: name, type. What the test answers, at once or after so many seconds. */
static int query_simulated(lua_State *L, enum dns_type type)
{
    lua_settop(L, 1);
    lua_pushstring(L, dns_type_text(type));
    lua_pushfstring(L, "dns %s %s", lua_tostring(L, 2), lua_tostring(L, 1));
    lua_insert(L, 1);
    script_world_ask(L, "query", 2);
    lua_Number secs = lua_tonumber(L, -1);
    lua_pop(L, 1);
    if (secs <= 0) {
        return 2;
    }
    struct script_wait wait = {
        .fd = -1, .until_ms = clock_now_ms() + (int64_t)(secs * 1000), .what = lua_tostring(L, 1)};
    return script_wait(L, &wait, 0, simulated_done);
}

/* query(name, type) */
static int module_query(lua_State *L)
{
    char why[160], error[200];
    struct slice name = lapi_check_slice(L, 1);
    enum dns_type type = dns_type_from_text(luaL_optstring(L, 2, "A"));
    luaL_argcheck(L, type != 0, 2, "A, AAAA, CNAME, MX, NS, PTR, SRV or TXT expected");
    if (!dns_name_is_good(name)) {
        return refuse(L, "formerr: no domain name");
    }
    script_wait_check(L);
    if (script_world_is_simulated(L)) {
        return query_simulated(L, type);
    }
    struct dns *dns = resolver(L, why, sizeof why);
    if (dns == NULL) {
        snprintf(error, sizeof error, "network: %s", why);
        return refuse(L, error);
    }
    lua_settop(L, 2);
    struct dns_waiter *waiter = push_waiter(L);
    lua_pushfstring(L, "dns %s %s", dns_type_text(type), name.data);
    dns_ask(dns, name.data, type, waiter);
    if (waiter->is_done) {
        int n = push_result(L, type, waiter);
        dns_forget(waiter);
        return n;
    }
    struct script_wait wait = {.fd = -1,
        .until_ms = INT64_MAX,
        .waker = &waiter->waker,
        .what = lua_tostring(L, WHAT),
        .on_cancelled = on_cancelled,
        .context = waiter};
    return script_wait(L, &wait, (lua_KContext)type, query_done);
}

static const luaL_Reg functions[] = {
    {"query", module_query},
    {NULL, NULL},
};

int lapi_dns_open(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
