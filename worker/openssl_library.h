/*
 * OpenSSL, loaded when the first signature is looked at, or the first connection begins TLS: its
 * two libraries have some twenty thousand relocations, which every start of every program would pay
 * for, also for filters that do neither.
 */
#ifndef POSTERN_WORKER_OPENSSL_LIBRARY_H
#define POSTERN_WORKER_OPENSSL_LIBRARY_H

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

/* What signatures call of libcrypto, and TLS of libssl and, through it, of libcrypto. */
#define CRYPTO_FUNCTIONS(FUNCTION)                                                                 \
    FUNCTION(BIO_free)                                                                             \
    FUNCTION(BIO_new_mem_buf)                                                                      \
    FUNCTION(ERR_clear_error)                                                                      \
    FUNCTION(EVP_DecodeBlock)                                                                      \
    FUNCTION(EVP_Digest)                                                                           \
    FUNCTION(EVP_DigestFinal_ex)                                                                   \
    FUNCTION(EVP_DigestInit_ex)                                                                    \
    FUNCTION(EVP_DigestSign)                                                                       \
    FUNCTION(EVP_DigestSignInit)                                                                   \
    FUNCTION(EVP_DigestUpdate)                                                                     \
    FUNCTION(EVP_DigestVerify)                                                                     \
    FUNCTION(EVP_DigestVerifyInit)                                                                 \
    FUNCTION(EVP_EncodeBlock)                                                                      \
    FUNCTION(EVP_MD_CTX_free)                                                                      \
    FUNCTION(EVP_MD_CTX_new)                                                                       \
    FUNCTION(EVP_PKEY_free)                                                                        \
    FUNCTION(EVP_PKEY_get_base_id)                                                                 \
    FUNCTION(EVP_PKEY_get_bits)                                                                    \
    FUNCTION(EVP_PKEY_get_raw_public_key)                                                          \
    FUNCTION(EVP_PKEY_new_raw_public_key)                                                          \
    FUNCTION(EVP_md5)                                                                              \
    FUNCTION(EVP_sha1)                                                                             \
    FUNCTION(EVP_sha256)                                                                           \
    FUNCTION(OPENSSL_init_crypto)                                                                  \
    FUNCTION(PEM_read_bio_PrivateKey)                                                              \
    FUNCTION(SHA256)                                                                               \
    FUNCTION(d2i_PUBKEY)                                                                           \
    FUNCTION(d2i_PublicKey)                                                                        \
    FUNCTION(i2d_PUBKEY)

#define SSL_FUNCTIONS(FUNCTION)                                                                    \
    FUNCTION(ERR_clear_error)                                                                      \
    FUNCTION(ERR_peek_last_error)                                                                  \
    FUNCTION(ERR_reason_error_string)                                                              \
    FUNCTION(SSL_CTX_ctrl)                                                                         \
    FUNCTION(SSL_CTX_free)                                                                         \
    FUNCTION(SSL_CTX_load_verify_file)                                                             \
    FUNCTION(SSL_CTX_new)                                                                          \
    FUNCTION(SSL_CTX_set_default_verify_paths)                                                     \
    FUNCTION(SSL_CTX_set_verify)                                                                   \
    FUNCTION(SSL_connect)                                                                          \
    FUNCTION(SSL_ctrl)                                                                             \
    FUNCTION(SSL_free)                                                                             \
    FUNCTION(SSL_get0_param)                                                                       \
    FUNCTION(SSL_get_error)                                                                        \
    FUNCTION(SSL_get_verify_result)                                                                \
    FUNCTION(SSL_new)                                                                              \
    FUNCTION(SSL_pending)                                                                          \
    FUNCTION(SSL_read_ex)                                                                          \
    FUNCTION(SSL_set1_host)                                                                        \
    FUNCTION(SSL_set_fd)                                                                           \
    FUNCTION(SSL_set_hostflags)                                                                    \
    FUNCTION(SSL_write_ex)                                                                         \
    FUNCTION(TLS_client_method)                                                                    \
    FUNCTION(X509_VERIFY_PARAM_set1_ip_asc)                                                        \
    FUNCTION(X509_verify_cert_error_string)

/* Under their own names, so that a call reads as in OpenSSL's manual: crypto->EVP_sha256() */
#define FUNCTION(name) __typeof__(&name) name;
struct crypto_library {
    CRYPTO_FUNCTIONS(FUNCTION)
};
struct ssl_library {
    SSL_FUNCTIONS(FUNCTION)
};
#undef FUNCTION

/*
 * Loads it at the first call. NULL when it is not there, lacks a function, or there is no memory
 * for it; the next call tries again. The log says so once in a row.
 */
const struct crypto_library *crypto_library(void);
const struct ssl_library *ssl_library(void);
/* For those who come after a call that succeeded: never NULL, the process ends instead. */
const struct crypto_library *crypto_library_loaded(void);

#endif
