/* What was asked for the parts of a message: the list of changes, and what a part is with them so
 * far. */
#include "worker/edit.h"

#include "common/text.h"
#include "worker/content_type.h"
#include "worker/edit_impl.h"

/* ---- the list ---- */

enum { EDIT_MESSAGE_MAX = ACTION_BODY_MAX + (64 << 20) }; /* a header is at most that */

static struct edit *edit_of(struct job *job)
{
    if (job->edit != NULL)
        return job->edit;
    struct edit *edit = arena_calloc(job->arena, 1, sizeof(*edit));
    edit->job = job;
    edit->mime = job->mime;
    edit->asked = arena_calloc(job->arena, job->mime->n_parts, sizeof(struct edit_asked *));
    edit->arena = arena_new();
    buf_init(&edit->message, EDIT_MESSAGE_MAX);
    job->edit = edit;
    return edit;
}

void edit_free(struct edit *edit)
{
    if (edit == NULL)
        return;
    arena_free(edit->arena);
    buf_clear(&edit->message);
}

bool edit_is_pending(const struct job *job)
{
    return job->edit != NULL && job->edit->is_any;
}

void edit_forget(struct job *job)
{
    if (!edit_is_pending(job))
        return;
    struct edit *edit = job->edit;
    memset(edit->asked, 0, edit->mime->n_parts * sizeof(struct edit_asked *));
    edit->first_added = edit->last_added = NULL;
    edit->n_added = 0;
    edit->is_any = edit->removes = false;
}

const struct edit_asked *edit_asked_of(const struct edit *edit, const struct mime_node *node)
{
    return edit->asked[node->part.number];
}

static const char *begin(struct job *job, size_t bytes)
{
    if ((job->request.capabilities & MTA_CAN_REPLACE_BODY) == 0)
        return "the mail server does not take this change (replace_body)";
    if (job_plan(job)->has_body)
        return "the whole body has been replaced";
    if (bytes > JOB_CHANGES_MAX - job->added_bytes)
        return "the changes of one hook are too large";
    job->added_bytes += bytes;
    return NULL;
}

static struct slice keep(struct job *job, struct slice s)
{
    return slice_of(arena_memdup0(job->arena, s.data != NULL ? s.data : "", s.len), s.len);
}

/* For changes that may reach the header of the message. */
static const char *begin_with_header(struct job *job, size_t bytes)
{
    enum { WANTED = MTA_CAN_CHANGE_HEADER | MTA_CAN_ADD_HEADER };
    if ((job->request.capabilities & WANTED) != WANTED)
        return "the mail server does not take this change (set_header)";
    return begin(job, bytes);
}

/* Notes that something is asked for the part. */
static struct edit_asked *asked_for(struct job *job, struct mime_node *node, enum edit_kind kind)
{
    struct edit *edit = edit_of(job);
    struct edit_asked **place = &edit->asked[node->part.number];
    if (*place == NULL)
        *place = arena_calloc(job->arena, 1, sizeof(**place));
    edit->is_any = true;
    edit->removes = edit->removes || kind == EDIT_REMOVES;
    return *place;
}

bool edit_is_gone(const struct job *job, const struct mime_node *node)
{
    if (job->edit == NULL)
        return false;
    const struct edit_asked *own = edit_asked_of(job->edit, node);
    if (own != NULL && own->is_dropped)
        return true;
    for (node = node->parent; node != NULL; node = node->parent) {
        const struct edit_asked *asked = edit_asked_of(job->edit, node);
        if (asked != NULL && (asked->is_dropped || asked->is_new || asked->is_defanged))
            return true;
    }
    return false;
}

static void add_field(
    struct job *job, struct edit_asked *asked, struct slice name, struct slice value)
{
    struct edit_field *field = arena_calloc(job->arena, 1, sizeof(*field));
    field->name = keep(job, name);
    field->value = value.data != NULL ? keep(job, value) : value;
    if (asked->last != NULL)
        asked->last->next = field;
    else
        asked->first = field;
    asked->last = field;
}

static void add_text_field(
    struct job *job, struct edit_asked *asked, const char *name, struct slice value)
{
    add_field(job, asked, slice_text(name), value);
}

/* All that was asked for it before is overruled. */
static void start_anew(struct edit_asked *asked)
{
    *asked = (struct edit_asked){0};
}

/* ---- what may be asked for ---- */

const char *edit_drop(struct job *job, const struct mime_part *part, struct slice warning)
{
    struct mime_node *node = edit_with_place(mime_node_of(job->mime, part));
    if (warning.data != NULL &&
        (!text_is_utf8(warning) || memchr(warning.data, '\0', warning.len) != NULL))
        return "the warning is UTF-8 text without NUL";
    const char *wrong = begin_with_header(job, warning.len);
    if (wrong != NULL)
        return wrong;
    struct edit_asked *asked = asked_for(job, node, EDIT_REMOVES);
    const struct slice earlier = asked->is_dropped ? asked->warning : slice_of(NULL, 0);
    start_anew(asked);
    asked->is_dropped = true;
    asked->warning = warning.data != NULL ? keep(job, warning) : earlier;
    return NULL;
}

