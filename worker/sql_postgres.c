/*
 *   NEW → CONNECTING → IDLE → (PREPARING →) RUNNING → IDLE
 *
 * and from each of them BROKEN, where it stays. Rows are taken one by one (libpq's single-row
 * mode), so that a result over a limit ends early; the connection is of no more use then.
 */
#include "worker/sql_postgres.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/xalloc.h"
#include "worker/openssl_library.h"
#include "worker/sql_postgres_value.h"

enum {
    NAME_MAX_BYTES = 32,
    ROW_SLACK =
        1 << 20, /* a row on its way may have, over twice max_bytes: bytes go as hexadecimal */
};

enum postgres_state {
    POSTGRES_NEW = 0,
    POSTGRES_CONNECTING,
    POSTGRES_IDLE,
    POSTGRES_PREPARING,
    POSTGRES_RUNNING,
    POSTGRES_BROKEN,
};

struct postgres_link {
    struct sql_link link;
    const struct sql_library *pq;
    PGconn *conn;
    enum postgres_state state;
    char **keywords, **values; /* NULL once it is connected */
    bool keeps_prepared;
    struct sql_cache cache; /* the statement of an entry is its name */
    unsigned n_names;
    struct sql_cached *entry; /* of what runs; NULL: not kept */
    bool has_names;           /* the result's columns are known */
    bool is_stale, was_stale; /* what runs was not run; the same happened before */
    size_t unread_bytes;      /* of an answer that libpq has not got whole */
};

static struct postgres_link *of(struct sql_link *link)
{
    return (struct postgres_link *)link;
}

/* ---- what it is connected with ---- */

static void forget(char **list)
{
    for (size_t i = 0; list != NULL && list[i] != NULL; i++) {
        explicit_bzero(list[i], strlen(list[i])); /* one is a password */
        free(list[i]);
    }
    free(list);
}

static void forget_parameters(struct postgres_link *s)
{
    forget(s->keywords);
    forget(s->values);
    s->keywords = s->values = NULL;
}

static char **copy(const char *const *list)
{
    size_t n = 0;
    while (list[n] != NULL)
        n++;
    char **out = xcalloc(n + 1, sizeof *out);
    for (size_t i = 0; i < n; i++)
        out[i] = xstrdup(list[i]);
    return out;
}

/* ---- failing ---- */

static int lose(struct postgres_link *s, struct sql_ask *ask, const char *why)
{
    s->state = POSTGRES_BROKEN;
    return sql_ask_fail(ask, SQL_FAILED_LOST, NULL, why);
}

static int lose_connection(struct postgres_link *s, struct sql_ask *ask)
{
    const char *why = s->pq->errorMessage(s->conn);
    return lose(s, ask, why != NULL && *why != '\0' ? why : "the connection was closed");
}

static int break_off(struct postgres_link *s)
{
    s->state = POSTGRES_BROKEN;
    return -ERR_BAD;
}

static int end_in_time(struct postgres_link *s, struct sql_ask *ask)
{
    break_off(s);
    return sql_ask_fail_time(ask);
}

static int wait_for(struct postgres_link *s, struct sql_ask *ask, short events)
{
    ask->wait.fd = s->pq->socket(s->conn);
    ask->wait.events = events;
    ask->wait.until_ms = ask->deadline_ms;
    if (ask->wait.fd < 0)
        return lose_connection(s, ask);
    if (clock_now_ms() >= ask->deadline_ms)
        return end_in_time(s, ask);
    return -ERR_AGAIN;
}

/* ---- connecting ---- */

/* Without it, libpq writes them to standard error. */
static void ignore_notice(void *context, const PGresult *result)
{
    (void)context;
    (void)result;
}

