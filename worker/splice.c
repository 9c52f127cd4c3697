/* Which encoding is spliced how; and bodies that are not encoded. */
#include "worker/splice.h"

#include <string.h>

#include "worker/mime_impl.h"
#include "worker/mime_quoted.h"

bool splice_is_raw(const char *encoding)
{
    static const char *const names[] = {"", "7bit", "8bit", "binary"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(encoding, names[i]) == 0)
            return true;
    }
    return false;
}

static bool has_encoding(const struct splice_body *body, const char *name)
{
    return strcmp(body->encoding, name) == 0;
}

bool splice_open(struct splice_body *body, struct arena *arena)
{
    const struct slice in = body->encoded;
    body->decoded = in;
    if (splice_is_raw(body->encoding))
        return true;
    const bool is_quoted = has_encoding(body, "quoted-printable");
    if (!is_quoted && !(has_encoding(body, "base64") && splice_base64_is_sound(in)))
        return false;
    uint8_t *bytes = arena_alloc(arena, in.len + 4);
    body->decoded = slice_of(bytes, is_quoted ? mime_quoted_decode(in.data, in.len, bytes, NULL)
                                              : mime_base64_decode(in.data, in.len, bytes, NULL));
    return true;
}

int splice_apply(
    struct slice decoded, size_t at, const struct splice *list, size_t n, struct buf *out)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = buf_put(out, decoded.data + at, list[i].from - at);
        if (rc == 0)
            rc = buf_put(out, list[i].bytes.data, list[i].bytes.len);
        at = list[i].to;
    }
    return rc == 0 ? buf_put(out, decoded.data + at, decoded.len - at) : rc;
}

int splice_put(const struct splice_body *body, const struct splice *list, size_t n, struct buf *out)
{
    if (n == 0)
        return buf_put(out, body->encoded.data, body->encoded.len);
    if (splice_is_raw(body->encoding))
        return splice_apply(body->encoded, 0, list, n, out);
    if (has_encoding(body, "quoted-printable"))
        return splice_quoted(body, list, n, out);
    return splice_base64(body, list, n, out);
}
