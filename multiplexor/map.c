/* Netstrings in, requests to the pool, netstrings out. */
#include "multiplexor/map.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/sock.h"
#include "common/xalloc.h"
#include "multiplexor/client.h"
#include "multiplexor/loop.h"
#include "multiplexor/mux.h"

enum {
    IDLE_SECS = 600, /* mail servers keep their connections */
    WRITE_SECS = 30,
    OUTPUT_MAX = 1 << 20,
    DIGITS_MAX = 5, /* of the length */
    NAME_MAX_BYTES = 512,
};

struct map_connection {
    TAILQ_ENTRY(map_connection) entry;
    struct mux *mux;
    struct bufferevent *stream;
    struct client *asker; /* asks for us */
    bool is_asking;
    bool is_ending; /* the peer has said all */
};

static void connection_free(struct map_connection *connection)
{
    struct maps *maps = &connection->mux->maps;
    client_close_local(connection->asker);
    TAILQ_REMOVE(&maps->list, connection, entry);
    maps->n--;
    bufferevent_free(connection->stream);
    free(connection);
}

static void put_netstring(struct map_connection *connection, struct slice text)
{
    struct evbuffer *out = bufferevent_get_output(connection->stream);
    evbuffer_add_printf(out, "%zu:", text.len);
    evbuffer_add(out, text.data, text.len);
    evbuffer_add(out, ",", 1);
}

/* The worker's answer stands in the reply's text. */
static void on_answer(const struct wire_reply *reply, void *context)
{
    struct map_connection *connection = context;
    struct slice text = reply->text;
    if (reply->outcome != OUTCOME_OK)
        text = slice_text("TEMP the look-up failed");
    else if (text.len == 0)
        text = slice_text("PERM the filter defines no filter_map");
    connection->is_asking = false;
    put_netstring(connection, text);
    /* What else has come is looked at from the loop: this may run inside of it. */
    bufferevent_trigger(
        connection->stream, EV_READ, BEV_TRIG_IGNORE_WATERMARKS | BEV_TRIG_DEFER_CALLBACKS);
}

/* Takes "LENGTH:bytes," off the front. 1 and the bytes (malloc'd, a NUL behind them); 0: not all of
 * it has come; -1: it is none. */
static int take_netstring(struct evbuffer *in, char **text_out, size_t *len_out)
{
    char head[DIGITS_MAX + 2] = "";
    ssize_t got = evbuffer_copyout(in, head, sizeof(head) - 1);
    size_t n_digits = strspn(head, "0123456789");
    if (got <= 0 || (n_digits == (size_t)got && n_digits <= DIGITS_MAX))
        return got <= 0 || n_digits > 0 ? 0 : -1;
    size_t len = strtoul(head, NULL, 10);
    if (n_digits == 0 || n_digits > DIGITS_MAX || head[n_digits] != ':' || len > MAP_REQUEST_MAX)
        return -1;
    if (evbuffer_get_length(in) < n_digits + 1 + len + 1)
        return 0;
    evbuffer_drain(in, n_digits + 1);
    char *text = xmalloc(len + 2);
    evbuffer_remove(in, text, len + 1);
    bool is_ended = text[len] == ',';
    text[len] = '\0';
    *text_out = text;
    *len_out = len;
    if (!is_ended)
        free(text);
    return is_ended ? 1 : -1;
}

/* False: this is no look-up. */
static bool ask(struct map_connection *connection, const char *text, size_t len)
{
    const char *blank = memchr(text, ' ', len);
    if (blank == NULL || blank == text || blank - text > NAME_MAX_BYTES ||
        memchr(text, '\0', len) != NULL)
        return false;
    size_t name_len = (size_t)(blank - text);
    struct wire_request request = {
        .budget_ms = (uint32_t)connection->mux->conf->multiplexor.map_time,
        .attempt = 1,
        .hook = HOOK_MAP,
        .negotiated_sees = STAGES_ALL,
        .negotiated_answers = STAGES_ALL,
        .conn_id = slice_text("map"),
        .name = slice_of(text, name_len),
        .argument = slice_of(blank + 1, len - name_len - 1),
    };
    connection->is_asking = true;
    if (client_ask_local(connection->asker, &request, -1, false) != 0) {
        connection->is_asking = false;
        put_netstring(connection, slice_text("TEMP the look-up cannot be made"));
    }
    return true;
}

