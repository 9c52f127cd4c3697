/* One request: the hook's arguments, its verdict, changes and state, and what is answered when it
 * fails. */
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/text.h"
#include "common/verdict.h"
#include "worker/deeds.h"
#include "worker/edit.h"
#include "worker/link_deeds.h"
#include "worker/mime.h"
#include "worker/script_internal.h"

enum {
    ERROR_TEXT_MAX = 1024,
    KEEP_CHANGES_BYTES = 1 << 20,
    MAP_VALUE_MAX = 8000 /* of a REPLY's text */
};

struct run {
    struct job *job;
    const struct hook_info *info;
    struct wire_reply *reply;
    bool is_refused; /* the answer is that of a failed rewriting */
    enum failure_answer refusal;
};

/* ---- arguments, by hook ---- */

static int push_conn(lua_State *L, struct job *job)
{
    lapi_push_conn(L, job);
    return 1;
}

static int push_msg(lua_State *L, struct job *job)
{
    lapi_push_msg(L, job);
    return 1;
}

static int push_recipient(lua_State *L, struct job *job)
{
    lapi_push_msg(L, job);
    lapi_push_rcpt(L, job, job->request.recipient_number);
    return 2;
}

static int push_header(lua_State *L, struct job *job)
{
    lapi_push_msg(L, job);
    lapi_push_utf8(L, job->request.name);
    struct slice value = mime_decode_header(job->request.argument, job->arena);
    lapi_push_utf8(L, text_after_blanks(value));
    return 3;
}

static int push_body(lua_State *L, struct job *job)
{
    uint64_t at = job->request.chunk_offset;
    uint64_t len = job->request.chunk_bytes;
    if (at > job->message.len || len > job->message.len - at) {
        return luaL_error(L, "the body block is not within the message");
    }
    lapi_push_msg(L, job);
    lapi_push_slice(L, slice_of(job->message.data + at, len));
    return 2;
}

static int push_command(lua_State *L, struct job *job)
{
    lapi_push_conn(L, job);
    lapi_push_utf8(L, job->request.argument);
    return 2;
}

static int push_name(lua_State *L, struct job *job)
{
    lapi_push_utf8(L, job->request.name);
    return 1;
}

static int push_map(lua_State *L, struct job *job)
{
    lapi_push_utf8(L, job->request.name);
    lapi_push_utf8(L, job->request.argument);
    return 2;
}

/* Hooks that a request may ask for. */
static int (*const push_by_hook[HOOK_COUNT])(lua_State *L, struct job *job) = {
    [HOOK_RELAY] = push_conn,
    [HOOK_HELO] = push_conn,
    [HOOK_SENDER] = push_msg,
    [HOOK_RECIPIENT] = push_recipient,
    [HOOK_DATA] = push_msg,
    [HOOK_HEADER] = push_header,
    [HOOK_HEADERS] = push_msg,
    [HOOK_BODY] = push_body,
    [HOOK_MESSAGE] = push_msg,
    [HOOK_ABORT] = push_msg,
    [HOOK_CLOSE] = push_conn,
    [HOOK_UNKNOWN] = push_command,
    [HOOK_MAP] = push_map,
    [HOOK_TICK] = push_name,
};

static void set_states(lua_State *L, const struct wire_request *request)
{
    struct slice none = slice_of(NULL, 0);
    bool has_conn = (request->flags & REQUEST_HAS_CONN_STATE) != 0;
    bool has_msg = (request->flags & REQUEST_HAS_MSG_STATE) != 0;
    if (lapi_state_set(L, LAPI_STATE_CONN, has_conn ? request->conn_state : none) != 0 ||
        lapi_state_set(L, LAPI_STATE_MSG, has_msg ? request->msg_state : none) != 0) {
        lua_error(L);
    }
}

static int push_arguments(lua_State *L, struct script *script, void *context)
{
    struct run *run = context;
    (void)script;
    set_states(L, &run->job->request);
    return push_by_hook[run->info->hook](L, run->job);
}

/* ---- results ---- */

static const char *take_states(lua_State *L, struct script *script, struct wire_reply *reply)
{
    static const struct {
        enum lapi_state_kind kind;
        uint8_t flag;
    } rows[] = {{LAPI_STATE_CONN, REPLY_HAS_CONN_STATE}, {LAPI_STATE_MSG, REPLY_HAS_MSG_STATE}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf *out = &script->reply_states[rows[i].kind];
        const char *error = NULL;
        bool is_changed = false;
        buf_reset(out);
        if (lapi_state_take(L, rows[i].kind, out, &is_changed, &error) != 0) {
            return error;
        }
        if (is_changed) {
            reply->flags |= rows[i].flag;
            *(rows[i].kind == LAPI_STATE_CONN ? &reply->conn_state : &reply->msg_state) =
                buf_slice(out);
        }
    }
    return NULL;
}

