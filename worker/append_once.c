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

bool append_is_there(struct slice text, struct slice wanted, struct arena *arena)
{
    const struct slice words = words_of(wanted, arena);
    if (words.len == 0 || text.len == 0)
        return false;
    const struct slice all = words_of(text, arena);
    return memmem(all.data, all.len, words.data, words.len) != NULL;
}
