#include "worker/store_sqlite.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/xalloc.h"

/* The end of what has none: the largest integer, so that one comparison tells what is alive. */
#define FOREVER "9223372036854775807"

/* ?1 key  ?2 now  ?3 kind  ?4 value  ?5 end  ?6 expected kind  ?7 expected value; and as said. */
static const char *const texts[STATEMENT_COUNT] = {
    [STATEMENT_GET] = "SELECT kind, value, expires FROM entry WHERE key = ?1 AND expires > ?2",
    [STATEMENT_SET] =
        "INSERT INTO entry (key, kind, value, expires) VALUES (?1, ?3, ?4, ?5)"
        " ON CONFLICT (key) DO UPDATE SET kind = excluded.kind, value = excluded.value,"
        " expires = excluded.expires",
    [STATEMENT_ADD] =
        "INSERT INTO entry (key, kind, value, expires) VALUES (?1, ?3, ?4, ?5)"
        " ON CONFLICT (key) DO UPDATE SET kind = excluded.kind, value = excluded.value,"
        " expires = excluded.expires WHERE entry.expires <= ?2",
    [STATEMENT_SWAP] = "UPDATE entry SET kind = ?3, value = ?4, expires = coalesce(?5, expires)"
                       " WHERE key = ?1 AND expires > ?2 AND kind = ?6 AND value = ?7",
    [STATEMENT_SWAP_OUT] = "DELETE FROM entry"
                           " WHERE key = ?1 AND expires > ?2 AND kind = ?6 AND value = ?7",
    /* A sum beyond the integers would become a REAL: no row is changed then. */
    [STATEMENT_INCR] =
        "INSERT INTO entry (key, kind, value, expires) VALUES (?1, ?3, ?4, ?5)"
        " ON CONFLICT (key) DO UPDATE SET kind = excluded.kind,"
        " value = CASE WHEN entry.expires <= ?2 THEN excluded.value"
        " ELSE entry.value + excluded.value END,"
        " expires = CASE WHEN entry.expires <= ?2 THEN excluded.expires ELSE entry.expires END"
        " WHERE entry.expires <= ?2 OR"
        " (entry.kind = ?3 AND typeof(entry.value + excluded.value) = 'integer')"
        " RETURNING kind, value, expires",
    [STATEMENT_DELETE] = "DELETE FROM entry WHERE key = ?1 RETURNING expires > ?2",
    /* ?1 the prefix, ?3 what is greater than all with it, ?4 the last key before, ?5 how many */
    [STATEMENT_LIST] = "SELECT kind, value, expires, key FROM entry"
                       " WHERE key >= ?1 AND key < ?3 AND key > ?4 AND expires > ?2"
                       " ORDER BY key LIMIT ?5",
    [STATEMENT_EXPIRE] =
        "DELETE FROM entry WHERE key IN (SELECT key FROM entry"
        " WHERE expires <= ?2 AND expires < " FOREVER " ORDER BY expires LIMIT ?5)",
};

/* Of each connection; the file's own are page_size, journal_mode, application_id, user_version. */
static const char connection_pragmas[] =
    "PRAGMA synchronous = NORMAL;"
    "PRAGMA temp_store = MEMORY;"
    "PRAGMA mmap_size = 0;" /* a file cut short is an error then, and no SIGBUS */
    "PRAGMA trusted_schema = OFF;"
    "PRAGMA cell_size_check = ON;";

static const char schema[] =
    "CREATE TABLE entry (key BLOB PRIMARY KEY, kind INTEGER NOT NULL, value NOT NULL,"
    " expires INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX entry_expires ON entry (expires) WHERE expires < " FOREVER ";";

/* ---- errors ---- */

static bool is_busy(int code)
{
    return (code & 0xff) == SQLITE_BUSY || (code & 0xff) == SQLITE_PROTOCOL ||
           (code & 0xff) == SQLITE_LOCKED;
}

