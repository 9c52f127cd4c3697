/*
 * What the files of the editor share; nobody else includes it. Calls go down this list: edit.c
 * (what was asked for), edit_message.c (all of it replaced) → edit_finish.c (rendering, actions) →
 * edit_guard.c (proof) → edit_shape.c (what becomes of each part) → edit_splice.c (byte spans) →
 * edit_boundary.c (lines between parts), edit_region.c (lists of spans) → edit_top.c (the header of
 * the message) → edit_header.c (header blocks of parts) → edit_entity.c (new parts) → edit_encode.c
 * (transfer encodings). edit_place.c (where the bytes of a part are) and edit_now.c (what it is so
 * far) serve all.
 */
#ifndef POSTERN_WORKER_EDIT_IMPL_H
#define POSTERN_WORKER_EDIT_IMPL_H

#include "worker/edit.h"
#include "worker/mime_impl.h"

/* A header field to be: one instead of all of that name. */
struct edit_field {
    struct edit_field *next;
    struct slice name;
    struct slice value; /* folded with "\n" and a blank; data NULL: none of that name */
};

/* What was asked for one part. */
struct edit_asked {
    bool is_dropped;
    bool is_new;      /* replaced: nothing of the old header is kept */
    bool is_defanged; /* of the old header only what does not name or type it is kept */
    bool has_content;
    struct slice warning; /* of a dropped part; data NULL: none */
    struct slice content; /* encoded */
    struct edit_field *first, *last;
};

/* A part to be: its content fields, and its content as it stands in the mail. */
struct edit_piece {
    struct edit_piece *next;
    struct slice header; /* lines, each with its end; no empty line */
    struct slice content;
    uint32_t position; /* of an added one, as in struct edit_entity */
    bool is_message;   /* message/rfc822: its content is not encoded */
    bool is_8bit;      /* it is one, with bytes over 127 */
};

struct edit {
    struct job *job;
    struct mime *mime;
    struct edit_asked **asked; /* by part number; NULL: nothing */
    struct edit_piece *first_added, *last_added;
    uint32_t n_added;
    bool is_any;
    bool removes;
    struct arena *arena; /* of the last rendering */
    struct buf message;  /* what it made */
};

/* ---- edit.c ---- */

/* NULL when nothing was asked for it. */
const struct edit_asked *edit_asked_of(const struct edit *edit, const struct mime_node *node);
/* Dropped, or within what is dropped, replaced or defanged. */
bool edit_is_gone(const struct job *job, const struct mime_node *node);

/* ---- edit_place.c: where the bytes of a part are ---- */

static inline const char *edit_end_of(struct slice s)
{
    return s.data + s.len;
}

bool edit_is_alias(const struct mime_node *node);
/* It is in the content of a part that is no container, or below such a one: edits go to the
 * carrier. */
bool edit_is_carried(const struct mime_node *node);
/* RFC 2046 section 5.1.5: to some reader it is a part of a digest, so a message if it does not say
 * what it is. */
bool edit_is_in_digest(const struct mime_node *node);
/* The innermost part in whose decoded content this one was found; NULL. */
struct mime_node *edit_carrier(const struct mime_node *node);
/* Whether its bytes, and those of all parts around it, can be changed where they are. */
bool edit_has_place(const struct mime_node *node);
/* The part that a change of this one is about: the innermost one around it that has a place. */
struct mime_node *edit_with_place(struct mime_node *node);

/* ---- edit_now.c: with the changes so far ---- */

/* The value of the first field of that name (lower case), "" without one; and how many there are.
 */
struct slice edit_field_now(struct job *job, const struct mime_node *node, const char *name);
uint32_t edit_count_now(struct job *job, const struct mime_node *node, const char *name);

/* ---- edit_shape.c ---- */

enum edit_shape_kind {
    EDIT_KEEP = 0, /* stays, perhaps with changes within or in its header */
    EDIT_GONE,     /* taken out */
    EDIT_NEW,      /* `piece` takes its place */
    EDIT_LIFT,     /* its only child that is left takes its place */
};
struct edit_region;
struct edit_shape {
    enum edit_shape_kind kind;
    struct edit_piece piece;
    struct mime_node *lifted;   /* of LIFT */
    struct edit_region *inside; /* of a part with decoded content that changed: made by
                                   edit_splices_make */
};
/* By part number, in arena. is_inside: parts are added to the top part itself, not around it.
 * keeps_multiparts: nothing is lifted. */
struct edit_shape *edit_shapes_make(
    const struct edit *edit, bool is_inside, bool keeps_multiparts, struct arena *arena);
/* The top part of the message, or of one within it. */
bool edit_is_message_root(const struct mime_node *node);
/* Follows LIFT. */
const struct mime_node *edit_resolve(const struct edit_shape *shapes, const struct mime_node *node);

/* ---- edit_splice.c ---- */

/* Bytes start … end are replaced by two texts, one after the other. */
struct edit_splice {
    const char *start, *end;
    struct slice first, second;
    uint32_t order; /* among those that start at one place */
};
struct edit_region {
    struct slice bytes;
    struct edit_splice *items;
    uint32_t n, cap, n_front;
};
struct edit_work {
    const struct edit *edit;
    struct edit_shape *shapes;
    struct arena *arena;
    bool is_inside;       /* added parts go into the top part */
    const char *boundary; /* of the multipart around it, when they do not; NULL: nothing is added */
    struct slice top;     /* out: the content fields of the message */
    struct slice fields;  /* out: those of what is its top part, before others were put around */
    const char *failure;  /* out: NULL, or why it cannot be rendered */
};
/* Finds all spans of the message, and the new content fields of its header. */
struct edit_region *edit_splices_make(struct edit_work *work);

