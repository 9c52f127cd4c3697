/*
 * The addresses in a style sheet or a style attribute: url( ), @import and the texts of image-set(
 * ), with the escapes of CSS (CSS Syntax Level 3, section 4.3.7) in them as in the words before
 * them.
 */
#ifndef POSTERN_WORKER_HTML_CSS_H
#define POSTERN_WORKER_HTML_CSS_H

#include <stdbool.h>

#include "common/arena.h"
#include "common/buf.h"

struct html_css {
    struct slice css; /* UTF-8, or any bytes in which ASCII means ASCII */
    size_t pos;
    size_t depth; /* brackets open from image-set( on; 0: outside of it */
};

/* The next address, from *from_out to before *to_out, without quotes and as written; it may be
 * empty. False at the end. Time linear over all calls. */
bool html_css_next(struct html_css *scan, size_t *from_out, size_t *to_out);
/* A text with its escapes decoded; the text itself when it has none. */
struct slice html_css_decode(struct slice text, struct arena *arena);

#endif
