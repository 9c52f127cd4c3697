/*
 * TNEF, what Outlook makes of a message when it wants more than MIME can say: "winmail.dat"
 * ([MS-OXTNEF]). A list of attributes, each with tag, length, data and checksum; those of an
 * attachment follow its attAttachRendData. Data is pointed at where it lies. Lengths are believed
 * as far as there are bytes; of what is cut off, that which is there is listed.
 */
#include "worker/mime_tnef.h"

enum {
    SIGNATURE = 0x223e9f78,
    HEADER_BYTES = 6, /* signature, key */
    ATTRIBUTE_BYTES = 9,
    CHECKSUM_BYTES = 2,
    IID_BYTES = 16,
};

/* Attributes: type in the upper half. */
enum {
    ATT_ATTACH_REND_DATA = 0x00069002,
    ATT_ATTACH_TITLE = 0x00018010,
    ATT_ATTACH_DATA = 0x0006800f,
    ATT_ATTACH_TRANSPORT_FILENAME = 0x00069001,
    ATT_ATTACHMENT = 0x00069005,
    ATT_MESSAGE = 0x00069003,
};

/* An embedded message: what follows is TNEF again. {00020307-0000-0000-C000-000000000046} */
static const char iid_message[IID_BYTES + 1] =
    "\x07\x03\x02\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46";

/* ---- numbers ---- */

bool mime_tnef_take(struct slice bytes, size_t *pos, size_t n, struct slice *out)
{
    if (n > bytes.len - *pos)
        return false;
    *out = slice_of(bytes.data + *pos, n);
    *pos += n;
    return true;
}

bool mime_tnef_take_u32(struct slice bytes, size_t *pos, uint32_t *out)
{
    struct slice s;
    if (!mime_tnef_take(bytes, pos, 4, &s))
        return false;
    *out = (uint32_t)(uint8_t)s.data[0] | (uint32_t)(uint8_t)s.data[1] << 8 |
           (uint32_t)(uint8_t)s.data[2] << 16 | (uint32_t)(uint8_t)s.data[3] << 24;
    return true;
}

bool mime_tnef_is_at(struct slice bytes)
{
    size_t pos = 0;
    uint32_t signature;
    return mime_tnef_take_u32(bytes, &pos, &signature) && signature == SIGNATURE;
}

void mime_tnef_broken(struct mime_tnef *tnef, const char *what)
{
    mime_defect_add(tnef->inside->mime, tnef->inside->carrier, MIME_DEFECT_BROKEN_TNEF, what);
}

/* ---- text ---- */

struct slice mime_tnef_from_utf16(struct slice in, struct arena *arena)
{
    char *out = arena_alloc(arena, in.len / 2 * 3 + 1);
    size_t n = 0;
    for (size_t i = 0; i + 1 < in.len; i += 2) {
        uint32_t u = (uint32_t)(uint8_t)in.data[i] | (uint32_t)(uint8_t)in.data[i + 1] << 8;
        if (u >= 0xd800 && u < 0xdc00 && i + 3 < in.len &&
            ((uint8_t)in.data[i + 3] & 0xfc) == 0xdc) {
            uint32_t low = (uint32_t)(uint8_t)in.data[i + 2] | (uint32_t)(uint8_t)in.data[i + 3]
                                                                   << 8;
            u = 0x10000 + ((u & 0x3ff) << 10) + (low & 0x3ff);
            i += 2;
        } else if (u >= 0xd800 && u < 0xe000) {
            u = 0xfffd;
        }
        if (u < 0x80) {
            out[n++] = (char)u;
        } else if (u < 0x800) {
            out[n++] = (char)(0xc0 | u >> 6);
            out[n++] = (char)(0x80 | (u & 0x3f));
        } else {
            if (u >= 0x10000)
                out[n++] = (char)(0xf0 | u >> 18);
            out[n++] = u >= 0x10000 ? (char)(0x80 | (u >> 12 & 0x3f)) : (char)(0xe0 | u >> 12);
            out[n++] = (char)(0x80 | (u >> 6 & 0x3f));
            out[n++] = (char)(0x80 | (u & 0x3f));
        }
    }
    return slice_of(out, n);
}

static struct slice text_of(struct mime_tnef *tnef, struct slice value, bool is_unicode)
{
    struct arena *arena = tnef->inside->mime->arena;
    if (value.len > MIME_VALUE_BYTES) {
        mime_tnef_broken(tnef, "a name is too long");
        value.len = MIME_VALUE_BYTES;
    }
    struct slice text =
        is_unicode ? mime_tnef_from_utf16(value, arena) : mime_guess_utf8(value, arena);
    while (text.len > 0 && text.data[text.len - 1] == '\0')
        text.len--;
    return text;
}

/* ---- attachments ---- */

static void name_node(struct mime_tnef *tnef, struct mime_node *node)
{
    for (uint32_t i = 0; i < tnef->n_names; i++)
        mime_inside_name(tnef->inside->mime, node, tnef->names[i]);
}

