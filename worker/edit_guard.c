/*
 * The integrity guard. The message that was rendered is read again, as any message is, and what is
 * found is compared with what must be there: parts that nobody touched by type and bytes, parts
 * that were changed or made by what was asked for, in the same order, and no other part. It trusts
 * nothing that the rendering found out about the result.
 */
#include "worker/edit_impl.h"

enum { OPTIONAL_MAX = 1000 };

/* A part that must be there. */
struct expected {
    const char *type;
    const char *path; /* as received; NULL: made */
    struct slice content;
    bool has_content; /* to be compared */
    bool is_container;
    bool is_either;   /* one or none, as further readings of its header have it */
    bool is_made;     /* what is in it is not looked at: it came from the filter, or is there by
                         another header, and the bytes are compared */
    bool is_optional; /* only the second reading saw it, or a change overlaps it */
    bool is_met;
};

struct guard {
    const struct edit_work *work;
    const struct edit_region *region;
    struct arena *arena;
    struct expected *items;
    uint32_t n;
    uint32_t n_moved; /* optional ones found out of order, OPTIONAL_MAX at most */
};

/* ---- what must be there ---- */

static void expect(struct guard *guard, struct expected expected)
{
    guard->items[guard->n++] = expected;
}

/* The type that a header says. */
static const char *type_of(const struct guard *guard, struct slice header)
{
    const struct slice entity = edit_join(header, slice_of("\r\n\r\n", 4), guard->arena);
    return mime_root(mime_new(entity, NULL, guard->work->edit->mime->conf, guard->arena))->type;
}

static void expect_made(
    struct guard *guard, struct slice header, struct slice content, bool is_either)
{
    expect(guard, (struct expected){.type = type_of(guard, header),
                      .content = content,
                      .has_content = true,
                      .is_either = is_either,
                      .is_made = true});
}

/* A message in it is a container, unless it is nested too deep. */
static void expect_added(struct guard *guard, const struct mime_node *before)
{
    const struct edit_piece *piece = guard->work->edit->first_added;
    for (; piece != NULL; piece = piece->next) {
        if (edit_added_before(guard->work, piece) == before)
            expect_made(guard, piece->header, piece->content, piece->is_message);
    }
}

static const struct edit_shape *shape_of(const struct guard *guard, const struct mime_node *node)
{
    return &guard->work->shapes[node->part.number];
}

/* Whether the header of the part is to be another, which decides what readers find in it. */
static bool has_other_header(const struct guard *guard, const struct mime_node *node)
{
    return edit_asked_of(guard->work->edit, node) != NULL ||
           (node->parent == NULL && job_has_changes(guard->work->edit->job));
}

/* The part whose bytes it is in. */
static const struct mime_node *carrier_of(const struct mime_node *node)
{
    while (edit_is_carried(node))
        node = node->parent;
    return node;
}

/* A container for no other reason than that its header makes several things of the same bytes. */
static bool has_readings_only(const struct mime_node *node)
{
    return node->first_child != NULL && edit_is_alias(node->first_child);
}

static bool is_touched(const struct guard *guard, const struct mime_node *node)
{
    if (edit_is_carried(node)) {
        node = carrier_of(node);
        if (has_other_header(guard, node))
            return true;
    }
    const struct mime_node *carrier = edit_carrier(node);
    const struct edit_region *region =
        carrier != NULL ? shape_of(guard, carrier)->inside : guard->region;
    const struct slice header = node->part.header, content = node->part.content;
    if (region == NULL || header.data == NULL)
        return false;
    return edit_region_touches(region, header.data, content.data + content.len);
}

static struct slice header_of(const struct guard *guard, const struct mime_node *node)
{
    const struct edit_asked *asked = edit_asked_of(guard->work->edit, node);
    if (edit_resolve(guard->work->shapes, guard->work->edit->mime->root) == node)
        return guard->work->fields;
    return edit_header_apply(node->part.header, asked, edit_line_end(&node->part), guard->arena);
}

/* RFC 2046 section 5.1.5: in a digest, a part that does not say what it is is a message. */
static const char *type_kept(const struct guard *guard, const struct mime_node *node)
{
    const struct slice header = header_of(guard, node);
    return edit_is_in_digest(node) && !edit_header_has(header, "content-type")
               ? node->part.type
               : type_of(guard, header);
}

