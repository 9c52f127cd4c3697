/*
 * Boundary lines: the one before a part and the one that follows it, where a part is taken out with
 * them, and where parts are added behind new ones.
 */
#include "worker/edit_impl.h"

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
    return edit_end_of(node->part.content) < edit_end_of(node->parent->part.content);
}

static const char *boundary_after(const struct mime_node *node)
{
    const char *end = edit_end_of(node->part.content);
    return end + line_end_at(end, edit_end_of(node->parent->part.content));
}

struct slice edit_missing_line_end(const struct mime_node *node)
{
    if (node->parent == NULL || edit_is_message_root(node) || !has_boundary_after(node))
        return slice_of("", 0);
    const char *end = edit_end_of(node->part.content);
    const bool has = line_end_at(end, edit_end_of(node->parent->part.content)) > 0;
    return slice_text(has ? "" : edit_line_end(&node->part));
}

void edit_cut_part(const struct edit_work *work, struct edit_region *region,
    const struct mime_node *node, const struct mime_node *first_gone)
{
    const char *low = node->parent->part.content.data;
    if (has_boundary_after(node)) {
        edit_region_cut(work, region, boundary_start(node, low), boundary_after(node));
        return;
    }
    const char *start = boundary_start(first_gone, low);
    if (start > low && start[-1] == '\n')
        start--;
    if (start > low && start[-1] == '\r')
        start--;
    edit_region_cut(work, region, start, edit_end_of(node->part.content));
}

/* ---- parts that are added ---- */

bool edit_can_insert(const struct edit *edit)
{
    const struct mime_node *root = edit->mime->root;
    const struct edit_asked *asked = edit_asked_of(edit, root);
    if (!root->is_multipart || root->first_child == NULL || !root->has_end ||
        root->n_boundaries != 1 || strcmp(root->part.type, "multipart/mixed") != 0 ||
        root->region.data != NULL || root->last_child->is_second ||
        !has_boundary_after(root->last_child))
        return false;
    if (asked != NULL)
        return false;
    const struct slice boundary = root->boundaries[0];
    const char *at = boundary_after(root->last_child);
    const size_t left = (size_t)(edit_end_of(root->part.content) - at);
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
        edit_region_add(work, region, at, at, head, piece->content);
        before = line_end.data;
    }
}

void edit_insert_inside(const struct edit_work *work, struct edit_region *region)
{
    const struct mime_node *root = work->edit->mime->root;
    const char *at = boundary_after(root->last_child);
    insert_added(work, region, at, "", root->boundaries[0]);
    edit_region_add(work, region, at, at, slice_text(edit_line_end(&root->part)), slice_of("", 0));
}

void edit_wrap(struct edit_work *work, struct edit_region *region)
{
    const struct slice content = work->edit->mime->root->part.content;
    const char *line_end = edit_line_end(&work->edit->mime->root->part);
    const struct slice boundary = slice_text(work->boundary);
    struct slice head = boundary_line(work, "", boundary, "");
    head = edit_join(head, edit_header_pick(work->top, true, work->arena), work->arena);
    edit_region_add(work, region, content.data, content.data, head, slice_text(line_end));
    region->items[region->n - 1].order = 0; /* before what else starts there */
    insert_added(work, region, edit_end_of(content), line_end, boundary);
    const struct slice end = boundary_line(work, line_end, boundary, "--");
    edit_region_add(work, region, edit_end_of(content), edit_end_of(content), end, slice_of("", 0));
    const struct slice type =
        slice_text(arena_printf(work->arena, "multipart/mixed; boundary=\"%s\"", work->boundary));
    work->top = edit_field_line(slice_text("Content-Type"), type, "\r\n", work->arena);
}
