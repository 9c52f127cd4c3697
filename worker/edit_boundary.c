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

/* Whether the added parts can stand between these boundaries. What is not encoded may have them in
 * it, and bytes over 127 need a container that says so (RFC 2045 section 6.4). */
static bool can_hold_added(const struct edit *edit, const struct mime_node *root)
{
    const struct slice boundary = root->boundaries[0];
    const bool is_8bit =
        strcmp(root->part.encoding, "8bit") == 0 || strcmp(root->part.encoding, "binary") == 0;
    for (const struct edit_piece *piece = edit->first_added; piece != NULL; piece = piece->next) {
        if (piece->is_8bit && !is_8bit)
            return false;
        if (piece->is_message &&
            memmem(piece->content.data, piece->content.len, boundary.data, boundary.len) != NULL)
            return false;
    }
    return true;
}

bool edit_can_insert(const struct edit *edit)
{
    const struct mime_node *root = edit->mime->root;
    const struct edit_asked *asked = edit_asked_of(edit, root);
    if (!root->is_multipart || root->first_child == NULL || !root->has_end ||
        root->n_boundaries != 1 || strcmp(root->part.type, "multipart/mixed") != 0 ||
        root->region.data != NULL || root->last_child->is_second ||
        !has_boundary_after(root->last_child))
        return false;
    if (asked != NULL || !can_hold_added(edit, root))
        return false;
    const struct slice boundary = root->boundaries[0];
    const char *at = boundary_after(root->last_child);
    const size_t left = (size_t)(edit_end_of(root->part.content) - at);
    return left >= boundary.len + 4 && memcmp(at, "--", 2) == 0 &&
           memcmp(at + 2, boundary.data, boundary.len) == 0 &&
           memcmp(at + 2 + boundary.len, "--", 2) == 0;
}

const struct mime_node *edit_added_before(
    const struct edit_work *work, const struct edit_piece *piece)
{
    const struct mime_node *root = work->edit->mime->root;
    uint32_t n = 0;
    if (work->boundary != NULL)
        return piece->position == 1 ? root : NULL;
    for (const struct mime_node *child = root->first_child; child != NULL; child = child->next) {
        if (!child->is_second && !edit_is_alias(child) && ++n == piece->position)
            return child;
    }
    return NULL;
}

static const char *line_end_of(const struct edit_work *work)
{
    return edit_line_end(&work->edit->mime->root->part);
}

static struct slice boundary_line(
    const struct edit_work *work, const char *before, struct slice boundary, const char *after)
{
    char *line = arena_printf(work->arena, "%s--%.*s%s%s", before, (int)boundary.len, boundary.data,
        after, line_end_of(work));
    return slice_text(line);
}

/* A boundary line, and the header of an added part with its end. */
static struct slice opening_of(const struct edit_work *work, const char *before,
    struct slice boundary, const struct edit_piece *piece)
{
    const struct slice line = boundary_line(work, before, boundary, "");
    const struct slice head = edit_join(line, piece->header, work->arena);
    return edit_join(head, slice_text(line_end_of(work)), work->arena);
}

/* The added parts that stand before others: at a boundary line, or, if root, where the content of
 * the message starts. */
static void insert_before(
    const struct edit_work *work, struct edit_region *region, struct slice boundary)
{
    const struct mime_node *root = work->edit->mime->root;
    const char *low = root->part.content.data;
    for (const struct edit_piece *piece = work->edit->first_added; piece != NULL;
         piece = piece->next) {
        const struct mime_node *node = edit_added_before(work, piece);
        if (node == NULL)
            continue;
        const char *at = node == root ? low : boundary_start(node, low);
        edit_region_put_front(
            work, region, at, opening_of(work, "", boundary, piece), piece->content);
        edit_region_put_front(work, region, at, slice_text(line_end_of(work)), slice_of("", 0));
    }
}

/* Those behind all others, at a place where a line starts. `before` is a line end for the first
 * when there is none. Returns how many there are. */
static uint32_t insert_behind(const struct edit_work *work, struct edit_region *region,
    const char *at, const char *before, struct slice boundary)
{
    uint32_t n = 0;
    for (const struct edit_piece *piece = work->edit->first_added; piece != NULL;
         piece = piece->next) {
        if (edit_added_before(work, piece) != NULL)
            continue;
        edit_region_add(
            work, region, at, at, opening_of(work, before, boundary, piece), piece->content);
        before = line_end_of(work);
        n++;
    }
    return n;
}

void edit_insert_inside(const struct edit_work *work, struct edit_region *region)
{
    const struct mime_node *root = work->edit->mime->root;
    const char *at = boundary_after(root->last_child);
    insert_before(work, region, root->boundaries[0]);
    if (insert_behind(work, region, at, "", root->boundaries[0]) > 0)
        edit_region_add(work, region, at, at, slice_text(line_end_of(work)), slice_of("", 0));
}

/* The content fields of the message with a multipart around what it was. */
static struct slice wrapped_fields(const struct edit_work *work)
{
    const char *type =
        arena_printf(work->arena, "multipart/mixed; boundary=\"%s\"", work->boundary);
    const struct slice fields =
        edit_field_line(slice_text("Content-Type"), slice_text(type), "\r\n", work->arena);
    for (const struct edit_piece *piece = work->edit->first_added; piece != NULL;
         piece = piece->next) {
        if (piece->is_8bit)
            return edit_join(fields,
                edit_field_line(slice_text("Content-Transfer-Encoding"), slice_text("8bit"), "\r\n",
                    work->arena),
                work->arena);
    }
    return fields;
}

void edit_wrap(struct edit_work *work, struct edit_region *region)
{
    const struct slice content = work->edit->mime->root->part.content;
    const char *line_end = line_end_of(work);
    const struct slice boundary = slice_text(work->boundary);
    struct slice head = boundary_line(work, "", boundary, "");
    head = edit_join(head, edit_header_pick(work->top, true, work->arena), work->arena);
    insert_before(work, region, boundary);
    edit_region_put_front(work, region, content.data, head, slice_text(line_end));
    insert_behind(work, region, edit_end_of(content), line_end, boundary);
    const struct slice end = boundary_line(work, line_end, boundary, "--");
    edit_region_add(work, region, edit_end_of(content), edit_end_of(content), end, slice_of("", 0));
    work->top = wrapped_fields(work);
}
