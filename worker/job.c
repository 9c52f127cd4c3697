#include "worker/job.h"

#include <string.h>

#include "common/address.h"
#include "common/err.h"
#include "common/xalloc.h"
#include "worker/edit.h"
#include "worker/job_find.h"
#include "worker/mime.h"

/*
 * The job itself: opening and closing, the header, the changes and what the message comes to with
 * them. Who gets the message is in job_envelope.c.
 */

/* Between header block and body the parcel holds an empty line, once the header has ended. */
static bool layout_is_sound(const struct wire_request *request, struct slice message)
{
    if (request->header_bytes > message.len)
        return false;
    const size_t rest = message.len - request->header_bytes;
    if (rest == 0)
        return true;
    return rest >= 2 && memcmp(message.data + request->header_bytes, "\r\n", 2) == 0;
}

static int read_request(struct job *job)
{
    if (job->request.hook >= HOOK_COUNT || !layout_is_sound(&job->request, job->message))
        return -ERR_BAD;
    if (job->envelope_region.len > PARCEL_ENVELOPE_MAX)
        return -ERR_TOOBIG;
    const size_t judged = job->request.hook == HOOK_RECIPIENT ? job->request.recipient_offset : 0;
    int rc = envelope_read_front(job->envelope_region, judged, job->arena, &job->envelope);
    if (rc != 0)
        return rc == -ERR_TOOBIG ? rc : -ERR_BAD;
    rc = action_list_get(job->request.changes, job->arena, &job->earlier);
    if (rc != 0)
        return rc == -ERR_TOOBIG ? rc : -ERR_BAD;
    return 0;
}

int job_open(struct job *job, const struct conf *conf, const struct wire_request *request,
    struct slice envelope_region, struct slice message)
{
    *job = (struct job){
        .conf = conf,
        .arena = arena_new(),
        .plan_arena = arena_new(),
        .scratch_arena = arena_new(),
        .request = *request,
        .envelope_region = envelope_region,
        .message = message,
    };
    buf_init(&job->log_fields, JOB_LOG_FIELDS_MAX);
    buf_init(&job->scratch, SIZE_MAX / 2);
    const int rc = read_request(job);
    if (rc != 0)
        job_close(job);
    return rc;
}

void job_close(struct job *job)
{
    edit_free(job->edit);
    mime_free(job->mime);
    buf_clear(&job->log_fields);
    buf_clear(&job->scratch);
    arena_free(job->plan_arena);
    arena_free(job->scratch_arena);
    arena_free(job->arena);
    *job = (struct job){0};
}

/* The place of a hook in a transaction. Those outside of it know what came before they could be
 * called. */
static enum hook hook_rank(enum hook hook)
{
    switch (hook) {
    case HOOK_ABORT:
        return HOOK_RECIPIENT;
    case HOOK_CLOSE:
    case HOOK_UNKNOWN:
        return HOOK_HELO;
    default:
        return hook;
    }
}

bool job_knows(const struct job *job, enum hook first)
{
    return hook_rank(job->request.hook) >= first;
}

const struct header_list *job_headers(struct job *job)
{
    if (!job->has_headers) {
        header_list_scan(job_header_block(job), (uint32_t)job->conf->worker.max_headers, job->arena,
            &job->headers);
        job->has_headers = true;
    }
    return &job->headers;
}

struct slice job_header_block(const struct job *job)
{
    return slice_of(job->message.data, job->request.header_bytes);
}

struct slice job_body(const struct job *job)
{
    const size_t start = job->request.header_bytes + 2;
    if (job->message.len <= start)
        return slice_of(NULL, 0);
    return slice_of(job->message.data + start, job->message.len - start);
}

struct mime *job_mime(struct job *job)
{
    if (job->mime == NULL)
        job->mime = mime_new(job->message, job_headers(job), job->conf, job->arena);
    return job->mime;
}

bool job_has_changes(const struct job *job)
{
    return job->earlier.n + job->n_added > 0;
}

void job_plan_with(struct job *job, const struct action *actions, uint32_t n, struct arena *arena,
    struct plan *out)
{
    struct action_list all = {.n = job->earlier.n + job->n_added + n};
    all.items = arena_calloc(arena, all.n + 1, sizeof(*all.items));
    struct action *at = all.items;
    if (job->earlier.n > 0)
        at = mempcpy(at, job->earlier.items, job->earlier.n * sizeof(*at));
    if (job->n_added > 0)
        at = mempcpy(at, job->added, job->n_added * sizeof(*at));
    if (n > 0)
        memcpy(at, actions, n * sizeof(*at));
    plan_make(job_headers(job), &all, arena, out);
}

const struct plan *job_plan(struct job *job)
{
    if (job->has_plan)
        return &job->plan;
    arena_reset(job->plan_arena);
    job->has_recipients = false; /* they were in there */
    job_plan_with(job, NULL, 0, job->plan_arena, &job->plan);
    job->has_plan = true;
    return &job->plan;
}

static struct slice copy_slice(struct job *job, struct slice s)
{
    return slice_of(arena_memdup0(job->arena, s.data, s.len), s.len);
}

static size_t action_bytes(const struct action *action)
{
    /* 32 is more than what surrounds the fields when they travel. */
    return 32 + action->name.len + action->value.len + action->address.len + action->args.len +
           action->body.len;
}