/* What no further try on this connection can mend. */
static bool is_lasting(int code)
{
    switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_ERROR:
    case SQLITE_SCHEMA:
        return true;
    default:
        return false;
    }
}

/* Closes, and keeps the text for those who ask before the next try. */
static int give_up(struct store_sqlite *s, const char *text, char *error_out)
{
    snprintf(error_out, STORE_ERROR_MAX, "%s", text);
    snprintf(s->open_error, sizeof s->open_error, "%s", text);
    store_sqlite_close(s);
    s->reopen_ms = clock_now_ms() + STORE_SQLITE_REOPEN_MS;
    if (!s->was_told)
        log_error("%s", text);
    s->was_told = true;
    return -ERR_SYSTEM;
}

int store_sqlite_fail(struct store_sqlite *s, int code, char *error_out)
{
    char text[STORE_ERROR_MAX];
    char path[PATH_MAX];
    if (is_busy(code))
        return -ERR_AGAIN;
    if (!store_path(s->conf, path))
        path[0] = '\0';
    if ((code & 0xff) == SQLITE_FULL) {
        snprintf(error_out, STORE_ERROR_MAX, "the store is full (store.max_bytes, or the disk)");
        return -ERR_TOOBIG;
    }
    snprintf(text, sizeof text, "the store %.120s: %.80s", path,
        s->db != NULL ? sqlite3_errmsg(s->db) : sqlite3_errstr(code));
    if (is_lasting(code))
        return give_up(s, text, error_out);
    snprintf(error_out, STORE_ERROR_MAX, "%s", text);
    return -ERR_SYSTEM;
}

/* ---- opening ---- */

static int get_number(sqlite3 *db, const char *sql, int64_t *out)
{
    sqlite3_stmt *statement;
    int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (code != SQLITE_OK)
        return code;
    code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        *out = sqlite3_column_int64(statement, 0);
    int end = sqlite3_finalize(statement);
    return code == SQLITE_ROW ? SQLITE_OK : end != SQLITE_OK ? end : code;
}

static int run_text(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

/* A file that is new: WAL first, since that cannot be changed inside a transaction. */
static int make_tables(sqlite3 *db)
{
    char sql[160];
    int64_t version = 0;
    snprintf(
        sql, sizeof sql, "PRAGMA page_size = %d; PRAGMA journal_mode = WAL", STORE_SQLITE_PAGE);
    int code = run_text(db, sql);
    if (code == SQLITE_OK)
        code = run_text(db, "BEGIN IMMEDIATE");
    if (code != SQLITE_OK)
        return code;
    code = get_number(db, "PRAGMA user_version", &version);
    if (code == SQLITE_OK && version == 0) { /* else another was quicker */
        snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %d",
            STORE_SQLITE_ID, STORE_SQLITE_VERSION);
        code = run_text(db, schema);
        code = code == SQLITE_OK ? run_text(db, sql) : code;
    }
    code = code == SQLITE_OK ? run_text(db, "COMMIT") : code;
    if (code != SQLITE_OK)
        (void)run_text(db, "ROLLBACK");
    return code;
}

struct marks {
    int64_t version, id, n_tables;
};

/* In one transaction: another process may be making them. */
static int read_marks(sqlite3 *db, struct marks *out)
{
    int code = run_text(db, "BEGIN");
    if (code != SQLITE_OK)
        return code;
    code = get_number(db, "SELECT count(*) FROM sqlite_schema", &out->n_tables);
    if (code == SQLITE_OK)
        code = get_number(db, "PRAGMA user_version", &out->version);
    if (code == SQLITE_OK)
        code = get_number(db, "PRAGMA application_id", &out->id);
    int end = run_text(db, "ROLLBACK");
    return code == SQLITE_OK ? end : code;
}

