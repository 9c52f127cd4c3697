/*
 * Candidate file names of a part: every name that some mail reader could derive. Each occurrence of
 * "name=" in a content field is read in every known way (quotes, escapes, blanks, RFC 2231 sections
 * in each order, RFC 2047, raw bytes as UTF-8 and windows-1252, NUL cutting or left out), and GMime
 * is asked too where a value is out of the ordinary.
 */
#include "worker/mime_impl.h"

#include <gmime/gmime.h>

#include "common/text.h"

enum { GMIME_VALUE_MAX = 16384 }; /* longer ones are read by us alone */

static void report(struct mime_names *names, enum mime_defect_kind kind)
{
    mime_defect_add(names->mime, names->node, kind, NULL);
}

static struct arena *arena_of(const struct mime_names *names)
{
    return names->mime->arena;
}

/* The first and last half of a name that is too long: its extension must not get lost. */
static struct slice shortened(struct mime_names *names, struct slice name)
{
    if (name.len <= MIME_NAME_BYTES)
        return name;
    report(names, MIME_DEFECT_NAME_TOO_LONG);
    char *out = arena_alloc(arena_of(names), MIME_NAME_BYTES);
    size_t half = MIME_NAME_BYTES / 2;
    memcpy(out, name.data, half);
    memcpy(out + half, name.data + name.len - half, half);
    return slice_of(out, MIME_NAME_BYTES);
}

static struct slice repaired(struct mime_names *names, struct slice name)
{
    if (text_is_utf8(name))
        return name;
    struct buf buf;
    buf_init(&buf, name.len * 3 + 16);
    (void)text_to_utf8(&buf, name);
    struct slice out = slice_of(arena_memdup0(arena_of(names), buf.data, buf.len), buf.len);
    buf_clear(&buf);
    return out;
}

static void add_one(struct mime_names *names, struct slice name)
{
    name = repaired(names, shortened(names, mime_trim(name)));
    if (name.len == 0)
        return;
    for (uint32_t i = 0; i < names->n; i++) {
        if (strlen(names->items[i]) == name.len &&
            memcmp(names->items[i], name.data, name.len) == 0)
            return;
    }
    if (names->n == MIME_NAMES_MAX) {
        report(names, MIME_DEFECT_TOO_MANY_NAMES);
        return;
    }
    if (names->items == NULL)
        names->items = arena_calloc(arena_of(names), MIME_NAMES_MAX, sizeof(*names->items));
    names->items[names->n++] = arena_memdup0(arena_of(names), name.data, name.len);
}

static struct slice without(struct mime_names *names, struct slice s, const char *chars)
{
    char *out = arena_alloc(arena_of(names), s.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] == '\0' ? *chars != '\0' : strchr(chars, s.data[i]) == NULL)
            out[n++] = s.data[i];
    }
    return slice_of(out, n);
}

static bool has(struct slice s, char c)
{
    return s.len > 0 && memchr(s.data, c, s.len) != NULL;
}

/* NUL: some programs stop there, some leave it out, some read on behind it. */
static void add_by_nul(struct mime_names *names, struct slice name)
{
    if (!has(name, '\0')) {
        add_one(names, name);
        return;
    }
    size_t cut = strnlen(name.data, name.len);
    add_one(names, slice_of(name.data, cut));
    add_one(names, without(names, name, ""));
    const char *last = memrchr(name.data, 0, name.len);
    add_one(names, slice_of(last + 1, (size_t)(name.data + name.len - last - 1)));
}

/* Whether each line end comes before a blank; one out of an encoded word need not. */
static bool is_folding(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] == '\n' &&
            (i + 1 == name.len || (name.data[i + 1] != ' ' && name.data[i + 1] != '\t')))
            return false;
    }
    return true;
}

/* A folded value: the line end alone goes (RFC 5322), or the blanks with it, or the rest is lost.
 */
static void add_by_folding(struct mime_names *names, struct slice name)
{
    if (!has(name, '\n') && !has(name, '\r')) {
        add_by_nul(names, name);
        return;
    }
    if (!is_folding(name))
        add_by_nul(names, name);
    add_by_nul(names, without(names, name, "\r\n"));
    add_by_nul(names, mime_unfold(name, arena_of(names)));
    char *out = arena_alloc(arena_of(names), name.len);
    size_t n = 0;
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] != '\r' && name.data[i] != '\n')
            out[n++] = name.data[i];
        else
            while (i + 1 < name.len && strchr(" \t\r\n", name.data[i + 1]) != NULL &&
                   name.data[i + 1] != '\0')
                i++;
    }
    add_by_nul(names, slice_of(out, n));
    add_by_nul(names,
        slice_of(name.data, strcspn(arena_memdup0(arena_of(names), name.data, name.len), "\r\n")));
}

