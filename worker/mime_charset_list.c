/*
 * The charsets that a mail names, wherever a reader could take one from: Content-Type, under each
 * reading; encoded words in every field of every header; extended file names; and what HTML says of
 * itself.
 */
#include "worker/mime_impl.h"

#include <strings.h>

#include "common/text.h"

enum { HEAD_BYTES = 1024 }; /* of HTML: where browsers look too */

/* Bytes at its front that may be a charset's name. */
static struct slice name_at(struct slice s)
{
    size_t n = 0;
    for (; n < s.len; n++) {
        char c = s.data[n];
        bool is_letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
        if (!is_letter && (c < '0' || c > '9') && (c == '\0' || strchr("-_.:+", c) == NULL))
            break;
    }
    return slice_of(s.data, n);
}

static bool is_utf7(const char *name)
{
    return strstr(name, "utf-7") != NULL || strcmp(name, "utf7") == 0;
}

static void keep(struct mime *mime, char *name)
{
    text_lower(name);
    for (uint32_t i = 0; i < mime->n_charsets; i++) {
        if (strcmp(mime->charsets[i], name) == 0)
            return;
    }
    if (is_utf7(name))
        mime_defect_add(mime, NULL, MIME_DEFECT_UTF_7, NULL);
    if (mime->n_charsets == MIME_CHARSETS_MAX) {
        mime_defect_add(mime, NULL, MIME_DEFECT_TOO_MANY_CHARSETS, NULL);
        return;
    }
    mime->charsets[mime->n_charsets++] = name;
}

/* A language behind a star (RFC 2231 section 5) is not part of it. */
static void add_charset(struct mime *mime, struct slice charset)
{
    const char *star = charset.len > 0 ? memchr(charset.data, '*', charset.len) : NULL;
    if (star != NULL)
        charset.len = (size_t)(star - charset.data);
    if (charset.len == 0 || charset.len > MIME_CHARSET_BYTES)
        return;
    for (uint32_t i = 0; i < mime->n_charsets; i++) {
        if (slice_equal_nocase(slice_text(mime->charsets[i]), charset))
            return;
    }
    charset = mime_guess_utf8(charset, mime->arena);
    keep(mime, arena_memdup0(mime->arena, charset.data, charset.len));
}

static void on_value(struct slice reading, void *context)
{
    if (name_at(reading).len == reading.len)
        add_charset(context, reading);
}

static void add_of_words(struct mime *mime, struct slice header)
{
    struct mime_word word;
    for (size_t pos = 0; header.len > 0 && mime_word_next(header, &pos, &word);)
        add_charset(mime, word.charset);
}

/* charset'language'text, at the front of the value of a parameter called so. */
static void add_of_extended(struct mime *mime, struct slice value, const char *word)
{
    struct mime_occurrence place;
    size_t pos = 0;
    for (int i = 0; i < MIME_PARAMS_MAX && mime_occurrence_next(value, &pos, word, &place); i++) {
        size_t used;
        struct slice charset, text;
        if (place.is_extended &&
            mime_extended_split(
                mime_usual_reading(place.rest, mime->arena, &used), &charset, &text))
            on_value(charset, mime);
    }
}

/* Lines that are no fields may be content fields for some. */
static void add_of_fields(struct mime *mime, struct slice header)
{
    struct mime_field field;
    for (size_t pos = 0; mime_field_next(header, &pos, false, &field);) {
        if (field.has_colon && !mime_begins_with(field.name, "content-"))
            continue;
        mime_values_each(field.value, "charset", mime->arena, on_value, mime);
        add_of_extended(mime, field.value, "charset");
        add_of_extended(mime, field.value, "name");
    }
}

static bool is_html(const struct mime_part *part)
{
    return !part->is_container && (strcmp(part->type, "text/html") == 0 ||
                                      strcmp(part->type, "application/xhtml+xml") == 0);
}

/* word=NAME, word="NAME" and, within an attribute, word=NAME" */
static void add_of_attributes(struct mime *mime, struct slice head, const char *word)
{
    struct mime_occurrence place;
    size_t pos = 0;
    for (int i = 0; i < MIME_PARAMS_MAX && mime_occurrence_next(head, &pos, word, &place); i++) {
        struct slice rest = place.rest;
        if (rest.len > 0 && (rest.data[0] == '"' || rest.data[0] == '\''))
            rest = slice_of(rest.data + 1, rest.len - 1);
        add_charset(mime, name_at(rest));
    }
}

static void add_of_html(struct mime *mime, struct mime_node *node)
{
    struct slice head = mime_content_head(mime, node, HEAD_BYTES);
    head.len = head.len < HEAD_BYTES ? head.len : HEAD_BYTES;
    add_of_attributes(mime, head, "charset");
    if (mime_begins_with(text_trim(head), "<?xml"))
        add_of_attributes(mime, head, "encoding");
}

const char *const *mime_charsets(struct mime *mime, uint32_t *n_out)
{
    if (!mime->has_charsets) {
        mime->has_charsets = true;
        mime->charsets = arena_calloc(mime->arena, MIME_CHARSETS_MAX, sizeof(*mime->charsets));
        for (uint32_t i = 0; i < mime->n_parts; i++) {
            add_charset(mime, slice_text(mime->parts[i]->charset));
            add_of_words(mime, mime->parts[i]->header);
            add_of_fields(mime, mime->parts[i]->header);
            if (is_html(mime->parts[i]))
                add_of_html(mime, mime->nodes[i]);
        }
    }
    *n_out = mime->n_charsets;
    return mime->charsets;
}
