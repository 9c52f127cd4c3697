/* The whole message replaced by another. */
#include "worker/edit_impl.h"

static const char *add_all(struct job *job, const struct edit_actions *actions, struct slice body)
{
    const uint32_t n_before = job->n_added;
    const struct action replace = {.kind = ACTION_REPLACE_BODY, .body = body};
    const char *wrong = NULL;
    for (uint32_t i = 0; wrong == NULL && i < actions->n; i++)
        wrong = job_add_action(job, &actions->items[i]);
    if (wrong == NULL && (job_plan(job)->has_body || !slice_equal(body, job_body(job))))
        wrong = job_add_action(job, &replace);
    if (wrong != NULL)
        job_drop_actions(job, n_before);
    return wrong;
}

static bool has_bare_lf(struct slice bytes)
{
    const char *lf = bytes.len > 0 ? memchr(bytes.data, '\n', bytes.len) : NULL;
    return lf != NULL && (lf == bytes.data || lf[-1] != '\r');
}

const char *edit_replace_message(struct job *job, struct slice eml)
{
    struct edit_actions actions = {NULL, 0, 0};
    struct mime_field field;
    size_t body_at, pos = 0;
    if (eml.len > ACTION_BODY_MAX)
        return "the message is too large";
    arena_reset(job->scratch_arena);
    if (has_bare_lf(eml))
        eml = edit_lines(eml, "\r\n", job->scratch_arena);
    const struct slice header = slice_of(eml.data, header_block_length(eml, &body_at));
    if (!mime_field_next(header, &pos, false, &field) || !field.has_colon)
        return "a message that begins with its header expected";
    edit_top_replace(job, header, job->scratch_arena, &actions);
    const char *wrong = add_all(job, &actions, slice_of(eml.data + body_at, eml.len - body_at));
    if (wrong == NULL)
        edit_forget(job);
    return wrong;
}
