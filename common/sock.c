/* Making sockets: listeners that replace what is stale and refuse what is live, and connections
 * within a deadline. */
#include "common/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"

/* Closes without losing the errno that the caller is about to report. */
static void close_quietly(int fd)
{
    int saved = errno;
    close(fd);
    errno = saved;
}

int sock_set_nonblocking(int fd, bool on)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return -ERR_SYSTEM;
    int wanted = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
    if (wanted != flags && fcntl(fd, F_SETFL, wanted) < 0)
        return -ERR_SYSTEM;
    return 0;
}

static int set_flag(int fd, int level, int option)
{
    int on = 1;
    return setsockopt(fd, level, option, &on, sizeof(on)) == 0 ? 0 : -ERR_SYSTEM;
}

static int unix_address(const char *path, struct sockaddr_un *out)
{
    size_t len = strlen(path);
    if (len >= sizeof(out->sun_path)) {
        errno = ENAMETOOLONG;
        return -ERR_SYSTEM;
    }
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(out->sun_path, path, len + 1);
    return 0;
}

/*
 * Whether the path may be taken: nothing is there, or a socket that nobody answers on. Only a
 * refused connection shows that; a full backlog (EAGAIN) and another socket type (EPROTOTYPE) show
 * the opposite.
 */
static int probe_path(const char *path, int type)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? 0 : -ERR_SYSTEM;
    if (!S_ISSOCK(st.st_mode))
        return -ERR_DENIED;
    struct sockaddr_un address;
    int rc = unix_address(path, &address);
    if (rc != 0)
        return rc;
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -ERR_SYSTEM;
    bool is_free = connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 &&
                   (errno == ECONNREFUSED || errno == ENOENT);
    close_quietly(fd);
    return is_free ? 0 : -ERR_IN_USE;
}

/* Binds to a name of this process beside the final one, complete with owner and mode. Nobody can
 * connect before listen. */
static int bind_aside(int fd, const char *path, const struct sock_listen_options *options)
{
    struct sockaddr_un address;
    int rc = unix_address(path, &address);
    if (rc != 0)
        return rc;
    if (unlink(path) != 0 && errno != ENOENT) /* left by a process of the same number */
        return -ERR_SYSTEM;
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
        return -ERR_SYSTEM;
    if ((options->uid != (uid_t)-1 || options->gid != (gid_t)-1) &&
        chown(path, options->uid, options->gid) != 0)
        return -ERR_SYSTEM;
    return chmod(path, options->mode) == 0 ? 0 : -ERR_SYSTEM;
}

/* The name aside, in the same folder so that rename works: through the folder's descriptor when the
 * plain path is too long. */
static int name_aside(const char *path, int *dir_fd_out, char *out, size_t out_bytes)
{
    char copy[SOCK_PATH_MAX + 1], copy2[SOCK_PATH_MAX + 1];
    snprintf(copy, sizeof(copy), "%s", path);
    snprintf(copy2, sizeof(copy2), "%s", path);
    const char *dir = dirname(copy), *name = basename(copy2);
    *dir_fd_out = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*dir_fd_out < 0)
        return -ERR_SYSTEM;
    int len = snprintf(out, out_bytes, "%s/.%s.%d", dir, name, (int)getpid());
    if (len > SOCK_PATH_MAX)
        snprintf(out, out_bytes, "/proc/self/fd/%d/.%d", *dir_fd_out, (int)getpid());
    return 0;
}

static int listen_unix(
    const struct sock_spec *spec, const struct sock_listen_options *options, int *fd_out)
{
    char aside[SOCK_PATH_MAX + 32];
    int dir_fd;
    int rc = probe_path(spec->path, options->type);
    if (rc == 0)
        rc = name_aside(spec->path, &dir_fd, aside, sizeof(aside));
    if (rc != 0)
        return rc;
    int fd = socket(AF_UNIX, options->type | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        close_quietly(dir_fd);
        return -ERR_SYSTEM;
    }
    rc = bind_aside(fd, aside, options);
    if (rc == 0 && (listen(fd, options->backlog) != 0 || rename(aside, spec->path) != 0))
        rc = -ERR_SYSTEM;
    if (rc != 0) {
        int saved = errno;
        unlink(aside);
        close(fd);
        errno = saved;
    } else {
        *fd_out = fd;
    }
    close_quietly(dir_fd);
    return rc;
}

static int resolve(const struct sock_spec *spec, int flags, struct addrinfo **out)
{
    char port[8];
    snprintf(port, sizeof(port), "%u", spec->port);
    const struct addrinfo hints = {
        .ai_family = spec->kind == SOCK_KIND_INET ? AF_INET : AF_INET6,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_NUMERICSERV | flags,
    };
    return getaddrinfo(spec->host[0] != '\0' ? spec->host : NULL, port, &hints, out) == 0
               ? 0
               : -ERR_BAD;
}

/* inet6: means IPv6 alone, so that inet: and inet6: can have the same port. */
static int bind_inet(int fd, const struct addrinfo *address, int backlog)
{
    if (set_flag(fd, SOL_SOCKET, SO_REUSEADDR) != 0 || set_flag(fd, IPPROTO_TCP, TCP_NODELAY) != 0)
        return -ERR_SYSTEM;
    if (address->ai_family == AF_INET6 && set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY) != 0)
        return -ERR_SYSTEM;
    if (bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, backlog) == 0)
        return 0;
    return errno == EADDRINUSE ? -ERR_IN_USE : errno == EACCES ? -ERR_DENIED : -ERR_SYSTEM;
}

