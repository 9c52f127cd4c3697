/*
 * Changes to the decoded content of an encoded body, by span. What stands before the first change
 * keeps its encoded bytes; quoted-printable keeps those between and behind the changes too, base64
 * only when nothing behind them moves, which is never counted on: from the first change on it is
 * written anew.
 */
#ifndef POSTERN_WORKER_SPLICE_H
#define POSTERN_WORKER_SPLICE_H

#include <stdbool.h>

#include "common/arena.h"
#include "common/buf.h"

/* Decoded bytes from..to become these. */
struct splice {
    size_t from, to;
    struct slice bytes;
};

/* An encoded body. */
struct splice_body {
    struct slice encoded;
    const char *encoding; /* Content-Transfer-Encoding, lower case; "" is 7bit */
    const char *line_end; /* of the message, for lines written anew: CR LF or LF */
    struct slice decoded; /* made by splice_open */
};

/* Whether the encoding leaves bytes as they are. */
bool splice_is_raw(const char *encoding);
/* Decodes. False when the encoding is unknown, or the body broken so that readers differ about what
 * follows its end. */
bool splice_open(struct splice_body *body, struct arena *arena);

/*
 * Writes the body with the changes into out. list: ascending, not overlapping, within the decoded
 * content. CR LF in them is a line end. Lines of quoted-printable and base64 keep to 76 characters
 * where something was changed (RFC 2045 sections 6.7, 6.8). 0 or -ERR_TOOBIG.
 */
int splice_put(
    const struct splice_body *body, const struct splice *list, size_t n, struct buf *out);

/* The decoded bytes from `at` on, with the changes. 0 or -ERR_TOOBIG. */
int splice_apply(
    struct slice decoded, size_t at, const struct splice *list, size_t n, struct buf *out);
/* Bytes in quoted-printable, from the start of a line. 0 or -ERR_TOOBIG. */
int splice_put_quoted(struct slice bytes, const char *line_end, struct buf *out);

/* The same body as a whole in quoted-printable; for one that is raw. */
int splice_put_requoted(
    const struct splice_body *body, const struct splice *list, size_t n, struct buf *out);

/* For splice.c: the two encodings. */
int splice_quoted(
    const struct splice_body *body, const struct splice *list, size_t n, struct buf *out);
int splice_base64(
    const struct splice_body *body, const struct splice *list, size_t n, struct buf *out);
bool splice_base64_is_sound(struct slice encoded);

#endif
