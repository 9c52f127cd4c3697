/*
 * Options that hold a short list of specifications, such as "expire=60s, report=1h": the words are
 * separated by commas or blanks, each begins with a name that stands once.
 */
#ifndef POSTERN_SPEC_LIST_H
#define POSTERN_SPEC_LIST_H

#include <stddef.h>

enum { SPEC_WORD_MAX = 79 };

/* How one kind of them is read. */
struct spec_form {
    size_t bytes; /* of a specification, whose first member is char name[], ended by NUL */
    unsigned max; /* how many there may be */
    int (*read)(char *word, void *out); /* word may be cut up; 0, or -ERR_* for reason() */
    const char *(*reason)(int err);     /* what is wrong and what is expected; for -ERR_TOOBIG
                                           (too many) and -ERR_IN_USE (a name twice) as well */
};

/*
 * text   one without any word is fine.
 * out    room for form->max of them.
 * why    on failure the word and what is wrong with it, printable.
 * Returns 0 or the error of read(); -ERR_BAD (a word over SPEC_WORD_MAX bytes), -ERR_TOOBIG,
 * -ERR_IN_USE.
 */
int spec_list_read(const struct spec_form *form, const char *text, void *out, unsigned *n_out,
    char *why, size_t why_bytes);

#endif
