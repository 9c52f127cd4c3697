/*
 * require "postern.internal.http": one request, on which postern.http is built.
 *
 *   url(text[, base])   { text =, host =, port =, https = }, or nil when it is none
 *   begin{ method =, url =, headers = lines, body =, … }   → transfer; nil and why
 *   transfer:wait(what)     status, header, body; or nil and why. Once.
 *
 * A transfer that is closed or collected is given up.
 */
#include <string.h>

#include "worker/http.h"
#include "worker/script_internal.h"

#define CLASS_NAME "postern.http_transfer"

enum { HEADER_LINES_MAX = 1000 };

/* ---- URLs ---- */

static int module_url(lua_State *L)
{
    struct http_url url;
    struct slice text = lapi_check_slice(L, 1);
    const char *base = luaL_optstring(L, 2, NULL);
    bool is_text = strlen(text.data) == text.len; /* no NUL */
    if (!is_text || http_url_read(script_of(L)->http, base, text.data, &url) != 0) {
        lua_pushnil(L);
        return 1;
    }
    lua_createtable(L, 0, 4);
    lua_pushstring(L, url.text);
    lua_setfield(L, -2, "text");
    lua_pushstring(L, url.host);
    lua_setfield(L, -2, "host");
    lua_pushinteger(L, url.port);
    lua_setfield(L, -2, "port");
    lua_pushboolean(L, url.is_https);
    lua_setfield(L, -2, "https");
    return 1;
}

/* ---- the transfer ---- */

static int transfer_end(lua_State *L)
{
    http_end(luaL_checkudata(L, 1, CLASS_NAME));
    return 0;
}

static int give_error(lua_State *L, const char *why)
{
    lua_pushnil(L);
    lapi_push_utf8(L, slice_text(why));
    return 2;
}

static int give(lua_State *L, struct http_transfer *transfer)
{
    if (transfer->error[0] != '\0') {
        int n = give_error(L, transfer->error);
        http_end(transfer);
        return n;
    }
    lua_pushinteger(L, transfer->status);
    lapi_push_slice(L, buf_slice(&transfer->header));
    lapi_push_slice(L, buf_slice(&transfer->body));
    http_end(transfer);
    return 3;
}

static int woken(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    script_wait_result(L);
    return give(L, lua_touserdata(L, 1));
}

static int transfer_wait(lua_State *L)
{
    struct http_transfer *transfer = luaL_checkudata(L, 1, CLASS_NAME);
    const char *what = luaL_optstring(L, 2, "http");
    luaL_argcheck(
        L, transfer->http != NULL && transfer->waker.task == NULL, 1, "it is waited for once");
    if (transfer->is_done) {
        return give(L, transfer);
    }
    lua_settop(L, 2);
    struct script_wait wait = {
        .fd = -1, .until_ms = INT64_MAX, .waker = &transfer->waker, .what = what};
    return script_wait(L, &wait, 0, woken);
}

/* ---- beginning ---- */

/* The fields of begin's table, on the stack from 2 on in this order. */
enum {
    METHOD = 2,
    URL,
    RESOLVE,
    HEADERS,
    BODY,
    CA_FILE,
    USER,
    PASSWORD,
    VERIFY,
    CONNECT_MS,
    TIME_MS,
    MAX_HEADER,
    MAX_BODY,
    TRANSFER
};
static const char *const keys[] = {"method", "url", "resolve", "headers", "body", "ca_file", "user",
    "password", "verify", "connect_ms", "time_ms", "max_header", "max_body", NULL};

static lua_Integer check_number(lua_State *L, int index, lua_Integer min, lua_Integer max)
{
    lua_Integer number = luaL_checkinteger(L, index);
    if (number < min || number > max) {
        luaL_error(L, "http: %s is out of range", keys[index - METHOD]);
    }
    return number;
}

static const char *check_method(lua_State *L)
{
    static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "DELETE", NULL};
    return methods[luaL_checkoption(L, METHOD, NULL, methods)];
}

