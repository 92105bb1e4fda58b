#ifndef CLIENT_TLS_H
#define CLIENT_TLS_H
/* tls: the client's side of TLS over a socket that does not block, by OpenSSL. Certificates are judged by
 * the authorities that OpenSSL knows (SSL_CERT_FILE and SSL_CERT_DIR name others), and by the host's name or
 * address. Whoever calls has SIGPIPE blocked or ignored. */
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

struct tls_context; /* what connections share */
struct tls;         /* of one connection */

int tls_context_new(struct tls_context **ret_context, struct err *err);
void tls_context_free(struct tls_context *context); /* NULL is fine; after its connections */

/* host: a name, or literal: an address. NULL: no memory. */
struct tls *tls_new(struct tls_context *context, int fd, const char *host, bool literal);
/* Does not close fd. NULL is fine. */
void tls_free(struct tls *tls);

enum { TLS_AGAIN = -1, TLS_FAILED = -2 }; /* wait for the socket; it is of no more use */
/* Once, before all else, until it is 0. */
int tls_handshake(struct tls *tls);
ssize_t tls_read(struct tls *tls, void *data, size_t len); /* 0: the other side has ended it */
ssize_t tls_write(struct tls *tls, const void *data, size_t len);
/* Why the last call failed, for a person. */
const char *tls_why(const struct tls *tls);
#endif
