/*
 * msg:append_text and msg:append_html: text at the end of what a person reads, in every
 * alternative. All parts get it, or none does. The two called one after the other are one text in
 * two forms: the HTML alternative gets the HTML alone.
 */
#include "worker/lapi_msg_append.h"

#include <string.h>
#include <strings.h>

#include "common/text.h"
#include "worker/append.h"
#include "worker/edit.h"
#include "worker/lapi_msg.h"
#include "worker/mime_impl.h"

/* What the last call did to an HTML part. */
struct append_note {
    const struct mime_part *part;
    struct slice before, after; /* encoded */
};
struct append_memory {
    bool was_html;
    uint32_t n;
    struct append_note notes[]; /* as many as there were parts */
};

/* The new body of one part. */
struct change {
    const struct mime_part *part;
    struct edit_now now;
    struct append append;
    struct slice body; /* in the call's arena */
};

/* One call. */
struct call {
    struct job *job;
    struct mime *mime;
    struct lapi_append_options options;
    bool is_html;
    struct slice text;
    struct slice as_html; /* the same as HTML */
    struct arena *arena;
    struct append_parts parts;
    struct change *changes;
    uint32_t n_changes;
    bool is_second;    /* of the two forms of one text */
    const char *wrong; /* NULL, or an error to raise */
};

/* ---- the two forms of one text ---- */

/* The note of the part when its content is still what the last call made of it; NULL. */
static const struct append_note *find_note(
    const struct call *call, const struct mime_part *part, struct slice encoded)
{
    const struct append_memory *memory = call->job->append;
    for (uint32_t i = 0; memory != NULL && i < memory->n; i++) {
        if (memory->notes[i].part == part && slice_equal(memory->notes[i].after, encoded))
            return &memory->notes[i];
    }
    return NULL;
}

static void remember(struct call *call)
{
    struct job *job = call->job;
    struct edit_now now;
    job->append = NULL;
    if (call->is_second)
        return;
    struct append_memory *memory =
        arena_alloc(job->arena, sizeof(*memory) + call->n_changes * sizeof(struct append_note));
    *memory = (struct append_memory){.was_html = call->is_html};
    for (uint32_t i = 0; i < call->n_changes; i++) {
        const struct change *change = &call->changes[i];
        if (!change->append.is_html)
            continue;
        edit_part_now(job, change->part, &now);
        memory->notes[memory->n++] = (struct append_note){
            .part = change->part, .before = change->append.body, .after = now.encoded};
    }
    job->append = memory;
}

/* ---- the new bodies ---- */

static bool has_param(const struct mime_part *part, const char *name, const char *value)
{
    const char *own = mime_param_find(part->params, part->n_params, name);
    return own != NULL && strcasecmp(own, value) == 0;
}

/* False when this part gets nothing from this call. */
static bool prepare(struct call *call, const struct mime_part *part, struct change *change)
{
    *change = (struct change){.part = part};
    edit_part_now(call->job, part, &change->now);
    const struct edit_now *now = &change->now;
    const bool is_html = append_is_html(now->type);
    if (!is_html && call->is_html)
        return false;
    const struct append_memory *memory = call->job->append;
    const bool is_pair = is_html && memory != NULL && memory->was_html != call->is_html;
    const struct append_note *note = is_pair ? find_note(call, part, now->encoded) : NULL;
    call->is_second |= note != NULL;
    if (note != NULL && !call->is_html)
        return false; /* has its HTML */
    change->append = (struct append){.body = note != NULL ? note->before : now->encoded,
        .charset = now->charset,
        .encoding = now->encoding,
        .line_end = edit_line_end(part),
        .is_html = is_html,
        .is_flowed = has_param(now->header, "format", "flowed"),
        .has_delsp = has_param(now->header, "delsp", "yes"),
        .is_top = part->parent == NULL,
        .text = is_html ? call->as_html : call->text};
    return true;
}

