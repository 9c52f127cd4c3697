#include "worker/html_css.h"

#include <stdint.h>
#include <string.h>

#include "common/text.h"
#include "worker/html_scan.h"

enum { ESCAPE_DIGITS = 6 };

/* ---- escapes ---- */

/* A line end at the front of text: its bytes. */
static size_t line_end(struct slice text)
{
    if (text.len >= 2 && text.data[0] == '\r' && text.data[1] == '\n')
        return 2;
    return text.len > 0 && (text.data[0] == '\n' || text.data[0] == '\r' || text.data[0] == '\f');
}

/* One blank or line end belongs to the number before it. */
static size_t blank_behind(struct slice text)
{
    const size_t end = line_end(text);
    return end > 0 ? end : text.len > 0 && (text.data[0] == ' ' || text.data[0] == '\t');
}

/* The backslash at the front of text and what it escapes: the bytes taken. What it stands for goes
 * to out, of 4 bytes; *n_out is 0 for a line that goes on. */
static size_t read_escape(struct slice text, char *out, size_t *n_out)
{
    uint32_t code = 0;
    size_t i = 1;
    for (int digit;
         i < text.len && i <= ESCAPE_DIGITS && (digit = text_hex_digit(text.data[i])) >= 0; i++)
        code = code * 16 + (uint32_t)digit;
    *n_out = 0;
    if (i > 1) {
        *n_out = html_put_code(code, out);
        return i + blank_behind(slice_of(text.data + i, text.len - i));
    }
    const size_t end = line_end(slice_of(text.data + 1, text.len - 1));
    if (end > 0)
        return 1 + end;
    out[0] = text.len > 1 ? text.data[1] : '\\';
    *n_out = 1;
    return text.len > 1 ? 2 : 1;
}

struct slice html_css_decode(struct slice text, struct arena *arena)
{
    if (text.len == 0 || memchr(text.data, '\\', text.len) == NULL)
        return text;
    char *out = arena_alloc(arena, 2 * text.len);
    size_t n = 0;
    for (size_t i = 0; i < text.len;) {
        size_t n_put = 1;
        if (text.data[i] == '\\') {
            i += read_escape(slice_of(text.data + i, text.len - i), out + n, &n_put);
        } else {
            out[n] = text.data[i++];
        }
        n += n_put;
    }
    return slice_of(out, n);
}

/* ---- words ---- */

/* Behind the word at `at`, whatever its letters are written as; 0: there is another. */
static size_t behind_word(struct slice css, size_t at, const char *word)
{
    for (; *word != '\0'; word++) {
        char c[4];
        size_t n = 1;
        if (at >= css.len)
            return 0;
        if (css.data[at] == '\\') {
            at += read_escape(slice_of(css.data + at, css.len - at), c, &n);
        } else {
            c[0] = css.data[at++];
        }
        const char lower = c[0] >= 'A' && c[0] <= 'Z' ? (char)(c[0] | 0x20) : c[0];
        if (n != 1 || lower != *word)
            return 0;
    }
    return at;
}

static size_t behind_blanks(struct slice css, size_t at)
{
    while (at < css.len && html_is_space(css.data[at]))
        at++;
    return at;
}

/* ---- addresses ---- */

static bool is_quote(struct slice css, size_t at)
{
    return at < css.len && (css.data[at] == '"' || css.data[at] == '\'');
}

static void take_until(struct html_css *scan, const char *ends, size_t *from_out, size_t *to_out)
{
    const struct slice css = scan->css;
    size_t i = scan->pos;
    *from_out = i;
    while (i < css.len && (css.data[i] == '\0' || strchr(ends, css.data[i]) == NULL)) {
        char c[4];
        size_t n;
        i += css.data[i] == '\\' ? read_escape(slice_of(css.data + i, css.len - i), c, &n) : 1;
    }
    *to_out = i;
    scan->pos = i;
}

/* The text whose quote is at the place. */
static bool take_text(struct html_css *scan, size_t *from_out, size_t *to_out)
{
    const char ends[2] = {scan->css.data[scan->pos++], '\0'};
    take_until(scan, ends, from_out, to_out);
    scan->pos += scan->pos < scan->css.len;
    return true;
}

/* What comes behind url( */
static bool take_inside(struct html_css *scan, size_t *from_out, size_t *to_out)
{
    scan->depth += scan->depth > 0;
    if (is_quote(scan->css, scan->pos))
        return take_text(scan, from_out, to_out);
    take_until(scan, ") \t\r\n\f", from_out, to_out);
    return true;
}

/* Nothing of image-set( that is deeper is an address: type("image/png"). */
static void count_bracket(struct html_css *scan, char c)
{
    if (scan->depth > 0 && c == '(')
        scan->depth++;
    else if (scan->depth > 0 && c == ')')
        scan->depth--;
}

bool html_css_next(struct html_css *scan, size_t *from_out, size_t *to_out)
{
    const struct slice css = scan->css;
    while (scan->pos < css.len) {
        const size_t at = scan->pos;
        size_t behind;
        if (scan->depth == 1 && is_quote(css, at))
            return take_text(scan, from_out, to_out);
        if ((behind = behind_word(css, at, "url(")) != 0) {
            scan->pos = behind_blanks(css, behind);
            return take_inside(scan, from_out, to_out);
        }
        if ((behind = behind_word(css, at, "@import")) != 0) {
            scan->pos = behind_blanks(css, behind);
            if (is_quote(css, scan->pos))
                return take_text(scan, from_out, to_out);
        } else if ((behind = behind_word(css, at, "image-set(")) != 0) {
            scan->pos = behind;
            scan->depth = 1;
        } else {
            count_bracket(scan, css.data[at]);
            scan->pos++;
        }
    }
    return false;
}
