/*
 * Base64 as mail has it: what is not of the alphabet is skipped and reported, padding ends a group
 * and more may follow, an incomplete last group gives the whole bytes it has. Content may come in
 * pieces cut anywhere.
 */
#ifndef POSTERN_WORKER_MIME_BASE64_H
#define POSTERN_WORKER_MIME_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How whole groups are decoded. All ways give the same bytes; the processor decides which can be
 * used. */
enum mime_base64_way { MIME_BASE64_PLAIN = 0, MIME_BASE64_SSSE3, MIME_BASE64_AVX2 };

struct mime_base64 {
    enum mime_base64_way way;
    uint32_t bits;  /* of the characters held */
    uint8_t held;   /* characters of a group that is not complete: 0 to 3 */
    bool is_padded; /* "=" ended the last group, and nothing but blanks followed */
    bool is_broken; /* something was skipped, or content went on behind padding */
};

/* The fastest this processor can run. */
enum mime_base64_way mime_base64_best(void);

void mime_base64_init(struct mime_base64 *decoder, enum mime_base64_way way);
/* Decodes the next n characters into out, which has room for n + 3 bytes. Returns the bytes
 * written. out NULL: only finds out how many there would be, and what is broken. */
size_t mime_base64_step(struct mime_base64 *decoder, const char *in, size_t n, uint8_t *out);
/* The bytes of an incomplete last group, at most 2. out NULL: only how many. */
size_t mime_base64_end(struct mime_base64 *decoder, uint8_t *out);

/* mime_base64_vector.c: decodes whole groups and the CR LF between them from *i on, and stops
 * before the first group that has something else; may stop earlier. Moves *i; returns the bytes
 * written. out has room for three quarters of what is left, and four bytes; NULL: the bytes are
 * counted, not written. */
size_t mime_base64_run(
    enum mime_base64_way way, const uint8_t *in, size_t n, size_t *i, uint8_t *out);

#endif
