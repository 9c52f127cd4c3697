/*
 * Canonical forms of body and header fields for signatures (RFC 6376 section 3.4). The output goes
 * to a sink piece by piece: nothing of the size of the message is held. A bare LF counts as a line
 * end, as mail servers send it on; a bare CR is a byte like any other.
 */
#ifndef POSTERN_WORKER_CANON_H
#define POSTERN_WORKER_CANON_H

#include "common/buf.h"

enum canon { CANON_SIMPLE = 0, CANON_RELAXED };

/* data is borrowed for the call. */
typedef void (*canon_sink)(void *context, const void *data, size_t len);

/* The whole body. Time: linear. */
void canon_body(struct slice body, enum canon canon, canon_sink sink, void *context);
/*
 * One header field with its name, colon and folding; its last line end may be missing, and comes
 * out as CRLF in any case. A field without a colon comes out as it is. 0 or -ERR_TOOBIG.
 */
int canon_header(struct slice field, enum canon canon, struct buf *out);

#endif
