/* The message as a whole: its bytes, its body, hold, and what goes into its log line. */
#include "worker/lapi_msg.h"

#include <string.h>

#include "common/log.h"
#include "common/text.h"
#include "worker/append.h"
#include "worker/content_type.h"
#include "worker/edit.h"
#include "worker/mime.h"

enum { LOG_KEY_MAX = 64, HOLD_REASON_MAX = 500 };

int lapi_msg_raw(lua_State *L)
{
    lapi_push_slice(L, lapi_msg_check_known(L, "msg:raw()", HOOK_MESSAGE)->message);
    return 1;
}

int lapi_msg_raw_headers(lua_State *L)
{
    const struct job *job = lapi_msg_check_known(L, "msg:raw_headers()", HOOK_HEADERS);
    lapi_push_slice(L, job_header_block(job));
    return 1;
}

int lapi_msg_raw_body(lua_State *L)
{
    const struct job *job = lapi_msg_check_known(L, "msg:raw_body()", HOOK_MESSAGE);
    lapi_push_slice(L, job_body(job));
    return 1;
}

int lapi_msg_to_eml(lua_State *L)
{
    struct job *job = lapi_msg_check_known(L, "msg:to_eml()", HOOK_MESSAGE);
    if (edit_is_pending(job)) {
        struct slice message;
        const char *wrong = edit_render(job, &message);
        if (wrong != NULL)
            return luaL_error(L, "msg:to_eml(): %s", wrong);
        lapi_push_slice(L, message);
        return 1;
    }
    buf_clear(&job->scratch);
    if (job_render(job, &job->scratch) != 0)
        return luaL_error(L, "msg:to_eml(): the message is too large");
    lapi_push_slice(L, buf_slice(&job->scratch));
    buf_clear(&job->scratch);
    return 1;
}

/* A reason may come out of the mail: what does not fit into a line becomes spaces or is cut, and an
 * empty one gets a text. */
int lapi_msg_hold(lua_State *L)
{
    static const struct text_bounds bounds = {HOLD_REASON_MAX, HOLD_REASON_MAX, 1};
    struct job *job = lapi_msg_check_change(L, "hold");
    struct slice reason = lapi_check_slice(L, 2);
    char text[HOLD_REASON_MAX];
    if (reason.len == 0)
        reason = slice_text("held by the filter");
    const struct action action = {
        .kind = ACTION_HOLD, .value = slice_of(text, text_clean(text, reason, &bounds))};
    lapi_msg_add(L, job, "hold", &action);
    return 0;
}

int lapi_msg_replace_body(lua_State *L)
{
    struct job *job = lapi_msg_check_change(L, "replace_body");
    const struct action action = {.kind = ACTION_REPLACE_BODY, .body = lapi_check_slice(L, 2)};
    lapi_msg_add(L, job, "replace_body", &action);
    edit_forget(job);
    return 0;
}

static struct slice check_log_key(lua_State *L, int index)
{
    const struct slice key = lapi_check_slice(L, index);
    bool is_good = key.len > 0 && key.len <= LOG_KEY_MAX;
    for (size_t i = 0; is_good && i < key.len; i++) {
        const char c = key.data[i];
        is_good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '_' || c == '-' || c == '.';
    }
    if (!is_good)
        luaL_argerror(L, index, "a key has 1 to 64 letters, digits or _ - .");
    return key;
}

/* True, or false when the line is full: a filter must not fail for its notes. */
int lapi_msg_log(lua_State *L)
{
    struct job *job = lapi_msg_check(L);
    const struct slice key = check_log_key(L, 2);
    struct slice value;
    luaL_checkany(L, 3);
    value.data = luaL_tolstring(L, 3, &value.len);
    const bool has_room = 8 + key.len + value.len <= job->log_fields.max - job->log_fields.len;
    if (has_room) {
        buf_put_bytes(&job->log_fields, key);
        buf_put_bytes(&job->log_fields, value);
    } else {
        log_warn("msg:log(): no room left for \"%.*s\"", (int)key.len, key.data);
    }
    lua_pushboolean(L, has_room);
    return 1;
}

/* ---- append_text ---- */

/* The first field of that name as it would leave; NULL. */
static const struct plan_field *find_field(const struct plan *plan, const char *name)
{
    for (uint32_t i = 0; i < plan->n_fields; i++) {
        if (slice_equal_nocase(plan->fields[i].name, slice_text(name)))
            return &plan->fields[i];
    }
    return NULL;
}

static const char *lower_copy(struct job *job, struct slice s)
{
    while (s.len > 0 && (s.data[0] == ' ' || s.data[0] == '\t')) {
        s.data++;
        s.len--;
    }
    char *text = arena_memdup0(job->scratch_arena, s.data, s.len);
    text_lower(text);
    return text;
}

/*
 * Body, charset and encoding of the text: those of the part with the changes so far, or what this
 * filter made of them. False when it is not plain text.
 */
