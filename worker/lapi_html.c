/* require "postern.html": text of HTML, text as HTML, links. */
#include <string.h>

#include "common/text.h"
#include "worker/html.h"
#include "worker/html_scan.h"
#include "worker/lapi_arena.h"
#include "worker/script_internal.h"
#include "worker/url_text.h"

enum { ARENA_INDEX = 2 };

/* The argument in valid UTF-8; self-made copies live in the arena. */
static struct slice check_utf8(lua_State *L, struct arena *arena)
{
    const struct slice bytes = lapi_check_slice(L, 1);
    if (text_is_utf8(bytes))
        return bytes;
    struct buf repaired;
    buf_init(&repaired, 3 * bytes.len);
    (void)text_to_utf8(&repaired, bytes); /* the cap is what the worst input needs */
    const struct slice copy =
        slice_of(arena_memdup0(arena, repaired.data, repaired.len), repaired.len);
    buf_clear(&repaired);
    return copy;
}

static int module_text(lua_State *L)
{
    lapi_check_slice(L, 1);
    lua_settop(L, 1);
    struct arena *arena = lapi_arena_push(L);
    const struct slice html = check_utf8(L, arena);
    lapi_push_slice(L, html_text(html, html.len + 1, arena, NULL));
    lapi_arena_end(L, ARENA_INDEX);
    return 1;
}

static int module_escape(lua_State *L)
{
    enum { WORST = 6 }; /* "&quot;" */
    const struct slice text = lapi_check_slice(L, 1);
    lua_settop(L, 1);
    struct arena *arena = lapi_arena_push(L);
    struct buf out;
    buf_init(&out, WORST * text.len);
    (void)html_escape(text, false, &out); /* the cap is what the worst input needs */
    const struct slice escaped = slice_of(arena_memdup0(arena, out.data, out.len), out.len);
    buf_clear(&out);
    lapi_push_slice(L, escaped);
    lapi_arena_end(L, ARENA_INDEX);
    return 1;
}

struct links {
    struct arena *arena;
    struct slice *items;
    size_t n, cap;
};

static void on_link(const struct html_link *link, void *context)
{
    struct links *links = context;
    if (links->n == links->cap) {
        const size_t cap = 2 * links->cap + 16;
        struct slice *more = arena_calloc(links->arena, cap, sizeof(*more));
        if (links->n > 0)
            memcpy(more, links->items, links->n * sizeof(*more));
        links->items = more;
        links->cap = cap;
    }
    links->items[links->n++] = url_without_blanks(link->url, links->arena);
}

/* In order, each once. */
static int module_links(lua_State *L)
{
    lapi_check_slice(L, 1);
    lua_settop(L, 1);
    struct links links = {.arena = lapi_arena_push(L)};
    html_links_each(check_utf8(L, links.arena), true, links.arena, on_link, &links);
    lua_newtable(L);
    lua_newtable(L); /* those seen */
    for (size_t i = 0; i < links.n; i++) {
        lapi_push_slice(L, links.items[i]);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) != LUA_TNIL || links.items[i].len == 0) {
            lua_pop(L, 2);
            continue;
        }
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        lua_pushboolean(L, 1);
        lua_rawset(L, -4);
        lua_rawseti(L, -3, (lua_Integer)lua_rawlen(L, -3) + 1);
    }
    lua_pop(L, 1);
    lapi_arena_end(L, ARENA_INDEX);
    return 1;
}

static const luaL_Reg functions[] = {
    {"text", module_text},
    {"escape", module_escape},
    {"links", module_links},
    {NULL, NULL},
};

int lapi_html_open(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
