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

/* The options of both questions. */
struct question {
    bool asks_archives;
    bool unreadable_counts;
    const struct archive_listing *archive; /* NULL: not asked for, or not needed yet */
};

static bool option(lua_State *L, int index, const char *key, bool otherwise)
{
    lua_getfield(L, index, key);
    luaL_argcheck(
        L, lua_isnil(L, -1) || lua_isboolean(L, -1), index, "its values are true or false");
    bool value = lua_isnil(L, -1) ? otherwise : lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}

static struct question check_options(lua_State *L, int index)
{
    static const char *const keys[] = {"archives", "unreadable", NULL};
    struct question question = {false, true, NULL};
    if (lua_isnoneornil(L, index))
        return question;
    lapi_check_keys(L, index, keys);
    question.asks_archives = option(L, index, "archives", false);
    question.unreadable_counts = option(L, index, "unreadable", true);
    return question;
}

/* What was not seen to its end may have what is asked for: NULL, or why it counts. */
static const char *why_counts(const struct mime_part *part, const struct question *question)
{
    const struct archive_listing *archive = question->archive;
    if (!question->unreadable_counts)
        return NULL;
    if (archive != NULL && archive->is_archive && archive->error != NULL)
        return "unreadable";
    return part->lacks_names ? "too many names" : NULL;
}

static int push_answer(
    lua_State *L, const struct mime_part *part, const struct question *question, bool is_found)
{
    const char *why = is_found ? NULL : why_counts(part, question);
    lua_pushboolean(L, is_found || why != NULL);
    if (why == NULL)
        return 1;
    lua_pushstring(L, why);
    return 2;
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

static bool names_have(const char *const *names, uint32_t n, struct slice extension)
{
    for (uint32_t i = 0; i < n; i++) {
        const char *name = names[i];
        size_t len = length_without_tail(name);
        if (len > extension.len && name[len - extension.len - 1] == '.' &&
            strncasecmp(name + len - extension.len, extension.data, extension.len) == 0)
            return true;
    }
    return false;
}

/* Of the part, or once its archive has been listed, of what is in it. */
static bool has_extension(
    const struct mime_part *part, const struct archive_listing *archive, struct slice extension)
{
    if (archive == NULL)
        return names_have(part->filenames, part->n_filenames, extension);
    for (uint32_t i = 0; i < archive->n; i++) {
        if (names_have(archive->items[i].names, archive->items[i].n_names, extension))
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
    if (memchr(text, '\0', len) != NULL || strpbrk(text, "*?|,;/\\ ") != NULL)
        luaL_error(L, "an extension is plain, such as exe: no pattern, no list, no blanks");
    return slice_of(text, len);
}

/* The extension at index 2, or the list of them. */
static bool has_any_extension(
    lua_State *L, const struct mime_part *part, const struct archive_listing *archive)
{
    if (lua_type(L, 2) == LUA_TSTRING)
        return has_extension(part, archive, check_extension(L, 2));
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_Integer n = luaL_len(L, 2);
    if (n == 0 && (lua_pushnil(L), lua_next(L, 2) != 0))
        luaL_argerror(L, 2, "a list of extensions expected: {\"exe\", \"scr\"}");
    bool is_found = false;
    for (lua_Integer i = 1; i <= n; i++) { /* all are checked, found or not */
        lua_geti(L, 2, i);
        struct slice extension = check_extension(L, -1);
        is_found = is_found || has_extension(part, archive, extension);
        lua_pop(L, 1);
    }
    return is_found;
}

int lapi_part_has_extension(lua_State *L)
{
    const struct mime_part *part = lapi_part_check(L);
    struct question question = check_options(L, 3);
    bool is_found = has_any_extension(L, part, NULL);
    if (!is_found && question.asks_archives) {
        question.archive = lapi_part_archive(L, part);
        is_found = has_any_extension(L, part, question.archive);
    }
    return push_answer(L, part, &question, is_found);
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
    lapi_own(L, pattern_class, pattern_gc);
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

static bool any_matches(lua_State *L, struct pattern *pattern, const char *const *names, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (matches(L, pattern, names[i]))
            return true;
    }
    return false;
}

/* A name in an archive has folders before it; the pattern may be about the whole or the last. */
static bool item_matches(lua_State *L, struct pattern *pattern, const struct archive_item *item)
{
    for (uint32_t i = 0; i < item->n_names; i++) {
        const char *name = item->names[i], *last = name;
        for (const char *p = name; *p != '\0'; p++) {
            if ((*p == '/' || *p == '\\') && p[1] != '\0')
                last = p + 1;
        }
        if (matches(L, pattern, name) || (last != name && matches(L, pattern, last)))
            return true;
    }
    return false;
}

int lapi_part_name_matches(lua_State *L)
{
    const struct mime_part *part = lapi_part_check(L);
    struct question question = check_options(L, 3);
    struct pattern *pattern = check_pattern(L);
    bool is_found = any_matches(L, pattern, part->filenames, part->n_filenames);
    if (!is_found && question.asks_archives) {
        question.archive = lapi_part_archive(L, part);
        for (uint32_t i = 0; i < question.archive->n && !is_found; i++)
            is_found = item_matches(L, pattern, &question.archive->items[i]);
    }
    return push_answer(L, part, &question, is_found);
}
