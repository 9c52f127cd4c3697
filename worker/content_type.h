/* The value of a Content-Type field (RFC 2045 section 5.1), as far as changing the charset of plain
 * text needs it. Reading parts is mime.h's. */
#ifndef POSTERN_WORKER_CONTENT_TYPE_H
#define POSTERN_WORKER_CONTENT_TYPE_H

#include <stdbool.h>

#include "common/arena.h"
#include "common/buf.h"

/* Whether the type is this one ("text/plain"), caseless. */
bool content_type_is(struct slice value, const char *type);
/* Its charset in lower case, "" without one; in the arena. */
const char *content_type_charset(struct slice value, struct arena *arena);
/*
 * The same value unfolded, in the arena, with this charset for every one that it names. An empty
 * value gives "text/plain; charset=CHARSET".
 */
struct slice content_type_with_charset(
    struct slice value, const char *charset, struct arena *arena);

#endif