const char *edit_replace(
    struct job *job, const struct mime_part *part, const struct edit_entity *entity)
{
    struct mime_node *node = edit_with_place(mime_node_of(job->mime, part));
    struct edit_piece piece;
    struct mime_field field;
    const char *wrong = edit_entity_check(entity, false);
    if (wrong == NULL)
        wrong = begin_with_header(job, entity->body.len * 3);
    if (wrong != NULL)
        return wrong;
    edit_entity_make(entity, edit_line_end(&node->part), job->arena, &piece);
    struct edit_asked *asked = asked_for(job, node, EDIT_REMOVES);
    start_anew(asked);
    asked->is_new = asked->has_content = true;
    asked->content = piece.content;
    for (size_t pos = 0; mime_field_next(piece.header, &pos, false, &field);)
        add_field(job, asked, field.name, edit_value(field.value, job->arena));
    return NULL;
}

const char *edit_refuse_content(const struct mime_part *part)
{
    const struct mime_node *node = mime_node_of(part->mime, part);
    if (node->part.is_container || edit_is_alias(node))
        return "the part holds other parts: change these, or replace it";
    if (!edit_has_place(node))
        return "the part was found in decoded content that cannot be encoded again: drop or "
               "replace it";
    return NULL;
}

const char *edit_set_encoded(struct job *job, const struct mime_part *part, struct slice encoded,
    const char *charset, const char *encoding, enum edit_kind kind)
{
    struct mime_node *node = mime_node_of(job->mime, part);
    const char *wrong = edit_refuse_content(part);
    if (wrong == NULL)
        wrong = charset != NULL || encoding != NULL ? begin_with_header(job, encoded.len)
                                                    : begin(job, encoded.len);
    if (wrong != NULL || edit_is_gone(job, node))
        return wrong;
    struct edit_asked *asked = asked_for(job, node, kind);
    asked->has_content = true;
    asked->content = keep(job, encoded);
    if (charset != NULL)
        add_text_field(job, asked, "Content-Type",
            content_type_with_charset(
                edit_field_now(job, node, "Content-Type"), charset, job->arena));
    if (encoding != NULL)
        add_text_field(job, asked, "Content-Transfer-Encoding", slice_text(encoding));
    return NULL;
}

/* A line that a reader would take for the boundary of a part around it. */
static bool has_boundary(struct slice bytes, const struct mime_node *node)
{
    for (size_t pos = 0; pos < bytes.len;) {
        const struct slice line = mime_line_next(bytes, &pos, false);
        if (line.len < 2 || line.data[0] != '-' || line.data[1] != '-')
            continue;
        for (const struct mime_node *above = node->parent; above != NULL; above = above->parent) {
            if (above->is_multipart && above->n_boundaries == 0)
                return true;
            for (uint32_t i = 0; i < above->n_boundaries; i++) {
                const struct slice text = above->boundaries[i];
                if (line.len - 2 >= text.len && memcmp(line.data + 2, text.data, text.len) == 0)
                    return true;
            }
        }
    }
    return false;
}

/* The bytes in the encoding, if that can carry them; false else. */
static bool encode(struct slice bytes, const struct mime_node *node, const char *encoding,
    bool is_text, struct arena *arena, struct slice *out)
{
    const char *line_end = edit_line_end(&node->part);
    const bool is_7bit = encoding[0] == '\0' || strcmp(encoding, "7bit") == 0;
    const bool is_8bit = strcmp(encoding, "8bit") == 0 || strcmp(encoding, "binary") == 0;
    *out = bytes;
    if (is_7bit || is_8bit)
        return edit_is_plain(bytes, is_8bit, line_end) && !has_boundary(bytes, node);
    if (strcmp(encoding, "quoted-printable") == 0) {
        *out = edit_quoted(bytes, is_text, line_end, arena);
        return true;
    }
    *out = edit_base64(bytes, line_end, arena);
    return strcmp(encoding, "base64") == 0;
}

const char *edit_set_content(
    struct job *job, const struct mime_part *part, struct slice bytes, enum edit_kind kind)
{
    struct mime_node *node = mime_node_of(job->mime, part);
    struct slice encoded;
    struct edit_now now;
    edit_part_now(job, part, &now);
    const char *wrong = edit_refuse_content(part);
    if (wrong != NULL || now.is_gone)
        return wrong;
    if (bytes.len > JOB_CHANGES_MAX / 4)
        return "the changes of one hook are too large";
    const char *line_end = edit_line_end(part);
    const bool is_text = edit_has_lines(now.type, now.charset, bytes);
    const bool is_identity = now.encoding[0] == '\0' || strchr("78", now.encoding[0]) != NULL ||
                             strcmp(now.encoding, "binary") == 0;
    if (is_text)
        bytes = edit_lines(bytes, is_identity ? line_end : "\r\n", job->arena);
    /* Two fields of that name, and no reader knows which one counts. */
    const bool is_clear = edit_count_now(job, node, "content-transfer-encoding") <= 1;
    const bool fits = encode(bytes, node, now.encoding, is_text, job->arena, &encoded);
    if (!fits)
        encoded = edit_base64(bytes, line_end, job->arena);
    const char *encoding = !fits ? "base64" : !is_clear ? now.encoding : NULL;
    return edit_set_encoded(job, part, encoded, NULL, encoding, kind);
}

