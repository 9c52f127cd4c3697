/*
 * The store in one SQLite file, in WAL mode: readers never wait for a writer, and a worker that is
 * killed leaves nothing half done; the next one to open the file reads on from the log.
 *
 * synchronous = NORMAL: an answered change outlives every death of a process. A power failure may
 * take the newest changes with it, never the file: the log is on the disk before it is copied into
 * the file, but not at each commit, which would cost each change a wait for the disk.
 *
 * Shared by store_sqlite.c (the file) and store_sqlite_run.c (requests); nobody else includes this.
 */
#ifndef POSTERN_WORKER_STORE_SQLITE_H
#define POSTERN_WORKER_STORE_SQLITE_H

#include <sqlite3.h>

#include "worker/store_impl.h"

enum {
    STORE_SQLITE_VERSION = 1,        /* of the tables: PRAGMA user_version */
    STORE_SQLITE_ID = 0x506f7374,    /* "Post": PRAGMA application_id */
    STORE_SQLITE_PAGE = 4096,        /* bytes */
    STORE_SQLITE_LOG_PAGES = 1000,   /* of the log, before a commit copies it into the file */
    STORE_SQLITE_LOG_MAX = 8 << 20,  /* bytes that the log keeps when it begins anew */
    STORE_SQLITE_CACHE_KB = 1024,    /* pages that a worker keeps in memory */
    STORE_SQLITE_REOPEN_MS = 1000,   /* pause after a file that cannot be used */
    STORE_SQLITE_TIDY_WRITES = 64,   /* so many changes of one worker between two looks at … */
    STORE_SQLITE_TIDY_ENTRIES = 100, /* … so many entries whose end has passed */
};

/* Kept prepared, each from its first use on. */
enum store_statement {
    STATEMENT_GET = 0,
    STATEMENT_SET,
    STATEMENT_ADD,
    STATEMENT_SWAP,
    STATEMENT_SWAP_OUT,
    STATEMENT_INCR,
    STATEMENT_DELETE,
    STATEMENT_LIST,
    STATEMENT_EXPIRE,
    STATEMENT_COUNT
};

struct store_sqlite {
    const struct conf *conf;
    enum store_use use;
    sqlite3 *db; /* NULL: not open */
    sqlite3_stmt *statements[STATEMENT_COUNT];
    struct buf result; /* bytes of the last one: a row that is held would hold up the log */
    int64_t reopen_ms; /* monotonic clock: not before */
    char open_error[STORE_ERROR_MAX]; /* meanwhile */
    uint32_t n_writes;
    bool was_told; /* the log has the error that lasts */
};

/* ---- store_sqlite.c ---- */

/* Makes db usable: 0, -ERR_AGAIN (somebody else opens or mends it), or an error with its text. */
int store_sqlite_open(struct store_sqlite *s, char *error_out);
void store_sqlite_close(struct store_sqlite *s);
/* The statement, prepared; NULL: see sqlite3_errcode. */
sqlite3_stmt *store_sqlite_statement(struct store_sqlite *s, enum store_statement which);
/*
 * What a result code other than SQLITE_OK, ROW and DONE means: -ERR_AGAIN, or an error with its
 * text. A file that cannot be used is closed, and tried again later.
 */
int store_sqlite_fail(struct store_sqlite *s, int code, char *error_out);

/* ---- store_sqlite_run.c ---- */

int store_sqlite_run(void *state, struct store_request *request, char *error_out);

#endif
