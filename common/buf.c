/* The byte buffer: growth by doubling up to its cap, big-endian numbers, a cursor that moves only
 * on success. */
#include "common/buf.h"

#include <endian.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/err.h"
#include "common/xalloc.h"

enum { BUF_FIRST_BYTES = 256 };

static unsigned char lower(unsigned char c)
{
    return c >= 'A' && c <= 'Z' ? (unsigned char)(c + ('a' - 'A')) : c;
}

bool slice_equal(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

bool slice_equal_nocase(struct slice a, struct slice b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower((unsigned char)a.data[i]) != lower((unsigned char)b.data[i]))
            return false;
    return true;
}

void buf_init(struct buf *buf, size_t max_bytes)
{
    *buf = (struct buf){.max = max_bytes};
}

void buf_view(struct buf *buf, const void *data, size_t len)
{
    /* The cast takes const away, and is_view gives it back: no put touches a view. */
    *buf = (struct buf){
        .data = (uint8_t *)(uintptr_t)data, .len = len, .cap = len, .max = len, .is_view = true};
}

void buf_clear(struct buf *buf)
{
    size_t max = buf->max;
    if (!buf->is_view)
        free(buf->data);
    buf_init(buf, max);
}

void buf_reset(struct buf *buf)
{
    buf->len = buf->pos = 0;
}

/* Makes room for len more bytes; false when the cap forbids it. */
static bool reserve(struct buf *buf, size_t len)
{
    if (buf->is_view || len > buf->max - buf->len)
        return false;
    size_t wanted = buf->len + len;
    if (wanted <= buf->cap)
        return true;
    size_t cap = buf->cap < BUF_FIRST_BYTES ? BUF_FIRST_BYTES : buf->cap;
    while (cap < wanted)
        cap = cap > buf->max / 2 ? buf->max : cap * 2;
    if (cap > buf->max)
        cap = buf->max;
    buf->data = xrealloc(buf->data, cap);
    buf->cap = cap;
    return true;
}

int buf_put(struct buf *buf, const void *data, size_t len)
{
    if (!reserve(buf, len))
        return -ERR_TOOBIG;
    if (len > 0)
        memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    return 0;
}

int buf_put_u8(struct buf *buf, uint8_t v)
{
    return buf_put(buf, &v, sizeof(v));
}

int buf_put_u16(struct buf *buf, uint16_t v)
{
    v = htobe16(v);
    return buf_put(buf, &v, sizeof(v));
}

int buf_put_u32(struct buf *buf, uint32_t v)
{
    v = htobe32(v);
    return buf_put(buf, &v, sizeof(v));
}

int buf_put_u64(struct buf *buf, uint64_t v)
{
    v = htobe64(v);
    return buf_put(buf, &v, sizeof(v));
}

int buf_put_bytes(struct buf *buf, struct slice bytes)
{
    if (bytes.len > UINT32_MAX || !reserve(buf, sizeof(uint32_t)) ||
        !reserve(buf, sizeof(uint32_t) + bytes.len))
        return -ERR_TOOBIG;
    buf_put_u32(buf, (uint32_t)bytes.len);
    return buf_put(buf, bytes.data, bytes.len);
}

int buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    int rc = -ERR_TOOBIG;
    /* vsnprintf wants room for a NUL, which is not part of the buffer: print aside when the cap has
     * none for it. */
    if (n >= 0 && reserve(buf, (size_t)n + 1)) {
        vsnprintf((char *)buf->data + buf->len, (size_t)n + 1, format, again);
        buf->len += (size_t)n;
        rc = 0;
    } else if (n >= 0 && reserve(buf, (size_t)n)) {
        char *text = xmalloc((size_t)n + 1);
        vsnprintf(text, (size_t)n + 1, format, again);
        rc = buf_put(buf, text, (size_t)n);
        free(text);
    }
    va_end(again);
    return rc;
}

int buf_get(struct buf *buf, size_t len, struct slice *out)
{
    if (len > buf_left(buf))
        return -ERR_SHORT;
    *out = slice_of(buf->data == NULL ? NULL : buf->data + buf->pos, len);
    buf->pos += len;
    return 0;
}

static int get_number(struct buf *buf, void *out, size_t len)
{
    if (len > buf_left(buf))
        return -ERR_SHORT;
    memcpy(out, buf->data + buf->pos, len);
    buf->pos += len;
    return 0;
}

int buf_get_u8(struct buf *buf, uint8_t *out)
{
    return get_number(buf, out, sizeof(*out));
}

int buf_get_u16(struct buf *buf, uint16_t *out)
{
    int rc = get_number(buf, out, sizeof(*out));
    if (rc == 0)
        *out = be16toh(*out);
    return rc;
}

int buf_get_u32(struct buf *buf, uint32_t *out)
{
    int rc = get_number(buf, out, sizeof(*out));
    if (rc == 0)
        *out = be32toh(*out);
    return rc;
}

int buf_get_u64(struct buf *buf, uint64_t *out)
{
    int rc = get_number(buf, out, sizeof(*out));
    if (rc == 0)
        *out = be64toh(*out);
    return rc;
}

int buf_get_bytes(struct buf *buf, size_t max_bytes, struct slice *out)
{
    size_t before = buf->pos;
    uint32_t len;
    int rc = buf_get_u32(buf, &len);
    if (rc != 0)
        return rc;
    rc = len > max_bytes ? -ERR_TOOBIG : buf_get(buf, len, out);
    if (rc != 0)
        buf->pos = before;
    return rc;
}
