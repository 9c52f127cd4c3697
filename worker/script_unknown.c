/*
 * Names that the filter's text uses as globals but nobody defines: what a misspelt name looks like.
 * Lua has no interface for it, so this reads the tokens of the text. It knows no scopes: a name
 * that is a local, a parameter or assigned anywhere counts as defined, so that what is reported is
 * worth a look.
 */
#include "worker/script_internal.h"
#include "worker/script_lexer.h"

enum { NESTING_MAX = 512 };

/* Where the names of a declaration are being read. */
enum reading {
    READING_CODE = 0,
    READING_LOCALS,
    READING_FOR,
    READING_FUNCTION_NAME,
    READING_PARAMETERS
};

/* Lua stack: 1 the call's context, 2 names defined, 3 lines by name of those used, 4 names used in
 * order. */
struct reader {
    lua_State *L;
    struct script_lexer lexer;
    struct script_token before, now, after;
    enum reading reading;
    char nesting[NESTING_MAX]; /* '{', '(', '[', or 'e' for a block that "end" or "until" closes */
    int depth;
    int n_used;
};

static void define(struct reader *r, struct slice name)
{
    lua_pushlstring(r->L, name.data, name.len);
    lua_pushboolean(r->L, true);
    lua_rawset(r->L, 2);
}

static void use(struct reader *r, struct script_token token)
{
    lua_pushlstring(r->L, token.text.data, token.text.len);
    lua_pushvalue(r->L, -1);
    if (lua_rawget(r->L, 3) == LUA_TNIL) {
        lua_pushvalue(r->L, -2);
        lua_pushinteger(r->L, token.line);
        lua_rawset(r->L, 3);
        lua_pushvalue(r->L, -2);
        lua_rawseti(r->L, 4, ++r->n_used);
    }
    lua_pop(r->L, 2);
}

static bool is_one_of(struct script_token token, const char *const *texts)
{
    for (; *texts != NULL; texts++) {
        if (script_token_is(token, *texts)) {
            return true;
        }
    }
    return false;
}

/* Text that the compiler took nests less deeply than it allows; what is over is not followed. */
static void nest(struct reader *r)
{
    static const char *const blocks[] = {"function", "do", "if", "repeat", NULL};
    static const char *const closers[] = {"}", ")", "]", "end", "until", NULL};
    static const char *const openers[] = {"{", "(", "[", NULL};
    if (is_one_of(r->now, closers)) {
        r->depth -= r->depth > 0;
    } else if (is_one_of(r->now, blocks) || is_one_of(r->now, openers)) {
        if (r->depth < NESTING_MAX) {
            r->nesting[r->depth] = r->now.kind == SCRIPT_TOKEN_WORD ? 'e' : r->now.text.data[0];
        }
        r->depth++;
    }
}

static char innermost(const struct reader *r)
{
    return r->depth > 0 && r->depth <= NESTING_MAX ? r->nesting[r->depth - 1] : 'e';
}

static void read_word_or_symbol(struct reader *r)
{
    if (script_token_is(r->now, "local") && !script_token_is(r->after, "function")) {
        r->reading = READING_LOCALS;
    } else if (script_token_is(r->now, "for")) {
        r->reading = READING_FOR;
    } else if (script_token_is(r->now, "function")) {
        r->reading = script_token_is(r->after, "(") ? READING_PARAMETERS : READING_FUNCTION_NAME;
    } else if (r->reading == READING_FUNCTION_NAME && script_token_is(r->now, "(")) {
        r->reading = READING_PARAMETERS;
    } else if (r->reading == READING_PARAMETERS && script_token_is(r->now, ")")) {
        r->reading = READING_CODE;
    } else if (r->reading == READING_FOR &&
               (script_token_is(r->now, "in") || script_token_is(r->now, "="))) {
        r->reading = READING_CODE;
    } else if (r->reading == READING_LOCALS && r->now.kind != SCRIPT_TOKEN_OTHER &&
               !script_token_is(r->now, ",") && !script_token_is(r->now, "<") &&
               !script_token_is(r->now, ">")) {
        r->reading = READING_CODE;
    }
}

