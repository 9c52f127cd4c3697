/*
 * Decoded content, made when it is asked for, within worker.max_decoded; its size, and what is
 * wrong with the encoding of each part, without decoding it. Nothing is decoded twice: the
 * beginning that somebody looked at is kept, and the rest follows it when somebody wants all.
 */
#include "worker/mime_impl.h"

#include <string.h>
#include <strings.h>

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
        {"x-yenc", MIME_ENCODING_YENC},
        {"x-yencode", MIME_ENCODING_YENC},
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

/* How much of some encoded bytes may be decoded when left decoded bytes are allowed. Decoded
 * content is never larger than encoded, and base64 and uuencode give three bytes for four. */
static struct slice within_limit(struct mime *mime, struct mime_node *node,
    enum mime_encoding encoding, struct slice bytes, size_t left)
{
    bool is_quarter_less = encoding == MIME_ENCODING_BASE64 || encoding == MIME_ENCODING_UU;
    size_t most = is_quarter_less ? left / 3 * 4 : left;
    if (bytes.len > most) {
        mime_defect_add(mime, node, MIME_DEFECT_TOO_MUCH_DECODED, NULL);
        bytes.len = most;
    }
    return bytes;
}

static void count_limited(struct mime *mime, size_t n)
{
    mime->decoded_left -= (int64_t)n < mime->decoded_left ? (int64_t)n : mime->decoded_left;
}

/* ---- without decoding: how large, and what is wrong ---- */

static size_t measure_base64(struct slice content, bool *broken_out)
{
    struct mime_base64 decoder;
    mime_base64_init(&decoder, mime_base64_best());
    size_t size = mime_base64_step(&decoder, content.data, content.len, NULL);
    size += mime_base64_end(&decoder, NULL);
    if (decoder.is_broken)
        *broken_out = true;
    return size;
}

/* Looks through the whole encoded content once, for its decoded size and what is broken. */
static void inspect(struct mime *mime, struct mime_node *node, enum mime_encoding encoding)
{
    struct slice content = node->part.content;
    bool is_broken = false;
    if (node->has_checked)
        return;
    node->has_checked = true;
    if (encoding == MIME_ENCODING_BASE64)
        node->whole_size = measure_base64(content, &is_broken);
    else if (encoding == MIME_ENCODING_QUOTED)
        node->whole_size = mime_quoted_decode(content.data, content.len, NULL, &is_broken);
    if (is_broken)
        report_broken(mime, node, encoding);
}

/* Base64 and quoted-printable; uuencode has no size but that of its decoded content. */
static bool is_measurable(enum mime_encoding encoding)
{
    return encoding == MIME_ENCODING_BASE64 || encoding == MIME_ENCODING_QUOTED;
}

static size_t measure(struct mime *mime, struct mime_node *node, enum mime_encoding encoding)
{
    struct slice content = node->part.content;
    size_t left = (size_t)mime->decoded_left + node->decoded.len;
    bool is_broken = false;
    node->measured = within_limit(mime, node, encoding, content, left);
    if (node->measured.len < node->n_read) /* line ends count as if they gave bytes */
        node->measured.len = node->n_read;
    if (node->measured.len == content.len) {
        inspect(mime, node, encoding);
        return node->whole_size;
    }
    if (encoding == MIME_ENCODING_BASE64)
        return measure_base64(node->measured, &is_broken);
    return mime_quoted_decode(node->measured.data, node->measured.len, NULL, &is_broken);
}

size_t mime_content_size(struct mime *mime, const struct mime_part *part)
{
    struct mime_node *node = mime_node_of(mime, part);
    enum mime_encoding encoding = mime_encoding_of(part);
    if (part->is_container || node->has_decoded || !is_measurable(encoding))
        return mime_content(mime, part).len;
    if (!node->has_measured) {
        node->measured_size = measure(mime, node, encoding);
        node->has_measured = true;
        if (node->measured_size > node->decoded.len) /* the beginning was counted */
            count_limited(mime, node->measured_size - node->decoded.len);
    }
    return node->measured_size;
}

/* ---- decoding, from where the last call stopped ---- */

static size_t decode(struct mime *mime, enum mime_encoding encoding, struct slice in, uint8_t *out,
    struct mime_base64 *base64, bool *broken_out)
{
    size_t n = 0;
    switch (encoding) {
    case MIME_ENCODING_BASE64:
        n = mime_base64_step(base64, in.data, in.len, out);
        break;
    case MIME_ENCODING_QUOTED:
        n = mime_quoted_decode(in.data, in.len, out, broken_out);
        break;
    case MIME_ENCODING_UU:
        n = mime_uu_decode(in.data, in.len, out);
        break;
    case MIME_ENCODING_YENC:
        n = mime_yenc_decode(in.data, in.len, out);
        break;
    case MIME_ENCODING_IDENTITY:
    case MIME_ENCODING_UNKNOWN:
        break;
    }
    mime->decoded_bytes += n;
    return n;
}

struct slice mime_bytes_decode(struct mime *mime, struct mime_node *node, struct slice bytes)
{
    enum mime_encoding encoding = mime_encoding_of(&node->part);
    if (is_plain(encoding) || bytes.len == 0)
        return bytes;
    bytes = within_limit(mime, node, encoding, bytes, (size_t)mime->decoded_left);
    bool is_broken = false;
    struct mime_base64 base64;
    mime_base64_init(&base64, mime_base64_best());
    uint8_t *out = arena_alloc(mime->arena, bytes.len + 4);
    size_t n = decode(mime, encoding, bytes, out, &base64, &is_broken);
    n += mime_base64_end(&base64, out + n);
    if (is_broken || base64.is_broken)
        report_broken(mime, node, encoding);
    count_limited(mime, n);
    return slice_of(out, n);
}