static int start(struct postgres_link *s, struct sql_ask *ask)
{
    s->conn = s->pq->connectStartParams(
        (const char *const *)s->keywords, (const char *const *)s->values, 0);
    if (s->conn == NULL)
        return lose(s, ask, "no memory");
    if (s->pq->status(s->conn) == CONNECTION_BAD)
        return lose_connection(s, ask);
    s->pq->setNoticeReceiver(s->conn, ignore_notice, NULL);
    s->state = POSTGRES_CONNECTING;
    return wait_for(s, ask, POLLOUT);
}

static int connect_on(struct postgres_link *s, struct sql_ask *ask)
{
    switch (s->pq->connectPoll(s->conn)) {
    case PGRES_POLLING_READING:
        return wait_for(s, ask, POLLIN);
    case PGRES_POLLING_WRITING:
        return wait_for(s, ask, POLLOUT);
    case PGRES_POLLING_OK:
        break;
    default:
        return lose_connection(s, ask);
    }
    forget_parameters(s);
    if (s->pq->setnonblocking(s->conn, 1) != 0)
        return lose_connection(s, ask);
    s->state = POSTGRES_IDLE;
    return 0;
}

/* ---- sending ---- */

static int send_prepare(struct postgres_link *s, struct sql_ask *ask)
{
    char name[NAME_MAX_BYTES];
    snprintf(name, sizeof name, "postern_%u", ++s->n_names);
    char *kept = xstrdup(name);
    s->entry = sql_cache_add(&s->cache, ask, kept);
    if (s->entry == NULL)
        free(kept);
    if (s->pq->sendPrepare(s->conn, name, ask->text, 0, NULL) == 0)
        return lose_connection(s, ask);
    s->state = POSTGRES_PREPARING;
    return 0;
}

static int send_query(struct postgres_link *s, struct sql_ask *ask)
{
    struct sql_parameters p;
    sql_parameters_make(&p, ask);
    int is_sent = s->entry != NULL ? s->pq->sendQueryPrepared(s->conn, s->entry->statement, p.n,
                                         p.values, p.lengths, p.formats, 0)
                                   : s->pq->sendQueryParams(s->conn, ask->text, p.n, NULL, p.values,
                                         p.lengths, p.formats, 0);
    sql_parameters_clear(&p);
    if (is_sent == 0 || s->pq->setSingleRowMode(s->conn) == 0)
        return lose_connection(s, ask);
    s->state = POSTGRES_RUNNING;
    s->has_names = false;
    return 0;
}

static int send(struct postgres_link *s, struct sql_ask *ask)
{
    s->unread_bytes = 0;
    s->is_stale = false;
    s->entry = ask->is_kept && s->keeps_prepared ? sql_cache_find(&s->cache, ask) : NULL;
    bool can_keep = ask->is_kept && s->keeps_prepared && s->cache.n < SQL_STATEMENTS_MAX;
    return s->entry == NULL && can_keep ? send_prepare(s, ask) : send_query(s, ask);
}

/* ---- results ---- */

static void drop_entry(struct postgres_link *s)
{
    if (s->entry == NULL)
        return;
    free(s->entry->statement);
    sql_cache_remove(&s->cache, s->entry);
    s->entry = NULL;
}

static bool is_one_of(const char *code, const char *const *codes)
{
    for (; code != NULL && *codes != NULL; codes++)
        if (strcmp(code, *codes) == 0)
            return true;
    return false;
}

/* A statement that was prepared and is there no more, or whose tables have changed since, was not
 * run: it is prepared again. */
static bool is_stale_code(const struct postgres_link *s, const char *code)
{
    static const char *const codes[] = {"26000", "0A000", NULL};
    return s->state == POSTGRES_RUNNING && s->entry != NULL && is_one_of(code, codes);
}

