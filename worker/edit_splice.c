/*
 * From what becomes of each part to byte spans. Each region (the message, and the decoded content
 * of a part that holds others against the rules) has its own list; a region that changed is encoded
 * again and so becomes one span of the region around it. The walk goes as deep as parts are nested
 * (worker.max_depth).
 */
#include "worker/edit_impl.h"

#include <stdlib.h>

#include "common/err.h"

static const char *end_of(struct slice s)
{
    return s.data + s.len;
}

/* ---- regions ---- */

static struct edit_region *region_new(const struct edit_work *work, struct slice bytes)
{
    struct edit_region *region = arena_calloc(work->arena, 1, sizeof(*region));
    region->bytes = bytes;
    return region;
}

static void add_span(const struct edit_work *work, struct edit_region *region, const char *start,
    const char *end, struct slice first, struct slice second)
{
    if (start == end && first.len + second.len == 0)
        return;
    if (region->n == region->cap) {
        const uint32_t cap = region->cap == 0 ? 8 : region->cap * 2;
        struct edit_splice *grown = arena_calloc(work->arena, cap, sizeof(*grown));
        if (region->n > 0)
            memcpy(grown, region->items, region->n * sizeof(*grown));
        region->items = grown;
        region->cap = cap;
    }
    region->items[region->n] = (struct edit_splice){start, end, first, second, region->n + 1};
    region->n++;
}

static void cut(
    const struct edit_work *work, struct edit_region *region, const char *start, const char *end)
{
    add_span(work, region, start, end, slice_of("", 0), slice_of("", 0));
}

static int by_start(const void *a, const void *b)
{
    const struct edit_splice *x = a, *y = b;
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* In order, and none overlaps another: where two readings of the mail made spans that do, all bytes
 * go that one of them takes out. */
static void settle(struct edit_region *region)
{
    uint32_t kept = 0;
    if (region->n > 1)
        qsort(region->items, region->n, sizeof(*region->items), by_start);
    for (uint32_t i = 0; i < region->n; i++) {
        struct edit_splice *last = kept > 0 ? &region->items[kept - 1] : NULL;
        const struct edit_splice *item = &region->items[i];
        if (last == NULL || item->start >= last->end)
            region->items[kept++] = *item;
        else if (item->end > last->end)
            last->end = item->end;
    }
    region->n = kept;
}

static int put_slice(struct buf *out, struct slice s)
{
    return s.len > 0 ? buf_put(out, s.data, s.len) : 0;
}

int edit_region_put(const struct edit_region *region, const char *from, struct buf *out)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < region->n; i++) {
        const struct edit_splice *item = &region->items[i];
        if (item->start < from)
            return -ERR_BAD;
        rc = put_slice(out, slice_of(from, (size_t)(item->start - from)));
        rc = rc != 0 ? rc : put_slice(out, item->first);
        rc = rc != 0 ? rc : put_slice(out, item->second);
        from = item->end;
    }
    return rc != 0 ? rc : put_slice(out, slice_of(from, (size_t)(end_of(region->bytes) - from)));
}

bool edit_region_touches(const struct edit_region *region, const char *start, const char *end)
{
    uint32_t low = 0, high = region->n;
    while (low < high) { /* the first that ends behind start */
        const uint32_t middle = (low + high) / 2;
        if (region->items[middle].end > start)
            high = middle;
        else
            low = middle + 1;
    }
    return low < region->n && region->items[low].start < end;
}

/* ---- where a part and its boundary are ---- */

static size_t line_end_at(const char *at, const char *end)
{
    if (at + 1 < end && at[0] == '\r' && at[1] == '\n')
        return 2;
    return at < end && (at[0] == '\r' || at[0] == '\n') ? 1 : 0;
}

/* The boundary line before the part: it ends where the header starts. */
static const char *boundary_start(const struct mime_node *node, const char *low)
{
    const char *end = node->part.header.data;
    if (end <= low)
        return end;
    if (end > low && end[-1] == '\n')
        end--;
    while (end > low && end[-1] == '\r')
        end--;
    const char *lf = memrchr(low, '\n', (size_t)(end - low));
    const char *start = lf != NULL ? lf + 1 : low;
    const char *cr = memrchr(start, '\r', (size_t)(end - start)); /* ends a line in the second
                                                                     reading */
    return node->is_second && cr != NULL ? cr + 1 : start;
}

/* A boundary line follows the part within its multipart. */
static bool has_boundary_after(const struct mime_node *node)
{
    return end_of(node->part.content) < end_of(node->parent->part.content);
}

