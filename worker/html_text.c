/* Text of HTML, and what else a walk over its tokens finds: the place at its end, its charset. */
#include "worker/html.h"

#include <string.h>

#include "common/text.h"
#include "worker/html_scan.h"
#include "worker/mime_impl.h"

enum { PRESCAN_BYTES = 1024 };

static bool is_one_of(struct slice name, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (mime_name_is(name, *names))
            return true;
    }
    return false;
}

static bool is_hidden(struct slice name)
{
    static const char *const names[] = {
        "script", "style", "title", "iframe", "noembed", "noframes", NULL};
    return is_one_of(name, names);
}

static bool is_block(struct slice name)
{
    static const char *const names[] = {"p", "br", "div", "tr", "li", "ul", "ol", "table", "h1",
        "h2", "h3", "h4", "h5", "h6", "hr", "blockquote", "pre", "section", "article", "header",
        "footer", "dt", "dd", "dl", "form", "body", "center", "address", "main", "nav", "aside",
        "figure", "caption", "fieldset", "option", NULL};
    return is_one_of(name, names);
}

struct writer {
    struct buf out;
    bool has_space; /* a blank is due before the next text */
    bool has_break;
    bool is_full;
    unsigned pre_depth;      /* <pre>: line ends count */
    unsigned template_depth; /* not shown */
};

static void put(struct writer *w, const char *data, size_t len)
{
    if (w->out.len > 0 && w->has_break)
        w->is_full = w->is_full || buf_put(&w->out, "\n", 1) < 0;
    else if (w->out.len > 0 && w->has_space)
        w->is_full = w->is_full || buf_put(&w->out, " ", 1) < 0;
    w->has_space = w->has_break = false;
    w->is_full = w->is_full || buf_put(&w->out, data, len) < 0;
}

/* Text up to the next '&' or blank. */
static size_t put_word(struct writer *w, struct slice text, size_t i)
{
    size_t n = 1;
    while (i + n < text.len && !html_is_space(text.data[i + n]) && text.data[i + n] != '&')
        n++;
    const size_t room = w->out.max - w->out.len;
    size_t len = n + 1 > room ? (room > 0 ? room - 1 : 0) : n; /* one very long word: what fits */
    while (len < n && len > 0 && ((uint8_t)text.data[i + len] & 0xc0) == 0x80)
        len--;
    if (len > 0)
        put(w, text.data + i, len);
    w->is_full = w->is_full || len < n;
    return i + n;
}

static size_t put_reference(struct writer *w, struct slice text, size_t i)
{
    uint32_t code;
    char utf8[4];
    const size_t used = html_entity_read(slice_of(text.data + i, text.len - i), &code);
    if (used == 0)
        return put_word(w, text, i);
    if (code == 0xa0 || (code < 128 && html_is_space((char)code)))
        w->has_space = true;
    else
        put(w, utf8, html_put_code(code, utf8));
    return i + used;
}

static void put_text(struct writer *w, struct slice text)
{
    for (size_t i = 0; i < text.len && !w->is_full;) {
        const char c = text.data[i];
        if (html_is_space(c)) {
            w->has_space = true;
            w->has_break = w->has_break || (c == '\n' && w->pre_depth > 0);
            i++;
        } else {
            i = c == '&' ? put_reference(w, text, i) : put_word(w, text, i);
        }
    }
}

static void count_depth(const struct html_token *token, const char *name, unsigned *depth)
{
    if (!mime_name_is(token->name, name))
        return;
    if (token->kind == HTML_START_TAG)
        (*depth)++;
    else if (*depth > 0)
        (*depth)--;
}

static void on_tag(struct writer *w, const struct html_token *token)
{
    count_depth(token, "template", &w->template_depth);
    count_depth(token, "pre", &w->pre_depth);
    if (is_block(token->name))
        w->has_break = true;
    else if (mime_name_is(token->name, "td") || mime_name_is(token->name, "th"))
        w->has_space = true;
}

