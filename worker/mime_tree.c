/*
 * The tree of parts: regions of bytes, each read with a stack of open parts, no recursion, offsets
 * only. Where something can be read in two ways (several boundaries, a bare CR, a line that only
 * begins with a boundary) a second, generous reading follows, and parts that only it finds are
 * added. Containers whose content is encoded, against the rules, are decoded and read as regions of
 * their own.
 */
#include "worker/mime_region.h"

static bool has_bare_cr(struct slice bytes)
{
    for (size_t i = 0; i < bytes.len;) {
        const char *cr = memchr(bytes.data + i, '\r', bytes.len - i);
        if (cr == NULL)
            return false;
        i = (size_t)(cr - bytes.data) + 1;
        if (i >= bytes.len || bytes.data[i] != '\n')
            return true;
    }
    return false;
}

/* Reads a region in one or both ways; *out lists what was found. */
static void read_region(
    struct mime *mime, struct slice bytes, struct mime_node *above, struct mime_region_scan *out)
{
    *out = (struct mime_region_scan){.mime = mime, .bytes = bytes, .above = above};
    mime_region_read(out);
    if (!mime->needs_second)
        return;
    struct mime_node *kept_first = above != NULL ? above->first_child : NULL;
    struct mime_node *kept_last = above != NULL ? above->last_child : NULL;
    struct mime_region_scan second = {
        .mime = mime, .bytes = bytes, .above = above, .is_second = true};
    mime->is_muted = true;
    mime_region_read(&second);
    mime->is_muted = false;
    if (above != NULL) {
        above->first_child = kept_first;
        above->last_child = kept_last;
        if (kept_last != NULL)
            kept_last->next = NULL;
        above->same = above;
    }
    mime_readings_merge(mime, &out->found, &second.found);
}

/* ---- containers that are encoded, and what is left to say ---- */

static bool needs_decoding(struct mime *mime, const struct mime_node *node)
{
    /* Quoted-printable may look like what it is not, undecoded. */
    bool is_open =
        node->first_child == NULL || mime_encoding_of(&node->part) == MIME_ENCODING_QUOTED;
    return (node->is_multipart || node->is_message) && is_open &&
           (mime_node_is_encoded(node) || node->is_unread) &&
           node->part.depth < mime_max_depth(mime) && node->part.content.len > 0;
}

/* Where the editor finds the bytes that its children are in. */
static void keep_region(struct mime_node *node, struct slice bytes)
{
    enum mime_encoding encoding = mime_encoding_of(&node->part);
    if ((encoding != MIME_ENCODING_BASE64 && encoding != MIME_ENCODING_QUOTED) || node->is_carried)
        return; /* nobody encodes it again */
    node->region = bytes;
    node->region_front = node->is_multipart ? node->part.header.len + 2 : 0;
}

/* Reads bytes as parts below node; false when there are none. */
static bool read_below(
    struct mime *mime, struct mime_found *all, struct mime_node *node, struct slice bytes)
{
    struct mime_region_scan scan;
    mime->needs_second = has_bare_cr(bytes);
    mime->n_parts = all->n;
    read_region(mime, bytes, node, &scan);
    if (scan.found.first == NULL)
        return false;
    all->last->all_next = scan.found.first;
    all->last = scan.found.last;
    all->n += scan.found.n;
    return true;
}

static void read_decoded(struct mime *mime, struct mime_found *all, struct mime_node *node)
{
    struct slice bytes = mime_bytes_decode(mime, node, node->part.content);
    if (node->is_multipart) {
        /* Its own header says the boundary: put it in front, so that the region is an entity like
         * any other. */
        char *copy = arena_alloc(mime->arena, node->part.header.len + 2 + bytes.len);
        size_t header = node->part.header.len;
        memcpy(copy, node->part.header.data, header);
        memcpy(copy + header, "\r\n", 2);
        if (bytes.len > 0)
            memcpy(copy + header + 2, bytes.data, bytes.len);
        bytes = slice_of(copy, header + 2 + bytes.len);
    }
    if (!read_below(mime, all, node, bytes))
        return;
    node->part.is_container = true;
    keep_region(node, bytes);
}

/* Parts that a leaf carries, which stays one. */
static void read_carried(struct mime *mime, struct mime_found *all, struct mime_node *carrier)
{
    const struct slice entity = mime_inside_read(mime, all, carrier);
    if (entity.len == 0 || !read_below(mime, all, carrier, entity))
        return;
    for (struct mime_node *child = carrier->first_child; child != NULL; child = child->next)
        child->is_carried = true;
}

static void finish_node(struct mime *mime, struct mime_node *node)
{
    if (node->first_child == NULL && node->part.is_container && node->is_multipart)
        mime_defect_add(mime, node, MIME_DEFECT_EMPTY_MULTIPART, NULL);
    node->part.is_container = node->first_child != NULL; /* else its content is to be looked at */
    if (mime_encoding_of(&node->part) == MIME_ENCODING_UU && !node->part.is_container)
        mime_names_add_uu(mime, node);
}

/* A container whose content is encoded, under each encoding that its header speaks of. The editor
 * encodes again only what has one reading. */
static void read_encoded(struct mime *mime, struct mime_found *all, struct mime_node *node)
{
    const char *own = node->part.encoding;
    bool has_parts = node->first_child != NULL;
    if (needs_decoding(mime, node))
        read_decoded(mime, all, node);
    if (has_parts)
        node->region = slice_of(NULL, 0);
    for (uint32_t i = 0; node->others != NULL && i < node->others->n_encodings; i++) {
        node->part.encoding = node->others->encodings[i];
        if (!needs_decoding(mime, node))
            continue;
        read_decoded(mime, all, node);
        node->region = slice_of(NULL, 0);
    }
    node->part.encoding = own;
}

struct mime_node *mime_tree_read(struct mime *mime)
{
    struct mime_region_scan all;
    read_region(mime, mime->message, NULL, &all);
    for (struct mime_node *node = all.found.first; node != NULL; node = node->all_next) {
        read_encoded(mime, &all.found, node);
        finish_node(mime, node);
        mime_others_list(mime, &all.found, node);
        read_carried(mime, &all.found, node);
    }
    mime->n_parts = all.found.n;
    return all.found.first;
}
