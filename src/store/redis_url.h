#ifndef STORE_REDIS_URL_H
#define STORE_REDIS_URL_H
/* redis_url: where a Redis is: redis://[[user]:password@]host[:port][/db]. Password and user may be
 * percent-encoded (RFC 3986 §2.1); an IPv6 host stands in brackets. */
#include <stddef.h>

#include "base/err.h"

enum { REDIS_PORT = 6379 };

struct redis_url {
    char *user, *password; /* NULL: none */
    char *host;            /* without brackets */
    int port, db;
};

/* where is what follows "redis:". */
int redis_url_parse(const char *where, struct redis_url *ret_url, struct err *err);
void redis_url_release(struct redis_url *url);
/* The URL of any store as it may be shown: without its password. */
const char *redis_url_shown(const char *url, char *out, size_t size);
#endif
