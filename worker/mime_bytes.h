/*
 * One pass over all bytes of a message: what the whole costs when nobody looks at the parts. Each
 * function has a plain way and one with vector instructions; both give the same answer, and the
 * processor decides which can be used.
 */
#ifndef POSTERN_WORKER_MIME_BYTES_H
#define POSTERN_WORKER_MIME_BYTES_H

#include <stddef.h>
#include <stdint.h>

enum mime_bytes_way { MIME_BYTES_PLAIN = 0, MIME_BYTES_AVX2 };

/* The fastest this processor can run. */
enum mime_bytes_way mime_bytes_best(void);

/*
 * Dashes: places of "--" at the start of the data, or behind an LF, a blank or a tab. Whatever a
 * program may take for a boundary is such a place (RFC 2046 section 5.1.1, and those that allow
 * blanks before it); what stands before the blanks is the caller's to see.
 */
struct mime_bytes {
    uint64_t cr, lf, nul;
    uint64_t pairs; /* CR LF */
    size_t *dashes; /* the caller's room, for max_dashes; may be NULL when that is 0 */
    size_t max_dashes, n_dashes;
    size_t dashes_until; /* all before this are in the list */
};

/* Fills in all but dashes and max_dashes. */
void mime_bytes_scan(enum mime_bytes_way way, const char *data, size_t len, struct mime_bytes *out);

/* The first dashes at or after from; len when there are none. */
size_t mime_bytes_find_dashes(enum mime_bytes_way way, const char *data, size_t len, size_t from);

/*
 * The length of the longest line without its CR and LF; exact when it is over enough, else only not
 * over it. Lines that are not long cost next to nothing.
 */
size_t mime_bytes_longest_line(const char *data, size_t len, size_t enough);

#endif
