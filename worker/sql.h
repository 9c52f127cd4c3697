/*
 * Connections to data bases, for postern.sql: a file of SQLite, or a server of PostgreSQL, each
 * with one statement at a time. Nothing here waits, but that SQLite reads and writes its file; each
 * call says what has to be waited for. Values are parameters, apart from the text, always.
 *
 * sql_postgres.c and sql_sqlite.c are the two; sql_rows.c what a statement gives, sql_cache.c
 * statements that are kept prepared. Nothing here knows of Lua.
 */
#ifndef POSTERN_WORKER_SQL_H
#define POSTERN_WORKER_SQL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "worker/script_wait.h"

enum {
    SQL_TEXT_MAX = 65536,            /* bytes of a statement */
    SQL_PARAMETERS_MAX = 1000,       /* of one */
    SQL_PARAMETERS_BYTES = 16 << 20, /* all of them together */
    SQL_COLUMNS_MAX = 1000,          /* of a result */
    SQL_STATEMENTS_MAX = 100, /* kept prepared for each connection; further ones are not kept */
    SQL_ERROR_MAX = 400,
    SQL_CODE_MAX = 12,
};

enum sql_kind {
    SQL_KIND_NULL = 0,
    SQL_KIND_INTEGER,
    SQL_KIND_FLOAT,
    SQL_KIND_BOOLEAN, /* integer: 0 or 1 */
    SQL_KIND_TEXT,    /* without NUL */
    SQL_KIND_BLOB,
    SQL_KIND_COUNT,
};

/* bytes: with a NUL behind them, as strings of Lua have. */
struct sql_value {
    enum sql_kind kind;
    int64_t integer;
    double number;
    struct slice bytes;
};

enum sql_failure {
    SQL_FAILED_NOT = 0,
    SQL_FAILED_STATEMENT, /* the data base refuses it; nothing was changed by it */
    SQL_FAILED_LIMIT,     /* the result is over a limit; what it changed is done */
    SQL_FAILED_TIME,
    SQL_FAILED_LOST, /* no connection, or no more: whether it was done is not known */
};

/* One statement and what it gives. What is borrowed must live until it has been run to its end, or
 * the connection is closed. */
struct sql_ask {
    const char *text; /* with a NUL behind it */
    size_t text_bytes;
    const struct sql_value *values;
    size_t n_values;
    bool is_kept; /* prepared once for the connection, and found again */
    size_t max_rows, max_bytes;
    int64_t deadline_ms; /* monotonic clock */

    struct buf names; /* of columns: n_columns times bytes (buf_put_bytes) */
    struct buf rows;  /* n_rows times n_columns values (sql_rows_take) */
    size_t n_columns, n_rows;
    int64_t n_affected;
    enum sql_failure failure;
    char error[SQL_ERROR_MAX]; /* one clean line */
    char code[SQL_CODE_MAX];   /* SQLSTATE, or SQLite's extended result code; "": none */
    struct script_wait wait;   /* after -ERR_AGAIN; what is the caller's to set */
};

struct sql_link;

struct sql_driver {
    /* Goes on with it: 0, -ERR_AGAIN (wait for ask->wait, then call again), or -ERR_BAD and
     * ask->failure says what kind. text NULL: connects, and no more. */
    int (*run)(struct sql_link *link, struct sql_ask *ask);
    bool (*is_alive)(struct sql_link *link); /* a look, without a question to the server */
    bool (*is_in_transaction)(struct sql_link *link);
    void (*close)(struct sql_link *link); /* frees it; what was open is rolled back */
};

/* The beginning of each driver's own. */
struct sql_link {
    const struct sql_driver *driver;
};

/* ---- sql_rows.c ---- */

void sql_ask_init(struct sql_ask *ask);
void sql_ask_clear(struct sql_ask *ask);
/* Notes why, cleaned. -ERR_BAD. code NULL: none. */
int sql_ask_fail(struct sql_ask *ask, enum sql_failure failure, const char *code, const char *why);
int sql_ask_fail_time(struct sql_ask *ask);
/* Each 0, or -ERR_BAD: over a limit, and the failure is noted. */
int sql_rows_begin(struct sql_ask *ask, size_t n_columns);
int sql_rows_add_name(struct sql_ask *ask, const char *name);
int sql_rows_add_row(struct sql_ask *ask);
int sql_rows_add_value(struct sql_ask *ask, const struct sql_value *value);
/* Reads the next value off ask->rows, bytes borrowed: 0 or -ERR_SHORT. */
int sql_rows_take(struct sql_ask *ask, struct sql_value *out);

/* ---- sql_cache.c ---- */

struct sql_cached {
    char *text;
    size_t text_bytes;
    void *statement; /* the driver's */
};

/* Zeroed at first. */
struct sql_cache {
    struct sql_cached entries[SQL_STATEMENTS_MAX];
    size_t n;
};

struct sql_cached *sql_cache_find(struct sql_cache *cache, const struct sql_ask *ask);
/* NULL: there is no more room. */
struct sql_cached *sql_cache_add(
    struct sql_cache *cache, const struct sql_ask *ask, void *statement);
void sql_cache_remove(struct sql_cache *cache, struct sql_cached *entry);
void sql_cache_clear(struct sql_cache *cache);

#endif
