/* What signing.c and signing_key.c share. */
#ifndef POSTERN_WORKER_SIGNING_IMPL_H
#define POSTERN_WORKER_SIGNING_IMPL_H

#include <openssl/err.h>
#include <openssl/evp.h>

#include "worker/signing.h"

struct signing_key {
    EVP_PKEY *key; /* owned */
    enum signing_kind kind;
};

/* OpenSSL queues errors for whoever asks; nobody does. */
static inline void signing_forget_errors(void)
{
    ERR_clear_error();
}

#endif
