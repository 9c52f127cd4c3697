#include "worker/url_rewrite.h"

#include <string.h>

#include "common/text.h"
#include "worker/html_scan.h"
#include "worker/mime_impl.h"
#include "worker/url_text.h"

enum { RAW_LINE_MAX = 998 }; /* RFC 5322 section 2.1.1 */

/* ---- finding ---- */

static bool is_whole(const struct html_link *link)
{
    return link->url_from == 0 && link->url_to == link->value.len;
}

/* Whether what stays of the attribute can be written back: references in it may stand for
 * characters that the charset has elsewhere. */
static bool is_writable(const struct url_rewrite *rewrite, const struct url_place *place)
{
    if (!place->is_listed || place->link.place != HTML_LINK_ATTRIBUTE)
        return true;
    return rewrite->form.form == CHARSET_UTF8 || text_is_ascii(place->link.value);
}

static void add(struct url_rewrite *rewrite, struct url_place place)
{
    if (!text_is_ascii(place.url)) {
        if (rewrite->form.unit > 1 || rewrite->form.form == CHARSET_SHIFTED)
            return; /* scanned without its other characters */
        place.url =
            mime_to_utf8(place.url, rewrite->charset, URL_REWRITE_MAX, rewrite->arena, NULL);
    }
    if (!is_writable(rewrite, &place))
        return;
    if (rewrite->n_places == rewrite->cap_places) {
        const size_t cap = rewrite->cap_places * 2 + 16;
        struct url_place *more = arena_calloc(rewrite->arena, cap, sizeof(*more));
        if (rewrite->n_places > 0)
            memcpy(more, rewrite->places, rewrite->n_places * sizeof(*more));
        rewrite->places = more;
        rewrite->cap_places = cap;
    }
    rewrite->places[rewrite->n_places++] = place;
}

static void on_link(const struct html_link *link, void *context)
{
    struct url_rewrite *rewrite = context;
    if (link->place == HTML_LINK_PAGE)
        return;
    struct url_place place = {.is_html = true, .link = *link, .is_listed = !is_whole(link)};
    if (link->place == HTML_LINK_STYLE) { /* a place of its own */
        place.link.to = link->from + link->url_to;
        place.link.from = link->from + link->url_from;
        place.link.value = link->url;
        place.link.url_from = 0;
        place.link.url_to = link->url.len;
        place.is_listed = true;
    }
    place.url =
        link->place == HTML_LINK_TEXT ? link->url : url_of_attribute(link->url, rewrite->arena);
    if (place.url.data != NULL && place.url.len <= URL_REWRITE_MAX)
        add(rewrite, place);
}

static void find_in_text(struct url_rewrite *rewrite, struct slice text)
{
    struct slice url;
    for (size_t pos = 0; url_text_next(text, &pos, &url);) {
        const size_t from = (size_t)(url.data - text.data);
        const struct url_place place = {.link = {.from = from, .to = from + url.len}, .url = url};
        if (url.len <= URL_REWRITE_MAX)
            add(rewrite, place);
    }
}

bool url_rewrite_open(struct url_rewrite *rewrite)
{
    struct splice_body *body = &rewrite->body;
    if (!splice_open(body, rewrite->arena) ||
        !charset_out_find(rewrite->charset, body->decoded, &rewrite->form) ||
        (rewrite->form.unit > 1 && splice_is_raw(body->encoding)))
        return false;
    const struct slice text = charset_out_shadow(&rewrite->form, body->decoded, rewrite->arena);
    if (rewrite->is_html)
        html_links_each(text, true, rewrite->arena, on_link, rewrite);
    else
        find_in_text(rewrite, text);
    return true;
}

/* ---- writing ---- */

struct slice url_to_ascii(struct slice url, struct arena *arena)
{
    static const char hex[] = "0123456789ABCDEF";
    char *out = arena_alloc(arena, 3 * url.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < url.len; i++) {
        const unsigned char c = (unsigned char)url.data[i];
        if (c > ' ' && c < 0x7f && strchr("\"<>\\^`{|}", c) == NULL) {
            out[n++] = (char)c;
            continue;
        }
        out[n++] = '%';
        out[n++] = hex[c >> 4];
        out[n++] = hex[c & 15];
    }
    return slice_of(out, n);
}

/* In a list or a style sheet some characters would end the address. */
static int put_listed(struct slice url, struct buf *out)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < url.len; i++) {
        if (strchr("'(),;", url.data[i]) != NULL)
            rc = buf_printf(out, "%%%02X", (unsigned)(unsigned char)url.data[i]);
        else
            rc = buf_put(out, url.data + i, 1);
    }
    return rc;
}

