/* msg:mark_origin: our edge tells the servers behind it who brought the message. */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "worker/client.h"
#include "worker/lapi_msg.h"
#include "worker/origin_mark.h"

/* A mail server would add one behind our back, and the mark would be of another message. */
static struct slice message_id(lua_State *L, struct job *job, int64_t now)
{
    uint32_t n = 0;
    const struct plan *plan = job_plan(job);
    for (; n < plan->n_fields; n++) {
        if (slice_equal_nocase(plan->fields[n].name, slice_text("Message-ID")))
            return plan->fields[n].value;
    }
    const struct slice uid = job->request.uid;
    const struct action action = {.kind = ACTION_ADD_HEADER,
        .name = slice_text("Message-ID"),
        .value = slice_text(arena_printf(job->arena, "<%" PRId64 ".%.*s@postern.invalid>", now,
            (int)uid.len, uid.len > 0 ? uid.data : ""))};
    lapi_msg_add(L, job, "mark_origin", &action);
    return action.value;
}

/* Fields that came with the message are somebody else's. True; false when the client has no
 * address. */
int lapi_msg_mark_origin(lua_State *L)
{
    struct job *job = lapi_msg_check_change(L, "mark_origin");
    struct client_origin origin;
    lapi_msg_check_known(L, "msg:mark_origin()", HOOK_HEADERS);
    if (job->origin_key == NULL)
        return luaL_error(L, "msg:mark_origin: worker.origin_key names no key");
    client_origin_get(job, &origin);
    struct origin_mark mark = {.helo = origin.helo, .hostname = origin.hostname};
    memcpy(mark.ip, origin.ip, sizeof(mark.ip));
    const struct slice name = slice_text(ORIGIN_MARK_FIELD);
    if (header_find(job_headers(job), name, 1) != NULL) {
        const struct action away = {.kind = ACTION_DELETE_HEADER, .name = name};
        lapi_msg_add(L, job, "mark_origin", &away);
    }
    lua_pushboolean(L, mark.ip[0] != '\0');
    if (mark.ip[0] == '\0')
        return 1;
    const int64_t now = (int64_t)time(NULL);
    const struct action action = {.kind = ACTION_INSERT_HEADER,
        .name = name,
        .value =
            origin_mark_make(&mark, message_id(L, job, now), job->origin_key, now, job->arena)};
    lapi_msg_add(L, job, "mark_origin", &action);
    return 1;
}
