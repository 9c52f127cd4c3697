/*
 * require "postern.internal.net": streams to servers, for the modules of ours that speak a
 * protocol. Each call waits, and only its own task. What the world does wrong is nil and a short
 * text ("timeout", "refused", "closed", "too long", "tls: …"), and closes the stream.
 *
 *   connect{ path = } or { address =, port = }, with timeout = seconds, what = "clamav"  → stream
 *   stream:timeout(seconds)       for what follows, all together
 *   stream:write(bytes, from, n)  a string; or a msg or part: its content, which is not copied; of
 *                                 it n bytes from the from-th on, or all
 *   stream:end_write()            nothing more will be written; no TLS
 *   stream:read(n)                so many bytes; "closed" when there are fewer
 *   stream:read_line(max)         without its line end
 *   stream:read_end(max)          all until the peer ends
 *   stream:read_some()            what is there, at least a byte; "" at the end
 *   stream:send_memory(bytes)     a descriptor of a file in memory that holds them; as with write
 *   stream:tls{ name =, ca_file =, verify = }
 *   stream:twin()                 another to the same peer, for one function to write what another
 *                                 reads the answer to at the same time; no TLS
 *   stream:rest()                 does not wait: "idle"; "more", that has come and was not read;
 *                                 "closed". No TLS
 *   stream:close()
 */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "worker/lapi_content.h"
#include "worker/lapi_net.h"

#define CLASS_NAME "postern.stream"

enum { SECONDS_MAX = 86400 };

/* ---- the object ---- */

static struct net *check_net(lua_State *L)
{
    struct net *net = luaL_checkudata(L, 1, CLASS_NAME);
    if (net->waker.task != NULL) {
        luaL_error(L, "the stream is in use by a function that runs at the same time");
    }
    return net;
}

static void let_go(struct net *net)
{
    net_stream_close(&net->stream);
    if (net->memory_fd >= 0) {
        close(net->memory_fd);
        net->memory_fd = -1;
    }
}

static int stream_gc(lua_State *L)
{
    let_go(luaL_checkudata(L, 1, CLASS_NAME));
    return 0;
}

static int stream_close(lua_State *L)
{
    struct net *net = check_net(L);
    net_stream_fail(&net->stream, "closed");
    let_go(net);
    return 0;
}

static int64_t until_of(lua_State *L, int index)
{
    lua_Number secs = luaL_checknumber(L, index);
    luaL_argcheck(
        L, secs >= 0 && secs <= SECONDS_MAX, index, "seconds expected, 0 to 86400"); /* nor NaN */
    return clock_now_ms() + (int64_t)ceil(secs * 1000);
}

static int stream_timeout(lua_State *L)
{
    struct net *net = check_net(L);
    net->until_ms = until_of(L, 2);
    return 0;
}

/* ---- attempts ---- */

static int give_error(lua_State *L, struct net *net)
{
    let_go(net);
    lua_pushnil(L);
    lua_pushstring(L, net->stream.error);
    return 2;
}

static int woken(lua_State *L, int status, lua_KContext attempt);

/* Half of a question may be on its way, and half of an answer: it is of no use to anybody else. */
static void on_cancelled(void *context)
{
    struct net *net = context;
    net_stream_fail(&net->stream, "closed");
    let_go(net);
}

static int wait_for(lua_State *L, struct net *net, enum net_status wanted, enum net_attempt attempt)
{
    struct script_wait wait = {.fd = net->stream.fd,
        .events = wanted == NET_READ ? POLLIN : POLLOUT,
        .until_ms = net->until_ms,
        .waker = &net->waker,
        .what = net->what,
        .on_cancelled = on_cancelled,
        .context = net};
    return script_wait(L, &wait, (lua_KContext)attempt, woken);
}

static int go_on(lua_State *L, struct net *net, enum net_attempt attempt)
{
    enum net_status status =
        net->stream.fd >= 0 ? net_try(L, net, attempt) : net_stream_fail(&net->stream, "closed");
    if (status == NET_DONE) {
        return 1;
    }
    return status == NET_FAILED ? give_error(L, net) : wait_for(L, net, status, attempt);
}

static int woken(lua_State *L, int status, lua_KContext attempt)
{
    struct net *net = lua_touserdata(L, 1);
    (void)status;
    if (script_wait_result(L) == SCRIPT_WOKEN_TIMEOUT) {
        net_stream_fail(&net->stream, "timeout");
        return give_error(L, net);
    }
    return go_on(L, net, (enum net_attempt)attempt);
}

