/* One name server: a channel of c-ares whose descriptors and time-outs the event loop watches. */
#include "worker/dns_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/xalloc.h"

enum {
    CLASS_IN = 1,
    EDNS_BYTES = 1232, /* fits into one packet of any network */
};

/* A descriptor of c-ares, watched. */
struct dns_watch {
    LIST_ENTRY(dns_watch) link;
    ares_socket_t fd;
    struct event *event;
    struct dns_server *server;
};

/* What c-ares wants to be woken for next. */
static void set_timer(struct dns_server *server)
{
    struct timeval span;
    if (ares_timeout(server->channel, NULL, &span) != NULL) {
        evtimer_add(server->timer, &span);
    } else {
        evtimer_del(server->timer);
    }
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    dns_server_expire(context);
}

static void on_socket(evutil_socket_t fd, short what, void *context)
{
    struct dns_server *server = context;
    ares_process_fd(server->channel, (what & EV_READ) != 0 ? fd : ARES_SOCKET_BAD,
        (what & EV_WRITE) != 0 ? fd : ARES_SOCKET_BAD);
    set_timer(server);
}

static void unwatch(struct dns_watch *watch)
{
    LIST_REMOVE(watch, link);
    if (watch->event != NULL) {
        event_free(watch->event);
    }
    free(watch);
}

/* c-ares says what it wants of a descriptor; nothing, before it closes it. */
static void on_socket_state(void *context, ares_socket_t fd, int readable, int writable)
{
    struct dns_server *server = context;
    struct dns_watch *watch;
    LIST_FOREACH(watch, &server->sockets, link)
    {
        if (watch->fd == fd) {
            unwatch(watch);
            break;
        }
    }
    if (!readable && !writable) {
        return;
    }
    watch = xcalloc(1, sizeof *watch);
    watch->fd = fd;
    watch->server = server;
    LIST_INSERT_HEAD(&server->sockets, watch, link);
    short events = (short)((readable ? EV_READ : 0) | (writable ? EV_WRITE : 0) | EV_PERSIST);
    watch->event = event_new(server->base, fd, events, on_socket, server);
    if (watch->event != NULL) {
        event_add(watch->event, NULL); /* if that fails, the question times out */
    }
}

int dns_server_open(
    struct dns_server *server, struct event_base *base, const char *text, int timeout_ms)
{
    char lookups[] = "b";
    struct ares_options options = {
        .flags = ARES_FLAG_NOCHECKRESP | ARES_FLAG_EDNS | ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES,
        .timeout = timeout_ms,
        .tries = 1,
        .ndots = 1,
        .lookups = lookups,
        .ednspsz = EDNS_BYTES,
        .sock_state_cb = on_socket_state,
        .sock_state_cb_data = server};
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS |
               ARES_OPT_LOOKUPS | ARES_OPT_EDNSPSZ | ARES_OPT_SOCK_STATE_CB | ARES_OPT_DOMAINS;
    *server = (struct dns_server){.base = base};
    LIST_INIT(&server->sockets);
    snprintf(server->text, sizeof server->text, "%s", text);
    if (ares_init_options(&server->channel, &options, mask) != ARES_SUCCESS) {
        server->channel = NULL;
        return -ERR_SYSTEM;
    }
    server->timer = evtimer_new(base, on_timer, server);
    if (server->timer == NULL) {
        return -ERR_SYSTEM;
    }
    return ares_set_servers_ports_csv(server->channel, text) == ARES_SUCCESS ? 0 : -ERR_BAD;
}

void dns_server_ask(struct dns_server *server, const char *name, enum dns_type type,
    ares_callback on_answer, void *context)
{
    ares_query(server->channel, name, CLASS_IN, type, on_answer, context);
    set_timer(server);
}

void dns_server_expire(struct dns_server *server)
{
    ares_process_fd(server->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    set_timer(server);
}

void dns_server_close(struct dns_server *server)
{
    struct dns_watch *watch;
    if (server->channel != NULL) {
        ares_destroy(server->channel);
    }
    while ((watch = LIST_FIRST(&server->sockets)) != NULL) {
        unwatch(watch);
    }
    if (server->timer != NULL) {
        event_free(server->timer);
    }
}

/* ---- the system's ---- */

static void name_server(const struct ares_addr_port_node *node, char *text)
{
    char address[64];
    ares_inet_ntop(node->family, &node->addr, address, sizeof address);
    snprintf(text, DNS_SERVER_TEXT, node->family == AF_INET6 ? "[%s]:%d" : "%s:%d", address,
        node->udp_port > 0 ? node->udp_port : 53);
}

int dns_server_list_system(char (*texts)[DNS_SERVER_TEXT], unsigned max, unsigned *n_out)
{
    ares_channel channel;
    struct ares_addr_port_node *nodes = NULL;
    *n_out = 0;
    if (ares_init(&channel) != ARES_SUCCESS) {
        return -ERR_SYSTEM;
    }
    int err = ares_get_servers_ports(channel, &nodes) == ARES_SUCCESS ? 0 : -ERR_SYSTEM;
    for (struct ares_addr_port_node *node = nodes; node != NULL && *n_out < max;
         node = node->next) {
        name_server(node, texts[(*n_out)++]);
    }
    ares_free_data(nodes);
    ares_destroy(channel);
    return err;
}
