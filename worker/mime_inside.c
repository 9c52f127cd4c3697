/*
 * Parts in the content of a part that is no container: attachments in TNEF (winmail.dat), and
 * uuencoded and yEnc blocks in texts, which mail readers show as attachments. The carrier keeps its
 * content and stays a leaf; what it carries are its children.
 */
#include "worker/mime_impl.h"

#include <string.h>

struct mime_node *mime_inside_add(
    struct mime_inside *inside, const char *type, const char *encoding, struct slice content)
{
    struct mime *mime = inside->mime;
    struct mime_node *carrier = inside->carrier;
    if (inside->found->n >= (uint32_t)mime->conf->worker.max_parts) {
        mime_defect_add(mime, NULL, MIME_DEFECT_TOO_MANY_PARTS, NULL);
        return NULL;
    }
    struct mime_node *node = arena_calloc(mime->arena, 1, sizeof(*node));
    node->part = (struct mime_part){.mime = mime,
        .depth = carrier->part.depth + 1,
        .is_decoded = true,
        .type = type,
        .charset = "",
        .encoding = encoding,
        .disposition = "attachment",
        .content_id = "",
        .header = slice_of(NULL, 0), /* none */
        .content = content};
    node->is_carried = true;
    node->is_message = strcmp(type, "message/rfc822") == 0;
    mime_child_append(carrier, node);
    mime_found_append(inside->found, node);
    return node;
}

void mime_inside_name(struct mime *mime, struct mime_node *node, struct slice utf8)
{
    struct mime_names names = {.mime = mime, .node = node};
    for (uint32_t i = 0; i < node->part.n_filenames; i++)
        mime_names_add(&names, slice_text(node->part.filenames[i]));
    mime_names_add(&names, utf8);
    node->part.filenames = names.items;
    node->part.n_filenames = names.n;
    if (node->part.filename == NULL && names.n > 0)
        node->part.filename = names.items[0];
}

static bool is_tnef(const struct mime_node *node)
{
    uint8_t head[MIME_PEEK_BYTES];
    size_t n = mime_content_peek(node, head);
    return strcmp(node->part.type, "application/ms-tnef") == 0 ||
           strcmp(node->part.type, "application/vnd.ms-tnef") == 0 ||
           mime_tnef_is_at(slice_of(head, n));
}

/* A text that is shown; in one that is attached, readers look no further, and it may be long. */
static bool may_have_blocks(const struct mime_node *node)
{
    enum mime_encoding encoding = mime_encoding_of(&node->part);
    if (strncmp(node->part.type, "text/", 5) != 0 || encoding == MIME_ENCODING_UU ||
        encoding == MIME_ENCODING_YENC)
        return false;
    bool is_plain = encoding == MIME_ENCODING_IDENTITY || encoding == MIME_ENCODING_UNKNOWN;
    return is_plain || (strcmp(node->part.type, "text/plain") == 0 &&
                           strcmp(node->part.disposition, "attachment") != 0);
}

void mime_inside_read(struct mime *mime, struct mime_found *found, struct mime_node *carrier)
{
    struct mime_inside inside = {.mime = mime, .found = found, .carrier = carrier};
    if (carrier->part.is_container || carrier->part.content.len == 0)
        return;
    bool has_tnef = is_tnef(carrier);
    if (!has_tnef && !may_have_blocks(carrier))
        return;
    struct slice content = mime_node_content(mime, carrier);
    if (carrier->part.depth >= (uint32_t)mime->conf->worker.max_depth) {
        if (has_tnef || mime_blocks_are_in(content))
            mime_defect_add(mime, carrier, MIME_DEFECT_TOO_DEEP, NULL);
        return;
    }
    if (has_tnef)
        mime_tnef_read(&inside, content);
    else
        mime_blocks_read(&inside, content);
}
