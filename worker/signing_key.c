/* Private keys. */
#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"
#include "worker/secret_file.h"
#include "worker/signing_impl.h"

/* A key behind a passphrase cannot be read: nobody is there to ask. */
static int no_passphrase(char *text, int size, int is_writing, void *context)
{
    (void)text;
    (void)size;
    (void)is_writing;
    (void)context;
    return -1;
}

static const char *check_kind(
    const struct crypto_library *crypto, EVP_PKEY *key, enum signing_kind *kind_out)
{
    const int id = crypto->EVP_PKEY_get_base_id(key);
    *kind_out = id == EVP_PKEY_RSA ? SIGNING_RSA : SIGNING_ED25519;
    if (id != EVP_PKEY_RSA && id != EVP_PKEY_ED25519)
        return "the key is neither RSA nor Ed25519";
    if (id == EVP_PKEY_RSA && crypto->EVP_PKEY_get_bits(key) < SIGNING_RSA_BITS_MIN)
        return "an RSA key under 1024 bits is of no use";
    if (id == EVP_PKEY_RSA && crypto->EVP_PKEY_get_bits(key) > SIGNING_RSA_BITS_MAX)
        return "an RSA key over 8192 bits is taken by nobody";
    return NULL;
}

struct signing_key *signing_key_new(struct slice pem, const char **why_out)
{
    const struct crypto_library *crypto = signing_begin();
    *why_out = "no private key in PEM, or one with a passphrase";
    if (pem.len == 0 || pem.len > SIGNING_PRIVATE_MAX)
        return NULL;
    BIO *bio = crypto->BIO_new_mem_buf(pem.data, (int)pem.len);
    EVP_PKEY *pkey =
        bio != NULL ? crypto->PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
    crypto->BIO_free(bio);
    crypto->ERR_clear_error();
    if (pkey == NULL)
        return NULL;
    enum signing_kind kind;
    *why_out = check_kind(crypto, pkey, &kind);
    if (*why_out != NULL) {
        crypto->EVP_PKEY_free(pkey);
        return NULL;
    }
    struct signing_key *key = xmalloc(sizeof(*key));
    *key = (struct signing_key){.key = pkey, .kind = kind};
    return key;
}

struct signing_key *signing_key_read(const char *path, const char **why_out)
{
    size_t len;
    char *text = xmalloc(SIGNING_PRIVATE_MAX);
    struct signing_key *key = NULL;
    *why_out = secret_file_read(path, text, SIGNING_PRIVATE_MAX, &len);
    if (*why_out == NULL)
        key = signing_key_new(slice_of(text, len), why_out);
    explicit_bzero(text, SIGNING_PRIVATE_MAX);
    free(text);
    return key;
}

void signing_key_free(struct signing_key *key)
{
    if (key == NULL)
        return;
    crypto_library_loaded()->EVP_PKEY_free(key->key);
    free(key);
}

enum signing_kind signing_key_kind(const struct signing_key *key)
{
    return key->kind;
}

unsigned signing_key_bits(const struct signing_key *key)
{
    return (unsigned)crypto_library_loaded()->EVP_PKEY_get_bits(key->key);
}

size_t signing_key_public(const struct signing_key *key, uint8_t out[SIGNING_PUBLIC_MAX])
{
    const struct crypto_library *crypto = crypto_library_loaded();
    size_t len = SIGNING_PUBLIC_MAX;
    if (key->kind == SIGNING_ED25519)
        return crypto->EVP_PKEY_get_raw_public_key(key->key, out, &len) == 1 ? len : 0;
    const int n = crypto->i2d_PUBKEY(key->key, NULL);
    if (n <= 0 || n > SIGNING_PUBLIC_MAX)
        return 0;
    unsigned char *at = out;
    return (size_t)crypto->i2d_PUBKEY(key->key, &at);
}
