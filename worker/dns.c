#include "worker/dns.h"

#include <ares.h>
#include <event2/event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/xalloc.h"
#include "worker/dns_cache.h"
#include "worker/dns_turn.h"

enum {
    QUERIES_MAX = 2000, /* in flight, those that nobody waits for any more included */
    CLASS_IN = 1,
    EDNS_BYTES = 1232, /* fits into one packet of any network */
};

struct dns_query {
    TAILQ_ENTRY(dns_query) link;
    struct dns *dns;
    enum dns_type type;
    unsigned server;    /* index of the one that is asked */
    uint32_t asked;     /* of dns_turn_next */
    int64_t asked_ms;   /* when that one was */
    unsigned n_asked;   /* how often some server was */
    unsigned n_refused; /* how many answered that they cannot say */
    struct dns_waiter *waiters;
    char name[];
};

/* A descriptor of c-ares, watched. */
struct socket_watch {
    LIST_ENTRY(socket_watch) link;
    ares_socket_t fd;
    struct event *event;
    struct server *server;
};

struct server {
    struct dns *dns;
    ares_channel channel;
    struct event *timer;
    LIST_HEAD(, socket_watch) sockets;
    char text[80];
};

struct dns {
    const struct conf *conf;
    struct event_base *base;
    struct dns_cache *cache;
    TAILQ_HEAD(, dns_query) queries;
    size_t n_queries;
    unsigned n_servers;
    bool is_closing;
    struct dns_turns turns;
    struct server servers[DNS_SERVERS_MAX];
};

/* ---- what ends a query ---- */

static void tell(struct dns_waiter *waiter, struct dns_answer *answer, const char *error)
{
    waiter->query = NULL;
    waiter->is_done = true;
    waiter->answer = answer;
    if (answer != NULL) {
        dns_answer_ref(answer);
    } else {
        snprintf(waiter->error, sizeof waiter->error, "%s", error);
    }
    script_wake(&waiter->waker);
}

/* answer NULL: error says why. */
static void end_query(struct dns_query *query, struct dns_answer *answer, const char *error)
{
    struct dns_waiter *waiter;
    while ((waiter = query->waiters) != NULL) {
        query->waiters = waiter->next;
        tell(waiter, answer, error);
    }
    TAILQ_REMOVE(&query->dns->queries, query, link);
    query->dns->n_queries--;
    free(query);
}

static void keep(struct dns_query *query, struct dns_answer *answer)
{
    const struct dns *dns = query->dns;
    int64_t ttl_ms = (int64_t)answer->ttl_secs * 1000;
    int64_t most_ms = answer->n > 0 ? dns->conf->dns.max_ttl : dns->conf->dns.max_negative_ttl;
    if (answer->n > 0 && ttl_ms < dns->conf->dns.min_ttl) {
        ttl_ms = dns->conf->dns.min_ttl;
    }
    ttl_ms = ttl_ms < most_ms ? ttl_ms : most_ms;
    if (ttl_ms > 0) {
        dns_cache_add(dns->cache, query->name, query->type, answer, clock_now_ms() + ttl_ms);
    }
}

/* ---- asking ---- */

/* word: what the error begins with. is_answer: the server did answer, and would again. */
static const struct failure {
    int status;
    bool is_answer;
    const char *word;
} failures[] = {
    {ARES_ETIMEOUT, false, "timeout"},
    {ARES_ESERVFAIL, true, "servfail"},
    {ARES_EREFUSED, true, "refused"},
    {ARES_ENOTIMP, true, "refused: not implemented"},
    {ARES_EFORMERR, true, "formerr"},
    {ARES_EBADRESP, true, "formerr: malformed answer"},
    {ARES_EBADNAME, true, "formerr: bad name"},
    {ARES_ECONNREFUSED, false, "network: the server cannot be reached"},
};

static const struct failure *find_failure(int status)
{
    static const struct failure other = {0, false, "network"};
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        if (failures[i].status == status) {
            return &failures[i];
        }
    }
    return &other;
}

static void ask_server(struct dns_query *query);

/* The loop turns while somebody waits; without, an answer may lie there unread. */
static void note_server(struct dns_query *query, bool is_answer)
{
    struct dns *dns = query->dns;
    if (is_answer) {
        dns_turn_answered(&dns->turns, query->server, clock_now_ms());
    } else if (query->waiters != NULL) {
        dns_turn_silent(
            &dns->turns, query->server, query->asked_ms, clock_now_ms(), dns->conf->dns.retry_time);
    }
}

