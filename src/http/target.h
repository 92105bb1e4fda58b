#ifndef HTTP_TARGET_H
#define HTTP_TARGET_H
/* target: the grammar of request targets and of Host (RFC 9112 §3.2, RFC 3986 §3.2.2, §3.3, §3.4). */
#include <stdbool.h>
#include <stdint.h>

#include "http/http.h"

/* Character classes, RFC 9110 §5.5 and §5.6.2, RFC 3986 §3.3. */
enum {
    HTTP_TOKEN = 1,  /* tchar */
    HTTP_TARGET = 2, /* what may be in a target at all: pchar / "%" / "/" / "?" / "[" / "]" */
    HTTP_VALUE = 4,  /* HTAB / SP / VCHAR / obs-text */
    HTTP_HEX = 8,
    HTTP_NAME = 16, /* of a host's name: ALPHA / DIGIT / "-" / "." / "_" */
};
extern const uint8_t http_class[256];

static inline bool http_is(char c, int classes)
{
    return http_class[(unsigned char)c] & classes;
}

/* Take a target apart: origin-form, absolute-form (scheme http only), or "*" for OPTIONS. host is left
 * alone unless the target names one. NULL, or why it is refused (400). */
const char *http_target_split(struct http_slice target, enum http_method method,
                              struct http_slice *path, struct http_slice *query,
                              struct http_slice *host);
/* host [":" port], where host is a name, an IPv4 address or "[" IPv6 "]". Stricter than the RFC: an
 * empty host, user info, "%" and sub-delims are no host here. */
bool http_host_valid(struct http_slice host);
/* Whether host, its port aside, is in the list. NULL: any is. */
bool http_host_listed(struct http_slice host, const char *const *hosts);
#endif
