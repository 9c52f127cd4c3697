/* Socket specs as texts: what options and commands name sockets with. */
#include "common/sock.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "common/text.h"

static int parse_unix(const char *rest, struct sock_spec *out)
{
    size_t len = strlen(rest);
    if (len == 0)
        return -ERR_BAD;
    if (len > SOCK_PATH_MAX)
        return -ERR_TOOBIG;
    memcpy(out->path, rest, len + 1);
    return 0;
}

/* PORT, PORT@HOST; an IPv6 address may stand in brackets. */
static int parse_inet(const char *rest, struct sock_spec *out)
{
    char port_text[8];
    size_t port_len = strcspn(rest, "@");
    int64_t port;
    if (port_len >= sizeof(port_text))
        return -ERR_BAD;
    memcpy(port_text, rest, port_len);
    port_text[port_len] = '\0';
    if (text_to_i64(port_text, 0, UINT16_MAX, &port) != 0)
        return -ERR_BAD;
    out->port = (uint16_t)port;
    struct slice host = slice_text(rest[port_len] == '@' ? rest + port_len + 1 : "");
    if (host.len >= 2 && host.data[0] == '[' && host.data[host.len - 1] == ']')
        host = slice_of(host.data + 1, host.len - 2);
    if (host.len >= sizeof(out->host) || (host.len == 0 && rest[port_len] == '@'))
        return -ERR_BAD;
    memcpy(out->host, host.data, host.len);
    return 0;
}

static int parse_fd(const char *rest, struct sock_spec *out)
{
    int64_t fd;
    if (text_to_i64(rest, 0, 1 << 20, &fd) != 0)
        return -ERR_BAD;
    out->fd = (int)fd;
    return 0;
}

int sock_spec_from_text(const char *text, struct sock_spec *out)
{
    static const struct {
        const char *prefix;
        enum sock_kind kind;
        int (*parse)(const char *rest, struct sock_spec *out);
    } kinds[] = {
        {"unix:", SOCK_KIND_UNIX, parse_unix},
        {"local:", SOCK_KIND_UNIX, parse_unix},
        {"inet:", SOCK_KIND_INET, parse_inet},
        {"inet6:", SOCK_KIND_INET6, parse_inet},
        {"fd:", SOCK_KIND_FD, parse_fd},
    };
    *out = (struct sock_spec){.kind = SOCK_KIND_UNIX, .fd = -1};
    if (text[0] == '/')
        return parse_unix(text, out);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        size_t len = strlen(kinds[i].prefix);
        if (strncmp(text, kinds[i].prefix, len) != 0)
            continue;
        out->kind = kinds[i].kind;
        return kinds[i].parse(text + len, out);
    }
    return -ERR_BAD;
}

static uint16_t bound_port(int fd, uint16_t otherwise)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof(address);
    if (fd < 0 || getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        return otherwise;
    if (address.ss_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)&address)->sin_port);
    if (address.ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)&address)->sin6_port);
    return otherwise;
}

void sock_spec_to_text(const struct sock_spec *spec, int fd, char *out, size_t out_bytes)
{
    switch (spec->kind) {
    case SOCK_KIND_UNIX:
        snprintf(out, out_bytes, "unix:%s", spec->path);
        return;
    case SOCK_KIND_INET:
    case SOCK_KIND_INET6:
        snprintf(out, out_bytes, "%s:%u%s%s", spec->kind == SOCK_KIND_INET ? "inet" : "inet6",
            bound_port(fd, spec->port), spec->host[0] != '\0' ? "@" : "", spec->host);
        return;
    case SOCK_KIND_FD:
        snprintf(out, out_bytes, "fd:%d", spec->fd);
        return;
    }
}