/* Asks what has come, one after another. The connection may be gone afterwards. */
static void on_read(struct bufferevent *stream, void *context)
{
    struct map_connection *connection = context;
    struct evbuffer *in = bufferevent_get_input(stream);
    struct evbuffer *out = bufferevent_get_output(stream);
    while (!connection->is_asking) {
        char *text;
        size_t len;
        int got = take_netstring(in, &text, &len);
        bool is_fine = got >= 0 && evbuffer_get_length(out) < OUTPUT_MAX;
        if (got == 1) {
            is_fine = is_fine && ask(connection, text, len);
            free(text);
        }
        if (!is_fine) {
            log_warn("map socket: a peer that does not speak socketmap is dropped");
            connection_free(connection);
            return;
        }
        if (got == 0)
            break;
    }
    if (connection->is_ending && !connection->is_asking && evbuffer_get_length(out) == 0)
        connection_free(connection);
}

static void on_written(struct bufferevent *stream, void *context)
{
    struct map_connection *connection = context;
    (void)stream;
    if (connection->is_ending && !connection->is_asking)
        connection_free(connection);
}

static void on_event(struct bufferevent *stream, short what, void *context)
{
    struct map_connection *connection = context;
    bool is_busy = connection->is_asking || evbuffer_get_length(bufferevent_get_output(stream)) > 0;
    if ((what & BEV_EVENT_EOF) != 0 && is_busy) {
        connection->is_ending = true; /* its answer is still due */
        bufferevent_disable(stream, EV_READ);
    } else if ((what & BEV_EVENT_TIMEOUT) != 0 && (what & BEV_EVENT_READING) != 0 && is_busy) {
        bufferevent_enable(stream, EV_READ);
    } else {
        connection_free(connection);
    }
}

static void take(struct mux *mux, int fd)
{
    static const struct timeval idle = {.tv_sec = IDLE_SECS}, slow = {.tv_sec = WRITE_SECS};
    struct bufferevent *stream = NULL;
    if (mux->maps.n >= (unsigned)mux->conf->multiplexor.map_connections)
        log_warn("map socket: too many connections: one more is refused");
    else
        stream = bufferevent_socket_new(mux->base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (stream == NULL) {
        close(fd);
        return;
    }
    struct map_connection *connection = xcalloc(1, sizeof(*connection));
    *connection = (struct map_connection){.mux = mux, .stream = stream};
    connection->asker = client_open_local(mux, on_answer, connection);
    TAILQ_INSERT_TAIL(&mux->maps.list, connection, entry);
    mux->maps.n++;
    bufferevent_setcb(stream, on_read, on_written, on_event, connection);
    bufferevent_setwatermark(stream, EV_READ, 0, MAP_REQUEST_MAX + DIGITS_MAX + 2);
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

void maps_open(struct mux *mux, int fd)
{
    struct maps *maps = &mux->maps;
    *maps = (struct maps){.fd = fd};
    TAILQ_INIT(&maps->list);
    if (fd < 0)
        return;
    event_assign(&maps->acceptable, mux->base, fd, EV_READ | EV_PERSIST, on_acceptable, mux);
    loop_listen(&maps->acceptable, fd);
}

void maps_stop_listening(struct mux *mux)
{
    struct maps *maps = &mux->maps;
    if (maps->fd < 0)
        return;
    event_del(&maps->acceptable);
    close(maps->fd);
    maps->fd = -1;
}

void maps_close(struct mux *mux)
{
    struct map_connection *connection;
    maps_stop_listening(mux);
    while ((connection = TAILQ_FIRST(&mux->maps.list)) != NULL)
        connection_free(connection);
}
