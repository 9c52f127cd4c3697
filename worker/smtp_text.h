/*
 * A message as it stands between DATA and the final dot (RFC 5321 section 4.5.2): whatever ended a
 * line becomes CRLF, so that no server can take a line for the end where another does not, and a
 * dot at the start of a line is doubled. For every client of ours that speaks SMTP.
 */
#ifndef POSTERN_WORKER_SMTP_TEXT_H
#define POSTERN_WORKER_SMTP_TEXT_H

#include <stddef.h>

#include "common/buf.h"

enum { SMTP_TEXT_PIECE_MIN = 3 }; /* bytes that one byte may become */

/*
 * Writes the text from *at on, which moves, until max bytes (SMTP_TEXT_PIECE_MIN at least) are
 * nearly full or the text ends. Returns the bytes written. The text begins at a line's start.
 */
size_t smtp_text_put(struct slice text, size_t *at, char *out, size_t max);
/* What follows the text: its last line's end, if it has none, and the final dot. */
const char *smtp_text_end(struct slice text);

#endif
