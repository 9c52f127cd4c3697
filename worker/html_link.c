/* The addresses that HTML links to, each with where it stands. */
#include "worker/html.h"

#include <string.h>

#include "common/text.h"
#include "worker/html_css.h"
#include "worker/html_scan.h"
#include "worker/mime_impl.h"
#include "worker/url_text.h"

struct walk {
    struct slice html;
    struct arena *arena;
    html_link_cb cb;
    void *context;
    bool with_text;
    bool in_link;                   /* an <a href> is open: its text is not an address of its own */
    const struct html_link *around; /* the srcdoc that the HTML is of; NULL: it is the whole */
};

/* ---- addresses within one value ---- */

static void emit(
    struct walk *walk, struct html_link *link, size_t from, size_t to, struct slice url)
{
    if (from >= to)
        return;
    link->url_from = from;
    link->url_to = to;
    link->url = url;
    if (walk->around == NULL) {
        walk->cb(link, walk->context);
        return;
    }
    struct html_link inner = *walk->around;
    inner.url = url;
    walk->cb(&inner, walk->context);
}

static void emit_piece(struct walk *walk, struct html_link *link, size_t from, size_t to)
{
    if (from < to)
        emit(walk, link, from, to, slice_of(link->value.data + from, to - from));
}

static void on_whole(struct walk *walk, struct html_link *link)
{
    emit_piece(walk, link, 0, link->value.len);
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
        emit_piece(walk, link, start, end);
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
        emit_piece(walk, link, start, i);
    }
}

static void on_css(struct walk *walk, struct html_link *link)
{
    struct html_css scan = {.css = link->value};
    for (size_t from, to; html_css_next(&scan, &from, &to);)
        emit(walk, link, from, to,
            html_css_decode(slice_of(link->value.data + from, to - from), walk->arena));
}

/* Behind "url" and what may stand around its "="; value.len when there is none. */
static size_t behind_url(struct slice value)
{
    for (size_t i = 0; i + 3 < value.len; i++) {
        if (!mime_begins_with(slice_of(value.data + i, value.len - i), "url"))
            continue;
        for (i += 3; i < value.len && (html_is_space(value.data[i]) || value.data[i] == '=');)
            i++;
        return i;
    }
    return value.len;
}

/* Behind the seconds, and the blanks or mark behind them; value.len when it does not begin so. */
static size_t behind_seconds(struct slice value)
{
    size_t i = 0, digits = 0;
    for (; i < value.len && (html_is_space(value.data[i]) || value.data[i] == '.' ||
                                (value.data[i] >= '0' && value.data[i] <= '9'));
         i++)
        digits += !html_is_space(value.data[i]);
    while (i < value.len &&
           (html_is_space(value.data[i]) || value.data[i] == ';' || value.data[i] == ','))
        i++;
    return digits > 0 ? i : value.len;
}

/* "5; url=page", and "5; page" (HTML, section 4.2.5.3). */
static void on_refresh(struct walk *walk, struct html_link *link)
{
    const struct slice v = link->value;
    size_t at = behind_url(v);
    if (at == v.len)
        at = behind_seconds(v);
    const char quote = at < v.len && (v.data[at] == '"' || v.data[at] == '\'') ? v.data[at] : 0;
    at += quote != 0;
    size_t end = at;
    while (end < v.len && (quote == 0 || v.data[end] != quote))
        end++;
    emit_piece(walk, link, at, end);
}

static void walk_tokens(struct walk *walk, size_t start, size_t end, bool is_inner);

/* The page in an <iframe>, in which there is none again. */
static void on_srcdoc(struct walk *walk, struct html_link *link)
{
    if (walk->around != NULL)
        return;
    struct walk page = {.html = link->value,
        .arena = walk->arena,
        .cb = walk->cb,
        .context = walk->context,
        .with_text = true, /* nobody else reads it */
        .around = link};
    link->url_to = link->value.len;
    link->place = HTML_LINK_PAGE;
    walk_tokens(&page, 0, page.html.len, false);
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
    {"srcdoc", on_srcdoc},
};

/* Attributes that link in some elements alone. */
static const struct special {
    const char *element, *name;
    void (*each)(struct walk *walk, struct html_link *link);
    const char *const *names; /* that the element's name must be one of; NULL: any */
} specials[] = {
    {"meta", "content", on_refresh, NULL},
    {"param", "value", on_whole,
        (const char *const[]){"movie", "src", "source", "url", "href", "data", "filename", NULL}},
};

/* ---- tokens ---- */

