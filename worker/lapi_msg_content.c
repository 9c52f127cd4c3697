/* What reading the MIME structure of a message gives: parts, text, addresses of web pages, defects.
 */
#include "worker/lapi_msg.h"

#include "worker/mime.h"

static struct mime *check_mime(lua_State *L, const char *what)
{
    return lapi_mime(L, lapi_msg_check_known(L, what, HOOK_MESSAGE));
}

int lapi_msg_text(lua_State *L)
{
    lapi_push_utf8(L, mime_message_text(check_mime(L, "msg:text()")));
    return 1;
}

int lapi_msg_root(lua_State *L)
{
    struct mime *mime = check_mime(L, "msg.root");
    lapi_push_part(L, lapi_msg_check(L), mime_root(mime));
    return 1;
}

/* Upvalues: msg, the number of the next part, whether containers are left out. */
static int next_part(lua_State *L)
{
    uint32_t n;
    lua_settop(L, 0);
    lua_pushvalue(L, lua_upvalueindex(1));
    struct job *job = lapi_msg_check(L);
    const struct mime_part *const *parts = mime_parts(lapi_mime(L, job), &n);
    lua_Integer i = lua_tointeger(L, lua_upvalueindex(2));
    const bool leaves_only = lua_toboolean(L, lua_upvalueindex(3));
    while (i < (lua_Integer)n && leaves_only && parts[i]->is_container)
        i++;
    lua_pushinteger(L, i + 1);
    lua_replace(L, lua_upvalueindex(2));
    if (i >= (lua_Integer)n)
        return 0;
    lapi_push_part(L, job, parts[i]);
    return 1;
}

static int push_part_iterator(lua_State *L, const char *what, bool leaves_only)
{
    check_mime(L, what);
    lua_settop(L, 1);
    lua_pushinteger(L, 0);
    lua_pushboolean(L, leaves_only);
    lua_pushcclosure(L, next_part, 3);
    return 1;
}

int lapi_msg_parts(lua_State *L)
{
    return push_part_iterator(L, "msg:parts()", true);
}

int lapi_msg_walk(lua_State *L)
{
    return push_part_iterator(L, "msg:walk()", false);
}

static int push_texts(lua_State *L, const char *const *texts, uint32_t n)
{
    lua_createtable(L, (int)n, 0);
    for (uint32_t i = 0; i < n; i++) {
        lapi_push_utf8(L, slice_text(texts[i]));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

int lapi_msg_urls(lua_State *L)
{
    uint32_t n;
    const char *const *urls = mime_urls(check_mime(L, "msg:urls()"), &n);
    return push_texts(L, urls, n);
}

int lapi_msg_charsets(lua_State *L)
{
    uint32_t n;
    const char *const *charsets = mime_charsets(check_mime(L, "msg:charsets()"), &n);
    return push_texts(L, charsets, n);
}

int lapi_msg_defects(lua_State *L)
{
    uint32_t n;
    const struct mime_defect *defects = mime_defects(check_mime(L, "msg.defects"), &n);
    struct job *job = lapi_msg_check(L);
    lua_createtable(L, (int)n, 0);
    for (uint32_t i = 0; i < n; i++) {
        lua_createtable(L, 0, 4);
        lua_pushstring(L, defects[i].kind);
        lua_setfield(L, -2, "kind");
        if (defects[i].part != NULL) {
            lapi_push_part(L, job, defects[i].part);
            lua_setfield(L, -2, "part");
        }
        lapi_push_utf8(L, slice_text(defects[i].detail));
        lua_setfield(L, -2, "detail");
        lua_pushboolean(L, defects[i].is_ambiguous);
        lua_setfield(L, -2, "ambiguous");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

int lapi_msg_ambiguous(lua_State *L)
{
    uint32_t n;
    const struct mime_defect *defects = mime_defects(check_mime(L, "msg.ambiguous"), &n);
    bool is_ambiguous = false;
    for (uint32_t i = 0; i < n; i++)
        is_ambiguous |= defects[i].is_ambiguous;
    lua_pushboolean(L, is_ambiguous);
    return 1;
}
