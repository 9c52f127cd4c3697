/* part:has_extension and part:name_matches: questions that hold for every name that some reader
 * could derive. */
#include "worker/lapi_part.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <strings.h>

enum {
    MATCH_LIMIT = 200000,
    DEPTH_LIMIT = 5000,
    HEAP_LIMIT_KB = 16384,
    PATTERN_BYTES = 4096,
    PATTERNS_MAX = 64,
};

static const char pattern_class[] = "postern.pattern";
static const char patterns_key =
    0; /* its address: the table of compiled patterns in the registry */

static const char *const no_keys[] = {NULL};

static void check_options(lua_State *L, int index)
{
    if (!lua_isnoneornil(L, index))
        lapi_check_keys(L, index, no_keys);
}

/* ---- extensions ---- */

/* What Windows leaves out at the end of a name, and what nobody sees there. */
static size_t length_without_tail(const char *name)
{
    size_t len = strlen(name);
    while (len > 0) {
        uint8_t c = (uint8_t)name[len - 1];
        if (c == '.' || c <= ' ' || c == 127)
            len--;
        else if (len >= 2 && c == 0xa0 && (uint8_t)name[len - 2] == 0xc2) /* no-break space */
            len -= 2;
        else
            break;
    }
    return len;
}

struct slice lapi_part_extension_of(const char *name)
{
    size_t len = length_without_tail(name);
    const char *dot = memrchr(name, '.', len);
    if (dot == NULL)
        return slice_of("", 0);
    return slice_of(dot + 1, len - (size_t)(dot + 1 - name));
}

static bool has_extension(const struct mime_part *part, struct slice extension)
{
    for (uint32_t i = 0; i < part->n_filenames; i++) {
        const char *name = part->filenames[i];
        size_t len = length_without_tail(name);
        if (len > extension.len && name[len - extension.len - 1] == '.' &&
            strncasecmp(name + len - extension.len, extension.data, extension.len) == 0)
            return true;
    }
    return false;
}

/* "exe" or ".exe". */
static struct slice check_extension(lua_State *L, int index)
{
    size_t len;
    if (lua_type(L, index) != LUA_TSTRING)
        luaL_error(L, "an extension must be a string, got %s", luaL_typename(L, index));
    const char *text = lua_tolstring(L, index, &len);
    if (len > 0 && text[0] == '.') {
        text++;
        len--;
    }
    if (len == 0)
        luaL_error(L, "an extension must not be empty");
    return slice_of(text, len);
}

int lapi_part_has_extension(lua_State *L)
{
    const struct mime_part *part = lapi_part_check(L);
    check_options(L, 3);
    bool is_found = false;
    if (lua_type(L, 2) == LUA_TSTRING) {
        is_found = has_extension(part, check_extension(L, 2));
    } else {
        luaL_checktype(L, 2, LUA_TTABLE);
        lua_Integer n = luaL_len(L, 2);
        if (n == 0 && (lua_pushnil(L), lua_next(L, 2) != 0))
            return luaL_argerror(L, 2, "a list of extensions expected: {\"exe\", \"scr\"}");
        for (lua_Integer i = 1; i <= n; i++) { /* all are checked, found or not */
            lua_geti(L, 2, i);
            struct slice extension = check_extension(L, -1);
            is_found = is_found || has_extension(part, extension);
            lua_pop(L, 1);
        }
    }
    lua_pushboolean(L, is_found);
    return 1;
}

/* ---- patterns ---- */

struct pattern {
    pcre2_code *code;
    pcre2_match_data *match;
    pcre2_match_context *context;
};

static int pattern_gc(lua_State *L)
{
    struct pattern *pattern = luaL_checkudata(L, 1, pattern_class);
    pcre2_match_context_free(pattern->context);
    pcre2_match_data_free(pattern->match);
    pcre2_code_free(pattern->code);
    *pattern = (struct pattern){0};
    return 0;
}

/* "%." and "%d" are patterns of Lua, which match something else as regular expressions: nothing. */
static bool looks_like_lua_pattern(const char *text)
{
    for (const char *p = strchr(text, '%'); p != NULL; p = strchr(p + 1, '%')) {
        if (p[1] != '\0' && strchr(".%+-*?[]()^$adlpsuwx", p[1]) != NULL)
            return true;
    }
    return false;
}

