#include "ctl/milter_wire.h"

#include <errno.h>
#include <libmilter/mfapi.h>
#include <libmilter/mfdef.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"

static const struct milter_stage stages[STAGE_COUNT] = {
    [STAGE_CONNECT] = {SMFIC_CONNECT, SMFIP_NOCONNECT, SMFIP_NR_CONN},
    [STAGE_HELO] = {SMFIC_HELO, SMFIP_NOHELO, SMFIP_NR_HELO},
    [STAGE_MAIL] = {SMFIC_MAIL, SMFIP_NOMAIL, SMFIP_NR_MAIL},
    [STAGE_RCPT] = {SMFIC_RCPT, SMFIP_NORCPT, SMFIP_NR_RCPT},
    [STAGE_DATA] = {SMFIC_DATA, SMFIP_NODATA, SMFIP_NR_DATA},
    [STAGE_HEADER] = {SMFIC_HEADER, SMFIP_NOHDRS, SMFIP_NR_HDR},
    [STAGE_EOH] = {SMFIC_EOH, SMFIP_NOEOH, SMFIP_NR_EOH},
    [STAGE_BODY] = {SMFIC_BODY, SMFIP_NOBODY, SMFIP_NR_BODY},
    [STAGE_EOM] = {SMFIC_BODYEOB, 0, 0},
    [STAGE_ABORT] = {SMFIC_ABORT, 0, 0},
    [STAGE_CLOSE] = {SMFIC_QUIT, 0, 0},
    [STAGE_UNKNOWN] = {SMFIC_UNKNOWN, SMFIP_NOUNKNOWN, SMFIP_NR_UNKN},
};

const struct milter_stage *milter_stage(enum stage stage)
{
    return &stages[stage];
}

void milter_wire_init(struct milter_wire *wire, int fd)
{
    wire->fd = fd;
    buf_init(&wire->packet, MILTER_PACKET_MAX);
    buf_init(&wire->out, MILTER_PACKET_MAX + 5);
}

void milter_wire_clear(struct milter_wire *wire)
{
    if (wire->fd >= 0) {
        close(wire->fd);
    }
    wire->fd = -1;
    buf_clear(&wire->packet);
    buf_clear(&wire->out);
}

/* Waits for the socket until end_ms. 0, -ERR_TIMEOUT, -ERR_SYSTEM. */
static int wait_for(int fd, short events, int64_t end_ms)
{
    for (;;) {
        int64_t left = end_ms - clock_now_ms();
        if (left <= 0) {
            return -ERR_TIMEOUT;
        }
        struct pollfd pfd = {.fd = fd, .events = events};
        int n = poll(&pfd, 1, left > 60000 ? 60000 : (int)left);
        if (n > 0) {
            return 0;
        }
        if (n < 0 && errno != EINTR) {
            return -ERR_SYSTEM;
        }
    }
}

static int peer_error(void)
{
    return errno == EPIPE || errno == ECONNRESET ? -ERR_PEER : -ERR_SYSTEM;
}

int milter_wire_send(struct milter_wire *wire, char command, struct slice data, int64_t timeout_ms)
{
    int64_t end_ms = clock_now_ms() + timeout_ms;
    buf_reset(&wire->out);
    if (data.len > MILTER_PACKET_MAX || buf_put_u32(&wire->out, (uint32_t)data.len + 1) < 0 ||
        buf_put_u8(&wire->out, (uint8_t)command) < 0 ||
        buf_put(&wire->out, data.data, data.len) < 0) {
        return -ERR_TOOBIG;
    }
    for (size_t at = 0; at < wire->out.len;) {
        ssize_t n =
            send(wire->fd, wire->out.data + at, wire->out.len - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            at += (size_t)n;
            continue;
        }
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return peer_error();
        }
        int rc = wait_for(wire->fd, POLLOUT, end_ms);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static int receive_exactly(int fd, uint8_t *out, size_t len, int64_t end_ms)
{
    for (size_t at = 0; at < len;) {
        int rc = wait_for(fd, POLLIN, end_ms);
        if (rc < 0) {
            return rc;
        }
        ssize_t n = recv(fd, out + at, len - at, MSG_DONTWAIT);
        if (n == 0) {
            return -ERR_PEER;
        }
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return peer_error();
        }
        at += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

int milter_wire_receive(
    struct milter_wire *wire, int64_t timeout_ms, char *command_out, struct slice *data_out)
{
    int64_t end_ms = clock_now_ms() + timeout_ms;
    uint8_t head[4];
    int rc = receive_exactly(wire->fd, head, sizeof(head), end_ms);
    if (rc < 0) {
        return rc;
    }
    struct slice length = slice_of(head, sizeof(head));
    uint32_t left = 0;
    (void)milter_take_u32(&length, &left);
    if (left == 0 || left > MILTER_PACKET_MAX) {
        return left == 0 ? -ERR_BAD : -ERR_TOOBIG;
    }
    buf_reset(&wire->packet);
    while (left > 0) {
        uint8_t chunk[8192];
        size_t n = left < sizeof(chunk) ? left : sizeof(chunk);
        rc = receive_exactly(wire->fd, chunk, n, end_ms);
        if (rc == 0) {
            rc = buf_put(&wire->packet, chunk, n);
        }
        if (rc < 0) {
            return rc;
        }
        left -= (uint32_t)n;
    }
    *command_out = (char)wire->packet.data[0];
    *data_out = slice_of(wire->packet.data + 1, wire->packet.len - 1);
    return 0;
}

bool milter_take_text(struct slice *data, struct slice *out)
{
    const char *end = data->len > 0 ? memchr(data->data, 0, data->len) : NULL;
    if (end == NULL) {
        return false;
    }
    *out = slice_of(data->data, (size_t)(end - data->data));
    *data = slice_of(end + 1, data->len - out->len - 1);
    return true;
}

bool milter_take_u32(struct slice *data, uint32_t *out)
{
    if (data->len < 4) {
        return false;
    }
    const uint8_t *p = (const uint8_t *)data->data;
    *out = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    *data = slice_of(data->data + 4, data->len - 4);
    return true;
}
