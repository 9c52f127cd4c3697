/* Requests as statements. Each is one transaction; who finds another writing tries again. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "worker/store_sqlite.h"

enum {
    SHORT_TRIES = 3, /* a commit takes some 50 us: these are worth more than a turn of the loop */
    SHORT_WAIT_US = 50, /* the first; each is twice the one before */
    LONG_WAIT_MS = 4,   /* at most, the first of those after them; each twice the one before … */
    LONGEST_WAIT_MS = 128, /* … up to this: of hundreds of writers few may be awake at a time */
};

/* What is greater than all keys with the prefix; than any key when nothing else is. */
static struct slice beyond(struct slice prefix, char out[STORE_KEY_MAX + 1])
{
    size_t len = prefix.len;
    while (len > 0 && (uint8_t)prefix.data[len - 1] == 0xff)
        len--;
    if (len == 0) {
        memset(out, 0xff, STORE_KEY_MAX + 1);
        return slice_of(out, STORE_KEY_MAX + 1);
    }
    memcpy(out, prefix.data, len);
    out[len - 1] = (char)((uint8_t)out[len - 1] + 1);
    return slice_of(out, len);
}

/* ---- binding and reading ---- */

static int bind_bytes(sqlite3_stmt *statement, int at, struct slice bytes)
{
    return sqlite3_bind_blob(
        statement, at, bytes.len > 0 ? bytes.data : "", (int)bytes.len, SQLITE_STATIC);
}

static int bind_value(sqlite3_stmt *statement, int at, const struct store_value *value)
{
    switch (value->kind) {
    case STORE_INTEGER:
    case STORE_BOOLEAN:
        return sqlite3_bind_int64(statement, at, value->integer);
    case STORE_FLOAT:
        return sqlite3_bind_double(statement, at, value->number);
    case STORE_TEXT:
    case STORE_TABLE:
        return bind_bytes(statement, at, value->bytes);
    case STORE_NONE:
    case STORE_KIND_COUNT:
        break;
    }
    return SQLITE_MISUSE;
}

/* Columns 0 to 2 of the row. A kind that no version of ours wrote, or one whose value is of another
 * type, is a broken file. */
static int read_entry(sqlite3_stmt *statement, struct store_value *value, int64_t *expires_out)
{
    int type = sqlite3_column_type(statement, 1);
    int64_t kind = sqlite3_column_int64(statement, 0);
    *value = (struct store_value){.kind = (enum store_kind)kind};
    *expires_out = sqlite3_column_int64(statement, 2);
    if ((kind == STORE_INTEGER || kind == STORE_BOOLEAN) && type == SQLITE_INTEGER) {
        value->integer = sqlite3_column_int64(statement, 1);
        return SQLITE_OK;
    }
    if (kind == STORE_FLOAT && (type == SQLITE_FLOAT || type == SQLITE_INTEGER)) {
        value->number = sqlite3_column_double(statement, 1);
        return SQLITE_OK;
    }
    if ((kind == STORE_TEXT || kind == STORE_TABLE) && type == SQLITE_BLOB) {
        const void *data = sqlite3_column_blob(statement, 1);
        value->bytes = slice_of(data, (size_t)sqlite3_column_bytes(statement, 1));
        return SQLITE_OK;
    }
    return SQLITE_CORRUPT;
}

/* ---- one statement for each request ---- */

static enum store_statement statement_for(const struct store_request *request)
{
    static const enum store_statement rows[] = {[STORE_GET] = STATEMENT_GET,
        [STORE_SET] = STATEMENT_SET,
        [STORE_ADD] = STATEMENT_ADD,
        [STORE_SWAP] = STATEMENT_SWAP,
        [STORE_INCR] = STATEMENT_INCR,
        [STORE_DELETE] = STATEMENT_DELETE,
        [STORE_LIST] = STATEMENT_LIST,
        [STORE_EXPIRE] = STATEMENT_EXPIRE};
    if (request->op != STORE_SWAP)
        return rows[request->op];
    if (request->expected.kind == STORE_NONE)
        return STATEMENT_ADD;
    return request->value.kind == STORE_NONE ? STATEMENT_SWAP_OUT : STATEMENT_SWAP;
}

