/* The addresses that HTML links to, each with where it stands. */
#include "worker/html.h"

#include <string.h>

#include "worker/html_scan.h"
#include "worker/mime_impl.h"
#include "worker/url_text.h"

struct walk {
    struct slice html;
    struct arena *arena;
    html_link_cb cb;
    void *context;
    bool with_text;
    unsigned anchors; /* <a> that are open: their text is not an address of its own */
};

/* ---- addresses within one value ---- */

static void emit(struct walk *walk, struct html_link *link, size_t from, size_t to)
{
    if (from >= to)
        return;
    link->url_from = from;
    link->url_to = to;
    link->url = slice_of(link->value.data + from, to - from);
    walk->cb(link, walk->context);
}

static void on_whole(struct walk *walk, struct html_link *link)
{
    emit(walk, link, 0, link->value.len);
}

static bool is_list_blank(char c)
{
    return html_is_space(c) || c == ',';
}

/* "a.png 1x, b.png 2x": a candidate's descriptors go up to the comma. */
static void on_srcset(struct walk *walk, struct html_link *link)
{
    const struct slice v = link->value;
    for (size_t i = 0; i < v.len;) {
        while (i < v.len && is_list_blank(v.data[i]))
            i++;
        const size_t start = i;
        while (i < v.len && !html_is_space(v.data[i]))
            i++;
        size_t end = i;
        while (end > start && v.data[end - 1] == ',')
            end--;
        emit(walk, link, start, end);
        const bool has_descriptors = end == i;
        while (has_descriptors && i < v.len && v.data[i] != ',')
            i++;
    }
}

/* "a b c" */
static void on_words(struct walk *walk, struct html_link *link)
{
    const struct slice v = link->value;
    for (size_t i = 0; i < v.len;) {
        while (i < v.len && html_is_space(v.data[i]))
            i++;
        const size_t start = i;
        while (i < v.len && !html_is_space(v.data[i]))
            i++;
        emit(walk, link, start, i);
    }
}

/* A CSS string or the inside of url( ) at i. */
static size_t emit_css(struct walk *walk, struct html_link *link, size_t i, bool in_brackets)
{
    const struct slice v = link->value;
    while (i < v.len && html_is_space(v.data[i]))
        i++;
    const char quote = i < v.len && (v.data[i] == '"' || v.data[i] == '\'') ? v.data[i] : 0;
    if (quote == 0 && !in_brackets)
        return i;
    i += quote != 0;
    const size_t start = i;
    while (i < v.len &&
           (quote != 0 ? v.data[i] != quote : v.data[i] != ')' && !html_is_space(v.data[i])))
        i++;
    emit(walk, link, start, i);
    return i;
}

static void on_css(struct walk *walk, struct html_link *link)
{
    const struct slice v = link->value;
    for (size_t i = 0; i < v.len;) {
        const struct slice rest = slice_of(v.data + i, v.len - i);
        if (mime_begins_with(rest, "url("))
            i = emit_css(walk, link, i + 4, true);
        else if (mime_begins_with(rest, "@import"))
            i = emit_css(walk, link, i + 7, false);
        else
            i++;
    }
}

/* "5; url=page" */
static void on_refresh(struct walk *walk, struct html_link *link)
{
    const struct slice v = link->value;
    for (size_t i = 0; i + 3 < v.len; i++) {
        if (!mime_begins_with(slice_of(v.data + i, v.len - i), "url"))
            continue;
        size_t at = i + 3;
        while (at < v.len && (html_is_space(v.data[at]) || v.data[at] == '='))
            at++;
        const char quote = at < v.len && (v.data[at] == '"' || v.data[at] == '\'') ? v.data[at] : 0;
        at += quote != 0;
        size_t end = at;
        while (end < v.len && (quote == 0 || v.data[end] != quote))
            end++;
        emit(walk, link, at, end);
        return;
    }
}

static const struct linking {
    const char *name;
    void (*each)(struct walk *walk, struct html_link *link);
} linkings[] = {
    {"href", on_whole},
    {"src", on_whole},
    {"action", on_whole},
    {"background", on_whole},
    {"data", on_whole},
    {"formaction", on_whole},
    {"cite", on_whole},
    {"poster", on_whole},
    {"longdesc", on_whole},
    {"lowsrc", on_whole},
    {"dynsrc", on_whole},
    {"codebase", on_whole},
    {"manifest", on_whole},
    {"icon", on_whole},
    {"xlink:href", on_whole},
    {"srcset", on_srcset},
    {"imagesrcset", on_srcset},
    {"ping", on_words},
    {"archive", on_words},
    {"style", on_css},
};

