/* What is tried on a stream, again and again, until it is done. */
#include <string.h>
#include <unistd.h>

#include "worker/lapi_content.h"
#include "worker/lapi_net.h"

static enum net_status give_true(lua_State *L, enum net_status status)
{
    if (status == NET_DONE) {
        lua_pushboolean(L, true);
    }
    return status;
}

static enum net_status try_connect(lua_State *L, struct net *net)
{
    enum net_status status = net_stream_finish_connect(&net->stream);
    if (status == NET_DONE) {
        lua_pushvalue(L, 1);
    }
    return status;
}

static enum net_status try_write(lua_State *L, struct net *net)
{
    struct slice content = lapi_check_content(L, 2);
    content.len = net->to < content.len ? net->to : content.len;
    return give_true(L, net_stream_write(&net->stream, content, &net->at));
}

static enum net_status try_end_write(lua_State *L, struct net *net)
{
    return give_true(L, net_stream_end(&net->stream));
}

static enum net_status try_send_memory(lua_State *L, struct net *net)
{
    enum net_status status = give_true(L, net_stream_send_fd(&net->stream, net->memory_fd));
    if (status == NET_DONE) {
        close(net->memory_fd);
        net->memory_fd = -1;
    }
    return status;
}

static enum net_status try_tls(lua_State *L, struct net *net)
{
    return give_true(L, net_tls_handshake(&net->stream));
}

static void push_taken(lua_State *L, struct buf *in, size_t len, size_t skip)
{
    lua_pushlstring(L, (const char *)in->data + in->pos, len);
    in->pos += len + skip;
}

static enum net_status try_read(lua_State *L, struct net *net)
{
    struct buf *in = &net->stream.in;
    size_t wanted = (size_t)lua_tointeger(L, 2);
    while (buf_left(in) < wanted) {
        if (net->stream.is_at_end) {
            return net_stream_fail(&net->stream, "closed");
        }
        enum net_status status = net_stream_fill(&net->stream);
        if (status != NET_DONE) {
            return status;
        }
    }
    if (wanted == 0) {
        lua_pushliteral(L, "");
    } else {
        push_taken(L, in, wanted, 0);
    }
    return NET_DONE;
}

static enum net_status try_read_line(lua_State *L, struct net *net)
{
    struct buf *in = &net->stream.in;
    size_t max = (size_t)lua_tointeger(L, 2);
    for (;;) {
        size_t left = buf_left(in);
        const char *from = left > 0 ? (const char *)in->data + in->pos : "";
        const char *end = left > net->at ? memchr(from + net->at, '\n', left - net->at) : NULL;
        size_t len = end != NULL ? (size_t)(end - from) : left;
        if (len > max + 1) { /* a CR may stand before the LF */
            return net_stream_fail(&net->stream, "too long");
        }
        if (end != NULL) {
            size_t cr = len > 0 && from[len - 1] == '\r';
            if (len - cr > max) {
                return net_stream_fail(&net->stream, "too long");
            }
            push_taken(L, in, len - cr, 1 + cr);
            return NET_DONE;
        }
        net->at = left;
        if (net->stream.is_at_end) {
            return net_stream_fail(&net->stream, "closed");
        }
        enum net_status status = net_stream_fill(&net->stream);
        if (status != NET_DONE) {
            return status;
        }
    }
}

static enum net_status try_read_end(lua_State *L, struct net *net)
{
    struct buf *in = &net->stream.in;
    size_t max = (size_t)lua_tointeger(L, 2);
    while (!net->stream.is_at_end) {
        enum net_status status = net_stream_fill(&net->stream);
        if (status != NET_DONE) {
            return status;
        }
        if (buf_left(in) > max) {
            return net_stream_fail(&net->stream, "too long");
        }
    }
    push_taken(L, in, buf_left(in), 0);
    return NET_DONE;
}

static enum net_status try_read_some(lua_State *L, struct net *net)
{
    struct buf *in = &net->stream.in;
    while (buf_left(in) == 0 && !net->stream.is_at_end) {
        enum net_status status = net_stream_fill(&net->stream);
        if (status != NET_DONE) {
            return status;
        }
    }
    push_taken(L, in, buf_left(in), 0);
    return NET_DONE;
}

static enum net_status (*const attempts[])(lua_State *L, struct net *net) = {
    [NET_TRY_CONNECT] = try_connect,
    [NET_TRY_WRITE] = try_write,
    [NET_TRY_END_WRITE] = try_end_write,
    [NET_TRY_SEND_MEMORY] = try_send_memory,
    [NET_TRY_TLS] = try_tls,
    [NET_TRY_READ] = try_read,
    [NET_TRY_READ_LINE] = try_read_line,
    [NET_TRY_READ_END] = try_read_end,
    [NET_TRY_READ_SOME] = try_read_some,
};

enum net_status net_try(lua_State *L, struct net *net, enum net_attempt attempt)
{
    return attempts[attempt](L, net);
}
