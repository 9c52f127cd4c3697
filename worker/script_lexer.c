/* The tokens of a Lua text (Lua 5.4 manual, section 3.1). */
#include "worker/script_lexer.h"

#include <ctype.h>
#include <string.h>

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
static int long_bracket_level(const struct script_lexer *lexer)
{
    const char *p = lexer->at + 1;
    while (p < lexer->end && *p == '=') {
        p++;
    }
    return lexer->at < lexer->end && *lexer->at == '[' && p < lexer->end && *p == '['
               ? (int)(p - lexer->at - 1)
               : -1;
}

static void skip_long(struct script_lexer *lexer, int level)
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

static void skip_quoted(struct script_lexer *lexer)
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

static void skip_line(struct script_lexer *lexer)
{
    while (lexer->at < lexer->end && *lexer->at != '\n') {
        lexer->at++;
    }
}

static void skip_blanks_and_comments(struct script_lexer *lexer)
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

static struct script_token next_name(struct script_lexer *lexer)
{
    const char *start = lexer->at;
    while (lexer->at < lexer->end && is_name_char(*lexer->at)) {
        lexer->at++;
    }
    struct slice text = slice_of(start, (size_t)(lexer->at - start));
    return (struct script_token){.kind = is_word(text) ? SCRIPT_TOKEN_WORD : SCRIPT_TOKEN_NAME,
        .text = text,
        .line = lexer->line};
}

static struct script_token next_symbol(struct script_lexer *lexer)
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
    struct script_token token = {
        .kind = SCRIPT_TOKEN_SYMBOL, .text = slice_of(lexer->at, len), .line = lexer->line};
    lexer->at += len;
    return token;
}

struct script_token script_lexer_next(struct script_lexer *lexer)
{
    skip_blanks_and_comments(lexer);
    if (lexer->at >= lexer->end) {
        return (struct script_token){.kind = SCRIPT_TOKEN_END, .line = lexer->line};
    }
    struct script_token other = {.kind = SCRIPT_TOKEN_OTHER, .line = lexer->line};
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

void script_lexer_init(struct script_lexer *lexer, struct slice text)
{
    *lexer = (struct script_lexer){.at = text.data, .end = text.data + text.len, .line = 1};
    if (text.len > 0 && text.data[0] == '#')
        skip_line(lexer);
}

bool script_token_is(struct script_token token, const char *text)
{
    return token.kind != SCRIPT_TOKEN_END && token.kind != SCRIPT_TOKEN_OTHER &&
           slice_is(token.text, text);
}