/* The value of all places with the same `from`, with their new addresses. */
static int put_value(const struct url_place *places, size_t n, struct buf *out)
{
    const struct slice value = places[0].link.value;
    size_t at = 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const struct html_link *link = &places[i].link;
        const struct slice old =
            slice_of(value.data + link->url_from, link->url_to - link->url_from);
        rc = buf_put(out, value.data + at, link->url_from - at);
        at = link->url_to;
        if (rc != 0)
            break;
        if (places[i].new_url.data == NULL)
            rc = buf_put(out, old.data, old.len);
        else if (places[i].is_listed)
            rc = put_listed(places[i].new_url, out);
        else
            rc = buf_put(out, places[i].new_url.data, places[i].new_url.len);
    }
    return rc == 0 ? buf_put(out, value.data + at, value.len - at) : rc;
}

static int put_html(const struct url_place *places, size_t n, struct buf *out)
{
    const bool is_attribute = places[0].link.place == HTML_LINK_ATTRIBUTE;
    struct buf value;
    if (places[0].link.place == HTML_LINK_STYLE)
        return put_value(places, n, out);
    buf_init(&value, out->max);
    int rc = put_value(places, n, &value);
    if (rc == 0 && is_attribute)
        rc = buf_put(out, "\"", 1);
    if (rc == 0)
        rc = html_escape(buf_slice(&value), false, out);
    if (rc == 0 && is_attribute)
        rc = buf_put(out, "\"", 1);
    buf_clear(&value);
    return rc;
}

/* What takes the place of these, in ASCII and bytes that were there. */
static int put_places(const struct url_place *places, size_t n, struct buf *out)
{
    if (places[0].is_html)
        return put_html(places, n, out);
    return buf_put(out, places[0].new_url.data, places[0].new_url.len);
}

static bool has_long_line(struct slice bytes)
{
    for (size_t i = 0; i < bytes.len;) {
        const char *lf = memchr(bytes.data + i, '\n', bytes.len - i);
        const size_t end = lf != NULL ? (size_t)(lf - bytes.data) : bytes.len;
        if (end - i > RAW_LINE_MAX)
            return true;
        i = end + 1;
    }
    return false;
}

/* A line that became too long for mail makes the body quoted-printable. */
static int put_body(
    struct url_rewrite *rewrite, const struct splice *list, size_t n, struct buf *out)
{
    const struct splice_body *body = &rewrite->body;
    int rc = splice_put(body, list, n, out);
    if (rc == 0 && splice_is_raw(body->encoding) && has_long_line(buf_slice(out)) &&
        !has_long_line(body->encoded)) {
        buf_reset(out);
        rewrite->new_encoding = "quoted-printable";
        rc = splice_put_requoted(body, list, n, out);
    }
    return rc;
}

/* Places that change, as splices; *n_out of them. */
static int make_splices(struct url_rewrite *rewrite, struct splice *list, size_t *n_out)
{
    const struct url_place *places = rewrite->places;
    const size_t unit = rewrite->form.unit;
    int rc = 0;
    *n_out = 0;
    for (size_t i = 0, next; rc == 0 && i < rewrite->n_places; i = next) {
        bool has_new = false;
        for (next = i; next < rewrite->n_places && places[next].link.from == places[i].link.from;
             next++)
            has_new |= places[next].new_url.data != NULL;
        if (!has_new)
            continue;
        struct buf narrow, bytes;
        buf_init(&narrow, rewrite->body.encoded.len + (next - i) * 4 * URL_REWRITE_MAX + 64);
        buf_init(&bytes, 4 * narrow.max);
        rc = put_places(places + i, next - i, &narrow);
        if (rc == 0)
            rc = unit > 1 ? charset_out_put(&rewrite->form, buf_slice(&narrow), &bytes)
                          : buf_put(&bytes, narrow.data, narrow.len);
        list[(*n_out)++] = (struct splice){places[i].link.from * unit, places[i].link.to * unit,
            slice_of(arena_memdup0(rewrite->arena, bytes.data, bytes.len), bytes.len)};
        buf_clear(&narrow);
        buf_clear(&bytes);
    }
    return rc;
}

int url_rewrite_put(struct url_rewrite *rewrite, struct buf *out)
{
    size_t n = 0;
    struct splice *list = arena_calloc(rewrite->arena, rewrite->n_places + 1, sizeof(*list));
    const int rc = make_splices(rewrite, list, &n);
    return rc == 0 ? put_body(rewrite, list, n, out) : rc;
}
