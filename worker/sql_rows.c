/* What a statement gives: names of columns and values, in buffers with limits, so that nothing of a
 * driver is held while they become tables of Lua. */
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "common/text.h"
#include "worker/sql.h"

enum { NAMES_BYTES_MAX = 65536 };

void sql_ask_init(struct sql_ask *ask)
{
    *ask = (struct sql_ask){.failure = SQL_FAILED_NOT};
    buf_init(&ask->names, NAMES_BYTES_MAX);
    buf_init(&ask->rows, 0);
}

void sql_ask_clear(struct sql_ask *ask)
{
    buf_clear(&ask->names);
    buf_clear(&ask->rows);
}

/* ---- failing ---- */

/* The first line, without blanks at its end. */
static struct slice first_line(const char *why)
{
    return text_trim(slice_of(why, strcspn(why, "\r\n")));
}

int sql_ask_fail(struct sql_ask *ask, enum sql_failure failure, const char *code, const char *why)
{
    if (ask->failure != SQL_FAILED_NOT)
        return -ERR_BAD;
    ask->failure = failure;
    snprintf(ask->code, sizeof ask->code, "%s", code != NULL ? code : "");
    text_escape(
        ask->error, sizeof ask->error, first_line(why != NULL ? why : "no reason given"), 0);
    return -ERR_BAD;
}

int sql_ask_fail_time(struct sql_ask *ask)
{
    return sql_ask_fail(ask, SQL_FAILED_TIME, NULL, "timeout");
}

static int fail_limit(struct sql_ask *ask, const char *what, size_t max)
{
    char why[80];
    snprintf(why, sizeof why, "the result has more than %zu %s", max, what);
    return sql_ask_fail(ask, SQL_FAILED_LIMIT, NULL, why);
}

static int fail_bytes(struct sql_ask *ask)
{
    return fail_limit(ask, "bytes (max_bytes)", ask->max_bytes);
}

/* ---- writing ---- */

int sql_rows_begin(struct sql_ask *ask, size_t n_columns)
{
    buf_reset(&ask->names);
    buf_reset(&ask->rows);
    ask->names.pos = ask->rows.pos = 0;
    ask->rows.max = ask->max_bytes;
    ask->n_columns = n_columns;
    ask->n_rows = 0;
    return n_columns <= SQL_COLUMNS_MAX ? 0 : fail_limit(ask, "columns", SQL_COLUMNS_MAX);
}

int sql_rows_add_name(struct sql_ask *ask, const char *name)
{
    if (buf_put_bytes(&ask->names, slice_text(name)) != 0)
        return fail_limit(ask, "bytes of names of columns", NAMES_BYTES_MAX);
    return 0;
}

int sql_rows_add_row(struct sql_ask *ask)
{
    if (ask->n_rows >= ask->max_rows)
        return fail_limit(ask, "rows (max_rows)", ask->max_rows);
    ask->n_rows++;
    return 0;
}

static int put_value(struct buf *out, const struct sql_value *value)
{
    uint64_t bits = 0;
    int err = buf_put_u8(out, (uint8_t)value->kind);
    if (err != 0)
        return err;
    switch (value->kind) {
    case SQL_KIND_INTEGER:
    case SQL_KIND_BOOLEAN:
        return buf_put_u64(out, (uint64_t)value->integer);
    case SQL_KIND_FLOAT:
        memcpy(&bits, &value->number, sizeof bits);
        return buf_put_u64(out, bits);
    case SQL_KIND_TEXT:
    case SQL_KIND_BLOB:
        return buf_put_bytes(out, value->bytes);
    case SQL_KIND_NULL:
    case SQL_KIND_COUNT:
        break;
    }
    return 0;
}

int sql_rows_add_value(struct sql_ask *ask, const struct sql_value *value)
{
    return put_value(&ask->rows, value) == 0 ? 0 : fail_bytes(ask);
}

/* ---- reading ---- */

int sql_rows_take(struct sql_ask *ask, struct sql_value *out)
{
    uint8_t kind = SQL_KIND_NULL;
    uint64_t bits = 0;
    *out = (struct sql_value){.kind = SQL_KIND_NULL};
    int err = buf_get_u8(&ask->rows, &kind);
    if (err != 0 || kind == SQL_KIND_NULL || kind >= SQL_KIND_COUNT)
        return err;
    out->kind = (enum sql_kind)kind;
    if (kind == SQL_KIND_TEXT || kind == SQL_KIND_BLOB)
        return buf_get_bytes(&ask->rows, SIZE_MAX, &out->bytes);
    err = buf_get_u64(&ask->rows, &bits);
    out->integer = (int64_t)bits;
    memcpy(&out->number, &bits, sizeof bits);
    return err;
}