/* ---- edit_boundary.c ---- */

/*
 * Takes a part out with the boundary line before it. The last one, when no boundary follows, goes
 * with the line end before its boundary line too, which is the boundary's and not the content's of
 * the part before; so does the whole run of parts that end there, from first_gone on.
 */
void edit_cut_part(const struct edit_work *work, struct edit_region *region,
    const struct mime_node *node, const struct mime_node *first_gone);
/* What has to stand behind other content of a part whose end is not the end of a line, before the
 * boundary that follows; mostly empty. */
struct slice edit_missing_line_end(const struct mime_node *node);
/* Whether a new part can be put behind the children of the top part: it is a multipart/mixed that
 * every reader takes for one. */
bool edit_can_insert(const struct edit *edit);
/* What an added part stands before: a child of the top part, or that itself where another multipart
 * is put around it; NULL: behind all. */
const struct mime_node *edit_added_before(
    const struct edit_work *work, const struct edit_piece *piece);
/* The added parts, where edit_can_insert. */
void edit_insert_inside(const struct edit_work *work, struct edit_region *region);
/* The message becomes a multipart/mixed with work->boundary: of what it was, and the added parts.
 */
void edit_wrap(struct edit_work *work, struct edit_region *region);

/* ---- edit_region.c ---- */

struct edit_region *edit_region_new(const struct edit_work *work, struct slice bytes);
/* Bytes start … end become first and second, which are borrowed. Nothing instead of nothing is not
 * added. */
void edit_region_add(const struct edit_work *work, struct edit_region *region, const char *start,
    const char *end, struct slice first, struct slice second);
/* Puts two texts at a place, before all else that starts there, and behind what was put there by
 * this. */
void edit_region_put_front(const struct edit_work *work, struct edit_region *region, const char *at,
    struct slice first, struct slice second);
void edit_region_cut(
    const struct edit_work *work, struct edit_region *region, const char *start, const char *end);
/* Puts the spans in order, none over another: to be called once, when all are added, and before
 * those below. */
void edit_region_settle(struct edit_region *region);
/* The bytes from `from` on, with the spans replaced. 0, -ERR_TOOBIG; -ERR_BAD when a span begins
 * before. */
int edit_region_put(const struct edit_region *region, const char *from, struct buf *out);
/* Whether a span of the region touches these bytes. */
bool edit_region_touches(const struct edit_region *region, const char *start, const char *end);

/* ---- edit_guard.c ---- */

/*
 * Whether the message that was rendered holds what it should: every part that nobody touched with
 * the same type and bytes, what was made, and nothing else. NULL, or what is wrong (in
 * work->arena).
 */
const char *edit_guard(
    const struct edit_work *work, const struct edit_region *region, struct slice message);

/* ---- edit_top.c ---- */

struct edit_actions {
    struct action *items;
    uint32_t n, cap;
};
/* The content fields of the message as they are with the changes of its header so far. */
struct slice edit_top_fields(struct job *job, struct arena *arena);
/* The value of a field as an action has it: unfolded as far as CR goes. */
struct slice edit_value(struct slice value, struct arena *arena);
/* Actions that make of those fields the ones in block. */
void edit_top_change(
    struct job *job, struct slice block, struct arena *arena, struct edit_actions *out);
/* Actions that make of all fields of the message the ones in block, but for the order of fields
 * with different names. */
void edit_top_replace(
    struct job *job, struct slice block, struct arena *arena, struct edit_actions *out);

/* ---- edit_header.c ---- */

/* The block with what was asked for the part; the block itself when nothing changes it. */
struct slice edit_header_apply(
    struct slice block, const struct edit_asked *asked, const char *line_end, struct arena *arena);
/* Only its content fields (is_content), or only the others. */
struct slice edit_header_pick(struct slice block, bool is_content, struct arena *arena);
bool edit_header_has(struct slice block, const char *name);
/* One line or more for a field; value as in struct edit_field. */
struct slice edit_field_line(
    struct slice name, struct slice value, const char *line_end, struct arena *arena);
/* Two blocks as one. */
struct slice edit_join(struct slice a, struct slice b, struct arena *arena);

/* ---- edit_entity.c ---- */

/* NULL, or what is wrong with it. */
const char *edit_entity_check(const struct edit_entity *entity, bool may_be_message);
/* One that passed the check. */
void edit_entity_make(const struct edit_entity *entity, const char *line_end, struct arena *arena,
    struct edit_piece *out);
/* The value of Content-Disposition with this file name. */
struct slice edit_disposition(bool is_inline, struct slice filename, struct arena *arena);
/* A text/plain part; text empty: an empty one. */
struct edit_piece edit_text_piece(struct slice text, const char *line_end, struct arena *arena);
/* Text that is in none of these bytes, for a boundary; NULL when none was found. */
const char *edit_boundary_make(const struct edit *edit, struct arena *arena);

/* ---- edit_encode.c ---- */

/* Whether content of that type and charset (lower case) has lines that end with CR and LF bytes. */
bool edit_has_lines(const char *type, const char *charset, struct slice bytes);
/* Line ends of a text made CRLF, or what line_end is. */
struct slice edit_lines(struct slice text, const char *line_end, struct arena *arena);
/*
 * Whether the bytes can stand in the mail as they are: lines of at most 998 bytes with the
 * message's line ends, no NUL; without is_8bit, no byte over 127.
 */
bool edit_is_plain(struct slice bytes, bool is_8bit, const char *line_end);
struct slice edit_base64(struct slice bytes, const char *line_end, struct arena *arena);
struct slice edit_quoted(
    struct slice bytes, bool is_text, const char *line_end, struct arena *arena);

#endif