static int bind_change(
    sqlite3_stmt *statement, const struct store_request *request, enum store_statement which)
{
    int64_t now_ms = clock_wall_ms();
    int code = bind_bytes(statement, 1, request->key);
    if (code == SQLITE_OK && which != STATEMENT_SET)
        code = sqlite3_bind_int64(statement, 2, now_ms);
    if (code == SQLITE_OK && (which == STATEMENT_SWAP || which == STATEMENT_SWAP_OUT)) {
        code = sqlite3_bind_int(statement, 6, (int)request->expected.kind);
        code = code == SQLITE_OK ? bind_value(statement, 7, &request->expected) : code;
    }
    if (code != SQLITE_OK || which == STATEMENT_SWAP_OUT || which == STATEMENT_DELETE)
        return code;
    code = sqlite3_bind_int(statement, 3, (int)request->value.kind);
    code = code == SQLITE_OK ? bind_value(statement, 4, &request->value) : code;
    if (code != SQLITE_OK)
        return code;
    return which == STATEMENT_SWAP && request->ttl_ms == STORE_TTL_KEEP
               ? sqlite3_bind_null(statement, 5)
               : sqlite3_bind_int64(statement, 5, store_end_ms(request->ttl_ms, now_ms));
}

/* The first step changes, the last commits: what is not at its end has not happened. */
static int finish(sqlite3_stmt *statement, int code)
{
    while (code == SQLITE_ROW)
        code = sqlite3_step(statement);
    return code;
}

static int run_get(struct store_sqlite *s, sqlite3_stmt *statement, struct store_request *request)
{
    int code = bind_bytes(statement, 1, request->key);
    code = code == SQLITE_OK ? sqlite3_bind_int64(statement, 2, clock_wall_ms()) : code;
    code = code == SQLITE_OK ? sqlite3_step(statement) : code;
    request->result = (struct store_value){.kind = STORE_NONE};
    if (code != SQLITE_ROW)
        return code;
    code = read_entry(statement, &request->result, &request->expires_ms);
    buf_reset(&s->result);
    if (code == SQLITE_OK &&
        buf_put(&s->result, request->result.bytes.data, request->result.bytes.len) != 0)
        code = SQLITE_CORRUPT; /* we write none that is so long */
    request->result.bytes = buf_slice(&s->result);
    return code;
}

static int run_change(struct store_sqlite *s, sqlite3_stmt *statement,
    struct store_request *request, enum store_statement which)
{
    int code = bind_change(statement, request, which);
    code = code == SQLITE_OK ? sqlite3_step(statement) : code;
    bool has_row = code == SQLITE_ROW;
    bool was_alive = has_row && which == STATEMENT_DELETE && sqlite3_column_int(statement, 0) != 0;
    request->result = (struct store_value){.kind = STORE_NONE};
    if (has_row && which == STATEMENT_INCR) {
        int read = read_entry(statement, &request->result, &request->expires_ms);
        code = read == SQLITE_OK ? code : read;
    }
    code = finish(statement, code);
    if (code == SQLITE_DONE)
        request->is_done = which == STATEMENT_DELETE ? was_alive
                           : which == STATEMENT_INCR ? has_row
                                                     : sqlite3_changes(s->db) > 0;
    return code;
}

static int run_list(sqlite3_stmt *statement, struct store_request *request)
{
    char bound[STORE_KEY_MAX + 1];
    int code = bind_bytes(statement, 1, request->key);
    code = code == SQLITE_OK ? sqlite3_bind_int64(statement, 2, clock_wall_ms()) : code;
    code = code == SQLITE_OK ? bind_bytes(statement, 3, beyond(request->key, bound)) : code;
    code = code == SQLITE_OK ? bind_bytes(statement, 4, request->after) : code;
    code = code == SQLITE_OK ? sqlite3_bind_int64(statement, 5, request->limit) : code;
    if (code != SQLITE_OK)
        return code;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        struct store_entry entry;
        const void *key = sqlite3_column_blob(statement, 3);
        entry.key = slice_of(key, (size_t)sqlite3_column_bytes(statement, 3));
        int read = read_entry(statement, &entry.value, &entry.expires_ms);
        if (read != SQLITE_OK)
            return read;
        request->on_entry(&entry, request->context);
    }
    return code;
}

