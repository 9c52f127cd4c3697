/*
 * Parameters of content fields as RFC 2045 and 2231 have them. Every other way in which programs
 * are known to read a value is mime_reading.c's. All searches are bounded by MIME_VALUE_BYTES and
 * MIME_PARAMS_MAX.
 */
#include "worker/mime_impl.h"

#include <strings.h>

#include "common/text.h"

size_t mime_skip_spaces(struct slice s, size_t i)
{
    while (i < s.len && text_is_space(s.data[i]))
        i++;
    return i;
}

/* Behind a comment that starts at i (they nest; RFC 5322 section 3.2.2); the end when it does not
 * end. */
size_t mime_skip_comment(struct slice s, size_t i)
{
    size_t depth = 0;
    for (; i < s.len; i++) {
        char c = s.data[i];
        if (c == '\\')
            i++;
        else if (c == '(')
            depth++;
        else if (c == ')' && --depth == 0)
            return i + 1;
    }
    return s.len;
}

size_t mime_skip_comments(struct slice s, size_t i)
{
    for (;;) {
        i = mime_skip_spaces(s, i);
        if (i >= s.len || s.data[i] != '(')
            return i;
        i = mime_skip_comment(s, i);
    }
}

static bool ends_token(char c)
{
    return text_is_space(c) || c == ';' || c == '(' || c == '\0' || c == '"' || c == ',' ||
           c == '=';
}

static char token_char(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c - 'A' + 'a');
    return c > ' ' && c < 127 ? c : '?';
}

enum { TOKEN_BYTES = 128 };

const char *mime_token_read(struct slice value, struct arena *arena, struct slice *rest_out)
{
    char token[TOKEN_BYTES];
    size_t n = 0;
    size_t i = mime_skip_comments(value, 0);
    if (i < value.len && value.data[i] == '"') /* some writers quote it */
        i++;
    while (i < value.len) {
        size_t next = mime_skip_comments(value, i);
        bool joins_slash =
            next < value.len && (value.data[next] == '/' || (n > 0 && token[n - 1] == '/'));
        if (next != i && !joins_slash)
            break;
        i = next;
        if (i >= value.len || ends_token(value.data[i]))
            break;
        if (n < sizeof(token))
            token[n++] = token_char(value.data[i]);
        i++;
    }
    if (i > value.len)
        i = value.len;
    *rest_out = slice_of(value.data + i, value.len - i);
    return arena_memdup0(arena, token, n);
}

struct slice mime_percent_decode(struct slice in, struct arena *arena)
{
    if (in.len == 0 || memchr(in.data, '%', in.len) == NULL)
        return in;
    char *out = arena_alloc(arena, in.len);
    size_t n = 0;
    for (size_t i = 0; i < in.len; i++) {
        int high = i + 2 < in.len && in.data[i] == '%' ? text_hex_digit(in.data[i + 1]) : -1;
        int low = high >= 0 ? text_hex_digit(in.data[i + 2]) : -1;
        if (low >= 0) {
            out[n++] = (char)(high << 4 | low);
            i += 2;
        } else {
            out[n++] = in.data[i];
        }
    }
    return slice_of(out, n);
}

bool mime_extended_split(struct slice value, struct slice *charset_out, struct slice *text_out)
{
    *charset_out = slice_of(NULL, 0);
    *text_out = value;
    const char *first = value.len > 0 ? memchr(value.data, '\'', value.len) : NULL;
    if (first == NULL)
        return false;
    size_t at = (size_t)(first - value.data) + 1;
    const char *second = memchr(value.data + at, '\'', value.len - at);
    if (second == NULL)
        return false;
    *charset_out = slice_of(value.data, at - 1);
    size_t text = (size_t)(second - value.data) + 1;
    *text_out = slice_of(value.data + text, value.len - text);
    return true;
}

struct slice mime_extended_decode(struct slice value, struct arena *arena)
{
    struct slice charset, text;
    mime_extended_split(value, &charset, &text);
    text = mime_percent_decode(text, arena);
    if (charset.len == 0 || charset.len > MIME_CHARSET_BYTES)
        return mime_guess_utf8(text, arena);
    const char *name = arena_memdup0(arena, charset.data, charset.len);
    return mime_to_utf8(text, name, MIME_VALUE_BYTES, arena, NULL);
}

/* ---- the parameters as the RFCs have them ---- */

struct raw_param {
    const char *name; /* without section */
    struct mime_occurrence place;
    struct slice value;
};

static size_t read_param(struct slice s, size_t i, struct arena *arena, struct raw_param *out)
{
    size_t start = i;
    while (i < s.len && !ends_token(s.data[i]) && s.data[i] != '*')
        i++;
    char *name = arena_memdup0(arena, s.data + start, i - start);
    for (char *p = name; *p != '\0'; p++)
        *p = token_char(*p);
    out->name = name;
    i = mime_skip_comments(s, mime_section_read(s, i, &out->place));
    if (i >= s.len || s.data[i] != '=' || *name == '\0') {
        out->name = NULL;
        return i > start ? i : i + 1;
    }
    i = mime_skip_comments(s, i + 1);
    size_t used;
    out->value = mime_usual_reading(slice_of(s.data + i, s.len - i), arena, &used);
    return i + used;
}

