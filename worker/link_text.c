#include "worker/link_text.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/err.h"
#include "common/text.h"

enum { VALUE_BYTES = 4096 };

#define TEXT_FRONT                                                                                 \
    "The attachment \"${name}\" (${size}) has been taken out of this message.\n"                   \
    "It can be fetched from\n\n    ${url}\n"
#define HTML_FRONT                                                                                 \
    "<p>The attachment <b>${name}</b> (${size}) has been taken out of this message.<br>\n"         \
    "It can be fetched from <a href=\"${url}\">${url}</a>"

const char *link_text_default(bool expires, bool is_html)
{
    if (is_html)
        return expires ? HTML_FRONT " until ${expires}.</p>\n" : HTML_FRONT "</p>\n";
    return expires ? TEXT_FRONT "\nuntil ${expires}.\n" : TEXT_FRONT;
}

/* ---- values ---- */

/* U+200E, U+200F, U+202A … U+202E, U+2066 … U+2069 (Unicode Standard Annex 9), U+061C. */
static size_t bidi_length(const unsigned char *s, size_t left)
{
    if (left >= 2 && s[0] == 0xd8 && s[1] == 0x9c)
        return 2;
    if (left < 3 || s[0] != 0xe2)
        return 0;
    const bool is_mark = s[1] == 0x80 && (s[2] == 0x8e || s[2] == 0x8f);
    const bool is_embedding = s[1] == 0x80 && s[2] >= 0xaa && s[2] <= 0xae;
    const bool is_isolate = s[1] == 0x81 && s[2] >= 0xa6 && s[2] <= 0xa9;
    return is_mark || is_embedding || is_isolate ? 3 : 0;
}

static size_t without_bidi(char *text, size_t len)
{
    size_t to = 0;
    for (size_t from = 0; from < len;) {
        const size_t n = bidi_length((const unsigned char *)text + from, len - from);
        text[to++] = n > 0 ? '_' : text[from];
        from += n > 0 ? n : 1;
    }
    return to;
}

static size_t put_name(const struct link_facts *facts, char *out)
{
    static const struct text_bounds bounds = {LINK_SHOWN_BYTES, LINK_SHOWN_BYTES, 1};
    if (facts->name.len == 0)
        return (size_t)snprintf(out, VALUE_BYTES, "unnamed");
    return without_bidi(out, text_clean(out, facts->name, &bounds));
}

static size_t put_plain(char *out, const char *text)
{
    const size_t n = strlen(text) < VALUE_BYTES ? strlen(text) : VALUE_BYTES;
    memcpy(out, text, n);
    return n;
}

static size_t put_url(const struct link_facts *facts, char *out)
{
    return put_plain(out, facts->url);
}

static size_t put_type(const struct link_facts *facts, char *out)
{
    static const struct text_bounds bounds = {LINK_SHOWN_BYTES, LINK_SHOWN_BYTES, 1};
    return without_bidi(out, text_clean(out, slice_text(facts->type), &bounds));
}

static size_t put_sha256(const struct link_facts *facts, char *out)
{
    return put_plain(out, facts->sha256);
}

static size_t put_size(const struct link_facts *facts, char *out)
{
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
    double size = (double)facts->size;
    size_t unit = 0;
    while (size >= 999.5 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        size /= 1000;
        unit++;
    }
    return (size_t)snprintf(
        out, VALUE_BYTES, unit > 0 && size < 9.95 ? "%.1f %s" : "%.0f %s", size, units[unit]);
}

static size_t put_expires(const struct link_facts *facts, char *out)
{
    const time_t at = (time_t)facts->expires_secs;
    struct tm utc;
    size_t n = 0;
    if (at != 0 && gmtime_r(&at, &utc) != NULL)
        n = strftime(out, VALUE_BYTES, "%Y-%m-%d", &utc);
    return n > 0 ? n : (size_t)snprintf(out, VALUE_BYTES, "never");
}

