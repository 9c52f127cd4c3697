/*
 * The beginning of a part: where its header ends, what that says, and whether what follows is a
 * multipart or a message to go into.
 */
#include "common/text.h"
#include "worker/mime_region.h"

/* Finds the end of the header that starts at scan->pos, and moves scan->pos to the content. */
static struct slice seek_header_end(struct mime_region_scan *scan, bool *is_ended_out)
{
    size_t start = scan->pos;
    *is_ended_out = false;
    while (scan->pos < scan->bytes.len) {
        size_t line_start = scan->pos;
        struct mime_match match;
        struct slice line = mime_line_next(scan->bytes, &scan->pos, scan->is_second);
        if (line.len == 0) {
            *is_ended_out = true;
            return slice_of(scan->bytes.data + start, line_start - start);
        }
        if (mime_is_delimiter(scan, line, &match)) {
            scan->pos = line_start;
            return slice_of(scan->bytes.data + start, line_start - start);
        }
    }
    return slice_of(scan->bytes.data + start, scan->pos - start);
}

static bool has_field(const struct mime_region_scan *scan, struct slice block)
{
    struct mime_field field;
    for (size_t pos = 0; mime_field_next(block, &pos, scan->is_second, &field);) {
        if (field.has_colon || mime_is_odd_field(field.value))
            return true;
    }
    return false;
}

/* A block in which no line is a field is content of a part without header; in the second reading a
 * header of which nothing can be used. */
static void take_header(struct mime_region_scan *scan, struct mime_node *node)
{
    bool is_ended;
    size_t start = scan->pos;
    struct slice header = seek_header_end(scan, &is_ended);
    if (header.len > 0 && !has_field(scan, header)) {
        mime_defect_add(scan->mime, node, MIME_DEFECT_HEADER_WITHOUT_COLON, NULL);
        scan->mime->needs_second = true;
        if (!scan->is_second) {
            scan->pos = start;
            header.len = 0;
        }
    } else if (!is_ended && scan->n_open > 0) {
        mime_defect_add(scan->mime, node, MIME_DEFECT_UNENDED_HEADER, NULL);
    }
    node->part.header = header;
    node->part.content = slice_of(scan->bytes.data + scan->pos, 0);
}

static struct mime_node *new_node(struct mime_region_scan *scan)
{
    struct mime *mime = scan->mime;
    struct mime_node *parent = scan->n_open > 0 ? scan->open[scan->n_open - 1] : scan->above;
    if (scan->found.n + mime->n_parts >= (uint32_t)mime->conf->worker.max_parts && parent != NULL) {
        mime_defect_add(mime, NULL, MIME_DEFECT_TOO_MANY_PARTS, NULL);
        scan->is_full = true;
        return NULL;
    }
    struct mime_node *node = arena_calloc(mime->arena, 1, sizeof(*node));
    node->part.mime = mime;
    node->part.depth = parent != NULL ? parent->part.depth + 1 : 0;
    node->part.is_decoded = scan->above != NULL;
    mime_child_append(parent, node);
    mime_found_append(&scan->found, node);
    return node;
}

/* Whether bytes begin like a message: with a field. */
static bool looks_like_header(struct slice bytes)
{
    size_t pos = 0;
    struct mime_field field;
    struct slice front = slice_of(bytes.data, bytes.len < 1000 ? bytes.len : 1000);
    return mime_field_next(front, &pos, false, &field) && field.has_colon;
}

bool mime_node_is_encoded(const struct mime_node *node)
{
    enum mime_encoding encoding = mime_encoding_of(&node->part);
    return encoding == MIME_ENCODING_BASE64 || encoding == MIME_ENCODING_QUOTED ||
           encoding == MIME_ENCODING_UU;
}

static bool is_entered_as_message(struct mime_region_scan *scan, struct mime_node *node)
{
    if (!node->is_message || node->is_multipart)
        return false;
    struct slice content = slice_of(scan->bytes.data + scan->pos, scan->bytes.len - scan->pos);
    return (!mime_node_is_encoded(node) && !node->is_indirect) || looks_like_header(content);
}

static bool may_enter(struct mime_region_scan *scan, struct mime_node *node)
{
    if (!node->is_multipart && !node->is_message)
        return false;
    if (mime_node_is_encoded(node))
        mime_defect_add(scan->mime, node, MIME_DEFECT_MULTIPART_WITH_ENCODING, node->part.encoding);
    if (node->part.depth < mime_max_depth(scan->mime))
        return true;
    mime_defect_add(scan->mime, node, MIME_DEFECT_TOO_DEEP, NULL);
    return false;
}

/* The second reading ends a header at the part's own boundary. */
static void rewind_to_boundary(struct mime_region_scan *scan, struct mime_node *node)
{
    struct slice block = node->part.header;
    for (size_t pos = 0; pos < block.len;) {
        size_t start = pos;
        struct slice line = mime_line_next(block, &pos, true);
        for (uint32_t i = 0; i < node->n_boundaries && line.len > 2; i++) {
            struct slice text = text_trim(slice_of(line.data + 2, line.len - 2));
            if (line.data[0] != '-' || line.data[1] != '-' || node->boundaries[i].len == 0 ||
                !slice_equal(text, node->boundaries[i]))
                continue;
            scan->pos = (size_t)(block.data + start - scan->bytes.data);
            node->part.header.len = start;
            node->part.content = slice_of(scan->bytes.data + scan->pos, 0);
            return;
        }
    }
}

void mime_part_open(struct mime_region_scan *scan)
{
    for (;;) {
        struct mime_node *node = new_node(scan);
        if (node == NULL)
            return;
        take_header(scan, node);
        bool in_digest = node->parent != NULL && node->parent->is_digest;
        mime_entity_read(scan->mime, node, scan->is_second, in_digest);
        scan->open[scan->n_open++] = node;
        if (!may_enter(scan, node))
            return;
        if (node->is_multipart) {
            node->part.is_container = true;
            if (scan->is_second)
                rewind_to_boundary(scan, node);
            mime_gap_open(scan, node);
            mime_delimiters_open(scan, node);
            return;
        }
        if (!is_entered_as_message(scan, node))
            return;
        node->part.is_container = true;
    }
}
