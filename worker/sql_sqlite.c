/*
 * SQLite: a statement runs to its end within one call, up to its deadline (the progress handler
 * looks at the clock). What finds another process writing is given up and tried again after a wait
 * of the caller's, so that its other tasks go on meanwhile.
 */
#include "worker/sql_sqlite.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/text.h"
#include "common/xalloc.h"

enum {
    STEPS_BETWEEN_LOOKS = 1000, /* of SQLite's machine, some 20 us */
    LONGEST_WAIT_MS = 64, /* for who writes; the first is at most 2, each twice the one before */
    CACHE_KB = 1024,
};

struct sqlite_link {
    struct sql_link link;
    char *path;
    int flags;
    sqlite3 *db;    /* NULL: not open */
    bool is_broken; /* it is not used any more */
    struct sql_cache cache;
    int64_t deadline_ms; /* of the statement that runs */
    unsigned n_busy;     /* tries of it in vain */
};

static const char pragmas[] =
    "PRAGMA foreign_keys = ON;"
    "PRAGMA temp_store = MEMORY;"
    "PRAGMA mmap_size = 0;" /* a file cut short is an error then, and no SIGBUS */
    "PRAGMA trusted_schema = OFF;"
    "PRAGMA cell_size_check = ON;";

static struct sqlite_link *of(struct sql_link *link)
{
    return (struct sqlite_link *)link;
}

/* ---- closing ---- */

static void close_file(struct sqlite_link *s)
{
    for (size_t i = 0; i < s->cache.n; i++)
        sqlite3_finalize(s->cache.entries[i].statement);
    sql_cache_clear(&s->cache);
    sqlite3_close(s->db);
    s->db = NULL;
}

static void close_link(struct sql_link *link)
{
    struct sqlite_link *s = of(link);
    close_file(s);
    free(s->path);
    free(s);
}

/* ---- failing ---- */

static bool is_busy(int code)
{
    return (code & 0xff) == SQLITE_BUSY || (code & 0xff) == SQLITE_LOCKED ||
           (code & 0xff) == SQLITE_PROTOCOL;
}

/* The file's fault, and not the statement's. */
static bool is_lasting(int code)
{
    switch (code & 0xff) {
    case SQLITE_CANTOPEN:
    case SQLITE_CORRUPT:
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_NOMEM:
    case SQLITE_NOTADB:
    case SQLITE_PERM:
        return true;
    default:
        return false;
    }
}

static int wait_for_writer(struct sqlite_link *s, struct sql_ask *ask)
{
    int64_t now_ms = clock_now_ms();
    if (now_ms >= ask->deadline_ms)
        return sql_ask_fail(ask, SQL_FAILED_TIME, NULL, "timeout: another process is writing");
    int64_t most_ms = 2LL << (s->n_busy < 5 ? s->n_busy : 5);
    int64_t until_ms =
        now_ms + 1 + clock_now_us() % (most_ms < LONGEST_WAIT_MS ? most_ms : LONGEST_WAIT_MS);
    s->n_busy++;
    ask->wait.fd = -1;
    ask->wait.events = 0;
    ask->wait.until_ms = until_ms < ask->deadline_ms ? until_ms : ask->deadline_ms;
    return -ERR_AGAIN;
}

static int fail(struct sqlite_link *s, struct sql_ask *ask, int code)
{
    char number[SQL_CODE_MAX], why[SQL_ERROR_MAX];
    if (is_busy(code))
        return wait_for_writer(s, ask);
    if ((code & 0xff) == SQLITE_INTERRUPT)
        return sql_ask_fail_time(ask);
    snprintf(number, sizeof number, "%d", code);
    snprintf(why, sizeof why, "%.300s%s",
        s->db != NULL ? sqlite3_errmsg(s->db) : sqlite3_errstr(code),
        (code & 0xff) == SQLITE_CANTOPEN
            ? " (its folder must be in worker.write_paths; read_only files in worker.read_paths)"
            : "");
    s->is_broken = is_lasting(code);
    return sql_ask_fail(ask, s->is_broken ? SQL_FAILED_LOST : SQL_FAILED_STATEMENT, number, why);
}

static int refuse(struct sql_ask *ask, const char *why)
{
    return sql_ask_fail(ask, SQL_FAILED_STATEMENT, NULL, why);
}

/* ---- opening ---- */

static int on_progress(void *context)
{
    const struct sqlite_link *s = context;
    return clock_now_ms() >= s->deadline_ms;
}

