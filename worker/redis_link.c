#include "worker/redis_link.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "common/err.h"
#include "common/xalloc.h"

enum { KEPT_BYTES = 65536 }; /* of the buffer of a link that is idle */

struct redis_link *redis_link_open(const struct redis_place *place)
{
    struct redis_link *link = xcalloc(1, sizeof *link);
    link->place = *place;
    net_stream_init(&link->stream);
    if (net_stream_connect(&link->stream, &link->place.address.any, link->place.len) == NET_FAILED)
        link->error = -ERR_PEER;
    return link;
}

void redis_link_free(struct redis_link *link)
{
    if (link == NULL)
        return;
    net_stream_close(&link->stream);
    free(link);
}

void redis_link_ask(struct redis_link *link, struct slice request, size_t n_replies)
{
    link->request = request;
    link->written = 0;
    resp_scan_init(&link->scan, n_replies);
    if (link->state == REDIS_LINK_READY)
        link->state = REDIS_LINK_WRITING;
}

/* ---- the states ---- */

static enum net_status step_connecting(const struct conf *conf, struct redis_link *link)
{
    struct net_stream *stream = &link->stream;
    if (stream->is_connecting) {
        struct pollfd now = {.fd = stream->fd, .events = POLLOUT};
        if (poll(&now, 1, 0) == 0)
            return NET_WRITE;
        if (net_stream_finish_connect(stream) != NET_DONE)
            return NET_FAILED;
    }
    link->state = REDIS_LINK_WRITING;
    if (!conf->redis.tls)
        return NET_DONE;
    const char *name = conf->redis.tls_name[0] != '\0' ? conf->redis.tls_name : link->place.host;
    const char *ca_file = conf->redis.ca_file[0] != '\0' ? conf->redis.ca_file : NULL;
    link->state = REDIS_LINK_TLS;
    return net_tls_start(stream, name, ca_file, conf->redis.tls_verify) == 0 ? NET_DONE
                                                                             : NET_FAILED;
}

static enum net_status step_tls(const struct conf *conf, struct redis_link *link)
{
    (void)conf;
    enum net_status status = net_tls_handshake(&link->stream);
    if (status == NET_DONE)
        link->state = REDIS_LINK_WRITING;
    return status;
}

static enum net_status step_writing(const struct conf *conf, struct redis_link *link)
{
    (void)conf;
    enum net_status status = net_stream_write(&link->stream, link->request, &link->written);
    if (status == NET_DONE)
        link->state = REDIS_LINK_READING;
    return status;
}

static struct slice bytes_read(const struct redis_link *link)
{
    const struct buf *in = &link->stream.in;
    return buf_left(in) > 0 ? slice_of(in->data + in->pos, buf_left(in)) : slice_of("", 0);
}

static enum net_status refuse(struct redis_link *link, int err)
{
    link->error = err;
    return net_stream_fail(&link->stream,
        err == -ERR_TOOBIG ? "the reply is too large or too deep (redis.max_reply)" : "no RESP2");
}

static enum net_status step_reading(const struct conf *conf, struct redis_link *link)
{
    int err = resp_scan(&link->scan, bytes_read(link), (size_t)conf->redis.max_reply);
    if (err == 0) {
        link->state = REDIS_LINK_READY;
        return NET_DONE;
    }
    if (err != -ERR_AGAIN)
        return refuse(link, err);
    if (link->stream.is_at_end)
        return net_stream_fail(&link->stream, "closed");
    return net_stream_fill(&link->stream);
}

static enum net_status (*const steps[])(const struct conf *conf, struct redis_link *link) = {
    [REDIS_LINK_CONNECTING] = step_connecting,
    [REDIS_LINK_TLS] = step_tls,
    [REDIS_LINK_WRITING] = step_writing,
    [REDIS_LINK_READING] = step_reading,
};

enum net_status redis_link_step(const struct conf *conf, struct redis_link *link)
{
    enum net_status status = link->stream.fd >= 0 ? NET_DONE : NET_FAILED;
    while (status == NET_DONE && link->state != REDIS_LINK_READY)
        status = steps[link->state](conf, link);
    if (status == NET_FAILED && link->error == 0)
        link->error = -ERR_PEER;
    return status;
}

/* ---- after it ---- */

struct slice redis_link_reply(const struct redis_link *link)
{
    return slice_of(bytes_read(link).data, link->scan.at);
}

bool redis_link_finish(struct redis_link *link)
{
    struct buf *in = &link->stream.in;
    in->pos += link->scan.at;
    if (buf_left(in) > 0)
        return false;
    if (in->cap > KEPT_BYTES)
        buf_clear(in);
    else
        buf_reset(in);
    link->request = slice_of(NULL, 0);
    return true;
}

bool redis_link_is_alive(const struct redis_link *link)
{
    char byte;
    if (link->stream.fd < 0)
        return false;
    return recv(link->stream.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
           (errno == EAGAIN || errno == EWOULDBLOCK);
}