static void fail(struct dns_query *query, const struct failure *failure)
{
    struct dns *dns = query->dns;
    char error[160];
    note_server(query, failure->is_answer);
    query->n_refused += failure->is_answer;
    bool is_last = query->n_asked >= (unsigned)dns->conf->dns.tries * dns->n_servers ||
                   query->n_refused >= dns->n_servers;
    if (is_last || query->waiters == NULL) {
        const char *server = dns->servers[query->server].text;
        snprintf(error, sizeof error, "%s (%s)", failure->word, server);
        end_query(query, NULL, error);
        return;
    }
    ask_server(query);
}

static void on_answer(void *context, int status, int timeouts, unsigned char *bytes, int len)
{
    struct dns_query *query = context;
    struct dns_answer *answer = NULL;
    (void)timeouts;
    if (status == ARES_EDESTRUCTION || query->dns->is_closing) {
        end_query(query, NULL, "network: the resolver is closed");
        return;
    }
    bool is_answer = status == ARES_SUCCESS || status == ARES_ENODATA || status == ARES_ENOTFOUND;
    if (status == ARES_ENOTFOUND && bytes == NULL) { /* c-ares knows that without asking */
        answer = dns_answer_new(NULL, 0, 0, true);
    } else if (is_answer && (bytes == NULL || len <= 0 ||
                                dns_answer_read(slice_of(bytes, (size_t)len), query->name,
                                    query->type, &answer) != 0)) {
        status = ARES_EBADRESP;
    }
    if (answer == NULL) {
        fail(query, find_failure(status));
        return;
    }
    if (bytes != NULL) {
        note_server(query, true);
    }
    keep(query, answer);
    end_query(query, answer, NULL);
    dns_answer_unref(answer);
}

/* ---- the loop ---- */

/* What c-ares wants to be woken for next. */
static void set_timer(struct server *server)
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
    struct server *server = context;
    (void)fd;
    (void)what;
    ares_process_fd(server->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    set_timer(server);
}

static void on_socket(evutil_socket_t fd, short what, void *context)
{
    struct server *server = context;
    ares_process_fd(server->channel, (what & EV_READ) != 0 ? fd : ARES_SOCKET_BAD,
        (what & EV_WRITE) != 0 ? fd : ARES_SOCKET_BAD);
    set_timer(server);
}

static void unwatch(struct socket_watch *watch)
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
    struct server *server = context;
    struct socket_watch *watch;
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
    watch->event = event_new(server->dns->base, fd, events, on_socket, server);
    if (watch->event != NULL) {
        event_add(watch->event, NULL); /* if that fails, the question times out */
    }
}

static void ask_server(struct dns_query *query)
{
    struct dns *dns = query->dns;
    query->asked_ms = clock_now_ms();
    query->server = dns_turn_next(&dns->turns, dns->n_servers, &query->asked, query->asked_ms);
    query->n_asked++;
    struct server *server = &dns->servers[query->server];
    ares_query(server->channel, query->name, CLASS_IN, query->type, on_answer, query);
    set_timer(server); /* the query may be gone */
}

/* One that somebody waits for: what was left over may be old, and about to time out. */
static struct dns_query *find_query(struct dns *dns, const char *name, enum dns_type type)
{
    struct dns_query *query;
    TAILQ_FOREACH(query, &dns->queries, link)
    {
        if (query->waiters != NULL && query->type == type && strcasecmp(query->name, name) == 0) {
            return query;
        }
    }
    return NULL;
}