void mime_names_add(struct mime_names *names, struct slice utf8)
{
    add_by_folding(names, utf8);
}

static bool is_high(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if ((uint8_t)s.data[i] >= 128)
            return true;
    }
    return false;
}

static struct slice without_high(struct mime_names *names, struct slice s)
{
    char *out = arena_alloc(arena_of(names), s.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if ((uint8_t)s.data[i] < 128)
            out[n++] = s.data[i];
    }
    return slice_of(out, n);
}

/* Each byte as the character of that number. */
static struct slice latin1(struct mime_names *names, struct slice s)
{
    char *out = arena_alloc(arena_of(names), 2 * s.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = (uint8_t)s.data[i];
        if (c >= 128)
            out[n++] = (char)(0xc0 | c >> 6);
        out[n++] = (char)(c >= 128 ? 0x80 | (c & 63) : c);
    }
    return slice_of(out, n);
}

/* Bytes over 127: UTF-8, or windows-1252, or left out. */
static void add_raw(struct mime_names *names, struct slice bytes)
{
    mime_names_add(names, bytes);
    if (!is_high(bytes))
        return;
    mime_names_add(names, mime_windows1252(bytes, 3 * bytes.len, arena_of(names)));
    if (text_is_utf8(bytes))
        return;
    mime_names_add(names, latin1(names, bytes));
    mime_names_add(names, without_high(names, bytes));
}

static void add_decoded_words(struct mime_names *names, struct slice value)
{
    mime_names_add(names, mime_words_decode(value, arena_of(names)));
    char *text = g_mime_utils_header_decode_text(
        NULL, arena_memdup0(arena_of(names), value.data, value.len));
    if (text != NULL)
        mime_names_add(names, slice_text(text));
    g_free(text);
}

/* A value with an encoded word: blanks as they are or left out, the word's end there or lacking;
 * and undecoded. */
static void add_with_words(struct mime_names *names, struct slice bytes)
{
    if (bytes.len > 2 && memmem(bytes.data, bytes.len, "=?", 2) != NULL) {
        struct slice unfolded = mime_unfold(bytes, arena_of(names));
        add_decoded_words(names, unfolded);
        mime_names_add(names, mime_words_decode(without(names, bytes, " \t\r\n"), arena_of(names)));
        if (memmem(unfolded.data, unfolded.len, "?=", 2) == NULL) {
            const char *ended =
                arena_printf(arena_of(names), "%.*s?=", (int)unfolded.len, unfolded.data);
            add_decoded_words(names, slice_text(ended));
        }
    }
    add_raw(names, bytes);
}

/* One reading of a value: what the bytes may stand for. */
static void add_value(struct mime_names *names, struct slice value, bool is_extended)
{
    struct slice charset, text;
    bool is_split = mime_extended_split(value, &charset, &text);
    if (is_extended) {
        mime_names_add(names, mime_extended_decode(value, arena_of(names)));
        if (is_split) {
            add_raw(names, mime_percent_decode(text, arena_of(names)));
            add_with_words(names, text);
        }
    }
    add_with_words(names, value);
    if (has(value, '%'))
        add_raw(names, mime_percent_decode(value, arena_of(names)));
}

/* ---- RFC 2231 sections ---- */

struct section {
    struct slice value;
    int32_t number;
    uint32_t place; /* order of appearance */
    bool is_extended, has_prefix;
};

struct sections {
    struct section items[MIME_PARAMS_MAX];
    uint32_t n;
};

enum duplicates { DUPLICATES_ALL = 0, DUPLICATES_FIRST, DUPLICATES_LAST };

static bool is_skipped(const struct section *s, uint32_t n, uint32_t i, enum duplicates which)
{
    if (which == DUPLICATES_FIRST)
        return i > 0 && s[i].number == s[i - 1].number;
    return which == DUPLICATES_LAST && i + 1 < n && s[i].number == s[i + 1].number;
}

/* Joined values, percent-decoded where their names say so (the charset prefix of the first kept),
 * or as they are. */
