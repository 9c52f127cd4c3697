/* msg:trap and part:trap: what they ask for is done when the hook has ended well (deeds.h). */
#include <string.h>

#include "common/text.h"
#include "worker/deeds.h"
#include "worker/lapi_msg.h"
#include "worker/lapi_part.h"
#include "worker/mime.h"
#include "worker/trap.h"

static const char *const trap_options[] = {"mode", "reason", NULL};
static const char *const mode_words[] = {"copy", "store", "defer", NULL};

/* "filter.lua:12", of the filter's line that called us, through pcall too. In the arena. */
static const char *take_place(lua_State *L, struct job *job)
{
    lua_Debug ar;
    for (int level = 1; level < 10 && lua_getstack(L, level, &ar); level++) {
        if (lua_getinfo(L, "Sl", &ar) && ar.currentline > 0)
            return arena_printf(job->arena, "%s:%d", ar.short_src, ar.currentline);
    }
    return "";
}

/* A reason may come out of the mail. */
static const char *take_reason(struct job *job, struct slice reason)
{
    static const struct text_bounds bounds = {DEEDS_REASON_MAX, DEEDS_REASON_MAX, 1};
    char text[DEEDS_REASON_MAX];
    const size_t len = text_clean(text, reason, &bounds);
    return arena_memdup0(job->arena, text, len);
}

static int refuse_released(lua_State *L)
{
    lua_pushboolean(L, false);
    lua_pushliteral(L, "released");
    return 2;
}

/*
 * Mail that we released ourselves goes on, without the mark: whoever gets it could use it for
 * another mail with the same body.
 */
static bool is_released(struct job *job)
{
    if (!trap_mark_is_on(job))
        return false;
    const struct action action = {.kind = ACTION_DELETE_HEADER, .name = slice_text(TRAP_MARK_NAME)};
    (void)job_add_action(job, &action); /* an MTA that takes no such change leaves it there */
    return true;
}

/* ---- msg:trap ---- */

/* The table's field as a text; what the call keeps is copied before the next one. */
static struct slice reason_at(lua_State *L, int index)
{
    if (lua_getfield(L, index, "reason") == LUA_TNIL) {
        lua_pop(L, 1);
        return slice_of("", 0);
    }
    if (lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "msg:trap: reason is a text");
    return lapi_check_slice(L, -1);
}

static enum trap_mode mode_at(lua_State *L, int index)
{
    enum trap_mode mode = TRAP_COPY;
    if (lua_getfield(L, index, "mode") != LUA_TNIL) {
        const char *word = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
        int i = 0;
        while (mode_words[i] != NULL && strcmp(mode_words[i], word) != 0)
            i++;
        if (mode_words[i] == NULL)
            luaL_error(L, "msg:trap: mode is \"copy\", \"store\" or \"defer\"");
        mode = (enum trap_mode)i;
    }
    lua_pop(L, 1);
    return mode;
}

static void ask_for(struct job *job, enum trap_mode mode, const char *reason, const char *where)
{
    struct deeds *deeds = deeds_of(job);
    if (!deeds->has_trap || mode > deeds->mode) {
        deeds->mode = mode;
        deeds->where = where;
    }
    if (deeds->has_trap && deeds->reason[0] != '\0' && reason[0] != '\0')
        reason =
            take_reason(job, slice_text(arena_printf(job->arena, "%s; %s", deeds->reason, reason)));
    if (reason[0] != '\0')
        deeds->reason = reason;
    deeds->has_trap = true;
}

int lapi_msg_trap(lua_State *L)
{
    struct job *job = lapi_msg_check_known(L, "msg:trap()", HOOK_MESSAGE);
    enum trap_mode mode = TRAP_COPY;
    const char *reason = "";
    lua_settop(L, 2);
    if (!lua_isnil(L, 2)) {
        lapi_check_keys(L, 2, trap_options);
        mode = mode_at(L, 2);
        reason = take_reason(job, reason_at(L, 2));
    }
    if (is_released(job))
        return refuse_released(L);
    ask_for(job, mode, reason, take_place(L, job));
    lua_pushboolean(L, true);
    return 1;
}

/* ---- part:trap ---- */

/* The place of a part among those asked for; a new one when it is not there yet. */
static struct deeds_part *place_of(lua_State *L, struct deeds *deeds, const struct mime_part *part)
{
    for (uint32_t i = 0; i < deeds->n_parts; i++) {
        if (deeds->parts[i].part == part)
            return &deeds->parts[i];
    }
    if (deeds->n_parts == DEEDS_PARTS_MAX)
        luaL_error(L, "part:trap: at most %d parts of a message", DEEDS_PARTS_MAX);
    return &deeds->parts[deeds->n_parts++];
}

int lapi_part_trap(lua_State *L)
{
    const struct mime_part *part = lapi_part_check(L);
    struct job *job = script_job(L);
    const struct slice reason = lua_isnoneornil(L, 2) ? slice_of("", 0) : lapi_check_slice(L, 2);
    if (is_released(job))
        return refuse_released(L);
    struct deeds_part *asked = place_of(L, deeds_of(job), part);
    *asked = (struct deeds_part){
        .part = part, .reason = take_reason(job, reason), .where = take_place(L, job)};
    lua_pushboolean(L, true);
    return 1;
}