static bool read_format(struct job *job, const struct mime_part *root, struct append *append)
{
    const struct plan *plan = job_plan(job);
    if (!plan->has_body) {
        struct edit_now now;
        edit_part_now(job, root, &now);
        append->body = now.encoded;
        append->charset = now.charset;
        append->encoding = now.encoding;
        return !now.is_gone && !root->is_container && strcmp(now.type, "text/plain") == 0;
    }
    const struct plan_field *type = find_field(plan, "Content-Type");
    const struct plan_field *encoding = find_field(plan, "Content-Transfer-Encoding");
    append->body = plan->body;
    append->charset = root->charset;
    append->encoding = root->encoding;
    if (encoding != NULL && encoding->received == NULL)
        append->encoding = lower_copy(job, encoding->value);
    if (type != NULL && type->received == NULL) {
        append->charset = content_type_charset(type->value, job->scratch_arena);
        return content_type_is(type->value, "text/plain");
    }
    return !root->is_container && strcmp(root->type, "text/plain") == 0;
}

static const char *const append_options[] = {"force", NULL};

static bool check_force(lua_State *L, int index)
{
    if (lua_isnoneornil(L, index))
        return false;
    lapi_check_keys(L, index, append_options);
    lua_getfield(L, index, "force");
    if (!lua_isnil(L, -1) && !lua_isboolean(L, -1))
        luaL_argerror(L, index, "force is true or false");
    const bool force = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return force;
}

static const char *set_field(struct job *job, const char *name, struct slice value)
{
    const struct action action = {
        .kind = ACTION_SET_HEADER, .index = 1, .name = slice_text(name), .value = value};
    return job_add_action(job, &action);
}

/* What the header must say about the new body. NULL, or what is wrong. */
static const char *set_format(struct job *job, const struct append *append)
{
    const struct plan_field *type = find_field(job_plan(job), "Content-Type");
    const bool has_version = find_field(job_plan(job), "MIME-Version") != NULL;
    const char *wrong = NULL;
    if (!append->needs_utf8 && !append->needs_8bit)
        return NULL;
    if (append->needs_utf8) {
        const struct slice value = content_type_with_charset(
            type != NULL ? type->value : slice_of(NULL, 0), "utf-8", job->scratch_arena);
        wrong = set_field(job, "Content-Type",
            mime_encode_header(value, strlen("Content-Type"), job->scratch_arena));
    }
    if (wrong == NULL && append->needs_8bit)
        wrong = set_field(job, "Content-Transfer-Encoding", slice_text("8bit"));
    if (wrong == NULL && !has_version)
        wrong = set_field(job, "MIME-Version", slice_text("1.0"));
    return wrong;
}

/* The changes of one call: all of them, or none when one is refused. */
static const char *add_changes(
    struct job *job, const struct mime_part *root, const struct append *append)
{
    if (!job_plan(job)->has_body)
        return edit_set_encoded(job, root, buf_slice(&job->scratch),
            append->needs_utf8 ? "utf-8" : NULL, append->needs_8bit ? "8bit" : NULL, EDIT_ADDS);
    const uint32_t n_before = job->n_added;
    const struct action action = {.kind = ACTION_REPLACE_BODY, .body = buf_slice(&job->scratch)};
    const char *wrong = job_add_action(job, &action);
    if (wrong == NULL)
        wrong = set_format(job, append);
    if (wrong != NULL)
        job_drop_actions(job, n_before);
    return wrong;
}

static int refuse(lua_State *L, const char *why)
{
    lua_pushboolean(L, false);
    lua_pushstring(L, why);
    return 2;
}

int lapi_msg_append_text(lua_State *L)
{
    lapi_msg_check_change(L, "append_text");
    struct job *job = lapi_msg_check_known(L, "msg:append_text()", HOOK_MESSAGE);
    struct append append = {.text = lapi_check_slice(L, 2)};
    const bool is_forced = check_force(L, 3);
    if (!text_is_utf8(append.text) || memchr(append.text.data, '\0', append.text.len) != NULL)
        luaL_argerror(L, 2, "UTF-8 text without NUL expected");
    const struct mime_part *root = mime_root(lapi_mime(L, job));
    if (root->is_signed && !is_forced)
        return refuse(L, "signed");
    if (root->is_encrypted && !is_forced)
        return refuse(L, "encrypted");
    arena_reset(job->scratch_arena);
    if (!read_format(job, root, &append))
        return refuse(L, "no text part");
    buf_clear(&job->scratch);
    const char *wrong = append_to_body(&append, job->scratch_arena, &job->scratch);
    if (wrong != NULL)
        return refuse(L, wrong);
    wrong = add_changes(job, root, &append);
    buf_clear(&job->scratch);
    if (wrong != NULL)
        return luaL_error(L, "msg:append_text: %s", wrong);
    lua_pushboolean(L, true);
    return 1;
}
