/*
 * TNEF, what Outlook makes of a message when it wants more than MIME can say: "winmail.dat"
 * ([MS-OXTNEF]). A list of attributes, each with tag, length, data and checksum; those of an
 * attachment follow its attAttachRendData. Data is pointed at where it lies. Lengths are believed
 * as far as there are bytes; of what is cut off, that which is there is listed.
 */
#include "worker/mime_impl.h"

#include <string.h>

enum {
    SIGNATURE = 0x223e9f78,
    HEADER_BYTES = 6, /* signature, key */
    ATTRIBUTE_BYTES = 9,
    CHECKSUM_BYTES = 2,
    PROPERTIES_MAX = 10000, /* of one attribute */
    IID_BYTES = 16,
    NAMES_MAX = 16, /* of one attachment, before they are compared */
};

/* Attributes: type in the upper half. */
enum {
    ATT_ATTACH_REND_DATA = 0x00069002,
    ATT_ATTACH_TITLE = 0x00018010,
    ATT_ATTACH_DATA = 0x0006800f,
    ATT_ATTACH_TRANSPORT_FILENAME = 0x00069001,
    ATT_ATTACHMENT = 0x00069005,
};

/* MAPI properties. */
enum {
    PR_DISPLAY_NAME = 0x3001,
    PR_ATTACH_DATA = 0x3701,
    PR_ATTACH_EXTENSION = 0x3703,
    PR_ATTACH_FILENAME = 0x3704,
    PR_ATTACH_LONG_FILENAME = 0x3707,
    PR_ATTACH_PATHNAME = 0x3708,
    PR_ATTACH_TRANSPORT_NAME = 0x370c,
    PR_ATTACH_LONG_PATHNAME = 0x370d,
    PR_ATTACH_MIME_TAG = 0x370e,
    PR_NAMED = 0x8000, /* and above: a name stands before the value */
};
enum {
    PT_SHORT = 0x0002,
    PT_LONG = 0x0003,
    PT_FLOAT = 0x0004,
    PT_DOUBLE = 0x0005,
    PT_CURRENCY = 0x0006,
    PT_APPTIME = 0x0007,
    PT_ERROR = 0x000a,
    PT_BOOLEAN = 0x000b,
    PT_OBJECT = 0x000d,
    PT_INT64 = 0x0014,
    PT_STRING8 = 0x001e,
    PT_UNICODE = 0x001f,
    PT_SYSTIME = 0x0040,
    PT_CLSID = 0x0048,
    PT_BINARY = 0x0102,
    PT_MULTIPLE = 0x1000,
};

/* An embedded message: what follows is TNEF again. {00020307-0000-0000-C000-000000000046} */
static const char iid_message[IID_BYTES + 1] =
    "\x07\x03\x02\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46";

struct tnef {
    struct mime_inside *inside;
    struct slice bytes;
    size_t pos;
    /* the attachment being read */
    struct mime_node *nodes[2]; /* made of it: its data, and that in its properties */
    uint32_t n_nodes;
    struct slice names[NAMES_MAX];
    uint32_t n_names;
    const char *type;
    bool is_full; /* no more parts */
};

/* ---- numbers ---- */

static bool take(struct slice bytes, size_t *pos, size_t n, struct slice *out)
{
    if (n > bytes.len - *pos)
        return false;
    *out = slice_of(bytes.data + *pos, n);
    *pos += n;
    return true;
}

static bool take_u32(struct slice bytes, size_t *pos, uint32_t *out)
{
    struct slice s;
    if (!take(bytes, pos, 4, &s))
        return false;
    *out = (uint32_t)(uint8_t)s.data[0] | (uint32_t)(uint8_t)s.data[1] << 8 |
           (uint32_t)(uint8_t)s.data[2] << 16 | (uint32_t)(uint8_t)s.data[3] << 24;
    return true;
}

bool mime_tnef_is_at(struct slice bytes)
{
    size_t pos = 0;
    uint32_t signature;
    return take_u32(bytes, &pos, &signature) && signature == SIGNATURE;
}

static void report_broken(struct tnef *tnef, const char *what)
{
    mime_defect_add(tnef->inside->mime, tnef->inside->carrier, MIME_DEFECT_BROKEN_TNEF, what);
}

/* ---- text ---- */

/* UTF-16 with the least significant byte first; half a pair becomes U+FFFD. */
static struct slice from_utf16(struct slice in, struct arena *arena)
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

static struct slice text_of(struct tnef *tnef, struct slice value, bool is_unicode)
{
    struct arena *arena = tnef->inside->mime->arena;
    if (value.len > MIME_VALUE_BYTES) {
        report_broken(tnef, "a name is too long");
        value.len = MIME_VALUE_BYTES;
    }
    struct slice text = is_unicode ? from_utf16(value, arena) : mime_guess_utf8(value, arena);
    while (text.len > 0 && text.data[text.len - 1] == '\0')
        text.len--;
    return text;
}