static void read_code_name(struct reader *r)
{
    bool is_field = script_token_is(r->before, ".") || script_token_is(r->before, ":");
    bool is_label = script_token_is(r->before, "::") || script_token_is(r->before, "goto");
    bool is_key = innermost(r) == '{' && script_token_is(r->after, "=");
    if (is_field || is_label || is_key) {
        return;
    }
    if (script_token_is(r->after, "=")) {
        define(r, r->now.text);
        return;
    }
    use(r, r->now);
}

static void read_name(struct reader *r)
{
    switch (r->reading) {
    case READING_CODE:
        read_code_name(r);
        break;
    case READING_FUNCTION_NAME:
        if (script_token_is(r->before, "function") &&
            (script_token_is(r->after, ".") || script_token_is(r->after, ":"))) {
            use(r, r->now); /* function x.y(): x must be there */
        } else if (script_token_is(r->before, "function")) {
            define(r, r->now.text);
        }
        break;
    case READING_LOCALS:
        if (!script_token_is(r->before, "local") && !script_token_is(r->before, ",") &&
            !script_token_is(r->before, "<")) {
            r->reading = READING_CODE; /* "local x" and a new statement */
            read_code_name(r);
            break;
        }
        define(r, r->now.text);
        break;
    case READING_FOR:
    case READING_PARAMETERS:
        define(r, r->now.text);
        break;
    }
}

static void read_text(struct reader *r)
{
    r->now = script_lexer_next(&r->lexer);
    while (r->now.kind != SCRIPT_TOKEN_END) {
        r->after = script_lexer_next(&r->lexer);
        if (r->now.kind == SCRIPT_TOKEN_NAME) {
            read_name(r);
        } else {
            read_word_or_symbol(r);
            nest(r);
        }
        r->before = r->now;
        r->now = r->after;
    }
}

struct request {
    script_unknown_global_cb cb;
    void *context;
};

static void report(lua_State *L, const struct reader *r, const struct request *request)
{
    script_globals_push(L);
    int globals = lua_gettop(L);
    for (int i = 1; i <= r->n_used; i++) {
        lua_rawgeti(L, 4, i);
        int name = lua_gettop(L);
        lua_pushvalue(L, name);
        bool is_defined = lua_rawget(L, 2) != LUA_TNIL;
        lua_pushvalue(L, name);
        bool is_global = lua_rawget(L, globals) != LUA_TNIL;
        lua_pushvalue(L, name);
        lua_rawget(L, 3);
        if (!is_defined && !is_global) {
            request->cb(lua_tostring(L, name), (int)lua_tointeger(L, -1), request->context);
        }
        lua_settop(L, globals);
    }
}

/* Where a name stands before "=" it is defined; of "a, b = …" this sees b alone, and a is looked
 * for among the globals, where it is after load. */
static int find_unknown(lua_State *L)
{
    const struct request *request = lua_touserdata(L, 1);
    const struct script *script = script_of(L);
    struct reader reader = {.L = L};
    script_lexer_init(&reader.lexer, slice_of(script->text, script->text_bytes));
    lua_newtable(L);
    lua_newtable(L);
    lua_newtable(L);
    define(&reader, slice_text("self"));
    define(&reader, slice_text("_ENV"));
    read_text(&reader);
    report(L, &reader, request);
    return 0;
}

int script_method_line(const struct script *script, const char *name)
{
    struct script_lexer lexer;
    struct script_token before = {.kind = SCRIPT_TOKEN_END};
    script_lexer_init(&lexer, slice_of(script->text, script->text_bytes));
    for (struct script_token token = script_lexer_next(&lexer); token.kind != SCRIPT_TOKEN_END;
         token = script_lexer_next(&lexer)) {
        if (token.kind == SCRIPT_TOKEN_NAME && script_token_is(before, ":") &&
            script_token_is(token, name)) {
            return token.line;
        }
        before = token;
    }
    return 0;
}

void script_each_unknown_global(struct script *script, script_unknown_global_cb cb, void *context)
{
    struct request request = {.cb = cb, .context = context};
    script_protect(script, find_unknown, &request, NULL);
}