/* The MTA's own limits first: they deserve a text that names what was asked for. */
static const char *refuse_capability(struct job *job, const struct action *action)
{
    const struct action_info *info = action_info(action->kind);
    if (info == NULL)
        return "no such change";
    uint32_t wanted = info->capability;
    if (action->kind == ACTION_ADD_RECIPIENT && action->args.len > 0)
        wanted |= MTA_CAN_ADD_RECIPIENT_ARGS;
    const uint32_t missing = wanted & ~job->request.capabilities;
    if (missing == 0)
        return NULL;
    return arena_printf(job->arena, "the mail server does not take this change (%s%s)", info->name,
        missing == MTA_CAN_ADD_RECIPIENT_ARGS ? " with arguments" : "");
}

static void append_action(struct job *job, const struct action *action)
{
    if (job->n_added == job->cap_added) {
        const uint32_t cap = job->cap_added == 0 ? 16 : job->cap_added * 2;
        struct action *grown = arena_calloc(job->arena, cap, sizeof(*grown));
        if (job->n_added > 0)
            memcpy(grown, job->added, job->n_added * sizeof(*grown));
        job->added = grown;
        job->cap_added = cap;
    }
    job->added[job->n_added++] = *action;
}

const char *job_add_lasting(struct job *job, const struct action *action)
{
    const char *wrong = refuse_capability(job, action);
    if (wrong == NULL)
        wrong = action_check(action, job->request.capabilities);
    if (wrong != NULL)
        return wrong;
    if (job->earlier.n + job->n_added >= ACTION_COUNT_MAX)
        return "too many changes to one message";
    if (action_bytes(action) > JOB_CHANGES_MAX - job->added_bytes)
        return "the changes of one hook are too large";
    job->added_bytes += action_bytes(action);
    append_action(job, action);
    job->has_plan = false;
    job->has_recipients = false;
    return NULL;
}

const char *job_add_action(struct job *job, const struct action *action)
{
    const char *wrong = job_add_lasting(job, action);
    if (wrong != NULL)
        return wrong;
    struct action *added = &job->added[job->n_added - 1];
    added->name = copy_slice(job, action->name);
    added->value = copy_slice(job, action->value);
    added->address = copy_slice(job, action->address);
    added->args = copy_slice(job, action->args);
    added->body = copy_slice(job, action->body);
    return NULL;
}

void job_drop_actions(struct job *job, uint32_t n_added)
{
    if (n_added >= job->n_added)
        return;
    /* added_bytes stays: the arena still holds them. */
    job_find_forget(job, job->earlier.n + n_added);
    job->n_added = n_added;
    job->has_plan = false;
    job->has_recipients = false;
}

int job_put_changes(struct job *job, struct buf *out)
{
    for (uint32_t i = 0; i < job->n_added; i++) {
        const int rc = action_put(out, &job->added[i]);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* A value of ours is folded with LF alone; everything that leaves has CRLF. */
static int put_folded(struct buf *out, struct slice value)
{
    int rc = 0;
    const char *at = value.data;
    size_t left = value.len;
    while (rc == 0 && left > 0) {
        const char *lf = memchr(at, '\n', left);
        const size_t n = lf != NULL ? (size_t)(lf - at) : left;
        rc = buf_put(out, at, n);
        if (rc == 0 && lf != NULL)
            rc = buf_put(out, "\r\n", 2);
        at += lf != NULL ? n + 1 : n;
        left -= lf != NULL ? n + 1 : n;
    }
    return rc;
}

static int put_made_field(struct buf *out, const struct plan_field *field)
{
    int rc = buf_put(out, field->name.data, field->name.len);
    if (rc == 0)
        rc = buf_put(out, ": ", 2);
    if (rc == 0)
        rc = put_folded(out, field->value);
    if (rc == 0)
        rc = buf_put(out, "\r\n", 2);
    return rc;
}

static int put_field(struct buf *out, const struct plan_field *field)
{
    if (field->received == NULL)
        return put_made_field(out, field);
    const struct slice raw = field->received->raw;
    const int rc = buf_put(out, raw.data, raw.len);
    if (rc != 0 ||
        (raw.len > 0 && (raw.data[raw.len - 1] == '\n' || raw.data[raw.len - 1] == '\r')))
        return rc;
    return buf_put(out, "\r\n", 2);
}

/* What the scan did not list, being over max_headers, leaves as it came. */
static int put_unlisted(struct job *job, struct buf *out)
{
    const struct header_list *headers = job_headers(job);
    if (!headers->is_cut || headers->n == 0)
        return 0;
    const struct slice block = job_header_block(job);
    const struct slice last = headers->items[headers->n - 1].raw;
    const char *end = last.data + last.len;
    return buf_put(out, end, (size_t)(block.data + block.len - end));
}

int job_render_header(struct job *job, const struct plan *plan, struct buf *out)
{
    for (uint32_t i = 0; i < plan->n_fields; i++) {
        const int rc = put_field(out, &plan->fields[i]);
        if (rc != 0)
            return rc;
    }
    const int rc = put_unlisted(job, out);
    return rc != 0 ? rc : buf_put(out, "\r\n", 2);
}

int job_render(struct job *job, struct buf *out)
{
    const struct plan *plan = job_plan(job);
    const struct slice body = plan->has_body ? plan->body : job_body(job);
    const int rc = job_render_header(job, plan, out);
    return rc != 0 ? rc : buf_put(out, body.data, body.len);
}
