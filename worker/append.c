#include "worker/append.h"

#include <iconv.h>
#include <string.h>
#include <strings.h>

#include "common/err.h"
#include "common/text.h"

enum { LINE_MAX_CHARS = 76 }; /* RFC 2045 sections 6.7 and 6.8 */

/* ---- the text in the body's charset ---- */

/*
 * Charsets that we convert to. A closed list: their names come from strangers, and converters for
 * the rarer ones have been holes in the C library. All of them hold ASCII.
 */
static const char *const convertible[] = {"iso-8859-1", "iso-8859-2", "iso-8859-3", "iso-8859-4",
    "iso-8859-5", "iso-8859-6", "iso-8859-7", "iso-8859-8", "iso-8859-9", "iso-8859-10",
    "iso-8859-13", "iso-8859-14", "iso-8859-15", "iso-8859-16", "windows-1250", "windows-1251",
    "windows-1252", "windows-1253", "windows-1254", "windows-1255", "windows-1256", "windows-1257",
    "windows-1258", "koi8-r", "koi8-u", "gb2312", "gbk", "gb18030", "big5", "euc-jp", "euc-kr",
    "shift_jis", "iso-2022-jp", "tis-620"};

static bool is_one_of(const char *name, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(name, list[i]) == 0)
            return true;
    }
    return false;
}

static bool has_8bit(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)s.data[i] >= 0x80)
            return true;
    }
    return false;
}

static bool is_ascii_charset(const char *charset)
{
    static const char *const names[] = {"", "us-ascii", "ascii", "ansi_x3.4-1968"};
    return is_one_of(charset, names, sizeof(names) / sizeof(names[0]));
}

static bool is_utf8_charset(const char *charset)
{
    return strcmp(charset, "utf-8") == 0 || strcmp(charset, "utf8") == 0;
}

static bool is_wide_charset(const char *charset)
{
    return strncmp(charset, "utf-16", 6) == 0 || strncmp(charset, "utf-32", 6) == 0 ||
           strncmp(charset, "ucs-", 4) == 0 || strncmp(charset, "utf16", 5) == 0 ||
           strncmp(charset, "utf32", 5) == 0 || strncmp(charset, "iso-10646", 9) == 0;
}

static size_t utf8_length(unsigned char first)
{
    return first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/* Each character outside ASCII becomes "?". */
static int put_ascii(struct buf *out, struct slice text)
{
    size_t n;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < text.len; i += n) {
        n = utf8_length((unsigned char)text.data[i]);
        rc = buf_put(out, n == 1 ? text.data + i : "?", 1);
    }
    return rc;
}

/* Converts as far as the charset goes. *in moves behind what was taken. */
static int convert_some(iconv_t cd, struct slice *in, struct buf *out)
{
    char chunk[4096];
    union {
        const char *from;
        char *to; /* iconv takes a char ** and does not write through it */
    } at = {.from = in->data};
    size_t left = in->len, room = sizeof(chunk);
    char *to = chunk;
    iconv(cd, in->data != NULL ? &at.to : NULL, &left, &to, &room);
    if (in->len > 0)
        *in = slice_of(in->data + (in->len - left), left);
    return buf_put(out, chunk, sizeof(chunk) - room);
}

static int convert(iconv_t cd, struct slice text, struct buf *out)
{
    while (text.len > 0) {
        const size_t before = text.len;
        int rc = convert_some(cd, &text, out);
        if (rc != 0)
            return rc;
        if (text.len != before)
            continue;
        struct slice mark = slice_of("?", 1);
        const size_t skipped = utf8_length((unsigned char)text.data[0]);
        text = slice_of(text.data + skipped, text.len - skipped);
        if ((rc = convert_some(cd, &mark, out)) != 0)
            return rc;
    }
    struct slice end = slice_of(NULL, 0); /* back to the first shift state */
    return convert_some(cd, &end, out);
}

static int put_in_charset(struct buf *out, struct slice text, const char *charset)
{
    const bool is_known =
        is_one_of(charset, convertible, sizeof(convertible) / sizeof(convertible[0]));
    iconv_t cd = is_known ? iconv_open(charset, "UTF-8") : (iconv_t)-1;
    if (cd == (iconv_t)-1)
        return put_ascii(out, text);
    const int rc = convert(cd, text, out);
    iconv_close(cd);
    return rc;
}

static bool is_raw_encoding(const char *encoding)
{
    static const char *const names[] = {"", "7bit", "8bit", "binary"};
    return is_one_of(encoding, names, sizeof(names) / sizeof(names[0]));
}