/* The changes of parts become changes of the message, or they do not and are answered for. */
static void finish_edits(struct script *script, struct run *run)
{
    const char *why = NULL;
    enum edit_outcome outcome = edit_finish(run->job, &why);
    if (outcome == EDIT_UNCHANGED || outcome == EDIT_CHANGED) {
        return;
    }
    bool removes = outcome == EDIT_REFUSED_REMOVES;
    run->reply->flags |= REPLY_REWRITE_FAILED;
    run->refusal =
        removes ? script->conf->worker.on_rewrite_failure : script->conf->worker.on_append_failure;
    run->is_refused = run->refusal != FAILURE_ACCEPT;
    log_error("the changes of the message's parts are dropped, since the result is not what was "
              "asked for: %s; the answer is that of worker.%s",
        why, removes ? "on_rewrite_failure" : "on_append_failure");
    buf_put_bytes(&run->job->log_fields, slice_text("rewrite_failed"));
    buf_put_bytes(&run->job->log_fields, slice_text(why));
}

/* Changes asked for by a hook that refuses what it judges have no mail to go to. */
static const char *take_changes(struct script *script, struct run *run, enum verdict verdict)
{
    if (verdict != VERDICT_CONTINUE && verdict != VERDICT_ACCEPT) {
        return NULL;
    }
    finish_edits(script, run);
    if (run->job->n_added == 0 || run->is_refused) {
        return NULL;
    }
    if (job_put_changes(run->job, &script->reply_changes) != 0) {
        return "the changes asked for are too large";
    }
    run->reply->changes = buf_slice(&script->reply_changes);
    return NULL;
}

static void fill_verdict(struct run *run, const struct lapi_verdict *verdict)
{
    struct wire_reply *reply = run->reply;
    struct arena *arena = run->job->arena;
    reply->verdict = (uint8_t)verdict->verdict;
    reply->code = verdict->reply.code;
    reply->dsn = slice_text(arena_memdup0(arena, verdict->reply.dsn, strlen(verdict->reply.dsn)));
    reply->text = verdict->reply.text;
    reply->delay_ms = verdict->delay_ms;
    reply->where = slice_text(arena_memdup0(arena, verdict->where, strlen(verdict->where)));
    reply->flags |= verdict->whole_message ? REPLY_WHOLE_MESSAGE : 0;
}

static void fill_refusal(struct run *run)
{
    struct script_failure_texts *texts = arena_alloc(run->job->arena, sizeof *texts);
    struct wire_reply *reply = run->reply;
    struct slice uid = run->job->request.uid;
    struct smtp_reply smtp = {.code = 0};
    const char *id = arena_memdup0(run->job->arena, uid.len > 0 ? uid.data : "", uid.len);
    reply->verdict = (uint8_t)failure_verdict(
        FAILURE_CAUSE_ERROR, run->refusal, id, &smtp, texts->text, sizeof texts->text);
    snprintf(texts->dsn, sizeof texts->dsn, "%s", smtp.dsn);
    reply->code = smtp.code;
    reply->dsn = slice_text(texts->dsn);
    reply->text = smtp.text;
    reply->delay_ms = 0;
}

/* An MTA throws such a message away without a word; the log shall say what became of it. */
static void discard_when_nobody_is_left(struct run *run)
{
    struct wire_reply *reply = run->reply;
    bool is_last = run->info->hook == HOOK_MESSAGE && reply->verdict == VERDICT_CONTINUE;
    if (run->info->subject != SUBJECT_MESSAGE || (!is_last && reply->verdict != VERDICT_ACCEPT) ||
        !job_lost_all_recipients(run->job)) {
        return;
    }
    reply->verdict = VERDICT_DISCARD;
    buf_put_bytes(&run->job->log_fields, slice_text("discarded"));
    buf_put_bytes(&run->job->log_fields, slice_text("no recipient left"));
}

static const char *check_unreturned(lua_State *L, struct run *run, int first, int n)
{
    const char *name = NULL;
    bool is_nothing = n == 0 || lua_isnil(L, first);
    const char *where = is_nothing ? lapi_verdict_unreturned(L, &name) : NULL;
    if (where == NULL) {
        return NULL;
    }
    return arena_printf(run->job->arena,
        "%s: the verdict %s(…) was made but %s did not return it; write `return %s(…)`", where,
        name, run->info->name, name);
}

const char *script_hook_place(lua_State *L, struct arena *arena)
{
    struct script *script = script_of(L);
    lua_Debug ar;
    lua_rawgeti(L, LUA_REGISTRYINDEX, script->hook_refs[script->hook]);
    if (!lua_isfunction(L, -1)) {
        lua_pop(L, 1);
        return script->chunk_name;
    }
    lua_getinfo(L, ">S", &ar);
    return arena_printf(arena, "%s:%d", ar.short_src, ar.linedefined);
}

/*
 * What filter_map returned, as the socketmap server passes it on in the reply's text: a string is
 * the value, nil not found, nil and a text a temporary failure, and with "perm" a lasting one.
 */
