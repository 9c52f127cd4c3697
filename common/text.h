/* Parsing and printing of small texts: numbers, sizes, durations, escapes, suggestions. ASCII; locale plays no part. */
#ifndef POSTERN_TEXT_H
#define POSTERN_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

/* Whole text must be a decimal number within min..max. Returns 0, -ERR_BAD or -ERR_RANGE. */
int text_to_i64(const char *text, int64_t min, int64_t max, int64_t *out);
/* "10", "64K", "16M", "2G" (powers of 1024) to bytes. Returns 0, -ERR_BAD or -ERR_RANGE (over INT64_MAX). */
int text_to_bytes(const char *text, int64_t *out);
/* "250ms", "8s", "8" (seconds), "5m", "2h", "1d" to milliseconds. Returns 0, -ERR_BAD or -ERR_RANGE. */
int text_to_ms(const char *text, int64_t *out);
/* "yes/no/on/off/true/false/1/0". */
int text_to_bool(const char *text, bool *out);

/*
 * Escapes bytes for a log line or terminal: control characters, DEL, backslash, invalid UTF-8 and the C1 range become
 * \n, \r, \t, \\ or \xHH. quote is also escaped when not 0. Cut at max_out - 4 with "..." when too long. Always
 * NUL-terminates. Returns the length written without NUL.
 */
size_t text_escape(char *out, size_t max_out, struct slice in, char quote);

/* The same for a finished line whose fields are escaped already: backslashes and quotes stay as they are. */
size_t text_escape_controls(char *out, size_t max_out, struct slice in);

bool text_is_utf8(struct slice in);
bool text_is_ascii(struct slice in); /* no byte over 127 */
/* Copies in to out replacing each invalid sequence by U+FFFD (as the Unicode standard's "maximal subpart" practice). */
int text_to_utf8(struct buf *out, struct slice in); /* 0 or -ERR_TOOBIG */
/* How much of a text is kept: bytes in all, bytes of a line, lines. With one line an LF is a control character like any other. */
struct text_bounds {
    size_t bytes, line_bytes, lines;
};
/*
 * Makes of any bytes a text that bounds allow: a CR before an LF is left out, other control characters (C0, DEL, C1) become
 * spaces, invalid UTF-8 becomes U+FFFD; what is over a bound is cut, at a character's start. out has bounds->bytes bytes; returns
 * how many were written, without NUL.
 */
size_t text_clean(char *out, struct slice in, const struct text_bounds *bounds);
/* True if one of the bytes is CR, LF or NUL. */
bool text_has_line_break_or_nul(struct slice in);

/*
 * The candidate nearest to word by edit distance (Damerau-Levenshtein), for "did you mean"; NULL when none is within a
 * third of the word's length (at least 2). candidates ends with NULL; words over 64 bytes get NULL.
 */
const char *text_nearest(const char *word, const char *const *candidates);

static inline bool text_is_blank(char c)
{
    return c == ' ' || c == '\t';
}
/* A blank, or of a line end. */
static inline bool text_is_space(char c)
{
    return text_is_blank(c) || c == '\r' || c == '\n';
}
static inline bool text_is_digit(char c)
{
    return c >= '0' && c <= '9';
}
/* What a hexadecimal digit of either case stands for; -1: it is none. */
static inline int text_hex_digit(char c)
{
    if (text_is_digit(c))
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}
/* Without blanks at its front. */
static inline struct slice text_after_blanks(struct slice in)
{
    while (in.len > 0 && text_is_blank(in.data[0]))
        in = slice_of(in.data + 1, in.len - 1);
    return in;
}
/* Without blanks and line ends around it. */
struct slice text_trim(struct slice in);

/* Copies as much as fits, and a NUL. out has room for at least one byte. */
void text_copy(char *out, size_t out_bytes, struct slice in);

/* Lower-case a NUL-terminated ASCII text in place. */
void text_lower(char *text);

#endif
