/*
 * Two readings of one region made one tree: a part of the second reading that starts where none of
 * the first does is added, and a part that is a container in one and a leaf in the other is listed
 * as both.
 */
#include "worker/mime_impl.h"

#include <stdlib.h>

void mime_child_append(struct mime_node *parent, struct mime_node *node)
{
    node->parent = parent;
    node->next = NULL;
    if (parent == NULL)
        return;
    if (parent->last_child != NULL)
        parent->last_child->next = node;
    else
        parent->first_child = node;
    parent->last_child = node;
}

void mime_found_append(struct mime_found *found, struct mime_node *node)
{
    if (found->last != NULL)
        found->last->all_next = node;
    else
        found->first = node;
    found->last = node;
    found->n++;
}

struct known {
    const char *start;
    struct mime_node *node;
};

static int by_start(const void *a, const void *b)
{
    const struct known *x = a, *y = b;
    return x->start < y->start ? -1 : x->start > y->start;
}

static struct known *index_nodes(struct arena *arena, const struct mime_found *found)
{
    struct known *known = arena_calloc(arena, found->n, sizeof(*known));
    uint32_t n = 0;
    for (struct mime_node *node = found->first; node != NULL; node = node->all_next)
        known[n++] = (struct known){node->part.header.data, node};
    qsort(known, n, sizeof(*known), by_start);
    return known;
}

/* A leaf child with the whole content of node: how a reader sees it that does not take node for a
 * container. */
static void add_leaf_reading(
    struct mime *mime, struct mime_found *found, struct mime_node *node, const char *type)
{
    struct mime_node *leaf = arena_calloc(mime->arena, 1, sizeof(*leaf));
    leaf->part = node->part;
    leaf->part.is_container = false;
    leaf->part.type = type;
    leaf->part.depth = node->part.depth + 1;
    leaf->defects = node->defects;
    leaf->is_second = true;
    leaf->others = node->others;
    mime_child_append(node, leaf);
    mime_found_append(found, leaf);
}

static bool has_name(const struct mime_part *part, const char *name)
{
    for (uint32_t i = 0; i < part->n_filenames; i++) {
        if (strcmp(part->filenames[i], name) == 0)
            return true;
    }
    return false;
}

/* Names that only the other reading of the header has. */
static void take_names(struct mime *mime, struct mime_part *into, const struct mime_part *other)
{
    uint32_t n = into->n_filenames;
    const char **names = NULL;
    into->lacks_names = into->lacks_names || other->lacks_names;
    for (uint32_t i = 0; i < other->n_filenames; i++) {
        if (has_name(into, other->filenames[i]))
            continue;
        if (names == NULL) {
            names = arena_calloc(mime->arena, n + other->n_filenames, sizeof(*names));
            if (n > 0)
                memcpy(names, into->filenames, n * sizeof(*names));
        }
        names[n++] = other->filenames[i];
    }
    if (names == NULL)
        return;
    into->filenames = names;
    into->n_filenames = n;
    into->filename = names[0];
}

/* What the other reading of a leaf's header says of it. Where its header is longer, its content is
 * within ours, and of interest only as something else. */
static void take_others(struct mime *mime, struct mime_node *into, const struct mime_node *other)
{
    bool is_other = strcmp(into->part.type, other->part.type) != 0 ||
                    strcmp(into->part.encoding, other->part.encoding) != 0;
    if (other->part.content.len > 0 &&
        (is_other || other->part.content.data < into->part.content.data))
        mime_other_set_leaf(mime, into, &other->part);
}

static void take_over(struct mime *mime, struct mime_found *found, struct mime_node *into,
    const struct mime_node *other)
{
    take_names(mime, &into->part, &other->part);
    if (into->first_child == NULL && other->first_child == NULL)
        take_others(mime, into, other);
    if (into->part.is_container && other->other_type != NULL) {
        add_leaf_reading(mime, found, into, other->other_type);
    } else if (!into->part.is_container && other->part.is_container && other->first_child != NULL) {
        add_leaf_reading(mime, found, into, into->part.type);
        into->part.is_container = true;
        into->is_multipart = other->is_multipart;
        into->is_message = other->is_message;
        into->has_end = other->has_end;
        if (other->is_multipart && strncmp(into->part.type, "multipart/", 10) != 0)
            into->part.type = "multipart/mixed";
    }
}

static bool may_adopt(struct mime *mime, const struct mime_found *found)
{
    if (found->n + mime->n_parts < (uint32_t)mime->conf->worker.max_parts)
        return true;
    mime_defect_add(mime, NULL, MIME_DEFECT_TOO_MANY_PARTS, NULL);
    return false;
}

/* Parents come before children; a node's list of children is free for use once it has been taken
 * over. */
void mime_readings_merge(struct mime *mime, struct mime_found *first, struct mime_found *second)
{
    uint32_t n = first->n;
    struct known *known = index_nodes(mime->arena, first);
    struct mime_node *next;
    for (struct mime_node *node = second->first; node != NULL; node = next) {
        next = node->all_next;
        node->all_next = NULL;
        struct known key = {node->part.header.data, NULL};
        struct known *same = bsearch(&key, known, n, sizeof(*known), by_start);
        struct mime_node *parent = node->parent != NULL ? node->parent->same : NULL;
        if (same != NULL) {
            take_over(mime, first, same->node, node);
            node->same = same->node;
            continue;
        }
        if (!may_adopt(mime, first))
            return;
        node->first_child = node->last_child = NULL;
        node->same = node;
        node->is_second = true;
        node->part.depth = parent != NULL ? parent->part.depth + 1 : 0;
        mime_child_append(parent, node);
        mime_found_append(first, node);
    }
}