/* ---- attachments ---- */

static void name_node(struct tnef *tnef, struct mime_node *node)
{
    for (uint32_t i = 0; i < tnef->n_names; i++)
        mime_inside_name(tnef->inside->mime, node, tnef->names[i]);
}

static void close_attachment(struct tnef *tnef)
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

static void add_data(struct tnef *tnef, const char *type, struct slice data)
{
    if (tnef->n_nodes == sizeof(tnef->nodes) / sizeof(tnef->nodes[0]))
        close_attachment(tnef);
    struct mime_node *node = tnef->is_full ? NULL : mime_inside_add(tnef->inside, type, "", data);
    if (node == NULL)
        tnef->is_full = true;
    else
        tnef->nodes[tnef->n_nodes++] = node;
}

static void add_name(struct tnef *tnef, struct slice value, bool is_unicode)
{
    struct slice text = text_of(tnef, value, is_unicode);
    if (text.len == 0)
        return;
    if (tnef->n_names == NAMES_MAX) {
        mime_defect_add(
            tnef->inside->mime, tnef->inside->carrier, MIME_DEFECT_TOO_MANY_NAMES, NULL);
        return;
    }
    tnef->names[tnef->n_names++] = text;
}

/* The long file name is what Outlook shows, wherever it stands among the names. */
static void add_shown_name(struct tnef *tnef, struct slice value, bool is_unicode)
{
    uint32_t before = tnef->n_names;
    add_name(tnef, value, is_unicode);
    if (tnef->n_names > before && before > 0) {
        struct slice first = tnef->names[0];
        tnef->names[0] = tnef->names[before];
        tnef->names[before] = first;
    }
}

/* What an object's first 16 bytes say that it is. */
static void add_object(struct tnef *tnef, struct slice value)
{
    if (value.len < IID_BYTES) {
        add_data(tnef, "application/octet-stream", value);
        return;
    }
    struct slice rest = slice_of(value.data + IID_BYTES, value.len - IID_BYTES);
    bool is_message = memcmp(value.data, iid_message, IID_BYTES) == 0 || mime_tnef_is_at(rest);
    add_data(tnef, is_message ? "application/ms-tnef" : "application/octet-stream", rest);
}

static void set_type(struct tnef *tnef, struct slice value, bool is_unicode)
{
    struct slice rest;
    const char *type =
        mime_token_read(text_of(tnef, value, is_unicode), tnef->inside->mime->arena, &rest);
    if (strchr(type, '/') != NULL && strncmp(type, "multipart/", 10) != 0)
        tnef->type = type;
}

/* ---- properties ---- */

static void on_property(struct tnef *tnef, uint32_t tag, struct slice value)
{
    uint32_t id = tag >> 16, type = tag & 0xffff;
    bool is_text = type == PT_STRING8 || type == PT_UNICODE;
    switch (id) {
    case PR_DISPLAY_NAME:
    case PR_ATTACH_EXTENSION:
    case PR_ATTACH_FILENAME:
    case PR_ATTACH_PATHNAME:
    case PR_ATTACH_TRANSPORT_NAME:
    case PR_ATTACH_LONG_PATHNAME:
        if (is_text)
            add_name(tnef, value, type == PT_UNICODE);
        break;
    case PR_ATTACH_LONG_FILENAME:
        if (is_text)
            add_shown_name(tnef, value, type == PT_UNICODE);
        break;
    case PR_ATTACH_MIME_TAG:
        if (is_text)
            set_type(tnef, value, type == PT_UNICODE);
        break;
    case PR_ATTACH_DATA:
        if (type == PT_OBJECT)
            add_object(tnef, value);
        else if (type == PT_BINARY)
            add_data(tnef, "application/octet-stream", value);
        break;
    default:
        break;
    }
}

/* Bytes of a value, filled up to four; 0: its length stands before it. -1: a type that nobody
 * knows. */
static int width_of(uint32_t type)
{
    switch (type) {
    case PT_SHORT:
    case PT_LONG:
    case PT_FLOAT:
    case PT_ERROR:
    case PT_BOOLEAN:
        return 4;
    case PT_DOUBLE:
    case PT_CURRENCY:
    case PT_APPTIME:
    case PT_INT64:
    case PT_SYSTIME:
        return 8;
    case PT_CLSID:
        return 16;
    case PT_OBJECT:
    case PT_STRING8:
    case PT_UNICODE:
    case PT_BINARY:
        return 0;
    default:
        return -1;
    }
}