/* Stack: the stream and at most one argument. */
static int begin(lua_State *L, struct net *net, enum net_attempt attempt)
{
    script_wait_check(L);
    lua_settop(L, 2);
    net->at = 0;
    return go_on(L, net, attempt);
}

/* ---- methods ---- */

static int stream_write(lua_State *L)
{
    struct net *net = check_net(L);
    lua_Integer len = (lua_Integer)lapi_check_content(L, 2).len;
    lua_Integer from = luaL_optinteger(L, 3, 1), n = luaL_optinteger(L, 4, len);
    luaL_argcheck(L, from >= 1 && from <= len + 1, 3, "a place in it expected");
    luaL_argcheck(L, n >= 0, 4, "a number of bytes expected");
    script_wait_check(L);
    lua_settop(L, 2);
    net->at = (size_t)(from - 1);
    net->to = (size_t)(n < len - from + 1 ? from - 1 + n : len);
    return go_on(L, net, NET_TRY_WRITE);
}

static int stream_end_write(lua_State *L)
{
    struct net *net = check_net(L);
    luaL_argcheck(L, net->stream.tls == NULL, 1, "not with NET_TRY_TLS");
    return begin(L, net, NET_TRY_END_WRITE);
}

static int read_with_bound(lua_State *L, enum net_attempt attempt)
{
    struct net *net = check_net(L);
    lua_Integer max = luaL_checkinteger(L, 2);
    luaL_argcheck(L, max >= 0 && max <= NET_BUFFER_MAX, 2, "a number of bytes expected");
    return begin(L, net, attempt);
}

static int stream_read(lua_State *L)
{
    return read_with_bound(L, NET_TRY_READ);
}

static int stream_read_line(lua_State *L)
{
    return read_with_bound(L, NET_TRY_READ_LINE);
}

static int stream_read_end(lua_State *L)
{
    return read_with_bound(L, NET_TRY_READ_END);
}

static int stream_read_some(lua_State *L)
{
    return begin(L, check_net(L), NET_TRY_READ_SOME);
}

/* 0, or -1 with errno. */
static int make_memory(struct net *net, struct slice bytes)
{
    net->memory_fd = memfd_create("postern-stream", MFD_CLOEXEC);
    for (size_t at = 0; net->memory_fd >= 0 && at < bytes.len;) {
        ssize_t n = write(net->memory_fd, bytes.data + at, bytes.len - at);
        if (n < 0 && errno != EINTR) {
            return -1;
        }
        at += n > 0 ? (size_t)n : 0;
    }
    return net->memory_fd < 0 ? -1 : lseek(net->memory_fd, 0, SEEK_SET) == 0 ? 0 : -1;
}

static int stream_send_memory(lua_State *L)
{
    struct net *net = check_net(L);
    struct slice bytes = lapi_check_content(L, 2);
    script_wait_check(L);
    if (make_memory(net, bytes) != 0) {
        net_stream_fail(&net->stream, "no memory for the descriptor");
    }
    return begin(L, net, NET_TRY_SEND_MEMORY);
}

static const char *const tls_keys[] = {"name", "ca_file", "verify", NULL};

static int stream_tls(lua_State *L)
{
    struct net *net = check_net(L);
    lapi_check_keys(L, 2, tls_keys);
    script_wait_check(L);
    lua_settop(L, 2);
    lua_getfield(L, 2, "name");
    lua_getfield(L, 2, "ca_file");
    lua_getfield(L, 2, "verify");
    const char *name = luaL_checkstring(L, 3), *ca_file = luaL_optstring(L, 4, NULL);
    bool verifies = lua_isnil(L, 5) || lua_toboolean(L, 5);
    if (buf_left(&net->stream.in) > 0) { /* it was not the server's, or came too early */
        net_stream_fail(&net->stream, "tls: bytes before it began");
    } else if (net->stream.fd >= 0) {
        (void)net_tls_start(&net->stream, name, ca_file, verifies); /* its error is told next */
    }
    return begin(L, net, NET_TRY_TLS);
}

/* ---- connecting ---- */

static const char *const connect_keys[] = {"path", "address", "port", "timeout", "what", NULL};

