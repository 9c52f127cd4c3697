/*
 * Requests to web servers (RFC 9110, HTTP/1.1 alone), by libcurl on the worker's event loop.
 * Connections are kept and used again. One hop: who follows redirects and looks up names is the
 * module in Lua. Nothing here resolves a name, reads the environment, .netrc or a proxy's setting.
 */
#ifndef POSTERN_WORKER_HTTP_H
#define POSTERN_WORKER_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/conf.h"
#include "worker/script_wait.h"

struct curl_slist;
struct event_base;
struct http;

enum {
    HTTP_URL_MAX = 8192,         /* bytes of a URL */
    HTTP_HOST_MAX = 256,         /* of its host, NUL included */
    HTTP_BODY_MAX = 256 << 20,   /* the largest limit of an answer's body */
    HTTP_HEADER_MAX = 1 << 20,   /* the same of its header */
    HTTP_TIME_MAX_MS = 86400000, /* the longest limit of time */
    HTTP_ERROR_BYTES = 256,      /* libcurl's, of its own text for a failure */
};

struct http_url {
    char text[HTTP_URL_MAX + 1]; /* normal form, without a fragment */
    char host[HTTP_HOST_MAX];    /* lower case; an IPv6 address without brackets */
    unsigned port;
    bool is_https;
};

/* All borrowed, and copied, but body: it must live until http_end. */
struct http_request {
    const char *method; /* GET, HEAD, POST, PUT, DELETE */
    const char *url;
    const char *resolve; /* "host:port:address,address"; NULL: the host is an address */
    const char *ca_file; /* NULL: the system's authorities */
    const char *user;    /* Basic authentication; NULL: none */
    const char *password;
    struct slice body;
    bool has_body;
    bool verifies; /* the server's certificate */
    long connect_ms, time_ms;
    size_t header_max, body_max;
};

/* One request and its answer. Zeroed at first; its place does not change until http_end. */
struct http_transfer {
    struct script_waker waker; /* pulled when it is done */
    struct http *http;         /* NULL: not begun, or ended */
    void *easy;                /* libcurl's handle; NULL: none */
    struct curl_slist *headers, *resolve;
    bool is_set_up; /* libcurl knows every option */
    bool is_running;
    bool is_done;
    bool is_header_whole; /* its empty line has come */
    bool has_body_begun;
    bool is_too_long;
    bool is_address;
    size_t header_bytes; /* of all that came before the body and behind it */
    size_t header_max;
    struct buf header; /* of the last answer: those of 100 Continue and the like are left out */
    struct buf body;
    long status;
    char error[HTTP_ERROR_BYTES + 16]; /* "": it succeeded; "timeout", "tls: …" */
    char detail[HTTP_ERROR_BYTES];
};

/* Loads libcurl; no descriptors yet, so that it may be done before the fork. NULL: why. */
struct http *http_new(const struct conf *conf, char *why, size_t why_bytes);
void http_free(struct http *http); /* every transfer has ended; NULL is fine */

/*
 * Reads a URL (RFC 3986), relative to base unless that is NULL. 0; -ERR_BAD: it is none, it has a
 * user, or a scheme other than http and https; -ERR_TOOBIG.
 */
int http_url_read(
    const struct http *http, const char *base, const char *text, struct http_url *out);

/* A line "Name: value" of the request's header ("Name;" for an empty value, "Name:" for none of
 * libcurl's own), checked by the caller. Before http_begin. */
int http_add_header(struct http *http, struct http_transfer *transfer, const char *line);
/* Sends it, once the loop turns. 0, or -ERR_SYSTEM: error says why; http_end is due all the same.
 */
int http_begin(struct http *http, struct event_base *base, const struct http_request *request,
    struct http_transfer *transfer);
/* Frees all of it; a request that is on its way is given up, its connection closed. */
void http_end(struct http_transfer *transfer);

#endif
