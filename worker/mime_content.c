/* Decoded content, made when it is asked for, within worker.max_decoded; and what is wrong with the
 * encoding of each part. */
#include "worker/mime_impl.h"

#include <assert.h>
#include <string.h>

enum { CHECK_BYTES = 65536 }; /* of encoded content looked at together */

enum mime_encoding mime_encoding_of(const struct mime_part *part)
{
    static const struct {
        const char *name;
        enum mime_encoding encoding;
    } names[] = {
        {"", MIME_ENCODING_IDENTITY},
        {"7bit", MIME_ENCODING_IDENTITY},
        {"8bit", MIME_ENCODING_IDENTITY},
        {"binary", MIME_ENCODING_IDENTITY},
        {"base64", MIME_ENCODING_BASE64},
        {"quoted-printable", MIME_ENCODING_QUOTED},
        {"x-uuencode", MIME_ENCODING_UU},
        {"uuencode", MIME_ENCODING_UU},
        {"x-uue", MIME_ENCODING_UU},
        {"uue", MIME_ENCODING_UU},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(part->encoding, names[i].name) == 0)
            return names[i].encoding;
    }
    return MIME_ENCODING_UNKNOWN;
}

struct mime_node *mime_node_of(struct mime *mime, const struct mime_part *part)
{
    return mime->nodes[part->number];
}

static size_t decode(enum mime_encoding encoding, struct slice in, uint8_t *out, bool *broken_out)
{
    switch (encoding) {
    case MIME_ENCODING_BASE64:
        return mime_base64_decode(in.data, in.len, out, broken_out);
    case MIME_ENCODING_QUOTED:
        return mime_quoted_decode(in.data, in.len, out, broken_out);
    case MIME_ENCODING_UU:
        return mime_uu_decode(in.data, in.len, out);
    case MIME_ENCODING_IDENTITY:
    case MIME_ENCODING_UNKNOWN:
        break;
    }
    return 0;
}

static bool is_plain(enum mime_encoding encoding)
{
    return encoding == MIME_ENCODING_IDENTITY || encoding == MIME_ENCODING_UNKNOWN;
}

static void report_broken(struct mime *mime, struct mime_node *node, enum mime_encoding encoding)
{
    mime_defect_add(mime, node,
        encoding == MIME_ENCODING_BASE64 ? MIME_DEFECT_BROKEN_BASE64
                                         : MIME_DEFECT_BROKEN_QUOTED_PRINTABLE,
        NULL);
}

struct slice mime_bytes_decode(struct mime *mime, struct mime_node *node, struct slice bytes)
{
    enum mime_encoding encoding = mime_encoding_of(&node->part);
    if (is_plain(encoding) || bytes.len == 0)
        return bytes;
    /* Decoded content is never larger than encoded, and base64 and uuencode give three bytes for
     * four. */
    size_t left = (size_t)mime->decoded_left;
    size_t most = encoding == MIME_ENCODING_QUOTED ? left : left / 3 * 4;
    if (bytes.len > most) {
        mime_defect_add(mime, node, MIME_DEFECT_TOO_MUCH_DECODED, NULL);
        bytes.len = most;
    }
    bool is_broken = false;
    uint8_t *out = arena_alloc(mime->arena, bytes.len + 4);
    size_t n = decode(encoding, bytes, out, &is_broken);
    mime->decoded_left -= n < left ? (int64_t)n : mime->decoded_left;
    if (is_broken)
        report_broken(mime, node, encoding);
    return slice_of(out, n);
}

struct slice mime_content(struct mime *mime, const struct mime_part *part)
{
    struct mime_node *node = mime_node_of(mime, part);
    if (part->is_container)
        return part->content;
    if (!node->has_decoded) {
        node->decoded = mime_bytes_decode(mime, node, part->content);
        node->has_decoded = node->has_checked = true;
    }
    return node->decoded;
}

struct slice mime_content_head(struct mime *mime, struct mime_node *node, size_t n)
{
    enum mime_encoding encoding = mime_encoding_of(&node->part);
    if (node->has_decoded)
        return node->decoded;
    if (node->part.is_container || is_plain(encoding))
        return node->part.content;
    struct slice front = node->part.content;
    size_t enough = n * 3 + 256; /* quoted-printable at its worst */
    if (front.len > enough)
        front.len = enough;
    uint8_t *out = arena_alloc(mime->arena, front.len + 4);
    return slice_of(out, decode(encoding, front, out, NULL));
}

/* The next piece of encoded content, cut at a line end where there is one: a line holds whole
 * groups. */
static struct slice next_piece(struct slice content, size_t pos)
{
    struct slice piece = slice_of(content.data + pos, content.len - pos);
    if (piece.len <= CHECK_BYTES)
        return piece;
    const char *lf = memrchr(piece.data, '\n', CHECK_BYTES);
    piece.len = lf != NULL ? (size_t)(lf - piece.data) + 1 : CHECK_BYTES;
    return piece;
}

static void check_node(struct mime *mime, struct mime_node *node)
{
    enum mime_encoding encoding = mime_encoding_of(&node->part);
    if (node->has_checked || node->part.is_container || is_plain(encoding))
        return;
    node->has_checked = true;
    static_assert(CHECK_BYTES <= 65536, "on the stack");
    uint8_t scratch[CHECK_BYTES + 4];
    bool is_broken = false;
    for (size_t pos = 0; pos < node->part.content.len && !is_broken;) {
        struct slice piece = next_piece(node->part.content, pos);
        decode(encoding, piece, scratch, &is_broken);
        pos += piece.len;
    }
    if (is_broken)
        report_broken(mime, node, encoding);
}

void mime_content_check(struct mime *mime)
{
    for (uint32_t i = 0; i < mime->n_parts; i++)
        check_node(mime, mime->nodes[i]);
}
