#include "worker/url_text.h"

#include <string.h>
#include <strings.h>

#include "worker/mime_impl.h"

static const char *const schemes[] = {"http://", "https://", "ftp://", "mailto:"};

enum { SCHEME_MAX = 6 }; /* letters of the longest */

size_t url_scheme_length(struct slice s)
{
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        const size_t len = strlen(schemes[i]);
        if (s.len > len && mime_begins_with(s, schemes[i]))
            return len;
    }
    return 0;
}

static bool ends_url(char c)
{
    return (uint8_t)c <= ' ' || c == '<' || c == '>' || c == '"' || c == '\x7f';
}

/* Punctuation that ends a sentence, and a bracket that was not opened inside. */
static struct slice without_punctuation(struct slice url)
{
    const bool has_open = memchr(url.data, '(', url.len) != NULL;
    while (url.len > 0) {
        const char last = url.data[url.len - 1];
        if (last == '\0' || strchr(".,;:!?'\")]}*", last) == NULL || (last == ')' && has_open))
            break;
        url.len--;
    }
    return url;
}

static bool is_letter(char c)
{
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

/* The scheme that ends at the colon, not before `from`: where it begins; colon when there is none.
 */
static size_t scheme_start(struct slice text, size_t from, size_t colon)
{
    size_t start = colon;
    while (start > from && colon - start < SCHEME_MAX && is_letter(text.data[start - 1]))
        start--;
    for (; start < colon; start++) {
        if (url_scheme_length(slice_of(text.data + start, text.len - start)) > 0)
            return start;
    }
    return colon;
}

/* Schemes are found at their colon: it is rarer than any letter. */
bool url_text_next(struct slice text, size_t *pos, struct slice *out)
{
    while (*pos < text.len) {
        const size_t from = *pos;
        const char *found = memchr(text.data + from, ':', text.len - from);
        if (found == NULL)
            break;
        const size_t colon = (size_t)(found - text.data);
        const size_t start = scheme_start(text, from, colon);
        *pos = colon + 1;
        if (start == colon)
            continue;
        const size_t scheme = url_scheme_length(slice_of(text.data + start, text.len - start));
        size_t end = start + scheme;
        while (end < text.len && !ends_url(text.data[end]))
            end++;
        *pos = end > *pos ? end : *pos;
        *out = without_punctuation(slice_of(text.data + start, end - start));
        if (out->len > scheme)
            return true;
    }
    *pos = text.len;
    return false;
}

/* ---- attributes ---- */

/* Of a NUL browsers make another character, others nothing: either way the address stays one. */
static bool is_left_out(char c)
{
    return c == '\t' || c == '\r' || c == '\n' || c == '\0';
}

struct slice url_without_blanks(struct slice value, struct arena *arena)
{
    while (value.len > 0 && (uint8_t)value.data[0] <= ' ')
        value = slice_of(value.data + 1, value.len - 1);
    while (value.len > 0 && (uint8_t)value.data[value.len - 1] <= ' ')
        value.len--;
    size_t n = 0;
    for (size_t i = 0; i < value.len; i++)
        n += is_left_out(value.data[i]);
    if (n == 0)
        return value;
    char *out = arena_alloc(arena, value.len);
    size_t len = 0;
    for (size_t i = 0; i < value.len; i++) {
        if (!is_left_out(value.data[i]))
            out[len++] = value.data[i];
    }
    return slice_of(out, len);
}

/* Behind the scheme and any slashes of it, when those are not the usual two; 0: no such scheme. */
static size_t odd_scheme(struct slice s, const char **scheme_out)
{
    size_t i = 0;
    *scheme_out = "http://";
    for (size_t k = 0; k < 3 && i == 0; k++) {
        const size_t letters = strlen(schemes[k]) - 2; /* with the colon */
        if (s.len >= letters && strncasecmp(s.data, schemes[k], letters) == 0) {
            i = letters;
            *scheme_out = schemes[k];
        }
    }
    const size_t slashes = i;
    while (i < s.len && (s.data[i] == '/' || s.data[i] == '\\'))
        i++;
    if (slashes == 0 && i < 2) /* "//host" needs both */
        return 0;
    return i < s.len ? i : 0;
}

struct slice url_of_attribute(struct slice value, struct arena *arena)
{
    static const struct slice none = {NULL, 0};
    const char *scheme;
    const struct slice url = url_without_blanks(value, arena);
    if (url.len == 0)
        return none;
    const size_t usual = url_scheme_length(url);
    if (usual > 0 && (url.data[usual] != '/' || url.data[usual - 1] == ':'))
        return url;
    const size_t odd = odd_scheme(url, &scheme);
    if (odd == 0)
        return none;
    char *text = arena_alloc(arena, strlen(scheme) + url.len);
    const size_t len = strlen(scheme);
    memcpy(text, scheme, len);
    memcpy(text + len, url.data + odd, url.len - odd);
    return slice_of(text, len + url.len - odd);
}