/* ---- tokens ---- */

static void on_attribute(struct walk *walk, const struct html_attribute *attribute, bool is_meta)
{
    void (*each)(struct walk *, struct html_link *) = NULL;
    if (is_meta && mime_name_is(attribute->name, "content"))
        each = on_refresh;
    for (size_t i = 0; i < sizeof(linkings) / sizeof(linkings[0]) && each == NULL; i++) {
        if (mime_name_is(attribute->name, linkings[i].name))
            each = linkings[i].each;
    }
    const struct slice value = attribute->value;
    if (each == NULL || value.data == NULL || value.len == 0)
        return;
    const size_t from = (size_t)(value.data - walk->html.data), quote = attribute->quote != 0;
    struct html_link link = {.place = HTML_LINK_ATTRIBUTE,
        .from = from - quote,
        .to = from + value.len + quote,
        .value = html_decode(value, walk->arena)};
    each(walk, &link);
}

static void on_tag(struct walk *walk, const struct html_token *token)
{
    const bool is_anchor = mime_name_is(token->name, "a");
    if (token->kind == HTML_END_TAG) {
        walk->anchors -= is_anchor && walk->anchors > 0;
        return;
    }
    walk->anchors += is_anchor;
    struct html_attribute attribute;
    const bool is_meta = mime_name_is(token->name, "meta");
    for (size_t pos = 0; html_attribute_next(token->attributes, &pos, &attribute);)
        on_attribute(walk, &attribute, is_meta);
}

static void on_piece(struct walk *walk, struct slice text)
{
    struct slice url;
    for (size_t pos = 0; url_text_next(text, &pos, &url);) {
        const size_t from = (size_t)(url.data - walk->html.data);
        struct html_link link = {.place = HTML_LINK_TEXT,
            .from = from,
            .to = from + url.len,
            .value = html_decode(url, walk->arena)};
        on_whole(walk, &link);
    }
}

/* References that stand for a blank, < > or a quote end an address. */
static void on_text(struct walk *walk, struct slice text)
{
    size_t start = 0;
    for (size_t i = 0; i < text.len;) {
        uint32_t code = 0;
        const char *mark = memchr(text.data + i, '&', text.len - i);
        i = mark != NULL ? (size_t)(mark - text.data) : text.len;
        const size_t used = html_entity_read(slice_of(text.data + i, text.len - i), &code);
        const bool ends = code <= ' ' || code == 0xa0 || code == '<' || code == '>' || code == '"';
        if (i == text.len || (used > 0 && ends)) {
            on_piece(walk, slice_of(text.data + start, i - start));
            start = i + used;
        }
        i += used > 0 ? used : 1;
    }
}

static void walk_tokens(struct walk *walk, size_t start, size_t end, bool is_inner);

static void on_token(struct walk *walk, const struct html_token *token, bool is_inner)
{
    const struct slice bytes = slice_of(walk->html.data + token->start, token->end - token->start);
    switch (token->kind) {
    case HTML_START_TAG:
    case HTML_END_TAG:
        on_tag(walk, token);
        break;
    case HTML_TEXT:
        if (walk->with_text && walk->anchors == 0 && !is_inner)
            on_text(walk, bytes);
        break;
    case HTML_COMMENT:
        if (!is_inner && bytes.len > 4)
            walk_tokens(walk, token->start + 4, token->end, true);
        break;
    case HTML_RAW:
        if (mime_name_is(token->name, "style")) {
            struct html_link link = {
                .place = HTML_LINK_STYLE, .from = token->start, .to = token->end, .value = bytes};
            on_css(walk, &link);
        } else if (!is_inner) {
            walk_tokens(walk, token->start, token->end, true);
        }
        break;
    }
}

/* is_inner: within a comment or a script, where nothing is within. */
static void walk_tokens(struct walk *walk, size_t start, size_t end, bool is_inner)
{
    struct html_scan scan;
    struct html_token token;
    html_scan_init(&scan, slice_of(walk->html.data + start, end - start));
    while (html_scan_next(&scan, &token)) {
        token.start += start;
        token.end += start;
        on_token(walk, &token, is_inner);
    }
}

/* The address itself is what a browser makes of it; what has no scheme is passed on too. */
void html_links_each(
    struct slice html, bool with_text, struct arena *arena, html_link_cb cb, void *context)
{
    struct walk walk = {
        .html = html, .arena = arena, .cb = cb, .context = context, .with_text = with_text};
    walk_tokens(&walk, 0, html.len, false);
}
