/* Addresses of web pages and mail that stand in plain text. */
#ifndef POSTERN_WORKER_URL_TEXT_H
#define POSTERN_WORKER_URL_TEXT_H

#include <stdbool.h>

#include "common/arena.h"
#include "common/buf.h"

/*
 * The next address at or after *pos: http, https, ftp (each with "//") or mailto, caseless, up to a
 * blank, a control character, < > or a double quote, without the punctuation that ends a sentence.
 * *pos moves behind it. False when there is none. Any bytes in which ASCII means ASCII; all
 * calls over one text together take time linear in it.
 */
bool url_text_next(struct slice text, size_t *pos, struct slice *out);

/* How many bytes of a scheme that we look at stand at the front of s ("http://", "mailto:"); 0. */
size_t url_scheme_length(struct slice s);

/* The value of an attribute as browsers read an address: outer blanks and control characters, tabs
 * and line ends go. In the arena, or within the value. */
struct slice url_without_blanks(struct slice value, struct arena *arena);

/*
 * What a browser makes of the value of an attribute: outer blanks and control characters, tabs and
 * line ends go; "http:\\x", "https:/x" and "//x" become "http://x" and "https://x". In the
 * arena, or the value itself. data NULL when it has no scheme that we look at, or a NUL.
 */
struct slice url_of_attribute(struct slice value, struct arena *arena);

#endif