static void close_attachment(struct mime_tnef *tnef)
{
    for (uint32_t i = 0; i < tnef->n_nodes; i++) {
        name_node(tnef, tnef->nodes[i]);
        if (tnef->type != NULL && strcmp(tnef->nodes[i]->part.type, "application/ms-tnef") != 0) {
            tnef->nodes[i]->part.type = tnef->type;
            tnef->nodes[i]->is_message = strcmp(tnef->type, "message/rfc822") == 0;
        }
    }
    if (tnef->n_nodes == 0 && tnef->n_names > 0 && !tnef->is_full) {
        /* A name is there though its content is not: a link, or a piece that got lost. */
        struct mime_node *node =
            mime_inside_add(tnef->inside, "application/octet-stream", "", slice_of("", 0));
        if (node != NULL)
            name_node(tnef, node);
    }
    tnef->n_nodes = tnef->n_names = 0;
    tnef->type = NULL;
}

void mime_tnef_add_data(struct mime_tnef *tnef, const char *type, struct slice data)
{
    if (tnef->n_nodes == sizeof(tnef->nodes) / sizeof(tnef->nodes[0]))
        close_attachment(tnef);
    struct mime_node *node = tnef->is_full ? NULL : mime_inside_add(tnef->inside, type, "", data);
    if (node == NULL)
        tnef->is_full = true;
    else
        tnef->nodes[tnef->n_nodes++] = node;
}

void mime_tnef_add_name(struct mime_tnef *tnef, struct slice value, bool is_unicode)
{
    struct slice text = text_of(tnef, value, is_unicode);
    if (text.len == 0)
        return;
    if (tnef->n_names == MIME_TNEF_NAMES_MAX) {
        mime_defect_add(
            tnef->inside->mime, tnef->inside->carrier, MIME_DEFECT_TOO_MANY_NAMES, NULL);
        return;
    }
    tnef->names[tnef->n_names++] = text;
}

void mime_tnef_add_shown_name(struct mime_tnef *tnef, struct slice value, bool is_unicode)
{
    uint32_t before = tnef->n_names;
    mime_tnef_add_name(tnef, value, is_unicode);
    if (tnef->n_names > before && before > 0) {
        struct slice first = tnef->names[0];
        tnef->names[0] = tnef->names[before];
        tnef->names[before] = first;
    }
}

void mime_tnef_add_object(struct mime_tnef *tnef, struct slice value)
{
    if (value.len < IID_BYTES) {
        mime_tnef_add_data(tnef, "application/octet-stream", value);
        return;
    }
    struct slice rest = slice_of(value.data + IID_BYTES, value.len - IID_BYTES);
    bool is_message = memcmp(value.data, iid_message, IID_BYTES) == 0 || mime_tnef_is_at(rest);
    mime_tnef_add_data(tnef, is_message ? "application/ms-tnef" : "application/octet-stream", rest);
}

void mime_tnef_set_type(struct mime_tnef *tnef, struct slice value, bool is_unicode)
{
    struct slice rest;
    const char *type =
        mime_token_read(text_of(tnef, value, is_unicode), tnef->inside->mime->arena, &rest);
    if (strchr(type, '/') != NULL && strncmp(type, "multipart/", 10) != 0)
        tnef->type = type;
}

/* ---- attributes ---- */

static void on_attribute(struct mime_tnef *tnef, uint32_t tag, struct slice data)
{
    switch (tag) {
    case ATT_ATTACH_REND_DATA:
        close_attachment(tnef);
        break;
    case ATT_ATTACH_TITLE:
    case ATT_ATTACH_TRANSPORT_FILENAME:
        mime_tnef_add_name(tnef, data, false);
        break;
    case ATT_ATTACH_DATA:
        mime_tnef_add_data(tnef, "application/octet-stream", data);
        break;
    case ATT_ATTACHMENT:
        mime_tnef_properties(tnef, data, mime_tnef_attachment_property);
        break;
    case ATT_MESSAGE:
        mime_tnef_properties(tnef, data, mime_tnef_body_property);
        break;
    default:
        break;
    }
}

/* False at the end. */
static bool take_attribute(struct mime_tnef *tnef)
{
    struct slice level, data, checksum;
    uint32_t tag = 0, len = 0;
    if (tnef->bytes.len - tnef->pos < ATTRIBUTE_BYTES) {
        if (tnef->pos < tnef->bytes.len)
            mime_tnef_broken(tnef, "bytes that are no attribute");
        return false;
    }
    (void)mime_tnef_take(tnef->bytes, &tnef->pos, 1, &level);
    (void)mime_tnef_take_u32(tnef->bytes, &tnef->pos, &tag);
    (void)mime_tnef_take_u32(tnef->bytes, &tnef->pos, &len);
    bool is_whole = mime_tnef_take(tnef->bytes, &tnef->pos, len, &data);
    if (!is_whole)
        data = slice_of(tnef->bytes.data + tnef->pos, tnef->bytes.len - tnef->pos);
    on_attribute(tnef, tag, data);
    if (!is_whole)
        mime_tnef_broken(tnef, "an attribute is cut off");
    return is_whole && !tnef->is_full &&
           mime_tnef_take(tnef->bytes, &tnef->pos, CHECKSUM_BYTES, &checksum);
}

void mime_tnef_read(struct mime_inside *inside, struct slice bytes)
{
    struct mime_tnef tnef = {.inside = inside, .bytes = bytes, .pos = HEADER_BYTES};
    if (!mime_tnef_is_at(bytes) || bytes.len < HEADER_BYTES) {
        mime_tnef_broken(&tnef, "it does not begin as it should");
        return;
    }
    while (take_attribute(&tnef)) {
    }
    close_attachment(&tnef);
    mime_tnef_body_end(&tnef);
}
