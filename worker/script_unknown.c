/*
 * Names that the filter's text uses as globals but nobody defines: what a misspelt name looks like.
 * Lua has no interface for it, so this reads the tokens of the text. It knows no scopes: a name
 * that is a local, a parameter or assigned anywhere counts as defined, so that what is reported is
 * worth a look.
 */
#include <ctype.h>

#include "worker/script_internal.h"

enum { NESTING_MAX = 512 };

enum token_kind { TOKEN_END = 0, TOKEN_NAME, TOKEN_WORD, TOKEN_SYMBOL, TOKEN_OTHER };

struct token {
    enum token_kind kind;
    struct slice text; /* of names, words and symbols */
    int line;
};

struct lexer {
    const char *at, *end;
    int line;
};

/* ---- tokens ---- */

static const char *const words[] = {"and", "break", "do", "else", "elseif", "end", "false", "for",
    "function", "goto", "if", "in", "local", "nil", "not", "or", "repeat", "return", "then", "true",
    "until", "while", NULL};

static bool slice_is(struct slice s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}

static bool is_word(struct slice s)
{
    for (const char *const *w = words; *w != NULL; w++) {
        if (slice_is(s, *w)) {
            return true;
        }
    }
    return false;
}

/* "[", "=", …, "[": the number of "=", or -1 when no long bracket starts here. */
static int long_bracket_level(const struct lexer *lexer)
{
    const char *p = lexer->at + 1;
    while (p < lexer->end && *p == '=') {
        p++;
    }
    return lexer->at < lexer->end && *lexer->at == '[' && p < lexer->end && *p == '['
               ? (int)(p - lexer->at - 1)
               : -1;
}

static void skip_long(struct lexer *lexer, int level)
{
    lexer->at += level + 2;
    for (; lexer->at < lexer->end; lexer->at++) {
        lexer->line += *lexer->at == '\n';
        const char *p = lexer->at;
        if (*p++ != ']') {
            continue;
        }
        int n = 0;
        while (p < lexer->end && *p == '=' && n < level) {
            p++;
            n++;
        }
        if (n == level && p < lexer->end && *p == ']') {
            lexer->at = p + 1;
            return;
        }
    }
}

static void skip_quoted(struct lexer *lexer)
{
    char quote = *lexer->at++;
    while (lexer->at < lexer->end && *lexer->at != quote) {
        if (*lexer->at == '\\' && lexer->at + 1 < lexer->end) {
            lexer->at++;
        }
        lexer->line += *lexer->at == '\n';
        lexer->at++;
    }
    lexer->at += lexer->at < lexer->end;
}

static void skip_line(struct lexer *lexer)
{
    while (lexer->at < lexer->end && *lexer->at != '\n') {
        lexer->at++;
    }
}

static void skip_blanks_and_comments(struct lexer *lexer)
{
    while (lexer->at < lexer->end) {
        if (isspace((unsigned char)*lexer->at)) {
            lexer->line += *lexer->at++ == '\n';
        } else if (lexer->end - lexer->at >= 2 && lexer->at[0] == '-' && lexer->at[1] == '-') {
            lexer->at += 2;
            int level = long_bracket_level(lexer);
            if (level >= 0) {
                skip_long(lexer, level);
            } else {
                skip_line(lexer);
            }
        } else {
            return;
        }
    }
}

