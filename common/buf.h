/*
 * A growing byte buffer with a hard cap and a read cursor, and slices (borrowed bytes). All numbers are big-endian.
 * A put that would pass the cap, and a get that finds too little, fail and change nothing.
 */
#ifndef POSTERN_BUF_H
#define POSTERN_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Borrowed bytes, not NUL-terminated. data may be NULL when len is 0. */
struct slice {
    const char *data;
    size_t len;
};

static inline struct slice slice_of(const void *data, size_t len)
{
    return (struct slice){data, len};
}
static inline struct slice slice_text(const char *s) /* NULL gives the empty slice */
{
    return (struct slice){s, s != NULL ? strlen(s) : 0};
}
bool slice_equal(struct slice a, struct slice b);
bool slice_equal_nocase(struct slice a, struct slice b); /* ASCII */

struct buf {
    uint8_t *data; /* owned, unless is_view */
    size_t len;    /* bytes put */
    size_t cap;    /* bytes allocated */
    size_t max;    /* never grows past this */
    size_t pos;    /* read cursor, at most len */
    bool is_view;  /* reads somebody else's bytes; every put fails */
};

void buf_init(struct buf *buf, size_t max_bytes);
/* Makes a buffer that reads borrowed bytes; nothing to clear, though clearing is fine. */
void buf_view(struct buf *buf, const void *data, size_t len);
void buf_clear(struct buf *buf); /* frees; the buffer may be used again with the same cap */
void buf_reset(struct buf *buf); /* empties, keeps the memory */
static inline size_t buf_left(const struct buf *buf)
{
    return buf->len - buf->pos;
}
static inline struct slice buf_slice(const struct buf *buf) /* everything put so far */
{
    return slice_of(buf->data, buf->len);
}

/* Each returns 0 or -ERR_TOOBIG, and then nothing was put. */
int buf_put(struct buf *buf, const void *data, size_t len);
int buf_put_u8(struct buf *buf, uint8_t v);
int buf_put_u16(struct buf *buf, uint16_t v);
int buf_put_u32(struct buf *buf, uint32_t v);
int buf_put_u64(struct buf *buf, uint64_t v);
int buf_put_bytes(struct buf *buf, struct slice bytes); /* u32 length, then the bytes */
int buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Each returns 0, or -ERR_SHORT with the cursor where it was. */
int buf_get(struct buf *buf, size_t len, struct slice *out); /* borrowed from the buffer */
int buf_get_u8(struct buf *buf, uint8_t *out);
int buf_get_u16(struct buf *buf, uint16_t *out);
int buf_get_u32(struct buf *buf, uint32_t *out);
int buf_get_u64(struct buf *buf, uint64_t *out);
/* u32 length and bytes; -ERR_TOOBIG when the length is over max_bytes (cursor unmoved). */
int buf_get_bytes(struct buf *buf, size_t max_bytes, struct slice *out);

#endif
