/*
 * All readings of all values that a parameter has in a field: sections of RFC 2231
 * joined in either order, line ends, NULs and encoded words handled as programs do. Bounded by
 * MIME_VALUE_BYTES and MIME_PARAMS_MAX.
 */
#include "worker/mime_impl.h"

#include "common/text.h"

enum { SECTIONS_MAX = 16 };

struct values {
    struct arena *arena;
    mime_reading_cb cb;
    void *context;
    struct mime_section sections[SECTIONS_MAX];
    uint32_t n_sections;
};

static struct slice without_folding(struct slice s, struct arena *arena)
{
    char *out = arena_alloc(arena, s.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] != '\r' && s.data[i] != '\n')
            out[n++] = s.data[i];
        else
            while (i + 1 < s.len && text_is_space(s.data[i + 1]))
                i++;
    }
    return slice_of(out, n);
}

/* A reading, and what it becomes where line ends, NUL or encoded words are handled otherwise. */
static void tell(struct values *values, struct slice reading)
{
    if (mime_has_one_of(reading, "\r\n")) {
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

static void note_section(struct values *values, const struct mime_occurrence *place)
{
    if (values->n_sections == SECTIONS_MAX)
        return;
    values->sections[values->n_sections] =
        mime_section_make(place, values->n_sections, values->arena);
    values->n_sections++;
}

static void tell_extended(struct values *values, struct slice rest)
{
    struct slice charset, text = mime_before(mime_value_bounded(rest), ";");
    mime_extended_split(text, &charset, &text);
    tell(values, mime_percent_decode(text_trim(text), values->arena));
}

static void tell_joined(struct values *values)
{
    char *out = arena_alloc(values->arena, SECTIONS_MAX * MIME_VALUE_BYTES);
    size_t n = 0;
    bool is_extended = false;
    for (uint32_t i = 0; i < values->n_sections; i++) {
        struct mime_section *s = &values->sections[i];
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
    tell(values, mime_value_bounded(joined));
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
    mime_sections_sort(values.sections, values.n_sections);
    tell_joined(&values);
}
