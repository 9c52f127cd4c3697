/* Connections of the control socket: who may, lines in, answers out. */
#include "multiplexor/ctl.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/sock.h"
#include "common/xalloc.h"
#include "multiplexor/ctl_command.h"
#include "multiplexor/kin.h"
#include "multiplexor/loop.h"
#include "multiplexor/mux.h"

enum {
    OUTPUT_MAX = 8 << 20, /* of answers that the peer does not read */
    GROUPS_MAX = 256,
    IDLE_SECS = 600,
    WRITE_SECS = 30,
};

/* An answer comes later: what else it asks waits. */
static bool is_waiting(const struct ctl_connection *connection)
{
    return connection->waiter.list != NULL ||
           profile_is_awaited(connection->mux, &connection->profile);
}

static void connection_free(struct ctl_connection *connection)
{
    struct ctl *ctl = &connection->mux->ctl;
    reload_forget(&connection->waiter);
    profile_forget(connection->mux, &connection->profile);
    TAILQ_REMOVE(&ctl->list, connection, entry);
    ctl->n--;
    bufferevent_free(connection->stream);
    free(connection);
}

/* Writes the answer's line; the reference is ours. */
static void write_answer(struct ctl_connection *connection, json_t *answer)
{
    char *text = json_dumps(answer, JSON_COMPACT);
    json_decref(answer);
    if (text != NULL) {
        bufferevent_write(connection->stream, text, strlen(text));
        bufferevent_write(connection->stream, "\n", 1);
    }
    free(text);
}

/* Nothing more is read; freed by on_written. */
static void close_after_writing(struct ctl_connection *connection)
{
    connection->is_closing = true;
    bufferevent_disable(connection->stream, EV_READ);
}

/* Answers the lines that have come. The connection may be gone afterwards. */
static void answer_lines(struct ctl_connection *connection)
{
    struct evbuffer *in = bufferevent_get_input(connection->stream);
    struct evbuffer *out = bufferevent_get_output(connection->stream);
    size_t len;
    char *line;
    while (!connection->is_closing && !is_waiting(connection) &&
           (line = evbuffer_readln(in, &len, EVBUFFER_EOL_LF)) != NULL) {
        bool is_last = false;
        json_t *answer = len <= CTL_LINE_MAX ? ctl_run(connection->mux, slice_of(line, len),
                                                   connection->access, connection, &is_last)
                                             : ctl_error_answer("the line is too long");
        free(line);
        if (answer != NULL)
            write_answer(connection, answer);
        if (is_last || len > CTL_LINE_MAX)
            close_after_writing(connection);
        if (evbuffer_get_length(out) > OUTPUT_MAX) {
            connection_free(connection);
            return;
        }
    }
    if (!connection->is_closing && !is_waiting(connection) &&
        evbuffer_get_length(in) > CTL_LINE_MAX) {
        write_answer(connection, ctl_error_answer("the line is too long"));
        close_after_writing(connection);
    }
}

/* What else was asked meanwhile is looked at from the loop: this may run inside answer_lines. */
static void look_again(struct ctl_connection *connection)
{
    bufferevent_trigger(
        connection->stream, EV_READ, BEV_TRIG_IGNORE_WATERMARKS | BEV_TRIG_DEFER_CALLBACKS);
}

static void on_profiled(struct profile_waiter *waiter, json_t *data)
{
    struct ctl_connection *connection =
        (struct ctl_connection *)(void *)((char *)waiter -
                                          offsetof(struct ctl_connection, profile));
    write_answer(connection, ctl_data_answer(data));
    look_again(connection);
}

/* The one that was loaded: it is tried, or in service. NULL: neither any more. */
static const struct generation *find_reloaded(const struct mux *mux, uint32_t number)
{
    const struct generation *found[] = {mux->canary.candidate, mux->current};
    for (size_t i = 0; i < sizeof(found) / sizeof(found[0]); i++) {
        if (found[i] != NULL && found[i]->number == number)
            return found[i];
    }
    return NULL;
}

static void on_reloaded(struct reload_waiter *waiter, uint32_t generation, const char *error)
{
    struct ctl_connection *connection =
        (struct ctl_connection *)(void *)((char *)waiter - offsetof(struct ctl_connection, waiter));
    const struct canary *canary = &connection->mux->canary;
    const struct generation *loaded = find_reloaded(connection->mux, generation);
    json_t *data = json_pack("{s:I}", "generation", (json_int_t)generation);
    if (loaded != NULL && loaded == canary->candidate)
        json_object_set_new(data, "canary", json_integer(canary->share));
    if (loaded != NULL && loaded->warning != NULL)
        json_object_set_new(data, "warning", json_string(loaded->warning));
    write_answer(
        connection, error != NULL ? ctl_error_answer(error) : ctl_data_answer(json_incref(data)));
    json_decref(data);
    look_again(connection);
}