/* 0, a result code, or -ERR_BAD (it is a data base of somebody else), -ERR_VERSION. */
static int check_tables(sqlite3 *db)
{
    struct marks marks = {0};
    int code = read_marks(db, &marks);
    if (code != SQLITE_OK)
        return code;
    if (marks.version == 0 && marks.id == 0 && marks.n_tables == 0)
        return make_tables(db);
    if (marks.id != STORE_SQLITE_ID)
        return -ERR_BAD;
    return marks.version == STORE_SQLITE_VERSION ? SQLITE_OK : -ERR_VERSION;
}

static int set_up(struct store_sqlite *s)
{
    char sql[200];
    int64_t max_pages = s->conf->store.max_bytes / STORE_SQLITE_PAGE;
    snprintf(sql, sizeof sql,
        "PRAGMA cache_size = -%d; PRAGMA wal_autocheckpoint = %d;"
        "PRAGMA journal_size_limit = %d; PRAGMA max_page_count = %lld",
        STORE_SQLITE_CACHE_KB, STORE_SQLITE_LOG_PAGES, STORE_SQLITE_LOG_MAX,
        (long long)(max_pages < INT_MAX ? max_pages : INT_MAX));
    int code = run_text(s->db, connection_pragmas);
    code = code == SQLITE_OK ? check_tables(s->db) : code;
    return code == SQLITE_OK ? run_text(s->db, sql) : code;
}

static int open_file(struct store_sqlite *s, const char *path)
{
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
                      SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE;
    int code = sqlite3_open_v2(path, &s->db, flags, NULL);
    if (code != SQLITE_OK)
        return code;
    sqlite3_limit(s->db, SQLITE_LIMIT_LENGTH, 1 << 20);
    (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, (int *)NULL);
    return set_up(s);
}

static int refuse_file(struct store_sqlite *s, const char *path, int err, char *error_out)
{
    char text[STORE_ERROR_MAX];
    const char *why = err == -ERR_VERSION ? "was made by another version of Postern"
                                          : "is a data base of something else";
    snprintf(text, sizeof text, "the store %.160s %s", path, why);
    return give_up(s, text, error_out);
}

int store_sqlite_open(struct store_sqlite *s, char *error_out)
{
    char path[PATH_MAX] = ":memory:";
    if (s->reopen_ms > clock_now_ms()) {
        snprintf(error_out, STORE_ERROR_MAX, "%s", s->open_error);
        return -ERR_SYSTEM;
    }
    if (s->use == STORE_SHARED && !store_path(s->conf, path))
        return give_up(s, "the store: store.path is too long", error_out);
    int code = open_file(s, path);
    if (code == SQLITE_OK) {
        s->reopen_ms = 0;
        return 0;
    }
    if (code < 0)
        return refuse_file(s, path, code, error_out);
    int err = store_sqlite_fail(s, code, error_out);
    store_sqlite_close(s);
    return err;
}

void store_sqlite_close(struct store_sqlite *s)
{
    for (int i = 0; i < STATEMENT_COUNT; i++) {
        sqlite3_finalize(s->statements[i]);
        s->statements[i] = NULL;
    }
    sqlite3_close(s->db);
    s->db = NULL;
}

sqlite3_stmt *store_sqlite_statement(struct store_sqlite *s, enum store_statement which)
{
    if (s->statements[which] == NULL)
        (void)sqlite3_prepare_v3(
            s->db, texts[which], -1, SQLITE_PREPARE_PERSISTENT, &s->statements[which], NULL);
    return s->statements[which];
}

/* ---- the back end ---- */

static void *make(const struct conf *conf, enum store_use use)
{
    struct store_sqlite *s = xcalloc(1, sizeof *s);
    s->conf = conf;
    s->use = use;
    buf_init(&s->result, STORE_VALUE_MAX);
    return s;
}

static void end(void *state)
{
    struct store_sqlite *s = state;
    store_sqlite_close(s);
    buf_clear(&s->result);
    free(s);
}

const struct store_backend store_sqlite = {make, end, store_sqlite_run};
