/* require "postern.url": an address and its parts (RFC 3986). */
#include "worker/lapi_url.h"

#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "worker/script_internal.h"

/* ---- parse ---- */

static bool is_scheme_char(char c, bool is_first)
{
    const bool is_letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
    return is_letter || (!is_first && ((c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.'));
}

/* Takes the front of *rest up to one of the marks, or all of it. */
static struct slice take_to(struct slice *rest, const char *marks)
{
    size_t n = 0;
    while (n < rest->len && (rest->data[n] == '\0' || strchr(marks, rest->data[n]) == NULL))
        n++;
    const struct slice taken = slice_of(rest->data, n);
    *rest = slice_of(rest->data + n, rest->len - n);
    return taken;
}

static bool take_mark(struct slice *rest, char mark)
{
    if (rest->len == 0 || rest->data[0] != mark)
        return false;
    *rest = slice_of(rest->data + 1, rest->len - 1);
    return true;
}

static void set_text(lua_State *L, const char *key, struct slice value)
{
    lapi_push_slice(L, value);
    lua_setfield(L, -2, key);
}

static void set_lower(lua_State *L, const char *key, struct slice value)
{
    luaL_Buffer out;
    char *text = luaL_buffinitsize(L, &out, value.len);
    for (size_t i = 0; i < value.len; i++) {
        const char c = value.data[i];
        text[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    luaL_pushresultsize(&out, value.len);
    lua_setfield(L, -2, key);
}

/* "user:password@host:port" */
static void set_authority(lua_State *L, struct slice authority)
{
    const char *at = memrchr(authority.data, '@', authority.len);
    if (at != NULL) {
        const size_t n = (size_t)(at - authority.data);
        set_text(L, "userinfo", slice_of(authority.data, n));
        authority = slice_of(at + 1, authority.len - n - 1);
    }
    const bool is_literal = authority.len > 0 && authority.data[0] == '[';
    struct slice host = take_to(&authority, is_literal ? "]" : ":");
    if (is_literal) {
        host = slice_of(host.data + 1, host.len - 1); /* without brackets */
        take_mark(&authority, ']');
    }
    set_lower(L, "host", host);
    char digits[8] = "";
    int64_t port;
    if (take_mark(&authority, ':') && authority.len < sizeof(digits)) {
        memcpy(digits, authority.data, authority.len);
        if (text_to_i64(digits, 0, 65535, &port) == 0) {
            lua_pushinteger(L, port);
            lua_setfield(L, -2, "port");
        }
    }
}

/* The scheme before the first colon; false when there is none. */
static bool take_scheme(struct slice *rest, struct slice *scheme_out)
{
    size_t n = 0;
    while (n < rest->len && is_scheme_char(rest->data[n], n == 0))
        n++;
    if (n == 0 || n == rest->len || rest->data[n] != ':')
        return false;
    *scheme_out = slice_of(rest->data, n);
    *rest = slice_of(rest->data + n + 1, rest->len - n - 1);
    return true;
}

/* url.parse(u): a table, or nil when it has no scheme. */
static int url_parse(lua_State *L)
{
    struct slice rest = lapi_check_slice(L, 1), scheme;
    if (!take_scheme(&rest, &scheme)) {
        lua_pushnil(L);
        return 1;
    }
    lua_newtable(L);
    set_lower(L, "scheme", scheme);
    if (rest.len >= 2 && memcmp(rest.data, "//", 2) == 0) {
        rest = slice_of(rest.data + 2, rest.len - 2);
        set_authority(L, take_to(&rest, "/?#"));
    }
    set_text(L, "path", take_to(&rest, "?#"));
    if (take_mark(&rest, '?'))
        set_text(L, "query", take_to(&rest, "#"));
    if (take_mark(&rest, '#'))
        set_text(L, "fragment", rest);
    return 1;
}

/* ---- without_params ---- */

/* "utm_*": a name, or its beginning. */
static bool name_fits(struct slice name, struct slice pattern)
{
    const bool is_open = pattern.len > 0 && pattern.data[pattern.len - 1] == '*';
    const size_t len = pattern.len - is_open;
    if (name.len < len || (!is_open && name.len != len))
        return false;
    return slice_equal_nocase(slice_of(name.data, len), slice_of(pattern.data, len));
}

/* The patterns are a list at index 2. */
static bool is_listed(lua_State *L, struct slice name)
{
    bool fits = false;
    for (lua_Integer i = 1; !fits && lua_rawgeti(L, 2, i) != LUA_TNIL; i++) {
        fits = name_fits(name, lapi_check_slice(L, -1));
        lua_pop(L, 1);
    }
    if (!fits)
        lua_pop(L, 1); /* the nil at its end */
    return fits;
}

/* Pushes the query without those parameters. True when one went. */
static bool push_query(lua_State *L, struct slice query)
{
    bool has_gone = false, is_first = true;
    lua_newtable(L); /* the pieces that stay */
    while (query.len > 0 || is_first) {
        struct slice pair = take_to(&query, "&");
        struct slice rest = pair;
        const bool goes = is_listed(L, take_to(&rest, "="));
        has_gone |= goes;
        if (!goes) {
            lapi_push_slice(L, pair);
            lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
        }
        is_first = false;
        if (!take_mark(&query, '&'))
            break;
    }
    luaL_Buffer out;
    const lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
    const int pieces = lua_gettop(L);
    luaL_buffinit(L, &out);
    for (lua_Integer i = 1; i <= n; i++) {
        if (i > 1)
            luaL_addchar(&out, '&');
        lua_rawgeti(L, pieces, i);
        luaL_addvalue(&out);
    }
    luaL_pushresult(&out);
    lua_remove(L, pieces);
    return has_gone;
}

/* url.without_params(u, patterns): the address without them, or nil when it has none of them. */
static int url_without_params(lua_State *L)
{
    const struct slice url = lapi_check_slice(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    struct slice rest = url;
    const struct slice front = take_to(&rest, "?#");
    if (!take_mark(&rest, '?'))
        return 0;
    const struct slice query = take_to(&rest, "#");
    if (!push_query(L, query))
        return 0;
    const bool is_empty = lua_rawlen(L, -1) == 0;
    lapi_push_slice(L, front);
    lua_insert(L, -2);
    if (!is_empty) {
        lua_pushliteral(L, "?");
        lua_insert(L, -2);
    }
    lapi_push_slice(L, rest);
    lua_concat(L, is_empty ? 3 : 4);
    return 1;
}

static const luaL_Reg functions[] = {
    {"parse", url_parse},
    {"without_params", url_without_params},
    {"rewrite", lapi_url_rewrite},
    {NULL, NULL},
};

int lapi_url_open(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
