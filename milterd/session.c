#include "milterd/session.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/xalloc.h"
#include "milterd/callbacks.h"
#include "milterd/frame.h"
#include "milterd/front.h"
#include "milterd/stream.h"
#include "milterd/thread.h"

/* libmilter's own, exported but in no header. */
int mi_engine(SMFICTX *ctx);
void mi_clr_ctx(SMFICTX *ctx);
/* Ours instead of its: it calls them through the linker's table. */
int mi_pool_controller_init(void);
int mi_start_session(SMFICTX *ctx);
char *mi_rd_cmd(int fd, struct timeval *timeout, char *command, size_t *len, char *name);
int mi_wr_cmd(int fd, struct timeval *timeout, int command, char *data, size_t len);

/* A context starts with its thread's id and its descriptor. The self-test says whether that is so.
 */
#ifndef SESSION_FD_OFFSET
#define SESSION_FD_OFFSET sizeof(pthread_t)
#endif

enum { COMMAND_UNREADABLE = 6, COMMAND_FIRST = ' ' }; /* what mi_rd_cmd says instead of a command */
enum { COMMAND_BYTES_MIN = 65535, COMMAND_NAME_BYTES = 1024 };
enum { ENGINE_GOES_ON = 1 }; /* mi_engine: the session has not ended */
enum { SESSION_TOKEN_BYTES = 16, SESSION_COMPLAIN_MS = 10000, SESSION_REST_MS = 100 };

enum session_mode { SESSION_UNTESTED = 0, SESSION_OURS, SESSION_POOL };

/* One listener in a process, and entry points without a context: hence one object of the file. */
static struct {
    struct session_options options;
    enum session_mode mode; /* set by the listener's thread before any session starts */
    int number;             /* the descriptor that libmilter listens on */
    int real_fd;            /* until it gets that number */
    int family;
    int test_fd; /* our end of the self-test */
    char token[SESSION_TOKEN_BYTES];
    void *read_command;  /* libmilter's own mi_rd_cmd */
    void *write_command; /* and mi_wr_cmd */
    atomic_int n_sessions;
    atomic_int n_busy;
    atomic_int_fast64_t complained_ms;
} session;

/* Of the connection whose thread this is; NULL on libmilter's own threads. */
static _Thread_local struct stream *own_stream;
static _Thread_local bool own_is_called; /* its engine was entered because there is something */

/* Bytes of a command's data: a whole header field, or a piece of the body. */
static size_t command_max(const struct conf *conf)
{
    size_t field = (size_t)conf->milterd.max_header_bytes + COMMAND_NAME_BYTES;

    return field > COMMAND_BYTES_MIN ? field : COMMAND_BYTES_MIN;
}

static int read_fd(SMFICTX *ctx)
{
    int fd;

    memcpy(&fd, (const char *)ctx + SESSION_FD_OFFSET, sizeof fd);
    return fd;
}

int session_fd(SMFICTX *ctx)
{
    return session.mode == SESSION_OURS ? read_fd(ctx) : -1;
}

bool session_is_ours(void)
{
    return session.mode == SESSION_OURS;
}

int session_busy_count(void)
{
    return atomic_load(&session.n_busy);
}

