/* Text of parts as UTF-8, the text of the message, and addresses named in it. Made when it
 * is asked for. */
#include "worker/mime_impl.h"

#include <strings.h>

#include "common/hash.h"
#include "common/text.h"
#include "worker/charset_out.h"
#include "worker/html.h"
#include "worker/url_text.h"

static size_t max_text(const struct mime *mime)
{
    return (size_t)mime->conf->worker.max_text;
}

static bool is_type(const struct mime_part *part, const char *type)
{
    return strcmp(part->type, type) == 0;
}

static bool is_html(const struct mime_part *part)
{
    return is_type(part, "text/html") || is_type(part, "application/xhtml+xml");
}

static bool is_text(const struct mime_part *part)
{
    return !part->is_container && (strncmp(part->type, "text/", 5) == 0 || is_html(part));
}

/* What a byte order mark at the front says; "" without one. */
static const char *charset_of_mark(struct slice bytes)
{
    static const struct {
        struct slice mark;
        const char *charset;
    } marks[] = {
        {{"\xef\xbb\xbf", 3}, "utf-8"},
        {{"\xff\xfe", 2}, "utf-16le"},
        {{"\xfe\xff", 2}, "utf-16be"},
    };
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
        const struct slice mark = marks[i].mark;
        if (bytes.len >= mark.len && memcmp(bytes.data, mark.data, mark.len) == 0)
            return marks[i].charset;
    }
    return "";
}

/* What the header says; when it says nothing, or not all, what the content says of itself. */
static const char *charset_of(struct mime *mime, const struct mime_part *part, struct slice bytes)
{
    const char *charset = part->charset;
    if (charset[0] == '\0')
        charset = charset_of_mark(bytes);
    if (charset[0] == '\0' && is_html(part))
        charset = html_meta_charset(bytes, mime->arena);
    if (strcmp(charset, "utf-16") == 0 && charset_of_mark(bytes)[0] == '\0')
        charset = charset_utf16_order(bytes);
    return charset;
}

static struct slice without_mark(struct slice text)
{
    const bool has_mark = text.len >= 3 && memcmp(text.data, "\xef\xbb\xbf", 3) == 0;
    return has_mark ? slice_of(text.data + 3, text.len - 3) : text;
}

/* Tables of iconv make at most three bytes of one, but for a few nobody writes mail in. */
static struct slice make_source(struct mime *mime, struct mime_node *node)
{
    enum { WORST = 3, SPARE = 64 };
    bool is_known;
    struct slice bytes = mime_content(mime, &node->part);
    const char *charset = charset_of(mime, &node->part, bytes);
    struct slice text =
        mime_to_utf8(bytes, charset, WORST * bytes.len + SPARE, mime->arena, &is_known);
    if (!is_known && charset == node->part.charset)
        mime_defect_add(mime, node, MIME_DEFECT_UNKNOWN_CHARSET, charset);
    if (text.len > WORST * bytes.len)
        mime_defect_add(mime, node, MIME_DEFECT_TEXT_TOO_LONG, NULL);
    return without_mark(text);
}

/* Its content in UTF-8, tags and all. */
static struct slice source_of(struct mime *mime, struct mime_node *node)
{
    if (!node->has_source) {
        node->has_source = true;
        node->source = make_source(mime, node);
    }
    return node->source;
}

/* What is limited is the text that comes out: nothing that stands before it uses the limit up. */
static void make_text(struct mime *mime, struct mime_node *node)
{
    const struct slice source = source_of(mime, node);
    if (is_html(&node->part)) {
        node->text = html_text(source, max_text(mime), mime->arena, &node->is_text_cut);
    } else {
        node->text = mime_cut_utf8(source, max_text(mime));
        node->is_text_cut = node->text.len < source.len;
    }
    if (node->is_text_cut)
        mime_defect_add(mime, node, MIME_DEFECT_TEXT_TOO_LONG, NULL);
}

struct slice mime_text(struct mime *mime, const struct mime_part *part)
{
    if (!is_text(part))
        return slice_of("", 0);
    struct mime_node *node = mime_node_of(mime, part);
    if (!node->has_text) {
        node->has_text = true;
        make_text(mime, node);
    }
    return node->text;
}

struct slice mime_whole_text(struct mime *mime, const struct mime_part *part)
{
    if (!is_text(part))
        return slice_of("", 0);
    struct mime_node *node = mime_node_of(mime, part);
    const struct slice source = source_of(mime, node);
    if (!is_html(part))
        return source;
    return node->has_text && !node->is_text_cut
               ? node->text
               : html_text(source, source.len + 1, mime->arena, NULL);
}

