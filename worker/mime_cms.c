/*
 * Where the content of a signed (or compressed, or digested) S/MIME object is: CMS (RFC 5652,
 * RFC 3274) in BER as X.690 has it, definite lengths or not, octet strings in one piece or many.
 * Nothing is verified, and what stands behind the content, certificates and signatures, is not
 * looked at. Each step goes inwards or over one element, so that time grows with the bytes, and
 * memory with none of what the object says. Of what is cut off, that which is there counts.
 */
#include "worker/mime_impl.h"

#include <limits.h>
#include <string.h>

#define ZLIB_CONST
#include <zlib.h>

enum { LAYERS_MAX = 8 }; /* of one type right within another, without MIME between them */

enum {
    TAG_INTEGER = 0x02,
    TAG_OCTETS = 0x04,
    TAG_OID = 0x06,
    TAG_CONSTRUCTED = 0x20,
    TAG_SEQUENCE = 0x30,
    TAG_SET = 0x31,
    TAG_EXPLICIT_0 = 0xa0,
    TAG_EXPLICIT_1 = 0xa1,
    TAG_OPTIONAL = 0x80, /* in a row: what has a context's tag may be absent */
    TAG_LONG = 0x1f,     /* the number follows: none of these types has one */
    LENGTH_OPEN = 0x80,
};

/* What stands before the content in each type that has it in the clear. */
static const uint8_t before_signed[] = {TAG_INTEGER, TAG_SET, 0};
static const uint8_t before_digested[] = {TAG_INTEGER, TAG_SEQUENCE, 0};
static const uint8_t before_authenticated[] = {
    TAG_INTEGER, TAG_EXPLICIT_0, TAG_SET, TAG_SEQUENCE, TAG_EXPLICIT_1, 0};

#define PKCS_7   "\x2a\x86\x48\x86\xf7\x0d\x01\x07"
#define SMIME_CT "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01"

static const struct mime_cms_layer {
    const char *oid;
    uint8_t oid_len;
    enum mime_cms_kind kind;
    bool is_deflated;
    const uint8_t *before; /* NULL: no content that could be read, or nothing but the content */
} layers[] = {
    {PKCS_7 "\x01", 9, MIME_CMS_OPEN, false, NULL},
    {PKCS_7 "\x02", 9, MIME_CMS_SIGNED, false, before_signed},
    {PKCS_7 "\x03", 9, MIME_CMS_SEALED, false, NULL},
    {PKCS_7 "\x04", 9, MIME_CMS_SEALED, false, NULL},
    {PKCS_7 "\x05", 9, MIME_CMS_OPEN, false, before_digested},
    {PKCS_7 "\x06", 9, MIME_CMS_SEALED, false, NULL},
    {SMIME_CT "\x02", 11, MIME_CMS_OPEN, false, before_authenticated},
    {SMIME_CT "\x09", 11, MIME_CMS_OPEN, true, before_digested},
    {SMIME_CT "\x17", 11, MIME_CMS_SEALED, false, NULL},
};

/* ---- BER ---- */

struct element {
    uint8_t tag;
    bool is_open; /* ends at two NUL, somewhere in body */
    bool is_cut;  /* says that it is longer than there are bytes */
    struct slice body;
};

static bool take_byte(struct slice bytes, size_t *pos, uint8_t *out)
{
    if (*pos >= bytes.len)
        return false;
    *out = (uint8_t)bytes.data[(*pos)++];
    return true;
}

static bool take_length(struct slice bytes, size_t *pos, struct element *out, uint64_t *length_out)
{
    uint8_t first, byte;
    if (!take_byte(bytes, pos, &first))
        return false;
    *length_out = first & 0x7f;
    out->is_open = first == LENGTH_OPEN;
    if (first <= LENGTH_OPEN)
        return !out->is_open || (out->tag & TAG_CONSTRUCTED) != 0;
    *length_out = 0;
    for (uint8_t n = first & 0x7f; n > 0; n--) {
        if (!take_byte(bytes, pos, &byte) || *length_out >> 56 != 0)
            return false;
        *length_out = *length_out << 8 | byte;
    }
    return true;
}

/* The element at *pos, which moves behind it; to the start of its body when it is open. */
static bool take_element(struct slice bytes, size_t *pos, struct element *out)
{
    uint64_t length;
    *out = (struct element){.tag = 0};
    if (!take_byte(bytes, pos, &out->tag) || (out->tag & TAG_LONG) == TAG_LONG ||
        !take_length(bytes, pos, out, &length))
        return false;
    const size_t left = bytes.len - *pos;
    out->is_cut = length > left;
    out->body = slice_of(bytes.data + *pos, out->is_open || out->is_cut ? left : (size_t)length);
    if (!out->is_open)
        *pos += out->body.len;
    return true;
}

