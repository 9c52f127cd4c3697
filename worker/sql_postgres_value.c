/* All values but bytes go as text, without a type: the server knows which it wants. What comes back
 * is text as well, read by the type of its column. */
#include "worker/sql_postgres_value.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/text.h"
#include "common/xalloc.h"

/* Of pg_type.dat, which never change. */
enum {
    OID_BOOL = 16,
    OID_BYTEA = 17,
    OID_INT8 = 20,
    OID_INT2 = 21,
    OID_INT4 = 23,
    OID_OID = 26,
    OID_FLOAT4 = 700,
    OID_FLOAT8 = 701,
};

/* ---- parameters ---- */

static const char *number_text(double number, char *out, size_t out_bytes)
{
    if (isnan(number))
        return "NaN";
    if (isinf(number))
        return number > 0 ? "Infinity" : "-Infinity";
    snprintf(out, out_bytes, "%.17g", number);
    return out;
}

static void make_one(struct sql_parameters *out, int i, const struct sql_value *value)
{
    switch (value->kind) {
    case SQL_KIND_INTEGER:
        snprintf(out->numbers[i], sizeof out->numbers[i], "%lld", (long long)value->integer);
        out->values[i] = out->numbers[i];
        return;
    case SQL_KIND_FLOAT:
        out->values[i] = number_text(value->number, out->numbers[i], sizeof out->numbers[i]);
        return;
    case SQL_KIND_BOOLEAN:
        out->values[i] = value->integer != 0 ? "t" : "f";
        return;
    case SQL_KIND_TEXT:
        out->values[i] = value->bytes.data;
        return;
    case SQL_KIND_BLOB:
        out->values[i] = value->bytes.data;
        out->lengths[i] = (int)value->bytes.len;
        out->formats[i] = 1;
        return;
    case SQL_KIND_NULL:
    case SQL_KIND_COUNT:
        return;
    }
}

void sql_parameters_make(struct sql_parameters *out, const struct sql_ask *ask)
{
    size_t n = ask->n_values > 0 ? ask->n_values : 1;
    out->n = (int)ask->n_values;
    out->values = xcalloc(n, sizeof *out->values);
    out->lengths = xcalloc(n, sizeof *out->lengths);
    out->formats = xcalloc(n, sizeof *out->formats);
    out->numbers = xcalloc(n, sizeof *out->numbers);
    for (int i = 0; i < out->n; i++)
        make_one(out, i, &ask->values[i]);
}

void sql_parameters_clear(struct sql_parameters *parameters)
{
    free(parameters->values);
    free(parameters->lengths);
    free(parameters->formats);
    free(parameters->numbers);
}

/* ---- results ---- */

static int add_bytes(const struct sql_library *pq, const char *text, struct sql_ask *ask)
{
    size_t n = 0;
    unsigned char *bytes = pq->unescapeBytea((const unsigned char *)text, &n);
    if (bytes == NULL)
        return sql_ask_fail(ask, SQL_FAILED_LOST, NULL, "no memory");
    struct sql_value value = {.kind = SQL_KIND_BLOB, .bytes = slice_of(bytes, n)};
    int err = sql_rows_add_value(ask, &value);
    pq->freemem(bytes);
    return err;
}

static bool is_integer(Oid type)
{
    return type == OID_INT2 || type == OID_INT4 || type == OID_INT8 || type == OID_OID;
}

/* What a server sends that does not fit its column's type stays text. */
static int add_value(
    const struct sql_library *pq, const PGresult *result, int row, int column, struct sql_ask *ask)
{
    const char *text = pq->getvalue(result, row, column);
    Oid type = pq->ftype(result, column);
    struct sql_value value = {
        .kind = SQL_KIND_TEXT, .bytes = slice_of(text, (size_t)pq->getlength(result, row, column))};
    if (pq->getisnull(result, row, column) != 0) {
        value.kind = SQL_KIND_NULL;
    } else if (is_integer(type) && text_to_i64(text, INT64_MIN, INT64_MAX, &value.integer) == 0) {
        value.kind = SQL_KIND_INTEGER;
    } else if (type == OID_FLOAT4 || type == OID_FLOAT8) {
        char *end = NULL;
        value.number = strtod(text, &end);
        value.kind = *text != '\0' && *end == '\0' ? SQL_KIND_FLOAT : SQL_KIND_TEXT;
    } else if (type == OID_BOOL && (strcmp(text, "t") == 0 || strcmp(text, "f") == 0)) {
        value.kind = SQL_KIND_BOOLEAN;
        value.integer = text[0] == 't';
    } else if (type == OID_BYTEA) {
        return add_bytes(pq, text, ask);
    }
    return sql_rows_add_value(ask, &value);
}

int sql_postgres_take_names(
    const struct sql_library *pq, const PGresult *result, struct sql_ask *ask)
{
    int err = sql_rows_begin(ask, (size_t)pq->nfields(result));
    for (int i = 0; i < pq->nfields(result) && err == 0; i++)
        err = sql_rows_add_name(ask, pq->fname(result, i));
    return err;
}

int sql_postgres_take_rows(
    const struct sql_library *pq, const PGresult *result, struct sql_ask *ask)
{
    int err = 0;
    for (int row = 0; row < pq->ntuples(result) && err == 0; row++) {
        err = sql_rows_add_row(ask);
        for (int i = 0; i < (int)ask->n_columns && err == 0; i++)
            err = add_value(pq, result, row, i, ask);
    }
    return err;
}

int64_t sql_postgres_affected(const struct sql_library *pq, PGresult *result)
{
    static const char *const changing[] = {"INSERT ", "UPDATE ", "DELETE ", "MERGE "};
    const char *status = pq->cmdStatus(result);
    int64_t n = 0;
    for (size_t i = 0; i < sizeof changing / sizeof changing[0]; i++)
        if (strncmp(status, changing[i], strlen(changing[i])) == 0 &&
            text_to_i64(pq->cmdTuples(result), 0, INT64_MAX, &n) == 0)
            return n;
    return 0;
}
