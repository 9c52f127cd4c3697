/* Entries as Redis has them. What comes back may be anybody's: it is checked. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/text.h"
#include "worker/store_redis.h"

int store_redis_put_key(struct buf *out, const struct conf *conf, struct slice key)
{
    struct slice prefix = slice_text(conf->store.prefix);
    int err = buf_printf(out, "$%zu\r\n", prefix.len + key.len);
    err = err == 0 ? buf_put(out, prefix.data, prefix.len) : err;
    err = err == 0 ? buf_put(out, key.data, key.len) : err;
    return err == 0 ? buf_put(out, "\r\n", 2) : err;
}

/* A float as its bits: no rounding, and no locale's decimal point. */
int store_redis_put_value(struct buf *out, const struct store_value *value)
{
    char text[24];
    uint64_t bits;
    switch (value->kind) {
    case STORE_INTEGER:
    case STORE_BOOLEAN:
        return resp_put_number(out, value->integer);
    case STORE_FLOAT:
        memcpy(&bits, &value->number, sizeof bits);
        snprintf(text, sizeof text, "%016" PRIx64, bits);
        return resp_put_text(out, text);
    case STORE_TEXT:
    case STORE_TABLE:
        return resp_put_word(out, value->bytes);
    case STORE_NONE:
    case STORE_KIND_COUNT:
        break;
    }
    return resp_put_text(out, "");
}

int store_redis_put_get(struct buf *out, const struct conf *conf, struct slice key)
{
    int err = resp_put_head(out, 5);
    err = err == 0 ? resp_put_text(out, "HMGET") : err;
    err = err == 0 ? store_redis_put_key(out, conf, key) : err;
    err = err == 0 ? resp_put_text(out, "k") : err;
    err = err == 0 ? resp_put_text(out, "e") : err;
    return err == 0 ? resp_put_text(out, "v") : err;
}

/* ---- reading ---- */

static int to_integer(struct slice bytes, int64_t *out)
{
    char text[24];
    if (bytes.len == 0 || bytes.len >= sizeof text || text_has_line_break_or_nul(bytes))
        return -ERR_BAD;
    text_copy(text, sizeof text, bytes);
    return text_to_i64(text, INT64_MIN, INT64_MAX, out) == 0 ? 0 : -ERR_BAD;
}

static int to_float(struct slice bytes, double *out)
{
    uint64_t bits = 0;
    if (bytes.len != 16)
        return -ERR_BAD;
    for (size_t i = 0; i < bytes.len; i++) {
        int digit = text_hex_digit(bytes.data[i]);
        if (digit < 0)
            return -ERR_BAD;
        bits = bits << 4 | (uint64_t)digit;
    }
    memcpy(out, &bits, sizeof bits);
    return isnan(*out) ? -ERR_BAD : 0;
}

int store_redis_value(int64_t kind, struct slice bytes, struct store_value *out)
{
    *out = (struct store_value){.kind = (enum store_kind)kind};
    switch (kind) {
    case STORE_INTEGER:
        return to_integer(bytes, &out->integer);
    case STORE_BOOLEAN:
        return to_integer(bytes, &out->integer) == 0 && (uint64_t)out->integer <= 1 ? 0 : -ERR_BAD;
    case STORE_FLOAT:
        return to_float(bytes, &out->number);
    case STORE_TEXT:
    case STORE_TABLE:
        out->bytes = bytes;
        return bytes.len <= STORE_VALUE_MAX ? 0 : -ERR_BAD;
    default:
        return -ERR_BAD;
    }
}

int store_redis_take_entry(
    struct slice *in, struct store_value *value, int64_t *expires_ms, struct slice *error_out)
{
    struct resp_item head, fields[3];
    int64_t kind, end_ms;
    *value = (struct store_value){.kind = STORE_NONE};
    *expires_ms = STORE_FOREVER;
    if (resp_take(in, SIZE_MAX, &head) != 0)
        return -ERR_BAD;
    if (head.type == RESP_ERROR)
        *error_out = head.bytes;
    if (head.type != RESP_ARRAY || head.integer != 3)
        return -ERR_BAD;
    for (int i = 0; i < 3; i++)
        if (resp_take(in, SIZE_MAX, &fields[i]) != 0)
            return -ERR_BAD;
    if (fields[0].type == RESP_NIL && fields[1].type == RESP_NIL && fields[2].type == RESP_NIL)
        return 0;
    for (int i = 0; i < 3; i++)
        if (fields[i].type != RESP_BULK)
            return -ERR_BAD;
    if (to_integer(fields[0].bytes, &kind) != 0 || to_integer(fields[1].bytes, &end_ms) != 0 ||
        end_ms < 0)
        return -ERR_BAD;
    if (end_ms != 0 && end_ms <= clock_wall_ms())
        return 0;
    *expires_ms = end_ms != 0 ? end_ms : STORE_FOREVER;
    return store_redis_value(kind, fields[2].bytes, value);
}