static const char *take_map_results(
    lua_State *L, struct script *script, int first, int n, void *context)
{
    struct run *run = context;
    size_t len = 0;
    const char *word = "OK", *text = "";
    bool is_value = n == 1 && lua_type(L, first) == LUA_TSTRING;
    bool is_nothing = n == 0 || (n == 1 && lua_isnil(L, first));
    bool is_failure = (n == 2 || n == 3) && lua_isnil(L, first) &&
                      lua_type(L, first + 1) == LUA_TSTRING &&
                      (n == 2 || lua_type(L, first + 2) == LUA_TSTRING);
    bool is_lasting = is_failure && n == 3 && strcmp(lua_tostring(L, first + 2), "perm") == 0;
    (void)script;
    if ((!is_value && !is_nothing && !is_failure) || (is_failure && n == 3 && !is_lasting)) {
        return arena_printf(run->job->arena,
            "%s: filter_map returns a string, nil, or nil and why, and then \"perm\" if it lasts",
            script_hook_place(L, run->job->arena));
    }
    if (!is_value) {
        word = is_nothing ? "NOTFOUND" : is_lasting ? "PERM" : "TEMP";
    }
    if (!is_nothing) {
        text = lua_tolstring(L, is_value ? first : first + 1, &len);
    }
    if (len > MAP_VALUE_MAX || memchr(text, 0, len) != NULL) {
        return arena_printf(run->job->arena,
            "%s: a value of filter_map has at most %d bytes, no NUL",
            script_hook_place(L, run->job->arena), MAP_VALUE_MAX);
    }
    run->reply->text = slice_text(arena_printf(run->job->arena, "%s %s", word, text));
    return NULL;
}

static const char *take_results(
    lua_State *L, struct script *script, int first, int n, void *context)
{
    struct run *run = context;
    struct lapi_verdict verdict = {.verdict = VERDICT_CONTINUE};
    const char *error = check_unreturned(L, run, first, n);
    if (error == NULL && n > 1) {
        error = arena_printf(run->job->arena,
            "%s: %s returned %d values; it returns one verdict, or nothing",
            script_hook_place(L, run->job->arena), run->info->name, n);
    }
    if (error == NULL && n == 1) {
        error = lapi_verdict_take(L, first, run->info, run->job, &verdict);
    }
    if (error == NULL) {
        error = take_states(L, script, run->reply);
        error = error != NULL ? error : take_changes(script, run, verdict.verdict);
        if (error != NULL) {
            error = arena_printf(run->job->arena, "%s: %s: %s",
                script_hook_place(L, run->job->arena), run->info->name, error);
        }
    }
    if (error == NULL) {
        fill_verdict(run, &verdict);
        discard_when_nobody_is_left(run);
        if (run->is_refused) {
            fill_refusal(run);
        }
    }
    return error;
}

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

static void fail(struct script *script, struct run *run, const struct script_call *call)
{
    struct arena *arena = run->job->arena;
    struct script_failure_texts *texts = arena_alloc(arena, sizeof *texts);
    const char *error = arena_memdup0(arena, call->error, strlen(call->error));
    script_fill_failure(script->conf, &run->job->request, call->outcome, error, texts, run->reply);
    log_error("%s%s%s", call->error, call->traceback != NULL ? "\n" : "",
        call->traceback != NULL ? call->traceback : "");
}

/* Whatever the configuration says: a part that has left the mail must be somewhere. */
static void fail_link(const struct run *run, const char *why)
{
    struct script_failure_texts *texts = arena_alloc(run->job->arena, sizeof *texts);
    fill_failure(&run->job->request, FAILURE_TEMPFAIL, OUTCOME_ERROR, why, texts, run->reply);
    log_error("%s; the message is deferred", why);
}

/* Only mail that goes on with its changes has links in it. */
static void store_links(const struct script *script, const struct run *run, int64_t deadline_ms)
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

static void set_log_context(const struct run *run)
{
    const struct wire_request *request = &run->job->request;
    bool has_uid = request->uid.len > 0;
    struct slice id = has_uid ? request->uid : request->conn_id;
    char context[128];
    snprintf(context, sizeof context, "%s=%.*s hook=%s", has_uid ? "uid" : "conn", (int)id.len,
        id.len > 0 ? id.data : "", run->info->name);
    log_set_context(context);
}

static void begin(struct script *script, const struct run *run)
{
    script->job = run->job;
    script->hook = run->info->hook;
    lapi_verdict_reset(script->L);
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
    return hook < HOOK_COUNT && (script->hooks & HOOK_BIT(hook)) != 0 && push_by_hook[hook] != NULL;
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
    struct run run = {.job = job, .info = hook_info((enum hook)hook), .reply = reply};
    struct script_call call = {.function_ref = script->hook_refs[hook],
        .push = push_arguments,
        .take = hook == HOOK_MAP ? take_map_results : take_results,
        .context = &run,
        .deadline_ms = deadline_ms};
    int64_t start_us = clock_now_us();
    begin(script, &run);
    script_call(script, &call);
    if (call.outcome != OUTCOME_OK) {
        fail(script, &run, &call);
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