static bool is_name_char(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

static struct token next_name(struct lexer *lexer)
{
    const char *start = lexer->at;
    while (lexer->at < lexer->end && is_name_char(*lexer->at)) {
        lexer->at++;
    }
    struct slice text = slice_of(start, (size_t)(lexer->at - start));
    return (struct token){
        .kind = is_word(text) ? TOKEN_WORD : TOKEN_NAME, .text = text, .line = lexer->line};
}

static struct token next_symbol(struct lexer *lexer)
{
    static const char *const long_symbols[] = {
        "...", "..", "==", "~=", "<=", ">=", "::", "//", NULL};
    size_t len = 1;
    for (const char *const *s = long_symbols; *s != NULL; s++) {
        size_t n = strlen(*s);
        if ((size_t)(lexer->end - lexer->at) >= n && memcmp(lexer->at, *s, n) == 0) {
            len = n;
            break;
        }
    }
    struct token token = {
        .kind = TOKEN_SYMBOL, .text = slice_of(lexer->at, len), .line = lexer->line};
    lexer->at += len;
    return token;
}

static struct token next_token(struct lexer *lexer)
{
    skip_blanks_and_comments(lexer);
    if (lexer->at >= lexer->end) {
        return (struct token){.kind = TOKEN_END, .line = lexer->line};
    }
    struct token other = {.kind = TOKEN_OTHER, .line = lexer->line};
    int level = long_bracket_level(lexer);
    if (level >= 0) {
        skip_long(lexer, level);
        return other;
    }
    if (*lexer->at == '"' || *lexer->at == '\'') {
        skip_quoted(lexer);
        return other;
    }
    if (isdigit((unsigned char)*lexer->at)) {
        next_name(lexer); /* 0x1f, 1e10; what follows a point is a number again */
        return other;
    }
    return is_name_char(*lexer->at) ? next_name(lexer) : next_symbol(lexer);
}

/* ---- what the tokens mean ---- */

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
    struct lexer lexer;
    struct token before, now, after;
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

static void use(struct reader *r, struct token token)
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

static bool is(struct token token, const char *text)
{
    return (token.kind == TOKEN_SYMBOL || token.kind == TOKEN_WORD) && slice_is(token.text, text);
}

static bool is_one_of(struct token token, const char *const *texts)
{
    for (; *texts != NULL; texts++) {
        if (is(token, *texts)) {
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
            r->nesting[r->depth] = r->now.kind == TOKEN_WORD ? 'e' : r->now.text.data[0];
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
    if (is(r->now, "local") && !is(r->after, "function")) {
        r->reading = READING_LOCALS;
    } else if (is(r->now, "for")) {
        r->reading = READING_FOR;
    } else if (is(r->now, "function")) {
        r->reading = is(r->after, "(") ? READING_PARAMETERS : READING_FUNCTION_NAME;
    } else if (r->reading == READING_FUNCTION_NAME && is(r->now, "(")) {
        r->reading = READING_PARAMETERS;
    } else if (r->reading == READING_PARAMETERS && is(r->now, ")")) {
        r->reading = READING_CODE;
    } else if (r->reading == READING_FOR && (is(r->now, "in") || is(r->now, "="))) {
        r->reading = READING_CODE;
    } else if (r->reading == READING_LOCALS && r->now.kind != TOKEN_OTHER && !is(r->now, ",") &&
               !is(r->now, "<") && !is(r->now, ">")) {
        r->reading = READING_CODE;
    }
}

static void read_code_name(struct reader *r)
{
    bool is_field = is(r->before, ".") || is(r->before, ":");
    bool is_label = is(r->before, "::") || is(r->before, "goto");
    bool is_key = innermost(r) == '{' && is(r->after, "=");
    if (is_field || is_label || is_key) {
        return;
    }
    if (is(r->after, "=")) {
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
        if (is(r->before, "function") && (is(r->after, ".") || is(r->after, ":"))) {
            use(r, r->now); /* function x.y(): x must be there */
        } else if (is(r->before, "function")) {
            define(r, r->now.text);
        }
        break;
    case READING_LOCALS:
        if (!is(r->before, "local") && !is(r->before, ",") && !is(r->before, "<")) {
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
    r->now = next_token(&r->lexer);
    while (r->now.kind != TOKEN_END) {
        r->after = next_token(&r->lexer);
        if (r->now.kind == TOKEN_NAME) {
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
    struct reader reader = {
        .L = L, .lexer = {.at = script->text, .end = script->text + script->text_bytes, .line = 1}};
    if (script->text_bytes > 0 && script->text[0] == '#') {
        skip_line(&reader.lexer);
    }
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
    struct lexer lexer = {.at = script->text, .end = script->text + script->text_bytes, .line = 1};
    struct token before = {.kind = TOKEN_END};
    if (script->text_bytes > 0 && script->text[0] == '#') {
        skip_line(&lexer);
    }
    for (struct token token = next_token(&lexer); token.kind != TOKEN_END;
         token = next_token(&lexer)) {
        if (token.kind == TOKEN_NAME && is(before, ":") && slice_is(token.text, name)) {
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