static const char *set_top_header(struct job *job, struct slice name, struct slice value)
{
    const struct action all = {.kind = ACTION_DELETE_HEADER, .name = name};
    const uint32_t n_before = job->n_added;
    const uint32_t n = header_count(job_headers(job), name);
    const char *wrong = NULL;
    if (n > 1 || value.data == NULL)
        wrong = job_add_action(job, &all);
    if (wrong == NULL && value.data != NULL) {
        const struct action set = {
            .kind = ACTION_SET_HEADER, .index = 1, .name = name, .value = value};
        wrong = job_add_action(job, &set);
    }
    if (wrong != NULL)
        job_drop_actions(job, n_before);
    return wrong;
}

const char *edit_set_header(
    struct job *job, const struct mime_part *part, struct slice name, struct slice value)
{
    struct mime_node *node = edit_with_place(mime_node_of(job->mime, part));
    const struct action check = {
        .kind = ACTION_SET_HEADER, .index = 1, .name = name, .value = value};
    if (value.data != NULL) {
        arena_reset(job->scratch_arena);
        value = mime_encode_header(value, name.len, job->scratch_arena);
    }
    const char *wrong = action_check(&check, job->request.capabilities);
    if (wrong != NULL)
        return wrong;
    if (node->parent == NULL && !mime_begins_with(name, "content-"))
        return set_top_header(job, name, value);
    if (!edit_has_place(mime_node_of(job->mime, part)))
        return "the part was found in decoded content that cannot be encoded again: drop or "
               "replace it";
    wrong = begin_with_header(job, name.len + value.len);
    if (wrong == NULL && !edit_is_gone(job, node))
        add_field(job, asked_for(job, node, EDIT_ADDS), name, value);
    return wrong;
}

/* Whether a boundary of a multipart around it occurs in a container's content: once that is a mere
 * file, the parts around it would end there. */
static bool holds_outer_boundary(const struct mime_node *node)
{
    const struct slice content = node->part.content;
    for (const struct mime_node *above = node->parent; above != NULL; above = above->parent) {
        for (uint32_t i = 0; i < above->n_boundaries; i++) {
            const struct slice boundary = above->boundaries[i];
            if (boundary.len > 0 && content.len > 0 &&
                memmem(content.data, content.len, boundary.data, boundary.len) != NULL)
                return true;
        }
    }
    return false;
}

static void encode_container(struct job *job, struct mime_node *node, struct edit_asked *asked)
{
    asked->has_content = true;
    asked->content = edit_base64(node->part.content, edit_line_end(&node->part), job->arena);
    add_text_field(job, asked, "Content-Transfer-Encoding", slice_text("base64"));
}

const char *edit_defang(struct job *job, const struct mime_part *part, struct slice filename)
{
    struct mime_node *node = edit_with_place(mime_node_of(job->mime, part));
    if (filename.len > 255 || !text_is_utf8(filename))
        return "the name is UTF-8 of at most 255 bytes";
    const char *wrong = begin_with_header(job, filename.len);
    if (wrong != NULL || edit_is_gone(job, node))
        return wrong;
    if (filename.len == 0)
        filename = slice_text(arena_printf(job->arena, "attachment-%s.bin", node->part.path));
    struct edit_asked *asked = asked_for(job, node, EDIT_REMOVES);
    asked->is_defanged = true;
    add_text_field(job, asked, "Content-Type", slice_text("application/octet-stream"));
    add_text_field(
        job, asked, "Content-Disposition", edit_disposition(false, filename, job->arena));
    if (node->part.is_container && !asked->has_content &&
        mime_encoding_of(&node->part) == MIME_ENCODING_IDENTITY && holds_outer_boundary(node))
        encode_container(job, node, asked);
    return NULL;
}

const char *edit_add_part(struct job *job, const struct edit_entity *entity)
{
    const char *wrong = edit_entity_check(entity, true);
    if (wrong == NULL)
        wrong = begin_with_header(job, entity->body.len * 3);
    if (wrong != NULL)
        return wrong;
    struct edit *edit = edit_of(job);
    struct edit_piece *piece = arena_calloc(job->arena, 1, sizeof(*piece));
    edit_entity_make(entity, edit_line_end(mime_root(job->mime)), job->arena, piece);
    if (edit->last_added != NULL)
        edit->last_added->next = piece;
    else
        edit->first_added = piece;
    edit->last_added = piece;
    edit->n_added++;
    edit->is_any = true;
    return NULL;
}
