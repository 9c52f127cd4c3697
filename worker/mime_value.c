/*
 * Every way in which programs are known to read the value of a parameter: quotes missing or broken,
 * backslashes kept, comments, cut at a blank; sections of RFC 2231 joined in either order; and
 * wherever in a field the parameter's name is found. All searches are bounded by MIME_VALUE_BYTES
 * and MIME_PARAMS_MAX.
 */
#include "worker/mime_impl.h"

#include <stdlib.h>
#include <strings.h>

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static size_t skip_spaces(struct slice s, size_t i)
{
    while (i < s.len && is_space(s.data[i]))
        i++;
    return i;
}

bool mime_is_control(char c)
{
    return ((uint8_t)c < ' ' && c != '\t' && c != '\r' && c != '\n') || c == 0x7f;
}

static struct slice bounded(struct slice s)
{
    return slice_of(s.data, s.len < MIME_VALUE_BYTES ? s.len : MIME_VALUE_BYTES);
}

static struct slice until(struct slice s, const char *stops)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] != '\0' && strchr(stops, s.data[i]) != NULL)
            return slice_of(s.data, i);
    }
    return s;
}

/* Where the quoted string that starts behind s[0] ends; s.len when it does not. */
static size_t quote_end(struct slice s, bool heeds_backslash)
{
    for (size_t i = 1; i < s.len; i++) {
        if (s.data[i] == '\\' && heeds_backslash)
            i++;
        else if (s.data[i] == '"')
            return i;
    }
    return s.len;
}

struct slice mime_without_byte(struct slice s, char unwanted, struct arena *arena)
{
    if (s.len == 0 || memchr(s.data, unwanted, s.len) == NULL)
        return s;
    char *out = arena_alloc(arena, s.len);
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] != unwanted)
            out[n++] = s.data[i];
    }
    return slice_of(out, n);
}

static struct slice unescaped(struct slice s, struct arena *arena)
{
    if (s.len == 0 || memchr(s.data, '\\', s.len) == NULL)
        return s;
    char *out = arena_alloc(arena, s.len);
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] == '\\' && i + 1 < s.len)
            i++;
        out[n++] = s.data[i];
    }
    return slice_of(out, n);
}

struct slice mime_without_comments(struct slice s, struct arena *arena)
{
    char *out = arena_alloc(arena, s.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.len;) {
        if (s.data[i] == '(') {
            i = mime_skip_comment(s, i);
            continue;
        }
        out[n++] = s.data[i++];
    }
    return mime_trim(slice_of(out, n));
}

struct slice mime_usual_reading(struct slice rest, struct arena *arena, size_t *used_out)
{
    rest = bounded(rest);
    if (rest.len > 0 && rest.data[0] == '"') {
        size_t end = quote_end(rest, true);
        if (end < rest.len) {
            *used_out = end + 1;
            return unescaped(slice_of(rest.data + 1, end - 1), arena);
        }
        struct slice open = until(slice_of(rest.data + 1, rest.len - 1), ";\r\n");
        *used_out = open.len + 1;
        return mime_trim(unescaped(open, arena));
    }
    struct slice token = until(rest, ";");
    *used_out = token.len;
    if (token.len > 0 && memchr(token.data, '(', token.len) != NULL)
        return mime_without_comments(token, arena);
    return mime_trim(token);
}

static bool has(struct slice s, const char *chars)
{
    return until(s, chars).len < s.len;
}

static void quoted_readings(
    struct slice rest, struct arena *arena, mime_reading_cb cb, void *context)
{
    size_t end = quote_end(rest, true), plain_end = quote_end(rest, false);
    struct slice inner = slice_of(rest.data + 1, end < rest.len ? end - 1 : rest.len - 1);
    if (has(inner, "\\")) {
        cb(inner, context);
        cb(unescaped(inner, arena), context);
        cb(slice_of(rest.data + 1, plain_end < rest.len ? plain_end - 1 : rest.len - 1), context);
    }
    if (has(inner, ";"))
        cb(mime_trim(until(inner, ";")), context);
    if (end >= rest.len) {
        cb(mime_trim(inner), context);
        cb(mime_trim(until(inner, "\r\n")), context);
        cb(mime_trim(until(rest, ";")), context);
    } else {
        struct slice tail = until(slice_of(rest.data + end + 1, rest.len - end - 1), ";");
        if (!mime_is_blank(tail)) { /* "evil".exe */
            struct slice whole = slice_of(rest.data, end + 1 + tail.len);
            cb(mime_without_byte(mime_trim(whole), '"', arena), context);
            cb(mime_without_byte(mime_trim(until(rest, ";")), '"', arena), context);
        }
    }
}

