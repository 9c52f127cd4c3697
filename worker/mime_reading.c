/*
 * Every way in which programs are known to read one value of a parameter: quotes missing or broken,
 * backslashes kept, comments, cut at a blank. Bounded by MIME_VALUE_BYTES.
 */
#include "worker/mime_impl.h"

#include "common/text.h"

struct slice mime_value_bounded(struct slice s)
{
    return slice_of(s.data, s.len < MIME_VALUE_BYTES ? s.len : MIME_VALUE_BYTES);
}

struct slice mime_before(struct slice s, const char *stops)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] != '\0' && strchr(stops, s.data[i]) != NULL)
            return slice_of(s.data, i);
    }
    return s;
}

/* Where the quoted string that starts behind s[0] ends; s.len when it does not. */
static size_t quote_end(struct slice s, bool heeds_backslash)
{
    for (size_t i = 1; i < s.len; i++) {
        if (s.data[i] == '\\' && heeds_backslash)
            i++;
        else if (s.data[i] == '"')
            return i;
    }
    return s.len;
}

struct slice mime_without_byte(struct slice s, char unwanted, struct arena *arena)
{
    if (s.len == 0 || memchr(s.data, unwanted, s.len) == NULL)
        return s;
    char *out = arena_alloc(arena, s.len);
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] != unwanted)
            out[n++] = s.data[i];
    }
    return slice_of(out, n);
}

static struct slice unescaped(struct slice s, struct arena *arena)
{
    if (s.len == 0 || memchr(s.data, '\\', s.len) == NULL)
        return s;
    char *out = arena_alloc(arena, s.len);
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] == '\\' && i + 1 < s.len)
            i++;
        out[n++] = s.data[i];
    }
    return slice_of(out, n);
}

struct slice mime_without_comments(struct slice s, struct arena *arena)
{
    char *out = arena_alloc(arena, s.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.len;) {
        if (s.data[i] == '(') {
            i = mime_skip_comment(s, i);
            continue;
        }
        out[n++] = s.data[i++];
    }
    return text_trim(slice_of(out, n));
}

struct slice mime_usual_reading(struct slice rest, struct arena *arena, size_t *used_out)
{
    rest = mime_value_bounded(rest);
    if (rest.len > 0 && rest.data[0] == '"') {
        size_t end = quote_end(rest, true);
        if (end < rest.len) {
            *used_out = end + 1;
            return unescaped(slice_of(rest.data + 1, end - 1), arena);
        }
        struct slice open = mime_before(slice_of(rest.data + 1, rest.len - 1), ";\r\n");
        *used_out = open.len + 1;
        return text_trim(unescaped(open, arena));
    }
    struct slice token = mime_before(rest, ";");
    *used_out = token.len;
    if (token.len > 0 && memchr(token.data, '(', token.len) != NULL)
        return mime_without_comments(token, arena);
    return text_trim(token);
}

bool mime_has_one_of(struct slice s, const char *chars)
{
    return mime_before(s, chars).len < s.len;
}

static void quoted_readings(
    struct slice rest, struct arena *arena, mime_reading_cb cb, void *context)
{
    size_t end = quote_end(rest, true), plain_end = quote_end(rest, false);
    struct slice inner = slice_of(rest.data + 1, end < rest.len ? end - 1 : rest.len - 1);
    if (mime_has_one_of(inner, "\\")) {
        cb(inner, context);
        cb(unescaped(inner, arena), context);
        cb(slice_of(rest.data + 1, plain_end < rest.len ? plain_end - 1 : rest.len - 1), context);
    }
    if (mime_has_one_of(inner, ";"))
        cb(text_trim(mime_before(inner, ";")), context);
    if (end >= rest.len) {
        cb(text_trim(inner), context);
        cb(text_trim(mime_before(inner, "\r\n")), context);
        cb(text_trim(mime_before(rest, ";")), context);
    } else {
        struct slice tail = mime_before(slice_of(rest.data + end + 1, rest.len - end - 1), ";");
        if (!mime_is_blank(tail)) { /* "evil".exe */
            struct slice whole = slice_of(rest.data, end + 1 + tail.len);
            cb(mime_without_byte(text_trim(whole), '"', arena), context);
            cb(mime_without_byte(text_trim(mime_before(rest, ";")), '"', arena), context);
        }
    }
}

static void bare_readings(struct slice rest, struct arena *arena, mime_reading_cb cb, void *context)
{
    struct slice token = text_trim(mime_before(rest, ";"));
    if (mime_has_one_of(token, "("))
        cb(token, context);
    if (mime_has_one_of(token, " \t\r\n"))
        cb(mime_before(token, " \t\r\n"), context);
    if (mime_has_one_of(token, "\""))
        cb(mime_without_byte(token, '"', arena), context);
    if (mime_has_one_of(token, "\\"))
        cb(unescaped(token, arena), context);
    if (mime_has_one_of(token, "'") && token.len >= 2 && token.data[0] == '\'' &&
        token.data[token.len - 1] == '\'')
        cb(slice_of(token.data + 1, token.len - 2), context);
    if (mime_has_one_of(token, ","))
        cb(text_trim(mime_before(token, ",")), context);
    if (mime_has_one_of(token, ")") && !mime_has_one_of(token, "(")) /* it stands in a comment */
        cb(text_trim(mime_before(token, ")")), context);
}

void mime_readings_each(struct slice rest, struct arena *arena, mime_reading_cb cb, void *context)
{
    size_t used;
    rest = mime_value_bounded(rest);
    cb(mime_usual_reading(rest, arena, &used), context);
    if (rest.len > 0 && rest.data[0] == '"')
        quoted_readings(rest, arena, cb, context);
    else
        bare_readings(rest, arena, cb, context);
}

/* ---- control characters ---- */

bool mime_is_control(char c)
{
    return ((uint8_t)c < ' ' && c != '\t' && c != '\r' && c != '\n') || c == 0x7f;
}

bool mime_has_control(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (mime_is_control(s.data[i]))
            return true;
    }
    return false;
}

struct slice mime_without_controls(struct slice s, struct arena *arena)
{
    char *out = arena_alloc(arena, s.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (!mime_is_control(s.data[i]))
            out[n++] = s.data[i];
    }
    return slice_of(out, n);
}