struct slice mime_bytes_again(struct mime *mime, struct mime_node *node, struct slice bytes)
{
    bytes = within_limit(mime, node, MIME_ENCODING_IDENTITY, bytes, (size_t)mime->decoded_left);
    count_limited(mime, bytes.len);
    return bytes;
}

/* The encoded bytes that are left. */
static struct slice rest_of(const struct mime_node *node)
{
    size_t end = node->has_measured ? node->measured.len : node->part.content.len;
    size_t from = node->n_read < end ? node->n_read : end;
    return slice_of(node->part.content.data + from, end - from);
}

/* The next of them to decode: all, or about n, cut behind a line end: it divides neither a code of
 * quoted-printable nor, usually, a group of base64. */
static struct slice next_piece(struct slice rest, enum mime_encoding encoding, size_t n)
{
    const char *lf = NULL;
    if (n < rest.len && is_measurable(encoding))
        lf = memchr(rest.data + n, '\n', rest.len - n);
    return lf != NULL ? slice_of(rest.data, (size_t)(lf - rest.data) + 1) : rest;
}

/* Room for everything at once: pages that nothing is written to cost nothing. */
static void begin_decoding(struct mime *mime, struct mime_node *node)
{
    node->room = arena_alloc(mime->arena, node->part.content.len + 4);
    node->decoded = slice_of(node->room, 0);
    mime_base64_init(&node->base64, mime_base64_best());
}

static void decode_on(struct mime *mime, struct mime_node *node, size_t n)
{
    enum mime_encoding encoding = mime_encoding_of(&node->part);
    bool is_broken = false;
    if (node->room == NULL)
        begin_decoding(mime, node);
    struct slice rest = rest_of(node), piece = next_piece(rest, encoding, n);
    bool is_end = piece.len == rest.len;
    if (!node->has_measured) {
        struct slice allowed =
            within_limit(mime, node, encoding, piece, (size_t)mime->decoded_left);
        is_end = is_end || allowed.len < piece.len;
        piece = allowed;
    }
    size_t made =
        decode(mime, encoding, piece, node->room + node->decoded.len, &node->base64, &is_broken);
    node->n_read += piece.len;
    if (is_end)
        made += mime_base64_end(&node->base64, node->room + node->decoded.len + made);
    node->decoded.len += made;
    if (!node->has_measured)
        count_limited(mime, made);
    if (is_broken || node->base64.is_broken)
        report_broken(mime, node, encoding);
    if (is_end)
        node->has_decoded = node->has_checked = true;
}

struct slice mime_node_content(struct mime *mime, struct mime_node *node)
{
    const struct mime_part *part = &node->part;
    if (part->is_container || is_plain(mime_encoding_of(part)) || part->content.len == 0)
        return part->content;
    if (!node->has_decoded)
        decode_on(mime, node, SIZE_MAX);
    return node->decoded;
}

struct slice mime_content(struct mime *mime, const struct mime_part *part)
{
    return mime_node_content(mime, mime_node_of(mime, part));
}

bool mime_is_cut(const struct mime *mime)
{
    return (mime->kinds_seen >> MIME_DEFECT_TOO_MUCH_DECODED & 1) != 0;
}

struct slice mime_content_head(struct mime *mime, struct mime_node *node, size_t n)
{
    const struct mime_part *part = &node->part;
    if (part->is_container || is_plain(mime_encoding_of(part)) || part->content.len == 0)
        return part->content;
    while (!node->has_decoded && node->decoded.len < n)
        decode_on(mime, node, (n - node->decoded.len) * 2 + 256);
    return node->decoded;
}

size_t mime_content_peek(const struct mime_node *node, uint8_t out[static MIME_PEEK_BYTES])
{
    struct slice front = node->part.content;
    front.len = front.len < MIME_PEEK_BYTES - 4 ? front.len : MIME_PEEK_BYTES - 4;
    switch (mime_encoding_of(&node->part)) {
    case MIME_ENCODING_BASE64:
        return mime_base64_decode(front.data, front.len, out, NULL);
    case MIME_ENCODING_QUOTED:
        return mime_quoted_decode(front.data, front.len, out, NULL);
    case MIME_ENCODING_UU:
        return mime_uu_decode(front.data, front.len, out);
    case MIME_ENCODING_YENC:
        return mime_yenc_decode(front.data, front.len, out);
    case MIME_ENCODING_IDENTITY:
    case MIME_ENCODING_UNKNOWN:
        break;
    }
    if (front.len > 0)
        memcpy(out, front.data, front.len);
    return front.len;
}

uint64_t mime_decoded_bytes(const struct mime *mime)
{
    return mime->decoded_bytes;
}

/* ---- what is wrong ---- */

static bool is_utf8_text(const struct mime_part *part)
{
    return strncmp(part->type, "text/", 5) == 0 && strcasecmp(part->charset, "utf-8") == 0;
}

static void check_node(struct mime *mime, struct mime_node *node)
{
    enum mime_encoding encoding = mime_encoding_of(&node->part);
    if (node->part.is_container)
        return;
    if (is_measurable(encoding))
        inspect(mime, node, encoding);
    if (is_utf8_text(&node->part) && mime_has_overlong(mime_content(mime, &node->part)))
        mime_defect_add(mime, node, MIME_DEFECT_OVERLONG_UTF8, NULL);
}

void mime_content_check(struct mime *mime)
{
    if (mime->has_content_checked)
        return;
    mime->has_content_checked = true;
    for (uint32_t i = 0; i < mime->n_parts; i++)
        check_node(mime, mime->nodes[i]);
}