static void bare_readings(struct slice rest, struct arena *arena, mime_reading_cb cb, void *context)
{
    struct slice token = mime_trim(until(rest, ";"));
    if (has(token, "("))
        cb(token, context);
    if (has(token, " \t\r\n"))
        cb(until(token, " \t\r\n"), context);
    if (has(token, "\""))
        cb(mime_without_byte(token, '"', arena), context);
    if (has(token, "\\"))
        cb(unescaped(token, arena), context);
    if (has(token, "'") && token.len >= 2 && token.data[0] == '\'' &&
        token.data[token.len - 1] == '\'')
        cb(slice_of(token.data + 1, token.len - 2), context);
    if (has(token, ","))
        cb(mime_trim(until(token, ",")), context);
    if (has(token, ")") && !has(token, "(")) /* it stands in a comment */
        cb(mime_trim(until(token, ")")), context);
}

void mime_readings_each(struct slice rest, struct arena *arena, mime_reading_cb cb, void *context)
{
    size_t used;
    rest = bounded(rest);
    cb(mime_usual_reading(rest, arena, &used), context);
    if (rest.len > 0 && rest.data[0] == '"')
        quoted_readings(rest, arena, cb, context);
    else
        bare_readings(rest, arena, cb, context);
}

/* ---- occurrences ---- */

size_t mime_section_read(struct slice s, size_t i, struct mime_occurrence *out)
{
    out->section = -1;
    out->is_extended = out->is_odd = false;
    if (i >= s.len || s.data[i] != '*')
        return i;
    size_t digits = i + 1;
    int32_t number = 0;
    for (; digits < s.len && s.data[digits] >= '0' && s.data[digits] <= '9'; digits++)
        number = number < 100000 ? number * 10 + (s.data[digits] - '0') : number;
    if (digits == i + 1) {
        out->is_extended = true;
        return digits;
    }
    out->section = number;
    out->is_odd = s.data[i + 1] == '0' && digits > i + 2;
    out->is_extended = digits < s.len && s.data[digits] == '*';
    return digits + out->is_extended;
}

/* From behind the word to the value: "*N* =", with blanks and comments in between; false when there
 * is no "=". */
static bool read_equals(struct slice s, size_t *pos, struct mime_occurrence *out)
{
    /* A window, so that "name(name(name(" costs no square of its length. */
    struct slice window = slice_of(s.data, s.len - *pos > 256 ? *pos + 256 : s.len);
    size_t i = mime_skip_comments(window, *pos);
    i = mime_skip_comments(window, mime_section_read(window, i, out));
    if (i >= window.len || window.data[i] != '=')
        return false;
    *pos = mime_skip_comments(window, i + 1);
    return true;
}

/* "* 0", "**", "*-1", "*x" and the like up to "=", which some programs take for a section or
 * skip. */
static bool read_odd_section(struct slice s, size_t *pos, struct mime_occurrence *out)
{
    enum { ODD_BYTES = 24 };
    struct slice window = slice_of(s.data, s.len - *pos > ODD_BYTES ? *pos + ODD_BYTES : s.len);
    size_t i = skip_spaces(window, *pos), digits = 0;
    bool is_negative = false;
    if (i >= window.len || window.data[i] != '*')
        return false;
    out->section = -1;
    for (i++; i < window.len && window.data[i] != '='; i++) {
        char c = window.data[i];
        bool is_digit = c >= '0' && c <= '9';
        if (!is_digit && !is_space(c) && c != '*' && c != '-' && c != '+' &&
            ((c | 0x20) < 'a' || (c | 0x20) > 'z'))
            return false;
        is_negative = is_negative || c == '-';
        if (is_digit && digits++ < 5)
            out->section = (out->section < 0 ? 0 : out->section) * 10 + (c - '0');
    }
    if (i >= window.len)
        return false;
    out->is_extended = window.data[i - 1] == '*';
    out->is_odd = true;
    if (is_negative)
        out->section = -1;
    *pos = skip_spaces(s, i + 1);
    return true;
}

bool mime_occurrence_next(
    struct slice value, size_t *pos, const char *word, struct mime_occurrence *out)
{
    size_t len = strlen(word);
    for (size_t i = *pos; i + len < value.len; i++) {
        if ((value.data[i] | 0x20) != word[0] || strncasecmp(value.data + i, word, len) != 0)
            continue;
        size_t after = i + len;
        if (!read_equals(value, &after, out) && !read_odd_section(value, &after, out))
            continue;
        out->rest = slice_of(value.data + after, value.len - after);
        out->has_prefix = i >= 4 && strncasecmp(value.data + i - 4, "file", 4) == 0;
        *pos = i + len;
        return true;
    }
    *pos = value.len;
    return false;
}