static bool is_end(const struct element *element)
{
    return element->tag == 0 && element->body.len == 0 && !element->is_cut;
}

/* Moves behind the element at *pos. */
static bool skip_element(struct slice bytes, size_t *pos)
{
    struct element element;
    size_t n_open = 0;
    do {
        if (!take_element(bytes, pos, &element) || element.is_cut)
            return false;
        if (element.is_open)
            n_open++;
        else if (n_open > 0 && is_end(&element))
            n_open--;
    } while (n_open > 0);
    return true;
}

/* Goes into the element at the front, if it has the tag. */
static bool enter(struct mime_cms *cms, struct slice *bytes, uint8_t tag)
{
    struct element element;
    size_t pos = 0;
    if (!take_element(*bytes, &pos, &element) || element.tag != tag)
        return false;
    cms->is_cut = cms->is_cut || element.is_cut;
    cms->is_inmost_whole = !element.is_cut && !element.is_open;
    *bytes = element.body;
    return true;
}

/* ---- the way to the content ---- */

static const struct mime_cms_layer *layer_of(struct slice oid)
{
    for (size_t i = 0; i < sizeof(layers) / sizeof(layers[0]); i++) {
        if (slice_equal(oid, slice_of(layers[i].oid, layers[i].oid_len)))
            return &layers[i];
    }
    return NULL;
}

/* An OID, and what follows it. */
static bool take_oid(struct slice *bytes, const struct mime_cms_layer **out)
{
    struct element element;
    size_t pos = 0;
    if (!take_element(*bytes, &pos, &element) || element.tag != TAG_OID || element.is_cut)
        return false;
    *out = layer_of(element.body);
    *bytes = slice_of(bytes->data + pos, bytes->len - pos);
    return true;
}

static bool skip_before(struct slice *bytes, const uint8_t *before)
{
    size_t pos = 0;
    for (; *before != 0; before++) {
        const bool is_there = pos < bytes->len && (uint8_t)bytes->data[pos] == *before;
        if (!is_there && (*before & TAG_OPTIONAL) != 0)
            continue;
        if (!is_there || !skip_element(*bytes, &pos))
            return false;
    }
    *bytes = slice_of(bytes->data + pos, bytes->len - pos);
    return true;
}

/* Whether a sequence ends at the front of bytes. */
static bool is_at_end(const struct mime_cms *cms, struct slice bytes)
{
    if (bytes.len == 0)
        return cms->is_inmost_whole;
    return bytes.len >= 2 && bytes.data[0] == '\0' && bytes.data[1] == '\0';
}

/* The content that is stated at the front: an octet string, or, in PKCS #7 before CMS, anything. */
static bool find_content(struct mime_cms *cms, struct slice bytes)
{
    struct element element;
    size_t pos = 0;
    if (!enter(cms, &bytes, TAG_EXPLICIT_0) || !take_element(bytes, &pos, &element))
        return false;
    const bool is_octets = (element.tag & ~TAG_CONSTRUCTED) == TAG_OCTETS;
    cms->is_cut = cms->is_cut || element.is_cut;
    cms->is_in_pieces = element.tag == (TAG_OCTETS | TAG_CONSTRUCTED);
    cms->is_open = element.is_open;
    cms->content =
        is_octets ? element.body : slice_of(bytes.data, element.is_open ? bytes.len : pos);
    cms->has_content = true;
    return true;
}

/* Reads what an object of this type has at the front of bytes. */
static bool look_into(struct mime_cms *cms, const struct mime_cms_layer *layer, struct slice bytes)
{
    cms->inner = NULL;
    cms->has_content = cms->is_deflated = false;
    if (layer->kind == MIME_CMS_SEALED)
        return true;
    if (layer->before == NULL)
        return find_content(cms, bytes);
    const struct mime_cms_layer *inner;
    if (!enter(cms, &bytes, TAG_SEQUENCE) || !skip_before(&bytes, layer->before) ||
        !enter(cms, &bytes, TAG_SEQUENCE) || !take_oid(&bytes, &inner))
        return false;
    if (is_at_end(cms, bytes))
        return true;
    cms->is_deflated = layer->is_deflated;
    cms->inner =
        inner != NULL && inner->before == NULL && inner->kind == MIME_CMS_OPEN ? NULL : inner;
    return find_content(cms, bytes);
}

static void add_kind(struct mime_cms *cms, const struct mime_cms_layer *layer)
{
    if (cms->kind != MIME_CMS_SIGNED || layer->kind == MIME_CMS_SEALED)
        cms->kind = layer->kind;
}

