/* What is in archives, for filters: part:entries() and postern.archive. */
#include "worker/archive.h"

#include "common/arena.h"
#include "common/clock.h"
#include "worker/lapi_arena.h"
#include "worker/lapi_part.h"
#include "worker/script_internal.h"

static int64_t deadline_of(lua_State *L)
{
    return clock_now_ms() + script_time_left(L);
}

/* A listing that the hook's deadline ended says nothing about the archive: the hook ends too. */
static void check_deadline(lua_State *L)
{
    if (script_time_left(L) <= 0)
        script_deadline_raise(L);
}

const struct archive_listing *lapi_part_archive(lua_State *L, const struct mime_part *part)
{
    const struct archive_listing *listing = mime_archive(part->mime, part, deadline_of(L));
    check_deadline(L);
    return listing;
}

static void set_text(lua_State *L, const char *key, const char *text)
{
    lapi_push_utf8(L, slice_text(text));
    lua_setfield(L, -2, key);
}

static void set_flag(lua_State *L, const char *key, bool value)
{
    lua_pushboolean(L, value);
    lua_setfield(L, -2, key);
}

static void push_item(lua_State *L, const struct archive_item *item)
{
    lua_createtable(L, 0, 10);
    set_text(L, "name", item->name);
    lua_createtable(L, (int)item->n_names, 0);
    for (uint32_t i = 0; i < item->n_names; i++) {
        lapi_push_utf8(L, slice_text(item->names[i]));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "names");
    lapi_push_utf8(L, slice_text(item->within));
    if (item->within[0] != '\0')
        lua_pushliteral(L, "/");
    else
        lua_pushliteral(L, "");
    lapi_push_utf8(L, slice_text(item->name));
    lua_concat(L, 3);
    lua_setfield(L, -2, "path");
    lua_pushinteger(L, item->depth);
    lua_setfield(L, -2, "depth");
    if (item->size >= 0) {
        lua_pushinteger(L, item->size);
        lua_setfield(L, -2, "size");
    }
    set_flag(L, "directory", item->is_directory);
    set_flag(L, "encrypted", item->is_encrypted);
    set_flag(L, "absolute", item->is_absolute);
    set_flag(L, "over_ratio", item->is_over_ratio);
    set_flag(L, "hidden", item->is_hidden);
}

/* The list; or nil, why, and what could be read of it. */
static int push_listing(lua_State *L, const struct archive_listing *listing)
{
    const char *error = listing->is_archive ? listing->error : "no archive";
    if (error != NULL) {
        lua_pushnil(L);
        lapi_push_utf8(L, slice_text(error));
    }
    lua_createtable(L, (int)listing->n, 0);
    for (uint32_t i = 0; i < listing->n; i++) {
        push_item(L, &listing->items[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return error != NULL ? 3 : 1;
}

int lapi_part_entries(lua_State *L)
{
    return push_listing(L, lapi_part_archive(L, lapi_part_check(L)));
}

/* ---- postern.archive ---- */

/* archive.entries(bytes[, name]) */
static int archive_entries(lua_State *L)
{
    struct slice bytes = lapi_check_slice(L, 1);
    const char *name = luaL_optstring(L, 2, NULL);
    struct archive_budget budget;
    mime_archive_budget(script_conf(L), &budget);
    lua_settop(L, 2);
    struct arena *arena = lapi_arena_push(L);
    const struct archive_listing *listing =
        archive_list(bytes, &name, name != NULL ? 1 : 0, &budget, deadline_of(L), arena);
    check_deadline(L);
    int n = push_listing(L, listing);
    lapi_arena_end(L, 3);
    return n;
}

static const luaL_Reg functions[] = {
    {"entries", archive_entries},
    {NULL, NULL},
};

int lapi_archive_open(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