static bool is_shown(const struct mime_part *part)
{
    return strcmp(part->disposition, "attachment") != 0;
}

/* All parts of the type that are shown in line, one below the other; or those that TNEF has, which
 * a reader shows instead. */
static struct slice joined_text(struct mime *mime, const char *type, bool of_tnef)
{
    struct slice one = slice_of("", 0);
    struct buf all;
    buf_init(&all, max_text(mime));
    uint32_t n = 0;
    for (uint32_t i = 0; i < mime->n_parts; i++) {
        const struct mime_part *part = mime->parts[i];
        if (part->is_container || !is_type(part, type) || !is_shown(part) ||
            mime->nodes[i]->is_tnef_text != of_tnef)
            continue;
        struct slice text = mime_text(mime, part);
        if (mime_is_blank(text))
            continue;
        if (n++ == 0) {
            one = text;
            continue;
        }
        if (n == 2)
            (void)buf_put(&all, one.data, one.len);
        const size_t room = all.max - all.len;
        const struct slice front = mime_cut_utf8(text, room > 0 ? room - 1 : 0);
        if (front.len > 0) {
            (void)buf_put(&all, "\n", 1);
            (void)buf_put(&all, front.data, front.len);
        }
        if (front.len < text.len) {
            mime_defect_add(mime, mime->nodes[i], MIME_DEFECT_TEXT_TOO_LONG, NULL);
            break;
        }
    }
    if (n > 1)
        one = slice_of(arena_memdup0(mime->arena, all.data, all.len), all.len);
    buf_clear(&all);
    return one;
}

struct slice mime_message_text(struct mime *mime)
{
    if (mime->has_message_text)
        return mime->message_text;
    mime->has_message_text = true;
    static const char *const types[] = {"text/plain", "text/html"};
    for (size_t i = 0; i < 4 && mime->message_text.len == 0; i++)
        mime->message_text = joined_text(mime, types[i % 2], i >= 2);
    return mime->message_text;
}

/* ---- addresses of web pages ---- */

enum { URL_SLOTS = 4096 }; /* more than twice MIME_URLS_MAX, a power of two */

struct urls {
    struct mime *mime;
    const char **slots;
};

static void add_url(struct urls *urls, struct slice url)
{
    struct mime *mime = urls->mime;
    if (url.len > MIME_URL_BYTES) {
        url.len = MIME_URL_BYTES;
        while (url.len > 0 && ((uint8_t)url.data[url.len] & 0xc0) == 0x80)
            url.len--;
    }
    if (mime->n_urls == MIME_URLS_MAX) {
        mime_defect_add(mime, NULL, MIME_DEFECT_TOO_MANY_URLS, NULL);
        return;
    }
    uint32_t slot = hash_bytes(url) % URL_SLOTS;
    while (urls->slots[slot] != NULL) {
        if (strlen(urls->slots[slot]) == url.len &&
            memcmp(urls->slots[slot], url.data, url.len) == 0)
            return;
        slot = (slot + 1) % URL_SLOTS;
    }
    const char *copy = arena_memdup0(mime->arena, url.data, url.len);
    urls->slots[slot] = mime->urls[mime->n_urls++] = copy;
}

static void add_urls_of_text(struct urls *urls, struct slice text)
{
    struct slice url;
    for (size_t pos = 0; url_text_next(text, &pos, &url);)
        add_url(urls, url);
}

static void on_link(const struct html_link *link, void *context)
{
    struct urls *urls = context;
    const struct slice url = url_of_attribute(link->url, urls->mime->arena);
    if (url.data != NULL)
        add_url(urls, url);
}

const char *const *mime_urls(struct mime *mime, uint32_t *n_out)
{
    if (!mime->has_urls) {
        mime->has_urls = true;
        mime->urls = arena_calloc(mime->arena, MIME_URLS_MAX, sizeof(*mime->urls));
        struct urls urls = {mime, arena_calloc(mime->arena, URL_SLOTS, sizeof(char *))};
        for (uint32_t i = 0; i < mime->n_parts; i++) {
            if (!is_text(mime->parts[i]))
                continue;
            if (is_html(mime->parts[i]))
                html_links_each(
                    source_of(mime, mime->nodes[i]), false, mime->arena, on_link, &urls);
            add_urls_of_text(&urls, mime_whole_text(mime, mime->parts[i]));
        }
    }
    *n_out = mime->n_urls;
    return mime->urls;
}
