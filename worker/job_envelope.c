/*
 * Who a message is from and who gets it, with the changes asked for so far; and what the MTA said
 * about them in macros.
 */
#include "worker/job.h"

#include <stdlib.h>
#include <string.h>

#include "common/address.h"
#include "common/err.h"

struct slice job_sender(struct job *job)
{
    if (job_has_changes(job) && job_plan(job)->has_sender)
        return job->plan.sender;
    return address_strip(job->envelope.sender);
}

struct slice job_sender_args(struct job *job)
{
    if (job_has_changes(job) && job_plan(job)->has_sender)
        return job->plan.sender_args;
    return job->envelope.sender_args;
}

int job_need_recipients(struct job *job)
{
    if (job->has_all_recipients)
        return 0;
    struct envelope all;
    const int rc = envelope_read_all(job->envelope_region, job->arena, &all);
    if (rc != 0)
        return -ERR_BAD;
    job->envelope = all;
    job->has_all_recipients = true;
    return 0;
}

static struct job_recipient received_recipient(
    struct job *job, uint32_t number, struct envelope_recipient *received)
{
    return (struct job_recipient){
        .job = job,
        .address = address_strip(received->address),
        .args = received->args,
        .number = number,
        .received = received,
    };
}

bool job_recipient_at(struct job *job, uint32_t number, struct job_recipient *out)
{
    uint32_t index = number;
    if (!job->has_all_recipients) {
        if (job->request.hook != HOOK_RECIPIENT || number != job->request.recipient_number)
            return false;
        index = 0;
    }
    if (index >= job->envelope.n_recipients)
        return false;
    *out = received_recipient(job, number, &job->envelope.recipients[index]);
    return true;
}

/* ---- the list ---- */

static int compare_bytes(const void *a_, const void *b_)
{
    const struct slice *a = a_, *b = b_;
    const size_t common = a->len < b->len ? a->len : b->len;
    const int order = common > 0 ? memcmp(a->data, b->data, common) : 0;
    if (order != 0)
        return order;
    return (a->len > b->len) - (a->len < b->len);
}

/* The plan's recipients as milterd will fit them to the envelope; deleted ones are sorted, so that
 * ten thousand among ten thousand stay cheap. In the plan's arena. */
static struct plan fit_plan(struct job *job)
{
    struct plan plan = {0};
    if (!job_has_changes(job))
        return plan;
    plan = *job_plan(job);
    struct plan_recipient *added =
        arena_calloc(job->plan_arena, plan.n_added + 1, sizeof(*plan.added));
    if (plan.n_added > 0)
        memcpy(added, plan.added, plan.n_added * sizeof(*added));
    plan.added = added;
    plan_fit_recipients(&plan, &job->envelope, job->plan_arena);
    qsort(plan.deleted, plan.n_deleted, sizeof(*plan.deleted), compare_bytes);
    return plan;
}

static bool is_deleted(const struct plan *plan, struct slice address)
{
    return plan->n_deleted > 0 && bsearch(&address, plan->deleted, plan->n_deleted,
                                      sizeof(*plan->deleted), compare_bytes) != NULL;
}

static void list_recipients(struct job *job)
{
    const struct plan plan = fit_plan(job);
    struct job_recipient *list = arena_calloc(
        job->plan_arena, (size_t)job->envelope.n_recipients + plan.n_added + 1, sizeof(*list));
    uint32_t n = 0;
    for (uint32_t i = 0; i < job->envelope.n_recipients; i++) {
        struct envelope_recipient *received = &job->envelope.recipients[i];
        if (received->is_refused)
            continue;
        list[n] = received_recipient(job, i, received);
        if (!is_deleted(&plan, list[n].address))
            n++;
    }
    for (uint32_t i = 0; i < plan.n_added; i++)
        list[n++] = (struct job_recipient){
            .job = job, .address = plan.added[i].address, .args = plan.added[i].args};
    job->recipients = list;
    job->n_recipients = n;
    job->has_recipients = true;
}

int job_recipients(struct job *job, const struct job_recipient **list_out, uint32_t *n_out)
{
    const int rc = job_need_recipients(job);
    if (rc != 0)
        return rc;
    if (!job->has_recipients)
        list_recipients(job);
    *list_out = job->recipients;
    *n_out = job->n_recipients;
    return 0;
}

/* ---- all of them ---- */

static bool has_delete(const struct action *actions, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (actions[i].kind == ACTION_DELETE_RECIPIENT)
            return true;
    }
    return false;
}

/* Most messages have a change and no deleted recipient: no plan is made for those. */
bool job_lost_all_recipients(struct job *job)
{
    if (!job_knows(job, HOOK_DATA) ||
        (!has_delete(job->earlier.items, job->earlier.n) && !has_delete(job->added, job->n_added)))
        return false;
    const struct job_recipient *list;
    uint32_t n;
    return job_recipients(job, &list, &n) == 0 && n == 0 && job->envelope.n_recipients > 0;
}

struct slice job_macro(struct job *job, enum stage last, struct slice name)
{
    /* What was told after the recipients stands behind them. A malformed end leaves the front. */
    if (last > STAGE_RCPT && job->request.hook >= HOOK_DATA)
        job_need_recipients(job);
    for (int stage = last; stage >= 0; stage--) {
        if (stage == STAGE_RCPT && job->request.hook != HOOK_RECIPIENT)
            continue;
        const struct slice value =
            envelope_macro_find(job->envelope.macros[stage], job->envelope.n_macros[stage], name);
        if (value.data != NULL)
            return value;
    }
    return slice_of(NULL, 0);
}