/* A private listener of the same family as the real one, which only this process knows. */
static int listen_privately(int family, bool is_blocking)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
    } address = {.any = {.sa_family = (sa_family_t)family}};
    socklen_t len = sizeof(sa_family_t); /* UNIX: the kernel chooses an abstract name */
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | (is_blocking ? 0 : SOCK_NONBLOCK), 0);

    if (family == AF_INET) {
        address.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        len = sizeof address.v4;
    } else if (family == AF_INET6) {
        address.v6.sin6_addr = in6addr_loopback;
        len = sizeof address.v6;
    }
    if (fd >= 0 && (bind(fd, &address.any, len) != 0 || listen(fd, 1) != 0)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static int connect_to(int listener, int family)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && (getsockname(listener, (struct sockaddr *)&address, &len) != 0 ||
                       connect(fd, (struct sockaddr *)&address, len) != 0)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* The self-test's session waits in the backlog until libmilter's loop runs. */
static int begin_test(void)
{
    session.number = listen_privately(session.family, true);
    if (session.number < 0)
        return -ERR_SYSTEM;
    session.test_fd = connect_to(session.number, session.family);
    if (session.test_fd < 0)
        return -ERR_SYSTEM;
    if (getrandom(session.token, sizeof session.token, 0) != sizeof session.token ||
        send(session.test_fd, session.token, sizeof session.token, MSG_NOSIGNAL) !=
            sizeof session.token)
        return -ERR_SYSTEM;
    return 0;
}

int session_prepare(const struct session_options *options)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    char conn[32];
    int rc;

    session.options = *options;
    (void)smfi_setmaxdatasize(command_max(options->front->conf));
    session.real_fd = options->listen_fd;
    session.read_command = dlsym(RTLD_NEXT, "mi_rd_cmd");
    session.write_command = dlsym(RTLD_NEXT, "mi_wr_cmd");
    if (getsockname(session.real_fd, (struct sockaddr *)&address, &len) != 0)
        return -ERR_SYSTEM;
    session.family = address.ss_family;
    rc = begin_test();
    if (rc != 0)
        return rc;
    snprintf(conn, sizeof conn, "fd:%d", session.number);
    return smfi_setconn(conn) == MI_SUCCESS ? 0 : -ERR_SYSTEM;
}

static bool passes_test(SMFICTX *ctx)
{
    char got[SESSION_TOKEN_BYTES + 1];
    ssize_t n = recv(read_fd(ctx), got, sizeof got, MSG_PEEK | MSG_DONTWAIT);

    return n == SESSION_TOKEN_BYTES && memcmp(got, session.token, SESSION_TOKEN_BYTES) == 0;
}

/* From here on MTAs are accepted. Runs on libmilter's own thread, between two turns of its loop, so
 * that it never polls the old socket again. */
static void open_for_business(void)
{
    int flags = fcntl(session.real_fd, F_GETFL);

    /* A client that is gone again before accept must not block the loop. */
    if (flags < 0 || fcntl(session.real_fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        dup3(session.real_fd, session.number, O_CLOEXEC) < 0)
        log_fatal(
            EXIT_CODE_SYSTEM, "the listening socket cannot be put in place: %s", strerror(errno));
    close(session.real_fd);
    close(session.test_fd);
    session.options.on_ready(session.options.context);
}

static bool is_loopback_listener(void)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;

    if (session.family == AF_UNIX)
        return true;
    if (getsockname(session.real_fd, (struct sockaddr *)&address, &len) != 0)
        return false;
    if (session.family == AF_INET)
        return ntohl(((struct sockaddr_in *)&address)->sin_addr.s_addr) >> 24 == 127;
    return IN6_IS_ADDR_LOOPBACK(&((struct sockaddr_in6 *)&address)->sin6_addr);
}

/* libmilter's own entry points, behind ours. */
static int call_pool(const char *name, SMFICTX *ctx)
{
    void *symbol = dlsym(RTLD_NEXT, name);
    int (*init)(void);
    int (*start)(SMFICTX *);

    if (symbol == NULL)
        return MI_FAILURE;
    if (ctx == NULL) {
        memcpy(&init, &symbol, sizeof init);
        return init();
    }
    memcpy(&start, &symbol, sizeof start);
    return start(ctx);
}

static int fall_back(SMFICTX *ctx)
{
    if (!is_loopback_listener())
        log_fatal(EXIT_CODE_SYSTEM,
            "this libmilter keeps its descriptors elsewhere, so that `allow` cannot be checked");
    log_warn("this libmilter is not the one we know: its own thread pool serves, and a slow filter "
             "stalls other connections");
    session.mode = SESSION_POOL;
    if (call_pool("mi_pool_controller_init", NULL) != MI_SUCCESS)
        log_fatal(EXIT_CODE_SYSTEM, "libmilter's thread pool does not start");
    open_for_business();
    return call_pool("mi_start_session", ctx);
}

static int finish_test(SMFICTX *ctx)
{
    if (!passes_test(ctx))
        return fall_back(ctx);
    session.mode = SESSION_OURS;
    open_for_business();
    mi_clr_ctx(ctx);
    return MI_SUCCESS;
}

int mi_pool_controller_init(void)
{
    return MI_SUCCESS;
}

/* libmilter's signal thread gets no signals: stopping is ours (stop.h), and its way of stopping
 * waits for nobody. */
