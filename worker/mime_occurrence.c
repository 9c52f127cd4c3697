/*
 * Wherever in a field a parameter's name is found with a value, and with which section of RFC 2231,
 * however that is written. A search looks a bounded way ahead at each place.
 */
#include "worker/mime_impl.h"

#include <stdlib.h>
#include <strings.h>

#include "common/text.h"

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
    size_t i = mime_skip_spaces(window, *pos), digits = 0;
    bool is_negative = false;
    if (i >= window.len || window.data[i] != '*')
        return false;
    out->section = -1;
    for (i++; i < window.len && window.data[i] != '='; i++) {
        char c = window.data[i];
        bool is_digit = c >= '0' && c <= '9';
        if (!is_digit && !text_is_space(c) && c != '*' && c != '-' && c != '+' &&
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
    *pos = mime_skip_spaces(s, i + 1);
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

/* ---- sections ---- */

struct first_reading {
    struct slice value;
    bool has_value;
};

static void keep_first(struct slice reading, void *context)
{
    struct first_reading *first = context;
    if (!first->has_value)
        *first = (struct first_reading){reading, true};
}

struct mime_section mime_section_make(
    const struct mime_occurrence *occurrence, uint32_t place, struct arena *arena)
{
    struct first_reading first = {0};
    mime_readings_each(occurrence->rest, arena, keep_first, &first);
    return (struct mime_section){.value = first.value,
        .number = occurrence->section,
        .place = place,
        .is_extended = occurrence->is_extended,
        .has_prefix = occurrence->has_prefix};
}

static int by_number(const void *a, const void *b)
{
    const struct mime_section *x = a, *y = b;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

void mime_sections_sort(struct mime_section *sections, uint32_t n)
{
    if (n > 1)
        qsort(sections, n, sizeof(*sections), by_number);
}