bool mime_cms_look(struct slice bytes, struct mime_cms *out)
{
    const struct mime_cms_layer *layer;
    *out = (struct mime_cms){.kind = MIME_CMS_NONE};
    if (!enter(out, &bytes, TAG_SEQUENCE) || !take_oid(&bytes, &layer) || layer == NULL)
        return false;
    out->kind = layer->kind;
    if (layer->before != NULL && !enter(out, &bytes, TAG_EXPLICIT_0))
        return false;
    if (!look_into(out, layer, bytes))
        return false;
    if (layer->kind == MIME_CMS_SIGNED && !out->has_content)
        out->kind = MIME_CMS_SIGNATURE;
    return true;
}

/* ---- the content ---- */

/* Joins the pieces of an octet string. A piece may be in pieces again. */
static struct slice join(struct mime_cms *cms, struct arena *arena)
{
    struct slice in = cms->content;
    char *out = arena_alloc(arena, in.len + 1);
    struct element element;
    size_t n = 0, n_open = cms->is_open;
    for (size_t pos = 0; pos < in.len || n_open > 0;) {
        if (!take_element(in, &pos, &element)) {
            cms->is_cut = true;
            break;
        }
        cms->is_cut = cms->is_cut || element.is_cut;
        if (element.tag == (TAG_OCTETS | TAG_CONSTRUCTED)) {
            pos = (size_t)(element.body.data - in.data);
            n_open += element.is_open;
        } else if (element.tag == TAG_OCTETS) {
            memcpy(out + n, element.body.data, element.body.len);
            n += element.body.len;
        } else if (!is_end(&element) || n_open == 0) {
            cms->is_cut = true;
            break;
        } else if (--n_open == 0 && cms->is_open) {
            break;
        }
    }
    return slice_of(out, n);
}

/* Inflates all of in: into out, or, when that is NULL, only to know the length, at most `most`. */
static size_t inflate_into(z_stream *stream, struct slice in, uint8_t *out, size_t most)
{
    uint8_t unused[16384];
    size_t n = 0;
    int answer = Z_OK;
    stream->next_in = (const Bytef *)in.data;
    stream->avail_in = (uInt)in.len;
    while (answer == Z_OK && n < most) {
        const size_t left = most - n;
        const size_t room = out != NULL || left < sizeof(unused) ? left : sizeof(unused);
        stream->next_out = out != NULL ? out + n : unused;
        stream->avail_out = (uInt)room;
        answer = inflate(stream, Z_NO_FLUSH);
        n += room - stream->avail_out;
    }
    return n;
}

/* zlib's format (RFC 1950), as much as may be decoded yet. Twice, so that memory is taken for what
 * is there, not for what could be. */
static struct slice inflate_content(
    struct mime *mime, struct mime_node *node, struct mime_cms *cms, struct slice in)
{
    const size_t left = mime->decoded_left < INT_MAX ? (size_t)mime->decoded_left : INT_MAX;
    z_stream stream = {.next_in = NULL};
    if (in.len > INT_MAX || inflateInit(&stream) != Z_OK) {
        cms->is_cut = true;
        return slice_of("", 0);
    }
    /* One more, to see whether it is too much. */
    size_t n = inflate_into(&stream, in, NULL, left + 1);
    cms->is_cut = cms->is_cut || inflateReset(&stream) != Z_OK;
    if (n > left) {
        mime_defect_add(mime, node, MIME_DEFECT_TOO_MUCH_DECODED, NULL);
        n = left;
    }
    uint8_t *out = arena_alloc(mime->arena, n + 1);
    n = inflate_into(&stream, in, out, n);
    stream.next_out = out + n;
    cms->is_cut = cms->is_cut || inflate(&stream, Z_NO_FLUSH) != Z_STREAM_END;
    (void)inflateEnd(&stream);
    return slice_of(out, n);
}

/* The content of the layer that was looked into, counted once more where it is other bytes than
 * were there. */
static struct slice take_content(struct mime *mime, struct mime_node *node, struct mime_cms *cms)
{
    struct slice content = cms->content;
    if (cms->is_in_pieces)
        content = mime_bytes_again(mime, node, join(cms, mime->arena));
    if (cms->is_deflated)
        content = mime_bytes_again(mime, node, inflate_content(mime, node, cms, content));
    return content;
}

bool mime_cms_open(
    struct mime *mime, struct mime_node *node, struct slice bytes, struct mime_cms *out)
{
    if (!mime_cms_look(bytes, out))
        return false;
    for (uint32_t n = 0; out->has_content; n++) {
        const struct mime_cms_layer *inner = out->inner;
        struct slice content = take_content(mime, node, out);
        out->content = content;
        if (inner == NULL)
            return !out->is_cut;
        add_kind(out, inner);
        if (n == LAYERS_MAX || !look_into(out, inner, content)) {
            out->content = content; /* as it is: better than nothing */
            out->has_content = true;
            return false;
        }
    }
    return true;
}