static void raise_compile_error(lua_State *L, int error, size_t offset)
{
    PCRE2_UCHAR text[256];
    pcre2_get_error_message(error, text, sizeof(text));
    luaL_argerror(L, 2,
        lua_pushfstring(
            L, "not a regular expression: %s at %I", (const char *)text, (lua_Integer)offset));
}

/* Pushes a compiled pattern; all it owns hangs on the userdata before anything can raise. */
static struct pattern *compile(lua_State *L, const char *text, size_t len)
{
    struct pattern *pattern = lua_newuserdatauv(L, sizeof(*pattern), 0);
    *pattern = (struct pattern){0};
    if (luaL_newmetatable(L, pattern_class)) {
        lua_pushcfunction(L, pattern_gc);
        lua_setfield(L, -2, "__gc");
        lua_pushboolean(L, false);
        lua_setfield(L, -2, "__metatable");
    }
    lua_setmetatable(L, -2);
    int error;
    PCRE2_SIZE offset;
    pattern->code = pcre2_compile((PCRE2_SPTR)text, len,
        PCRE2_UTF | PCRE2_UCP | PCRE2_CASELESS | PCRE2_NEVER_BACKSLASH_C, &error, &offset, NULL);
    if (pattern->code == NULL)
        raise_compile_error(L, error, offset);
    pattern->match = pcre2_match_data_create_from_pattern(pattern->code, NULL);
    pattern->context = pcre2_match_context_create(NULL);
    if (pattern->match == NULL || pattern->context == NULL)
        luaL_error(L, "not enough memory");
    pcre2_set_match_limit(pattern->context, MATCH_LIMIT);
    pcre2_set_depth_limit(pattern->context, DEPTH_LIMIT);
    pcre2_set_heap_limit(pattern->context, HEAP_LIMIT_KB);
    return pattern;
}

/* Pushes the table of compiled patterns, a new one when there are too many in it. */
static void push_patterns(lua_State *L)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &patterns_key) == LUA_TTABLE) {
        lua_getfield(L, -1, "");
        bool is_full = lua_tointeger(L, -1) >= PATTERNS_MAX;
        lua_pop(L, 1);
        if (!is_full)
            return;
    }
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &patterns_key);
}

/* The compiled form of the string at index 2, kept for the next call. */
static struct pattern *check_pattern(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 2, &len);
    luaL_argcheck(L, len > 0, 2, "a regular expression must not be empty");
    luaL_argcheck(L, len <= PATTERN_BYTES, 2, "a regular expression of at most 4096 bytes");
    luaL_argcheck(L, !looks_like_lua_pattern(text), 2,
        "this is a Lua pattern; regular expressions write \\. for a dot and \\d for a digit (and "
        "[%] for a %)");
    push_patterns(L);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, -2) == LUA_TUSERDATA)
        return lua_touserdata(L, -1);
    lua_pop(L, 1);
    struct pattern *pattern = compile(L, text, len);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, -2);
    lua_rawset(L, -4);
    lua_getfield(L, -2, ""); /* how many there are; no pattern is empty */
    lua_pushinteger(L, lua_tointeger(L, -1) + 1);
    lua_setfield(L, -4, "");
    lua_pop(L, 1);
    return pattern;
}

static bool matches(lua_State *L, struct pattern *pattern, const char *name)
{
    int result = pcre2_match(
        pattern->code, (PCRE2_SPTR)name, strlen(name), 0, 0, pattern->match, pattern->context);
    if (result >= 0)
        return true;
    if (result != PCRE2_ERROR_NOMATCH) {
        PCRE2_UCHAR text[256];
        pcre2_get_error_message(result, text, sizeof(text));
        luaL_error(
            L, "the regular expression could not be tried on a name: %s", (const char *)text);
    }
    return false;
}

int lapi_part_name_matches(lua_State *L)
{
    const struct mime_part *part = lapi_part_check(L);
    check_options(L, 3);
    struct pattern *pattern = check_pattern(L);
    bool is_found = false;
    for (uint32_t i = 0; i < part->n_filenames && !is_found; i++)
        is_found = matches(L, pattern, part->filenames[i]);
    lua_pushboolean(L, is_found);
    return 1;
}
