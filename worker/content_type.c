#include "worker/content_type.h"

#include <string.h>
#include <strings.h>

#include "common/text.h"

/* Takes what stands before the next ";" outside quotes. False at the end. */
static bool next_piece(struct slice *rest, struct slice *piece)
{
    bool in_quotes = false;
    size_t i = 0;
    if (rest->data == NULL)
        return false;
    for (; i < rest->len; i++) {
        if (in_quotes && rest->data[i] == '\\')
            i++;
        else if (rest->data[i] == '"')
            in_quotes = !in_quotes;
        else if (rest->data[i] == ';' && !in_quotes)
            break;
    }
    const bool is_last = i >= rest->len;
    *piece = text_trim(slice_of(rest->data, is_last ? rest->len : i));
    *rest = is_last ? slice_of(NULL, 0) : slice_of(rest->data + i + 1, rest->len - i - 1);
    return true;
}

/* "charset=x", and the forms of RFC 2231: "charset*=", "charset*0=". */
static bool is_charset(struct slice piece)
{
    if (piece.len < 8 || strncasecmp(piece.data, "charset", 7) != 0)
        return false;
    return text_is_space(piece.data[7]) || piece.data[7] == '=' || piece.data[7] == '*';
}

bool content_type_is(struct slice value, const char *type)
{
    struct slice piece;
    return next_piece(&value, &piece) && slice_equal_nocase(piece, slice_text(type));
}

const char *content_type_charset(struct slice value, struct arena *arena)
{
    struct slice piece;
    next_piece(&value, &piece);
    while (next_piece(&value, &piece)) {
        const char *equals = is_charset(piece) ? memchr(piece.data, '=', piece.len) : NULL;
        if (equals == NULL)
            continue;
        struct slice name =
            text_trim(slice_of(equals + 1, piece.len - (size_t)(equals + 1 - piece.data)));
        if (name.len >= 2 && name.data[0] == '"' && name.data[name.len - 1] == '"')
            name = slice_of(name.data + 1, name.len - 2);
        char *lower = arena_memdup0(arena, name.data, name.len);
        text_lower(lower);
        return lower;
    }
    return "";
}

/* Line ends go, blanks behind them stay. */
static char *put_unfolded(char *at, struct slice piece)
{
    for (size_t i = 0; i < piece.len; i++) {
        const char c = piece.data[i];
        if (c != '\r' && c != '\n' && c != '\0')
            *at++ = c == '\t' ? ' ' : c;
    }
    return at;
}

struct slice content_type_with_charset(struct slice value, const char *charset, struct arena *arena)
{
    static const char param[] = "; charset=";
    struct slice piece;
    /* Each piece but the first follows a ";", which becomes "; ": at most twice as long. */
    char *text =
        arena_alloc(arena, 2 * value.len + sizeof("text/plain") + sizeof(param) + strlen(charset));
    char *at = text;
    struct slice rest = value;
    while (next_piece(&rest, &piece)) {
        if (piece.len == 0 || is_charset(piece))
            continue;
        if (at > text)
            at = stpcpy(at, "; ");
        at = put_unfolded(at, piece);
    }
    if (at == text)
        at = stpcpy(at, "text/plain");
    at = stpcpy(stpcpy(at, param), charset);
    return slice_of(text, (size_t)(at - text));
}