static int take_error(struct postgres_link *s, struct sql_ask *ask, const PGresult *result)
{
    static const char *const fatal[] = {"FATAL", "PANIC", NULL};
    const char *code = s->pq->resultErrorField(result, PG_DIAG_SQLSTATE);
    const char *why = s->pq->resultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (code == NULL) /* of libpq's making: the connection */
        return lose_connection(s, ask);
    if (is_one_of(s->pq->resultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED), fatal))
        return lose(s, ask, why);
    if (strcmp(code, "57014") == 0) { /* statement_timeout */
        sql_ask_fail(ask, SQL_FAILED_TIME, code, "timeout");
        return 0;
    }
    s->is_stale = is_stale_code(s, code);
    if (s->is_stale)
        drop_entry(s);
    sql_ask_fail(ask, SQL_FAILED_STATEMENT, code, why);
    return 0;
}

static int take_rows(struct postgres_link *s, struct sql_ask *ask, PGresult *result)
{
    int err = s->has_names ? 0 : sql_postgres_take_names(s->pq, result, ask);
    s->has_names = true;
    err = err == 0 ? sql_postgres_take_rows(s->pq, result, ask) : err;
    return err == 0 ? 0 : break_off(s); /* more of them are on their way */
}

static int take_result(struct postgres_link *s, struct sql_ask *ask, PGresult *result)
{
    switch (s->pq->resultStatus(result)) {
    case PGRES_TUPLES_OK:
        ask->n_affected = sql_postgres_affected(s->pq, result);
        return take_rows(s, ask, result);
    case PGRES_SINGLE_TUPLE:
        return take_rows(s, ask, result);
    case PGRES_COMMAND_OK:
        ask->n_affected = sql_postgres_affected(s->pq, result);
        return 0;
    case PGRES_EMPTY_QUERY:
        sql_ask_fail(ask, SQL_FAILED_STATEMENT, NULL, "there is no statement in the text");
        return 0;
    case PGRES_FATAL_ERROR:
        return take_error(s, ask, result);
    case PGRES_NONFATAL_ERROR:
        return 0;
    default: /* COPY, which would go on by other calls */
        sql_ask_fail(ask, SQL_FAILED_STATEMENT, NULL, "COPY is not possible here");
        return break_off(s);
    }
}

/* Outside of a transaction, which the error has ended, it is sent again, once. */
static bool goes_again(struct postgres_link *s, struct sql_ask *ask)
{
    if (!s->is_stale || s->was_stale || s->pq->transactionStatus(s->conn) != PQTRANS_IDLE)
        return false;
    ask->failure = SQL_FAILED_NOT;
    s->was_stale = true;
    return true;
}

/* All results of what was sent are there. */
static int finish(struct postgres_link *s, struct sql_ask *ask)
{
    bool was_preparing = s->state == POSTGRES_PREPARING;
    if (s->pq->status(s->conn) == CONNECTION_BAD) {
        ask->failure = SQL_FAILED_NOT; /* that says more than what failed before */
        return lose_connection(s, ask);
    }
    s->state = POSTGRES_IDLE;
    if (was_preparing && ask->failure == SQL_FAILED_NOT)
        return send_query(s, ask);
    if (was_preparing)
        drop_entry(s);
    if (goes_again(s, ask))
        return send(s, ask);
    s->was_stale = false;
    return ask->failure == SQL_FAILED_NOT ? 0 : -ERR_BAD;
}

/* libpq takes an answer whole before it gives anything of it: how far it is over what it may have
 * can be told from what was in the socket only. */
static int consume(struct postgres_link *s, struct sql_ask *ask)
{
    int fd = s->pq->socket(s->conn), before = 0, after = 0;
    bool is_known = fd >= 0 && ioctl(fd, FIONREAD, &before) == 0;
    if (s->pq->consumeInput(s->conn) == 0)
        return lose_connection(s, ask);
    is_known = is_known && ioctl(fd, FIONREAD, &after) == 0;
    s->unread_bytes += is_known && before > after ? (size_t)(before - after) : 0;
    if (s->unread_bytes <= 2 * ask->max_bytes + ROW_SLACK)
        return 0;
    sql_ask_fail(ask, SQL_FAILED_LIMIT, NULL, "a row is larger than max_bytes");
    return break_off(s);
}

