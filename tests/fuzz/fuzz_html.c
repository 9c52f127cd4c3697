/*
 * A stranger's HTML: never a crash; tokens follow each other without gaps; its text is UTF-8; what
 * is put at its end is text to whoever reads it; each link lies within it; with other addresses in
 * their places it is the same but for these. First byte: transfer encoding, charset, HTML or plain
 * text.
 */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "worker/html.h"
#include "worker/html_scan.h"
#include "worker/mime.h"
#include "worker/url_rewrite.h"

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* Whether the bytes at `place` are text. */
static bool is_text(struct slice html, size_t place, size_t len)
{
    struct html_scan scan;
    struct html_token token;
    size_t at = 0;
    bool is_found = false;
    html_scan_init(&scan, html);
    while (html_scan_next(&scan, &token)) {
        check(token.start == at && token.end > at && token.end <= html.len);
        at = token.end;
        if (token.start <= place && place + len <= token.end)
            is_found = token.kind == HTML_TEXT;
    }
    check(at == html.len);
    return is_found;
}

static void check_place(struct slice html, struct arena *arena)
{
    static const char note[] = "note";
    const size_t place = html_place(html), len = sizeof(note) - 1;
    check(place <= html.len);
    char *with = arena_alloc(arena, html.len + len);
    memcpy(with, html.data, place);
    memcpy(with + place, note, len);
    memcpy(with + place + len, html.data + place, html.len - place);
    check(is_text(slice_of(with, html.len + len), place, len));
}

static void on_link(const struct html_link *link, void *context)
{
    const struct slice *html = context;
    check(link->from < link->to && link->to <= html->len);
    check(link->url_from < link->url_to && link->url_to <= link->value.len);
}

static void check_html(struct slice bytes, struct arena *arena)
{
    struct buf buf;
    buf_init(&buf, 3 * bytes.len + 16);
    check(text_to_utf8(&buf, bytes) == 0);
    struct slice html = slice_of(arena_memdup0(arena, buf.data, buf.len), buf.len);
    buf_clear(&buf);
    bool is_cut;
    const struct slice whole = html_text(html, html.len + 1, arena, &is_cut);
    check(!is_cut && text_is_utf8(whole));
    const struct slice front = html_text(html, 64, arena, &is_cut);
    check(text_is_utf8(front) && front.len <= 64 && (is_cut || slice_equal(front, whole)));
    html_links_each(html, true, arena, on_link, &html);
    check_place(bytes, arena);
    html_meta_charset(bytes, arena);
}

static void check_rewrite(struct url_rewrite *r)
{
    struct buf out;
    buf_init(&out, 1 << 22);
    if (url_rewrite_open(r)) {
        check(url_rewrite_put(r, &out) == 0);
        check(slice_equal(buf_slice(&out), r->body.encoded)); /* nothing new: nothing changed */
        for (size_t i = 0; i < r->n_places; i += 2)
            r->places[i].new_url = url_to_ascii(r->places[i].url, r->arena);
        buf_reset(&out);
        check(url_rewrite_put(r, &out) == 0);
    }
    buf_clear(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char *const encodings[] = {"", "8bit", "quoted-printable", "base64"};
    static const char *const charsets[] = {
        "", "utf-8", "iso-8859-1", "iso-2022-jp", "gb18030", "utf-16le", "unheard-of", "koi8-r"};
    static bool is_started;
    if (len == 0)
        return 0;
    if (!is_started)
        mime_start(); /* charsets */
    is_started = true;
    struct arena *arena = arena_new();
    const struct slice bytes = slice_of(data + 1, len - 1);
    struct url_rewrite rewrite = {
        .body = {.encoded = bytes, .encoding = encodings[data[0] & 3], .line_end = "\r\n"},
        .charset = charsets[data[0] >> 2 & 7],
        .is_html = (data[0] & 32) != 0,
        .arena = arena};
    check_html(bytes, arena);
    check_rewrite(&rewrite);
    arena_free(arena);
    return 0;
}
