/*
 * Further readings of a leaf: the same bytes under another type or encoding that its header speaks
 * of, or with the content starting at a line of the header that is no field. Each becomes a leaf of
 * its own below the part, so that whoever looks at types and contents sees all of them.
 */
#include "worker/mime_impl.h"

static struct mime_others *others_of(struct mime *mime, struct mime_node *node)
{
    if (node->others == NULL)
        node->others = arena_calloc(mime->arena, 1, sizeof(*node->others));
    return node->others;
}

void mime_other_add_type(struct mime *mime, struct mime_node *node, const char *type)
{
    struct mime_others *others = others_of(mime, node);
    for (uint32_t i = 0; i < others->n_types; i++) {
        if (strcmp(others->types[i], type) == 0)
            return;
    }
    if (others->n_types < MIME_OTHERS_MAX)
        others->types[others->n_types++] = type;
    else
        mime_defect_add(mime, node, MIME_DEFECT_TOO_MANY_PARAMETERS, NULL);
}

static enum mime_encoding encoding_named(const char *name)
{
    struct mime_part part = {.encoding = name};
    return mime_encoding_of(&part);
}

/* Whether content is decoded alike under both. */
static bool is_same_encoding(const char *a, const char *b)
{
    enum mime_encoding x = encoding_named(a), y = encoding_named(b);
    x = x == MIME_ENCODING_UNKNOWN ? MIME_ENCODING_IDENTITY : x;
    y = y == MIME_ENCODING_UNKNOWN ? MIME_ENCODING_IDENTITY : y;
    return x == y;
}

void mime_other_add_encoding(struct mime *mime, struct mime_node *node, const char *encoding)
{
    struct mime_others *others = others_of(mime, node);
    for (uint32_t i = 0; i < others->n_encodings; i++) {
        if (is_same_encoding(others->encodings[i], encoding))
            return;
    }
    if (others->n_encodings < MIME_OTHERS_MAX) /* there are no more kinds */
        others->encodings[others->n_encodings++] = encoding;
}

void mime_other_set_content(struct mime *mime, struct mime_node *node, const char *start)
{
    struct mime_others *others = others_of(mime, node);
    if (others->content == NULL)
        others->content = start;
}

void mime_other_set_leaf(struct mime *mime, struct mime_node *node, const struct mime_part *leaf)
{
    others_of(mime, node)->leaf = leaf;
}

/* A leaf below node with what it is itself, to be changed. NULL: too many parts. */
static struct mime_node *append(
    struct mime *mime, struct mime_found *found, struct mime_node *node, const struct mime_part *as)
{
    if (found->n >= (uint32_t)mime->conf->worker.max_parts) {
        mime_defect_add(mime, NULL, MIME_DEFECT_TOO_MANY_PARTS, NULL);
        return NULL;
    }
    struct mime_node *leaf = arena_calloc(mime->arena, 1, sizeof(*leaf));
    leaf->part = *as;
    leaf->part.is_container = false;
    leaf->part.depth = node->part.depth + 1;
    leaf->defects = node->defects;
    leaf->is_second = true;
    mime_child_append(node, leaf);
    mime_found_append(found, leaf);
    return leaf;
}

static void append_types(struct mime *mime, struct mime_found *found, struct mime_node *node,
    const struct mime_others *others, const char *encoding)
{
    struct mime_part as = node->part;
    as.encoding = encoding;
    append(mime, found, node, &as);
    for (uint32_t i = 0; i < others->n_types; i++) {
        if (strcmp(others->types[i], node->part.type) == 0)
            continue;
        as.type = others->types[i];
        append(mime, found, node, &as);
    }
}

static void append_content(
    struct mime *mime, struct mime_found *found, struct mime_node *node, const char *start)
{
    struct mime_part as = node->part;
    const char *end = as.content.data + as.content.len;
    if (start < as.header.data || start >= end)
        return;
    as.header.len = (size_t)(start - as.header.data);
    as.content = slice_of(start, (size_t)(end - start));
    append(mime, found, node, &as);
}

static bool has_another(const struct mime_node *node)
{
    const struct mime_others *others = node->others;
    if (others == NULL || node->first_child != NULL)
        return false;
    bool is_other = others->content != NULL || others->leaf != NULL;
    for (uint32_t i = 0; i < others->n_types; i++)
        is_other = is_other || strcmp(others->types[i], node->part.type) != 0;
    for (uint32_t i = 0; i < others->n_encodings; i++)
        is_other = is_other || !is_same_encoding(others->encodings[i], node->part.encoding);
    return is_other;
}

void mime_others_list(struct mime *mime, struct mime_found *found, struct mime_node *node)
{
    if (!has_another(node))
        return;
    const struct mime_others *others = node->others;
    append_types(mime, found, node, others, node->part.encoding);
    for (uint32_t i = 0; i < others->n_encodings; i++) {
        if (!is_same_encoding(others->encodings[i], node->part.encoding))
            append_types(mime, found, node, others, others->encodings[i]);
    }
    if (others->content != NULL)
        append_content(mime, found, node, others->content);
    if (others->leaf != NULL)
        append(mime, found, node, others->leaf);
    node->part.is_container = node->first_child != NULL;
}