/* What nobody waits for any more ends with its time, though the loop may not have turned since. */
static bool has_room(struct dns *dns)
{
    for (unsigned i = 0; i < dns->n_servers && dns->n_queries >= QUERIES_MAX; i++) {
        ares_process_fd(dns->servers[i].channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
        set_timer(&dns->servers[i]);
    }
    return dns->n_queries < QUERIES_MAX;
}

void dns_ask(struct dns *dns, const char *name, enum dns_type type, struct dns_waiter *waiter)
{
    struct dns_answer *kept = dns_cache_find(dns->cache, name, type, clock_now_ms());
    if (kept != NULL) {
        tell(waiter, kept, NULL);
        return;
    }
    struct dns_query *query = find_query(dns, name, type);
    bool is_new = query == NULL;
    if (is_new && !has_room(dns)) {
        tell(waiter, NULL, "network: too many questions at the same time");
        return;
    }
    if (is_new) {
        size_t len = strlen(name);
        query = xcalloc(1, sizeof *query + len + 1);
        query->dns = dns;
        query->type = type;
        memcpy(query->name, name, len);
        TAILQ_INSERT_TAIL(&dns->queries, query, link);
        dns->n_queries++;
    }
    waiter->query = query;
    waiter->next = query->waiters;
    query->waiters = waiter;
    if (is_new) {
        ask_server(query);
    }
}

void dns_forget(struct dns_waiter *waiter)
{
    if (waiter->query != NULL) {
        struct dns_waiter **at = &waiter->query->waiters;
        while (*at != waiter) {
            at = &(*at)->next;
        }
        *at = waiter->next;
        waiter->query = NULL;
    }
    dns_answer_unref(waiter->answer);
    waiter->answer = NULL;
}

/* ---- servers ---- */

static int open_server(struct dns *dns, const char *text)
{
    struct server *server = &dns->servers[dns->n_servers];
    char lookups[] = "b";
    struct ares_options options = {
        .flags = ARES_FLAG_NOCHECKRESP | ARES_FLAG_EDNS | ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES,
        .timeout = (int)dns->conf->dns.timeout,
        .tries = 1,
        .ndots = 1,
        .lookups = lookups,
        .ednspsz = EDNS_BYTES,
        .sock_state_cb = on_socket_state,
        .sock_state_cb_data = server};
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS |
               ARES_OPT_LOOKUPS | ARES_OPT_EDNSPSZ | ARES_OPT_SOCK_STATE_CB | ARES_OPT_DOMAINS;
    if (ares_init_options(&server->channel, &options, mask) != ARES_SUCCESS) {
        return -ERR_SYSTEM;
    }
    server->dns = dns;
    LIST_INIT(&server->sockets);
    snprintf(server->text, sizeof server->text, "%s", text);
    server->timer = evtimer_new(dns->base, on_timer, server);
    dns->n_servers++; /* from here on dns_free closes it */
    if (server->timer == NULL) {
        return -ERR_SYSTEM;
    }
    return ares_set_servers_ports_csv(server->channel, text) == ARES_SUCCESS ? 0 : -ERR_BAD;
}

/* The system's, in order. */
static int open_system_servers(struct dns *dns)
{
    ares_channel channel;
    struct ares_addr_port_node *nodes = NULL;
    int err = 0;
    if (ares_init(&channel) != ARES_SUCCESS) {
        return -ERR_SYSTEM;
    }
    if (ares_get_servers_ports(channel, &nodes) != ARES_SUCCESS) {
        err = -ERR_SYSTEM;
    }
    for (struct ares_addr_port_node *node = nodes;
         node != NULL && dns->n_servers < DNS_SERVERS_MAX && err == 0; node = node->next) {
        char address[64], text[80];
        ares_inet_ntop(node->family, &node->addr, address, sizeof address);
        snprintf(text, sizeof text, node->family == AF_INET6 ? "[%s]:%d" : "%s:%d", address,
            node->udp_port > 0 ? node->udp_port : 53);
        err = open_server(dns, text);
    }
    ares_free_data(nodes);
    ares_destroy(channel);
    return err;
}

/* "127.0.0.1:5353, [::1]:53" */
static int open_named_servers(struct dns *dns, const char **wrong_out)
{
    for (const char *at = dns->conf->dns.servers; *at != '\0';) {
        size_t n = strcspn(at, ", ");
        char text[80];
        if (n > 0) {
            snprintf(text, sizeof text, "%.*s", (int)n, at);
            *wrong_out = at;
            if (n >= sizeof text || dns->n_servers == DNS_SERVERS_MAX) {
                return -ERR_TOOBIG;
            }
            int err = open_server(dns, text);
            if (err != 0) {
                return err;
            }
        }
        at += n + (at[n] != '\0');
    }
    return 0;
}

struct dns *dns_new(const struct conf *conf, struct event_base *base, char *why, size_t why_bytes)
{
    struct dns *dns = xcalloc(1, sizeof *dns);
    const char *wrong = NULL;
    dns->conf = conf;
    dns->base = base;
    dns->cache = dns_cache_new((size_t)conf->dns.cache_size);
    TAILQ_INIT(&dns->queries);
    int err = ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS ? 0 : -ERR_SYSTEM;
    if (err == 0) {
        err = conf->dns.servers[0] != '\0' ? open_named_servers(dns, &wrong)
                                           : open_system_servers(dns);
    }
    if (err == 0 && dns->n_servers > 0) {
        return dns;
    }
    if (wrong != NULL) {
        snprintf(why, why_bytes, "dns.servers: %s: %s", wrong, err_text(err));
    } else {
        snprintf(why, why_bytes, "%s", err != 0 ? err_text(err) : "there is no server");
    }
    dns_free(dns);
    return NULL;
}

void dns_free(struct dns *dns)
{
    if (dns == NULL) {
        return;
    }
    dns->is_closing = true;
    for (unsigned i = 0; i < dns->n_servers; i++) {
        struct server *server = &dns->servers[i];
        struct socket_watch *watch;
        ares_destroy(server->channel);
        while ((watch = LIST_FIRST(&server->sockets)) != NULL) {
            unwatch(watch);
        }
        if (server->timer != NULL) {
            event_free(server->timer);
        }
    }
    dns_cache_free(dns->cache);
    free(dns);
}