static int run_expire(struct store_sqlite *s, uint32_t limit, uint32_t *n_out)
{
    sqlite3_stmt *statement = store_sqlite_statement(s, STATEMENT_EXPIRE);
    if (statement == NULL)
        return sqlite3_extended_errcode(s->db);
    int code = sqlite3_bind_int64(statement, 2, clock_wall_ms());
    code = code == SQLITE_OK ? sqlite3_bind_int64(statement, 5, limit) : code;
    code = code == SQLITE_OK ? sqlite3_step(statement) : code;
    if (code == SQLITE_DONE)
        *n_out = (uint32_t)sqlite3_changes(s->db);
    int reset = sqlite3_reset(statement);
    return code == SQLITE_DONE ? reset : code;
}

static int run_once(struct store_sqlite *s, struct store_request *request)
{
    enum store_statement which = statement_for(request);
    if (request->op == STORE_EXPIRE)
        return run_expire(s, request->limit, &request->n_removed);
    sqlite3_stmt *statement = store_sqlite_statement(s, which);
    if (statement == NULL)
        return sqlite3_extended_errcode(s->db);
    int code = which == STATEMENT_GET    ? run_get(s, statement, request)
               : which == STATEMENT_LIST ? run_list(statement, request)
                                         : run_change(s, statement, request, which);
    (void)sqlite3_reset(statement); /* tells again what the step has told */
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

/* ---- waiting for other writers ---- */

/* Waiting times differ from worker to worker, so that they do not meet again. */
static uint32_t jitter(uint32_t n_tries, uint32_t range)
{
    uint32_t x = (uint32_t)getpid() * 2654435761U ^ (n_tries + 1) * 40503U ^
                 (uint32_t)clock_now_us() * 2246822519U;
    return (x >> 8) % range;
}

/* False: wait longer than is decent here, as request->wait says. */
static bool wait_shortly(struct store_request *request)
{
    uint32_t n = request->n_tries++;
    if (n >= SHORT_TRIES) {
        uint32_t steps = n - SHORT_TRIES;
        uint32_t range = steps < 5 ? LONG_WAIT_MS << steps : LONGEST_WAIT_MS;
        request->wait =
            (struct script_wait){.fd = -1, .until_ms = clock_now_ms() + 1 + jitter(n, range)};
        return false;
    }
    uint32_t wait_us = SHORT_WAIT_US << n;
    struct timespec pause = {.tv_nsec = (wait_us / 2 + jitter(n, wait_us)) * 1000L};
    nanosleep(&pause, NULL);
    return true;
}

/* ---- now and then ---- */

static bool is_file_gone(struct store_sqlite *s)
{
    int has_moved = 0;
    return s->use == STORE_SHARED &&
           sqlite3_file_control(s->db, "main", SQLITE_FCNTL_HAS_MOVED, &has_moved) == SQLITE_OK &&
           has_moved != 0;
}

/* After a change that is answered for: whatever comes of this, that one stands. A file that was
 * removed or replaced under us is let go of. */
static void tidy(struct store_sqlite *s)
{
    uint32_t n_removed;
    if (++s->n_writes % STORE_SQLITE_TIDY_WRITES != 0)
        return;
    (void)run_expire(s, STORE_SQLITE_TIDY_ENTRIES, &n_removed);
    if (is_file_gone(s))
        store_sqlite_close(s);
}

static bool is_change(enum store_op op)
{
    return op != STORE_GET && op != STORE_LIST && op != STORE_EXPIRE;
}

static int judge(const struct store_request *request, char *error_out)
{
    if (request->op == STORE_INCR && !request->is_done) {
        snprintf(error_out, STORE_ERROR_MAX,
            "the entry is no integer, or the sum is beyond what an integer holds");
        return -ERR_BAD;
    }
    return 0;
}

static int try_once(struct store_sqlite *s, struct store_request *request, char *error_out)
{
    int err = s->db == NULL ? store_sqlite_open(s, error_out) : 0;
    if (err != 0)
        return err;
    int code = run_once(s, request);
    if (code != SQLITE_OK)
        return store_sqlite_fail(s, code, error_out);
    s->was_told = false;
    err = judge(request, error_out);
    if (err == 0 && is_change(request->op))
        tidy(s);
    return err;
}

int store_sqlite_run(void *state, struct store_request *request, char *error_out)
{
    int err;
    while ((err = try_once(state, request, error_out)) == -ERR_AGAIN && wait_shortly(request)) {
    }
    return err;
}
