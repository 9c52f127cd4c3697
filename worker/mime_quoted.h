/*
 * Quoted-printable (RFC 2045 section 6.7). All ways give the same bytes; the processor decides
 * which can be used.
 */
#ifndef POSTERN_WORKER_MIME_QUOTED_H
#define POSTERN_WORKER_MIME_QUOTED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mime_quoted_way { MIME_QUOTED_PLAIN = 0, MIME_QUOTED_SSE2 };

/* The fastest this processor can run. */
enum mime_quoted_way mime_quoted_best(void);

/*
 * Decodes n characters into out, which has room for n bytes; out NULL: only finds out how many
 * there would be, and what is broken. A cut behind a line end cuts nothing in two. Returns the
 * bytes; *broken_out (may be NULL) is set when a "=" begins nothing, never cleared.
 */
size_t mime_quoted_run(
    enum mime_quoted_way way, const char *in, size_t n, uint8_t *out, bool *broken_out);
/* The same in the fastest way. */
size_t mime_quoted_decode(const char *in, size_t n, uint8_t *out, bool *broken_out);

/* Behind the soft line break whose "=" is at i; i when it is none. */
size_t mime_soft_break_end(const char *in, size_t n, size_t i);

#endif