static int listen_inet(
    const struct sock_spec *spec, const struct sock_listen_options *options, int *fd_out)
{
    struct addrinfo *addresses;
    int rc = resolve(spec, AI_PASSIVE, &addresses);
    if (rc != 0)
        return rc;
    int fd = socket(addresses->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    rc = fd < 0 ? -ERR_SYSTEM : bind_inet(fd, addresses, options->backlog);
    freeaddrinfo(addresses);
    if (rc == 0)
        *fd_out = fd;
    else if (fd >= 0)
        close_quietly(fd);
    return rc;
}

/* A socket that somebody else made and gave us. */
static int listen_fd(const struct sock_spec *spec, int *fd_out)
{
    int is_listening = 0;
    socklen_t len = sizeof(is_listening);
    if (getsockopt(spec->fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &len) != 0)
        return -ERR_SYSTEM;
    if (is_listening == 0)
        return -ERR_BAD;
    if (fcntl(spec->fd, F_SETFD, FD_CLOEXEC) != 0 || sock_set_nonblocking(spec->fd, false) != 0)
        return -ERR_SYSTEM;
    set_flag(spec->fd, IPPROTO_TCP, TCP_NODELAY); /* a UNIX socket refuses, and does not need it */
    *fd_out = spec->fd;
    return 0;
}

int sock_listen(
    const struct sock_spec *spec, const struct sock_listen_options *options, int *fd_out)
{
    switch (spec->kind) {
    case SOCK_KIND_UNIX:
        return listen_unix(spec, options, fd_out);
    case SOCK_KIND_INET:
    case SOCK_KIND_INET6:
        return listen_inet(spec, options, fd_out);
    case SOCK_KIND_FD:
        return listen_fd(spec, fd_out);
    }
    return -ERR_BAD;
}

static int ms_until(int64_t deadline_ms)
{
    int64_t left = deadline_ms - clock_now_ms();
    return left <= 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
}

/* The kernel goes on with the connection: waits for its end. */
static int await_connected(int fd, int64_t deadline_ms)
{
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    int n;
    do {
        n = poll(&writable, 1, ms_until(deadline_ms));
    } while (n < 0 && errno == EINTR);
    if (n == 0)
        return -ERR_TIMEOUT;
    int error = 0;
    socklen_t len = sizeof(error);
    if (n < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        return -ERR_SYSTEM;
    errno = error;
    return error == 0 ? 0 : -ERR_SYSTEM;
}

/* A UNIX socket with a full backlog says EAGAIN and offers nothing to wait on: ask again every few
 * milliseconds. */
static int connect_until(int fd, const struct sockaddr *address, socklen_t len, int64_t deadline_ms)
{
    enum { BACKLOG_PAUSE_MS = 5 };
    while (connect(fd, address, len) != 0) {
        if (errno == EINPROGRESS || errno == EINTR)
            return await_connected(fd, deadline_ms);
        if (errno == EISCONN)
            return 0;
        if (errno != EAGAIN)
            return -ERR_SYSTEM;
        int left = ms_until(deadline_ms);
        if (left == 0)
            return -ERR_TIMEOUT;
        poll(NULL, 0, left < BACKLOG_PAUSE_MS ? left : BACKLOG_PAUSE_MS);
    }
    return 0;
}

static int connect_address(
    int type, const struct sockaddr *address, socklen_t len, int64_t deadline_ms, int *fd_out)
{
    int fd = socket(address->sa_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -ERR_SYSTEM;
    int rc = connect_until(fd, address, len, deadline_ms);
    if (rc == 0)
        rc = sock_set_nonblocking(fd, false);
    if (rc == 0 && address->sa_family != AF_UNIX)
        rc = set_flag(fd, IPPROTO_TCP, TCP_NODELAY);
    if (rc == 0)
        *fd_out = fd;
    else
        close_quietly(fd);
    return rc;
}

static int connect_inet(const struct sock_spec *spec, int64_t deadline_ms, int *fd_out)
{
    struct addrinfo *addresses;
    if (resolve(spec, 0, &addresses) != 0) {
        errno = EADDRNOTAVAIL;
        return -ERR_SYSTEM;
    }
    int rc = -ERR_SYSTEM;
    for (const struct addrinfo *a = addresses; a != NULL && rc != 0; a = a->ai_next)
        rc = connect_address(SOCK_STREAM, a->ai_addr, a->ai_addrlen, deadline_ms, fd_out);
    int saved = errno;
    freeaddrinfo(addresses);
    errno = saved;
    return rc;
}

int sock_connect(const struct sock_spec *spec, int type, int timeout_ms, int *fd_out)
{
    int64_t deadline_ms = clock_now_ms() + timeout_ms;
    struct sockaddr_un address;
    int rc;
    switch (spec->kind) {
    case SOCK_KIND_UNIX:
        rc = unix_address(spec->path, &address);
        if (rc != 0)
            return rc;
        return connect_address(
            type, (const struct sockaddr *)&address, sizeof(address), deadline_ms, fd_out);
    case SOCK_KIND_INET:
    case SOCK_KIND_INET6:
        return connect_inet(spec, deadline_ms, fd_out);
    case SOCK_KIND_FD:
        break;
    }
    errno = EINVAL;
    return -ERR_SYSTEM;
}
