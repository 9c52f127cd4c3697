/* Finds OpenSSL's functions when the first of them is wanted. */
#include "worker/openssl_library.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

/* Those whose headers we are built with. */
#define CRYPTO_SONAME "libcrypto.so.3"
#define SSL_SONAME    "libssl.so.3"

struct row {
    const char *name;
    size_t offset;
};

static const struct row crypto_rows[] = {
#define FUNCTION(name) {#name, offsetof(struct crypto_library, name)},
    CRYPTO_FUNCTIONS(FUNCTION)
#undef FUNCTION
};

static const struct row ssl_rows[] = {
#define FUNCTION(name) {#name, offsetof(struct ssl_library, name)},
    SSL_FUNCTIONS(FUNCTION)
#undef FUNCTION
};

enum {
    CRYPTO_N = sizeof(crypto_rows) / sizeof(crypto_rows[0]),
    SSL_N = sizeof(ssl_rows) / sizeof(ssl_rows[0]),
};

static bool load(const char *soname, const struct row *rows, size_t n, void *out)
{
    void *handle = dlopen(soname, RTLD_NOW | RTLD_LOCAL); /* stays until the process ends */
    for (size_t i = 0; handle != NULL && i < n; i++) {
        void *function = dlsym(handle, rows[i].name);
        if (function == NULL)
            handle = NULL;
        else /* POSIX lets a function's address pass through void *; C has no cast for it */
            memcpy((char *)out + rows[i].offset, &function, sizeof(function));
    }
    return handle != NULL;
}

static void tell(bool *is_told)
{
    if (!*is_told)
        log_error("no signature and no TLS, since OpenSSL cannot be loaded (package libssl3; "
                  "worker.address_space, if there is no memory for it): %s",
            dlerror());
    *is_told = true;
}

const struct crypto_library *crypto_library(void)
{
    static struct crypto_library library;
    static bool is_loaded, is_told;
    if (!is_loaded)
        is_loaded = load(CRYPTO_SONAME, crypto_rows, CRYPTO_N, &library);
    if (!is_loaded)
        tell(&is_told);
    return is_loaded ? &library : NULL;
}

const struct ssl_library *ssl_library(void)
{
    static struct ssl_library library;
    static bool is_loaded, is_told;
    if (!is_loaded)
        is_loaded = load(SSL_SONAME, ssl_rows, SSL_N, &library);
    if (!is_loaded)
        tell(&is_told);
    return is_loaded ? &library : NULL;
}

const struct crypto_library *crypto_library_loaded(void)
{
    const struct crypto_library *crypto = crypto_library();
    if (crypto == NULL)
        log_fatal(EXIT_FAILURE, CRYPTO_SONAME " cannot be loaded");
    return crypto;
}
