#include "worker/net_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"

void net_stream_init(struct net_stream *stream)
{
    *stream = (struct net_stream){.fd = -1};
    buf_init(&stream->in, NET_BUFFER_MAX);
}

void net_stream_close(struct net_stream *stream)
{
    net_tls_free(stream);
    if (stream->fd >= 0) {
        close(stream->fd);
        stream->fd = -1;
    }
    buf_clear(&stream->in);
}

enum net_status net_stream_fail(struct net_stream *stream, const char *why)
{
    if (stream->error[0] == '\0') {
        snprintf(stream->error, sizeof stream->error, "%s", why);
    }
    net_stream_close(stream);
    return NET_FAILED;
}

static enum net_status fail_with_errno(struct net_stream *stream)
{
    return net_stream_fail(stream, errno == ECONNREFUSED                   ? "refused"
                                   : errno == ECONNRESET || errno == EPIPE ? "closed"
                                                                           : err_text(-ERR_SYSTEM));
}

/* A question goes out in several writes: none is to wait until the one before was confirmed. */
static void send_at_once(int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

enum net_status net_stream_connect(
    struct net_stream *stream, const struct sockaddr *address, socklen_t len)
{
    stream->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (stream->fd < 0 && (errno == EPERM || errno == EACCES)) {
        return net_stream_fail(stream, "the sandbox: worker.allow_network");
    }
    if (stream->fd < 0) {
        return fail_with_errno(stream);
    }
    if (address->sa_family != AF_UNIX) {
        send_at_once(stream->fd);
    }
    if (connect(stream->fd, address, len) == 0) {
        return NET_DONE;
    }
    if (errno != EINPROGRESS && errno != EINTR) { /* EAGAIN: a UNIX socket's queue is full */
        return errno == EAGAIN ? net_stream_fail(stream, "busy") : fail_with_errno(stream);
    }
    stream->is_connecting = true;
    return NET_WRITE;
}

enum net_status net_stream_finish_connect(struct net_stream *stream)
{
    int error = 0;
    socklen_t len = sizeof error;
    stream->is_connecting = false;
    if (getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) {
        error = errno;
    }
    errno = error;
    return error == 0 ? NET_DONE : fail_with_errno(stream);
}

static bool would_block(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK;
}

static enum net_status write_some(
    struct net_stream *stream, const void *from, size_t len, size_t *n_out)
{
    if (stream->tls != NULL) {
        return net_tls_write(stream, from, len, n_out);
    }
    ssize_t n;
    do {
        n = send(stream->fd, from, len, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    *n_out = n > 0 ? (size_t)n : 0;
    return n >= 0 ? NET_DONE : would_block() ? NET_WRITE : fail_with_errno(stream);
}

enum net_status net_stream_write(struct net_stream *stream, struct slice data, size_t *at)
{
    while (*at < data.len) {
        size_t n = 0;
        enum net_status status = write_some(stream, data.data + *at, data.len - *at, &n);
        if (status != NET_DONE) {
            return status;
        }
        *at += n;
    }
    return NET_DONE;
}

enum net_status net_stream_end(struct net_stream *stream)
{
    return shutdown(stream->fd, SHUT_WR) == 0 ? NET_DONE : fail_with_errno(stream);
}

static enum net_status read_some(struct net_stream *stream, void *to, size_t max, size_t *n_out)
{
    if (stream->tls != NULL) {
        return net_tls_read(stream, to, max, n_out);
    }
    ssize_t n;
    do {
        n = recv(stream->fd, to, max, 0);
    } while (n < 0 && errno == EINTR);
    *n_out = n > 0 ? (size_t)n : 0;
    return n >= 0 ? NET_DONE : would_block() ? NET_READ : fail_with_errno(stream);
}

/* What was taken is let go when that is the larger part: a long answer that is read in pieces never
 * lies here as a whole, and no byte is moved twice for nothing. */
static void drop_taken(struct buf *in)
{
    size_t left = buf_left(in);
    if (in->pos > 0 && in->pos >= left) {
        memmove(in->data, in->data + in->pos, left);
        in->pos = 0;
        in->len = left;
    }
}

enum net_status net_stream_fill(struct net_stream *stream)
{
    char piece[NET_PIECE];
    size_t n = 0;
    drop_taken(&stream->in);
    enum net_status status = read_some(stream, piece, sizeof piece, &n);
    if (status != NET_DONE) {
        return status;
    }
    stream->is_at_end = n == 0;
    return n == 0 || buf_put(&stream->in, piece, n) == 0 ? NET_DONE
                                                         : net_stream_fail(stream, "too long");
}

enum net_rest net_stream_rest(struct net_stream *stream)
{
    char byte;
    if (stream->fd < 0) {
        return NET_REST_CLOSED;
    }
    if (buf_left(&stream->in) > 0) {
        return NET_REST_MORE;
    }
    ssize_t n = stream->is_at_end ? 0 : recv(stream->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n > 0 ? NET_REST_MORE : n < 0 && would_block() ? NET_REST_IDLE : NET_REST_CLOSED;
}

enum net_status net_stream_twin(const struct net_stream *stream, struct net_stream *twin)
{
    if (stream->fd < 0) {
        return net_stream_fail(twin, "closed");
    }
    twin->fd = fcntl(stream->fd, F_DUPFD_CLOEXEC, 0);
    return twin->fd >= 0 ? NET_DONE : fail_with_errno(twin);
}

enum net_status net_stream_send_fd(struct net_stream *stream, int fd)
{
    char byte = 0;
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.bytes = {0}};
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    ssize_t n;
    do {
        n = sendmsg(stream->fd, &message, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n >= 0 ? NET_DONE : would_block() ? NET_WRITE : fail_with_errno(stream);
}
