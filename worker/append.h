/*
 * Text at the end of a plain text body, in the body's own charset and transfer encoding. The bytes
 * before it stay as they are, except that an incomplete last group of base64 must be written anew.
 */
#ifndef POSTERN_WORKER_APPEND_H
#define POSTERN_WORKER_APPEND_H

#include <stdbool.h>

#include "common/arena.h"
#include "common/buf.h"

struct append {
    struct slice body;    /* still encoded */
    const char *charset;  /* lower case; "" is us-ascii */
    const char *encoding; /* Content-Transfer-Encoding, lower case; "" is 7bit */
    struct slice
        text;        /* UTF-8 without NUL; its line ends become CRLF, and it gets one at its end */
    bool needs_utf8; /* out: Content-Type must say charset=utf-8 from now on */
    bool needs_8bit; /* out: Content-Transfer-Encoding must say 8bit from now on */
};

/*
 * Writes the new body into out. The text starts on a line of its own. Characters that the charset
 * cannot carry become "?". arena: for the work. Returns NULL, or why it cannot be done: "encoding"
 * (unknown or broken transfer encoding), "charset" (one without ASCII), "size".
 */
const char *append_to_body(struct append *append, struct arena *arena, struct buf *out);

#endif
