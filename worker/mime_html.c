/*
 * HTML without a parser of HTML: tags removed, what is not shown dropped, block elements as line
 * breaks, entities decoded; and the addresses in attributes. One pass, bounded output; input is
 * valid UTF-8 and so is the output.
 */
#include "worker/mime_impl.h"

#include <stdlib.h>
#include <strings.h>

enum { ENTITY_MAX = 12, ATTRIBUTE_MAX = 8192 };

static const struct entity {
    const char *name;
    uint32_t code;
} entities[] = {
    {"AMP", '&'},
    {"GT", '>'},
    {"LT", '<'},
    {"QUOT", '"'},
    {"Aring", 0xc5},
    {"Auml", 0xc4},
    {"Eacute", 0xc9},
    {"Ouml", 0xd6},
    {"Uuml", 0xdc},
    {"aacute", 0xe1},
    {"agrave", 0xe0},
    {"amp", '&'},
    {"apos", '\''},
    {"aring", 0xe5},
    {"auml", 0xe4},
    {"bull", 0x2022},
    {"ccedil", 0xe7},
    {"colon", ':'},
    {"commat", '@'},
    {"copy", 0xa9},
    {"deg", 0xb0},
    {"eacute", 0xe9},
    {"egrave", 0xe8},
    {"euro", 0x20ac},
    {"gt", '>'},
    {"hellip", 0x2026},
    {"iacute", 0xed},
    {"laquo", 0xab},
    {"ldquo", 0x201c},
    {"lowbar", '_'},
    {"lsquo", 0x2018},
    {"lt", '<'},
    {"mdash", 0x2014},
    {"middot", 0xb7},
    {"nbsp", 0xa0},
    {"ndash", 0x2013},
    {"ntilde", 0xf1},
    {"num", '#'},
    {"oacute", 0xf3},
    {"ouml", 0xf6},
    {"percnt", '%'},
    {"period", '.'},
    {"pound", 0xa3},
    {"quest", '?'},
    {"quot", '"'},
    {"raquo", 0xbb},
    {"rdquo", 0x201d},
    {"reg", 0xae},
    {"rsquo", 0x2019},
    {"sect", 0xa7},
    {"shy", 0xad},
    {"sol", '/'},
    {"szlig", 0xdf},
    {"trade", 0x2122},
    {"uacute", 0xfa},
    {"uuml", 0xfc},
    {"zwj", 0x200d},
    {"zwnj", 0x200c},
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f';
}

static bool is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t put_code(uint32_t c, char *out)
{
    if (c == 0 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        c = 0xfffd;
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 63));
        out[2] = (char)(0x80 | (c & 63));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 63));
    out[2] = (char)(0x80 | (c >> 6 & 63));
    out[3] = (char)(0x80 | (c & 63));
    return 4;
}

static size_t read_number(const char *p, size_t n, uint32_t *code_out)
{
    bool is_hex = n > 2 && (p[2] | 0x20) == 'x';
    size_t i = is_hex ? 3 : 2, start = i;
    uint32_t code = 0;
    for (; i < n; i++) {
        uint32_t digit;
        if (is_digit(p[i]))
            digit = (uint32_t)(p[i] - '0');
        else if (is_hex && (p[i] | 0x20) >= 'a' && (p[i] | 0x20) <= 'f')
            digit = (uint32_t)((p[i] | 0x20) - 'a' + 10);
        else
            break;
        code = code > 0x110000 ? code : code * (is_hex ? 16 : 10) + digit;
    }
    if (i == start)
        return 0;
    *code_out = code;
    return i < n && p[i] == ';' ? i + 1 : i;
}

/* The entity at p ("&…"): bytes it takes, 0 when it is none. */
static size_t read_entity(const char *p, size_t n, uint32_t *code_out)
{
    if (n < 3)
        return 0;
    if (p[1] == '#')
        return read_number(p, n, code_out);
    size_t len = 1;
    while (len < n && len < ENTITY_MAX && is_alpha(p[len]))
        len++;
    for (size_t i = 0; i < sizeof(entities) / sizeof(entities[0]); i++) {
        size_t name = strlen(entities[i].name);
        if (name == len - 1 && memcmp(entities[i].name, p + 1, name) == 0) {
            *code_out = entities[i].code;
            return len < n && p[len] == ';' ? len + 1 : len;
        }
    }
    return 0;
}

