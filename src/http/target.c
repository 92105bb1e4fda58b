#include "http/target.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

enum {
    TOK = HTTP_TOKEN,
    TGT = HTTP_TARGET,
    VAL = HTTP_VALUE,
    ALL = HTTP_TOKEN | HTTP_TARGET | HTTP_VALUE,
    HEX = ALL | HTTP_HEX | HTTP_NAME,
    NAM = ALL | HTTP_NAME,
};

/* What is not listed is in no class: controls, and above all NUL, CR and LF. */
const uint8_t http_class[256] = {
    ['\t'] = VAL,      [' '] = VAL,         ['!'] = ALL,         ['"'] = VAL,
    ['#'] = TOK | VAL, ['$'] = ALL,         ['%'] = ALL,         ['&'] = ALL,
    ['\''] = ALL,      ['('] = TGT | VAL,   [')'] = TGT | VAL,   ['*'] = ALL,
    ['+'] = ALL,       [','] = TGT | VAL,   ['-'] = NAM,         ['.'] = NAM,
    ['/'] = TGT | VAL, ['0' ... '9'] = HEX, [':'] = TGT | VAL,   [';'] = TGT | VAL,
    ['<'] = VAL,       ['='] = TGT | VAL,   ['>'] = VAL,         ['?'] = TGT | VAL,
    ['@'] = TGT | VAL, ['A' ... 'F'] = HEX, ['G' ... 'Z'] = NAM, ['['] = TGT | VAL,
    ['\\'] = VAL,      [']'] = TGT | VAL,   ['^'] = TOK | VAL,   ['_'] = NAM,
    ['`'] = TOK | VAL, ['a' ... 'f'] = HEX, ['g' ... 'z'] = NAM, ['{'] = VAL,
    ['|'] = TOK | VAL, ['}'] = VAL,         ['~'] = ALL,         [0x80 ... 0xff] = VAL,
};

/* Where the host in front of an optional ":port" ends; 0: malformed. */
static size_t host_len(struct http_slice host)
{
    if (host.len == 0)
        return 0;
    if (host.data[0] == '[') {
        const char *end = memchr(host.data, ']', host.len);
        return end ? (size_t)(end - host.data) + 1 : 0;
    }
    size_t n = 0;
    while (n < host.len && http_is(host.data[n], HTTP_NAME))
        n++;
    return n;
}

static bool port_valid(const char *port, size_t len)
{
    unsigned value = 0;
    for (size_t i = 0; i < len; i++) {
        if (port[i] < '0' || port[i] > '9')
            return false;
        value = value * 10 + (unsigned)(port[i] - '0');
        if (value > 65535)
            return false;
    }
    return true;
}

static bool ipv6_valid(const char *text, size_t len)
{
    char address[INET6_ADDRSTRLEN];
    struct in6_addr parsed;
    if (len >= sizeof(address) || memchr(text, '\0', len))
        return false;
    memcpy(address, text, len);
    address[len] = '\0';
    return inet_pton(AF_INET6, address, &parsed) == 1;
}

bool http_host_valid(struct http_slice host)
{
    size_t n = host_len(host);
    if (n == 0 || n > 255)
        return false;
    if (host.data[0] == '[' && !ipv6_valid(host.data + 1, n - 2))
        return false;
    return n == host.len ||
           (host.data[n] == ':' && port_valid(host.data + n + 1, host.len - n - 1));
}

bool http_host_listed(struct http_slice host, const char *const *hosts)
{
    if (!hosts)
        return true;
    size_t n = host_len(host);
    for (; *hosts; hosts++)
        if (strlen(*hosts) == n && strncasecmp(*hosts, host.data, n) == 0)
            return true;
    return false;
}

/* Only pchar, "/", "?" and whole percent-encodings; the caller has checked the class of each byte. */
static bool path_and_query_valid(struct http_slice s)
{
    if (memchr(s.data, '[', s.len) || memchr(s.data, ']', s.len))
        return false;
    const char *p = s.data, *end = s.data + s.len;
    while ((p = memchr(p, '%', (size_t)(end - p)))) {
        if (end - p < 3 || !http_is(p[1], HTTP_HEX) || !http_is(p[2], HTTP_HEX))
            return false;
        p += 3;
    }
    return true;
}

static void split_query(struct http_slice s, struct http_slice *path, struct http_slice *query)
{
    const char *mark = memchr(s.data, '?', s.len);
    *path = s;
    *query = (struct http_slice){ s.data + s.len, 0 };
    if (mark) {
        path->len = (size_t)(mark - s.data);
        *query = (struct http_slice){ mark + 1, s.len - path->len - 1 };
    }
}

const char *http_target_split(struct http_slice target, enum http_method method,
                              struct http_slice *path, struct http_slice *query,
                              struct http_slice *host)
{
    static const char scheme[] = "http://";
    const size_t scheme_len = sizeof(scheme) - 1;
    if (target.len > 0 && target.data[0] == '/') {
        if (!path_and_query_valid(target))
            return "The request target has a character that must be percent-encoded.";
        split_query(target, path, query);
        return NULL;
    }
    if (target.len == 1 && target.data[0] == '*') {
        if (method != HTTP_OPTIONS)
            return "The target * is for OPTIONS only.";
        split_query(target, path, query);
        return NULL;
    }
    if (target.len <= scheme_len || strncasecmp(target.data, scheme, scheme_len) != 0)
        return "The request target is neither a path nor an http URL.";
    struct http_slice authority = { target.data + scheme_len, 0 };
    size_t rest = target.len - scheme_len;
    while (authority.len < rest && authority.data[authority.len] != '/' &&
           authority.data[authority.len] != '?')
        authority.len++;
    struct http_slice tail = { authority.data + authority.len, rest - authority.len };
    if (!http_host_valid(authority))
        return "The host in the request target is not valid.";
    if (!path_and_query_valid(tail))
        return "The request target has a character that must be percent-encoded.";
    *host = authority;
    split_query(tail, path, query);
    if (path->len == 0) /* RFC 9112 §3.2.4 for OPTIONS, RFC 9110 §4.2.3 else */
        *path = method == HTTP_OPTIONS && tail.len == 0 ? (struct http_slice){ "*", 1 }
                                                        : (struct http_slice){ "/", 1 };
    return NULL;
}