static void read_request(lua_State *L, struct http_request *request)
{
    *request = (struct http_request){.method = check_method(L),
        .url = luaL_checkstring(L, URL),
        .resolve = luaL_optstring(L, RESOLVE, NULL),
        .ca_file = luaL_optstring(L, CA_FILE, NULL),
        .user = luaL_optstring(L, USER, NULL),
        .password = luaL_optstring(L, PASSWORD, NULL),
        .has_body = !lua_isnil(L, BODY),
        .verifies = lua_isnil(L, VERIFY) || lua_toboolean(L, VERIFY),
        .connect_ms = (long)check_number(L, CONNECT_MS, 1, HTTP_TIME_MAX_MS),
        .time_ms = (long)check_number(L, TIME_MS, 1, HTTP_TIME_MAX_MS),
        .header_max = (size_t)check_number(L, MAX_HEADER, 1, HTTP_HEADER_MAX),
        .body_max = (size_t)check_number(L, MAX_BODY, 0, HTTP_BODY_MAX)};
    if (request->has_body) {
        request->body = lapi_check_slice(L, BODY);
    }
    luaL_checktype(L, HEADERS, LUA_TTABLE);
}

static struct http_transfer *push_transfer(lua_State *L)
{
    struct http_transfer *transfer = lua_newuserdatauv(L, sizeof *transfer, 1);
    memset(transfer, 0, sizeof *transfer);
    luaL_setmetatable(L, CLASS_NAME);
    return transfer;
}

static void add_headers(lua_State *L, struct http *http, struct http_transfer *transfer)
{
    lua_Integer n = (lua_Integer)lua_rawlen(L, HEADERS);
    if (n > HEADER_LINES_MAX) {
        luaL_error(L, "http: at most %d header fields", HEADER_LINES_MAX);
    }
    for (lua_Integer i = 1; i <= n; i++) {
        if (lua_rawgeti(L, HEADERS, i) != LUA_TSTRING ||
            http_add_header(http, transfer, lua_tostring(L, -1)) != 0) {
            luaL_error(L, "http: headers is a list of texts");
        }
        lua_pop(L, 1);
    }
}

/* The body is the transfer's, so that it lives as long: libcurl has no copy. */
static int module_begin(lua_State *L)
{
    struct script *script = script_of(L);
    const struct conf *conf = script->conf;
    struct http_request request;
    lapi_check_keys(L, 1, keys);
    lua_settop(L, 1);
    for (size_t i = 0; keys[i] != NULL; i++) {
        lua_getfield(L, 1, keys[i]);
    }
    read_request(L, &request);
    script_wait_check(L);
    if (!conf->worker.allow_network && conf->worker.sandbox != SANDBOX_OFF && script->does_deeds) {
        return give_error(L, "network: the sandbox: worker.allow_network");
    }
    struct http_transfer *transfer = push_transfer(L);
    lua_pushvalue(L, BODY);
    lua_setiuservalue(L, TRANSFER, 1);
    add_headers(L, script->http, transfer);
    if (http_begin(script->http, script_event_base(L), &request, transfer) != 0) {
        return give_error(L, transfer->error);
    }
    return 1;
}

/* ---- the module ---- */

static const luaL_Reg fields[] = {{NULL, NULL}};
static const luaL_Reg methods[] = {
    {"wait", transfer_wait},
    {NULL, NULL},
};
static const luaL_Reg metamethods[] = {
    {"__close", transfer_end},
    {"__gc", transfer_end},
    {NULL, NULL},
};
static const struct lapi_class class = {.name = CLASS_NAME,
    .word = "transfer",
    .fields = fields,
    .methods = methods,
    .metamethods = metamethods};

static const luaL_Reg functions[] = {
    {"begin", module_begin},
    {"url", module_url},
    {NULL, NULL},
};

/* At the top level of a filter that is the nursery, whose workers share what is loaded. */
int lapi_http_open(lua_State *L)
{
    char why[300];
    struct script *script = script_of(L);
    script->http = script->http != NULL ? script->http : http_new(script->conf, why, sizeof why);
    if (script->http == NULL) {
        return luaL_error(L, "postern.http: %s", why);
    }
    lapi_class_register(L, &class);
    luaL_newlib(L, functions);
    return 1;
}
