/*
 * The workers that died on a request: who, how, and at what. A worker's end is noticed when its
 * socket closes, a moment before waitpid tells how it ended, so an answer that says how has to wait
 * for that. Belongs to the request, and is made with the first death only.
 */
#ifndef POSTERN_MULTIPLEXOR_DEATH_H
#define POSTERN_MULTIPLEXOR_DEATH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct child;

enum { DEATHS_MAX = 2, DEATHS_TEXT_MAX = 1024 };

struct death {
    struct child *child; /* until it is known how it ended: its death_of is the request */
    pid_t pid;
    char how[96];   /* "signal 11 (SIGSEGV)", "a bad reply: …"; "" while it is not known */
    char last[256]; /* what it did last, as far as it has told; "" when it has not */
};

struct deaths {
    struct death items[DEATHS_MAX];
    unsigned n;
};

/* Notes one; how NULL: waitpid will tell, and child stays noted until then. */
void deaths_add(struct deaths *deaths, struct child *child, const char *how);
/* How the child ended; nothing when none waits for that. */
void deaths_tell(struct deaths *deaths, const struct child *child, const char *how);
/* Whether it is known how all of them ended. */
bool deaths_are_known(const struct deaths *deaths);
/* Lets go of children that have not ended yet; frees. NULL is fine. */
void deaths_free(struct deaths *deaths);

/* Lines of "pid TAB how TAB last", for the record; and "signal 11 (SIGSEGV), exit status 3" for a
 * sentence. out: at least DEATHS_TEXT_MAX bytes. */
void deaths_record(const struct deaths *deaths, char *out, size_t out_bytes);
void deaths_sentence(const struct deaths *deaths, char *out, size_t out_bytes);

#endif