static const struct {
    const char *name;
    size_t (*put)(
        const struct link_facts *facts, char *out); /* at most VALUE_BYTES; their number */
} variables[] = {
    {"name", put_name},
    {"url", put_url},
    {"size", put_size},
    {"expires", put_expires},
    {"type", put_type},
    {"sha256", put_sha256},
};

/* ---- filling in ---- */

static int put_escaped(struct buf *out, struct slice value, bool is_html)
{
    static const struct {
        char c;
        const char *text;
    } escapes[] = {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}, {'\'', "&#39;"}};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < value.len; i++) {
        struct slice piece = slice_of(value.data + i, 1);
        for (size_t k = 0; is_html && k < sizeof(escapes) / sizeof(escapes[0]); k++) {
            if (value.data[i] == escapes[k].c)
                piece = slice_text(escapes[k].text);
        }
        rc = buf_put(out, piece.data, piece.len);
    }
    return rc;
}

/* 0, -ERR_NOTFOUND (no such variable) or -ERR_TOOBIG. */
static int put_variable(
    struct buf *out, struct slice name, const struct link_facts *facts, bool is_html)
{
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
        if (slice_equal(name, slice_text(variables[i].name))) {
            char value[VALUE_BYTES];
            const size_t n = variables[i].put(facts, value);
            return put_escaped(out, slice_of(value, n), is_html);
        }
    }
    return -ERR_NOTFOUND;
}

static const char *wrong_variable(struct slice name, struct arena *arena)
{
    char shown[64];
    text_escape(shown, sizeof(shown), name, 0);
    return arena_printf(arena,
        "unknown variable ${%s}; there are name, url, size, expires, type and sha256", shown);
}

/* The variable that begins at template ("${…"). *used_out: how long it is there. */
static const char *fill_variable(struct slice template, const struct link_facts *facts,
    bool is_html, struct arena *arena, struct buf *out, size_t *used_out)
{
    const char *end = memchr(template.data, '}', template.len);
    if (end == NULL)
        return "a variable is not closed: \"${\" without \"}\"";
    const struct slice name = slice_of(template.data + 2, (size_t)(end - template.data) - 2);
    const int rc = put_variable(out, name, facts, is_html);
    *used_out = name.len + 3;
    return rc == 0               ? NULL
           : rc == -ERR_NOTFOUND ? wrong_variable(name, arena)
                                 : "the text is too long";
}

static const char *fill(struct slice template, const struct link_facts *facts, bool is_html,
    struct arena *arena, struct buf *out)
{
    for (size_t at = 0, used; at < template.len; at += used) {
        const struct slice rest = slice_of(template.data + at, template.len - at);
        if (rest.len >= 2 && memcmp(rest.data, "${", 2) == 0) {
            const char *wrong = fill_variable(rest, facts, is_html, arena, out, &used);
            if (wrong != NULL)
                return wrong;
            continue;
        }
        const char *dollar = rest.len > 1 ? memchr(rest.data + 1, '$', rest.len - 1) : NULL;
        used = dollar != NULL ? (size_t)(dollar - rest.data) : rest.len;
        if (buf_put(out, rest.data, used) != 0)
            return "the text is too long";
    }
    return NULL;
}

const char *link_text_fill(struct slice template, const struct link_facts *facts, bool is_html,
    struct arena *arena, struct slice *out)
{
    if (template.len > LINK_TEMPLATE_MAX)
        return "a template has at most 65536 bytes";
    if (!text_is_utf8(template) ||
        (template.len > 0 && memchr(template.data, '\0', template.len) != NULL))
        return "a template is UTF-8 text without NUL";
    struct buf filled;
    buf_init(&filled, LINK_TEXT_MAX);
    const char *wrong = fill(template, facts, is_html, arena, &filled);
    if (wrong == NULL)
        *out = slice_of(arena_memdup0(arena, filled.data, filled.len), filled.len);
    buf_clear(&filled);
    return wrong;
}
