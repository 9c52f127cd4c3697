/* msg:notify_admin and msg:notify_sender: what they ask for is done when the hook has ended well
 * (deeds.h). */
#include <string.h>

#include "common/text.h"
#include "worker/deeds.h"
#include "worker/lapi_msg.h"
#include "worker/notify.h"

static const char *const options[] = {"subject", "text", "virus", NULL};

/* A text of the table, kept on the stack so that it stays valid. Raises when it is none. */
static struct slice text_at(lua_State *L, const char *method, const char *key)
{
    if (lua_getfield(L, 2, key) != LUA_TSTRING)
        luaL_error(L, "msg:%s: %s is a text", method, key);
    return lapi_check_slice(L, -1);
}

/* Out of the mail, perhaps: cut and cleaned, in the arena. */
static struct slice cleaned(struct job *job, struct slice text, size_t max, bool is_line)
{
    const struct text_bounds bounds = {max, max, is_line ? 1 : max};
    char *out = arena_alloc(job->arena, max);
    return slice_of(out, text_clean(out, text, &bounds));
}

static int refuse(lua_State *L, const char *why)
{
    lua_pushboolean(L, false);
    lua_pushstring(L, why);
    return 2;
}

static bool has_virus(lua_State *L, const char *method)
{
    const int type = lua_getfield(L, 2, "virus");
    if (type != LUA_TNIL && type != LUA_TBOOLEAN)
        luaL_error(L, "msg:%s: virus is true or false", method);
    const bool virus = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return virus;
}

static int notify(lua_State *L, const char *method, bool is_to_sender)
{
    struct job *job = lapi_msg_check_known(
        L, is_to_sender ? "msg:notify_sender()" : "msg:notify_admin()", HOOK_MESSAGE);
    lua_settop(L, 2);
    lapi_check_keys(L, 2, options);
    const struct slice subject = text_at(L, method, "subject");
    const struct slice text = text_at(L, method, "text");
    const bool virus = has_virus(L, method);
    const char *why = notify_why_off(job->conf, is_to_sender);
    if (why == NULL && notify_is_own(job))
        why = "own";
    if (why == NULL && is_to_sender)
        why = virus ? "virus" : notify_why_not_sender(job);
    if (why != NULL)
        return refuse(L, why);
    struct deeds *deeds = deeds_of(job);
    if (deeds->n_notices == DEEDS_NOTICES_MAX)
        return luaL_error(L, "msg:%s: at most %d notices", method, DEEDS_NOTICES_MAX);
    deeds->notices[deeds->n_notices++] = (struct deeds_notice){.is_to_sender = is_to_sender,
        .subject = cleaned(job, subject, NOTIFY_SUBJECT_MAX, true),
        .text = cleaned(job, text, NOTIFY_TEXT_MAX, false)};
    lua_pushboolean(L, true);
    return 1;
}

int lapi_msg_notify_admin(lua_State *L)
{
    return notify(L, "notify_admin", false);
}

int lapi_msg_notify_sender(lua_State *L)
{
    return notify(L, "notify_sender", true);
}
