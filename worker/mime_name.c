/*
 * Candidate file names of a part: every name that some mail reader could derive. This file has one
 * value read in every known way (RFC 2047, RFC 2231, raw bytes as UTF-8 and windows-1252, NUL
 * cutting or left out) and keeps the names; mime_name_field.c finds the values in a field.
 */
#include "worker/mime_impl.h"

#include <gmime/gmime.h>

#include "common/text.h"

static bool has_words(struct slice s)
{
    return s.len > 2 && memmem(s.data, s.len, "=?", 2) != NULL;
}

/* The first and last half of a name that is too long: its extension must not get lost. */
static struct slice shortened(struct mime_names *names, struct slice name)
{
    if (name.len <= MIME_NAME_BYTES)
        return name;
    mime_names_report(names, MIME_DEFECT_NAME_TOO_LONG);
    char *out = arena_alloc(mime_names_arena(names), MIME_NAME_BYTES);
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
    struct slice out = slice_of(arena_memdup0(mime_names_arena(names), buf.data, buf.len), buf.len);
    buf_clear(&buf);
    return out;
}

static void add_by_nul(struct mime_names *names, struct slice name);

static void on_variant(struct slice name, void *context)
{
    add_by_nul(context, name);
}

/* What the name becomes elsewhere; not of what comes of that, nor of encoded words, which are
 * decoded for themselves. */
static void add_variants(struct mime_names *names, struct slice name)
{
    if (has_words(name))
        return;
    if (mime_name_is_deceptive(name, mime_names_arena(names)))
        mime_names_report(names, MIME_DEFECT_DECEPTIVE_NAME);
    if (mime_name_has_path(name))
        mime_names_report(names, MIME_DEFECT_PATH_IN_NAME);
    names->is_variant = true;
    if (!mime_name_variants_each(name, mime_names_arena(names), on_variant, names))
        mime_names_report(names, MIME_DEFECT_TOO_MANY_NAMES);
    names->is_variant = false;
}

static void add_one(struct mime_names *names, struct slice name)
{
    name = repaired(names, shortened(names, text_trim(name)));
    if (name.len == 0)
        return;
    for (uint32_t i = 0; i < names->n; i++) {
        if (strlen(names->items[i]) == name.len &&
            memcmp(names->items[i], name.data, name.len) == 0)
            return;
    }
    if (names->n == MIME_NAMES_MAX) {
        mime_names_report(names, MIME_DEFECT_TOO_MANY_NAMES);
        return;
    }
    if (names->items == NULL)
        names->items = arena_calloc(mime_names_arena(names), MIME_NAMES_MAX, sizeof(*names->items));
    const char *kept = arena_memdup0(mime_names_arena(names), name.data, name.len);
    names->items[names->n++] = kept;
    if (!names->is_variant)
        add_variants(names, slice_of(kept, name.len));
}

static struct slice without(struct mime_names *names, struct slice s, const char *chars)
{
    char *out = arena_alloc(mime_names_arena(names), s.len + 1);
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
    add_by_nul(names, mime_unfold(name, mime_names_arena(names)));
    char *out = arena_alloc(mime_names_arena(names), name.len);
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
    add_by_nul(
        names, slice_of(name.data,
                   strcspn(arena_memdup0(mime_names_arena(names), name.data, name.len), "\r\n")));
}

void mime_names_add(struct mime_names *names, struct slice utf8)
{
    add_by_folding(names, utf8);
}

static struct slice without_high(struct mime_names *names, struct slice s)
{
    char *out = arena_alloc(mime_names_arena(names), s.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if ((uint8_t)s.data[i] < 128)
            out[n++] = s.data[i];
    }
    return slice_of(out, n);
}

void mime_names_add_raw(struct mime_names *names, struct slice bytes)
{
    mime_names_add(names, bytes);
    if (text_is_ascii(bytes))
        return;
    mime_names_add(names, mime_windows1252(bytes, 3 * bytes.len, mime_names_arena(names)));
    if (text_is_utf8(bytes))
        return;
    if (mime_has_overlong(bytes)) {
        mime_names_report(names, MIME_DEFECT_OVERLONG_UTF8);
        mime_names_add(names, mime_overlong_decode(bytes, mime_names_arena(names)));
    }
    mime_names_add(names, mime_latin1(bytes, mime_names_arena(names)));
    mime_names_add(names, without_high(names, bytes));
}

static bool is_printable(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < ' ' || s.data[i] >= 0x7f)
            return false;
    }
    return true;
}

/* The bytes of encoded words, whatever charset they name: a reader that knows better than UTF-8
 * what overlong forms stand for, or one that takes the other half of UTF-16 for the first. */
static void add_words_bytes(struct mime_names *names, struct slice value)
{
    struct slice bytes = mime_words_bytes(value, mime_names_arena(names));
    if (mime_has_overlong(bytes))
        mime_names_add_raw(names, bytes);
    const struct slice letters = has(bytes, '\0') ? without(names, bytes, "") : bytes;
    if (letters.len < bytes.len && is_printable(letters))
        mime_names_add(names, letters);
}

