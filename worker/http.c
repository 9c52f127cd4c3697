/* The engine: libcurl's multi handle, its sockets and its timer on the worker's loop. */
#include "worker/http_impl.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/err.h"
#include "common/xalloc.h"

/* A descriptor of libcurl, watched. */
struct http_watch {
    LIST_ENTRY(http_watch) link;
    struct event *event;
};

enum { DRAIN_MAX = 4096 }; /* pieces: more than a socket's buffer holds */

/* One that libcurl keeps for later. */
struct http_rest {
    LIST_ENTRY(http_rest) link;
    curl_socket_t fd;
};

/* ---- what has ended ---- */

static void collect(struct http *http)
{
    struct CURLMsg *message;
    int n_left;
    while ((message = http->library.multi_info_read(http->multi, &n_left)) != NULL) {
        struct http_transfer *transfer = NULL;
        CURL *easy = message->easy_handle;
        CURLcode result = message->data.result; /* the message is gone with the handle */
        if (message->msg != CURLMSG_DONE ||
            http->library.easy_getinfo(easy, CURLINFO_PRIVATE, &transfer) != CURLE_OK) {
            continue;
        }
        http->library.multi_remove_handle(http->multi, easy);
        http_transfer_done(transfer, result);
    }
}

static void turn(struct http *http, curl_socket_t fd, int events)
{
    int n_running;
    http->library.multi_socket_action(http->multi, fd, events, &n_running);
    collect(http);
}

/* ---- the loop ---- */

static void on_socket(evutil_socket_t fd, short what, void *context)
{
    turn(context, fd,
        ((what & EV_READ) != 0 ? CURL_CSELECT_IN : 0) |
            ((what & EV_WRITE) != 0 ? CURL_CSELECT_OUT : 0));
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    turn(context, CURL_SOCKET_TIMEOUT, 0);
}

static void unwatch(struct http_watch *watch)
{
    LIST_REMOVE(watch, link);
    if (watch->event != NULL) {
        event_free(watch->event);
    }
    free(watch);
}

static void watch_for(struct http *http, struct http_watch *watch, curl_socket_t fd, int what)
{
    short events = (short)(((what & CURL_POLL_IN) != 0 ? EV_READ : 0) |
                           ((what & CURL_POLL_OUT) != 0 ? EV_WRITE : 0) | EV_PERSIST);
    if (watch->event != NULL) {
        event_del(watch->event);
        event_assign(watch->event, http->base, fd, events, on_socket, http);
    } else {
        watch->event = event_new(http->base, fd, events, on_socket, http);
    }
    if (watch->event != NULL) {
        event_add(watch->event, NULL); /* if that fails, the request times out */
    }
}

static void wake_up(struct http *http, curl_socket_t fd)
{
    struct http_rest *rest;
    LIST_FOREACH(rest, &http->resting, link)
    {
        if (rest->fd == fd) {
            LIST_REMOVE(rest, link);
            free(rest);
            return;
        }
    }
}

static void lay_down(struct http *http, curl_socket_t fd)
{
    struct http_rest *rest = xcalloc(1, sizeof *rest);
    rest->fd = fd;
    LIST_INSERT_HEAD(&http->resting, rest, link);
}

int http_on_close(void *context, curl_socket_t fd)
{
    wake_up(context, fd);
    return close(fd);
}

/* What a server says while nobody asks would be taken for the answer to the next request: libcurl
 * looks whether a connection lives, not whether it is at rest. One that has ended is not used. */
static void end_those_that_speak(struct http *http)
{
    char piece[4096];
    struct http_rest *rest;
    LIST_FOREACH(rest, &http->resting, link)
    {
        if (recv(rest->fd, piece, 1, MSG_PEEK | MSG_DONTWAIT) > 0) {
            (void)shutdown(rest->fd, SHUT_RDWR);
            for (int i = 0; i < DRAIN_MAX; i++) {
                if (recv(rest->fd, piece, sizeof piece, MSG_DONTWAIT) <= 0) {
                    break;
                }
            }
        }
    }
}

/* libcurl says what it wants of a descriptor; CURL_POLL_REMOVE before it closes or rests it. */
static int on_socket_state(CURL *easy, curl_socket_t fd, int what, void *context, void *watched)
{
    struct http *http = context;
    struct http_watch *watch = watched;
    (void)easy;
    wake_up(http, fd);
    if (what == CURL_POLL_REMOVE) {
        lay_down(http, fd);
        if (watch != NULL) {
            http->library.multi_assign(http->multi, fd, NULL);
            unwatch(watch);
        }
        return 0;
    }
    if (watch == NULL) {
        watch = xcalloc(1, sizeof *watch);
        LIST_INSERT_HEAD(&http->watches, watch, link);
        http->library.multi_assign(http->multi, fd, watch);
    }
    watch_for(http, watch, fd, what);
    return 0;
}

/* A time that the loop's coarse clock ends early is asked for again. */
static int on_time_wanted(CURLM *multi, long wait_ms, void *context)
{
    struct http *http = context;
    (void)multi;
    if (wait_ms < 0) {
        evtimer_del(http->timer);
        return 0;
    }
    struct timeval span = {.tv_sec = wait_ms / 1000, .tv_usec = wait_ms % 1000 * 1000};
    evtimer_add(http->timer, &span);
    return 0;
}

/* ---- life cycle ---- */

int http_open(struct http *http, struct event_base *base)
{
    const struct http_library *curl = &http->library;
    if (http->multi != NULL) {
        end_those_that_speak(http);
        return 0;
    }
    http->base = base;
    http->timer = base != NULL ? evtimer_new(base, on_timer, http) : NULL;
    CURLM *multi = http->timer != NULL ? curl->multi_init() : NULL;
    bool is_good = multi != NULL &&
                   curl->multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket_state) == 0 &&
                   curl->multi_setopt(multi, CURLMOPT_SOCKETDATA, http) == 0 &&
                   curl->multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_time_wanted) == 0 &&
                   curl->multi_setopt(multi, CURLMOPT_TIMERDATA, http) == 0 &&
                   curl->multi_setopt(
                       multi, CURLMOPT_MAXCONNECTS, (long)http->conf->http.idle_connections) == 0;
    http->multi = multi;
    if (!is_good) {
        http_close(http);
        return -ERR_SYSTEM;
    }
    return 0;
}

void http_close(struct http *http)
{
    struct http_watch *watch;
    struct http_rest *rest;
    if (http->multi != NULL) {
        http->library.multi_cleanup(http->multi); /* closes what rests */
        http->multi = NULL;
    }
    while ((watch = LIST_FIRST(&http->watches)) != NULL) {
        unwatch(watch);
    }
    while ((rest = LIST_FIRST(&http->resting)) != NULL) {
        LIST_REMOVE(rest, link);
        free(rest);
    }
    if (http->timer != NULL) {
        event_free(http->timer);
        http->timer = NULL;
    }
}

struct http *http_new(const struct conf *conf, char *why, size_t why_bytes)
{
    struct http *http = xcalloc(1, sizeof *http);
    http->conf = conf;
    LIST_INIT(&http->watches);
    LIST_INIT(&http->resting);
    if (http_library_load(&http->library, why, why_bytes) != 0) {
        free(http);
        return NULL;
    }
    return http;
}

void http_free(struct http *http)
{
    if (http != NULL) {
        http_close(http);
        free(http);
    }
}
