/*
 * What becomes of each part: bottom up, since what becomes of a multipart depends on how many of
 * its children are left.
 */
#include "worker/edit_impl.h"

#include <stdlib.h>

struct shaper {
    const struct edit *edit;
    struct edit_shape *shapes;
    struct arena *arena;
    bool is_inside, keeps_multiparts;
};

bool edit_is_message_root(const struct mime_node *node)
{
    const struct mime_node *parent = node->parent;
    return parent == NULL || node->part.header.data == parent->part.content.data ||
           node->part.header.data == parent->region.data;
}

static struct edit_shape *shape_of(const struct shaper *shaper, const struct mime_node *node)
{
    return &shaper->shapes[node->part.number];
}

static struct edit_piece text_piece(
    const struct shaper *shaper, const struct mime_node *node, struct slice text)
{
    return edit_text_piece(text, edit_line_end(&node->part), shaper->arena);
}

/* ---- what was asked for it ---- */

static void shape_dropped(
    const struct shaper *shaper, const struct mime_node *node, struct slice warning)
{
    struct edit_shape *shape = shape_of(shaper, node);
    shape->kind = EDIT_GONE;
    if (warning.data == NULL && !edit_is_message_root(node))
        return;
    shape->kind = EDIT_NEW; /* a message has content, be it none */
    shape->piece = text_piece(shaper, node, warning);
}

/* The part under the header that it gets; its bytes may be those of before. */
static void shape_new(const struct shaper *shaper, const struct mime_node *node)
{
    const struct edit_asked *asked = edit_asked_of(shaper->edit, node);
    struct edit_shape *shape = shape_of(shaper, node);
    struct slice block = node->part.header;
    if (node->parent == NULL)
        block = edit_top_fields(shaper->edit->job, shaper->arena);
    else if (edit_is_message_root(node))
        block = edit_header_pick(block, true, shaper->arena);
    shape->kind = EDIT_NEW;
    shape->piece.header =
        edit_header_apply(block, asked, edit_line_end(&node->part), shaper->arena);
    shape->piece.content = asked->has_content ? asked->content : node->part.content;
}

/* ---- what is left of a multipart ---- */

static int by_start(const void *a, const void *b)
{
    const struct mime_node *x = *(const struct mime_node *const *)a;
    const struct mime_node *y = *(const struct mime_node *const *)b;
    return x->part.header.data < y->part.header.data ? -1
                                                     : x->part.header.data > y->part.header.data;
}

/* The children that go, by where they start. */
struct gone {
    const struct mime_node **items;
    uint32_t n;
};

static struct gone list_gone(const struct shaper *shaper, const struct mime_node *node)
{
    struct gone gone = {NULL, 0};
    uint32_t n = 0;
    for (const struct mime_node *child = node->first_child; child != NULL; child = child->next)
        n += shape_of(shaper, child)->kind == EDIT_GONE;
    if (n == 0)
        return gone;
    gone.items = arena_calloc(shaper->arena, n, sizeof(*gone.items));
    for (const struct mime_node *child = node->first_child; child != NULL; child = child->next) {
        if (shape_of(shaper, child)->kind == EDIT_GONE)
            gone.items[gone.n++] = child;
    }
    qsort(gone.items, gone.n, sizeof(*gone.items), by_start);
    return gone;
}

/* Whether the bytes of a part that only the second reading sees go with one that goes. */
static bool is_swallowed(const struct gone *gone, const struct mime_node *node)
{
    const char *at = node->part.header.data;
    uint32_t low = 0, high = gone->n;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (gone->items[middle]->part.header.data <= at)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return false;
    const struct slice content = gone->items[low - 1]->part.content;
    return at < content.data + content.len;
}

static void shape_emptied(const struct shaper *shaper, const struct mime_node *node)
{
    struct edit_shape *shape = shape_of(shaper, node);
    const bool is_top = shaper->is_inside && node->parent == NULL;
    const uint32_t n_added = is_top ? shaper->edit->n_added : 0;
    if (n_added > 1)
        return;
    shape->kind = EDIT_NEW;
    shape->piece =
        n_added == 1 ? *shaper->edit->first_added : text_piece(shaper, node, slice_of("", 0));
}

static void shape_multipart(const struct shaper *shaper, struct mime_node *node)
{
    const struct gone gone = list_gone(shaper, node);
    const bool is_top = shaper->is_inside && node->parent == NULL;
    uint32_t n_left = 0;
    struct mime_node *last = NULL;
    if (gone.n == 0)
        return;
    for (struct mime_node *child = node->first_child; child != NULL; child = child->next) {
        if (shape_of(shaper, child)->kind == EDIT_GONE || edit_is_alias(child) ||
            (child->is_second && is_swallowed(&gone, child)))
            continue;
        n_left++;
        last = child;
    }
    if (n_left == 0) {
        shape_emptied(shaper, node);
    } else if (n_left == 1 && !shaper->keeps_multiparts && !(is_top && shaper->edit->n_added > 0)) {
        shape_of(shaper, node)->kind = EDIT_LIFT;
        shape_of(shaper, node)->lifted = last;
    }
}

/*
 * A multipart with a transfer encoding, against the rules: the multipart itself was read again out
 * of its decoded content. What takes the place of that takes the place of both.
 */
static void shape_encoded_multipart(const struct shaper *shaper, struct mime_node *node)
{
    struct edit_shape *shape = shape_of(shaper, node);
    const struct mime_node *inner = edit_resolve(shaper->shapes, node->first_child);
    const struct edit_shape *of_inner = shape_of(shaper, inner);
    if (inner == node->first_child && of_inner->kind == EDIT_KEEP)
        return;
    shape->kind = EDIT_NEW;
    shape->piece = of_inner->piece;
    if (of_inner->kind == EDIT_NEW)
        return;
    const struct edit_asked *asked = edit_asked_of(shaper->edit, inner);
    shape->piece.header =
        edit_header_apply(inner->part.header, asked, edit_line_end(&node->part), shaper->arena);
    shape->piece.content =
        asked != NULL && asked->has_content ? asked->content : inner->part.content;
}

static void shape_node(const struct shaper *shaper, struct mime_node *node)
{
    const struct edit_asked *asked = edit_asked_of(shaper->edit, node);
    if (asked != NULL && asked->is_dropped)
        shape_dropped(shaper, node, asked->warning);
    else if (asked != NULL && (asked->is_new || (asked->is_defanged && node->part.is_container)))
        shape_new(shaper, node);
    else if (node->region.data != NULL && node->is_multipart && node->first_child != NULL)
        shape_encoded_multipart(shaper, node);
    else if (node->is_multipart)
        shape_multipart(shaper, node);
}

struct edit_shape *edit_shapes_make(
    const struct edit *edit, bool is_inside, bool keeps_multiparts, struct arena *arena)
{
    struct shaper shaper = {
        .edit = edit, .arena = arena, .is_inside = is_inside, .keeps_multiparts = keeps_multiparts};
    shaper.shapes = arena_calloc(arena, edit->mime->n_parts, sizeof(*shaper.shapes));
    for (uint32_t i = edit->mime->n_parts; i-- > 0;) {
        if (!edit_is_alias(edit->mime->nodes[i]))
            shape_node(&shaper, edit->mime->nodes[i]);
    }
    return shaper.shapes;
}

const struct mime_node *edit_resolve(const struct edit_shape *shapes, const struct mime_node *node)
{
    while (shapes[node->part.number].kind == EDIT_LIFT)
        node = shapes[node->part.number].lifted;
    return node;
}
