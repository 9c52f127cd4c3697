/*
 * MAPI properties in TNEF ([MS-OXCDATA] section 2.11): a number of them, each with
 * type, number, perhaps a name, and values; and what those of an attachment mean.
 */
#include "worker/mime_tnef.h"

enum { PROPERTIES_MAX = 10000 }; /* of one attribute */

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
void mime_tnef_attachment_property(struct mime_tnef *tnef, uint32_t tag, struct slice value)
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
            mime_tnef_add_name(tnef, value, type == PT_UNICODE);
        break;
    case PR_ATTACH_LONG_FILENAME:
        if (is_text)
            mime_tnef_add_shown_name(tnef, value, type == PT_UNICODE);
        break;
    case PR_ATTACH_MIME_TAG:
        if (is_text)
            mime_tnef_set_type(tnef, value, type == PT_UNICODE);
        break;
    case PR_ATTACH_DATA:
        if (type == PT_OBJECT)
            mime_tnef_add_object(tnef, value);
        else if (type == PT_BINARY)
            mime_tnef_add_data(tnef, "application/octet-stream", value);
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
    if (!mime_tnef_take(bytes, pos, 16, &skipped) || !mime_tnef_take_u32(bytes, pos, &kind) ||
        !mime_tnef_take_u32(bytes, pos, &n))
        return false;
    return kind == 0 || take_padded(bytes, pos, n, &skipped);
}

/* Reads one value; of one that is cut off, what is there. */
static bool take_value(struct mime_tnef *tnef, struct slice bytes, size_t *pos, uint32_t tag,
    int width, mime_tnef_property_cb cb)
{
    struct slice value;
    uint32_t n = (uint32_t)width;
    if (width == 0 && !mime_tnef_take_u32(bytes, pos, &n))
        return false;
    bool is_whole = take_padded(bytes, pos, n, &value);
    if (!is_whole)
        value = slice_of(bytes.data + *pos, bytes.len - *pos);
    cb(tnef, tag & ~(uint32_t)PT_MULTIPLE, value);
    return is_whole;
}

static bool take_property(
    struct mime_tnef *tnef, struct slice bytes, size_t *pos, mime_tnef_property_cb cb)
{
    uint32_t tag, n_values = 1;
    if (!mime_tnef_take_u32(bytes, pos, &tag))
        return false;
    uint32_t type = tag & 0xffff & ~(uint32_t)PT_MULTIPLE;
    int width = width_of(type);
    if (tag >> 16 >= PR_NAMED && !skip_property_name(bytes, pos))
        return false;
    bool is_counted = width == 0 || (tag & PT_MULTIPLE) != 0;
    if (width < 0 || (is_counted && !mime_tnef_take_u32(bytes, pos, &n_values)))
        return false;
    for (uint32_t i = 0; i < n_values; i++) {
        if (!take_value(tnef, bytes, pos, tag, width, cb))
            return false;
    }
    return true;
}

void mime_tnef_properties(struct mime_tnef *tnef, struct slice bytes, mime_tnef_property_cb cb)
{
    size_t pos = 0;
    uint32_t n;
    if (!mime_tnef_take_u32(bytes, &pos, &n)) {
        mime_tnef_broken(tnef, "properties without their number");
        return;
    }
    for (uint32_t i = 0; i < n && !tnef->is_full; i++) {
        if (i == PROPERTIES_MAX || !take_property(tnef, bytes, &pos, cb)) {
            mime_tnef_broken(tnef, "properties that do not end where they should");
            return;
        }
    }
}