static int open_file(struct sqlite_link *s, struct sql_ask *ask)
{
    char size[60];
    int code = sqlite3_open_v2(s->path, &s->db, s->flags, NULL);
    if (code == SQLITE_OK) {
        sqlite3_limit(s->db, SQLITE_LIMIT_ATTACHED, 0); /* no other file */
        sqlite3_limit(s->db, SQLITE_LIMIT_LENGTH, SQL_PARAMETERS_BYTES);
        sqlite3_limit(s->db, SQLITE_LIMIT_VARIABLE_NUMBER, SQL_PARAMETERS_MAX);
        (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, (int *)NULL);
        sqlite3_progress_handler(s->db, STEPS_BETWEEN_LOOKS, on_progress, s);
        snprintf(size, sizeof size, "PRAGMA cache_size = -%d", CACHE_KB);
        code = sqlite3_exec(s->db, pragmas, NULL, NULL, NULL);
        code = code == SQLITE_OK ? sqlite3_exec(s->db, size, NULL, NULL, NULL) : code;
    }
    if (code == SQLITE_OK)
        return 0;
    int err = fail(s, ask, code);
    close_file(s);
    return err;
}

/* ---- preparing ---- */

/* Whether only blanks and comments are left. */
static bool is_over(struct sqlite_link *s, const char *tail)
{
    while (*tail != '\0') {
        sqlite3_stmt *more = NULL;
        const char *next = tail;
        int code = sqlite3_prepare_v2(s->db, tail, -1, &more, &next);
        bool is_empty = code == SQLITE_OK && more == NULL;
        sqlite3_finalize(more);
        if (!is_empty || next == tail)
            return is_empty;
        tail = next;
    }
    return true;
}

static int prepare(struct sqlite_link *s, struct sql_ask *ask, sqlite3_stmt **out)
{
    const char *tail = NULL;
    struct sql_cached *entry = sql_cache_find(&s->cache, ask);
    *out = entry != NULL ? entry->statement : NULL;
    if (*out != NULL)
        return 0;
    int code = sqlite3_prepare_v3(
        s->db, ask->text, (int)ask->text_bytes + 1, SQLITE_PREPARE_PERSISTENT, out, &tail);
    if (code != SQLITE_OK)
        return fail(s, ask, code);
    if (*out == NULL)
        return refuse(ask, "there is no statement in the text");
    if (!is_over(s, tail)) {
        sqlite3_finalize(*out);
        return refuse(ask, "one statement at a time");
    }
    if (ask->is_kept)
        sql_cache_add(&s->cache, ask, *out);
    return 0;
}

/* One that is not kept goes when it has been run. */
static void let_go(struct sqlite_link *s, struct sql_ask *ask, sqlite3_stmt *statement)
{
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    if (sql_cache_find(&s->cache, ask) == NULL)
        sqlite3_finalize(statement);
}

/* ---- parameters ---- */

/* Which value the parameter at this index takes, from 1: $2, ?2, or one ? after the other; 0: it
 * has a name. */
static int64_t number_of(sqlite3_stmt *statement, int index)
{
    int64_t number = 0;
    const char *name = sqlite3_bind_parameter_name(statement, index);
    if (name == NULL)
        return index;
    if ((name[0] != '$' && name[0] != '?') ||
        text_to_i64(name + 1, 1, SQL_PARAMETERS_MAX, &number) != 0)
        return 0;
    return number;
}

static int bind_one(sqlite3_stmt *statement, int index, const struct sql_value *value)
{
    switch (value->kind) {
    case SQL_KIND_INTEGER:
    case SQL_KIND_BOOLEAN:
        return sqlite3_bind_int64(statement, index, value->integer);
    case SQL_KIND_FLOAT:
        return sqlite3_bind_double(statement, index, value->number);
    case SQL_KIND_TEXT:
        return sqlite3_bind_text(
            statement, index, value->bytes.data, (int)value->bytes.len, SQLITE_STATIC);
    case SQL_KIND_BLOB:
        return sqlite3_bind_blob(
            statement, index, value->bytes.data, (int)value->bytes.len, SQLITE_STATIC);
    case SQL_KIND_NULL:
    case SQL_KIND_COUNT:
        break;
    }
    return sqlite3_bind_null(statement, index);
}

static int bind(struct sqlite_link *s, struct sql_ask *ask, sqlite3_stmt *statement)
{
    char why[120];
    int64_t n_wanted = 0;
    int n = sqlite3_bind_parameter_count(statement);
    for (int i = 1; i <= n; i++) {
        int64_t number = number_of(statement, i);
        if (number == 0)
            return refuse(ask, "parameters are written $1, $2 … or ?");
        n_wanted = number > n_wanted ? number : n_wanted;
        if (number > (int64_t)ask->n_values)
            continue;
        int code = bind_one(statement, i, &ask->values[number - 1]);
        if (code != SQLITE_OK)
            return fail(s, ask, code);
    }
    if (n_wanted == (int64_t)ask->n_values)
        return 0;
    snprintf(why, sizeof why, "the statement takes %lld parameters, and %zu were given",
        (long long)n_wanted, ask->n_values);
    return refuse(ask, why);
}