int sigwait(const sigset_t *restrict set, int *restrict sig)
{
    (void)set;
    (void)sig;
    for (;;)
        pause();
}

/* At most one line in ten seconds: who is turned away may knock often. */
static bool may_complain(void)
{
    int64_t now = clock_now_ms();

    if (now < atomic_load(&session.complained_ms))
        return false;
    atomic_store(&session.complained_ms, now + SESSION_COMPLAIN_MS);
    return true;
}

static int to_ms(const struct timeval *timeout)
{
    int64_t ms = (int64_t)timeout->tv_sec * 1000 + timeout->tv_usec / 1000;

    return ms < INT32_MAX ? (int)ms : INT32_MAX;
}

/*
 * Reads the next command, for libmilter's engine; what that would stumble over ends the session as
 * an unreadable command does.
 */
char *mi_rd_cmd(int fd, struct timeval *timeout, char *command, size_t *len, char *name)
{
    char *(*read_command)(int, struct timeval *, char *, size_t *, char *);
    char *data;

    if (own_stream != NULL) {
        data = stream_read(own_stream, to_ms(timeout), command, len);
    } else {
        LOG_INVARIANT(session.read_command != NULL);
        memcpy(&read_command, &session.read_command, sizeof read_command);
        data = read_command(fd, timeout, command, len, name);
    }
    if (*command < COMMAND_FIRST || frame_is_sound(*command, data, *len))
        return data;
    log_warn(
        "an MTA's command 0x%02x is malformed; its connection is closed", (unsigned char)*command);
    free(data);
    *command = COMMAND_UNREADABLE;
    return NULL;
}

/* Sends a reply or an action, for libmilter. */
int mi_wr_cmd(int fd, struct timeval *timeout, int command, char *data, size_t len)
{
    int (*write_command)(int, struct timeval *, int, char *, size_t);

    if (own_stream != NULL)
        return stream_write(own_stream, to_ms(timeout), (char)command, data, len) == 0 ? MI_SUCCESS
                                                                                       : MI_FAILURE;
    LOG_INVARIANT(session.write_command != NULL);
    memcpy(&write_command, &session.write_command, sizeof write_command);
    return write_command(fd, timeout, command, data, len);
}

/* By another name here, since headers say that poll only writes what it is given. */
int session_poll(struct pollfd *fds, nfds_t n_fds, int timeout_ms) __asm__("poll");

/*
 * libmilter's engine waits for a moment for another command, and comes back to run_session when
 * there is none. Its session's thread knows without asking.
 */
int session_poll(struct pollfd *fds, nfds_t n_fds, int timeout_ms)
{
    const struct timespec timeout = {
        .tv_sec = timeout_ms / 1000, .tv_nsec = timeout_ms % 1000 * 1000000L};

    if (own_stream != NULL && n_fds == 1 && fds->fd == own_stream->fd && fds->events == POLLIN) {
        bool is_ready = own_is_called || stream_has_input(own_stream);

        own_is_called = false;
        fds->revents = is_ready ? POLLIN : 0;
        return is_ready;
    }
    return ppoll(fds, n_fds, timeout_ms < 0 ? NULL : &timeout, NULL);
}

/* By another name here, since headers declare its address as a transparent union. */
int session_accept(int fd, struct sockaddr *address, socklen_t *len) __asm__("accept");

/*
 * libmilter's listener asks again at once when there is no descriptor or memory left, and the
 * connection stays in the backlog: it would try for as long as that lasts. It rests here instead.
 */
int session_accept(int fd, struct sockaddr *address, socklen_t *len)
{
    const struct timespec rest = {.tv_nsec = SESSION_REST_MS * 1000000L};
    int accepted = accept4(fd, address, len, SOCK_CLOEXEC), error = errno;

    if (accepted < 0 &&
        (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM)) {
        if (may_complain())
            log_warn("cannot accept: %s", strerror(error));
        nanosleep(&rest, NULL);
        errno = error;
    }
    return accepted;
}