static int encode_charset(struct append *append, struct slice lines, struct buf *out)
{
    if (!has_8bit(lines) || is_utf8_charset(append->charset))
        return buf_put(out, lines.data, lines.len);
    if (!is_ascii_charset(append->charset))
        return put_in_charset(out, lines, append->charset);
    /* Declared as ASCII and yet something else: calling it UTF-8 would spoil it. */
    if (is_raw_encoding(append->encoding) && !text_is_utf8(append->body))
        return put_ascii(out, lines);
    append->needs_utf8 = true;
    return buf_put(out, lines.data, lines.len);
}

static int put_lines(struct buf *out, struct slice text)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < text.len; i++) {
        const char c = text.data[i];
        if (c == '\r' && i + 1 < text.len && text.data[i + 1] == '\n')
            continue;
        rc = c == '\n' || c == '\r' ? buf_put(out, "\r\n", 2) : buf_put(out, &c, 1);
    }
    if (rc == 0 && (out->len == 0 || out->data[out->len - 1] != '\n'))
        rc = buf_put(out, "\r\n", 2);
    return rc;
}

/* ---- transfer encodings ---- */

static bool ends_line(struct slice s)
{
    return s.len == 0 || s.data[s.len - 1] == '\n' || s.data[s.len - 1] == '\r';
}

static int put_raw(struct append *append, struct slice bytes, struct buf *out)
{
    int rc = buf_put(out, append->body.data, append->body.len);
    if (rc == 0 && !ends_line(append->body))
        rc = buf_put(out, "\r\n", 2);
    if (rc == 0)
        rc = buf_put(out, bytes.data, bytes.len);
    append->needs_8bit = has_8bit(bytes) && strcmp(append->encoding, "8bit") != 0 &&
                         strcmp(append->encoding, "binary") != 0;
    return rc;
}

/* Whether the body ends with a soft line break, after which a further line end is a real one. */
static bool ends_soft(struct slice body)
{
    size_t n = body.len;
    while (n > 0 && (body.data[n - 1] == '\n' || body.data[n - 1] == '\r') && body.len - n < 2)
        n--;
    return n > 0 && body.data[n - 1] == '=';
}

static int put_quoted(struct buf *out, struct slice line)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t column = 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < line.len; i++) {
        const unsigned char c = (unsigned char)line.data[i];
        const bool is_end = i + 1 == line.len;
        const bool is_plain =
            (c > ' ' && c < 127 && c != '=') || ((c == ' ' || c == '\t') && !is_end);
        const char quoted[3] = {'=', hex[c >> 4], hex[c & 15]};
        const size_t n = is_plain ? 1 : 3;
        if (column + n > LINE_MAX_CHARS - 1) {
            rc = buf_put(out, "=\r\n", 3);
            column = 0;
        }
        if (rc == 0)
            rc = is_plain ? buf_put(out, &c, 1) : buf_put(out, quoted, 3);
        column += n;
    }
    return rc == 0 ? buf_put(out, "\r\n", 2) : rc;
}

static int put_quoted_printable(struct append *append, struct slice bytes, struct buf *out)
{
    int rc = buf_put(out, append->body.data, append->body.len);
    if (rc == 0 && !ends_line(append->body))
        rc = buf_put(out, "\r\n", 2);
    if (rc == 0 && ends_soft(append->body))
        rc = buf_put(out, "\r\n", 2);
    while (rc == 0 && bytes.len > 0) {
        const char *lf = memchr(bytes.data, '\n', bytes.len);
        const size_t n = lf != NULL ? (size_t)(lf - bytes.data) + 1 : bytes.len;
        size_t len = n;
        while (len > 0 && (bytes.data[len - 1] == '\n' || bytes.data[len - 1] == '\r'))
            len--;
        rc = put_quoted(out, slice_of(bytes.data, len));
        bytes = slice_of(bytes.data + n, bytes.len - n);
    }
    return rc;
}

