#include "milterd/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmilter/mfdef.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "common/err.h"

enum { STREAM_LENGTH_BYTES = 4, STREAM_HEAD_BYTES = 5 };

void stream_init(struct stream *stream, int fd, size_t command_max)
{
    stream->fd = fd;
    stream->command_max = command_max;
    stream->start = stream->end = stream->held = 0;
}

bool stream_has_input(const struct stream *stream)
{
    return stream->start < stream->end;
}

/* 0 when there is something, else why not. */
static int wait_for(const struct stream *stream, short events, int timeout_ms)
{
    struct pollfd pfd = {.fd = stream->fd, .events = events};
    const struct timespec timeout = {
        .tv_sec = timeout_ms / 1000, .tv_nsec = timeout_ms % 1000 * 1000000L};
    int n;

    do {
        n = ppoll(&pfd, 1, &timeout, NULL); /* poll is libmilter's: session.c */
    } while (n < 0 && errno == EINTR);
    if (n == 0)
        return STREAM_TIMED_OUT;
    return n < 0 ? STREAM_FAILED : 0;
}

/* Reads what is there into the rest of a command's data, if any, and behind it into in[], which
 * must be empty then. 0 or why not. */
static int fill(struct stream *stream, char *rest, size_t rest_bytes, int timeout_ms, size_t *got)
{
    struct iovec parts[2] = {{.iov_base = rest, .iov_len = rest_bytes},
        {.iov_base = stream->in + stream->end, .iov_len = sizeof stream->in - stream->end}};
    struct msghdr message = {
        .msg_iov = rest_bytes > 0 ? parts : parts + 1, .msg_iovlen = rest_bytes > 0 ? 2 : 1};
    ssize_t n;

    while ((n = recvmsg(stream->fd, &message, MSG_DONTWAIT)) < 0) {
        int why = errno == EAGAIN || errno == EWOULDBLOCK ? wait_for(stream, POLLIN, timeout_ms)
                                                          : (errno == EINTR ? 0 : STREAM_FAILED);
        if (why != 0)
            return why;
    }
    if (n == 0)
        return STREAM_EOF;
    *got = (size_t)n < rest_bytes ? (size_t)n : rest_bytes;
    stream->end += (size_t)n - *got;
    return 0;
}

/* Waits until the head of a command is in in[]. */
static int fill_head(struct stream *stream, int timeout_ms)
{
    size_t none;
    int why = 0;

    if (stream->start > 0 && stream->start + STREAM_HEAD_BYTES > sizeof stream->in) {
        memmove(stream->in, stream->in + stream->start, stream->end - stream->start);
        stream->end -= stream->start;
        stream->start = 0;
    }
    while (why == 0 && stream->end - stream->start < STREAM_HEAD_BYTES)
        why = fill(stream, NULL, 0, timeout_ms, &none);
    return why;
}

static void consume(struct stream *stream, size_t n)
{
    stream->start += n;
    if (stream->start == stream->end)
        stream->start = stream->end = 0;
}

static int read_data(struct stream *stream, int timeout_ms, char *data, size_t len)
{
    size_t have = stream->end - stream->start;
    int why = 0;

    have = have < len ? have : len;
    memcpy(data, stream->in + stream->start, have);
    consume(stream, have);
    while (why == 0 && have < len) {
        size_t got = 0;

        why = fill(stream, data + have, len - have, timeout_ms, &got);
        have += got;
    }
    return why;
}

static int read_command(
    struct stream *stream, int timeout_ms, char *command_out, char **data_out, size_t *len_out)
{
    uint32_t bytes;
    int why = fill_head(stream, timeout_ms);

    if (why != 0)
        return why;
    memcpy(&bytes, stream->in + stream->start, sizeof bytes);
    bytes = ntohl(bytes); /* the letter and the data */
    if (bytes == 0)
        return STREAM_UNREADABLE;
    if (bytes - 1 > stream->command_max)
        return STREAM_TOO_BIG;
    *command_out = (char)stream->in[stream->start + STREAM_LENGTH_BYTES];
    consume(stream, STREAM_HEAD_BYTES);
    if (bytes == 1)
        return 0;
    *data_out = malloc(bytes - 1);
    if (*data_out == NULL)
        return STREAM_NO_MEMORY;
    *len_out = bytes - 1;
    return read_data(stream, timeout_ms, *data_out, bytes - 1);
}

/* Everything in parts, which change. 0 or -ERR_PEER. */
static int send_all(struct stream *stream, int timeout_ms, struct iovec *parts, size_t n_parts)
{
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = n_parts};

    while (message.msg_iovlen > 0) {
        ssize_t n = sendmsg(stream->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0 && errno != EINTR &&
            ((errno != EAGAIN && errno != EWOULDBLOCK) ||
                wait_for(stream, POLLOUT, timeout_ms) != 0))
            return -ERR_PEER;
        for (size_t left = n > 0 ? (size_t)n : 0; message.msg_iovlen > 0;) {
            struct iovec *part = message.msg_iov;
            size_t done = left < part->iov_len ? left : part->iov_len;

            if (done > 0) /* an empty part may have no place at all */
                part->iov_base = (char *)part->iov_base + done;
            part->iov_len -= done;
            left -= done;
            if (part->iov_len > 0)
                break;
            message.msg_iov++;
            message.msg_iovlen--;
        }
    }
    return 0;
}

static bool is_action(char command)
{
    switch (command) {
    case SMFIR_ADDRCPT:
    case SMFIR_ADDRCPT_PAR:
    case SMFIR_DELRCPT:
    case SMFIR_ADDHEADER:
    case SMFIR_INSHEADER:
    case SMFIR_CHGHEADER:
    case SMFIR_CHGFROM:
    case SMFIR_REPLBODY:
    case SMFIR_QUARANTINE:
        return true;
    default:
        return false;
    }
}

int stream_write(struct stream *stream, int timeout_ms, char command, const char *data, size_t len)
{
    uint8_t head[STREAM_HEAD_BYTES];
    uint32_t bytes = htonl((uint32_t)(len + 1));

    memcpy(head, &bytes, sizeof bytes);
    head[STREAM_LENGTH_BYTES] = (uint8_t)command;
    if (is_action(command) && len + sizeof head <= sizeof stream->out - stream->held) {
        memcpy(stream->out + stream->held, head, sizeof head);
        if (len > 0)
            memcpy(stream->out + stream->held + sizeof head, data, len);
        stream->held += sizeof head + len;
        return 0;
    }
    struct iovec parts[] = {{.iov_base = stream->out, .iov_len = stream->held},
        {.iov_base = head, .iov_len = sizeof head},
        {.iov_base = (void *)(uintptr_t)data, .iov_len = len}};
    stream->held = 0;
    return send_all(stream, timeout_ms, parts, sizeof parts / sizeof parts[0]);
}

char *stream_read(struct stream *stream, int timeout_ms, char *command_out, size_t *len_out)
{
    struct iovec held = {.iov_base = stream->out, .iov_len = stream->held};
    char *data = NULL;
    int why = 0;

    *command_out = 0;
    *len_out = 0;
    stream->held = 0;
    if (held.iov_len > 0 && send_all(stream, timeout_ms, &held, 1) != 0)
        why = STREAM_FAILED;
    if (why == 0)
        why = read_command(stream, timeout_ms, command_out, &data, len_out);
    if (why == 0)
        return data;
    free(data);
    *command_out = (char)why;
    *len_out = 0;
    return NULL;
}
