#ifndef CLIENT_URL_H
#define CLIENT_URL_H
/* url: what is a valid URL to send a request to? RFC 3986 with these restrictions: http or https (any case), a host
 * is required, no user information, no percent-encoding or non-ASCII in the host, a host that looks
 * like a number must be a plain dotted IPv4 address, ports 1-65535, at most 2048 bytes. */
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

enum { URL_MAX_LEN = 2048, URL_HOST_LEN = 256 /* with a NUL */ };

/* Whether the len bytes at url are valid; *ret_why says why not, for a person ("ok" if they are). */
bool url_is_valid(const char *url, size_t len, const char **ret_why);
/* Of a valid URL: its host as a literal address with its port. false: the host is a name. */
bool url_literal_address(const char *url, struct sockaddr_storage *ret_address);
/* "scheme://host:port" in lower case, the port always there, an IPv6 address in its shortest form: the
 * same for all ways to write one origin (RFC 6454 §4). false: the URL is not valid. */
enum { URL_ORIGIN_LEN = 280 };
bool url_origin(const char *url, char ret_origin[static URL_ORIGIN_LEN]);
/* Of a valid URL: what a request to it is made of. */
struct url_parts {
    bool https;
    unsigned port;
    char host
        [URL_HOST_LEN]; /* the name in lower case without a last dot; an address without brackets */
    bool literal;       /* host is an address, and so it is */
    struct sockaddr_storage address;
    const char *target; /* path and query, borrowed from the URL; no "/": add it */
    size_t target_len;
};
void url_split(const char *url, struct url_parts *ret_parts);
#endif
