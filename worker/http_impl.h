/* What http.c, http_transfer.c and http_url.c share. Nobody else includes this. */
#ifndef POSTERN_WORKER_HTTP_IMPL_H
#define POSTERN_WORKER_HTTP_IMPL_H

#include <sys/queue.h>

#include "worker/http.h"
#include "worker/http_library.h"

struct http_watch;
struct http_rest;

struct http {
    struct http_library library;
    const struct conf *conf;
    struct event_base *base; /* borrowed */
    CURLM *multi;            /* NULL until the first request: it has descriptors of its own */
    struct event *timer;
    LIST_HEAD(, http_watch) watches;
    LIST_HEAD(, http_rest) resting; /* descriptors that no request uses */
};

/* Makes the multi handle, unless there is one. 0, or -ERR_SYSTEM. */
int http_open(struct http *http, struct event_base *base);
void http_close(struct http *http);
/* For libcurl: it has done with a descriptor. context: the struct http. */
int http_on_close(void *context, curl_socket_t fd);
/* libcurl has ended it, and no longer knows it: who waits is told. */
void http_transfer_done(struct http_transfer *transfer, CURLcode result);

#endif
