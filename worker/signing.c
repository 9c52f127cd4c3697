#include "worker/signing.h"

#include "common/log.h"
#include "worker/signing_impl.h"

/* OpenSSL queues errors for whoever asks; nobody does: hence ERR_clear_error. */

static EVP_MD_CTX *context_new(const struct crypto_library *crypto)
{
    EVP_MD_CTX *context = crypto->EVP_MD_CTX_new();
    if (context == NULL)
        log_fatal(EXIT_FAILURE, "out of memory");
    return context;
}

void signing_hash(struct slice bytes, uint8_t out[SIGNING_HASH_BYTES])
{
    signing_begin()->SHA256(
        (const unsigned char *)(bytes.len > 0 ? bytes.data : ""), bytes.len, out);
}

/* ---- bodies ---- */

struct body_hash {
    const struct crypto_library *crypto;
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
        hash->crypto->EVP_DigestUpdate(hash->context, data, n);
}

uint64_t signing_hash_body(
    struct slice body, enum canon canon, uint64_t limit, uint8_t out[SIGNING_HASH_BYTES])
{
    const struct crypto_library *crypto = signing_begin();
    struct body_hash hash = {.crypto = crypto, .context = context_new(crypto), .left = limit};
    crypto->EVP_DigestInit_ex(hash.context, crypto->EVP_sha256(), NULL);
    canon_body(body, canon, on_canonical, &hash);
    crypto->EVP_DigestFinal_ex(hash.context, out, NULL);
    crypto->EVP_MD_CTX_free(hash.context);
    return hash.total;
}

/* ---- public keys ---- */

static EVP_PKEY *rsa_from_der(const struct crypto_library *crypto, struct slice der)
{
    const unsigned char *at = (const unsigned char *)der.data, *end = at + der.len;
    EVP_PKEY *key = crypto->d2i_PUBKEY(NULL, &at, (long)der.len);
    if (key == NULL) {
        at = (const unsigned char *)der.data;
        key = crypto->d2i_PublicKey(EVP_PKEY_RSA, NULL, &at, (long)der.len);
    }
    if (key != NULL && (at != end || crypto->EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA)) {
        crypto->EVP_PKEY_free(key);
        key = NULL;
    }
    return key;
}

static EVP_PKEY *public_from_bytes(
    const struct crypto_library *crypto, enum signing_kind kind, struct slice bytes)
{
    if (bytes.len == 0 || bytes.len > SIGNING_PUBLIC_MAX)
        return NULL;
    if (kind == SIGNING_RSA)
        return rsa_from_der(crypto, bytes);
    return crypto->EVP_PKEY_new_raw_public_key(
        EVP_PKEY_ED25519, NULL, (const unsigned char *)bytes.data, bytes.len);
}

/* Ed25519 signs the hash of what RSA signs (RFC 8463 section 3). */
static bool verify(const struct crypto_library *crypto, EVP_PKEY *key, enum signing_kind kind,
    struct slice bytes, struct slice signature)
{
    uint8_t hash[SIGNING_HASH_BYTES];
    const bool is_rsa = kind == SIGNING_RSA;
    EVP_MD_CTX *context = context_new(crypto);
    signing_hash(bytes, hash);
    const struct slice signed_bytes = is_rsa ? bytes : slice_of(hash, sizeof(hash));
    const bool is_good =
        crypto->EVP_DigestVerifyInit(
            context, NULL, is_rsa ? crypto->EVP_sha256() : NULL, NULL, key) == 1 &&
        crypto->EVP_DigestVerify(context, (const unsigned char *)signature.data, signature.len,
            (const unsigned char *)signed_bytes.data, signed_bytes.len) == 1;
    crypto->EVP_MD_CTX_free(context);
    crypto->ERR_clear_error();
    return is_good;
}

enum signing_answer signing_verify(enum signing_kind kind, struct slice public, struct slice bytes,
    struct slice signature, unsigned *bits_out)
{
    const struct crypto_library *crypto = signing_begin();
    EVP_PKEY *key = public_from_bytes(crypto, kind, public);
    enum signing_answer answer = SIGNING_BAD_KEY;
    *bits_out = 0;
    if (key != NULL) {
        *bits_out = (unsigned)crypto->EVP_PKEY_get_bits(key);
        if (kind == SIGNING_RSA && *bits_out < SIGNING_RSA_BITS_MIN)
            answer = SIGNING_SHORT_KEY;
        else if (kind == SIGNING_RSA && *bits_out > SIGNING_RSA_BITS_MAX)
            answer = SIGNING_LONG_KEY;
        else
            answer = verify(crypto, key, kind, bytes, signature) ? SIGNING_GOOD : SIGNING_WRONG;
    }
    crypto->EVP_PKEY_free(key);
    crypto->ERR_clear_error();
    return answer;
}

/* ---- signatures ---- */

size_t signing_sign(const struct signing_key *key, struct slice bytes, uint8_t out[SIGNING_OUT_MAX])
{
    uint8_t hash[SIGNING_HASH_BYTES];
    const bool is_rsa = key->kind == SIGNING_RSA;
    const struct crypto_library *crypto = signing_begin();
    EVP_MD_CTX *context = context_new(crypto);
    size_t len = SIGNING_OUT_MAX;
    signing_hash(bytes, hash);
    const struct slice signed_bytes = is_rsa ? bytes : slice_of(hash, sizeof(hash));
    const bool is_done = crypto->EVP_DigestSignInit(context, NULL,
                             is_rsa ? crypto->EVP_sha256() : NULL, NULL, key->key) == 1 &&
                         crypto->EVP_DigestSign(context, out, &len,
                             (const unsigned char *)signed_bytes.data, signed_bytes.len) == 1;
    crypto->EVP_MD_CTX_free(context);
    crypto->ERR_clear_error();
    return is_done ? len : 0;
}
