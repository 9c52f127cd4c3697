/*
 * Text written into content that is in some charset: what the charset can carry, where its ASCII
 * is, what must stand around the text. Reading charsets is mime_charset.c's.
 */
#ifndef POSTERN_WORKER_CHARSET_OUT_H
#define POSTERN_WORKER_CHARSET_OUT_H

#include <stdbool.h>

#include "common/arena.h"
#include "common/buf.h"

enum charset_form {
    CHARSET_ASCII = 0, /* nothing said, or US-ASCII */
    CHARSET_UTF8,
    CHARSET_TABLE,   /* ASCII bytes mean ASCII, others what a table says */
    CHARSET_SHIFTED, /* ISO-2022-JP: escape sequences switch; lines end in ASCII (RFC 1468) */
    CHARSET_WIDE     /* UTF-16, UTF-32 */
};

struct charset_out {
    enum charset_form form;
    const char *name; /* for iconv; NULL: none is known, ASCII alone can be written */
    size_t unit;      /* bytes of an ASCII character */
    bool is_big_endian;
};

/*
 * How text goes into content in that charset (lower case; "" is US-ASCII). A byte order mark at the
 * front of the content decides over the name. False for charsets in which ASCII bytes do not mean
 * ASCII and which we do not write: EBCDIC, UTF-7, HZ, ISO-2022 other than -JP.
 */
bool charset_out_find(const char *charset, struct slice content, struct charset_out *out);

/*
 * The byte order of UTF-16 that has no mark, "utf-16be" or "utf-16le". It should be the first (RFC
 * 2781 section 4.3), and is what the writer's machine has: letters, digits and blanks tell, whose
 * high byte is zero.
 */
const char *charset_utf16_order(struct slice content);

/* Whether every character of UTF-8 text can be written. */
bool charset_out_has(const struct charset_out *charset, struct slice text);
/* Writes UTF-8 text; what the charset lacks becomes "?". 0 or -ERR_TOOBIG. */
int charset_out_put(const struct charset_out *charset, struct slice text, struct buf *out);
/* What must come first so that text may follow the content's end: the escape sequence back to
 * ASCII, or nothing. */
struct slice charset_out_back(const struct charset_out *charset, struct slice content);
/*
 * The content with one byte for each unit, so that it can be scanned: ASCII as it is, 0x80 for
 * others. Place i of it is place i * unit of the content. Borrowed from the content when nothing
 * must be changed for that.
 */
struct slice charset_out_shadow(
    const struct charset_out *charset, struct slice content, struct arena *arena);

#endif
