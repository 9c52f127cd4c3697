#include "worker/dns.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/xalloc.h"
#include "worker/dns_cache.h"
#include "worker/dns_server.h"
#include "worker/dns_turn.h"

enum {
    QUERIES_MAX = 2000, /* in flight, those that nobody waits for any more included */
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

struct dns {
    const struct conf *conf;
    struct event_base *base;
    struct dns_cache *cache;
    TAILQ_HEAD(, dns_query) queries;
    size_t n_queries;
    unsigned n_servers;
    bool is_closing;
    struct dns_turns turns;
    struct dns_server servers[DNS_SERVERS_MAX];
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

static void ask_server(struct dns_query *query)
{
    struct dns *dns = query->dns;
    query->asked_ms = clock_now_ms();
    query->server = dns_turn_next(&dns->turns, dns->n_servers, &query->asked, query->asked_ms);
    query->n_asked++;
    dns_server_ask(&dns->servers[query->server], query->name, query->type, on_answer, query);
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
        dns_server_expire(&dns->servers[i]);
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
    struct dns_server *server = &dns->servers[dns->n_servers++]; /* dns_free closes it */
    return dns_server_open(server, dns->base, text, (int)dns->conf->dns.timeout);
}

static int open_system_servers(struct dns *dns)
{
    char texts[DNS_SERVERS_MAX][DNS_SERVER_TEXT];
    unsigned n;
    int err = dns_server_list_system(texts, DNS_SERVERS_MAX, &n);
    for (unsigned i = 0; i < n && err == 0; i++) {
        err = open_server(dns, texts[i]);
    }
    return err;
}

/* "127.0.0.1:5353, [::1]:53" */
static int open_named_servers(struct dns *dns, const char **wrong_out)
{
    for (const char *at = dns->conf->dns.servers; *at != '\0';) {
        size_t n = strcspn(at, ", ");
        char text[DNS_SERVER_TEXT];
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
        dns_server_close(&dns->servers[i]);
    }
    dns_cache_free(dns->cache);
    free(dns);
}