static const char base64_chars[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* How a base64 body ends. */
struct base64_end {
    size_t keep;     /* bytes of the body to keep */
    uint8_t tail[2]; /* decoded bytes of the last, incomplete group */
    size_t n_tail;
    bool has_content;
    uint8_t last; /* decoded byte */
};

/* The decoded bytes of up to four characters; their number. */
static size_t decode_group(const uint8_t *group, size_t n, uint8_t out[3])
{
    uint32_t bits = 0;
    for (size_t i = 0; i < 4; i++)
        bits = bits << 6 | (i < n ? group[i] : 0);
    out[0] = (uint8_t)(bits >> 16);
    out[1] = (uint8_t)(bits >> 8);
    out[2] = (uint8_t)bits;
    return n > 0 ? n - 1 : 0;
}

enum { NO_BASE64 = 64 };

static void fill_values(uint8_t values[256])
{
    memset(values, NO_BASE64, 256);
    for (uint8_t i = 0; i < NO_BASE64; i++)
        values[(unsigned char)base64_chars[i]] = i;
}

/* Decoders skip what is no base64; we do too. False when it ends amid a byte, or goes on after its
 * end. */
static bool find_base64_end(struct slice body, struct base64_end *out)
{
    static const uint8_t no_group[4];
    uint8_t values[256], group[4] = {0}, whole[4] = {0};
    size_t n = 0, complete = 0;
    bool has_padding = false;
    fill_values(values);
    for (size_t i = 0; i < body.len; i++) {
        const uint8_t value = values[(unsigned char)body.data[i]];
        has_padding |= body.data[i] == '=';
        if (value == NO_BASE64)
            continue;
        if (has_padding)
            return false;
        group[n++] = value;
        if (n == 4) {
            memcpy(whole, group, sizeof(whole));
            memcpy(group, no_group, sizeof(group));
            complete = i + 1;
            n = 0;
        }
    }
    uint8_t bytes[3];
    *out = (struct base64_end){.keep = n == 0 && !has_padding ? body.len : complete};
    out->has_content = complete > 0 || n > 1;
    out->n_tail = decode_group(group, n, bytes);
    memcpy(out->tail, bytes, sizeof(out->tail));
    if (out->n_tail == 0)
        decode_group(whole, 4, bytes);
    out->last = bytes[out->n_tail > 0 ? out->n_tail - 1 : 2];
    return n != 1;
}

static int put_base64_char(struct buf *out, char c, size_t *column)
{
    if (*column >= LINE_MAX_CHARS) {
        const int rc = buf_put(out, "\r\n", 2);
        if (rc != 0)
            return rc;
        *column = 0;
    }
    (*column)++;
    return buf_put(out, &c, 1);
}

static int put_base64_bytes(struct buf *out, struct slice bytes, size_t column)
{
    const uint8_t *at = (const uint8_t *)bytes.data;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < bytes.len; i += 3) {
        const size_t n = bytes.len - i < 3 ? bytes.len - i : 3;
        const uint32_t bits = (uint32_t)at[i] << 16 | (n > 1 ? (uint32_t)at[i + 1] << 8 : 0) |
                              (n > 2 ? at[i + 2] : 0);
        for (size_t k = 0; rc == 0 && k < 4; k++)
            rc = put_base64_char(
                out, k <= n ? base64_chars[bits >> (18 - 6 * k) & 63] : '=', &column);
    }
    return rc == 0 ? buf_put(out, "\r\n", 2) : rc;
}

static size_t last_column(struct slice s)
{
    size_t n = 0;
    while (n < s.len && s.data[s.len - n - 1] != '\n' && s.data[s.len - n - 1] != '\r')
        n++;
    return n;
}

static int put_base64(
    struct append *append, struct slice bytes, struct arena *arena, struct buf *out)
{
    struct base64_end end;
    if (!find_base64_end(append->body, &end))
        return -ERR_BAD;
    /* The incomplete group, a line end where there is none, the text. */
    char *all = arena_alloc(arena, bytes.len + 4);
    size_t n = end.n_tail;
    memcpy(all, end.tail, n);
    if (end.has_content && end.last != '\n') {
        memcpy(all + n, "\r\n", 2);
        n += 2;
    }
    memcpy(all + n, bytes.data, bytes.len);
    const struct slice kept = slice_of(append->body.data, end.keep);
    const int rc = buf_put(out, kept.data, kept.len);
    return rc != 0 ? rc : put_base64_bytes(out, slice_of(all, n + bytes.len), last_column(kept));
}

static int put_encoded(
    struct append *append, struct slice bytes, struct arena *arena, struct buf *out)
{
    if (is_raw_encoding(append->encoding))
        return put_raw(append, bytes, out);
    if (strcmp(append->encoding, "quoted-printable") == 0)
        return put_quoted_printable(append, bytes, out);
    if (strcmp(append->encoding, "base64") == 0)
        return put_base64(append, bytes, arena, out);
    return -ERR_BAD;
}

const char *append_to_body(struct append *append, struct arena *arena, struct buf *out)
{
    struct buf lines, bytes;
    if (is_wide_charset(append->charset))
        return "charset";
    append->needs_utf8 = append->needs_8bit = false;
    buf_init(&lines, out->max);
    buf_init(&bytes, out->max);
    int rc = put_lines(&lines, append->text);
    if (rc == 0)
        rc = encode_charset(append, buf_slice(&lines), &bytes);
    if (rc == 0)
        rc = put_encoded(append, buf_slice(&bytes), arena, out);
    buf_clear(&lines);
    buf_clear(&bytes);
    return rc == 0 ? NULL : rc == -ERR_BAD ? "encoding" : "size";
}
