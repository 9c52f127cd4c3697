/* Text at the end of a body that msg:replace_body gave: there are no parts to look at, only the
 * header as it would leave. */
#include <string.h>

#include "common/text.h"
#include "worker/append.h"
#include "worker/content_type.h"
#include "worker/lapi_msg_append.h"

/* The first field of that name as it would leave; NULL. */
static const struct plan_field *find_field(const struct plan *plan, const char *name)
{
    for (uint32_t i = 0; i < plan->n_fields; i++) {
        if (slice_equal_nocase(plan->fields[i].name, slice_text(name)))
            return &plan->fields[i];
    }
    return NULL;
}

static const char *lower_copy(struct job *job, struct slice s)
{
    s = text_after_blanks(s);
    char *text = arena_memdup0(job->scratch_arena, s.data, s.len);
    text_lower(text);
    return text;
}

/*
 * Charset and encoding of the text: those of the part as received, or what this filter made of
 * them. False when it is neither plain text nor HTML.
 */
static bool read_format(struct job *job, const struct mime_part *root, struct append *append)
{
    const struct plan *plan = job_plan(job);
    const struct plan_field *type = find_field(plan, "Content-Type");
    const struct plan_field *encoding = find_field(plan, "Content-Transfer-Encoding");
    append->charset = root->charset;
    append->encoding = root->encoding;
    append->is_html = append_is_html(root->type);
    if (encoding != NULL && encoding->received == NULL)
        append->encoding = lower_copy(job, encoding->value);
    if (type != NULL && type->received == NULL) {
        append->charset = content_type_charset(type->value, job->scratch_arena);
        append->is_html = content_type_is(type->value, "text/html");
        return append->is_html || content_type_is(type->value, "text/plain");
    }
    return !root->is_container && (append->is_html || strcmp(root->type, "text/plain") == 0);
}

static const char *set_field(struct job *job, const char *name, struct slice value)
{
    const struct action action = {
        .kind = ACTION_SET_HEADER, .index = 1, .name = slice_text(name), .value = value};
    return job_add_action(job, &action);
}

/* What the header must say about the new body. NULL, or what is wrong. */
static const char *set_format(struct job *job, const struct append *append)
{
    const struct plan_field *type = find_field(job_plan(job), "Content-Type");
    const bool has_version = find_field(job_plan(job), "MIME-Version") != NULL;
    const char *wrong = NULL;
    if (append->new_charset == NULL && append->new_encoding == NULL)
        return NULL;
    if (append->new_charset != NULL) {
        const struct slice value =
            content_type_with_charset(type != NULL ? type->value : slice_of(NULL, 0),
                append->new_charset, job->scratch_arena);
        wrong = set_field(job, "Content-Type",
            mime_encode_header(value, strlen("Content-Type"), job->scratch_arena));
    }
    if (wrong == NULL && append->new_encoding != NULL)
        wrong = set_field(job, "Content-Transfer-Encoding", slice_text(append->new_encoding));
    if (wrong == NULL && !has_version)
        wrong = set_field(job, "MIME-Version", slice_text("1.0"));
    return wrong;
}

/* The changes of one call: all of them, or none when one is refused. */
static const char *add_changes(struct job *job, const struct append *append, struct slice body)
{
    const uint32_t n_before = job->n_added;
    const struct action action = {.kind = ACTION_REPLACE_BODY, .body = body};
    const char *wrong = job_add_action(job, &action);
    if (wrong == NULL)
        wrong = set_format(job, append);
    if (wrong != NULL)
        job_drop_actions(job, n_before);
    return wrong;
}

const char *lapi_append_to_replaced(struct job *job, const struct mime_part *root,
    struct slice text, bool is_html, bool is_forced, const char **wrong_out)
{
    struct append append = {.text = text, .line_end = "\r\n", .is_top = true};
    if ((root->is_encrypted || root->is_signed) && !is_forced)
        return root->is_signed ? "signed" : "encrypted";
    arena_reset(job->scratch_arena);
    if (!read_format(job, root, &append) || (is_html && !append.is_html))
        return "no text part";
    append.body = job->plan.body;
    buf_clear(&job->scratch);
    struct buf html;
    buf_init(&html, JOB_CHANGES_MAX);
    if (append.is_html && !is_html && append_put_as_html(text, &html) == 0)
        append.text = buf_slice(&html);
    const char *refusal = append_to_body(&append, job->scratch_arena, &job->scratch);
    if (refusal == NULL)
        *wrong_out = add_changes(job, &append, buf_slice(&job->scratch));
    buf_clear(&html);
    buf_clear(&job->scratch);
    return refusal;
}
