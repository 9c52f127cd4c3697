/* One request: what the hook is called with, how it ends, and what is answered when it fails. */
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/verdict.h"
#include "worker/deeds.h"
#include "worker/link_deeds.h"
#include "worker/script_run.h"

enum {
    ERROR_TEXT_MAX = 1024,
    KEEP_CHANGES_BYTES = 1 << 20,
};

/* ---- failure ---- */

static enum verdict verdict_for_subject(enum verdict verdict, enum subject subject)
{
    bool is_judged = subject == SUBJECT_CONNECTION || subject == SUBJECT_MESSAGE;
    bool is_refusal = verdict == VERDICT_REJECT || verdict == VERDICT_TEMPFAIL;
    if (subject == SUBJECT_NONE || (!is_judged && !is_refusal)) {
        return VERDICT_CONTINUE; /* one recipient or command taken is no end of filtering */
    }
    return verdict;
}

static void fill_failure(const struct wire_request *request, enum failure_answer answer,
    enum reply_outcome outcome, const char *error, struct script_failure_texts *texts,
    struct wire_reply *reply)
{
    const struct hook_info *info = hook_info((enum hook)request->hook);
    struct slice id = request->uid.len > 0 ? request->uid : request->conn_id;
    struct smtp_reply smtp = {.code = 0};
    char uid[64];
    snprintf(uid, sizeof uid, "%.*s", (int)(id.len < sizeof uid ? id.len : 0),
        id.len > 0 ? id.data : "");
    enum verdict verdict =
        failure_verdict(FAILURE_CAUSE_ERROR, answer, uid, &smtp, texts->text, sizeof texts->text);
    snprintf(texts->dsn, sizeof texts->dsn, "%s", smtp.dsn);
    *reply = (struct wire_reply){.outcome = (uint8_t)outcome,
        .verdict = (uint8_t)verdict_for_subject(verdict, info->subject),
        .error = slice_text(error)};
    reply->error.len = reply->error.len < ERROR_TEXT_MAX ? reply->error.len : ERROR_TEXT_MAX;
    if (reply->verdict == VERDICT_REJECT || reply->verdict == VERDICT_TEMPFAIL) {
        reply->code = smtp.code;
        reply->dsn = slice_text(texts->dsn);
        reply->text = smtp.text;
    }
    if (answer == FAILURE_ACCEPT && info->subject != SUBJECT_NONE) {
        reply->flags |= REPLY_NO_CHANGES;
    }
}

void script_fill_failure(const struct conf *conf, const struct wire_request *request,
    enum reply_outcome outcome, const char *error, struct script_failure_texts *texts,
    struct wire_reply *reply)
{
    fill_failure(request, conf->worker.on_error, outcome, error, texts, reply);
}

static void fail(struct script *script, struct script_run *run, const struct script_call *call)
{
    struct arena *arena = run->job->arena;
    struct script_failure_texts *texts = arena_alloc(arena, sizeof *texts);
    const char *error = arena_memdup0(arena, call->error, strlen(call->error));
    script_fill_failure(script->conf, &run->job->request, call->outcome, error, texts, run->reply);
    log_error("%s%s%s", call->error, call->traceback != NULL ? "\n" : "",
        call->traceback != NULL ? call->traceback : "");
}

/* A back end that could not answer ended the hook. False: a tempfail is no answer there. */
static bool defer(struct script *script, struct script_run *run)
{
    struct arena *arena = run->job->arena;
    struct wire_reply *reply = run->reply;
    struct smtp_reply smtp = smtp_reply_default(VERDICT_TEMPFAIL);
    bool is_map = run->info->hook == HOOK_MAP;
    if (!is_map && (run->info->subject == SUBJECT_NONE ||
                       !verdict_is_allowed(VERDICT_TEMPFAIL, run->info->subject, false))) {
        return false;
    }
    const char *why = arena_memdup0(arena, script->deferred_text, strlen(script->deferred_text));
    const char *where = script->deferred_where;
    log_warn("%s: %s; %s ends with tempfail (on_failure)", where, why, run->info->name);
    *reply = (struct wire_reply){.outcome = OUTCOME_OK, .verdict = VERDICT_CONTINUE};
    if (is_map) {
        reply->text = slice_text(arena_printf(arena, "TEMP %s", why));
        return true;
    }
    reply->verdict = VERDICT_TEMPFAIL;
    reply->code = smtp.code;
    reply->dsn = slice_text(arena_memdup0(arena, smtp.dsn, strlen(smtp.dsn)));
    reply->text = slice_text("this cannot be checked now, try again later");
    reply->where = slice_text(arena_memdup0(arena, where, strlen(where)));
    buf_put_bytes(&run->job->log_fields, slice_text("deferred"));
    buf_put_bytes(&run->job->log_fields, slice_text(why));
    return true;
}