/* A part that stays, though perhaps with changes. */
static void expect_kept(struct guard *guard, const struct mime_node *node)
{
    const struct edit_asked *asked = edit_asked_of(guard->work->edit, node);
    const bool is_same = !is_touched(guard, node);
    const bool is_alias = edit_is_alias(node);
    const bool is_asked = asked != NULL && !is_alias;
    const bool has_header = has_other_header(guard, node);
    struct expected expected = {.type = node->part.type,
        .path = node->part.path,
        .content = is_asked && asked->has_content ? asked->content : node->part.content,
        .has_content = is_same || (is_asked && !node->part.is_container),
        .is_made = (is_asked && asked->has_content) || (has_header && !node->part.is_container),
        .is_container = node->part.is_container,
        .is_either = has_header && has_readings_only(node)};
    /* The bytes of what is carried are its carrier's, which are compared. */
    const bool is_loose = !is_same && (!node->part.is_container || edit_is_carried(node));
    expected.is_optional = is_alias || (!is_asked && (node->is_second || is_loose));
    if (is_asked || has_header)
        expected.type = type_kept(guard, node);
    expect(guard, expected);
}

static bool is_added_inside(const struct guard *guard)
{
    return guard->work->is_inside && guard->work->shapes[0].kind == EDIT_KEEP;
}

static void expect_all(struct guard *guard)
{
    const struct mime *mime = guard->work->edit->mime;
    const bool has_added = guard->work->boundary != NULL || is_added_inside(guard);
    uint32_t skip_depth = UINT32_MAX;
    if (guard->work->boundary != NULL)
        expect(guard, (struct expected){.type = "multipart/mixed", .is_container = true});
    for (uint32_t i = 0; i < mime->n_parts; i++) {
        const struct mime_node *node = mime->nodes[i];
        if (node->part.depth > skip_depth)
            continue;
        if (has_added && node->part.depth <= 1)
            expect_added(guard, node);
        skip_depth = UINT32_MAX;
        const struct edit_shape *shape = shape_of(guard, node);
        const struct edit_asked *asked = edit_asked_of(guard->work->edit, node);
        if (shape->kind == EDIT_NEW)
            expect_made(guard, shape->piece.header, shape->piece.content,
                shape->piece.is_message || (asked != NULL && asked->is_defanged));
        else if (shape->kind == EDIT_KEEP)
            expect_kept(guard, node);
        if (shape->kind == EDIT_NEW || shape->kind == EDIT_GONE ||
            (asked != NULL && asked->has_content))
            skip_depth = node->part.depth;
    }
    if (has_added)
        expect_added(guard, NULL);
}

/* ---- what is there ---- */

static bool is_met_by(const struct expected *expected, const struct mime_part *part)
{
    return (expected->is_either || expected->is_container == part->is_container) &&
           strcmp(expected->type, part->type) == 0 &&
           (!expected->has_content || slice_equal(expected->content, part->content));
}

/* One of those that need not be there, in another place. */
static bool is_known_optional(struct guard *guard, const struct mime_part *part)
{
    if (guard->n_moved++ == OPTIONAL_MAX)
        return false;
    for (uint32_t i = 0; i < guard->n; i++) {
        struct expected *item = &guard->items[i];
        if (item->is_optional && !item->is_met && is_met_by(item, part)) {
            item->is_met = true;
            return true;
        }
    }
    return false;
}

static const char *missing(struct guard *guard, const struct expected *expected)
{
    return arena_printf(guard->arena, "part %s (%s) is not in the result as it should be",
        expected->path != NULL ? expected->path : "made anew", expected->type);
}

/* Takes the parts that are met in order. NULL, or the first that is not. */
static const char *compare(struct guard *guard, const struct mime *result)
{
    uint32_t at = 0, skip_depth = UINT32_MAX;
    for (uint32_t i = 0; i < result->n_parts; i++) {
        const struct mime_part *part = result->parts[i];
        if (part->depth > skip_depth)
            continue;
        skip_depth = UINT32_MAX;
        uint32_t next = at;
        while (next < guard->n && next - at < OPTIONAL_MAX && guard->items[next].is_optional &&
               !is_met_by(&guard->items[next], part))
            next++;
        if (next < guard->n && is_met_by(&guard->items[next], part)) {
            guard->items[next].is_met = true;
            skip_depth = guard->items[next].is_made ? part->depth : UINT32_MAX;
            at = next + 1;
        } else if (!is_known_optional(guard, part)) {
            return at < guard->n && !guard->items[at].is_optional
                       ? missing(guard, &guard->items[at])
                       : arena_printf(guard->arena,
                             "part %s (%s) of the result was not there before", part->path,
                             part->type);
        }
    }
    for (; at < guard->n; at++) {
        if (!guard->items[at].is_optional && !guard->items[at].is_met)
            return missing(guard, &guard->items[at]);
    }
    return NULL;
}

const char *edit_guard(
    const struct edit_work *work, const struct edit_region *region, struct slice message)
{
    const struct mime *mime = work->edit->mime;
    struct guard guard = {.work = work, .region = region, .arena = work->arena};
    guard.items = arena_calloc(
        work->arena, (size_t)mime->n_parts + work->edit->n_added + 1, sizeof(*guard.items));
    expect_all(&guard);
    const struct mime *result = mime_new(message, NULL, mime->conf, work->arena);
    return compare(&guard, result);
}
