#include "worker/deeds.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/arena.h"
#include "common/err.h"
#include "common/log.h"
#include "common/verdict.h"
#include "worker/job.h"
#include "worker/mime.h"
#include "worker/notify.h"
#include "worker/tally.h"
#include "worker/trap.h"

enum { REPLY_BYTES = 512 };

struct deeds *deeds_of(struct job *job)
{
    if (job->deeds == NULL) {
        job->deeds = arena_calloc(job->arena, 1, sizeof(*job->deeds));
        job->deeds->reason = "";
        job->deeds->where = "";
    }
    return job->deeds;
}

/* ---- what is told of them ---- */

void deeds_log(struct job *job, const char *key, const char *value)
{
    const size_t bytes = 8 + strlen(key) + strlen(value);
    if (bytes > job->log_fields.max - job->log_fields.len)
        return;
    (void)buf_put_bytes(&job->log_fields, slice_text(key));
    (void)buf_put_bytes(&job->log_fields, slice_text(value));
}

void deeds_count(
    struct tally *tally, const char *name, const char *help, const char *label, const char *value)
{
    const struct count count = {.name = slice_text(name),
        .help = slice_text(help),
        .labels = {{slice_text(label), slice_text(value)}},
        .n_labels = 1,
        .add = 1};
    if (tally != NULL)
        tally_add(tally, &count);
}

/* ---- what follows for the mail ---- */

static void answer(
    struct job *job, struct wire_reply *reply, enum verdict verdict, const struct smtp_reply *smtp)
{
    struct arena *arena = job->arena;
    reply->verdict = (uint8_t)verdict;
    reply->changes = slice_of(NULL, 0);
    reply->delay_ms = 0;
    reply->code = smtp != NULL ? smtp->code : 0;
    reply->dsn = slice_of(NULL, 0);
    reply->text = slice_of(NULL, 0);
    if (smtp != NULL) {
        reply->dsn = slice_text(arena_memdup0(arena, smtp->dsn, strlen(smtp->dsn)));
        reply->text =
            slice_of(arena_memdup0(arena, smtp->text.data, smtp->text.len), smtp->text.len);
    }
}

/* The filter's own refusal stands, and so does its discard. */
static bool goes_on(const struct wire_reply *reply)
{
    return reply->verdict == VERDICT_CONTINUE || reply->verdict == VERDICT_ACCEPT;
}

static void refuse(
    struct job *job, struct wire_reply *reply, enum verdict verdict, const char *text)
{
    struct smtp_reply smtp = smtp_reply_default(verdict);
    const struct slice uid = job->request.uid;
    smtp.text = slice_text(
        arena_printf(job->arena, "%s (%.*s)", text, (int)uid.len, uid.len > 0 ? uid.data : ""));
    answer(job, reply, verdict, &smtp);
    reply->where = slice_text(job->deeds->where);
}

static void follow(struct job *job, enum trap_fate fate, struct wire_reply *reply)
{
    const struct deeds *deeds = job->deeds;
    if (!goes_on(reply))
        return;
    if (fate == TRAP_WAITING)
        refuse(job, reply, VERDICT_TEMPFAIL, "Held for review, try again later");
    else if (fate == TRAP_REFUSED)
        refuse(job, reply, VERDICT_REJECT, "Refused after review");
    else if (fate == TRAP_SENT || (fate == TRAP_KEPT && deeds->mode == TRAP_STORE)) {
        answer(job, reply, VERDICT_DISCARD, NULL);
        reply->where = slice_text(deeds->where);
    }
}

static const char *why_not_kept(int rc)
{
    switch (rc) {
    case -ERR_TOOBIG:
        return "trap.max_files or trap.max_bytes is reached";
    case -ERR_BAD:
        return "what is there of an earlier try cannot be read";
    case -ERR_DENIED:
        return "it is not ours, or others than its owner may write there";
    default:
        return rc == -ERR_SYSTEM && errno == ENOSPC
                   ? "No space left on device, or less than trap.min_free"
                   : err_text(rc);
    }
}

