#include "worker/html_scan.h"

#include <string.h>
#include <strings.h>

#include "worker/mime_impl.h"

bool html_is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f';
}

static bool is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

void html_scan_init(struct html_scan *scan, struct slice html)
{
    *scan = (struct html_scan){.html = html};
}

static bool is_at(struct slice html, size_t i, const char *text)
{
    const size_t len = strlen(text);
    return html.len - i >= len && memcmp(html.data + i, text, len) == 0;
}

/* Behind the next such text from i on; the end, and is_open, when there is none. */
static size_t behind(struct slice html, size_t i, const char *text, bool *is_open_out)
{
    *is_open_out = false;
    while (i < html.len) {
        const char *at = memchr(html.data + i, text[0], html.len - i);
        if (at == NULL)
            break;
        i = (size_t)(at - html.data);
        if (is_at(html, i, text))
            return i + strlen(text);
        i++;
    }
    *is_open_out = true;
    return html.len;
}

/* ---- attributes ---- */

/* The quoted value at i, behind its quote; false when the quote is never closed. */
static bool read_quoted(struct slice s, size_t i, char quote, struct html_attribute *out)
{
    const char *close = i < s.len ? memchr(s.data + i, quote, s.len - i) : NULL;
    if (close == NULL)
        return false;
    out->quote = quote;
    out->value = slice_of(s.data + i, (size_t)(close - s.data) - i);
    return true;
}

static size_t read_value(
    struct slice s, size_t i, struct html_scan *scan, struct html_attribute *out)
{
    const char c = i < s.len ? s.data[i] : '>';
    bool *has_none = c == '"' ? &scan->has_no_double : &scan->has_no_single;
    if ((c == '"' || c == '\'') && !*has_none) {
        if (read_quoted(s, i + 1, c, out))
            return i + out->value.len + 2;
        *has_none = true;
    }
    const size_t start = i;
    while (i < s.len && !html_is_space(s.data[i]) && s.data[i] != '>')
        i++;
    out->value = slice_of(s.data + start, i - start);
    return i;
}

static bool ends_name(char c)
{
    return html_is_space(c) || c == '/' || c == '>' || c == '=';
}

/* Stops, with false, at ">" or the end. */
static bool next_attribute(
    struct slice s, size_t *pos, struct html_scan *scan, struct html_attribute *out)
{
    size_t i = *pos;
    *out = (struct html_attribute){0};
    while (i < s.len && (html_is_space(s.data[i]) || s.data[i] == '/'))
        i++;
    *pos = i;
    if (i >= s.len || s.data[i] == '>')
        return false;
    const size_t start = i++; /* "=" may begin a name */
    while (i < s.len && !ends_name(s.data[i]))
        i++;
    out->name = slice_of(s.data + start, i - start);
    *pos = i;
    while (i < s.len && html_is_space(s.data[i]))
        i++;
    if (i >= s.len || s.data[i] != '=')
        return true;
    i++;
    while (i < s.len && html_is_space(s.data[i]))
        i++;
    *pos = read_value(s, i, scan, out);
    return true;
}

bool html_attribute_next(struct slice attributes, size_t *pos, struct html_attribute *out)
{
    struct html_scan scan = {0};
    return next_attribute(attributes, pos, &scan, out);
}

/* ---- tokens ---- */

/* Elements whose content holds no tags, to their own end tag. */
static bool is_raw_element(struct slice name)
{
    static const char *const names[] = {"script", "style", "title", "textarea", "xmp", "iframe",
        "noembed", "noframes", "plaintext"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (mime_name_is(name, names[i]))
            return true;
    }
    return false;
}

