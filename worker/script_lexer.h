/*
 * The tokens of a Lua text, as far as a look at its names needs them: what is in strings, numbers
 * and comments is passed over. The text was compiled before, so nothing is reported.
 */
#ifndef POSTERN_WORKER_SCRIPT_LEXER_H
#define POSTERN_WORKER_SCRIPT_LEXER_H

#include "common/buf.h"

enum script_token_kind {
    SCRIPT_TOKEN_END = 0,
    SCRIPT_TOKEN_NAME,
    SCRIPT_TOKEN_WORD,
    SCRIPT_TOKEN_SYMBOL,
    SCRIPT_TOKEN_OTHER
};

struct script_token {
    enum script_token_kind kind;
    struct slice text; /* of names, words and symbols; borrowed */
    int line;
};

struct script_lexer {
    const char *at, *end;
    int line;
};

/* Begins with a text, behind a first line that is for the shell. */
void script_lexer_init(struct script_lexer *lexer, struct slice text);
/* SCRIPT_TOKEN_END at the end, and from then on. */
struct script_token script_lexer_next(struct script_lexer *lexer);
/* Whether a token is this name, word or symbol. */
bool script_token_is(struct script_token token, const char *text);

#endif
