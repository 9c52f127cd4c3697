/*
 * Names that nobody can guess and that come out the same again: a hash over what a thing is, keyed
 * with a secret that lies in a folder of ours (HMAC-SHA256, RFC 2104).
 */
#ifndef POSTERN_WORKER_KEYED_HASH_H
#define POSTERN_WORKER_KEYED_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

enum {
    KEYED_HASH_BYTES = 32,
    KEYED_HASH_NAME_CHARS = 24, /* 120 bits, a to z and 2 to 7 */
};

/*
 * The secret of a folder, from its file `name`; made there, once for all processes, when may_make.
 * folder is a descriptor. Returns 0, -ERR_NOTFOUND, -ERR_BAD (it is no file of ours with so many
 * bytes) or -ERR_SYSTEM.
 */
int keyed_hash_secret(
    int folder, const char *name, bool may_make, uint8_t secret_out[KEYED_HASH_BYTES]);

/* Over the pieces with their lengths, so that no two lists of pieces are alike. */
void keyed_hash(const uint8_t secret[KEYED_HASH_BYTES], const struct slice *pieces, size_t n,
    uint8_t out[KEYED_HASH_BYTES]);
/* The first 120 bits as a name of a file, with a NUL. */
void keyed_hash_name(const uint8_t hash[KEYED_HASH_BYTES], char out[KEYED_HASH_NAME_CHARS + 1]);
/* Bytes in hexadecimal; out has 2 * n + 1 bytes. */
void keyed_hash_hex(const uint8_t *bytes, size_t n, char *out);
/* Without telling by its time where they differ. */
bool keyed_hash_is_same(const char *a, const char *b, size_t n);

#endif
