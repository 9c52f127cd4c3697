#include "worker/append.h"

#include <string.h>

#include "common/err.h"
#include "common/text.h"
#include "worker/charset_out.h"
#include "worker/html.h"
#include "worker/html_scan.h"
#include "worker/splice.h"

/* ---- what is written ---- */

/* The end of the content's last line in ASCII, and what it says; for wide charsets too. */
struct ending {
    bool is_line;   /* the content is empty or ends its last line */
    bool is_flowed; /* the last line goes on: it ends in a blank, and is no "-- " */
};

static struct ending ending_of(
    const struct charset_out *charset, struct slice content, struct arena *arena)
{
    enum { TAIL_UNITS = 8 };
    const size_t most = TAIL_UNITS * charset->unit;
    const struct slice tail =
        content.len > most ? slice_of(content.data + content.len - most, most) : content;
    struct slice s = charset_out_shadow(charset, tail, arena);
    struct ending ending = {
        .is_line = s.len == 0 || s.data[s.len - 1] == '\n' || s.data[s.len - 1] == '\r'};
    while (s.len > 0 && (s.data[s.len - 1] == '\n' || s.data[s.len - 1] == '\r'))
        s.len--;
    const bool is_signature = s.len >= 3 && memcmp(s.data + s.len - 3, "-- ", 3) == 0 &&
                              (s.len == 3 || s.data[s.len - 4] == '\n');
    ending.is_flowed = s.len > 0 && s.data[s.len - 1] == ' ' && !is_signature;
    return ending;
}

/* Text as it will stand, in UTF-8: from a line of its own. */
static int put_text(
    const struct append *append, const struct ending *ending, const char *line_end, struct buf *out)
{
    int rc = 0;
    if (!ending->is_line)
        rc = buf_put(out, line_end, strlen(line_end));
    if (rc == 0 && append->is_flowed && ending->is_flowed)
        rc = buf_put(out, line_end, strlen(line_end)); /* ends the paragraph */
    if (rc != 0)
        return rc;
    return append->is_flowed ? append_put_flowed(append->text, append->has_delsp, line_end, out)
                             : append_put_lines(append->text, line_end, out);
}

static int put_html(const struct append *append, const char *line_end, struct buf *out)
{
    struct buf ascii;
    buf_init(&ascii, out->max);
    int rc = html_to_ascii(append->text, &ascii);
    if (rc == 0)
        rc = append_put_html(buf_slice(&ascii), line_end, out);
    if (rc == 0)
        rc = buf_put(out, line_end, strlen(line_end));
    buf_clear(&ascii);
    return rc;
}

/* US-ASCII that must carry more becomes UTF-8, unless it holds something else already. */
static void widen(
    struct append *append, struct slice content, struct slice lines, struct charset_out *charset)
{
    if (charset->form != CHARSET_ASCII || text_is_ascii(lines) || !text_is_utf8(content))
        return;
    charset->form = CHARSET_UTF8;
    append->new_charset = "utf-8";
}

/* A part whose last line had no end gets none: that of the boundary follows. */
static struct slice without_end(
    const struct append *append, const struct ending *ending, struct slice lines)
{
    if (append->is_top || ending->is_line || lines.len == 0)
        return lines;
    lines.len--;
    if (lines.len > 0 && lines.data[lines.len - 1] == '\r')
        lines.len--;
    return lines;
}

static int put_change(struct append *append, struct slice content, bool is_at_end,
    struct charset_out *charset, struct arena *arena, struct buf *out)
{
    const char *line_end = splice_is_raw(append->encoding) ? append->line_end : "\r\n";
    const struct ending ending = ending_of(charset, content, arena);
    const struct slice back = charset_out_back(charset, content);
    struct buf lines;
    buf_init(&lines, out->max);
    int rc = append->is_html ? put_html(append, line_end, &lines)
                             : put_text(append, &ending, line_end, &lines);
    widen(append, content, buf_slice(&lines), charset);
    if (rc == 0)
        rc = buf_put(out, back.data, back.len);
    if (rc == 0)
        rc = charset_out_put(charset,
            is_at_end ? without_end(append, &ending, buf_slice(&lines)) : buf_slice(&lines), out);
    buf_clear(&lines);
    return rc;
}

/* ---- where ---- */

static size_t find_place(const struct append *append, const struct charset_out *charset,
    struct slice content, struct arena *arena)
{
    if (!append->is_html)
        return content.len;
    return html_place(charset_out_shadow(charset, content, arena)) * charset->unit;
}

static bool is_8bit_encoding(const char *encoding)
{
    return strcmp(encoding, "8bit") == 0 || strcmp(encoding, "binary") == 0;
}

static int put_body(struct append *append, const struct splice_body *body,
    const struct splice *change, struct buf *out)
{
    const bool is_new_8bit = splice_is_raw(append->encoding) &&
                             !is_8bit_encoding(append->encoding) && !text_is_ascii(change->bytes);
    if (is_new_8bit)
        append->new_encoding = append->is_top ? "8bit" : "quoted-printable";
    if (is_new_8bit && !append->is_top)
        return splice_put_requoted(body, change, 1, out);
    return splice_put(body, change, 1, out);
}

const char *append_to_body(struct append *append, struct arena *arena, struct buf *out)
{
    struct splice_body body = {
        .encoded = append->body, .encoding = append->encoding, .line_end = append->line_end};
    struct charset_out charset;
    append->new_charset = append->new_encoding = NULL;
    if (!splice_open(&body, arena))
        return "encoding";
    if (!charset_out_find(append->charset, body.decoded, &charset) ||
        (charset.form == CHARSET_WIDE && splice_is_raw(append->encoding)))
        return "charset";
    struct buf bytes;
    buf_init(&bytes, out->max);
    const size_t place = find_place(append, &charset, body.decoded, arena);
    int rc = put_change(append, body.decoded, place == body.decoded.len, &charset, arena, &bytes);
    const struct splice change = {place, place, buf_slice(&bytes)};
    if (rc == 0)
        rc = put_body(append, &body, &change, out);
    buf_clear(&bytes);
    return rc == 0 ? NULL : "size";
}