union peer {
    struct sockaddr any;
    struct sockaddr_un un;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

/* The fields are on the stack from 2 on, as in connect_keys. */
static socklen_t take_path(lua_State *L, union peer *peer)
{
    struct slice path = lapi_check_slice(L, 2);
    if (path.len == 0 || path.len >= sizeof peer->un.sun_path || strlen(path.data) != path.len) {
        luaL_error(L, "connect: the path of the socket has 1 to %d bytes",
            (int)sizeof peer->un.sun_path - 1);
    }
    peer->un.sun_family = AF_UNIX;
    memcpy(peer->un.sun_path, path.data, path.len + 1);
    return sizeof peer->un;
}

static socklen_t take_address(lua_State *L, union peer *peer)
{
    const char *address = luaL_checkstring(L, 3);
    lua_Integer port = luaL_checkinteger(L, 4);
    if (port < 1 || port > 65535) {
        luaL_error(L, "connect: a port is a number from 1 to 65535");
    }
    if (inet_pton(AF_INET, address, &peer->in.sin_addr) == 1) {
        peer->in.sin_family = AF_INET;
        peer->in.sin_port = htons((uint16_t)port);
        return sizeof peer->in;
    }
    if (inet_pton(AF_INET6, address, &peer->in6.sin6_addr) != 1) {
        luaL_error(L, "connect: '%s' is no address", address);
    }
    peer->in6.sin6_family = AF_INET6;
    peer->in6.sin6_port = htons((uint16_t)port);
    return sizeof peer->in6;
}

static struct net *push_net(lua_State *L, const char *what)
{
    struct net *net = lua_newuserdatauv(L, sizeof *net, 0);
    memset(net, 0, sizeof *net);
    net_stream_init(&net->stream);
    net->memory_fd = -1;
    net->until_ms = INT64_MAX;
    snprintf(net->what, sizeof net->what, "%s", what);
    luaL_setmetatable(L, CLASS_NAME);
    return net;
}

static int module_connect(lua_State *L)
{
    union peer peer = {.un = {.sun_family = AF_UNSPEC}};
    lapi_check_keys(L, 1, connect_keys);
    lua_settop(L, 1);
    for (size_t i = 0; connect_keys[i] != NULL; i++) {
        lua_getfield(L, 1, connect_keys[i]);
    }
    bool has_path = !lua_isnil(L, 2);
    socklen_t len = has_path ? take_path(L, &peer) : take_address(L, &peer);
    int64_t until_ms = lua_isnil(L, 5) ? INT64_MAX : until_of(L, 5);
    script_wait_check(L);
    const char *what = luaL_optstring(L, 6, has_path ? lua_tostring(L, 2) : lua_tostring(L, 3));
    struct net *net = push_net(L, what);
    net->until_ms = until_ms;
    lua_replace(L, 1);
    enum net_status status = net_stream_connect(&net->stream, &peer.any, len);
    lua_settop(L, 1);
    if (status == NET_DONE) {
        return 1;
    }
    return status == NET_FAILED ? give_error(L, net) : wait_for(L, net, NET_WRITE, NET_TRY_CONNECT);
}

static int stream_twin(lua_State *L)
{
    struct net *net = check_net(L);
    luaL_argcheck(L, net->stream.tls == NULL, 1, "not with NET_TRY_TLS");
    struct net *twin = push_net(L, net->what);
    twin->until_ms = net->until_ms;
    if (net_stream_twin(&net->stream, &twin->stream) == NET_FAILED) {
        return give_error(L, twin);
    }
    return 1;
}

static int stream_rest(lua_State *L)
{
    static const char *const words[] = {
        [NET_REST_IDLE] = "idle", [NET_REST_MORE] = "more", [NET_REST_CLOSED] = "closed"};
    struct net *net = check_net(L);
    luaL_argcheck(L, net->stream.tls == NULL, 1, "not with NET_TRY_TLS");
    lua_pushstring(L, words[net_stream_rest(&net->stream)]);
    return 1;
}

static const luaL_Reg fields[] = {{NULL, NULL}};
static const luaL_Reg methods[] = {
    {"close", stream_close},
    {"end_write", stream_end_write},
    {"read", stream_read},
    {"read_end", stream_read_end},
    {"read_line", stream_read_line},
    {"read_some", stream_read_some},
    {"rest", stream_rest},
    {"send_memory", stream_send_memory},
    {"timeout", stream_timeout},
    {"tls", stream_tls},
    {"twin", stream_twin},
    {"write", stream_write},
    {NULL, NULL},
};
static const luaL_Reg metamethods[] = {
    {"__close", stream_close},
    {"__gc", stream_gc},
    {NULL, NULL},
};
static const struct lapi_class class = {.name = CLASS_NAME,
    .word = "stream",
    .fields = fields,
    .methods = methods,
    .metamethods = metamethods};

static const luaL_Reg functions[] = {
    {"connect", module_connect},
    {NULL, NULL},
};

int lapi_net_open(lua_State *L)
{
    lapi_class_register(L, &class);
    luaL_newlib(L, functions);
    return 1;
}
