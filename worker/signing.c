#include "worker/signing.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

#include "common/log.h"
#include "worker/signing_impl.h"

/* No configuration file is read: what the environment names must not choose algorithms, and a
 * worker's sandbox need not know where it is. */
static void start(void)
{
    (void)OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, NULL);
}

static EVP_MD_CTX *context_new(void)
{
    start();
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (context == NULL)
        log_fatal(EXIT_FAILURE, "out of memory");
    return context;
}

void signing_hash(struct slice bytes, uint8_t out[SIGNING_HASH_BYTES])
{
    start();
    SHA256((const unsigned char *)(bytes.len > 0 ? bytes.data : ""), bytes.len, out);
}

/* ---- bodies ---- */

struct body_hash {
    EVP_MD_CTX *context;
    uint64_t left; /* that still count */
    uint64_t total;
};

static void on_canonical(void *context, const void *data, size_t len)
{
    struct body_hash *hash = context;
    const size_t n = len < hash->left ? len : (size_t)hash->left;
    hash->total += len;
    hash->left -= n;
    if (n > 0)
        EVP_DigestUpdate(hash->context, data, n);
}

uint64_t signing_hash_body(
    struct slice body, enum canon canon, uint64_t limit, uint8_t out[SIGNING_HASH_BYTES])
{
    struct body_hash hash = {.context = context_new(), .left = limit};
    EVP_DigestInit_ex(hash.context, EVP_sha256(), NULL);
    canon_body(body, canon, on_canonical, &hash);
    EVP_DigestFinal_ex(hash.context, out, NULL);
    EVP_MD_CTX_free(hash.context);
    return hash.total;
}

/* ---- public keys ---- */

static EVP_PKEY *rsa_from_der(struct slice der)
{
    const unsigned char *at = (const unsigned char *)der.data, *end = at + der.len;
    EVP_PKEY *key = d2i_PUBKEY(NULL, &at, (long)der.len);
    if (key == NULL) {
        at = (const unsigned char *)der.data;
        key = d2i_PublicKey(EVP_PKEY_RSA, NULL, &at, (long)der.len);
    }
    if (key != NULL && (at != end || EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA)) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    return key;
}

static EVP_PKEY *public_from_bytes(enum signing_kind kind, struct slice bytes)
{
    if (bytes.len == 0 || bytes.len > SIGNING_PUBLIC_MAX)
        return NULL;
    if (kind == SIGNING_RSA)
        return rsa_from_der(bytes);
    return EVP_PKEY_new_raw_public_key(
        EVP_PKEY_ED25519, NULL, (const unsigned char *)bytes.data, bytes.len);
}

/* Ed25519 signs the hash of what RSA signs (RFC 8463 section 3). */
static bool verify(
    EVP_PKEY *key, enum signing_kind kind, struct slice bytes, struct slice signature)
{
    uint8_t hash[SIGNING_HASH_BYTES];
    const bool is_rsa = kind == SIGNING_RSA;
    EVP_MD_CTX *context = context_new();
    signing_hash(bytes, hash);
    const struct slice signed_bytes = is_rsa ? bytes : slice_of(hash, sizeof(hash));
    const bool is_good =
        EVP_DigestVerifyInit(context, NULL, is_rsa ? EVP_sha256() : NULL, NULL, key) == 1 &&
        EVP_DigestVerify(context, (const unsigned char *)signature.data, signature.len,
            (const unsigned char *)signed_bytes.data, signed_bytes.len) == 1;
    EVP_MD_CTX_free(context);
    signing_forget_errors();
    return is_good;
}

enum signing_answer signing_verify(enum signing_kind kind, struct slice public, struct slice bytes,
    struct slice signature, unsigned *bits_out)
{
    start();
    EVP_PKEY *key = public_from_bytes(kind, public);
    enum signing_answer answer = SIGNING_BAD_KEY;
    *bits_out = 0;
    if (key != NULL) {
        *bits_out = (unsigned)EVP_PKEY_get_bits(key);
        if (kind == SIGNING_RSA && *bits_out < SIGNING_RSA_BITS_MIN)
            answer = SIGNING_SHORT_KEY;
        else if (kind == SIGNING_RSA && *bits_out > SIGNING_RSA_BITS_MAX)
            answer = SIGNING_LONG_KEY;
        else
            answer = verify(key, kind, bytes, signature) ? SIGNING_GOOD : SIGNING_WRONG;
    }
    EVP_PKEY_free(key);
    signing_forget_errors();
    return answer;
}

/* ---- signatures ---- */

size_t signing_sign(const struct signing_key *key, struct slice bytes, uint8_t out[SIGNING_OUT_MAX])
{
    uint8_t hash[SIGNING_HASH_BYTES];
    const bool is_rsa = key->kind == SIGNING_RSA;
    EVP_MD_CTX *context = context_new();
    size_t len = SIGNING_OUT_MAX;
    signing_hash(bytes, hash);
    const struct slice signed_bytes = is_rsa ? bytes : slice_of(hash, sizeof(hash));
    const bool is_done =
        EVP_DigestSignInit(context, NULL, is_rsa ? EVP_sha256() : NULL, NULL, key->key) == 1 &&
        EVP_DigestSign(
            context, out, &len, (const unsigned char *)signed_bytes.data, signed_bytes.len) == 1;
    EVP_MD_CTX_free(context);
    signing_forget_errors();
    return is_done ? len : 0;
}
