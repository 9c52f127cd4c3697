/*
 * Sockets: specs ("unix:/path", "inet:port@host", "inet6:port@host", "fd:3"), listeners that replace stale sockets and
 * refuse live ones, SEQPACKET records with descriptors, peer credentials.
 */
#ifndef POSTERN_SOCK_H
#define POSTERN_SOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "common/buf.h"

enum sock_kind { SOCK_KIND_UNIX = 0, SOCK_KIND_INET, SOCK_KIND_INET6, SOCK_KIND_FD };
enum { SOCK_PATH_MAX = 107, SOCK_MAX_FDS = 2 };

struct sock_spec {
    enum sock_kind kind;
    char path[SOCK_PATH_MAX + 1]; /* UNIX */
    char host[256];               /* INET, INET6: address or name; "" means any */
    uint16_t port;                /* 0: the kernel chooses */
    int fd;                       /* FD */
};

/* A text without a kind that starts with "/" is unix:; "local:" is unix: as in libmilter. Returns 0, -ERR_BAD, -ERR_TOOBIG (path). */
int sock_spec_from_text(const char *text, struct sock_spec *out);
/* Writes the spec as text, with the port really bound when fd >= 0 ("inet:43211@127.0.0.1"). out: 300 bytes at least. */
void sock_spec_to_text(const struct sock_spec *spec, int fd, char *out, size_t out_bytes);

struct sock_listen_options {
    int type;    /* SOCK_STREAM or SOCK_SEQPACKET (UNIX only) */
    mode_t mode; /* UNIX: of the socket file */
    gid_t gid;   /* UNIX: (gid_t)-1 leaves it */
    uid_t uid;   /* UNIX: owner, (uid_t)-1 leaves it */
    int backlog;
};

/*
 * Makes a listening socket, close-on-exec, blocking.
 *
 * UNIX: a socket file that nobody answers on is replaced (probed by connecting), a live one gives -ERR_IN_USE; something that is
 * not a socket, or a symlink, gives -ERR_DENIED and is left alone. The file appears under a temporary name and is renamed, with mode and
 * owner already set. INET: SO_REUSEADDR, TCP_NODELAY (inherited by accepted sockets); INET6 is IPv6 alone. FD: checks that it is a listening socket.
 *
 * Returns 0 and *fd_out, or -ERR_IN_USE, -ERR_DENIED, -ERR_BAD (host), -ERR_SYSTEM.
 */
int sock_listen(const struct sock_spec *spec, const struct sock_listen_options *options, int *fd_out);
/* Connects; timeout_ms bounds it. The result is close-on-exec and blocking, TCP_NODELAY for TCP. 0, -ERR_TIMEOUT or -ERR_SYSTEM. */
int sock_connect(const struct sock_spec *spec, int type, int timeout_ms, int *fd_out);

/* Sets SO_SNDBUF so that at least four full records fit, and checks that it took. 0 or -ERR_SYSTEM. */
int sock_set_record_buffers(int fd);
int sock_set_nonblocking(int fd, bool on);

/* SO_PEERCRED. 0 or -ERR_SYSTEM. */
int sock_peer(int fd, uid_t *uid_out, gid_t *gid_out, pid_t *pid_out);
/* Whether the peer is root or our own effective uid. */
bool sock_peer_is_trusted(int fd);

/*
 * Sends one datagram with up to SOCK_MAX_FDS descriptors (which stay the caller's). flags: MSG_DONTWAIT or 0.
 * Returns 0, -ERR_AGAIN, -ERR_PEER (EPIPE, ECONNRESET, ENOTCONN) or -ERR_SYSTEM. Never raises SIGPIPE; EINTR is retried.
 */
int sock_send_record(int fd, struct slice record, const int *fds, int n_fds, int flags);

struct sock_received {
    size_t len;
    int fds[SOCK_MAX_FDS]; /* the caller's now; close-on-exec */
    int n_fds;
};
/*
 * Receives one datagram into buffer. More descriptors than SOCK_MAX_FDS, MSG_TRUNC or MSG_CTRUNC: all are closed, -ERR_BAD.
 * Returns 0, -ERR_AGAIN, -ERR_PEER (end of file too) or -ERR_SYSTEM.
 */
int sock_recv_record(int fd, void *buffer, size_t buffer_bytes, struct sock_received *out, int flags);
void sock_close_fds(struct sock_received *received); /* those still there (>= 0) */

#endif