/* Whether the element's name, its first of the kind, is one of these. */
static bool is_named(struct slice attributes, const char *const *names, struct arena *arena)
{
    struct html_attribute attribute;
    for (size_t pos = 0; html_attribute_next(attributes, &pos, &attribute);) {
        if (!mime_name_is(attribute.name, "name"))
            continue;
        const struct slice name = text_trim(html_decode(attribute.value, arena));
        for (; *names != NULL; names++) {
            if (mime_name_is(name, *names))
                return true;
        }
        return false;
    }
    return false;
}

static const struct special *special_of(const struct html_token *token, struct arena *arena)
{
    for (size_t i = 0; i < sizeof(specials) / sizeof(specials[0]); i++) {
        const struct special *special = &specials[i];
        if (mime_name_is(token->name, special->element))
            return special->names == NULL || is_named(token->attributes, special->names, arena)
                       ? special
                       : NULL;
    }
    return NULL;
}

static void on_attribute(
    struct walk *walk, const struct html_attribute *attribute, const struct special *special)
{
    void (*each)(struct walk *, struct html_link *) = NULL;
    if (special != NULL && mime_name_is(attribute->name, special->name))
        each = special->each;
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
    if (is_anchor) /* one that begins ends the one before */
        walk->in_link = false;
    if (token->kind == HTML_END_TAG)
        return;
    struct html_attribute attribute;
    const struct special *special = special_of(token, walk->arena);
    for (size_t pos = 0; html_attribute_next(token->attributes, &pos, &attribute);) {
        on_attribute(walk, &attribute, special);
        if (is_anchor && mime_name_is(attribute.name, "href"))
            walk->in_link = true;
    }
}

/* Addresses in a text; places[i] is where its byte i stands in the HTML, NULL: one behind the other
 * from `from` on. */
static void on_plain(struct walk *walk, struct slice text, size_t from, const size_t *places)
{
    struct slice url;
    for (size_t pos = 0; url_text_next(text, &pos, &url);) {
        const size_t start = (size_t)(url.data - text.data), end = start + url.len;
        struct html_link link = {.place = HTML_LINK_TEXT,
            .from = places != NULL ? places[start] : from + start,
            .to = places != NULL ? places[end] : from + end,
            .value = url};
        on_whole(walk, &link);
    }
}

/* A word with references, any of whose characters may be one. */
static void on_word(struct walk *walk, struct slice word)
{
    const size_t from = (size_t)(word.data - walk->html.data);
    char *text = arena_alloc(walk->arena, word.len + 4);
    size_t *places = arena_alloc(walk->arena, (word.len + 5) * sizeof(*places));
    size_t n = 0;
    for (size_t i = 0; i < word.len;) {
        uint32_t code = 0;
        const size_t used = html_entity_read(slice_of(word.data + i, word.len - i), &code);
        size_t end = n + 1;
        if (used > 0)
            end = n + html_put_code(code, text + n); /* never longer than the reference */
        else
            text[n] = word.data[i];
        while (n < end)
            places[n++] = from + i;
        i += used > 0 ? used : 1;
    }
    places[n] = from + word.len;
    on_plain(walk, slice_of(text, n), 0, places);
}

static void on_piece(struct walk *walk, struct slice text)
{
    for (size_t i = 0; i < text.len;) {
        const size_t start = i;
        while (i < text.len && html_is_space(text.data[i]))
            i++;
        while (i < text.len && !html_is_space(text.data[i]))
            i++;
        const struct slice word = slice_of(text.data + start, i - start);
        if (memchr(word.data, '&', word.len) != NULL)
            on_word(walk, word);
        else
            on_plain(walk, word, (size_t)(word.data - walk->html.data), NULL);
    }
}

static bool ends_address(uint32_t code)
{
    return code <= ' ' || code == 0xa0 || code == '<' || code == '>' || code == '"';
}

/* References that stand for a blank, < > or a quote end an address. */
static void on_text(struct walk *walk, struct slice text)
{
    size_t start = 0;
    const char *mark;
    for (size_t i = 0; i < text.len && (mark = memchr(text.data + i, '&', text.len - i)) != NULL;) {
        uint32_t code = 0;
        i = (size_t)(mark - text.data);
        const size_t used = html_entity_read(slice_of(mark, text.len - i), &code);
        if (used > 0 && ends_address(code)) {
            on_piece(walk, slice_of(text.data + start, i - start));
            start = i + used;
        }
        i += used > 0 ? used : 1;
    }
    on_piece(walk, slice_of(text.data + start, text.len - start));
}

static void on_token(struct walk *walk, const struct html_token *token, bool is_inner)
{
    const struct slice bytes = slice_of(walk->html.data + token->start, token->end - token->start);
    switch (token->kind) {
    case HTML_START_TAG:
    case HTML_END_TAG:
        on_tag(walk, token);
        break;
    case HTML_TEXT:
        if (walk->with_text && !walk->in_link && !is_inner)
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
