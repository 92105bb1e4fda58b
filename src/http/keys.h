#ifndef HTTP_KEYS_H
#define HTTP_KEYS_H
/* keys: who may speak to a server. Only digests are kept, and compared in constant time.
 *
 *     Authorization: Bearer KEY              for programs (RFC 6750 §2.1)
 *     Authorization: Basic BASE64(any:KEY)   for people with a browser (RFC 7617) */
#include <stdbool.h>
#include <stddef.h>

#include "http/http.h"

enum {
    HTTP_KEYS_MAX = 256,
    HTTP_KEY_MIN = 16 /* bytes */,
    HTTP_KEY_MAX = 512,
    HTTP_KEY_NAME_MAX = 64
};

struct http_keys;

/* One key a line, each "key" or "name:key"; a key has HTTP_KEY_MIN to HTTP_KEY_MAX visible ASCII characters
 * and no colon. Empty lines, and those that begin with "#", say nothing. text is not changed: wipe it. */
int http_keys_read(const char *text, size_t len, struct http_keys **keys, struct err *err);
void http_keys_free(struct http_keys *keys);
/* Whether the request carries one of the keys; *ret_name (if not NULL) is its name then, or the beginning
 * of its digest in hexadecimal if it has none. keys NULL: there is none, and everybody may. */
bool http_keys_admit(const struct http_keys *keys, const struct http_request *request,
                     const char **ret_name);
size_t http_keys_count(const struct http_keys *keys);
/* For the answer 401 (RFC 9110 §11.6.1), ending in CR LF. */
extern const char http_keys_challenge[];
#endif