/* A tag at '<': its name, and where it ends. */
struct tag {
    struct slice name; /* without slash */
    bool is_end;
    size_t end; /* behind '>' */
};

static size_t comment_end(struct slice html, size_t i)
{
    const char *end = memmem(html.data + i, html.len - i, "-->", 3);
    return end != NULL ? (size_t)(end - html.data) + 3 : html.len;
}

static size_t tag_end(struct slice html, size_t i)
{
    char quote = 0;
    for (size_t k = i; k < html.len; k++) {
        char c = html.data[k];
        if (quote != 0)
            quote = c == quote ? 0 : quote;
        else if ((c == '"' || c == '\'') && k > i && html.data[k - 1] == '=')
            quote = c;
        else if (c == '>')
            return k + 1;
        if (k - i > 65536) /* a quote that never ends */
            break;
    }
    const char *close = memchr(html.data + i, '>', html.len - i);
    return close != NULL ? (size_t)(close - html.data) + 1 : html.len;
}

/* False when the '<' at i is text. */
static bool read_tag(struct slice html, size_t i, struct tag *out)
{
    *out = (struct tag){0};
    if (i + 1 >= html.len)
        return false;
    if (html.len - i >= 4 && memcmp(html.data + i, "<!--", 4) == 0) {
        out->end = comment_end(html, i + 4);
        return true;
    }
    char c = html.data[i + 1];
    if (c == '!' || c == '?') {
        out->end = tag_end(html, i);
        return true;
    }
    size_t name = i + 1;
    if (c == '/') {
        out->is_end = true;
        name++;
    }
    if (name >= html.len || !is_alpha(html.data[name]))
        return false;
    size_t k = name;
    while (k < html.len && (is_alpha(html.data[k]) || is_digit(html.data[k])))
        k++;
    out->name = slice_of(html.data + name, k - name);
    out->end = tag_end(html, k);
    return true;
}

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
    static const char *const names[] = {"script", "style", "head", "title", "template", NULL};
    return is_one_of(name, names);
}

static bool is_block(struct slice name)
{
    static const char *const names[] = {"p", "br", "div", "tr", "li", "ul", "ol", "table", "h1",
        "h2", "h3", "h4", "h5", "h6", "hr", "blockquote", "pre", "section", "article", "header",
        "footer", "dt", "dd", "form", "body", NULL};
    return is_one_of(name, names);
}

static bool is_tag_of(struct slice html, size_t i, struct slice name)
{
    return html.len - i >= name.len &&
           slice_equal_nocase(slice_of(html.data + i, name.len), name) &&
           (html.len - i == name.len || !is_alpha(html.data[i + name.len]));
}

/* Behind the end tag of an element that is not shown, or the end. A head that is never closed ends
 * with its body. */
static size_t skip_hidden(struct slice html, size_t i, struct slice name)
{
    while (i < html.len) {
        const char *lt = memchr(html.data + i, '<', html.len - i);
        if (lt == NULL)
            break;
        i = (size_t)(lt - html.data) + 1;
        if (i < html.len && html.data[i] == '/' && is_tag_of(html, i + 1, name))
            return tag_end(html, i);
        if (mime_name_is(name, "head") && is_tag_of(html, i, slice_text("body")))
            return i - 1;
    }
    return html.len;
}

