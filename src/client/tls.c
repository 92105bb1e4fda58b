#include "client/tls.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

struct tls {
    SSL *ssl;
    char why[160];
};

struct tls_context {
    SSL_CTX *ctx;
};

DEFINE_FREEP(struct tls_context *, tls_context_free)

int tls_context_new(struct tls_context **ret_context, struct err *err)
{
    static const unsigned char protocols[] = "\x08http/1.1";
    CLEANUP(tls_context_freep) struct tls_context *context = calloc(1, sizeof(*context));
    ERR_clear_error();
    SSL_CTX *ctx = context ? SSL_CTX_new(TLS_client_method()) : NULL;
    if (!ctx)
        return err_set(err, ERR_NOMEM, "SSL_CTX_new");
    context->ctx = ctx;
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_RELEASE_BUFFERS);
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_default_verify_paths(ctx) != 1 ||
        SSL_CTX_set_alpn_protos(ctx, protocols, sizeof(protocols) - 1) != 0)
        return err_set(err, ERR_UNSUPPORTED, "OpenSSL: %s",
                       ERR_reason_error_string(ERR_peek_last_error()));
    *ret_context = TAKE(context);
    return 0;
}

void tls_context_free(struct tls_context *context)
{
    if (!context)
        return;
    SSL_CTX_free(context->ctx);
    free(context);
}

DEFINE_FREEP(struct tls *, tls_free)

struct tls *tls_new(struct tls_context *context, int fd, const char *host, bool literal)
{
    CLEANUP(tls_freep) struct tls *tls = calloc(1, sizeof(*tls));
    if (!tls)
        return NULL;
    ERR_clear_error();
    tls->ssl = SSL_new(context->ctx);
    if (!tls->ssl || SSL_set_fd(tls->ssl, fd) != 1)
        return NULL;
    SSL_set_hostflags(tls->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    int ok = literal ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls->ssl), host)
                     : SSL_set1_host(tls->ssl, host) == 1 &&
                           SSL_set_tlsext_host_name(tls->ssl, host) == 1;
    if (ok != 1)
        return NULL;
    SSL_set_connect_state(tls->ssl);
    return TAKE(tls);
}

void tls_free(struct tls *tls)
{
    if (!tls)
        return;
    SSL_free(tls->ssl); /* without its last word: the connection is closed at once */
    free(tls);
}

static int judge(struct tls *tls, int rc)
{
    switch (SSL_get_error(tls->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return TLS_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        break;
    }
    long verdict = SSL_get_verify_result(tls->ssl);
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    if (verdict != X509_V_OK)
        reason = X509_verify_cert_error_string(verdict);
    else if (!reason)
        reason = errno ? strerror(errno) : "the connection was closed";
    (void)snprintf(tls->why, sizeof(tls->why), "%s", reason);
    return TLS_FAILED;
}

/* OpenSSL's errors are a queue of the thread's: what an earlier call left there would be taken for this one's. */
static void begin(void)
{
    ERR_clear_error();
    errno = 0;
}

int tls_handshake(struct tls *tls)
{
    begin();
    int rc = SSL_do_handshake(tls->ssl);
    if (rc == 1)
        return 0;
    rc = judge(tls, rc);
    if (rc != 0)
        return rc;
    (void)snprintf(tls->why, sizeof(tls->why), "the connection was closed");
    return TLS_FAILED;
}

ssize_t tls_read(struct tls *tls, void *data, size_t len)
{
    begin();
    int rc = SSL_read(tls->ssl, data, len < INT_MAX ? (int)len : INT_MAX);
    return rc > 0 ? rc : judge(tls, rc);
}

ssize_t tls_write(struct tls *tls, const void *data, size_t len)
{
    begin();
    int rc = SSL_write(tls->ssl, data, len < INT_MAX ? (int)len : INT_MAX);
    if (rc > 0)
        return rc;
    rc = judge(tls, rc);
    return rc == 0 ? TLS_FAILED : rc;
}

const char *tls_why(const struct tls *tls)
{
    return tls->why;
}
