/* One request: how libcurl is told of it, what comes back, and what is said when it fails. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "worker/http_impl.h"

static_assert(HTTP_ERROR_BYTES == CURL_ERROR_SIZE, "libcurl writes so many bytes");

/* ---- what comes back ---- */

/* Total bytes are bounded, so that a server cannot send interim answers for ever. */
static size_t on_header(char *data, size_t size, size_t n, void *context)
{
    struct http_transfer *transfer = context;
    size_t bytes = size * n;
    transfer->header_bytes += bytes;
    if (transfer->header_bytes > transfer->header_max) {
        transfer->is_too_long = true;
        return 0;
    }
    if (transfer->has_body_begun) { /* a trailer */
        return bytes;
    }
    if (bytes >= 5 && memcmp(data, "HTTP/", 5) == 0) {
        buf_reset(&transfer->header);
        transfer->is_header_whole = false;
    }
    transfer->is_header_whole = transfer->is_header_whole || data[0] == '\r' || data[0] == '\n';
    return buf_put(&transfer->header, data, bytes) == 0 ? bytes : 0;
}

static size_t on_body(char *data, size_t size, size_t n, void *context)
{
    struct http_transfer *transfer = context;
    size_t bytes = size * n;
    transfer->has_body_begun = true;
    if (buf_put(&transfer->body, data, bytes) != 0) {
        transfer->is_too_long = true;
        return 0;
    }
    return bytes;
}

/* Asked before libcurl resolves anything: an address alone may pass, since that needs nobody. */
static int on_resolving(void *resolver, void *reserved, void *context)
{
    const struct http_transfer *transfer = context;
    (void)resolver;
    (void)reserved;
    return transfer->is_address ? 0 : 1;
}

/* ---- failures ---- */

/* has_detail: libcurl's own text tells more. */
static const struct failure {
    CURLcode code;
    bool has_detail;
    const char *text;
} failures[] = {
    {CURLE_OPERATION_TIMEDOUT, false, "timeout"},
    {CURLE_GOT_NOTHING, false, "closed"},
    {CURLE_PARTIAL_FILE, false, "closed"},
    {CURLE_RECV_ERROR, false, "closed"},
    {CURLE_SEND_ERROR, false, "closed"},
    {CURLE_FILESIZE_EXCEEDED, false, "too long"},
    {CURLE_OUT_OF_MEMORY, false, "too long"}, /* so it calls a header line of over 100 KB */
    {CURLE_UNSUPPORTED_PROTOCOL, false, "malformed answer"},
    {CURLE_WEIRD_SERVER_REPLY, false, "malformed answer"},
    {CURLE_BAD_CONTENT_ENCODING, false, "malformed answer"},
    {CURLE_SSL_CONNECT_ERROR, true, "tls"},
    {CURLE_SSL_CERTPROBLEM, true, "tls"},
    {CURLE_SSL_CIPHER, true, "tls"},
    {CURLE_PEER_FAILED_VERIFICATION, true, "tls"},
    {CURLE_SSL_CACERT_BADFILE, true, "tls"},
    {CURLE_SSL_ISSUER_ERROR, true, "tls"},
    {CURLE_SSL_INVALIDCERTSTATUS, true, "tls"},
};

static const struct failure *find_failure(CURLcode code)
{
    static const struct failure other = {CURLE_OK, true, "network"};
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        if (failures[i].code == code) {
            return &failures[i];
        }
    }
    return &other;
}

static void tell_failure(struct http_transfer *transfer, CURLcode result)
{
    const struct http_library *curl = &transfer->http->library;
    const struct failure *failure = find_failure(result);
    const char *detail =
        transfer->detail[0] != '\0' ? transfer->detail : curl->easy_strerror(result);
    long os_errno = 0;
    if (result == CURLE_COULDNT_CONNECT) {
        curl->easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &os_errno);
    }
    if (transfer->is_too_long) {
        snprintf(transfer->error, sizeof transfer->error, "too long");
    } else if (os_errno == ECONNREFUSED) {
        snprintf(transfer->error, sizeof transfer->error, "refused");
    } else {
        snprintf(transfer->error, sizeof transfer->error, "%s%s%s", failure->text,
            failure->has_detail ? ": " : "", failure->has_detail ? detail : "");
    }
}

