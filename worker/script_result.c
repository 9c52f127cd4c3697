/* What a hook returned, changed and kept: verdict, changes and state of the reply. */
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/verdict.h"
#include "worker/edit.h"
#include "worker/script_run.h"

enum { MAP_VALUE_MAX = 8000 }; /* of a REPLY's text */

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
static void finish_edits(struct script *script, struct script_run *run)
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
static const char *take_changes(struct script *script, struct script_run *run, enum verdict verdict)
{
    if (verdict != VERDICT_CONTINUE && verdict != VERDICT_ACCEPT) {
        return NULL;
    }
    finish_edits(script, run);
    const char *error = run->is_refused ? NULL : script_finish_run(script->L, script);
    if (error != NULL) {
        return arena_memdup0(run->job->arena, error, strlen(error));
    }
    if (run->job->n_added == 0 || run->is_refused) {
        return NULL;
    }
    if (job_put_changes(run->job, &script->reply_changes) != 0) {
        return "the changes asked for are too large";
    }
    run->reply->changes = buf_slice(&script->reply_changes);
    return NULL;
}

static void fill_verdict(struct script_run *run, const struct lapi_verdict *verdict)
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

static void fill_refusal(struct script_run *run)
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
static void discard_when_nobody_is_left(struct script_run *run)
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

static const char *check_unreturned(lua_State *L, struct script_run *run, int first, int n)
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

const char *script_take_map_results(
    lua_State *L, struct script *script, int first, int n, void *context)
{
    struct script_run *run = context;
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

const char *script_take_results(
    lua_State *L, struct script *script, int first, int n, void *context)
{
    struct script_run *run = context;
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
