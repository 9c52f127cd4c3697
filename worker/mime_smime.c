/*
 * Parts that are S/MIME objects in one piece (RFC 8551 section 3: smime.p7m): what is signed, or
 * compressed, is a part with header and content, which mail readers show in the object's place. A
 * file that was signed in the same way (invoice.pdf.p7m) is that file, without a header. Type, name
 * and parameters may be missing or wrong, so the content says what it is.
 */
#include "worker/mime_impl.h"

#include <string.h>

#include "common/text.h"

static bool is_declared(const struct mime_part *part)
{
    return strcmp(part->type, "application/pkcs7-mime") == 0 ||
           strcmp(part->type, "application/x-pkcs7-mime") == 0;
}

/* ".p7m" and its like at the end of a name: bytes of that; else 0. */
static size_t ending_of(struct slice name)
{
    static const char *const endings[] = {"p7m", "p7z", "p7s", "p7x"};
    const struct slice extension = mime_name_extension(name);
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        if (slice_equal_nocase(extension, slice_text(endings[i])) && name.len > extension.len + 1)
            return extension.len + 1;
    }
    return 0;
}

/* .p7s is a signature of something else; what has content in it anyway is found by how it begins.
 */
static bool is_named(const struct mime_part *part)
{
    for (uint32_t i = 0; i < part->n_filenames; i++) {
        const struct slice extension = mime_name_extension(slice_text(part->filenames[i]));
        if (slice_equal_nocase(extension, slice_text("p7m")) ||
            slice_equal_nocase(extension, slice_text("p7z")))
            return true;
    }
    return false;
}

bool mime_smime_is_at(struct mime_node *carrier, struct slice head)
{
    struct mime_cms cms;
    const bool is_whole = mime_cms_look(head, &cms);
    if (cms.kind == MIME_CMS_SEALED || (is_whole && cms.kind == MIME_CMS_SIGNATURE)) {
        carrier->cms = cms.kind; /* nothing that could be read: no need to decode it */
        return false;
    }
    return cms.kind != MIME_CMS_NONE || is_declared(&carrier->part) || is_named(&carrier->part);
}

static bool is_claimed_signed(const struct mime_part *part)
{
    const char *kind = mime_param_find(part->params, part->n_params, "smime-type");
    return kind != NULL && strcmp(kind, "signed-data") == 0;
}

bool mime_smime_is_signed(const struct mime_node *node)
{
    return node->cms == MIME_CMS_SIGNED ||
           (node->cms == MIME_CMS_NONE && is_declared(&node->part) &&
               is_claimed_signed(&node->part));
}

bool mime_smime_is_encrypted(const struct mime_node *node)
{
    return node->cms == MIME_CMS_SEALED ||
           (node->cms == MIME_CMS_NONE && is_declared(&node->part) &&
               !is_claimed_signed(&node->part));
}

/* ---- objects written as text ---- */

/* Base64, with or without the lines of PEM (RFC 7468) around it, though no header says so. */
static struct slice without_base64(struct mime_inside *inside, struct slice content)
{
    struct slice text = text_trim(content);
    size_t pos = 0;
    if (mime_begins_with(text, "-----begin ")) {
        (void)mime_line_next(text, &pos, false);
        text = slice_of(text.data + pos, text.len - pos);
        const char *end = text.len > 0 ? memmem(text.data, text.len, "-----", 5) : NULL;
        text.len = end != NULL ? (size_t)(end - text.data) : text.len;
    } else if (!mime_begins_with(text, "mi")) { /* what each longer object begins with */
        return content;
    }
    uint8_t *out = arena_alloc(inside->mime->arena, text.len + 4);
    const size_t n = mime_base64_decode(text.data, text.len, out, NULL);
    return mime_bytes_again(inside->mime, inside->carrier, slice_of(out, n));
}

/* ---- what is in it ---- */

/* Whether it begins with a header of MIME; a person's program may take any field for one. */
static bool is_entity(struct slice content, bool is_declared)
{
    enum { LOOKED_AT = 16384 };
    const struct slice head =
        slice_of(content.data, content.len < LOOKED_AT ? content.len : LOOKED_AT);
    struct mime_field field;
    uint32_t n = 0;
    for (size_t pos = 0; mime_field_next(head, &pos, true, &field); n++) {
        const struct slice line = text_trim(field.raw);
        if (line.len == 0)
            break;
        if (mime_begins_with(line, "content-") || mime_begins_with(line, "mime-version") ||
            (is_declared && n == 0 && field.has_colon && !field.has_odd_name))
            return true;
    }
    return is_declared && n == 0 && content.len > 0;
}

/* The names of the object without the ending that it got. */
static bool has_name_inside(const struct mime_part *part)
{
    for (uint32_t i = 0; i < part->n_filenames; i++) {
        const struct slice name = slice_text(part->filenames[i]);
        const size_t ending = ending_of(name);
        if (ending > 0 && mime_name_extension(slice_of(name.data, name.len - ending)).len > 0)
            return true;
    }
    return false;
}

static void add_file(struct mime_inside *inside, struct slice content)
{
    const struct mime_part *part = &inside->carrier->part;
    struct mime_node *node = mime_inside_add(inside, "application/octet-stream", "", content);
    for (uint32_t i = 0; node != NULL && i < part->n_filenames; i++) {
        const struct slice name = slice_text(part->filenames[i]);
        if (ending_of(name) > 0)
            mime_inside_name(inside->mime, node, slice_of(name.data, name.len - ending_of(name)));
    }
}

struct slice mime_smime_read(struct mime_inside *inside, struct slice content)
{
    struct mime *mime = inside->mime;
    struct mime_node *carrier = inside->carrier;
    const enum mime_encoding encoding = mime_encoding_of(&carrier->part);
    struct mime_cms cms;
    if (encoding == MIME_ENCODING_IDENTITY || encoding == MIME_ENCODING_UNKNOWN)
        content = mime_bytes_again(mime, carrier, content);
    if (content.len > 0 && content.data[0] != '0') /* the tag of a sequence */
        content = without_base64(inside, content);
    const bool is_whole = mime_cms_open(mime, carrier, content, &cms);
    carrier->cms = cms.kind;
    if (!is_whole)
        mime_defect_add(mime, carrier, MIME_DEFECT_BROKEN_SMIME, NULL);
    if (!cms.has_content || cms.content.len == 0)
        return slice_of(NULL, 0);
    const bool is_part = is_entity(cms.content, is_declared(&carrier->part));
    if (!is_part || has_name_inside(&carrier->part))
        add_file(inside, cms.content);
    return is_part ? cms.content : slice_of(NULL, 0);
}