void http_transfer_done(struct http_transfer *transfer, CURLcode result)
{
    transfer->is_running = false;
    transfer->is_done = true;
    if (result == CURLE_OK && !transfer->is_header_whole) {
        result = CURLE_GOT_NOTHING; /* libcurl takes a header that was cut for one without body */
    }
    if (result == CURLE_OK) {
        transfer->http->library.easy_getinfo(
            transfer->easy, CURLINFO_RESPONSE_CODE, &transfer->status);
    } else {
        tell_failure(transfer, result);
    }
    script_wake(&transfer->waker);
}

/* ---- what is asked ---- */

/* An option that this libcurl does not know, or no memory: the request is not sent. */
#define SET(transfer, option, value)                                                               \
    ((transfer)->is_set_up =                                                                       \
            (transfer)->http->library.easy_setopt((transfer)->easy, option, value) == CURLE_OK &&  \
            (transfer)->is_set_up)

static void set_callbacks(struct http_transfer *transfer)
{
    SET(transfer, CURLOPT_PRIVATE, transfer);
    SET(transfer, CURLOPT_ERRORBUFFER, transfer->detail);
    SET(transfer, CURLOPT_HEADERFUNCTION, on_header);
    SET(transfer, CURLOPT_HEADERDATA, transfer);
    SET(transfer, CURLOPT_WRITEFUNCTION, on_body);
    SET(transfer, CURLOPT_WRITEDATA, transfer);
    SET(transfer, CURLOPT_RESOLVER_START_FUNCTION, on_resolving);
    SET(transfer, CURLOPT_RESOLVER_START_DATA, transfer);
    SET(transfer, CURLOPT_CLOSESOCKETFUNCTION, http_on_close); /* of the connection: it lives on */
    SET(transfer, CURLOPT_CLOSESOCKETDATA, transfer->http);
}