static bool take_padded(struct slice bytes, size_t *pos, uint32_t n, struct slice *out)
{
    size_t filled = ((size_t)n + 3) & ~(size_t)3, left = bytes.len - *pos;
    if (n > left)
        return false;
    *out = slice_of(bytes.data + *pos, n);
    *pos += filled < left ? filled : left;
    return true;
}

/* The name of a property that has no number of its own. */
static bool skip_property_name(struct slice bytes, size_t *pos)
{
    struct slice skipped;
    uint32_t kind, n;
    if (!take(bytes, pos, 16, &skipped) || !take_u32(bytes, pos, &kind) ||
        !take_u32(bytes, pos, &n))
        return false;
    return kind == 0 || take_padded(bytes, pos, n, &skipped);
}

/* Reads one value; of one that is cut off, what is there. */
static bool take_value(struct tnef *tnef, struct slice bytes, size_t *pos, uint32_t tag, int width)
{
    struct slice value;
    uint32_t n = (uint32_t)width;
    if (width == 0 && !take_u32(bytes, pos, &n))
        return false;
    bool is_whole = take_padded(bytes, pos, n, &value);
    if (!is_whole)
        value = slice_of(bytes.data + *pos, bytes.len - *pos);
    on_property(tnef, tag & ~(uint32_t)PT_MULTIPLE, value);
    return is_whole;
}

static bool take_property(struct tnef *tnef, struct slice bytes, size_t *pos)
{
    uint32_t tag, n_values = 1;
    if (!take_u32(bytes, pos, &tag))
        return false;
    uint32_t type = tag & 0xffff & ~(uint32_t)PT_MULTIPLE;
    int width = width_of(type);
    if (tag >> 16 >= PR_NAMED && !skip_property_name(bytes, pos))
        return false;
    bool is_counted = width == 0 || (tag & PT_MULTIPLE) != 0;
    if (width < 0 || (is_counted && !take_u32(bytes, pos, &n_values)))
        return false;
    for (uint32_t i = 0; i < n_values; i++) {
        if (!take_value(tnef, bytes, pos, tag, width))
            return false;
    }
    return true;
}

static void read_properties(struct tnef *tnef, struct slice bytes)
{
    size_t pos = 0;
    uint32_t n;
    if (!take_u32(bytes, &pos, &n)) {
        report_broken(tnef, "properties without their number");
        return;
    }
    for (uint32_t i = 0; i < n && !tnef->is_full; i++) {
        if (i == PROPERTIES_MAX || !take_property(tnef, bytes, &pos)) {
            report_broken(tnef, "properties that do not end where they should");
            return;
        }
    }
}

/* ---- attributes ---- */

static void on_attribute(struct tnef *tnef, uint32_t tag, struct slice data)
{
    switch (tag) {
    case ATT_ATTACH_REND_DATA:
        close_attachment(tnef);
        break;
    case ATT_ATTACH_TITLE:
    case ATT_ATTACH_TRANSPORT_FILENAME:
        add_name(tnef, data, false);
        break;
    case ATT_ATTACH_DATA:
        add_data(tnef, "application/octet-stream", data);
        break;
    case ATT_ATTACHMENT:
        read_properties(tnef, data);
        break;
    default:
        break;
    }
}

/* False at the end. */
static bool take_attribute(struct tnef *tnef)
{
    struct slice level, data, checksum;
    uint32_t tag = 0, len = 0;
    if (tnef->bytes.len - tnef->pos < ATTRIBUTE_BYTES) {
        if (tnef->pos < tnef->bytes.len)
            report_broken(tnef, "bytes that are no attribute");
        return false;
    }
    (void)take(tnef->bytes, &tnef->pos, 1, &level);
    (void)take_u32(tnef->bytes, &tnef->pos, &tag);
    (void)take_u32(tnef->bytes, &tnef->pos, &len);
    bool is_whole = take(tnef->bytes, &tnef->pos, len, &data);
    if (!is_whole)
        data = slice_of(tnef->bytes.data + tnef->pos, tnef->bytes.len - tnef->pos);
    on_attribute(tnef, tag, data);
    if (!is_whole)
        report_broken(tnef, "an attribute is cut off");
    return is_whole && !tnef->is_full && take(tnef->bytes, &tnef->pos, CHECKSUM_BYTES, &checksum);
}

void mime_tnef_read(struct mime_inside *inside, struct slice bytes)
{
    struct tnef tnef = {.inside = inside, .bytes = bytes, .pos = HEADER_BYTES};
    if (!mime_tnef_is_at(bytes) || bytes.len < HEADER_BYTES) {
        report_broken(&tnef, "it does not begin as it should");
        return;
    }
    while (take_attribute(&tnef)) {
    }
    close_attachment(&tnef);
}
