/* URLs, by the parser that sends the request afterwards: nobody reads them in another way. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "worker/http_impl.h"

/* A part of it, copied. */
static int get(const struct http_library *curl, CURLU *url, CURLUPart what, unsigned flags,
    char *out, size_t out_bytes)
{
    char *text = NULL;
    if (curl->url_get(url, what, &text, flags) != CURLUE_OK || text == NULL) {
        return -ERR_BAD;
    }
    int n = snprintf(out, out_bytes, "%s", text);
    curl->free(text);
    return n >= 0 && (size_t)n < out_bytes ? 0 : -ERR_TOOBIG;
}

static void without_brackets(char *host)
{
    size_t len = strlen(host);
    if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
        memmove(host, host + 1, len - 2);
        host[len - 2] = '\0';
    }
}

static int read_parts(const struct http_library *curl, CURLU *url, struct http_url *out)
{
    char scheme[8], port[8], zone[2];
    int err = get(curl, url, CURLUPART_SCHEME, 0, scheme, sizeof scheme);
    err = err == 0 ? get(curl, url, CURLUPART_HOST, 0, out->host, sizeof out->host) : err;
    err = err == 0 ? get(curl, url, CURLUPART_PORT, CURLU_DEFAULT_PORT, port, sizeof port) : err;
    err = err == 0 ? get(curl, url, CURLUPART_URL, 0, out->text, sizeof out->text) : err;
    if (err != 0) {
        return err;
    }
    bool has_zone = get(curl, url, CURLUPART_ZONEID, 0, zone, sizeof zone) != -ERR_BAD;
    out->is_https = strcmp(scheme, "https") == 0;
    out->port = (unsigned)strtoul(port, NULL, 10);
    without_brackets(out->host);
    for (char *c = out->host; *c != '\0'; c++) {
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a' : *c);
    }
    bool is_known = out->is_https || strcmp(scheme, "http") == 0;
    return is_known && !has_zone && out->port >= 1 && out->port <= 65535 ? 0 : -ERR_BAD;
}

int http_url_read(const struct http *http, const char *base, const char *text, struct http_url *out)
{
    const struct http_library *curl = &http->library;
    if (strlen(text) > HTTP_URL_MAX) {
        return -ERR_TOOBIG;
    }
    CURLU *url = curl->url();
    if (url == NULL) {
        return -ERR_BAD;
    }
    bool is_good = (base == NULL ||
                       curl->url_set(url, CURLUPART_URL, base, CURLU_DISALLOW_USER) == CURLUE_OK) &&
                   curl->url_set(url, CURLUPART_URL, text, CURLU_DISALLOW_USER) == CURLUE_OK &&
                   curl->url_set(url, CURLUPART_FRAGMENT, NULL, 0) == CURLUE_OK;
    int err = is_good ? read_parts(curl, url, out) : -ERR_BAD;
    curl->url_cleanup(url);
    return err;
}
