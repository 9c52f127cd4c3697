/* SEQPACKET records with descriptors, the buffers they need, and who is at the other end. */
#include "common/sock.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"
#include "common/log.h"
#include "common/wire.h"

enum {
    RECORDS_IN_BUFFER = 4,
    RECORD_OVERHEAD_BYTES = 8192, /* the kernel counts whole pages and its own header */
    BUFFER_BYTES = RECORDS_IN_BUFFER * (WIRE_RECORD_MAX + RECORD_OVERHEAD_BYTES),
};

/* Room for the descriptors of one record, aligned as the kernel wants it. */
union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(SOCK_MAX_FDS * sizeof(int))];
};

/* The kernel doubles what it is given, up to net.core.wmem_max; root may go past that. */
int sock_set_record_buffers(int fd)
{
    int wanted = BUFFER_BYTES, in_force = 0;
    socklen_t len = sizeof(in_force);
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &wanted, sizeof(wanted)) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &in_force, &len) != 0)
        return -ERR_SYSTEM;
    if (in_force >= BUFFER_BYTES ||
        setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &wanted, sizeof(wanted)) == 0)
        return 0;
    errno = ENOBUFS;
    return -ERR_SYSTEM;
}

int sock_peer(int fd, uid_t *uid_out, gid_t *gid_out, pid_t *pid_out)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return -ERR_SYSTEM;
    *uid_out = peer.uid;
    *gid_out = peer.gid;
    *pid_out = peer.pid;
    return 0;
}

bool sock_peer_is_trusted(int fd)
{
    uid_t uid;
    gid_t gid;
    pid_t pid;
    return sock_peer(fd, &uid, &gid, &pid) == 0 && (uid == 0 || uid == geteuid());
}

static bool means_peer_is_gone(int error)
{
    return error == EPIPE || error == ECONNRESET || error == ENOTCONN || error == ECONNREFUSED;
}

static int error_of(int error)
{
    if (error == EAGAIN || error == EWOULDBLOCK)
        return -ERR_AGAIN;
    return means_peer_is_gone(error) ? -ERR_PEER : -ERR_SYSTEM;
}

int sock_send_record(int fd, struct slice record, const int *fds, int n_fds, int flags)
{
    union control control;
    struct iovec bytes = {(void *)(uintptr_t)record.data, record.len}; /* sendmsg only reads */
    struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1};
    LOG_INVARIANT(n_fds >= 0 && n_fds <= SOCK_MAX_FDS);
    if (n_fds > 0) {
        memset(&control, 0, sizeof(control));
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE((size_t)n_fds * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN((size_t)n_fds * sizeof(int));
        memcpy(CMSG_DATA(header), fds, (size_t)n_fds * sizeof(int));
    }
    ssize_t sent;
    do {
        sent = sendmsg(fd, &message, flags | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent >= 0 ? 0 : error_of(errno);
}

void sock_close_fds(struct sock_received *received)
{
    for (int i = 0; i < received->n_fds; i++)
        if (received->fds[i] >= 0)
            close(received->fds[i]);
    received->n_fds = 0;
}

/* Takes every descriptor that came along; false when there were more than we have room for (the
 * surplus is closed). */
static bool take_fds(struct msghdr *message, struct sock_received *out)
{
    bool fits = true;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL;
         header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(fd));
            if (out->n_fds < SOCK_MAX_FDS) {
                out->fds[out->n_fds++] = fd;
            } else {
                close(fd);
                fits = false;
            }
        }
    }
    return fits;
}

int sock_recv_record(
    int fd, void *buffer, size_t buffer_bytes, struct sock_received *out, int flags)
{
    union control control;
    struct iovec bytes = {buffer, buffer_bytes};
    struct msghdr message = {.msg_iov = &bytes,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control)};
    *out = (struct sock_received){.fds = {-1, -1}};
    ssize_t received;
    do {
        received = recvmsg(fd, &message, flags | MSG_CMSG_CLOEXEC);
    } while (received < 0 && errno == EINTR);
    if (received < 0)
        return error_of(errno);
    bool fits = take_fds(&message, out);
    if (!fits || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
        sock_close_fds(out);
        return -ERR_BAD;
    }
    if (received == 0) { /* the end; an empty record would look the same, and is none of ours */
        sock_close_fds(out);
        return -ERR_PEER;
    }
    out->len = (size_t)received;
    return 0;
}
