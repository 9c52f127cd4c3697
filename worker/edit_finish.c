/* The message rendered with the changes of its parts, and the actions that make it so. */
#include "common/err.h"
#include "worker/edit_impl.h"

struct rendering {
    struct edit_work work;
    struct edit_region *region;
    struct edit_actions actions; /* of the header */
    struct slice message, body;  /* in edit->message */
    bool is_same_body;
    bool is_proved; /* by the guard */
};

/* Where the body of the message as received starts. */
static const char *body_start(const struct job *job)
{
    const size_t at = job->request.header_bytes + 2;
    return job->message.data + (at < job->message.len ? at : job->message.len);
}

static const char *place_added(struct edit *edit, struct edit_work *work)
{
    if (edit->n_added == 0)
        return NULL;
    work->is_inside = edit_can_insert(edit);
    if (work->is_inside)
        return NULL;
    work->boundary = edit_boundary_make(edit, work->arena);
    return work->boundary != NULL ? NULL : "no boundary is free in the message";
}

static const char *put_message(struct edit *edit, struct rendering *r)
{
    struct job *job = edit->job;
    struct plan plan;
    job_plan_with(job, r->actions.items, r->actions.n, edit->arena, &plan);
    int rc = job_render_header(job, &plan, &edit->message);
    const size_t header_bytes = edit->message.len;
    if (rc == 0)
        rc = edit_region_put(r->region, body_start(job), &edit->message);
    if (rc != 0)
        return rc == -ERR_BAD ? "a change reaches into the header of the message"
                              : "the message would be too large";
    r->message = buf_slice(&edit->message);
    r->body = slice_of(r->message.data + header_bytes, r->message.len - header_bytes);
    r->is_same_body = slice_equal(r->body, job_body(job));
    return NULL;
}

static const char *render_as(struct edit *edit, bool keeps_multiparts, struct rendering *r)
{
    *r = (struct rendering){.work = {.edit = edit, .arena = edit->arena}};
    arena_reset(edit->arena);
    buf_reset(&edit->message);
    const char *wrong = place_added(edit, &r->work);
    if (wrong != NULL)
        return wrong;
    r->work.shapes = edit_shapes_make(edit, r->work.is_inside, keeps_multiparts, edit->arena);
    r->region = edit_splices_make(&r->work);
    if (r->work.failure != NULL)
        return r->work.failure;
    edit_top_change(edit->job, r->work.top, edit->arena, &r->actions);
    return put_message(edit, r);
}

static bool has_lifted(const struct rendering *r)
{
    for (uint32_t i = 0; i < r->work.edit->mime->n_parts; i++) {
        if (r->work.shapes[i].kind == EDIT_LIFT)
            return true;
    }
    return false;
}

/* The last part of a multipart takes its place, unless that would be read otherwise: its header may
 * have lines that are fields for some programs only, which do not become fields of the message. */
static const char *render(struct edit *edit, struct rendering *r)
{
    const char *wrong = render_as(edit, false, r);
    if (wrong != NULL || !has_lifted(r))
        return wrong;
    r->is_proved = edit_guard(&r->work, r->region, r->message) == NULL;
    return r->is_proved ? NULL : render_as(edit, true, r);
}

const char *edit_render(struct job *job, struct slice *message_out)
{
    struct rendering rendering;
    const char *wrong = render(job->edit, &rendering);
    *message_out = rendering.message;
    return wrong;
}

/* All of them, or none when one is refused. The bytes stay where they are until the job ends. */
static const char *add_actions(struct job *job, const struct rendering *r)
{
    const uint32_t n_before = job->n_added;
    const struct action body = {.kind = ACTION_REPLACE_BODY, .body = r->body};
    const char *wrong = NULL;
    for (uint32_t i = 0; wrong == NULL && i < r->actions.n; i++)
        wrong = job_add_lasting(job, &r->actions.items[i]);
    if (wrong == NULL && !r->is_same_body)
        wrong = job_add_lasting(job, &body);
    if (wrong != NULL)
        job_drop_actions(job, n_before);
    return wrong;
}

enum edit_outcome edit_finish(struct job *job, const char **why_out)
{
    if (!edit_is_pending(job))
        return EDIT_UNCHANGED;
    struct edit *edit = job->edit;
    struct rendering rendering;
    const bool removes = edit->removes;
    const char *wrong = render(edit, &rendering);
    const bool is_same = wrong == NULL && rendering.actions.n == 0 && rendering.is_same_body;
    /* What was to go must have gone, though nothing seems to change. */
    if (wrong == NULL && (removes || !is_same) && !rendering.is_proved)
        wrong = edit_guard(&rendering.work, rendering.region, rendering.message);
    if (wrong == NULL)
        wrong = add_actions(job, &rendering);
    edit_forget(job);
    if (wrong == NULL)
        return is_same ? EDIT_UNCHANGED : EDIT_CHANGED;
    *why_out = wrong;
    return removes ? EDIT_REFUSED_REMOVES : EDIT_REFUSED_ADDS;
}
