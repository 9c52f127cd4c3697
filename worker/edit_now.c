/* What a part is with the changes asked for so far, for changes that build on others. */
#include "worker/edit_impl.h"

static struct slice header_now(struct job *job, const struct mime_node *node)
{
    const struct edit_asked *asked = job->edit != NULL ? edit_asked_of(job->edit, node) : NULL;
    struct slice block = node->part.header;
    if (node->parent == NULL)
        block = edit_top_fields(job, job->arena);
    return edit_header_apply(block, asked, edit_line_end(&node->part), job->arena);
}

struct slice edit_field_now(struct job *job, const struct mime_node *node, const char *name)
{
    const struct slice block = header_now(job, node);
    struct mime_field field;
    for (size_t pos = 0; mime_field_next(block, &pos, false, &field);) {
        if (mime_name_is(field.name, name))
            return field.value;
    }
    return slice_of("", 0);
}

uint32_t edit_count_now(struct job *job, const struct mime_node *node, const char *name)
{
    const struct slice block = header_now(job, node);
    struct mime_field field;
    uint32_t n = 0;
    for (size_t pos = 0; mime_field_next(block, &pos, false, &field);)
        n += mime_name_is(field.name, name);
    return n;
}

/* A header and content, read like a message. */
static struct mime *read_piece(struct job *job, struct slice header, struct slice content)
{
    char *bytes = arena_alloc(job->arena, header.len + 2 + content.len);
    memcpy(bytes, header.data, header.len);
    memcpy(bytes + header.len, "\r\n", 2);
    if (content.len > 0)
        memcpy(bytes + header.len + 2, content.data, content.len);
    return mime_new(slice_of(bytes, header.len + 2 + content.len), NULL, job->conf, job->arena);
}

static bool has_changes(const struct job *job, const struct mime_node *node)
{
    return (job->edit != NULL && edit_asked_of(job->edit, node) != NULL) ||
           (node->parent == NULL && job_has_changes(job));
}

void edit_part_now(struct job *job, const struct mime_part *part, struct edit_now *out)
{
    const struct mime_node *node = mime_node_of(job->mime, part);
    const struct edit_asked *asked = job->edit != NULL ? edit_asked_of(job->edit, node) : NULL;
    *out = (struct edit_now){.is_gone = edit_is_gone(job, node),
        .encoded = asked != NULL && asked->has_content ? asked->content : part->content,
        .type = part->type,
        .charset = part->charset,
        .encoding = part->encoding,
        .header = part};
    if (out->is_gone || !has_changes(job, node))
        return;
    const struct slice block = header_now(job, node);
    const struct mime_part *now = mime_root(read_piece(job, block, slice_of("", 0)));
    out->charset = now->charset;
    out->encoding = now->encoding;
    out->header = now;
    if (edit_header_has(block, "content-type"))
        out->type = now->type;
}

struct slice edit_content_now(struct job *job, const struct mime_part *part)
{
    const struct mime_node *node = mime_node_of(job->mime, part);
    struct edit_now now;
    edit_part_now(job, part, &now);
    if (now.is_gone)
        return slice_of("", 0);
    if (!has_changes(job, node))
        return mime_content(job->mime, part);
    const struct slice header = slice_text(arena_printf(job->arena,
        "Content-Transfer-Encoding: %s\r\n", now.encoding[0] != '\0' ? now.encoding : "7bit"));
    struct mime *mime = read_piece(job, header, now.encoded);
    return mime_content(mime, mime_root(mime));
}

const struct mime_part *edit_reading_now(struct job *job, const struct mime_part *part)
{
    const struct mime_node *node = mime_node_of(job->mime, part);
    struct edit_now now;
    edit_part_now(job, part, &now);
    if (now.is_gone || !has_changes(job, node))
        return now.is_gone ? NULL : part;
    return mime_root(read_piece(job, header_now(job, node), now.encoded));
}
