/* Whether a text is in another already, however it was quoted and wrapped on the way. */
#include <string.h>

#include "worker/append.h"

static bool is_quote_mark(char c)
{
    return c == '>' || c == '|';
}

/* Bytes of the blank at the front, U+00A0 too; 0: none. */
static size_t blank_length(struct slice s)
{
    const char c = s.data[0];
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f')
        return 1;
    return s.len >= 2 && memcmp(s.data, "\xc2\xa0", 2) == 0 ? 2 : 0;
}

/* Words with one blank between them; marks of quotation at starts of lines left out. */
static struct slice words_of(struct slice text, struct arena *arena)
{
    char *out = arena_alloc(arena, text.len + 1);
    size_t len = 0, n;
    bool is_start = true;
    for (size_t i = 0; i < text.len; i += n) {
        const struct slice rest = slice_of(text.data + i, text.len - i);
        n = blank_length(rest);
        if (n > 0) {
            is_start = is_start || text.data[i] == '\n' || text.data[i] == '\r';
            if (len > 0 && out[len - 1] != ' ')
                out[len++] = ' ';
            continue;
        }
        n = 1;
        if (is_start && is_quote_mark(text.data[i]))
            continue;
        is_start = false;
        out[len++] = text.data[i];
    }
    if (len > 0 && out[len - 1] == ' ')
        len--;
    return slice_of(out, len);
}

bool append_is_wanted(struct slice wanted)
{
    for (size_t i = 0, n; i < wanted.len; i += n) {
        n = blank_length(slice_of(wanted.data + i, wanted.len - i));
        if (n == 0 && wanted.data[i] != '\0')
            return true;
        n += n == 0;
    }
    return false;
}

/* The next piece between NULs, without blanks at its ends; false at the end. */
static bool next_piece(struct slice *rest, struct slice *out)
{
    while (rest->len > 0 && (rest->data[0] == '\0' || rest->data[0] == ' '))
        *rest = slice_of(rest->data + 1, rest->len - 1);
    if (rest->len == 0)
        return false;
    const char *end = memchr(rest->data, '\0', rest->len);
    *out = slice_of(rest->data, end != NULL ? (size_t)(end - rest->data) : rest->len);
    *rest = slice_of(rest->data + out->len, rest->len - out->len);
    while (out->data[out->len - 1] == ' ')
        out->len--;
    return true;
}

/* Whether the other pieces follow at the front of text, each close behind the one before. */
static bool goes_on(struct slice text, struct slice pieces)
{
    struct slice piece;
    while (next_piece(&pieces, &piece)) {
        const size_t most = APPEND_GAP_BYTES + piece.len;
        const char *found =
            memmem(text.data, text.len < most ? text.len : most, piece.data, piece.len);
        if (found == NULL)
            return false;
        const char *end = found + piece.len;
        text = slice_of(end, text.len - (size_t)(end - text.data));
    }
    return true;
}

static bool has_words(struct slice text, struct slice words)
{
    struct slice first;
    if (!next_piece(&words, &first))
        return false;
    for (const char *found; (found = memmem(text.data, text.len, first.data, first.len)) != NULL;) {
        const size_t end = (size_t)(found - text.data) + first.len;
        if (goes_on(slice_of(text.data + end, text.len - end), words))
            return true;
        const size_t next = (size_t)(found - text.data) + 1;
        text = slice_of(text.data + next, text.len - next);
    }
    return false;
}

bool append_is_there(struct slice text, const struct slice *wanted, uint32_t n, struct arena *arena)
{
    if (text.len == 0)
        return false;
    const struct slice all = words_of(text, arena);
    for (uint32_t i = 0; i < n; i++) {
        if (has_words(all, words_of(wanted[i], arena)))
            return true;
    }
    return false;
}
