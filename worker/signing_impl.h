/* What signing.c and signing_key.c share. */
#ifndef POSTERN_WORKER_SIGNING_IMPL_H
#define POSTERN_WORKER_SIGNING_IMPL_H

#include "worker/openssl_library.h"
#include "worker/signing.h"

struct signing_key {
    EVP_PKEY *key; /* owned */
    enum signing_kind kind;
};

/* No configuration file is read: what the environment names must not choose algorithms, and a
 * worker's sandbox need not know where it is. */
static inline const struct crypto_library *signing_begin(void)
{
    const struct crypto_library *crypto = crypto_library_loaded();
    (void)crypto->OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, NULL);
    return crypto;
}

#endif