static void add_decoded_words(struct mime_names *names, struct slice value)
{
    struct slice decoded = mime_words_decode(value, mime_names_arena(names));
    mime_names_add(names, decoded);
    if (has_words(decoded)) /* encoded twice */
        mime_names_add(names, mime_words_decode(decoded, mime_names_arena(names)));
    add_words_bytes(names, value);
    char *text = g_mime_utils_header_decode_text(
        NULL, arena_memdup0(mime_names_arena(names), value.data, value.len));
    if (text != NULL)
        mime_names_add(names, slice_text(text));
    g_free(text);
}

/* A word that does not end: the end that it lacks put there. */
static void add_unended_word(struct mime_names *names, struct slice value)
{
    while (value.len > 0 && (value.data[value.len - 1] == '?' || value.data[value.len - 1] == '='))
        value.len--;
    const char *ended = arena_printf(mime_names_arena(names), "%.*s?=", (int)value.len, value.data);
    add_decoded_words(names, slice_text(ended));
}

/* A word of an encoding that nobody defined: its text as it is. */
static void add_unknown_word(struct mime_names *names, struct slice value)
{
    const char *charset = memmem(value.data, value.len, "=?", 2);
    const char *end = value.data + value.len;
    const char *mark =
        charset != NULL ? memchr(charset + 2, '?', (size_t)(end - charset - 2)) : NULL;
    mark = mark != NULL ? memchr(mark + 1, '?', (size_t)(end - mark - 1)) : NULL;
    if (mark == NULL)
        return;
    struct slice text = slice_of(mark + 1, (size_t)(end - mark - 1));
    const char *stop = text.len > 0 ? memmem(text.data, text.len, "?=", 2) : NULL;
    if (stop != NULL)
        text.len = (size_t)(stop - text.data);
    mime_names_add_raw(names, text);
}

/* A value with an encoded word: blanks as they are or left out, the word's end there or lacking;
 * and undecoded. */
static void add_with_words(struct mime_names *names, struct slice bytes)
{
    if (has_words(bytes)) {
        struct slice unfolded = mime_unfold(bytes, mime_names_arena(names));
        struct mime_word word;
        size_t pos = 0;
        add_decoded_words(names, unfolded);
        mime_names_add(
            names, mime_words_decode(without(names, bytes, " \t\r\n"), mime_names_arena(names)));
        if (mime_word_next(unfolded, &pos, &word)) {
            mime_names_report(names, MIME_DEFECT_ENCODED_WORD_IN_PARAMETER);
        } else {
            add_unended_word(names, unfolded);
            add_unknown_word(names, unfolded);
        }
    }
    mime_names_add_raw(names, bytes);
}

void mime_names_add_value(struct mime_names *names, struct slice value, bool is_extended)
{
    struct slice charset, text;
    bool is_split = mime_extended_split(value, &charset, &text);
    if (is_extended) {
        mime_names_add(names, mime_extended_decode(value, mime_names_arena(names)));
        if (is_split) {
            mime_names_add_raw(names, mime_percent_decode(text, mime_names_arena(names)));
            add_with_words(names, text);
        } else if (has(value, '\'')) { /* the language left out */
            const char *quote = memrchr(value.data, '\'', value.len);
            struct slice rest = slice_of(quote + 1, (size_t)(value.data + value.len - quote - 1));
            mime_names_add_raw(names, mime_percent_decode(rest, mime_names_arena(names)));
        }
    }
    add_with_words(names, value);
    if (has(value, '%'))
        mime_names_add_raw(names, mime_percent_decode(value, mime_names_arena(names)));
}

static void add_joined(struct mime_names *names, struct slice decoded)
{
    struct slice charset, text;
    if (mime_extended_split(decoded, &charset, &text) && charset.len <= MIME_CHARSET_BYTES) {
        const char *name = arena_memdup0(mime_names_arena(names), charset.data, charset.len);
        mime_names_add(
            names, mime_to_utf8(text, name, MIME_VALUE_BYTES, mime_names_arena(names), NULL));
        mime_names_add_raw(names, text);
    }
    add_with_words(names, decoded);
}

void mime_names_add_joined(struct mime_names *names, struct slice decoded, struct slice raw)
{
    add_joined(names, decoded);
    mime_names_add_value(names, raw, true);
}

/* Whether one has another extension than the rest; those without any do not count. */
void mime_names_check(struct mime_names *names)
{
    struct slice first = slice_of("", 0);
    for (uint32_t i = 0; i < names->n; i++) {
        struct slice extension = mime_name_extension(slice_text(names->items[i]));
        if (extension.len == 0)
            continue;
        if (first.len == 0)
            first = extension;
        else if (!slice_equal_nocase(first, extension))
            mime_names_report(names, MIME_DEFECT_CONFLICTING_NAMES);
    }
}
