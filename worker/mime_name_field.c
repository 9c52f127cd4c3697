/*
 * File names in a content field: each occurrence of "name=" in each known way (quotes, escapes,
 * blanks, comments, RFC 2231 sections in each order), and GMime is asked too where a value is out
 * of the ordinary. What a value may stand for is mime_name.c's.
 */
#include "worker/mime_impl.h"

#include <gmime/gmime.h>

#include "common/text.h"

enum { GMIME_VALUE_MAX = 16384 }; /* longer ones are read by us alone */

/* Of a value that goes on where reading ended: what it ends with is not known. */
static void report_cut(struct mime_names *names)
{
    names->node->part.lacks_names = true;
    mime_names_report(names, MIME_DEFECT_NAME_TOO_LONG);
}

/* ---- RFC 2231 sections ---- */

struct sections {
    struct mime_section items[MIME_PARAMS_MAX];
    uint32_t n;
};

enum duplicates { DUPLICATES_ALL = 0, DUPLICATES_FIRST, DUPLICATES_LAST };

static bool is_skipped(const struct mime_section *s, uint32_t n, uint32_t i, enum duplicates which)
{
    if (which == DUPLICATES_FIRST)
        return i > 0 && s[i].number == s[i - 1].number;
    return which == DUPLICATES_LAST && i + 1 < n && s[i].number == s[i + 1].number;
}

/* Joined values, percent-decoded where their names say so (the charset prefix of the first kept),
 * or as they are. */
static struct slice joined(struct mime_names *names, const struct mime_section *s, uint32_t n,
    enum duplicates which, bool is_decoded)
{
    char *out = arena_alloc(mime_names_arena(names), MIME_VALUE_BYTES);
    size_t len = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (is_skipped(s, n, i, which))
            continue;
        struct slice value = is_decoded && s[i].is_extended
                                 ? mime_percent_decode(s[i].value, mime_names_arena(names))
                                 : s[i].value;
        if (len + value.len > MIME_VALUE_BYTES) {
            report_cut(names);
            break;
        }
        if (value.len > 0)
            memcpy(out + len, value.data, value.len);
        len += value.len;
    }
    return slice_of(out, len);
}

static void add_joined(
    struct mime_names *names, const struct mime_section *s, uint32_t n, enum duplicates which)
{
    mime_names_add_joined(
        names, joined(names, s, n, which, true), joined(names, s, n, which, false));
}

/* Those up to the first gap: what a strict reader joins. */
static uint32_t unbroken(const struct mime_section *s, uint32_t n)
{
    uint32_t i = 0;
    for (int32_t expected = 0; i < n && (s[i].number == expected || s[i].number == expected - 1);
         i++) {
        if (s[i].number == expected)
            expected++;
    }
    return i;
}

/* Whether they are not 0, 1, 2 … as every program writes them. */
static bool are_odd(const struct mime_section *s, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (s[i].number != (int32_t)i)
            return true;
    }
    return false;
}

static void add_sections(struct mime_names *names, const struct sections *all, bool has_prefix)
{
    struct mime_section s[MIME_PARAMS_MAX];
    uint32_t n = 0;
    for (uint32_t i = 0; i < all->n; i++) {
        if (all->items[i].has_prefix == has_prefix)
            s[n++] = all->items[i];
    }
    if (n == 0)
        return;
    if (are_odd(s, n))
        mime_names_report(names, MIME_DEFECT_ODD_SECTIONS);
    struct mime_section sorted[MIME_PARAMS_MAX];
    memcpy(sorted, s, n * sizeof(*s));
    mime_sections_sort(sorted, n);
    uint32_t strict = unbroken(sorted, n);
    add_joined(names, sorted, strict > 0 ? strict : n, DUPLICATES_FIRST);
    add_joined(names, sorted, n, DUPLICATES_FIRST);
    add_joined(names, sorted, n, DUPLICATES_LAST);
    add_joined(names, sorted, n, DUPLICATES_ALL);
    add_joined(names, s, n, DUPLICATES_ALL);
}

static void note_section(
    struct mime_names *names, struct sections *sections, const struct mime_occurrence *place)
{
    if (sections->n == MIME_PARAMS_MAX) {
        mime_names_report(names, MIME_DEFECT_TOO_MANY_PARAMETERS);
        return;
    }
    sections->items[sections->n] = mime_section_make(place, sections->n, mime_names_arena(names));
    sections->n++;
}

/* ---- a field ---- */

struct reader {
    struct mime_names *names;
    bool is_extended;
};

static void on_reading(struct slice reading, void *context)
{
    struct reader *reader = context;
    if (reading.len + 2 >= MIME_VALUE_BYTES)
        report_cut(reader->names);
    mime_names_add_value(reader->names, reading, reader->is_extended);
}