struct slice mime_without_controls(struct slice s, struct arena *arena)
{
    char *out = arena_alloc(arena, s.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (!mime_is_control(s.data[i]))
            out[n++] = s.data[i];
    }
    return slice_of(out, n);
}

/* ---- all values of a parameter ---- */

enum { SECTIONS_MAX = 16 };

struct section {
    struct slice value;
    int32_t number;
    uint32_t place; /* order of appearance */
    bool is_extended;
};

struct values {
    struct arena *arena;
    mime_reading_cb cb;
    void *context;
    struct section sections[SECTIONS_MAX];
    uint32_t n_sections;
    struct slice first; /* the usual reading of the value under way */
    bool has_first;
};

static struct slice without_folding(struct slice s, struct arena *arena)
{
    char *out = arena_alloc(arena, s.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] != '\r' && s.data[i] != '\n')
            out[n++] = s.data[i];
        else
            while (i + 1 < s.len && is_space(s.data[i + 1]))
                i++;
    }
    return slice_of(out, n);
}

/* A reading, and what it becomes where line ends, NUL or encoded words are handled otherwise. */
static void tell(struct values *values, struct slice reading)
{
    if (has(reading, "\r\n")) {
        tell(values, mime_unfold(reading, values->arena));
        tell(values, without_folding(reading, values->arena));
        return;
    }
    values->cb(reading, values->context);
    if (reading.len > 0 && memchr(reading.data, 0, reading.len) != NULL) {
        values->cb(slice_of(reading.data, strnlen(reading.data, reading.len)), values->context);
        values->cb(mime_without_byte(reading, '\0', values->arena), values->context);
    }
    if (reading.len > 2 && memmem(reading.data, reading.len, "=?", 2) != NULL)
        values->cb(mime_words_decode(reading, values->arena), values->context);
}

static void on_reading(struct slice reading, void *context)
{
    tell(context, reading);
}

static void keep_first(struct slice reading, void *context)
{
    struct values *values = context;
    if (!values->has_first)
        values->first = reading;
    values->has_first = true;
}

static void note_section(struct values *values, const struct mime_occurrence *place)
{
    if (values->n_sections == SECTIONS_MAX)
        return;
    values->has_first = false;
    mime_readings_each(place->rest, values->arena, keep_first, values);
    values->sections[values->n_sections] =
        (struct section){values->first, place->section, values->n_sections, place->is_extended};
    values->n_sections++;
}

static void tell_extended(struct values *values, struct slice rest)
{
    struct slice charset, text = until(bounded(rest), ";");
    mime_extended_split(text, &charset, &text);
    tell(values, mime_percent_decode(mime_trim(text), values->arena));
}

static void tell_joined(struct values *values)
{
    char *out = arena_alloc(values->arena, SECTIONS_MAX * MIME_VALUE_BYTES);
    size_t n = 0;
    bool is_extended = false;
    for (uint32_t i = 0; i < values->n_sections; i++) {
        struct section *s = &values->sections[i];
        struct slice value =
            s->is_extended ? mime_percent_decode(s->value, values->arena) : s->value;
        if (value.len > 0)
            memcpy(out + n, value.data, value.len);
        n += value.len;
        is_extended = is_extended || s->is_extended;
    }
    struct slice charset, joined = slice_of(out, n);
    if (is_extended)
        mime_extended_split(joined, &charset, &joined);
    tell(values, bounded(joined));
}

static int by_number(const void *a, const void *b)
{
    const struct section *x = a, *y = b;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

void mime_values_each(
    struct slice field, const char *word, struct arena *arena, mime_reading_cb cb, void *context)
{
    struct values values = {.arena = arena, .cb = cb, .context = context};
    struct mime_occurrence place;
    size_t pos = 0;
    for (int i = 0; i < MIME_PARAMS_MAX && mime_occurrence_next(field, &pos, word, &place); i++) {
        if (place.section >= 0) {
            note_section(&values, &place);
            continue;
        }
        mime_readings_each(place.rest, arena, on_reading, &values);
        if (place.is_extended)
            tell_extended(&values, place.rest);
    }
    if (values.n_sections == 0)
        return;
    tell_joined(&values);
    qsort(values.sections, values.n_sections, sizeof(values.sections[0]), by_number);
    tell_joined(&values);
}
