/* The message as a whole: its bytes, its body, hold, and what goes into its log line. */
#include "worker/lapi_msg.h"

#include <string.h>

#include "common/log.h"
#include "common/text.h"
#include "worker/edit.h"

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
