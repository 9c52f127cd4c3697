/* The lines of text that is appended, in UTF-8. */
#include <string.h>

#include "worker/append.h"
#include "worker/html_scan.h"

enum {
    LINE_BYTES = 900,  /* of the 998 that RFC 5322 section 2.1.1 allows; some charsets need more */
    FLOWED_CHARS = 76, /* RFC 3676 section 4.2: at most 78 with what readers add */
};

/* The next line, without its end: LF, CR LF or CR. False at the end. */
static bool next_line(struct slice *rest, struct slice *line_out)
{
    if (rest->len == 0)
        return false;
    size_t n = 0;
    while (n < rest->len && rest->data[n] != '\n' && rest->data[n] != '\r')
        n++;
    *line_out = slice_of(rest->data, n);
    const bool is_crlf = n + 1 < rest->len && rest->data[n] == '\r' && rest->data[n + 1] == '\n';
    n += n == rest->len ? 0 : is_crlf ? 2 : 1;
    *rest = slice_of(rest->data + n, rest->len - n);
    return true;
}

static int put(struct buf *out, struct slice s)
{
    return buf_put(out, s.data, s.len);
}

/* How much of a line comes first when it may have at most `most` bytes: up to and with the last
 * blank, or else whole characters. */
static size_t piece_of(struct slice line, size_t most, bool at_blanks_only)
{
    if (line.len <= most)
        return line.len;
    const char *blank = memrchr(line.data, ' ', most);
    if (blank != NULL && blank > line.data)
        return (size_t)(blank - line.data) + 1;
    if (at_blanks_only) {
        blank = memchr(line.data + most, ' ', line.len - most);
        return blank != NULL ? (size_t)(blank - line.data) + 1 : line.len;
    }
    while (most > 1 && ((unsigned char)line.data[most] & 0xc0) == 0x80)
        most--;
    return most;
}

static int put_broken(struct slice line, bool at_blanks_only, const char *line_end, struct buf *out)
{
    int rc = 0;
    do {
        const size_t n = piece_of(line, LINE_BYTES, at_blanks_only);
        rc = put(out, slice_of(line.data, n));
        line = slice_of(line.data + n, line.len - n);
        if (rc == 0 && line.len > 0)
            rc = put(out, slice_text(line_end));
    } while (rc == 0 && line.len > 0);
    return rc;
}

int append_put_lines(struct slice text, const char *line_end, struct buf *out)
{
    struct slice line = slice_of(NULL, 0);
    int rc = text.len == 0 ? put(out, slice_text(line_end)) : 0;
    while (rc == 0 && next_line(&text, &line)) {
        rc = put_broken(line, false, line_end, out);
        if (rc == 0)
            rc = put(out, slice_text(line_end));
    }
    return rc;
}

int append_put_html(struct slice html, const char *line_end, struct buf *out)
{
    struct slice line;
    bool is_first = true;
    int rc = 0;
    while (rc == 0 && next_line(&html, &line)) {
        rc = is_first ? 0 : put(out, slice_text(line_end));
        if (rc == 0)
            rc = put_broken(line, true, line_end, out);
        is_first = false;
    }
    return rc;
}

/* ---- format=flowed ---- */

static bool needs_stuffing(struct slice line)
{
    return line.len > 0 && (line.data[0] == ' ' || line.data[0] == '>' ||
                               (line.len >= 5 && memcmp(line.data, "From ", 5) == 0));
}

static bool is_signature_mark(struct slice line)
{
    return slice_equal(line, slice_text("-- "));
}

/* One paragraph in lines of which all but the last end in a blank; with delsp a reader takes one
 * blank away. */
static int put_paragraph(struct slice line, bool has_delsp, const char *line_end, struct buf *out)
{
    int rc = 0;
    do {
        const size_t n = piece_of(line, FLOWED_CHARS - 1, true);
        const struct slice piece = slice_of(line.data, n);
        line = slice_of(line.data + n, line.len - n);
        if (needs_stuffing(piece))
            rc = put(out, slice_text(" "));
        if (rc == 0)
            rc = put(out, piece);
        if (rc == 0 && line.len > 0 && has_delsp)
            rc = put(out, slice_text(" "));
        if (rc == 0)
            rc = put(out, slice_text(line_end));
    } while (rc == 0 && line.len > 0);
    return rc;
}

int append_put_flowed(struct slice text, bool has_delsp, const char *line_end, struct buf *out)
{
    struct slice line = slice_of(NULL, 0);
    int rc = text.len == 0 ? put(out, slice_text(line_end)) : 0;
    while (rc == 0 && next_line(&text, &line)) {
        while (!is_signature_mark(line) && line.len > 0 && line.data[line.len - 1] == ' ')
            line.len--;
        rc = put_paragraph(line, has_delsp, line_end, out);
    }
    return rc;
}

/* ---- HTML ---- */

int append_put_as_html(struct slice text, struct buf *out)
{
    struct slice line;
    bool is_first = true;
    int rc = put(out, slice_text("<p>"));
    while (rc == 0 && next_line(&text, &line)) {
        rc = is_first ? 0 : put(out, slice_text("<br>\n"));
        if (rc == 0)
            rc = html_escape(line, false, out);
        is_first = false;
    }
    return rc == 0 ? put(out, slice_text("</p>")) : rc;
}
