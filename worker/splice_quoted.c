/*
 * Quoted-printable spliced: the encoded bytes are walked as the decoder walks them, so that a place
 * in the decoded content has one in the encoded. Lines that a change makes too long get soft breaks
 * around it.
 */
#include "worker/splice.h"

#include <string.h>

#include "common/err.h"
#include "worker/mime_quoted.h"

enum { LINE_CHARS = 76, LOOK_BYTES = 80 };

/* ---- writing ---- */

struct writer {
    struct buf *out;
    const char *line_end;
};

static int put_line_end(const struct writer *w)
{
    return buf_put(w->out, w->line_end, strlen(w->line_end));
}

static int put_soft_break(const struct writer *w)
{
    const int rc = buf_put(w->out, "=", 1);
    return rc == 0 ? put_line_end(w) : rc;
}

static size_t column_of(const struct buf *out)
{
    size_t n = 0;
    while (n < out->len && n < LOOK_BYTES && out->data[out->len - n - 1] != '\n')
        n++;
    return n;
}

static bool is_plain(struct slice bytes, size_t i)
{
    const unsigned char c = (unsigned char)bytes.data[i];
    if (c == ' ' || c == '\t')
        return i + 1 < bytes.len && bytes.data[i + 1] != '\r' && bytes.data[i + 1] != '\n';
    return c > ' ' && c < 127 && c != '=';
}

static bool is_line_end(struct slice bytes, size_t i)
{
    return bytes.data[i] == '\r' && i + 1 < bytes.len && bytes.data[i + 1] == '\n';
}

static int put_byte(const struct writer *w, unsigned char c, bool as_it_is)
{
    static const char hex[] = "0123456789ABCDEF";
    const char quoted[3] = {'=', hex[c >> 4], hex[c & 15]};
    return as_it_is ? buf_put(w->out, &c, 1) : buf_put(w->out, quoted, sizeof(quoted));
}

static int put_bytes(const struct writer *w, struct slice bytes, size_t column)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < bytes.len; i++) {
        if (is_line_end(bytes, i)) {
            rc = put_line_end(w);
            column = 0;
            i++;
            continue;
        }
        const bool plain = is_plain(bytes, i);
        const size_t n = plain ? 1 : 3;
        if (column + n > LINE_CHARS - 1) {
            rc = put_soft_break(w);
            column = 0;
        }
        if (rc == 0)
            rc = put_byte(w, (unsigned char)bytes.data[i], plain);
        column += n;
    }
    return rc;
}

int splice_put_quoted(struct slice bytes, const char *line_end, struct buf *out)
{
    const struct writer w = {out, line_end};
    return put_bytes(&w, bytes, 0);
}

static int put_crlf_lines(struct slice text, struct buf *out)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < text.len; i++) {
        const bool is_bare = text.data[i] == '\n' && (i == 0 || text.data[i - 1] != '\r');
        rc = is_bare ? buf_put(out, "\r\n", 2) : buf_put(out, text.data + i, 1);
    }
    return rc;
}

int splice_put_requoted(
    const struct splice_body *body, const struct splice *list, size_t n, struct buf *out)
{
    const bool is_crlf = body->line_end[0] == '\r';
    struct buf all, lines;
    buf_init(&all, out->max);
    buf_init(&lines, out->max);
    int rc = splice_apply(body->decoded, 0, list, n, &all);
    if (rc == 0 && !is_crlf)
        rc = put_crlf_lines(buf_slice(&all), &lines);
    if (rc == 0)
        rc = splice_put_quoted(buf_slice(is_crlf ? &all : &lines), body->line_end, out);
    buf_clear(&all);
    buf_clear(&lines);
    return rc;
}

/* ---- walking ---- */

struct walk {
    struct slice in;
    size_t pos;     /* encoded */
    size_t decoded; /* bytes that came out so far */
};

/* Behind the soft break at pos; pos itself when there is none. */
static size_t behind_soft_break(struct slice in, size_t pos)
{
    if (pos >= in.len || in.data[pos] != '=')
        return pos;
    return mime_soft_break_end(in.data, in.len, pos);
}

/* Moves to where `decoded` bytes have come out; the body has no stray "=". */
static void walk_to(struct walk *walk, size_t decoded)
{
    while (walk->decoded < decoded && walk->pos < walk->in.len) {
        const size_t soft = behind_soft_break(walk->in, walk->pos);
        if (soft != walk->pos) {
            walk->pos = soft;
            continue;
        }
        walk->pos += walk->in.data[walk->pos] == '=' ? 3 : 1;
        walk->decoded++;
    }
}

/* At the end of the content: behind soft breaks too. Returns where the bytes to keep end: before a
 * soft break that lacks its line end, which would take that of what follows. */
static size_t walk_over_last_breaks(struct walk *walk)
{
    size_t at = walk->pos, last = at, next;
    while ((next = behind_soft_break(walk->in, at)) != at) {
        last = at;
        at = next;
    }
    if (at != walk->in.len)
        return walk->pos;
    const bool is_whole = at == walk->pos || walk->in.data[at - 1] == '\n';
    walk->pos = at;
    return is_whole ? at : last;
}

static size_t rest_of_line(struct slice in, size_t pos)
{
    size_t n = 0;
    while (
        pos + n < in.len && n < LOOK_BYTES && in.data[pos + n] != '\n' && in.data[pos + n] != '\r')
        n++;
    return n;
}

static int put_change(const struct writer *w, struct walk *walk, struct slice bytes)
{
    struct buf *out = w->out;
    int rc = put_bytes(w, bytes, column_of(out));
    const size_t column = column_of(out), rest = rest_of_line(walk->in, walk->pos);
    if (rc == 0 && column > 0 && rest > 0 && column + rest > LINE_CHARS)
        rc = put_soft_break(w);
    return rc;
}

static int put_sound(const struct writer *w, struct slice body, const struct splice *list, size_t n)
{
    struct walk walk = {.in = body};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const size_t before = walk.pos;
        walk_to(&walk, list[i].from);
        const size_t end = walk_over_last_breaks(&walk);
        rc = buf_put(w->out, body.data + before, end - before);
        walk_to(&walk, list[i].to);
        if (rc == 0)
            rc = put_change(w, &walk, list[i].bytes);
    }
    return rc == 0 ? buf_put(w->out, body.data + walk.pos, body.len - walk.pos) : rc;
}

/* A stray "=" could join what is written behind it: all is written anew. */
static int put_broken(
    const struct writer *w, struct slice decoded, const struct splice *list, size_t n)
{
    struct buf all;
    buf_init(&all, w->out->max);
    int rc = splice_apply(decoded, 0, list, n, &all);
    if (rc == 0)
        rc = put_bytes(w, buf_slice(&all), 0);
    buf_clear(&all);
    return rc;
}

int splice_quoted(
    const struct splice_body *body, const struct splice *list, size_t n, struct buf *out)
{
    const struct writer w = {out, body->line_end};
    const struct slice in = body->encoded;
    bool is_broken = false;
    mime_quoted_decode(in.data, in.len, NULL, &is_broken);
    return is_broken ? put_broken(&w, body->decoded, list, n) : put_sound(&w, in, list, n);
}
