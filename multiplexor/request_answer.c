/* A worker's answer on its way back, and our own in its place. */
#include "multiplexor/request_answer.h"

#include <stdio.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/parcel.h"
#include "multiplexor/canary.h"
#include "multiplexor/child.h"
#include "multiplexor/client.h"
#include "multiplexor/death.h"
#include "multiplexor/generation.h"
#include "multiplexor/limits.h"
#include "multiplexor/mux.h"
#include "multiplexor/request.h"
#include "multiplexor/shadow.h"

enum { OVERLOAD_LOG_MS = 5000 };

/* Sends the answer and frees the request; counted when the client got it. hook_us < 0: no worker
 * ran it. */
static void deliver(struct request *request, struct slice record, unsigned outcome,
    unsigned verdict, int64_t hook_us, int annex_fd)
{
    struct mux *mux = request->mux;
    struct client *client = request->client;
    enum hook hook = request->hook->hook;
    int64_t queue_us = request->queue_us;
    bool is_shadow = request->is_shadow;
    request_free(request);
    if (client != NULL && client_answer(client, record, annex_fd) && !is_shadow)
        stats_answered(&mux->stats, hook, outcome, verdict, queue_us, hook_us, clock_now_ms());
}

/* Gives the shadow's part in it the answer to compare with; spilled fields have to be opened again.
 */
static void tell_shadow(
    struct request *request, struct slice record, const struct wire_reply *reply, int annex_fd)
{
    struct wire_reply opened = *reply;
    struct slice annex = {0};
    if (request->shadow == NULL)
        return;
    if (annex_fd >= 0 && (annex_open(annex_fd, WIRE_ANNEX_MAX, &annex) != 0 ||
                             wire_get_reply(record, annex, &opened) != 0))
        shadow_forget_live(request);
    else
        shadow_note_live(request, &opened);
    annex_close(annex);
}

void request_answer(struct request *request, uint8_t *record, size_t len,
    const struct wire_reply *reply, int annex_fd)
{
    uint32_t pid = 0, generation = reply->generation;
    int64_t hook_us = -1;
    if (request->child != NULL) {
        pid = (uint32_t)request->child->pid;
        generation = request->child->generation->number;
        hook_us = clock_now_us() - request->sent_us;
        canary_note(request->child->generation, request->hook->hook, reply->outcome, reply->verdict,
            hook_us);
    }
    wire_patch_id(record, request->client_id);
    wire_patch_reply(record, generation, pid, (uint32_t)request->queue_us, request->attempt);
    if ((reply->flags & REPLY_REWRITE_FAILED) != 0 && !request->is_shadow)
        request->mux->stats.rewrite_failures++;
    tell_shadow(request, slice_of(record, len), reply, annex_fd);
    if (request->is_parcel_held)
        wire_patch_reply_flags(record, reply->flags | REPLY_PARCEL_HELD);
    deliver(request, slice_of(record, len), reply->outcome, reply->verdict, hook_us, annex_fd);
}

struct failure {
    enum failure_cause cause;
    enum failure_answer answer;
};

static struct failure failure_of(const struct conf *conf, enum reply_outcome outcome)
{
    switch (outcome) {
    case OUTCOME_DEADLINE:
        return (struct failure){FAILURE_CAUSE_ERROR, conf->worker.on_error};
    case OUTCOME_OVERLOAD:
        return (struct failure){FAILURE_CAUSE_OVERLOAD, conf->multiplexor.on_overload};
    case OUTCOME_POISON:
        return (struct failure){FAILURE_CAUSE_POISON, conf->multiplexor.on_poison};
    case OUTCOME_NOBODY:
    case OUTCOME_DIED:
        return (struct failure){FAILURE_CAUSE_NOBODY, conf->milterd.on_failure};
    case OUTCOME_DRAIN:
    case OUTCOME_RENEGOTIATE: /* always temporary: the MTA reconnects and negotiates anew */
        return (struct failure){FAILURE_CAUSE_OVERLOAD, FAILURE_TEMPFAIL};
    case OUTCOME_OK:
    case OUTCOME_ERROR:
    case OUTCOME_MEMORY:
    case OUTCOME_COUNT:
        break;
    }
    log_panic("outcome %d is not the multiplexor's to give", (int)outcome);
}

/* An answer `accept` means, for a recipient or a command, that it goes on: one recipient must not
 * exempt the others. */
