/* Decoded content, made when it is asked for, within worker.max_decoded; and what is wrong with the
 * encoding of each part. */
#include "worker/mime_impl.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

#include "worker/mime_base64.h"

enum {
    CHECK_BYTES = 65536,   /* of encoded content looked at together */
    MEASURE_BYTES = 16384, /* the same, when what comes out is to stay in the nearest cache */
};

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

/* How much of a part's content may be decoded. Decoded content is never larger than encoded, and
 * base64 and uuencode give three bytes for four. */
static struct slice within_limit(
    struct mime *mime, struct mime_node *node, enum mime_encoding encoding, struct slice bytes)
{
    size_t left = (size_t)mime->decoded_left;
    size_t most = encoding == MIME_ENCODING_QUOTED ? left : left / 3 * 4;
    if (bytes.len > most) {
        mime_defect_add(mime, node, MIME_DEFECT_TOO_MUCH_DECODED, NULL);
        bytes.len = most;
    }
    return bytes;
}

static void count_decoded(struct mime *mime, size_t n)
{
    mime->decoded_left -= (int64_t)n < mime->decoded_left ? (int64_t)n : mime->decoded_left;
}

static struct slice decode_new(
    struct mime *mime, struct mime_node *node, enum mime_encoding encoding, struct slice bytes)
{
    bool is_broken = false;
    uint8_t *out = arena_alloc(mime->arena, bytes.len + 4);
    size_t n = decode(encoding, bytes, out, &is_broken);
    if (is_broken)
        report_broken(mime, node, encoding);
    return slice_of(out, n);
}

struct slice mime_bytes_decode(struct mime *mime, struct mime_node *node, struct slice bytes)
{
    enum mime_encoding encoding = mime_encoding_of(&node->part);
    if (is_plain(encoding) || bytes.len == 0)
        return bytes;
    struct slice decoded =
        decode_new(mime, node, encoding, within_limit(mime, node, encoding, bytes));
    count_decoded(mime, decoded.len);
    return decoded;
}

struct slice mime_content(struct mime *mime, const struct mime_part *part)
{
    struct mime_node *node = mime_node_of(mime, part);
    if (part->is_container)
        return part->content;
    if (!node->has_decoded) {
        node->decoded = node->has_measured ? decode_new(mime, node, MIME_ENCODING_BASE64,
                                                 node->measured) /* counted already */
                                           : mime_bytes_decode(mime, node, part->content);
        node->has_decoded = node->has_checked = true;
    }
    return node->decoded;
}

bool mime_is_cut(const struct mime *mime)
{
    return (mime->kinds_seen >> MIME_DEFECT_TOO_MUCH_DECODED & 1) != 0;
}

/* The decoded size of base64, without keeping what comes out. */
static size_t measure_base64(struct slice content, bool *broken_out)
{
    uint8_t scratch[MEASURE_BYTES + 4];
    struct mime_base64 decoder;
    size_t size = 0;
    mime_base64_init(&decoder, mime_base64_best());
    for (size_t pos = 0; pos < content.len;) {
        size_t left = content.len - pos;
        size_t n = left < MEASURE_BYTES ? left : MEASURE_BYTES;
        size += mime_base64_step(&decoder, content.data + pos, n, scratch);
        pos += n;
    }
    size += mime_base64_end(&decoder, scratch);
    *broken_out = decoder.is_broken;
    return size;
}

size_t mime_content_size(struct mime *mime, const struct mime_part *part)
{
    struct mime_node *node = mime_node_of(mime, part);
    if (part->is_container || node->has_decoded || mime_encoding_of(part) != MIME_ENCODING_BASE64)
        return mime_content(mime, part).len;
    if (!node->has_measured) {
        bool is_broken = false;
        node->measured = within_limit(mime, node, MIME_ENCODING_BASE64, part->content);
        node->measured_size = measure_base64(node->measured, &is_broken);
        node->has_measured = node->has_checked = true;
        count_decoded(mime, node->measured_size);
        if (is_broken)
            report_broken(mime, node, MIME_ENCODING_BASE64);
    }
    return node->measured_size;
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

static bool is_utf8_text(const struct mime_part *part)
{
    return strncmp(part->type, "text/", 5) == 0 && strcasecmp(part->charset, "utf-8") == 0;
}

/* What is wrong with the encoding, and with what comes out of it. */
static void check_content(struct mime *mime, struct mime_node *node, enum mime_encoding encoding)
{
    static_assert(CHECK_BYTES <= 65536, "on the stack");
    uint8_t scratch[CHECK_BYTES + 4];
    bool is_broken = false, is_overlong = false, is_text = is_utf8_text(&node->part);
    for (size_t pos = 0; pos < node->part.content.len && (!is_broken || is_text);) {
        struct slice piece = next_piece(node->part.content, pos);
        size_t n = decode(encoding, piece, scratch, &is_broken);
        is_overlong = is_overlong || (is_text && mime_has_overlong(slice_of(scratch, n)));
        pos += piece.len;
    }
    if (is_broken)
        report_broken(mime, node, encoding);
    if (is_overlong)
        mime_defect_add(mime, node, MIME_DEFECT_OVERLONG_UTF8, NULL);
}

static void check_node(struct mime *mime, struct mime_node *node)
{
    enum mime_encoding encoding = mime_encoding_of(&node->part);
    if (node->part.is_container || node->has_checked_all)
        return;
    node->has_checked_all = true;
    if (is_plain(encoding) && is_utf8_text(&node->part) && mime_has_overlong(node->part.content))
        mime_defect_add(mime, node, MIME_DEFECT_OVERLONG_UTF8, NULL);
    if (!is_plain(encoding) && (!node->has_checked || is_utf8_text(&node->part)))
        check_content(mime, node, encoding);
}

void mime_content_check(struct mime *mime)
{
    for (uint32_t i = 0; i < mime->n_parts; i++)
        check_node(mime, mime->nodes[i]);
}
