/* A connection: read until the empty line, answer, close. */
#include "multiplexor/http.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "common/sock.h"
#include "common/xalloc.h"
#include "multiplexor/loop.h"
#include "multiplexor/metrics.h"
#include "multiplexor/mux.h"

enum { READ_SECS = 5, WRITE_SECS = 10 };

struct http_connection {
    TAILQ_ENTRY(http_connection) entry;
    struct mux *mux;
    struct bufferevent *stream;
    bool is_answered;
};

static void connection_free(struct http_connection *connection)
{
    struct http *http = &connection->mux->http;
    TAILQ_REMOVE(&http->list, connection, entry);
    http->n--;
    bufferevent_free(connection->stream);
    free(connection);
}

/* body may be empty. */
static void answer(struct http_connection *connection, const char *status, const char *type,
    struct slice body, bool is_head)
{
    struct evbuffer *out = bufferevent_get_output(connection->stream);
    connection->is_answered = true;
    bufferevent_disable(connection->stream, EV_READ);
    evbuffer_add_printf(out,
        "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n"
        "Connection: close\r\n\r\n",
        status, type, body.len);
    if (!is_head && body.len > 0)
        evbuffer_add(out, body.data, body.len);
}

static void answer_text(
    struct http_connection *connection, const char *status, const char *text, bool is_head)
{
    answer(connection, status, "text/plain; charset=utf-8", slice_text(text), is_head);
}

static void answer_metrics(struct http_connection *connection, bool is_head)
{
    struct buf text;
    buf_init(&text, METRICS_MAX);
    if (metrics_put(connection->mux, &text) == 0)
        answer(connection, "200 OK", METRICS_CONTENT_TYPE, buf_slice(&text), is_head);
    else
        answer_text(connection, "500 Internal Server Error", "too much to tell\n", is_head);
    buf_clear(&text);
}

/* Healthy: a filter is in service and we are not stopping. */
static void answer_health(struct http_connection *connection, bool is_head)
{
    const struct mux *mux = connection->mux;
    if (mux->current != NULL && !mux->is_stopping)
        answer_text(connection, "200 OK", "ok\n", is_head);
    else
        answer_text(connection, "503 Service Unavailable",
            mux->is_stopping ? "stopping\n" : "no filter has loaded\n", is_head);
}

/* line: the request line, without its end. Cuts it up. */
static void answer_line(struct http_connection *connection, char *line)
{
    char *rest = NULL;
    const char *method = strtok_r(line, " ", &rest);
    char *target = strtok_r(NULL, " ", &rest);
    const char *version = strtok_r(NULL, " ", &rest);
    bool is_head = method != NULL && strcmp(method, "HEAD") == 0;
    if (version == NULL || strncmp(version, "HTTP/1.", 7) != 0) {
        answer_text(connection, "400 Bad Request", "this is no HTTP/1 request\n", false);
        return;
    }
    target[strcspn(target, "?")] = '\0';
    if (!is_head && strcmp(method, "GET") != 0)
        answer_text(connection, "405 Method Not Allowed", "GET only\n", false);
    else if (strcmp(target, "/metrics") == 0)
        answer_metrics(connection, is_head);
    else if (strcmp(target, "/healthz") == 0)
        answer_health(connection, is_head);
    else
        answer_text(connection, "404 Not Found", "there are /metrics and /healthz\n", is_head);
}

static void on_read(struct bufferevent *stream, void *context)
{
    struct http_connection *connection = context;
    struct evbuffer *in = bufferevent_get_input(stream);
    size_t len = evbuffer_get_length(in);
    struct evbuffer_ptr end = evbuffer_search(in, "\r\n\r\n", 4, NULL);
    if (end.pos >= 0) {
        char *line = evbuffer_readln(in, &len, EVBUFFER_EOL_CRLF_STRICT);
        answer_line(connection, line);
        free(line);
    } else if (len >= HTTP_REQUEST_MAX) {
        answer_text(connection, "431 Request Header Fields Too Large", "too large\n", false);
    }
}

/* All is sent: the peer is told that nothing follows, and may go first. */
static void on_written(struct bufferevent *stream, void *context)
{
    struct http_connection *connection = context;
    if (connection->is_answered && evbuffer_get_length(bufferevent_get_output(stream)) == 0)
        connection_free(connection);
}

static void on_event(struct bufferevent *stream, short what, void *context)
{
    (void)stream;
    (void)what;
    connection_free(context);
}

static bool is_allowed(const struct mux *mux, const struct sockaddr_storage *from)
{
    char ip[INET6_ADDRSTRLEN];
    const void *address = from->ss_family == AF_INET6
                              ? (const void *)&((const struct sockaddr_in6 *)from)->sin6_addr
                              : (const void *)&((const struct sockaddr_in *)from)->sin_addr;
    return inet_ntop(from->ss_family, address, ip, sizeof(ip)) != NULL &&
           network_list_has(&mux->conf->metrics.allow, ip);
}

static void take(struct mux *mux, int fd)
{
    static const struct timeval patience = {.tv_sec = READ_SECS}, slow = {.tv_sec = WRITE_SECS};
    struct bufferevent *stream = bufferevent_socket_new(mux->base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (stream == NULL) {
        close(fd);
        return;
    }
    struct http_connection *connection = xcalloc(1, sizeof(*connection));
    *connection = (struct http_connection){.mux = mux, .stream = stream};
    TAILQ_INSERT_TAIL(&mux->http.list, connection, entry);
    mux->http.n++;
    bufferevent_setcb(stream, on_read, on_written, on_event, connection);
    bufferevent_setwatermark(stream, EV_READ, 0, HTTP_REQUEST_MAX);
    bufferevent_set_timeouts(stream, &patience, &slow);
    bufferevent_enable(stream, EV_READ | EV_WRITE);
}

static void on_acceptable(evutil_socket_t listener, short what, void *context)
{
    (void)what;
    struct mux *mux = context;
    struct sockaddr_storage from = {0};
    socklen_t bytes = sizeof(from);
    int fd = accept4(listener, (struct sockaddr *)&from, &bytes, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (mux->http.n >= HTTP_CONNECTIONS_MAX || (mux->http.is_inet && !is_allowed(mux, &from))) {
        log_debug("metrics: a connection is refused");
        close(fd);
        return;
    }
    take(mux, fd);
}

void http_open(struct mux *mux, int fd, bool is_inet)
{
    struct http *http = &mux->http;
    *http = (struct http){.fd = fd, .is_inet = is_inet};
    TAILQ_INIT(&http->list);
    if (fd < 0)
        return;
    event_assign(&http->acceptable, mux->base, fd, EV_READ | EV_PERSIST, on_acceptable, mux);
    loop_listen(&http->acceptable, fd);
}

void http_close(struct mux *mux)
{
    struct http *http = &mux->http;
    struct http_connection *connection;
    while ((connection = TAILQ_FIRST(&http->list)) != NULL)
        connection_free(connection);
    if (http->fd < 0)
        return;
    event_del(&http->acceptable);
    close(http->fd);
    http->fd = -1;
}
