#include "worker/redis_place.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "common/text.h"

static int set_port(struct slice port, struct redis_place *out, in_port_t *to)
{
    char text[8];
    int64_t number;
    if (port.len == 0 || port.len >= sizeof text || text_has_line_break_or_nul(port))
        return -ERR_BAD;
    text_copy(text, sizeof text, port);
    if (text_to_i64(text, 1, 65535, &number) != 0)
        return -ERR_BAD;
    *to = htons((uint16_t)number);
    size_t n = strlen(out->host);
    bool is_six = out->address.any.sa_family == AF_INET6;
    snprintf(out->text, sizeof out->text, is_six ? "[%.*s]:%d" : "%.*s:%d", (int)n, out->host,
        (int)number);
    return 0;
}

int redis_place_from_parts(struct slice host, struct slice port, struct redis_place *out)
{
    *out = (struct redis_place){.len = 0};
    if (host.len == 0 || host.len >= sizeof out->host || text_has_line_break_or_nul(host))
        return -ERR_BAD;
    bool is_here = slice_equal_nocase(host, slice_text("localhost")); /* RFC 6761, 6.3 */
    text_copy(out->host, sizeof out->host, is_here ? slice_text("127.0.0.1") : host);
    if (inet_pton(AF_INET, out->host, &out->address.in.sin_addr) == 1) {
        out->address.in.sin_family = AF_INET;
        out->len = sizeof out->address.in;
        return set_port(port, out, &out->address.in.sin_port);
    }
    if (inet_pton(AF_INET6, out->host, &out->address.in6.sin6_addr) != 1)
        return -ERR_BAD;
    out->address.in6.sin6_family = AF_INET6;
    out->len = sizeof out->address.in6;
    return set_port(port, out, &out->address.in6.sin6_port);
}

static int from_path(struct slice path, struct redis_place *out)
{
    *out = (struct redis_place){.len = sizeof out->address.un};
    if (path.len >= sizeof out->address.un.sun_path || text_has_line_break_or_nul(path))
        return -ERR_BAD;
    out->address.un.sun_family = AF_UNIX;
    memcpy(out->address.un.sun_path, path.data, path.len);
    text_copy(out->text, sizeof out->text, path);
    return 0;
}

int redis_place_from_text(struct slice text, struct redis_place *out)
{
    if (text.len > 0 && text.data[0] == '/')
        return from_path(text, out);
    const char *colon = text.len > 0 ? memrchr(text.data, ':', text.len) : NULL;
    if (colon == NULL)
        return -ERR_BAD;
    struct slice host = slice_of(text.data, (size_t)(colon - text.data));
    struct slice port = slice_of(colon + 1, text.len - host.len - 1);
    if (host.len > 2 && host.data[0] == '[' && host.data[host.len - 1] == ']')
        host = slice_of(host.data + 1, host.len - 2);
    else if (host.len > 0 && memchr(host.data, ':', host.len) != NULL)
        return -ERR_BAD; /* which colon is the port's would be a guess */
    return redis_place_from_parts(host, port, out);
}

bool redis_place_equal(const struct redis_place *a, const struct redis_place *b)
{
    return strcmp(a->text, b->text) == 0;
}