struct writer {
    struct buf out;
    bool has_space; /* a blank is due before the next text */
    bool has_break;
    bool is_full;
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

/* Text up to the next '<', '&' or blank. */
static size_t put_text(struct writer *w, struct slice html, size_t i)
{
    size_t n = 1;
    while (i + n < html.len && !is_space(html.data[i + n]) && html.data[i + n] != '<' &&
           html.data[i + n] != '&')
        n++;
    size_t room = w->out.max - w->out.len;
    if (n + 1 > room) /* one very long word: what fits of it */
        w->is_full = true;
    else
        put(w, html.data + i, n);
    return i + n;
}

static size_t put_entity(struct writer *w, struct slice html, size_t i)
{
    uint32_t code;
    size_t used = read_entity(html.data + i, html.len - i, &code);
    if (used == 0)
        return put_text(w, html, i);
    if (code == 0xa0 || (code < 128 && is_space((char)code))) {
        w->has_space = true;
        return i + used;
    }
    char utf8[4];
    put(w, utf8, put_code(code, utf8));
    return i + used;
}

static size_t on_tag(struct writer *w, struct slice html, const struct tag *tag)
{
    if (!tag->is_end && tag->name.len > 0 && is_hidden(tag->name))
        return skip_hidden(html, tag->end, tag->name);
    if (is_block(tag->name))
        w->has_break = true;
    else if (mime_name_is(tag->name, "td") || mime_name_is(tag->name, "th"))
        w->has_space = true;
    return tag->end;
}

struct slice mime_html_text(struct slice html, size_t max, struct arena *arena)
{
    struct writer w = {0};
    buf_init(&w.out, max);
    struct tag tag;
    for (size_t i = 0; i < html.len && !w.is_full;) {
        char c = html.data[i];
        if (is_space(c)) {
            w.has_space = true;
            i++;
        } else if (c == '<' && read_tag(html, i, &tag)) {
            i = on_tag(&w, html, &tag);
        } else if (c == '&') {
            i = put_entity(&w, html, i);
        } else {
            i = put_text(&w, html, i);
        }
    }
    struct slice text = slice_of(arena_memdup0(arena, w.out.data, w.out.len), w.out.len);
    buf_clear(&w.out);
    return text;
}

/* ---- addresses ---- */

static struct slice decoded_attribute(struct slice value, struct arena *arena)
{
    if (memchr(value.data, '&', value.len) == NULL)
        return value;
    char *out = arena_alloc(arena, value.len + 4);
    size_t n = 0;
    for (size_t i = 0; i < value.len;) {
        uint32_t code = 0;
        size_t used = value.data[i] == '&' ? read_entity(value.data + i, value.len - i, &code) : 0;
        if (used > 0) {
            n += put_code(code, out + n); /* never longer than the entity */
            i += used;
        } else {
            out[n++] = value.data[i++];
        }
    }
    return slice_of(out, n);
}

static struct slice attribute_value(struct slice tag, size_t i)
{
    char quote = i < tag.len && (tag.data[i] == '"' || tag.data[i] == '\'') ? tag.data[i++] : 0;
    size_t start = i;
    while (i < tag.len &&
           (quote != 0 ? tag.data[i] != quote : !is_space(tag.data[i]) && tag.data[i] != '>'))
        i++;
    return mime_trim(slice_of(tag.data + start, i - start));
}

static void each_link_of_tag(
    struct slice tag, struct arena *arena, mime_reading_cb cb, void *context)
{
    static const char *const names[] = {
        "href", "src", "action", "background", "data", "formaction", "cite", "poster", NULL};
    for (size_t i = 0; i < tag.len;) {
        const char *equals = memchr(tag.data + i, '=', tag.len - i);
        if (equals == NULL)
            return;
        size_t at = (size_t)(equals - tag.data), end = at;
        while (end > i && is_space(tag.data[end - 1]))
            end--;
        size_t start = end;
        while (start > i && is_alpha(tag.data[start - 1]))
            start--;
        i = at + 1;
        while (i < tag.len && is_space(tag.data[i]))
            i++;
        if (!is_one_of(slice_of(tag.data + start, end - start), names))
            continue;
        struct slice value = attribute_value(tag, i);
        if (value.len > 0 && value.len <= ATTRIBUTE_MAX)
            cb(decoded_attribute(value, arena), context);
        i += value.len;
    }
}

void mime_html_each_link(struct slice html, struct arena *arena, mime_reading_cb cb, void *context)
{
    for (size_t i = 0; i < html.len;) {
        const char *lt = memchr(html.data + i, '<', html.len - i);
        if (lt == NULL)
            return;
        i = (size_t)(lt - html.data);
        struct tag tag;
        if (!read_tag(html, i, &tag)) {
            i++;
            continue;
        }
        /* Inside comments too: some programs show what conditional comments hold. */
        each_link_of_tag(slice_of(html.data + i, tag.end - i), arena, cb, context);
        i = tag.end;
    }
}