/* 1: all results were taken. */
static int take_results(struct postgres_link *s, struct sql_ask *ask)
{
    while (s->pq->isBusy(s->conn) == 0) {
        PGresult *result = s->pq->getResult(s->conn);
        if (result == NULL)
            return 1;
        s->unread_bytes = 0;
        int err = take_result(s, ask, result);
        s->pq->clear(result);
        if (err != 0)
            return err;
    }
    return 0;
}

/* What TLS has already read of the socket, nobody is woken for. */
static bool has_pending(const struct postgres_link *s)
{
    const SSL *tls = s->pq->getssl(s->conn);
    const struct ssl_library *ssl = tls != NULL ? ssl_library() : NULL; /* which libpq has loaded */
    return ssl != NULL && ssl->SSL_pending(tls) > 0;
}

static int answer_on(struct postgres_link *s, struct sql_ask *ask)
{
    int err, is_full = s->pq->flush(s->conn);
    if (is_full < 0)
        return lose_connection(s, ask);
    do {
        err = consume(s, ask);
        err = err == 0 ? take_results(s, ask) : err;
    } while (err == 0 && has_pending(s));
    if (err < 0)
        return err;
    if (err == 0)
        return wait_for(s, ask, (short)(is_full != 0 ? POLLIN | POLLOUT : POLLIN));
    return finish(s, ask);
}

/* ---- the driver ---- */

static int step(struct postgres_link *s, struct sql_ask *ask)
{
    switch (s->state) {
    case POSTGRES_NEW:
        return start(s, ask);
    case POSTGRES_CONNECTING:
        return connect_on(s, ask);
    case POSTGRES_IDLE:
        return send(s, ask);
    case POSTGRES_PREPARING:
    case POSTGRES_RUNNING:
        return answer_on(s, ask);
    case POSTGRES_BROKEN:
        break;
    }
    return lose(s, ask, "the connection is closed");
}

static int run(struct sql_link *link, struct sql_ask *ask)
{
    struct postgres_link *s = of(link);
    int err;
    if (ask->text == NULL && s->state == POSTGRES_IDLE)
        return 0;
    if (ask->text != NULL && s->state == POSTGRES_NEW)
        return lose(s, ask, "the connection is not open");
    do {
        err = step(s, ask);
    } while (err == 0 && ask->text != NULL && s->state != POSTGRES_IDLE);
    return err;
}

static bool is_alive(struct sql_link *link)
{
    struct postgres_link *s = of(link);
    if (s->state != POSTGRES_IDLE || s->pq->status(s->conn) != CONNECTION_OK)
        return false;
    /* What a server says without being asked is, but for rare notes, that it goes. */
    struct pollfd now = {.fd = s->pq->socket(s->conn), .events = POLLIN};
    return poll(&now, 1, 0) == 0;
}

static bool is_in_transaction(struct sql_link *link)
{
    struct postgres_link *s = of(link);
    return s->conn != NULL && s->pq->transactionStatus(s->conn) != PQTRANS_IDLE &&
           s->pq->transactionStatus(s->conn) != PQTRANS_UNKNOWN;
}

static void close_link(struct sql_link *link)
{
    struct postgres_link *s = of(link);
    if (s->conn != NULL)
        s->pq->finish(s->conn);
    for (size_t i = 0; i < s->cache.n; i++)
        free(s->cache.entries[i].statement);
    sql_cache_clear(&s->cache);
    forget_parameters(s);
    free(s);
}

static const struct sql_driver driver = {run, is_alive, is_in_transaction, close_link};

struct sql_link *sql_postgres_new(const struct sql_library *library, const char *const *keywords,
    const char *const *values, bool keeps_prepared)
{
    struct postgres_link *s = xcalloc(1, sizeof *s);
    s->link.driver = &driver;
    s->pq = library;
    s->keywords = copy(keywords);
    s->values = copy(values);
    s->keeps_prepared = keeps_prepared;
    return &s->link;
}