struct slice html_text(struct slice html, size_t max, struct arena *arena, bool *is_cut_out)
{
    struct writer w = {0};
    struct html_scan scan;
    struct html_token token;
    buf_init(&w.out, max);
    html_scan_init(&scan, html);
    while (!w.is_full && html_scan_next(&scan, &token)) {
        const bool is_tag = token.kind == HTML_START_TAG || token.kind == HTML_END_TAG;
        const bool is_text =
            token.kind == HTML_TEXT || (token.kind == HTML_RAW && !is_hidden(token.name));
        if (is_tag)
            on_tag(&w, &token);
        else if (is_text && w.template_depth == 0)
            put_text(&w, slice_of(html.data + token.start, token.end - token.start));
    }
    struct slice text = slice_of(arena_memdup0(arena, w.out.data, w.out.len), w.out.len);
    buf_clear(&w.out);
    if (is_cut_out != NULL)
        *is_cut_out = w.is_full;
    return text;
}

/* ---- the place at the end ---- */

/* Not behind a "<" that is text, which together with what is put there could become a tag. */
static size_t before_stray(struct slice html, size_t place)
{
    size_t start = place;
    while (start > 0 && (html.data[start - 1] == '<' || html.data[start - 1] == '/'))
        start--;
    const char *lt = place > start ? memchr(html.data + start, '<', place - start) : NULL;
    return lt != NULL ? (size_t)(lt - html.data) : place;
}

size_t html_place(struct slice html)
{
    struct html_scan scan;
    struct html_token token;
    size_t body = SIZE_MAX, whole = SIZE_MAX, end = html.len;
    size_t raw = SIZE_MAX; /* where an element that holds no tags begins, while we are in it */
    html_scan_init(&scan, html);
    while (html_scan_next(&scan, &token)) {
        const bool is_end_tag = token.kind == HTML_END_TAG;
        if (scan.raw.len > 0)
            raw = token.start;
        else if (token.kind != HTML_RAW && !(is_end_tag && token.is_open))
            raw = SIZE_MAX;
        if (token.is_open && token.kind != HTML_TEXT)
            end = token.start;
        else if (is_end_tag && mime_name_is(token.name, "body"))
            body = token.start;
        else if (is_end_tag && mime_name_is(token.name, "html"))
            whole = token.start;
    }
    if (raw != SIZE_MAX)
        end = raw;
    return before_stray(html, body != SIZE_MAX ? body : whole != SIZE_MAX ? whole : end);
}

/* ---- the charset it names ---- */

/* "text/html; charset=koi8-r" */
static struct slice charset_of_content(struct slice content)
{
    for (size_t i = 0; i + 7 < content.len; i++) {
        if (!mime_begins_with(slice_of(content.data + i, content.len - i), "charset"))
            continue;
        size_t at = i + 7;
        while (at < content.len && (html_is_space(content.data[at]) || content.data[at] == '='))
            at++;
        const size_t start = at;
        while (at < content.len && !html_is_space(content.data[at]) && content.data[at] != ';')
            at++;
        return slice_of(content.data + start, at - start);
    }
    return slice_of(NULL, 0);
}

static struct slice charset_of_meta(struct slice attributes)
{
    struct html_attribute attribute;
    struct slice content = slice_of(NULL, 0);
    bool is_type = false;
    for (size_t pos = 0; html_attribute_next(attributes, &pos, &attribute);) {
        if (mime_name_is(attribute.name, "charset"))
            return attribute.value;
        if (mime_name_is(attribute.name, "content"))
            content = attribute.value;
        else if (mime_name_is(attribute.name, "http-equiv"))
            is_type = slice_equal_nocase(attribute.value, slice_text("content-type"));
    }
    return is_type ? charset_of_content(content) : slice_of(NULL, 0);
}

const char *html_meta_charset(struct slice html, struct arena *arena)
{
    struct html_scan scan;
    struct html_token token;
    html_scan_init(&scan, slice_of(html.data, html.len < PRESCAN_BYTES ? html.len : PRESCAN_BYTES));
    while (html_scan_next(&scan, &token)) {
        if (token.kind != HTML_START_TAG || !mime_name_is(token.name, "meta"))
            continue;
        struct slice value = text_trim(charset_of_meta(token.attributes));
        if (value.len >= 2 && (value.data[0] == '"' || value.data[0] == '\''))
            value = slice_of(value.data + 1, value.len - 2);
        if (value.len == 0 || value.len > MIME_CHARSET_BYTES)
            continue;
        char *name = arena_memdup0(arena, value.data, value.len);
        text_lower(name);
        return strncmp(name, "utf-16", 6) == 0 || strncmp(name, "utf-32", 6) == 0 ? "utf-8" : name;
    }
    return "";
}