static enum verdict fit_subject(enum verdict verdict, enum subject subject)
{
    if (subject == SUBJECT_NONE)
        return VERDICT_CONTINUE; /* nothing is judged; the outcome says what happened */
    if (verdict == VERDICT_ACCEPT && (subject == SUBJECT_RECIPIENT || subject == SUBJECT_COMMAND))
        return VERDICT_CONTINUE;
    return verdict;
}

static void log_failure(struct request *request, enum reply_outcome outcome, const char *why)
{
    struct mux *mux = request->mux;
    enum log_level level =
        LOG_LEVEL_DEBUG; /* milterd's line of the message tells what it was answered */
    if (outcome == OUTCOME_POISON || outcome == OUTCOME_DIED)
        level = request->is_shadow ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR;
    if (outcome == OUTCOME_OVERLOAD && !request->is_shadow &&
        clock_now_ms() - mux->overload_logged_ms >= OVERLOAD_LOG_MS) {
        mux->overload_logged_ms = clock_now_ms();
        level = LOG_LEVEL_WARN;
    }
    log_at(level, "%s%s uid=%s conn=%s: answered %s: %s", request->is_shadow ? "shadow: " : "",
        request->hook->name, request->uid, request->conn_id, wire_outcome_name(outcome), why);
}

/* The one that runs it, or in whose queue it waits; NULL: neither. */
static struct generation *generation_of(const struct request *request)
{
    struct generation *generation;
    if (request->child != NULL)
        return request->child->generation;
    TAILQ_FOREACH(generation, &request->mux->generations, entry)
    {
        if (request->queue == &generation->queue)
            return generation;
    }
    return NULL;
}

void request_fail(struct request *request, enum reply_outcome outcome, const char *why)
{
    struct mux *mux = request->mux;
    struct failure failure = failure_of(mux->conf, outcome);
    struct smtp_reply smtp = {0};
    char text[REPLY_LINE_MAX];
    const char *id = request->uid[0] != '\0' ? request->uid : request->conn_id;
    enum verdict verdict =
        fit_subject(failure_verdict(failure.cause, failure.answer, id, &smtp, text, sizeof(text)),
            request->hook->subject);
    bool is_refusal = verdict == VERDICT_REJECT || verdict == VERDICT_TEMPFAIL;
    char deaths[DEATHS_TEXT_MAX] = "";
    if (outcome == OUTCOME_POISON)
        deaths_record(request->deaths, deaths, sizeof(deaths));
    struct wire_reply reply = {
        .generation =
            request->child != NULL ? request->child->generation->number : request->asked_generation,
        .worker_pid = request->child != NULL ? (uint32_t)request->child->pid : 0,
        .attempt = request->attempt,
        .outcome = (uint8_t)outcome,
        .verdict = (uint8_t)verdict,
        .flags = failure.answer == FAILURE_ACCEPT && (request->hook->flags & HOOK_HAS_MSG) != 0
                     ? REPLY_NO_CHANGES
                     : 0,
        .error = slice_text(why),
        .deaths = slice_text(deaths),
    };
    if (is_refusal) {
        reply.code = outcome == OUTCOME_RENEGOTIATE ? 421 : smtp.code;
        reply.dsn = slice_text(smtp.dsn);
        reply.text = smtp.text;
    }
    int64_t hook_us = request->child != NULL ? clock_now_us() - request->sent_us : -1;
    struct generation *generation = generation_of(request);
    if (generation != NULL)
        canary_note(generation, request->hook->hook, outcome, verdict, hook_us);
    shadow_note_live(request, &reply);
    reply.flags |= request->is_parcel_held ? REPLY_PARCEL_HELD : 0;
    log_failure(request, outcome, why);
    if (request->state == REQUEST_QUEUED)
        request->queue_us += clock_now_us() - request->queued_us;
    reply.queue_us = (uint32_t)request->queue_us;
    int err = wire_put_reply(&mux->encoded, NULL, request->client_id, 0, &reply);
    LOG_INVARIANT(err == 0);
    deliver(request, buf_slice(&mux->encoded), outcome, verdict, hook_us, -1);
}

void request_fail_over_limit(struct request *request, struct limit_key *key)
{
    char why[LIMIT_NAME_MAX + 32];
    limit_key_count_refusal(key);
    snprintf(why, sizeof(why), "over the limit %s", limit_key_name(key));
    request_fail(request, OUTCOME_OVERLOAD, why);
}

void request_fail_as_poison(struct request *request)
{
    char why[DEATHS_TEXT_MAX];
    deaths_sentence(request->deaths, why, sizeof(why));
    request_fail(request, OUTCOME_POISON, why);
}