/* ---- the result ---- */

static struct sql_value read_value(sqlite3_stmt *statement, int column)
{
    struct sql_value value = {.kind = SQL_KIND_NULL};
    switch (sqlite3_column_type(statement, column)) {
    case SQLITE_INTEGER:
        value.kind = SQL_KIND_INTEGER;
        value.integer = sqlite3_column_int64(statement, column);
        break;
    case SQLITE_FLOAT:
        value.kind = SQL_KIND_FLOAT;
        value.number = sqlite3_column_double(statement, column);
        break;
    case SQLITE_TEXT:
        value.kind = SQL_KIND_TEXT;
        value.bytes.data = (const char *)sqlite3_column_text(statement, column);
        value.bytes.len = (size_t)sqlite3_column_bytes(statement, column);
        break;
    case SQLITE_BLOB:
        value.kind = SQL_KIND_BLOB;
        value.bytes.data = sqlite3_column_blob(statement, column);
        value.bytes.len = (size_t)sqlite3_column_bytes(statement, column);
        value.bytes.data = value.bytes.len > 0 ? value.bytes.data : "";
        break;
    default:
        break;
    }
    return value;
}

static int read_row(sqlite3_stmt *statement, struct sql_ask *ask)
{
    int err = sql_rows_add_row(ask);
    for (size_t i = 0; i < ask->n_columns && err == 0; i++) {
        struct sql_value value = read_value(statement, (int)i);
        err = sql_rows_add_value(ask, &value);
    }
    return err;
}

static int read_names(sqlite3_stmt *statement, struct sql_ask *ask)
{
    int err = sql_rows_begin(ask, (size_t)sqlite3_column_count(statement));
    for (size_t i = 0; i < ask->n_columns && err == 0; i++) {
        const char *name = sqlite3_column_name(statement, (int)i);
        err = sql_rows_add_name(ask, name != NULL ? name : "");
    }
    return err;
}

/* Names after the first step: that is when a changed table is noticed. */
static int step_all(struct sqlite_link *s, struct sql_ask *ask, sqlite3_stmt *statement)
{
    int64_t before = sqlite3_total_changes64(s->db);
    int code = sqlite3_step(statement);
    int err = read_names(statement, ask);
    while (err == 0 && code == SQLITE_ROW) {
        err = read_row(statement, ask);
        code = err == 0 ? sqlite3_step(statement) : code;
    }
    if (err != 0)
        return err;
    if (code != SQLITE_DONE)
        return fail(s, ask, sqlite3_extended_errcode(s->db));
    ask->n_affected = sqlite3_total_changes64(s->db) != before ? sqlite3_changes64(s->db) : 0;
    return 0;
}

/* ---- the driver ---- */

static int run(struct sql_link *link, struct sql_ask *ask)
{
    struct sqlite_link *s = of(link);
    sqlite3_stmt *statement;
    s->deadline_ms = ask->deadline_ms;
    if (s->is_broken)
        return sql_ask_fail(ask, SQL_FAILED_LOST, NULL, "the connection is closed");
    int err = s->db != NULL ? 0 : open_file(s, ask);
    if (err != 0 || ask->text == NULL)
        return err;
    err = prepare(s, ask, &statement);
    if (err != 0)
        return err;
    err = bind(s, ask, statement);
    err = err == 0 ? step_all(s, ask, statement) : err;
    let_go(s, ask, statement);
    if (err != -ERR_AGAIN)
        s->n_busy = 0;
    return err;
}

static bool is_alive(struct sql_link *link)
{
    return of(link)->db != NULL && !of(link)->is_broken;
}

static bool is_in_transaction(struct sql_link *link)
{
    return of(link)->db != NULL && sqlite3_get_autocommit(of(link)->db) == 0;
}

static const struct sql_driver driver = {run, is_alive, is_in_transaction, close_link};

struct sql_link *sql_sqlite_new(const char *path, bool is_read_only, bool may_create)
{
    struct sqlite_link *s = xcalloc(1, sizeof *s);
    s->link.driver = &driver;
    s->path = xstrdup(path);
    s->flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE |
               (is_read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE) |
               (may_create && !is_read_only ? SQLITE_OPEN_CREATE : 0);
    return &s->link;
}