static uint32_t read_raw_params(
    struct slice s, struct arena *arena, struct raw_param *params, bool *is_cut_out)
{
    uint32_t n = 0;
    *is_cut_out = false;
    for (size_t i = 0;;) {
        while (i < s.len && (text_is_space(s.data[i]) || s.data[i] == ';' || s.data[i] == ',' ||
                                s.data[i] == '(' || s.data[i] == '"'))
            i = s.data[i] == '(' ? mime_skip_comment(s, i) : i + 1;
        if (i >= s.len)
            return n;
        if (n == MIME_PARAMS_MAX) {
            *is_cut_out = true;
            return n;
        }
        i = read_param(s, i, arena, &params[n]);
        n += params[n].name != NULL;
    }
}

static const struct raw_param *find_section(
    const struct raw_param *params, uint32_t n, const char *name, int32_t section)
{
    for (uint32_t i = 0; i < n; i++) {
        if (params[i].place.section == section && strcmp(params[i].name, name) == 0)
            return &params[i];
    }
    return NULL;
}

/* Joins the sections of a parameter, from 0 up to the first that is missing. */
static struct slice join_sections(
    const struct raw_param *params, uint32_t n, const char *name, struct arena *arena)
{
    char *joined = arena_alloc(arena, MIME_VALUE_BYTES);
    size_t len = 0;
    bool is_extended = false;
    for (int32_t section = 0; section < MIME_PARAMS_MAX; section++) {
        const struct raw_param *found = find_section(params, n, name, section);
        if (found == NULL || len + found->value.len > MIME_VALUE_BYTES)
            break;
        if (found->value.len > 0)
            memcpy(joined + len, found->value.data, found->value.len);
        len += found->value.len;
        is_extended = is_extended || found->place.is_extended;
    }
    struct slice all = slice_of(joined, len);
    return is_extended ? mime_extended_decode(all, arena) : mime_words_decode(all, arena);
}

static const char *to_text(struct slice s, struct arena *arena)
{
    s = mime_without_byte(s, '\0', arena);
    return arena_memdup0(arena, s.data, s.len);
}

static const char *param_value(
    const struct raw_param *params, uint32_t n, uint32_t at, struct arena *arena)
{
    const struct raw_param *p = &params[at];
    for (uint32_t i = at; i < n; i++) { /* RFC 5987 and common practice: name*= goes before name= */
        if (params[i].place.section < 0 && params[i].place.is_extended &&
            strcmp(params[i].name, p->name) == 0)
            return to_text(mime_extended_decode(params[i].value, arena), arena);
    }
    if (p->place.section >= 0)
        return to_text(join_sections(params, n, p->name, arena), arena);
    if (strcmp(p->name, "boundary") == 0)
        return to_text(mime_guess_utf8(p->value, arena), arena);
    return to_text(mime_words_decode(p->value, arena), arena);
}

static bool decides_reading(const char *name)
{
    return strcmp(name, "boundary") == 0 || strcmp(name, "name") == 0 ||
           strcmp(name, "filename") == 0 || strcmp(name, "charset") == 0;
}

/* The same parameter, or section of one, twice and with different values. */
static bool has_duplicate(const struct raw_param *params, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (!decides_reading(params[i].name))
            continue;
        for (uint32_t k = i + 1; k < n; k++) {
            if (params[i].place.section == params[k].place.section &&
                params[i].place.is_extended == params[k].place.is_extended &&
                strcmp(params[i].name, params[k].name) == 0 &&
                !slice_equal(params[i].value, params[k].value))
                return true;
        }
    }
    return false;
}

unsigned mime_params_read(
    struct slice value, struct arena *arena, const struct mime_param **out, uint32_t *n_out)
{
    *out = NULL;
    *n_out = 0;
    if (mime_is_blank(value))
        return 0;
    struct raw_param raw[MIME_PARAMS_MAX + 1];
    bool is_cut;
    uint32_t n = read_raw_params(value, arena, raw, &is_cut);
    struct mime_param *params = arena_calloc(arena, n > 0 ? n : 1, sizeof(*params));
    uint32_t n_params = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (mime_param_find(params, n_params, raw[i].name) == NULL)
            params[n_params++] = (struct mime_param){raw[i].name, param_value(raw, n, i, arena)};
    }
    *out = params;
    *n_out = n_params;
    return (is_cut ? MIME_PARAMS_CUT : 0u) | (has_duplicate(raw, n) ? MIME_PARAMS_DUPLICATE : 0u);
}

const char *mime_param_find(const struct mime_param *params, uint32_t n, const char *name)
{
    for (uint32_t i = 0; i < n; i++) {
        if (strcmp(params[i].name, name) == 0)
            return params[i].value;
    }
    return NULL;
}
