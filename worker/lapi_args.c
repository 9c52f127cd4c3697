/* What an envelope line holds, between the MTA's text and Lua: ESMTP arguments (RFC 5321
 * section 4.1.2), domains. */
#include "worker/lapi_msg.h"

#include <stdlib.h>
#include <string.h>

#include "common/address.h"

enum { ARGS_MAX = 64 }; /* in one table of a filter */

static char upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

/* Takes the next word; false at the end. */
static bool next_word(struct slice *rest, struct slice *word)
{
    while (rest->len > 0 && rest->data[0] == ' ') {
        rest->data++;
        rest->len--;
    }
    if (rest->len == 0)
        return false;
    const char *space = memchr(rest->data, ' ', rest->len);
    *word = slice_of(rest->data, space != NULL ? (size_t)(space - rest->data) : rest->len);
    rest->data += word->len;
    rest->len -= word->len;
    return true;
}

static void push_upper(lua_State *L, struct slice key)
{
    luaL_Buffer out;
    luaL_buffinit(L, &out);
    for (size_t i = 0; i < key.len; i++)
        luaL_addchar(&out, upper(key.data[i]));
    luaL_pushresult(&out);
}

void lapi_args_push(lua_State *L, struct slice args)
{
    struct slice word;
    lua_newtable(L);
    while (next_word(&args, &word)) {
        const char *equals = memchr(word.data, '=', word.len);
        const size_t key_len = equals != NULL ? (size_t)(equals - word.data) : word.len;
        if (key_len == 0)
            continue;
        push_upper(L, slice_of(word.data, key_len));
        if (equals != NULL)
            lapi_push_utf8(L, slice_of(equals + 1, word.len - key_len - 1));
        else
            lua_pushboolean(L, true);
        lua_rawset(L, -3);
    }
}

static bool is_key(struct slice key)
{
    for (size_t i = 0; i < key.len; i++) {
        const char c = upper(key.data[i]);
        if (!((c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c == '-' && i > 0)))
            return false;
    }
    return key.len > 0;
}

/* esmtp-value: no blanks, no "=", no control characters. */
static bool is_value(struct slice value)
{
    for (size_t i = 0; i < value.len; i++) {
        const unsigned char c = (unsigned char)value.data[i];
        if (c <= ' ' || c == '=' || c == 127)
            return false;
    }
    return value.len > 0;
}

static int compare_words(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* One entry, key at -2 and value at -1, as "KEY=value" or "KEY". */
static const char *entry_text(lua_State *L, int index, struct job *job)
{
    if (lua_type(L, -2) != LUA_TSTRING || !is_key(lapi_check_slice(L, -2)))
        luaL_argerror(L, index, "the keys of arguments are names such as NOTIFY");
    const struct slice key = lapi_check_slice(L, -2);
    if (lua_isboolean(L, -1) && lua_toboolean(L, -1)) {
        return arena_printf(job->scratch_arena, "%.*s", (int)key.len, key.data);
    }
    if (lua_type(L, -1) != LUA_TSTRING && !lua_isinteger(L, -1))
        luaL_argerror(L, index, "the values of arguments are texts, numbers or true");
    lua_pushvalue(L, -1); /* lua_next must not see the value converted */
    const struct slice value = lapi_check_slice(L, -1);
    if (!is_value(value))
        luaL_argerror(L, index, "a value has a blank, an = or a control character, or is empty");
    const char *text = arena_printf(
        job->scratch_arena, "%.*s=%.*s", (int)key.len, key.data, (int)value.len, value.data);
    lua_pop(L, 1);
    return text;
}

/* In the order of their names, so that the same table gives the same text. */
static struct slice join_table(lua_State *L, int index, struct job *job)
{
    const char *words[ARGS_MAX];
    size_t n = 0, bytes = 1;
    luaL_checkstack(L, 4, NULL);
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        if (n == ARGS_MAX)
            luaL_argerror(L, index, "too many arguments");
        words[n] = entry_text(L, index, job);
        bytes += strlen(words[n++]) + 1;
    }
    qsort(words, n, sizeof(words[0]), compare_words);
    char *text = arena_alloc(job->scratch_arena, bytes);
    char *at = text;
    *at = '\0';
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            *at++ = ' ';
        at = stpcpy(at, words[i]);
        for (char *c = at - strlen(words[i]); c < at && *c != '='; c++)
            *c = upper(*c);
    }
    return slice_of(text, (size_t)(at - text));
}

struct slice lapi_args_check(lua_State *L, int index, struct job *job)
{
    struct slice args = slice_of(NULL, 0);
    if (lua_isnoneornil(L, index))
        return args;
    arena_reset(job->scratch_arena);
    if (lua_istable(L, index))
        args = join_table(L, index, job);
    else if (lua_type(L, index) == LUA_TSTRING)
        args = lapi_check_slice(L, index);
    else
        luaL_typeerror(L, index, "table or string");
    if (!address_args_are_valid(args))
        luaL_argerror(L, index, "no valid ESMTP arguments");
    return args;
}

void lapi_domain_push(lua_State *L, struct slice address)
{
    const struct slice domain = address_domain(address);
    luaL_Buffer out;
    char *text = luaL_buffinitsize(L, &out, domain.len);
    for (size_t i = 0; i < domain.len; i++) {
        const char c = domain.data[i];
        text[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    luaL_pushresultsize(&out, domain.len);
    lapi_push_utf8(L, lapi_check_slice(L, -1));
    lua_remove(L, -2);
}