/* NULL, or why not. */
static const char *make_bodies(struct call *call)
{
    struct buf out;
    buf_init(&out, JOB_CHANGES_MAX);
    call->changes = arena_calloc(call->arena, call->parts.n, sizeof(*call->changes));
    const char *refusal = NULL;
    bool has_any = false;
    for (uint32_t i = 0; refusal == NULL && i < call->parts.n; i++) {
        struct change *change = &call->changes[call->n_changes];
        if (!prepare(call, call->parts.items[i], change))
            continue;
        has_any = true;
        refusal = edit_refuse_content(change->part) == NULL
                      ? append_to_body(&change->append, call->arena, &out)
                      : "ambiguous";
        change->body = slice_of(arena_memdup0(call->arena, out.data, out.len), out.len);
        buf_reset(&out);
        call->n_changes++;
    }
    buf_clear(&out);
    return refusal != NULL || has_any || call->is_second ? refusal : "no text part";
}

/* All of them or none. */
static void apply(struct call *call)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < call->n_changes; i++)
        bytes += call->changes[i].body.len;
    if (bytes > JOB_CHANGES_MAX - call->job->added_bytes)
        call->wrong = "the changes of one hook are too large";
    for (uint32_t i = 0; call->wrong == NULL && i < call->n_changes; i++) {
        const struct change *change = &call->changes[i];
        call->wrong = edit_set_encoded(call->job, change->part, change->body,
            change->append.new_charset, change->append.new_encoding, EDIT_ADDS);
    }
    if (call->wrong == NULL)
        remember(call);
}

/* NULL when it was done, or why not; call->wrong is set for what is an error. */
static const char *run(struct call *call)
{
    struct buf html;
    const char *refusal =
        append_find_parts(call->job, call->options.is_forced, call->arena, &call->parts);
    if (refusal != NULL)
        return refusal;
    if (call->options.is_once &&
        lapi_append_is_there(call->mime, &call->options, call->text, call->is_html, call->arena))
        return "already there";
    buf_init(&html, JOB_CHANGES_MAX);
    call->as_html = call->text;
    if (!call->is_html && append_put_as_html(call->text, &html) == 0)
        call->as_html = slice_of(arena_memdup0(call->arena, html.data, html.len), html.len);
    buf_clear(&html);
    refusal = make_bodies(call);
    if (refusal == NULL)
        apply(call);
    return refusal;
}

/* ---- Lua ---- */

static const char *const option_names[] = {"force", "once", NULL};

static void check_options(lua_State *L, int index, struct lapi_append_options *out)
{
    *out = (struct lapi_append_options){0};
    if (lua_isnoneornil(L, index))
        return;
    lapi_check_keys(L, index, option_names);
    lua_getfield(L, index, "force");
    if (!lua_isnil(L, -1) && !lua_isboolean(L, -1))
        luaL_argerror(L, index, "force is true or false");
    out->is_forced = lua_toboolean(L, -1);
    lua_pop(L, 1);
    lapi_append_check_once(L, index, out);
}

static int finish(lua_State *L, const char *method, const char *wrong, const char *refusal)
{
    if (wrong != NULL)
        return luaL_error(L, "msg:%s: %s", method, wrong);
    lua_pushboolean(L, refusal == NULL);
    if (refusal == NULL)
        return 1;
    lua_pushstring(L, refusal);
    return 2;
}

static int append(lua_State *L, const char *method, const char *what, bool is_html)
{
    lapi_msg_check_change(L, method);
    struct job *job = lapi_msg_check_known(L, what, HOOK_MESSAGE);
    struct call call = {.job = job, .text = lapi_check_slice(L, 2), .is_html = is_html};
    check_options(L, 3, &call.options);
    if (!text_is_utf8(call.text) || memchr(call.text.data, '\0', call.text.len) != NULL)
        luaL_argerror(L, 2, "UTF-8 text without NUL expected");
    call.mime = lapi_mime(L, job);
    if (job_plan(job)->has_body) {
        const char *why = lapi_append_to_replaced(
            job, mime_root(call.mime), call.text, is_html, call.options.is_forced, &call.wrong);
        return finish(L, method, call.wrong, why);
    }
    call.arena = arena_new();
    const char *refusal = run(&call);
    arena_free(call.arena);
    return finish(L, method, call.wrong, refusal);
}

int lapi_msg_append_text(lua_State *L)
{
    return append(L, "append_text", "msg:append_text()", false);
}

int lapi_msg_append_html(lua_State *L)
{
    return append(L, "append_html", "msg:append_html()", true);
}
