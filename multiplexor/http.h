/*
 * GET /metrics and /healthz over HTTP, for a collector: nothing else is answered, nothing that is
 * sent is kept. Our own few lines rather than evhttp, which cannot be told how many connections to
 * take: here number, size and time of each are bounded, and one question is answered before the
 * connection closes.
 */
#ifndef POSTERN_MULTIPLEXOR_HTTP_H
#define POSTERN_MULTIPLEXOR_HTTP_H

#include <event2/event_struct.h>
#include <stdbool.h>
#include <sys/queue.h>

enum { HTTP_CONNECTIONS_MAX = 16, HTTP_REQUEST_MAX = 8192 };

struct http_connection;
struct mux;
TAILQ_HEAD(http_connection_list, http_connection);

struct http {
    struct http_connection_list list;
    unsigned n;
    int fd; /* listening; -1: none */
    bool is_inet;
    struct event acceptable;
};

/* fd: listening, ours from now on; -1: none. is_inet: peers must be in metrics.allow. */
void http_open(struct mux *mux, int fd, bool is_inet);
void http_close(struct mux *mux);

#endif
