/*
 * Hashes, keys and signatures (OpenSSL 3). Knows algorithms, not mail: RSA with PKCS #1 v1.5 over
 * SHA-256 (RFC 6376, RFC 8301) and Ed25519 over a SHA-256 hash (RFC 8463). Nothing is signed or
 * taken with SHA-1.
 */
#ifndef POSTERN_WORKER_SIGNING_H
#define POSTERN_WORKER_SIGNING_H

#include <stdint.h>

#include "common/buf.h"
#include "worker/canon.h"

enum {
    SIGNING_HASH_BYTES = 32,
    SIGNING_RSA_BITS_MIN = 1024, /* RFC 8301 section 3.2 */
    SIGNING_RSA_BITS_MAX = 8192, /* more would be work that a stranger orders */
    SIGNING_PUBLIC_MAX = 2048,   /* bytes of an encoded public key */
    SIGNING_PRIVATE_MAX = 65536, /* bytes of a private key's file */
    SIGNING_OUT_MAX = SIGNING_RSA_BITS_MAX / 8,
};

enum signing_kind { SIGNING_RSA = 0, SIGNING_ED25519 };

void signing_hash(struct slice bytes, uint8_t out[SIGNING_HASH_BYTES]);
/*
 * The hash of a body in canonical form. limit: bytes of that form which count; UINT64_MAX: all.
 * Returns the length of the whole canonical form.
 */
uint64_t signing_hash_body(
    struct slice body, enum canon canon, uint64_t limit, uint8_t out[SIGNING_HASH_BYTES]);

struct signing_key; /* a private key */

enum signing_answer {
    SIGNING_GOOD = 0,
    SIGNING_WRONG,     /* the signature is not of these bytes */
    SIGNING_BAD_KEY,   /* these bytes are no key of that kind */
    SIGNING_SHORT_KEY, /* under SIGNING_RSA_BITS_MIN */
    SIGNING_LONG_KEY,
};
/*
 * Whether the signature is of `bytes`. public: for RSA a SubjectPublicKeyInfo or RSAPublicKey in
 * DER, for Ed25519 its 32 bytes. *bits_out: of the key, 0 when it is none.
 */
enum signing_answer signing_verify(enum signing_kind kind, struct slice public, struct slice bytes,
    struct slice signature, unsigned *bits_out);

/*
 * Reads a private key in PEM, without passphrase. NULL and *why_out (borrowed, for ever) when it is
 * none, or an RSA key under 1024 or over 8192 bits.
 */
struct signing_key *signing_key_new(struct slice pem, const char **why_out);
/* The same from a file that secret_file_read takes. */
struct signing_key *signing_key_read(const char *path, const char **why_out);
void signing_key_free(struct signing_key *key); /* NULL is fine */
enum signing_kind signing_key_kind(const struct signing_key *key);
unsigned signing_key_bits(const struct signing_key *key);
/* The public half as DKIM publishes it: SubjectPublicKeyInfo, or the 32 bytes. Returns its length,
 * 0 when it does not fit. */
size_t signing_key_public(const struct signing_key *key, uint8_t out[SIGNING_PUBLIC_MAX]);
/* Returns the length of the signature, 0 on failure. */
size_t signing_sign(
    const struct signing_key *key, struct slice bytes, uint8_t out[SIGNING_OUT_MAX]);

#endif