/* Whatever worker.on_error says: what is not on the disk must not be accepted. */
static void fail(struct job *job, int rc, struct wire_reply *reply)
{
    const struct slice uid = job->request.uid;
    struct smtp_reply smtp;
    char text[REPLY_BYTES], id[64], place[256];
    const char *why = why_not_kept(rc);
    trap_store_place(job->conf, place, sizeof(place));
    log_error("trap: the message cannot be kept in %s, and is not accepted: %s", place, why);
    snprintf(id, sizeof(id), "%.*s", (int)(uid.len < sizeof(id) ? uid.len : 0),
        uid.len > 0 ? uid.data : "");
    (void)failure_verdict(FAILURE_CAUSE_ERROR, FAILURE_TEMPFAIL, id, &smtp, text, sizeof(text));
    answer(job, reply, VERDICT_TEMPFAIL, &smtp);
    reply->where = slice_text(job->deeds->where);
    deeds_log(job, "trap", arena_printf(job->arena, "failed: %s", why));
}

/* ---- trap ---- */

static const char *const fate_names[] = {
    [TRAP_KEPT] = "kept",
    [TRAP_WAITING] = "waiting",
    [TRAP_RELEASED] = "released",
    [TRAP_SENT] = "handed_on",
    [TRAP_REFUSED] = "refused",
};

static void tell(struct job *job, const struct trap_result *result, struct tally *tally)
{
    const struct deeds *deeds = job->deeds;
    if (deeds->has_trap) {
        deeds_log(job, "trap",
            arena_printf(job->arena, "%s %s%s%s", trap_mode_name(deeds->mode), result->id,
                result->fate == TRAP_KEPT ? "" : " ",
                result->fate == TRAP_KEPT ? "" : fate_names[result->fate]));
        deeds_count(tally, "trap", "Messages that the filter had kept.", "result",
            result->fate == TRAP_KEPT && !result->is_new ? "again" : fate_names[result->fate]);
    }
    if (deeds->n_parts > 0)
        deeds_log(job, "trap_parts", arena_printf(job->arena, "%u", deeds->n_parts));
}

static int keep(struct job *job, struct tally *tally, struct wire_reply *reply)
{
    struct trap_result result;
    const int rc = trap_keep(job, reply, &result);
    if (rc != 0) {
        deeds_count(tally, "trap", "Messages that the filter had kept.", "result", "failed");
        fail(job, rc, reply);
        return rc;
    }
    tell(job, &result, tally);
    if (job->deeds->has_trap)
        follow(job, result.fate, reply);
    return 0;
}

/* What a server would do, in words and in the answer. */
static void show(struct job *job, struct wire_reply *reply)
{
    const struct deeds *deeds = job->deeds;
    for (uint32_t i = 0; i < deeds->n_parts; i++)
        deeds_log(job, "trap_part",
            arena_printf(
                job->arena, "%.40s: %s", deeds->parts[i].part->path, deeds->parts[i].reason));
    if (!deeds->has_trap)
        return;
    deeds_log(job, "trap",
        arena_printf(job->arena, "%s: %s", trap_mode_name(deeds->mode), deeds->reason));
    follow(job, deeds->mode == TRAP_DEFER ? TRAP_WAITING : TRAP_KEPT, reply);
}

static void show_notices(struct job *job)
{
    const struct deeds *deeds = job->deeds;
    for (uint32_t i = 0; i < deeds->n_notices; i++)
        deeds_log(job, "notify",
            arena_printf(job->arena, "%s: %.*s",
                deeds->notices[i].is_to_sender ? "sender" : "admin",
                (int)deeds->notices[i].subject.len, deeds->notices[i].subject.data));
}

void deeds_do(struct job *job, bool for_real, int64_t deadline_ms, struct tally *tally,
    struct wire_reply *reply)
{
    const struct deeds *deeds = job->deeds;
    if (deeds == NULL)
        return;
    if (!for_real) {
        show(job, reply);
        show_notices(job);
        return;
    }
    const bool is_kept = (!deeds->has_trap && deeds->n_parts == 0) || keep(job, tally, reply) == 0;
    if (is_kept && deeds->n_notices > 0) /* else the mail comes again */
        notify_do(job, deadline_ms, tally);
}