static void read_tag(struct html_scan *scan, size_t name, struct html_token *out)
{
    const struct slice html = scan->html;
    struct html_attribute attribute;
    size_t i = name;
    while (
        i < html.len && !html_is_space(html.data[i]) && html.data[i] != '/' && html.data[i] != '>')
        i++;
    out->name = slice_of(html.data + name, i - name);
    const size_t attributes = i;
    while (next_attribute(html, &i, scan, &attribute))
        ;
    out->attributes = slice_of(html.data + attributes, i - attributes);
    out->is_open = i >= html.len;
    out->end = out->is_open ? html.len : i + 1;
    if (out->kind == HTML_START_TAG && !out->is_open && is_raw_element(out->name))
        scan->raw = out->name;
}

/* "-->" or "--!>"; "<!-->" and "<!--->" are whole. */
static void read_comment(struct html_scan *scan, struct html_token *out)
{
    const struct slice html = scan->html;
    const size_t i = out->start + 4;
    if (is_at(html, i, ">") || is_at(html, i, "->")) {
        out->end = i + (html.data[i] == '>' ? 1 : 2);
        return;
    }
    bool is_open;
    out->end = behind(html, i, "--", &is_open);
    while (!is_open) {
        if (is_at(html, out->end, ">") || is_at(html, out->end, "!>")) {
            out->end += html.data[out->end] == '>' ? 1 : 2;
            return;
        }
        out->end = behind(html, out->end - 1, "--", &is_open);
    }
    out->is_open = true;
}

/* What begins with "<" at out->start; false when it is text. */
static bool read_markup(struct html_scan *scan, struct html_token *out)
{
    const struct slice html = scan->html;
    const size_t i = out->start;
    if (i + 1 >= html.len)
        return false;
    const char c = html.data[i + 1];
    if (is_alpha(c)) {
        out->kind = HTML_START_TAG;
        read_tag(scan, i + 1, out);
        return true;
    }
    if (c == '/' && i + 2 < html.len && is_alpha(html.data[i + 2])) {
        out->kind = HTML_END_TAG;
        read_tag(scan, i + 2, out);
        return true;
    }
    out->kind = HTML_COMMENT;
    if (is_at(html, i, "<!--"))
        read_comment(scan, out);
    else if (c == '!' || c == '?' || (c == '/' && i + 2 < html.len))
        out->end = behind(html, i + 2, ">", &out->is_open);
    else
        return false;
    return true;
}

static bool is_end_tag_of(struct slice html, size_t i, struct slice name)
{
    if (html.len - i < name.len + 2 || html.data[i + 1] != '/' ||
        strncasecmp(html.data + i + 2, name.data, name.len) != 0)
        return false;
    const size_t at = i + 2 + name.len;
    return at == html.len || html_is_space(html.data[at]) || html.data[at] == '/' ||
           html.data[at] == '>';
}

/* Up to the end tag; false when there is nothing before it. */
static bool read_raw(struct html_scan *scan, struct html_token *out)
{
    const struct slice html = scan->html;
    const struct slice name = scan->raw;
    size_t i = scan->pos;
    scan->raw = slice_of(NULL, 0);
    for (;; i++) {
        const char *lt = i < html.len ? memchr(html.data + i, '<', html.len - i) : NULL;
        i = lt != NULL ? (size_t)(lt - html.data) : html.len;
        if (i == html.len || (is_end_tag_of(html, i, name) && !mime_name_is(name, "plaintext")))
            break;
    }
    *out = (struct html_token){
        .kind = HTML_RAW, .start = scan->pos, .end = i, .name = name, .is_open = i == html.len};
    scan->pos = i;
    return out->end > out->start;
}

bool html_scan_next(struct html_scan *scan, struct html_token *out)
{
    const struct slice html = scan->html;
    if (scan->raw.len > 0 && read_raw(scan, out))
        return true;
    if (scan->pos >= html.len)
        return false;
    *out = (struct html_token){.start = scan->pos};
    if (html.data[scan->pos] != '<' || !read_markup(scan, out)) {
        size_t i = scan->pos + 1;
        const char *lt = i < html.len ? memchr(html.data + i, '<', html.len - i) : NULL;
        out->kind = HTML_TEXT;
        out->end = lt != NULL ? (size_t)(lt - html.data) : html.len;
    }
    scan->pos = out->end;
    return true;
}
