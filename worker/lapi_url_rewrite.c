/*
 * url.rewrite(msg, f[, options]): each address in the text and HTML that a person reads goes to f,
 * once, however often it occurs. f may wait, so that the loop goes on in a continuation; what it
 * needs lives in a userdata.
 */
#include <string.h>

#include "common/text.h"
#include "worker/append.h"
#include "worker/edit.h"
#include "worker/lapi_arena.h"
#include "worker/lapi_msg.h"
#include "worker/lapi_url.h"
#include "worker/mime.h"
#include "worker/url_rewrite.h"

/* Stack of a call. */
enum {
    INDEX_MSG = 1,
    INDEX_FUNCTION,
    INDEX_OPTIONS,
    INDEX_STATE, /* struct state */
    INDEX_ARENA,
    INDEX_KNOWN, /* address → its new one, or false */
    INDEX_TOP = INDEX_KNOWN
};

struct state {
    struct job *job;
    bool is_forced;
    bool is_open; /* `rewrite` is of the part before next_part */
    uint32_t next_part;
    const struct mime_part *part;
    struct slice encoded; /* of that part, when it was opened */
    struct url_rewrite rewrite;
    size_t next_place;
    size_t n_new; /* of that part */
    lua_Integer n_changed;
};

/* ---- parts ---- */

static bool is_wanted(const struct state *state, const struct mime_part *part)
{
    const bool is_text = strcmp(part->type, "text/plain") == 0 || append_is_html(part->type);
    if (part->is_container || part->is_decoded || !is_text ||
        strcmp(part->disposition, "attachment") == 0 || edit_refuse_content(part) != NULL)
        return false;
    return state->is_forced || (!part->is_signed && !part->is_encrypted);
}

static bool open_part(struct state *state, const struct mime_part *part, struct arena *arena)
{
    struct edit_now now;
    edit_part_now(state->job, part, &now);
    const bool is_html = append_is_html(now.type);
    if (now.is_gone || (!is_html && strcmp(now.type, "text/plain") != 0))
        return false;
    state->part = part;
    state->encoded = now.encoded;
    state->rewrite = (struct url_rewrite){
        .body = {.encoded = now.encoded, .encoding = now.encoding, .line_end = edit_line_end(part)},
        .charset = now.charset,
        .is_html = is_html,
        .arena = arena};
    state->next_place = state->n_new = 0;
    return url_rewrite_open(&state->rewrite);
}

/* The next part that can be read; false at the end. */
static bool open_next(struct state *state, struct arena *arena)
{
    uint32_t n;
    const struct mime_part *const *parts = mime_parts(state->job->mime, &n);
    while (state->next_part < n) {
        const struct mime_part *part = parts[state->next_part++];
        if (is_wanted(state, part) && open_part(state, part, arena)) {
            state->is_open = true;
            return true;
        }
    }
    return false;
}

/* Gives the part its new body. NULL, or what is wrong. */
static const char *close_part(struct state *state)
{
    struct edit_now now;
    struct buf out;
    state->is_open = false;
    if (state->n_new == 0)
        return NULL;
    edit_part_now(state->job, state->part, &now);
    if (!slice_equal(now.encoded, state->encoded))
        return "the function changed the part that is being rewritten";
    buf_init(&out, JOB_CHANGES_MAX);
    const char *wrong = "the part is too large";
    if (url_rewrite_put(&state->rewrite, &out) == 0)
        wrong = edit_set_encoded(state->job, state->part, buf_slice(&out), NULL,
            state->rewrite.new_encoding, EDIT_REMOVES);
    buf_clear(&out);
    state->n_changed += wrong == NULL ? (lua_Integer)state->n_new : 0;
    return wrong;
}

/* ---- addresses ---- */

/* Takes what the function, or the table of known ones, gave: on top of the stack, and goes. */
static void take_result(lua_State *L, struct state *state)
{
    struct url_place *place = &state->rewrite.places[state->next_place++];
    if (lua_toboolean(L, -1)) {
        const struct slice url = lapi_check_slice(L, -1);
        place->new_url = url_to_ascii(url, state->rewrite.arena);
        if (slice_equal(place->new_url, place->url))
            place->new_url = slice_of(NULL, 0);
        state->n_new += place->new_url.data != NULL;
    }
    lua_pop(L, 1);
}

/* The function's result is on top: nil, false, or the new address. Notes it under the address. */
static void check_result(lua_State *L, const struct state *state)
{
    size_t len = 0;
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushboolean(L, 0);
    }
    if (lua_type(L, -1) == LUA_TSTRING)
        lua_tolstring(L, -1, &len);
    const bool is_false = lua_isboolean(L, -1) && !lua_toboolean(L, -1);
    if (!is_false && (len == 0 || len > URL_REWRITE_MAX))
        luaL_error(L, "url.rewrite: the function must return an address of 1 to %d bytes, or nil",
            URL_REWRITE_MAX);
    lapi_push_utf8(L, state->rewrite.places[state->next_place].url);
    lua_pushvalue(L, -2);
    lua_rawset(L, INDEX_KNOWN);
}

static int go_on(lua_State *L, int status, lua_KContext is_result)
{
    struct state *state = lua_touserdata(L, INDEX_STATE);
    struct arena *arena = *(struct arena **)lua_touserdata(L, INDEX_ARENA);
    (void)status;
    if (is_result) {
        check_result(L, state);
        take_result(L, state);
    }
    while (state->is_open || open_next(state, arena)) {
        if (state->next_place == state->rewrite.n_places) {
            const char *wrong = close_part(state);
            if (wrong != NULL)
                return luaL_error(L, "url.rewrite: %s", wrong);
            continue;
        }
        lapi_push_utf8(L, state->rewrite.places[state->next_place].url);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, INDEX_KNOWN) != LUA_TNIL) {
            lua_remove(L, -2);
            take_result(L, state);
            continue;
        }
        lua_pop(L, 1);
        lua_pushvalue(L, INDEX_FUNCTION);
        lua_insert(L, -2);
        lua_callk(L, 1, 1, 1, go_on);
        check_result(L, state);
        take_result(L, state);
    }
    lapi_arena_end(L, INDEX_ARENA);
    lua_pushinteger(L, state->n_changed);
    return 1;
}

static const char *const option_names[] = {"force", NULL};

int lapi_url_rewrite(lua_State *L)
{
    struct state state = {.job = lapi_msg_check_known(L, "url.rewrite()", HOOK_MESSAGE)};
    lapi_msg_check_change(L, "url.rewrite");
    luaL_checktype(L, INDEX_FUNCTION, LUA_TFUNCTION);
    if (!lua_isnoneornil(L, INDEX_OPTIONS)) {
        lapi_check_keys(L, INDEX_OPTIONS, option_names);
        lua_getfield(L, INDEX_OPTIONS, "force");
        if (!lua_isnil(L, -1) && !lua_isboolean(L, -1))
            luaL_argerror(L, INDEX_OPTIONS, "force is true or false");
        state.is_forced = lua_toboolean(L, -1);
    }
    lua_settop(L, INDEX_OPTIONS);
    lapi_mime(L, state.job);
    struct state *kept = lua_newuserdatauv(L, sizeof(*kept), 0);
    *kept = state;
    lapi_arena_push(L);
    lua_newtable(L);
    return go_on(L, LUA_OK, 0);
}