static const char *boundary_after(const struct mime_node *node)
{
    const char *end = end_of(node->part.content);
    return end + line_end_at(end, end_of(node->parent->part.content));
}

/* A part whose end is not the end of a line: what comes in its place needs one before the boundary
 * that follows. */
static struct slice missing_line_end(const struct mime_node *node)
{
    if (node->parent == NULL || edit_is_message_root(node) || !has_boundary_after(node))
        return slice_of("", 0);
    const char *end = end_of(node->part.content);
    const bool has = line_end_at(end, end_of(node->parent->part.content)) > 0;
    return slice_text(has ? "" : edit_line_end(&node->part));
}

/*
 * Takes a part out with the boundary line before it. The last one, when no boundary follows, goes
 * with the line end before its boundary line too, which is the boundary's and not the content's of
 * the part before; so does the whole run of parts that end there (first_gone).
 */
static void cut_part(const struct edit_work *work, struct edit_region *region,
    const struct mime_node *node, const struct mime_node *first_gone)
{
    const char *low = node->parent->part.content.data;
    if (has_boundary_after(node)) {
        cut(work, region, boundary_start(node, low), boundary_after(node));
        return;
    }
    const char *start = boundary_start(first_gone, low);
    if (start > low && start[-1] == '\n')
        start--;
    if (start > low && start[-1] == '\r')
        start--;
    cut(work, region, start, end_of(node->part.content));
}

/* ---- what stands in a part's place ---- */

static const struct edit_shape *shape_of(const struct edit_work *work, const struct mime_node *node)
{
    return &work->shapes[node->part.number];
}

static bool is_in_digest(const struct mime_node *node)
{
    return node->parent != NULL && strcmp(node->parent->part.type, "multipart/digest") == 0;
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
    if (node != place && is_in_digest(node) && !edit_header_has(block, "content-type"))
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
                cut_part(work, region, child, child);
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
        cut(work, region, node->part.header.data, from->part.header.data);
    } else if (from != node || !is_as_received) {
        if (is_root && (from != node || shape_of(work, from)->kind == EDIT_NEW))
            fields = edit_join(edit_header_pick(node->part.header, false, work->arena),
                edit_header_pick(fields, true, work->arena), work->arena);
        fields = edit_join(fields, slice_text(line_end), work->arena);
        add_span(work, region, node->part.header.data, from->part.content.data, fields, none);
    }
    if (shape_of(work, from)->kind == EDIT_NEW)
        add_span(work, region, from->part.content.data, end_of(from->part.content),
            shape_of(work, from)->piece.content, missing_line_end(node));
    else
        walk_content(work, region, from);
    if (from != node)
        cut(work, region, end_of(from->part.content), end_of(node->part.content));
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
            cut_part(work, region, child, first_gone);
    }
}

/* Content that holds others and is encoded: what changed in it is encoded again. */
static void walk_decoded(
    struct edit_work *work, struct edit_region *region, const struct mime_node *node)
{
    struct edit_region *inside = region_new(work, node->region);
    struct buf out;
    if (node->is_multipart) /* its own header stands in front, and is no content */
        walk_content(work, inside, node->first_child);
    else
        walk_children(work, inside, node);
    if (inside->n == 0)
        return;
    settle(inside);
    work->shapes[node->part.number].inside = inside;
    buf_init(&out, ACTION_BODY_MAX);
    if (edit_region_put(inside, inside->bytes.data + node->region_front, &out) != 0)
        work->failure = "decoded content cannot be written anew";
    const char *line_end = edit_line_end(&node->part);
    const struct slice bytes = buf_slice(&out);
    const bool is_base64 = mime_encoding_of(&node->part) == MIME_ENCODING_BASE64;
    add_span(work, region, node->part.content.data, end_of(node->part.content),
        is_base64 ? edit_base64(bytes, line_end, work->arena)
                  : edit_quoted(bytes, true, line_end, work->arena),
        missing_line_end(node));
    buf_clear(&out);
}

