#include "milterd/mux_link.h"

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/parcel.h"
#include "common/sock.h"
#include "common/version.h"
#include "common/xalloc.h"

static struct mux_link *link_new(int fd)
{
    struct mux_link *link = xcalloc(1, sizeof *link);

    link->fd = fd;
    link->next_id = 1;
    buf_init(&link->record, WIRE_RECORD_MAX);
    buf_init(&link->annex, WIRE_ANNEX_MAX);
    link->received = xmalloc(WIRE_RECORD_MAX);
    return link;
}

void mux_link_close(struct mux_link *link)
{
    if (link == NULL)
        return;
    close(link->fd);
    buf_clear(&link->record);
    buf_clear(&link->annex);
    free(link->received);
    free(link);
}

static int connect_to(const char *path, int timeout_ms, int *fd_out)
{
    struct sock_spec spec;
    int fd, rc = sock_spec_from_text(path, &spec);

    if (rc == 0)
        rc = sock_connect(&spec, SOCK_SEQPACKET, timeout_ms, &fd);
    if (rc != 0)
        return rc;
    if (!sock_peer_is_trusted(fd)) {
        close(fd);
        return -ERR_DENIED;
    }
    rc = sock_set_record_buffers(fd);
    if (rc != 0)
        close(fd);
    else
        *fd_out = fd;
    return rc;
}

static int await_hello(struct mux_link *link, int64_t until_ms)
{
    struct pollfd pfd = {.fd = link->fd, .events = POLLIN};
    struct wire_header header;
    struct wire_hello hello;
    struct slice annex;
    int64_t left = until_ms - clock_now_ms();
    int rc;

    if (left <= 0 || poll(&pfd, 1, (int)left) == 0)
        return -ERR_TIMEOUT;
    rc = mux_link_receive(link, &header, &annex);
    if (rc != 0)
        return rc;
    annex_close(annex);
    if (header.type != WIRE_HELLO)
        return -ERR_BAD;
    rc = wire_get_hello(mux_link_record(link), (struct slice){0}, &hello);
    return rc == 0 && hello.role != ROLE_MULTIPLEXOR ? -ERR_BAD : rc;
}

static int shake_hands(struct mux_link *link, int64_t until_ms)
{
    const struct wire_hello ours = {
        .role = ROLE_MILTERD, .pid = (uint32_t)getpid(), .build = slice_text(POSTERN_VERSION)};
    int rc = wire_put_hello(&link->record, NULL, 0, 0, &ours);

    if (rc == 0)
        rc = mux_link_send(link, -1);
    return rc == 0 ? await_hello(link, until_ms) : rc;
}

/* Of a record whose first bytes, at least, are there: its version was looked at. */
static void tell_versions(struct slice record)
{
    const uint8_t *b = (const uint8_t *)record.data;

    log_warn("the multiplexor speaks protocol %u.%u, we speak %d.%d: old and new binaries mixed?",
        (unsigned)b[0] << 8 | b[1], (unsigned)b[2] << 8 | b[3], WIRE_MAJOR, WIRE_MINOR);
}

int mux_link_open(const char *path, int timeout_ms, struct mux_link **out)
{
    int64_t until_ms = clock_now_ms() + timeout_ms;
    struct mux_link *link;
    int fd, rc = connect_to(path, timeout_ms, &fd);

    if (rc != 0)
        return rc;
    link = link_new(fd);
    do
        rc = shake_hands(link, until_ms);
    while (rc == -ERR_AGAIN && clock_now_ms() < until_ms);
    if (rc == -ERR_VERSION)
        tell_versions(mux_link_record(link));
    if (rc != 0)
        mux_link_close(link);
    else
        *out = link;
    return rc;
}

int mux_link_send(struct mux_link *link, int parcel_fd)
{
    int fds[SOCK_MAX_FDS], n_fds = 0, annex_fd = -1, rc = 0;

    if (parcel_fd >= 0)
        fds[n_fds++] = parcel_fd;
    if (link->annex.len > 0) {
        rc = annex_new(buf_slice(&link->annex), &annex_fd);
        if (rc == 0)
            fds[n_fds++] = annex_fd;
    }
    if (rc == 0)
        rc = sock_send_record(link->fd, buf_slice(&link->record), fds, n_fds, MSG_DONTWAIT);
    if (annex_fd >= 0)
        close(annex_fd);
    return rc;
}

int mux_link_receive(struct mux_link *link, struct wire_header *header, struct slice *annex_out)
{
    struct sock_received got;
    int rc = sock_recv_record(link->fd, link->received, WIRE_RECORD_MAX, &got, MSG_DONTWAIT);
    int annex_at;

    *annex_out = (struct slice){0};
    if (rc != 0)
        return rc;
    link->received_len = got.len;
    rc = wire_get_header(mux_link_record(link), ROLE_MULTIPLEXOR, got.n_fds, header);
    annex_at = rc == 0 ? wire_fd_index(header, WIRE_ANNEX) : -1;
    if (annex_at >= 0)
        rc = annex_open(got.fds[annex_at], WIRE_ANNEX_MAX, annex_out);
    sock_close_fds(&got);
    return rc;
}
