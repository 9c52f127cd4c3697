#include "worker/canon.h"

#include <string.h>

#include "common/err.h"

/*
 * Small pieces are gathered before they go to the sink: relaxed text comes out word by word.
 * Empty lines are only counted until something follows, since those at the end do not count.
 */
struct writer {
    canon_sink sink;
    void *context;
    size_t n_empty; /* lines */
    size_t used;
    char gathered[4096];
};

static void flush(struct writer *writer)
{
    if (writer->used > 0)
        writer->sink(writer->context, writer->gathered, writer->used);
    writer->used = 0;
}

static void put(struct writer *writer, const char *data, size_t len)
{
    if (len > sizeof(writer->gathered) - writer->used)
        flush(writer);
    if (len > sizeof(writer->gathered)) {
        writer->sink(writer->context, data, len);
        return;
    }
    memcpy(writer->gathered + writer->used, data, len);
    writer->used += len;
}

static void put_line_end(struct writer *writer)
{
    put(writer, "\r\n", 2);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && is_blank(*at))
        at++;
    return at;
}

static const char *skip_word(const char *at, const char *end)
{
    while (at < end && !is_blank(*at))
        at++;
    return at;
}

/* Runs of blanks become one space; none at the end. */
static void put_relaxed(struct writer *writer, const char *at, const char *end)
{
    while (at < end) {
        const char *word = skip_blanks(at, end);
        if (word == end)
            return;
        if (word > at)
            put(writer, " ", 1);
        at = skip_word(word, end);
        put(writer, word, (size_t)(at - word));
    }
}

/* A line without its end. */
static void put_line(struct writer *writer, const char *at, const char *end, enum canon canon)
{
    const bool is_relaxed = canon == CANON_RELAXED;
    if (at == end || (is_relaxed && skip_blanks(at, end) == end)) {
        writer->n_empty++;
        return;
    }
    for (; writer->n_empty > 0; writer->n_empty--)
        put_line_end(writer);
    if (is_relaxed)
        put_relaxed(writer, at, end);
    else
        put(writer, at, (size_t)(end - at));
    put_line_end(writer);
}

void canon_body(struct slice body, enum canon canon, canon_sink sink, void *context)
{
    struct writer writer;
    writer.sink = sink;
    writer.context = context;
    writer.n_empty = 0;
    writer.used = 0;
    const char *at = body.len > 0 ? body.data : "", *end = at + body.len; /* no body may be NULL */
    bool is_empty = true;
    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        const char *next = line_end != NULL ? line_end + 1 : end;
        line_end = line_end != NULL ? line_end : end;
        if (next > line_end && line_end > at && line_end[-1] == '\r')
            line_end--;
        put_line(&writer, at, line_end, canon);
        is_empty = is_empty && writer.n_empty > 0;
        at = next;
    }
    if (is_empty && canon == CANON_SIMPLE)
        put_line_end(&writer); /* section 3.4.3: an empty body is one line end */
    flush(&writer);
}

/* ---- header fields ---- */

static size_t without_line_end(struct slice field)
{
    size_t len = field.len;
    if (len > 0 && field.data[len - 1] == '\n')
        len--;
    if (len > 0 && field.data[len - 1] == '\r')
        len--;
    return len;
}

static int put_simple(struct slice field, struct buf *out)
{
    int rc = 0;
    for (size_t at = 0; at < field.len && rc == 0;) {
        const char *start = field.data + at;
        const char *line = memchr(start, '\n', field.len - at);
        size_t n = line != NULL ? (size_t)(line - start) : field.len - at;
        at += n + (line != NULL);
        if (line != NULL && n > 0 && start[n - 1] == '\r')
            n--;
        rc = buf_put(out, start, n);
        if (rc == 0 && line != NULL)
            rc = buf_put(out, "\r\n", 2);
    }
    return rc;
}

static bool is_space(char c)
{
    return is_blank(c) || c == '\r' || c == '\n';
}

static int put_name(struct slice name, struct buf *out)
{
    int rc = 0;
    for (size_t i = 0; i < name.len && rc == 0; i++) {
        const char c = name.data[i];
        rc = buf_put_u8(out, (uint8_t)(c >= 'A' && c <= 'Z' ? c + 32 : c));
    }
    return rc;
}

/* Line ends of folding go, runs of blanks become one space, none at either end. */
static int put_value(struct slice value, struct buf *out)
{
    int rc = 0;
    bool is_first = true;
    for (size_t i = 0; i < value.len && rc == 0;) {
        size_t start = i;
        while (start < value.len && is_space(value.data[start]))
            start++;
        i = start;
        while (i < value.len && !is_space(value.data[i]))
            i++;
        if (i == start)
            break;
        if (!is_first)
            rc = buf_put_u8(out, ' ');
        if (rc == 0)
            rc = buf_put(out, value.data + start, i - start);
        is_first = false;
    }
    return rc;
}

static int put_relaxed_field(struct slice field, size_t colon, struct buf *out)
{
    size_t name_len = colon;
    while (name_len > 0 && is_space(field.data[name_len - 1]))
        name_len--;
    int rc = put_name(slice_of(field.data, name_len), out);
    if (rc == 0)
        rc = buf_put_u8(out, ':');
    if (rc == 0)
        rc = put_value(slice_of(field.data + colon + 1, field.len - colon - 1), out);
    return rc;
}

int canon_header(struct slice field, enum canon canon, struct buf *out)
{
    const size_t len_before = out->len;
    field.len = without_line_end(field);
    const char *colon = field.len > 0 ? memchr(field.data, ':', field.len) : NULL;
    int rc = canon == CANON_RELAXED && colon != NULL
                 ? put_relaxed_field(field, (size_t)(colon - field.data), out)
                 : put_simple(field, out);
    if (rc == 0)
        rc = buf_put(out, "\r\n", 2);
    if (rc != 0)
        out->len = len_before;
    return rc;
}