static struct slice joined(struct mime_names *names, const struct section *s, uint32_t n,
    enum duplicates which, bool is_decoded)
{
    char *out = arena_alloc(arena_of(names), MIME_VALUE_BYTES);
    size_t len = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (is_skipped(s, n, i, which))
            continue;
        struct slice value = is_decoded && s[i].is_extended
                                 ? mime_percent_decode(s[i].value, arena_of(names))
                                 : s[i].value;
        if (len + value.len > MIME_VALUE_BYTES) {
            report(names, MIME_DEFECT_NAME_TOO_LONG);
            break;
        }
        if (value.len > 0)
            memcpy(out + len, value.data, value.len);
        len += value.len;
    }
    return slice_of(out, len);
}

static void add_joined(
    struct mime_names *names, const struct section *s, uint32_t n, enum duplicates which)
{
    struct slice decoded = joined(names, s, n, which, true);
    struct slice charset, text;
    bool is_split = mime_extended_split(decoded, &charset, &text);
    if (is_split && charset.len <= MIME_CHARSET_BYTES) {
        const char *name = arena_memdup0(arena_of(names), charset.data, charset.len);
        mime_names_add(names, mime_to_utf8(text, name, MIME_VALUE_BYTES, arena_of(names), NULL));
        add_raw(names, text);
    }
    add_with_words(names, decoded);
    struct slice raw = joined(names, s, n, which, false);
    add_value(names, raw, true);
}

static int by_number(const void *a, const void *b)
{
    const struct section *x = a, *y = b;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

/* Those up to the first gap: what a strict reader joins. */
static uint32_t unbroken(const struct section *s, uint32_t n)
{
    uint32_t i = 0;
    for (int32_t expected = 0; i < n && (s[i].number == expected || s[i].number == expected - 1);
         i++) {
        if (s[i].number == expected)
            expected++;
    }
    return i;
}

static void add_sections(struct mime_names *names, const struct sections *all, bool has_prefix)
{
    struct section s[MIME_PARAMS_MAX];
    uint32_t n = 0;
    for (uint32_t i = 0; i < all->n; i++) {
        if (all->items[i].has_prefix == has_prefix)
            s[n++] = all->items[i];
    }
    if (n == 0)
        return;
    struct section sorted[MIME_PARAMS_MAX];
    memcpy(sorted, s, n * sizeof(*s));
    qsort(sorted, n, sizeof(*sorted), by_number);
    uint32_t strict = unbroken(sorted, n);
    add_joined(names, sorted, strict > 0 ? strict : n, DUPLICATES_FIRST);
    add_joined(names, sorted, n, DUPLICATES_FIRST);
    add_joined(names, sorted, n, DUPLICATES_LAST);
    add_joined(names, sorted, n, DUPLICATES_ALL);
    add_joined(names, s, n, DUPLICATES_ALL);
}

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

static void note_section(
    struct mime_names *names, struct sections *sections, const struct mime_occurrence *place)
{
    if (sections->n == MIME_PARAMS_MAX) {
        report(names, MIME_DEFECT_TOO_MANY_PARAMETERS);
        return;
    }
    struct first_reading first = {0};
    mime_readings_each(place->rest, arena_of(names), keep_first, &first);
    sections->items[sections->n] = (struct section){.value = first.value,
        .number = place->section,
        .place = sections->n,
        .is_extended = place->is_extended,
        .has_prefix = place->has_prefix};
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
        report(reader->names, MIME_DEFECT_NAME_TOO_LONG);
    add_value(reader->names, reading, reader->is_extended);
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
    params = mime_unfold(params, arena_of(names));
    const char *text = arena_memdup0(arena_of(names), params.data, params.len);
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
            report(names, MIME_DEFECT_TOO_MANY_PARAMETERS);
            break;
        }
        if (names->n == MIME_NAMES_MAX) {
            report(names, MIME_DEFECT_TOO_MANY_NAMES);
            break;
        }
        if (place.section >= 0) {
            note_section(names, &sections, &place);
            continue;
        }
        struct reader reader = {names, place.is_extended};
        mime_readings_each(place.rest, arena_of(names), on_reading, &reader);
    }
    add_sections(names, &sections, true);
    add_sections(names, &sections, false);
    if (is_odd(value))
        add_gmime(names, value);
}

void mime_names_add_field(struct mime_names *names, struct slice value)
{
    search_field(names, value);
    if (!is_high(value) || text_is_utf8(value))
        return;
    /* Some convert the field before they take it apart. */
    search_field(names, mime_windows1252(value, 3 * value.len, arena_of(names)));
    search_field(names, latin1(names, value));
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
            add_raw(&names, slice_of(line.data + i, line.len - i));
    }
    node->part.filenames = names.items;
    node->part.n_filenames = names.n;
    if (node->part.filename == NULL && names.n > 0)
        node->part.filename = names.items[0];
}