static void on_read(struct bufferevent *stream, void *context)
{
    (void)stream;
    answer_lines(context);
}

static void on_written(struct bufferevent *stream, void *context)
{
    struct ctl_connection *connection = context;
    if (connection->is_closing && !is_waiting(connection) &&
        evbuffer_get_length(bufferevent_get_output(stream)) == 0)
        connection_free(connection);
}

static void on_event(struct bufferevent *stream, short what, void *context)
{
    struct ctl_connection *connection = context;
    bool has_profile = profile_is_awaited(connection->mux, &connection->profile);
    bool has_output = evbuffer_get_length(bufferevent_get_output(stream)) > 0;
    bool is_reading = (what & BEV_EVENT_READING) != 0;
    if (is_reading && (what & BEV_EVENT_EOF) != 0 && !has_profile &&
        (is_waiting(connection) || has_output))
        close_after_writing(connection); /* it has said all; the answers are still due */
    else if (is_reading && (what & BEV_EVENT_TIMEOUT) != 0 && is_waiting(connection))
        bufferevent_enable(stream, EV_READ); /* a long reload is no reason to hang up */
    else
        connection_free(connection);
}

/* Whether one of the peer's groups is gid. */
static bool peer_has_group(int fd, gid_t gid)
{
    gid_t groups[GROUPS_MAX];
    socklen_t bytes = sizeof(groups);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &bytes) != 0)
        return false;
    for (size_t i = 0; i < bytes / sizeof(gid_t); i++)
        if (groups[i] == gid)
            return true;
    return false;
}

static enum ctl_access access_of(const struct ctl *ctl, int fd)
{
    uid_t uid;
    gid_t gid;
    pid_t pid;
    if (kin_is_peer(fd))
        return CTL_NONE;
    if (sock_peer_is_trusted(fd))
        return CTL_CHANGE;
    if (ctl->group == (gid_t)-1 || sock_peer(fd, &uid, &gid, &pid) != 0)
        return CTL_NONE;
    return gid == ctl->group || peer_has_group(fd, ctl->group) ? CTL_LOOK : CTL_NONE;
}

static void take(struct mux *mux, int fd)
{
    static const struct timeval idle = {.tv_sec = IDLE_SECS}, slow = {.tv_sec = WRITE_SECS};
    enum ctl_access access = access_of(&mux->ctl, fd);
    struct bufferevent *stream = NULL;
    if (access == CTL_NONE)
        log_warn("control socket: a connection of another user is refused, or of a worker");
    else if (mux->ctl.n >= CTL_CONNECTIONS_MAX)
        log_warn("control socket: too many connections: one more is refused");
    else
        stream = bufferevent_socket_new(mux->base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (stream == NULL) {
        close(fd);
        return;
    }
    struct ctl_connection *connection = xcalloc(1, sizeof(*connection));
    *connection = (struct ctl_connection){.mux = mux, .stream = stream, .access = access};
    connection->waiter.done = on_reloaded;
    connection->profile.done = on_profiled;
    TAILQ_INSERT_TAIL(&mux->ctl.list, connection, entry);
    mux->ctl.n++;
    bufferevent_setcb(stream, on_read, on_written, on_event, connection);
    bufferevent_setwatermark(stream, EV_READ, 0, CTL_LINE_MAX + 1);
    bufferevent_set_timeouts(stream, &idle, &slow);
    bufferevent_enable(stream, EV_READ | EV_WRITE);
}

static void on_acceptable(evutil_socket_t listener, short what, void *context)
{
    (void)what;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0)
        take(context, fd);
}

void ctl_open(struct mux *mux, int fd, gid_t group)
{
    struct ctl *ctl = &mux->ctl;
    *ctl = (struct ctl){.fd = fd, .group = group};
    TAILQ_INIT(&ctl->list);
    if (fd < 0)
        return;
    event_assign(&ctl->acceptable, mux->base, fd, EV_READ | EV_PERSIST, on_acceptable, mux);
    loop_listen(&ctl->acceptable, fd);
}

void ctl_stop_listening(struct mux *mux)
{
    struct ctl *ctl = &mux->ctl;
    if (ctl->fd < 0)
        return;
    event_del(&ctl->acceptable);
    close(ctl->fd);
    ctl->fd = -1;
}

void ctl_close(struct mux *mux)
{
    struct ctl_connection *connection;
    ctl_stop_listening(mux);
    while ((connection = TAILQ_FIRST(&mux->ctl.list)) != NULL)
        connection_free(connection);
}
