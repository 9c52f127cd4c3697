/* Base64 spliced: whole groups before the first change stay, what follows is written anew. */
#include "worker/splice.h"

#include <string.h>

#include "worker/mime_impl.h"

enum { LINE_CHARS = 76, GROUP_CHARS = 4, GROUP_BYTES = 3 };

static bool is_base64_char(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/';
}

/* Decoders skip what is no base64; but some stop at padding, and some at half a byte. */
bool splice_base64_is_sound(struct slice encoded)
{
    bool has_padding = false;
    size_t n = 0;
    for (size_t i = 0; i < encoded.len; i++) {
        has_padding |= encoded.data[i] == '=';
        if (!is_base64_char(encoded.data[i]))
            continue;
        if (has_padding)
            return false;
        n++;
    }
    return n % GROUP_CHARS != 1;
}

/* Behind so many characters of base64, and the blanks and line ends that follow them. */
static size_t behind_chars(struct slice body, size_t chars)
{
    size_t i = 0;
    for (; chars > 0 && i < body.len; i++)
        chars -= is_base64_char(body.data[i]);
    size_t at = i;
    while (at < body.len && strchr(" \t\r\n", body.data[at]) != NULL && body.data[at] != '\0')
        at++;
    return i == 0 ? 0 : at;
}

static size_t column_at(struct slice s)
{
    size_t n = 0;
    while (n < s.len && n < LINE_CHARS && s.data[s.len - n - 1] != '\n' &&
           s.data[s.len - n - 1] != '\r')
        n++;
    return n;
}

static int put_bytes(struct slice bytes, size_t column, const char *line_end, struct buf *out)
{
    char line[LINE_CHARS + 3];
    int rc = 0;
    while (rc == 0 && bytes.len > 0) {
        const size_t room = (LINE_CHARS - column) / GROUP_CHARS * GROUP_BYTES;
        const size_t n = bytes.len < room ? bytes.len : room;
        size_t len = n > 0 ? mime_base64_encode((const uint8_t *)bytes.data, n, line) : 0;
        len = (size_t)(stpcpy(line + len, line_end) - line);
        rc = buf_put(out, line, len);
        bytes = slice_of(bytes.data + n, bytes.len - n);
        column = 0;
    }
    return rc;
}

int splice_base64(
    const struct splice_body *body, const struct splice *list, size_t n, struct buf *out)
{
    const size_t groups = list[0].from / GROUP_BYTES;
    const struct slice in = body->encoded;
    const struct slice kept = slice_of(in.data, behind_chars(in, groups * GROUP_CHARS));
    struct buf changed;
    buf_init(&changed, out->max);
    int rc = splice_apply(body->decoded, groups * GROUP_BYTES, list, n, &changed);
    if (rc == 0)
        rc = buf_put(out, kept.data, kept.len);
    if (rc == 0)
        rc = put_bytes(buf_slice(&changed), column_at(kept), body->line_end, out);
    buf_clear(&changed);
    return rc;
}