/* Waits for the next command. False: the connection said nothing for too long. */
static bool await_command(int fd)
{
    if (stream_has_input(own_stream))
        return true;
    int64_t until = clock_now_ms() + session.options.front->conf->milterd.idle_time;

    for (int64_t left; (left = until - clock_now_ms()) > 0;) {
        struct pollfd pfd = {.fd = fd, .events = POLLIN};
        const struct timespec timeout = {.tv_sec = left / 1000, .tv_nsec = left % 1000 * 1000000L};

        if (ppoll(&pfd, 1, &timeout, NULL) > 0)
            return true;
    }
    return false;
}

static void *run_session(void *context)
{
    SMFICTX *ctx = context;
    int fd = read_fd(ctx), result;
    struct stream *stream = xmalloc(sizeof *stream);

    stream_init(stream, fd, command_max(session.options.front->conf));
    own_stream = stream;
    do {
        /* libmilter then reads the end of the file and does what it does when an MTA leaves. */
        if (!await_command(fd))
            shutdown(fd, SHUT_RD);
        atomic_fetch_add(&session.n_busy, 1);
        own_is_called = true;
        result = mi_engine(ctx);
        atomic_fetch_sub(&session.n_busy, 1);
    } while (result == ENGINE_GOES_ON);
    callbacks_forget(ctx);
    mi_clr_ctx(ctx);
    own_stream = NULL;
    free(stream);
    atomic_fetch_sub(&session.n_sessions, 1);
    return NULL;
}

static bool is_allowed(int fd, char *ip, size_t ip_bytes)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof peer;
    const int on = 1;

    if (session.family == AF_UNIX)
        return true;
    if (getpeername(fd, (struct sockaddr *)&peer, &len) != 0)
        return false;
    if (peer.ss_family == AF_INET)
        inet_ntop(AF_INET, &((struct sockaddr_in *)&peer)->sin_addr, ip, (socklen_t)ip_bytes);
    else
        inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&peer)->sin6_addr, ip, (socklen_t)ip_bytes);
    /* Without it, each mail that gets a header waits 43 ms for a delayed acknowledgement. A socket
     * that was handed to us may lack it. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return network_list_has(session.options.allow, ip);
}

static void complain(const char *why, const char *ip)
{
    if (may_complain())
        log_warn("connection%s%s turned away: %s", ip[0] != '\0' ? " from " : "", ip, why);
}

static const char *find_objection(SMFICTX *ctx, char *ip, size_t ip_bytes)
{
    struct front *front = session.options.front;

    if (atomic_load(&front->is_draining))
        return "stopping";
    if (!is_allowed(read_fd(ctx), ip, ip_bytes))
        return "not in milterd.allow";
    if (atomic_load(&session.n_sessions) >= front->max_connections)
        return "milterd.max_connections reached";
    atomic_fetch_add(&session.n_sessions, 1);
    if (thread_spawn(run_session, ctx, (size_t)front->conf->milterd.thread_stack) == 0)
        return NULL;
    atomic_fetch_sub(&session.n_sessions, 1);
    return "no thread can be started";
}

/*
 * Called by libmilter's loop for each accepted connection. A failure returned from here would make
 * the loop sleep, so a connection that is not wanted is closed here, which every MTA takes as a
 * filter that is away.
 */
int mi_start_session(SMFICTX *ctx)
{
    struct front_counters *counters = &session.options.front->counters;
    char ip[INET6_ADDRSTRLEN] = "";
    const char *why;

    if (session.mode == SESSION_UNTESTED)
        return finish_test(ctx);
    if (session.mode == SESSION_POOL)
        return call_pool("mi_start_session", ctx);
    atomic_fetch_add(&counters->connections, 1);
    why = find_objection(ctx, ip, sizeof ip);
    if (why == NULL)
        return MI_SUCCESS;
    atomic_fetch_add(&counters->turned_away, 1);
    complain(why, ip);
    mi_clr_ctx(ctx);
    return MI_SUCCESS;
}

void session_stop_accepting(bool is_shared)
{
    int real = dup(session.number);
    int rest = listen_privately(AF_UNIX, false);

    /* No poll is interrupted by dup3: the shutdown wakes the loop; the accept that follows finds
     * the new socket empty. */
    if (rest >= 0 && dup3(rest, session.number, O_CLOEXEC) >= 0 && real >= 0 && !is_shared)
        shutdown(real, SHUT_RDWR);
    if (real >= 0)
        close(real);
    if (rest >= 0)
        close(rest);
}