/* New content for a part whose header stays. One that ended without an empty line gets it now. */
static void put_content(const struct edit_work *work, struct edit_region *region,
    const struct mime_node *node, struct slice content)
{
    const struct slice old = node->part.content;
    const bool is_unended = node->parent != NULL && old.data == end_of(node->part.header);
    const struct slice line_end = slice_text(is_unended ? edit_line_end(&node->part) : "");
    add_span(work, region, old.data, old.data, line_end, slice_of("", 0));
    add_span(work, region, old.data, end_of(old), content, missing_line_end(node));
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

static const struct mime_node *last_child(const struct mime_node *node)
{
    return node->last_child;
}

bool edit_can_insert(const struct edit *edit)
{
    const struct mime_node *root = edit->mime->root;
    const struct edit_asked *asked = edit_asked_of(edit, root);
    if (!root->is_multipart || root->first_child == NULL || !root->has_end ||
        root->n_boundaries != 1 || strcmp(root->part.type, "multipart/mixed") != 0 ||
        root->region.data != NULL || last_child(root)->is_second ||
        !has_boundary_after(last_child(root)))
        return false;
    if (asked != NULL)
        return false;
    const struct slice boundary = root->boundaries[0];
    const char *at = boundary_after(last_child(root));
    const size_t left = (size_t)(end_of(root->part.content) - at);
    return left >= boundary.len + 4 && memcmp(at, "--", 2) == 0 &&
           memcmp(at + 2, boundary.data, boundary.len) == 0 &&
           memcmp(at + 2 + boundary.len, "--", 2) == 0;
}

static struct slice boundary_line(
    const struct edit_work *work, const char *before, struct slice boundary, const char *after)
{
    const char *line_end = edit_line_end(&work->edit->mime->root->part);
    char *line = arena_printf(
        work->arena, "%s--%.*s%s%s", before, (int)boundary.len, boundary.data, after, line_end);
    return slice_text(line);
}

/* The added parts at a place where a line starts, each behind a boundary line. `before` is a line
 * end for the first when there is none. */
static void insert_added(const struct edit_work *work, struct edit_region *region, const char *at,
    const char *before, struct slice boundary)
{
    const struct slice line_end = slice_text(edit_line_end(&work->edit->mime->root->part));
    for (const struct edit_piece *piece = work->edit->first_added; piece != NULL;
         piece = piece->next) {
        const struct slice line = boundary_line(work, before, boundary, "");
        struct slice head = edit_join(line, piece->header, work->arena);
        head = edit_join(head, line_end, work->arena);
        add_span(work, region, at, at, head, piece->content);
        before = line_end.data;
    }
}

static void insert_inside(const struct edit_work *work, struct edit_region *region)
{
    const struct mime_node *root = work->edit->mime->root;
    const char *at = boundary_after(last_child(root));
    insert_added(work, region, at, "", root->boundaries[0]);
    add_span(work, region, at, at, slice_text(edit_line_end(&root->part)), slice_of("", 0));
}

/* The message becomes a multipart/mixed, and what it was the first part of that. */
static void wrap(struct edit_work *work, struct edit_region *region)
{
    const struct slice content = work->edit->mime->root->part.content;
    const char *line_end = edit_line_end(&work->edit->mime->root->part);
    const struct slice boundary = slice_text(work->boundary);
    struct slice head = boundary_line(work, "", boundary, "");
    head = edit_join(head, edit_header_pick(work->top, true, work->arena), work->arena);
    add_span(work, region, content.data, content.data, head, slice_text(line_end));
    region->items[region->n - 1].order = 0; /* before what else starts there */
    insert_added(work, region, end_of(content), line_end, boundary);
    const struct slice end = boundary_line(work, line_end, boundary, "--");
    add_span(work, region, end_of(content), end_of(content), end, slice_of("", 0));
    const struct slice type =
        slice_text(arena_printf(work->arena, "multipart/mixed; boundary=\"%s\"", work->boundary));
    work->top = edit_field_line(slice_text("Content-Type"), type, "\r\n", work->arena);
}

static void walk_top(struct edit_work *work, struct edit_region *region)
{
    const struct mime_node *root = work->edit->mime->root;
    const struct mime_node *from = edit_resolve(work->shapes, root);
    const struct slice content = root->part.content;
    work->top = work->fields = fields_of(work, from, root);
    if (from != root)
        cut(work, region, content.data, from->part.content.data);
    if (shape_of(work, from)->kind == EDIT_NEW)
        add_span(work, region, from->part.content.data, end_of(from->part.content),
            shape_of(work, from)->piece.content, slice_of("", 0));
    else
        walk_content(work, region, from);
    if (from != root)
        cut(work, region, end_of(from->part.content), end_of(content));
    cut_within(work, region, root);
}

struct edit_region *edit_splices_make(struct edit_work *work)
{
    const struct mime_node *root = work->edit->mime->root;
    struct edit_region *region = region_new(work, work->edit->mime->message);
    walk_top(work, region);
    if (work->boundary != NULL)
        wrap(work, region);
    else if (work->is_inside && shape_of(work, root)->kind == EDIT_KEEP)
        insert_inside(work, region);
    settle(region);
    return region;
}
