/* What each hook is called with. */
#include "common/text.h"
#include "worker/mime.h"
#include "worker/script_run.h"

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

int script_push_arguments(lua_State *L, struct script *script, void *context)
{
    struct script_run *run = context;
    (void)script;
    set_states(L, &run->job->request);
    return push_by_hook[run->info->hook](L, run->job);
}

bool script_has_arguments(enum hook hook)
{
    return push_by_hook[hook] != NULL;
}
