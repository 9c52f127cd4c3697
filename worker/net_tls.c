/* TLS for streams, by OpenSSL: clients only, TLS 1.2 and above. A stream that has begun it has
 * found the library loaded. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "common/err.h"
#include "worker/net_stream.h"
#include "worker/openssl_library.h"

static SSL_CTX *make_context(const struct ssl_library *ssl, const char *ca_file, bool verifies)
{
    SSL_CTX *context = ssl->SSL_CTX_new(ssl->TLS_client_method());
    if (context == NULL) {
        return NULL;
    }
    bool is_good =
        ssl->SSL_CTX_ctrl(context, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_2_VERSION, NULL) == 1;
    ssl->SSL_CTX_ctrl(context, SSL_CTRL_MODE,
        SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_AUTO_RETRY,
        NULL);
    ssl->SSL_CTX_set_verify(context, verifies ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    if (verifies) {
        is_good =
            is_good && (ca_file != NULL ? ssl->SSL_CTX_load_verify_file(context, ca_file) == 1
                                        : ssl->SSL_CTX_set_default_verify_paths(context) == 1);
    }
    if (!is_good) {
        ssl->SSL_CTX_free(context);
        return NULL;
    }
    return context;
}

/* An address is no name to be sent, and stands elsewhere in a certificate. */
static bool set_name(const struct ssl_library *ssl, SSL *tls, const char *name, bool verifies)
{
    uint8_t bytes[16];
    bool is_address = inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
    if (!is_address && ssl->SSL_ctrl(tls, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                           (void *)(uintptr_t)name) != 1) {
        return false;
    }
    if (!verifies) {
        return true;
    }
    if (is_address) {
        return ssl->X509_VERIFY_PARAM_set1_ip_asc(ssl->SSL_get0_param(tls), name) == 1;
    }
    ssl->SSL_set_hostflags(tls, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return ssl->SSL_set1_host(tls, name) == 1;
}

/* The newest of OpenSSL's errors. */
static enum net_status fail(struct net_stream *stream, const char *what)
{
    const struct ssl_library *ssl = ssl_library();
    char why[160];
    long verify = stream->tls != NULL ? ssl->SSL_get_verify_result(stream->tls) : X509_V_OK;
    const char *reason = ssl->ERR_reason_error_string(ssl->ERR_peek_last_error());
    if (verify != X509_V_OK) {
        reason = ssl->X509_verify_cert_error_string(verify);
    }
    snprintf(why, sizeof why, "tls: %s%s%s", what, reason != NULL ? ": " : "",
        reason != NULL ? reason : "");
    ssl->ERR_clear_error();
    return net_stream_fail(stream, why);
}

int net_tls_start(struct net_stream *stream, const char *name, const char *ca_file, bool verifies)
{
    const struct ssl_library *ssl = ssl_library();
    if (ssl == NULL) {
        net_stream_fail(stream, "tls: libssl cannot be loaded");
        return -ERR_SYSTEM;
    }
    ssl->ERR_clear_error();
    SSL_CTX *context = make_context(ssl, ca_file, verifies);
    if (context == NULL) {
        fail(stream, "the authorities cannot be read");
        return -ERR_BAD;
    }
    stream->tls = ssl->SSL_new(context);
    ssl->SSL_CTX_free(context); /* the connection holds it */
    if (stream->tls == NULL || ssl->SSL_set_fd(stream->tls, stream->fd) != 1 ||
        !set_name(ssl, stream->tls, name, verifies)) {
        fail(stream, "it cannot begin");
        return -ERR_BAD;
    }
    return 0;
}

static enum net_status status_of(struct net_stream *stream, int result, const char *what)
{
    switch (ssl_library()->SSL_get_error(stream->tls, result)) {
    case SSL_ERROR_WANT_READ:
        return NET_READ;
    case SSL_ERROR_WANT_WRITE:
        return NET_WRITE;
    case SSL_ERROR_SYSCALL:
        return net_stream_fail(stream, "closed");
    default:
        return fail(stream, what);
    }
}

enum net_status net_tls_handshake(struct net_stream *stream)
{
    const struct ssl_library *ssl = ssl_library();
    ssl->ERR_clear_error();
    int result = ssl->SSL_connect(stream->tls);
    return result == 1 ? NET_DONE : status_of(stream, result, "handshake");
}

/* An end without the peer's notice may be somebody who cuts the answer short. */
enum net_status net_tls_read(struct net_stream *stream, void *to, size_t max, size_t *n_out)
{
    const struct ssl_library *ssl = ssl_library();
    ssl->ERR_clear_error();
    int result = ssl->SSL_read_ex(stream->tls, to, max, n_out);
    if (result == 1) {
        return NET_DONE;
    }
    *n_out = 0;
    if (ssl->SSL_get_error(stream->tls, result) == SSL_ERROR_ZERO_RETURN) {
        return NET_DONE;
    }
    return status_of(stream, result, "reading");
}

enum net_status net_tls_write(
    struct net_stream *stream, const void *from, size_t len, size_t *n_out)
{
    const struct ssl_library *ssl = ssl_library();
    ssl->ERR_clear_error();
    int result = ssl->SSL_write_ex(stream->tls, from, len, n_out);
    if (result != 1) {
        *n_out = 0;
        return status_of(stream, result, "writing");
    }
    return NET_DONE;
}

void net_tls_free(struct net_stream *stream)
{
    if (stream->tls != NULL) {
        ssl_library()->SSL_free(
            stream->tls); /* without a notice: who wants one has asked for the end */
        stream->tls = NULL;
    }
}
