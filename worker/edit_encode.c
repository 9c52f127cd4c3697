/* Transfer encodings of whole contents (RFC 2045 section 6), for parts that are made anew. */
#include "worker/charset_out.h"
#include "worker/edit_impl.h"

enum { LINE_CHARS = 76, LINE_BYTES = 57, LINE_MAX_BYTES = 998 };

bool edit_has_lines(const char *type, const char *charset, struct slice bytes)
{
    struct charset_out out;
    return strncmp(type, "text/", 5) == 0 && charset_out_find(charset, bytes, &out) &&
           out.form != CHARSET_WIDE;
}

struct slice edit_lines(struct slice text, const char *line_end, struct arena *arena)
{
    const size_t end_len = strlen(line_end);
    size_t n_ends = 0;
    for (size_t i = 0; i < text.len; i++)
        n_ends += text.data[i] == '\n' || text.data[i] == '\r';
    char *out = arena_alloc(arena, text.len + n_ends * end_len + 1);
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        const char c = text.data[i];
        if (c == '\r' && i + 1 < text.len && text.data[i + 1] == '\n')
            continue;
        if (c == '\n' || c == '\r') {
            memcpy(out + n, line_end, end_len);
            n += end_len;
        } else {
            out[n++] = c;
        }
    }
    return slice_of(out, n);
}

bool edit_is_plain(struct slice bytes, bool is_8bit, const char *line_end)
{
    const bool has_cr = line_end[0] == '\r';
    size_t column = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        const unsigned char c = (unsigned char)bytes.data[i];
        if (c == '\0' || (c >= 0x80 && !is_8bit))
            return false;
        if (c == '\r' && (!has_cr || i + 1 == bytes.len || bytes.data[i + 1] != '\n'))
            return false;
        if (c == '\n' && has_cr && (i == 0 || bytes.data[i - 1] != '\r'))
            return false;
        column = c == '\n' ? 0 : column + 1;
        if (column > LINE_MAX_BYTES)
            return false;
    }
    return true;
}

struct slice edit_base64(struct slice bytes, const char *line_end, struct arena *arena)
{
    const size_t end_len = strlen(line_end);
    const size_t n_lines = bytes.len / LINE_BYTES + 1;
    char *out = arena_alloc(arena, n_lines * (LINE_CHARS + end_len));
    size_t n = 0;
    for (size_t i = 0; i < bytes.len; i += LINE_BYTES) {
        const size_t left = bytes.len - i;
        n += mime_base64_encode(
            (const uint8_t *)bytes.data + i, left < LINE_BYTES ? left : LINE_BYTES, out + n);
        memcpy(out + n, line_end, end_len);
        n += end_len;
    }
    return slice_of(out, n);
}

struct quoted {
    char *out;
    size_t n, column;
    const char *line_end;
};

static void put_line_end(struct quoted *q)
{
    const size_t len = strlen(q->line_end);
    memcpy(q->out + q->n, q->line_end, len);
    q->n += len;
    q->column = 0;
}

static void put_char(struct quoted *q, unsigned char c, bool is_plain)
{
    static const char hex[] = "0123456789ABCDEF";
    const size_t len = is_plain ? 1 : 3;
    if (q->column + len > LINE_CHARS - 1) {
        q->out[q->n++] = '=';
        put_line_end(q);
        is_plain = is_plain && c != '-' && c != '.' && c != 'F'; /* see stays_plain */
    }
    if (is_plain) {
        q->out[q->n++] = (char)c;
        q->column++;
        return;
    }
    const char quoted[3] = {'=', hex[c >> 4], hex[c & 15]};
    memcpy(q->out + q->n, quoted, sizeof(quoted));
    q->n += sizeof(quoted);
    q->column += sizeof(quoted);
}

/* A dash at the start of a line could make a boundary of it, a dot trouble with old SMTP, "From " a
 * new message. A blank at the end of a line would get lost. */
static bool stays_plain(const struct quoted *q, unsigned char c, bool is_line_end_next)
{
    if (c == ' ' || c == '\t')
        return !is_line_end_next;
    if (q->column == 0 && (c == '-' || c == '.' || c == 'F'))
        return false;
    return c > ' ' && c < 127 && c != '=';
}

struct slice edit_quoted(
    struct slice bytes, bool is_text, const char *line_end, struct arena *arena)
{
    /* Three characters for a byte, and a soft line break after at most 72. */
    struct quoted q = {
        .out = arena_alloc(arena, bytes.len * 3 + bytes.len / 8 + 64), .line_end = line_end};
    for (size_t i = 0; i < bytes.len; i++) {
        const unsigned char c = (unsigned char)bytes.data[i];
        const bool is_pair = c == '\r' && i + 1 < bytes.len && bytes.data[i + 1] == '\n';
        const bool is_end = is_text && (is_pair || c == '\n');
        if (is_end) {
            put_line_end(&q);
            i += is_pair;
            continue;
        }
        const char next = i + 1 < bytes.len ? bytes.data[i + 1] : '\n';
        put_char(&q, c, stays_plain(&q, c, next == '\n' || next == '\r'));
    }
    return slice_of(q.out, q.n);
}