/* The environment and the user's files have no say. */
static void set_world(struct http_transfer *transfer)
{
    SET(transfer, CURLOPT_NOSIGNAL, 1L);
    SET(transfer, CURLOPT_PROXY, "");
    SET(transfer, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(transfer, CURLOPT_PROTOCOLS_STR, "http,https");
    SET(transfer, CURLOPT_FOLLOWLOCATION, 0L);
    SET(transfer, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(transfer, CURLOPT_HTTP09_ALLOWED, 0L);
}

/* max_body stands in libcurl too, so that an answer that announces more is refused at once. */
static void set_limits(struct http_transfer *transfer, const struct http_request *request)
{
    int64_t keep_ms = transfer->http->conf->http.keep_alive;
    SET(transfer, CURLOPT_CONNECTTIMEOUT_MS, request->connect_ms);
    SET(transfer, CURLOPT_TIMEOUT_MS, request->time_ms);
    SET(transfer, CURLOPT_MAXAGE_CONN, (long)((keep_ms + 999) / 1000));
    SET(transfer, CURLOPT_FORBID_REUSE, keep_ms == 0 ? 1L : 0L);
    if (strcmp(request->method, "HEAD") != 0 && request->body_max > 0) {
        SET(transfer, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)request->body_max);
    }
}

static void set_tls(struct http_transfer *transfer, const struct http_request *request)
{
    SET(transfer, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(transfer, CURLOPT_SSL_VERIFYPEER, request->verifies ? 1L : 0L);
    SET(transfer, CURLOPT_SSL_VERIFYHOST, request->verifies ? 2L : 0L);
    if (request->ca_file != NULL) {
        SET(transfer, CURLOPT_CAINFO, request->ca_file);
        SET(transfer, CURLOPT_CAPATH, NULL);
    }
}

static void set_method(struct http_transfer *transfer, const struct http_request *request)
{
    bool is_post = strcmp(request->method, "POST") == 0;
    if (request->has_body || is_post) {
        SET(transfer, CURLOPT_POST, 1L);
        SET(transfer, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
        SET(transfer, CURLOPT_POSTFIELDS, request->body.len > 0 ? request->body.data : "");
    } else if (strcmp(request->method, "HEAD") == 0) {
        SET(transfer, CURLOPT_NOBODY, 1L);
        return;
    }
    if (!is_post) {
        SET(transfer, CURLOPT_CUSTOMREQUEST, request->method);
    }
}

static void set_request(struct http_transfer *transfer, const struct http_request *request)
{
    const struct http_library *curl = &transfer->http->library;
    SET(transfer, CURLOPT_URL, request->url);
    SET(transfer, CURLOPT_HTTPHEADER, transfer->headers);
    if (request->resolve != NULL) {
        transfer->resolve = curl->slist_append(NULL, request->resolve);
        transfer->is_set_up = transfer->is_set_up && transfer->resolve != NULL;
        SET(transfer, CURLOPT_RESOLVE, transfer->resolve);
    }
    if (request->user != NULL) {
        SET(transfer, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
        SET(transfer, CURLOPT_USERNAME, request->user);
        SET(transfer, CURLOPT_PASSWORD, request->password != NULL ? request->password : "");
    }
}

/* ---- life cycle ---- */

static int refuse(struct http_transfer *transfer, const char *why)
{
    transfer->is_done = true;
    snprintf(transfer->error, sizeof transfer->error, "%s", why);
    return -ERR_SYSTEM;
}

int http_add_header(struct http *http, struct http_transfer *transfer, const char *line)
{
    struct curl_slist *list = http->library.slist_append(transfer->headers, line);
    transfer->http = http;
    if (list == NULL) {
        return -ERR_SYSTEM;
    }
    transfer->headers = list;
    return 0;
}

int http_begin(struct http *http, struct event_base *base, const struct http_request *request,
    struct http_transfer *transfer)
{
    transfer->http = http;
    transfer->header_max = request->header_max;
    transfer->is_address = request->resolve == NULL;
    buf_init(&transfer->header, request->header_max);
    buf_init(&transfer->body, request->body_max);
    if (http_open(http, base) != 0) {
        return refuse(transfer, "network: no descriptors or no memory are left");
    }
    transfer->easy = http->library.easy_init();
    if (transfer->easy == NULL) {
        return refuse(transfer, "network: no memory is left");
    }
    transfer->is_set_up = true;
    set_callbacks(transfer);
    set_world(transfer);
    set_limits(transfer, request);
    set_tls(transfer, request);
    set_method(transfer, request);
    set_request(transfer, request);
    if (!transfer->is_set_up) {
        return refuse(transfer, "network: libcurl does not take the request");
    }
    if (http->library.multi_add_handle(http->multi, transfer->easy) != CURLM_OK) {
        return refuse(transfer, "network: no memory is left");
    }
    transfer->is_running = true;
    return 0;
}

void http_end(struct http_transfer *transfer)
{
    struct http *http = transfer->http;
    if (http == NULL) {
        return;
    }
    if (transfer->is_running) {
        http->library.multi_remove_handle(http->multi, transfer->easy);
        transfer->is_running = false;
    }
    if (transfer->easy != NULL) {
        http->library.easy_cleanup(transfer->easy);
        transfer->easy = NULL;
    }
    http->library.slist_free_all(transfer->headers);
    http->library.slist_free_all(transfer->resolve);
    transfer->headers = transfer->resolve = NULL;
    buf_clear(&transfer->header);
    buf_clear(&transfer->body);
    transfer->http = NULL;
}