/* Whether a value has anything that readers are known to disagree on. */
static bool is_odd(struct slice value)
{
    size_t quotes = 0;
    for (size_t i = 0; i < value.len; i++) {
        quotes += value.data[i] == '"';
        if (strchr("*\\(%?", value.data[i]) != NULL || (uint8_t)value.data[i] >= 128)
            return true; /* NUL too: strchr finds it */
    }
    return quotes % 2 != 0;
}

static void add_gmime(struct mime_names *names, struct slice value)
{
    const char *semicolon = value.len > 0 ? memchr(value.data, ';', value.len) : NULL;
    if (semicolon == NULL || value.len > GMIME_VALUE_MAX)
        return;
    struct slice params = slice_of(semicolon + 1, (size_t)(value.data + value.len - semicolon - 1));
    params = mime_unfold(params, mime_names_arena(names));
    const char *text = arena_memdup0(mime_names_arena(names), params.data, params.len);
    GMimeParamList *list = g_mime_param_list_parse(NULL, text);
    if (list == NULL)
        return;
    static const char *const wanted[] = {"filename", "name"};
    for (size_t i = 0; i < 2; i++) {
        GMimeParam *param = g_mime_param_list_get_parameter(list, wanted[i]);
        if (param != NULL && g_mime_param_get_value(param) != NULL)
            mime_names_add(names, slice_text(g_mime_param_get_value(param)));
    }
    g_object_unref(list);
}

static void search_field(struct mime_names *names, struct slice value)
{
    struct sections sections; /* large: its items are not cleared */
    struct mime_occurrence place;
    sections.n = 0;
    for (size_t pos = 0; mime_occurrence_next(value, &pos, "name", &place);) {
        if (names->n_occurrences++ >= MIME_PARAMS_MAX) {
            mime_names_report(names, MIME_DEFECT_TOO_MANY_PARAMETERS);
            break;
        }
        if (names->n == MIME_NAMES_MAX) {
            mime_names_report(names, MIME_DEFECT_TOO_MANY_NAMES);
            break;
        }
        if (place.is_odd)
            mime_names_report(names, MIME_DEFECT_ODD_SECTIONS);
        if (place.section >= 0) {
            note_section(names, &sections, &place);
            continue;
        }
        struct reader reader = {names, place.is_extended};
        mime_readings_each(place.rest, mime_names_arena(names), on_reading, &reader);
    }
    add_sections(names, &sections, true);
    add_sections(names, &sections, false);
    if (is_odd(value))
        add_gmime(names, value);
}

/* The field as programs have it that decode words, or take out comments or control characters,
 * before they take it apart. */
static void search_prepared(struct mime_names *names, struct slice value)
{
    if (value.len == 0)
        return;
    if (memmem(value.data, value.len, "=?", 2) != NULL)
        search_field(names, mime_words_decode(mime_unfold(value, mime_names_arena(names)),
                                mime_names_arena(names)));
    if (memchr(value.data, '(', value.len) != NULL)
        search_field(names, mime_without_comments(value, mime_names_arena(names)));
    if (mime_has_control(value))
        search_field(names, mime_without_controls(value, mime_names_arena(names)));
}

void mime_names_add_field(struct mime_names *names, struct slice value)
{
    search_field(names, value);
    search_prepared(names, value);
    if (text_is_ascii(value) || text_is_utf8(value))
        return;
    /* Some convert the field before they take it apart. */
    search_field(names, mime_windows1252(value, 3 * value.len, mime_names_arena(names)));
    search_field(names, mime_latin1(value, mime_names_arena(names)));
}

void mime_names_add_uu(struct mime *mime, struct mime_node *node)
{
    struct slice head = node->part.content;
    head.len = head.len < MIME_VALUE_BYTES ? head.len : MIME_VALUE_BYTES;
    struct mime_names names = {.mime = mime, .node = node};
    for (uint32_t i = 0; i < node->part.n_filenames; i++)
        mime_names_add(&names, slice_text(node->part.filenames[i]));
    for (size_t pos = 0; pos < head.len;) {
        struct slice line = mime_line_next(head, &pos, false);
        size_t i = 6;
        while (i < line.len && line.data[i] >= '0' && line.data[i] <= '7')
            i++;
        if (mime_begins_with(line, "begin ") && i > 6 && i < line.len)
            mime_names_add_raw(&names, slice_of(line.data + i, line.len - i));
    }
    node->part.filenames = names.items;
    node->part.n_filenames = names.n;
    if (node->part.filename == NULL && names.n > 0)
        node->part.filename = names.items[0];
}
