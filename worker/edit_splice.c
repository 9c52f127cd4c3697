/*
 * From what becomes of each part to byte spans. Each region (the message, and the decoded content
 * of a part that holds others against the rules) has its own list; a region that changed is encoded
 * again and so becomes one span of the region around it. The walk goes as deep as parts are nested
 * (worker.max_depth).
 */
#include "worker/edit_impl.h"

/* ---- what stands in a part's place ---- */

static const struct edit_shape *shape_of(const struct edit_work *work, const struct mime_node *node)
{
    return &work->shapes[node->part.number];
}

/* The header of the part that stands in node's place, without what node's own keeps. */
static struct slice fields_of(
    const struct edit_work *work, const struct mime_node *node, const struct mime_node *place)
{
    const char *line_end = edit_line_end(&place->part);
    if (shape_of(work, node)->kind == EDIT_NEW)
        return shape_of(work, node)->piece.header;
    const struct edit_asked *asked = edit_asked_of(work->edit, node);
    struct slice block = node->part.header;
    if (node->parent == NULL)
        block = edit_top_fields(work->edit->job, work->arena);
    block = edit_header_apply(block, asked, line_end, work->arena);
    if (node != place && edit_is_in_digest(node) && !edit_header_has(block, "content-type"))
        block = edit_join(edit_field_line(slice_text("Content-Type"), slice_text("message/rfc822"),
                              line_end, work->arena),
            block, work->arena);
    return block;
}

/* Of a multipart that gives way to its last child: parts that go, and that only the second reading
 * sees, may lie within that one. */
static void cut_within(
    const struct edit_work *work, struct edit_region *region, const struct mime_node *node)
{
    for (; shape_of(work, node)->kind == EDIT_LIFT; node = shape_of(work, node)->lifted) {
        const struct mime_node *child = node->first_child;
        for (; child != NULL; child = child->next) {
            if (child->is_second && shape_of(work, child)->kind == EDIT_GONE)
                edit_cut_part(work, region, child, child);
        }
    }
}

static void walk_content(
    struct edit_work *work, struct edit_region *region, const struct mime_node *node);

/* Another header, and the content of `from`, for a part that is no top part. */
static void walk_other(struct edit_work *work, struct edit_region *region,
    const struct mime_node *node, const struct mime_node *from)
{
    const char *line_end = edit_line_end(&node->part);
    const struct slice none = slice_of("", 0);
    struct slice fields = fields_of(work, from, node);
    const bool is_as_received = fields.data == from->part.header.data;
    const bool is_root = edit_is_message_root(node);
    if (from != node && is_as_received && !is_root) {
        edit_region_cut(work, region, node->part.header.data, from->part.header.data);
    } else if (from != node || !is_as_received) {
        if (is_root && (from != node || shape_of(work, from)->kind == EDIT_NEW))
            fields = edit_join(edit_header_pick(node->part.header, false, work->arena),
                edit_header_pick(fields, true, work->arena), work->arena);
        fields = edit_join(fields, slice_text(line_end), work->arena);
        edit_region_add(
            work, region, node->part.header.data, from->part.content.data, fields, none);
    }
    if (shape_of(work, from)->kind == EDIT_NEW)
        edit_region_add(work, region, from->part.content.data, edit_end_of(from->part.content),
            shape_of(work, from)->piece.content, edit_missing_line_end(node));
    else
        walk_content(work, region, from);
    if (from != node)
        edit_region_cut(
            work, region, edit_end_of(from->part.content), edit_end_of(node->part.content));
    cut_within(work, region, node);
}

static void walk_children(
    struct edit_work *work, struct edit_region *region, const struct mime_node *node)
{
    const struct mime_node *first_gone = NULL;
    for (const struct mime_node *child = node->first_child; child != NULL; child = child->next) {
        const bool is_gone = shape_of(work, child)->kind == EDIT_GONE;
        if (edit_is_alias(child) || child->is_carried)
            continue;
        if (!is_gone)
            walk_other(work, region, child, edit_resolve(work->shapes, child));
        first_gone = !is_gone ? NULL : first_gone == NULL ? child : first_gone;
        if (is_gone)
            edit_cut_part(work, region, child, first_gone);
    }
}

/* Content that holds others and is encoded: what changed in it is encoded again. */
static void walk_decoded(
    struct edit_work *work, struct edit_region *region, const struct mime_node *node)
{
    struct edit_region *inside = edit_region_new(work, node->region);
    struct buf out;
    if (node->is_multipart) /* its own header stands in front, and is no content */
        walk_content(work, inside, node->first_child);
    else
        walk_children(work, inside, node);
    if (inside->n == 0)
        return;
    edit_region_settle(inside);
    work->shapes[node->part.number].inside = inside;
    buf_init(&out, ACTION_BODY_MAX);
    if (edit_region_put(inside, inside->bytes.data + node->region_front, &out) != 0)
        work->failure = "decoded content cannot be written anew";
    const char *line_end = edit_line_end(&node->part);
    const struct slice bytes = buf_slice(&out);
    const bool is_base64 = mime_encoding_of(&node->part) == MIME_ENCODING_BASE64;
    edit_region_add(work, region, node->part.content.data, edit_end_of(node->part.content),
        is_base64 ? edit_base64(bytes, line_end, work->arena)
                  : edit_quoted(bytes, true, line_end, work->arena),
        edit_missing_line_end(node));
    buf_clear(&out);
}

/* New content for a part whose header stays. One that ended without an empty line gets it now. */
static void put_content(const struct edit_work *work, struct edit_region *region,
    const struct mime_node *node, struct slice content)
{
    const struct slice old = node->part.content;
    const bool is_unended = node->parent != NULL && old.data == edit_end_of(node->part.header);
    const struct slice line_end = slice_text(is_unended ? edit_line_end(&node->part) : "");
    edit_region_add(work, region, old.data, old.data, line_end, slice_of("", 0));
    edit_region_add(work, region, old.data, edit_end_of(old), content, edit_missing_line_end(node));
}

static void walk_content(
    struct edit_work *work, struct edit_region *region, const struct mime_node *node)
{
    const struct edit_asked *asked = edit_asked_of(work->edit, node);
    if (asked != NULL && asked->has_content)
        put_content(work, region, node, asked->content);
    else if (node->region.data != NULL)
        walk_decoded(work, region, node);
    else
        walk_children(work, region, node);
}

/* ---- the message ---- */

static void walk_top(struct edit_work *work, struct edit_region *region)
{
    const struct mime_node *root = work->edit->mime->root;
    const struct mime_node *from = edit_resolve(work->shapes, root);
    const struct slice content = root->part.content;
    work->top = work->fields = fields_of(work, from, root);
    if (from != root)
        edit_region_cut(work, region, content.data, from->part.content.data);
    if (shape_of(work, from)->kind == EDIT_NEW)
        edit_region_add(work, region, from->part.content.data, edit_end_of(from->part.content),
            shape_of(work, from)->piece.content, slice_of("", 0));
    else
        walk_content(work, region, from);
    if (from != root)
        edit_region_cut(work, region, edit_end_of(from->part.content), edit_end_of(content));
    cut_within(work, region, root);
}

struct edit_region *edit_splices_make(struct edit_work *work)
{
    const struct mime_node *root = work->edit->mime->root;
    struct edit_region *region = edit_region_new(work, work->edit->mime->message);
    walk_top(work, region);
    if (work->boundary != NULL)
        edit_wrap(work, region);
    else if (work->is_inside && shape_of(work, root)->kind == EDIT_KEEP)
        edit_insert_inside(work, region);
    edit_region_settle(region);
    return region;
}