/* Whatever the configuration says: a part that has left the mail must be somewhere. */
static void fail_link(const struct script_run *run, const char *why)
{
    struct script_failure_texts *texts = arena_alloc(run->job->arena, sizeof *texts);
    fill_failure(&run->job->request, FAILURE_TEMPFAIL, OUTCOME_ERROR, why, texts, run->reply);
    log_error("%s; the message is deferred", why);
}

/* Only mail that goes on with its changes has links in it. */
static void store_links(
    const struct script *script, const struct script_run *run, int64_t deadline_ms)
{
    const struct wire_reply *reply = run->reply;
    const char *why = link_deeds_failure(run->job);
    bool goes_on = reply->outcome == OUTCOME_OK && (reply->flags & REPLY_REWRITE_FAILED) == 0 &&
                   (reply->verdict == VERDICT_CONTINUE || reply->verdict == VERDICT_ACCEPT);
    if (why == NULL && goes_on && script->does_deeds) {
        why = link_deeds_do(run->job, deadline_ms);
    }
    if (why != NULL) {
        fail_link(run, why);
    }
}

/* ---- the run ---- */

static void set_log_context(const struct script_run *run)
{
    const struct wire_request *request = &run->job->request;
    bool has_uid = request->uid.len > 0;
    struct slice id = has_uid ? request->uid : request->conn_id;
    char context[128];
    snprintf(context, sizeof context, "%s=%.*s hook=%s", has_uid ? "uid" : "conn", (int)id.len,
        id.len > 0 ? id.data : "", run->info->name);
    log_set_context(context);
}

static void begin(struct script *script, const struct script_run *run)
{
    script->job = run->job;
    run->job->origin_key = script->has_origin_key ? script->origin_key : NULL;
    script->hook = run->info->hook;
    lapi_verdict_reset(script->L);
    script_finish_forget(script);
    script_note_begin(script);
    set_log_context(run);
    if (script->reply_changes.cap > KEEP_CHANGES_BYTES) {
        buf_clear(&script->reply_changes);
    }
    buf_reset(&script->reply_changes);
}

static void end(struct script *script)
{
    lapi_boxes_clear(script->L);
    script->job = NULL;
    script->hook = HOOK_NONE;
    if (script->scratch.cap > KEEP_CHANGES_BYTES) {
        buf_clear(&script->scratch);
    }
    log_set_context(NULL);
}

/* What is only garbage is no reason to be recycled: a heap over multiplexor.recycle_heap is
 * collected before it is told. */
static uint32_t told_heap_kb(struct script *script)
{
    int64_t limit_kb = script->conf->multiplexor.recycle_heap / 1024;
    if (limit_kb > 0 && script_heap_kb(script) > limit_kb) {
        lua_gc(script->L, LUA_GCCOLLECT);
    }
    return script_heap_kb(script);
}

static bool is_served(const struct script *script, unsigned hook)
{
    return hook < HOOK_COUNT && (script->hooks & HOOK_BIT(hook)) != 0 &&
           script_has_arguments((enum hook)hook);
}

void script_run(
    struct script *script, struct job *job, int64_t deadline_ms, struct wire_reply *reply)
{
    *reply = (struct wire_reply){.outcome = OUTCOME_OK, .verdict = VERDICT_CONTINUE};
    unsigned hook = job->request.hook;
    if (!is_served(script, hook)) {
        reply->heap_kb = script_heap_kb(script);
        return;
    }
    struct script_run run = {.job = job, .info = hook_info((enum hook)hook), .reply = reply};
    struct script_call call = {.function_ref = script->hook_refs[hook],
        .push = script_push_arguments,
        .take = hook == HOOK_MAP ? script_take_map_results : script_take_results,
        .context = &run,
        .deadline_ms = deadline_ms};
    int64_t start_us = clock_now_us();
    begin(script, &run);
    script_call(script, &call);
    if (call.outcome != OUTCOME_OK) {
        if (!script->is_deferred || !defer(script, &run)) {
            fail(script, &run, &call);
        }
    } else {
        deeds_do(job, script->does_deeds, deadline_ms, script->tally, reply);
    }
    script_call_clear(&call);
    store_links(script, &run, deadline_ms);
    end(script);
    reply->log_fields = buf_slice(&job->log_fields);
    reply->hook_us = (uint32_t)(clock_now_us() - start_us);
    reply->heap_kb = told_heap_kb(script);
}
