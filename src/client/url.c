/* The grammar, from RFC 3986 Appendix A, narrowed as url.h says:
 *
 *     URL       = ("http" / "https") "://" host [":" *5DIGIT] path ["?" query] ["#" fragment]
 *     host      = "[" IPv6address "]" / IPv4address / name
 *     name      = label *("." label) ["."]          at most 253 bytes, the last dot not counted;
 *                                                   the last label is no number (WHATWG URL §3.5)
 *     label     = 1*63 (ALPHA / DIGIT / "-" / "_")  without "-" at either end
 *     path      = *("/" *pchar)
 *     query     = *(pchar / "/" / "?")              so is fragment
 *
 * "_" is allowed because the names of containers have it. */
#include "client/url.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
    MAX_NAME_LEN = 253,
    MAX_LABEL_LEN = 63,
    MAX_PORT_DIGITS = 5,
    HTTP_PORT = 80,
    HTTPS_PORT = 443
};

struct text {
    const char *at;
    size_t len;
};

/* What a URL consists of; all borrowed from it. */
struct parts {
    bool https;
    bool bracketed; /* host is what stood between [ and ] */
    bool has_address;
    struct text host;
    struct text tail;   /* path, query and fragment */
    unsigned port;      /* the scheme's own when none was written */
    struct in_addr v4;  /* has_address and not bracketed */
    struct in6_addr v6; /* bracketed */
};

/* What a byte may stand in. A table, because every byte of three URLs a request is looked up. */
enum { HEX = 1, LABEL = 2, TAIL = 4 };

static const uint8_t classes[256] = {
    ['0' ... '9'] = HEX | LABEL | TAIL,
    ['A' ... 'F'] = HEX | LABEL | TAIL,
    ['G' ... 'Z'] = LABEL | TAIL,
    ['a' ... 'f'] = HEX | LABEL | TAIL,
    ['g' ... 'z'] = LABEL | TAIL,
    ['-'] = LABEL | TAIL,
    ['_'] = LABEL | TAIL,
    /* pchar of RFC 3986 §3.3 but for "%", and "/" and "?" */
    ['.'] = TAIL,
    ['~'] = TAIL,
    ['!'] = TAIL,
    ['$'] = TAIL,
    ['&' ... ','] = TAIL, /* & ' ( ) * + , */
    [';'] = TAIL,
    ['='] = TAIL,
    [':'] = TAIL,
    ['@'] = TAIL,
    ['/'] = TAIL,
    ['?'] = TAIL,
};

static bool is(char c, int class)
{
    return classes[(unsigned char)c] & class;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is(c, HEX);
}

static bool has_prefix(struct text t, const char *prefix)
{
    size_t len = strlen(prefix);
    return t.len >= len && strncasecmp(t.at, prefix, len) == 0;
}

static struct text skip(struct text t, size_t n)
{
    return (struct text){ t.at + n, t.len - n };
}

/* Where c first stands in t; t.len if nowhere. */
static size_t find(struct text t, char c)
{
    const char *at = t.len ? memchr(t.at, c, t.len) : NULL;
    return at ? (size_t)(at - t.at) : t.len;
}

/* NULL: every byte is a printable character of ASCII. Worst finding first, whatever their order. */
static const char *check_bytes(struct text url)
{
    bool control = false, space = false, other = false;
    for (size_t i = 0; i < url.len; i++) {
        unsigned char c = (unsigned char)url.at[i];
        control |= c < 0x20 || c == 0x7f;
        space |= c == ' ';
        other |= c > 0x7f;
    }
    if (control)
        return "control character";
    if (space)
        return "space";
    if (other)
        return "non-ASCII character: write hosts as punycode, the rest percent-encoded";
    return NULL;
}

/* Decimal or 0x…: what some readers of URLs take for an address, or for a part of one. */
static bool is_number(struct text label)
{
    size_t i = has_prefix(label, "0x") ? 2 : 0;
    bool hex = i > 0;
    if (!hex && label.len == 0)
        return false;
    for (; i < label.len; i++)
        if (hex ? !is_hex(label.at[i]) : !is_digit(label.at[i]))
            return false;
    return true;
}

/* Four decimal numbers without leading zeros. Written out: inet_pton() of old C libraries is laxer. */
static bool parse_ipv4(struct text host, struct in_addr *ret_address)
{
    uint32_t address = 0;
    size_t i = 0;
    for (int part = 0; part < 4; part++) {
        if (part > 0 && (i == host.len || host.at[i++] != '.'))
            return false;
        size_t first = i;
        unsigned value = 0;
        while (i < host.len && i - first < 3 && is_digit(host.at[i]))
            value = value * 10 + (unsigned)(host.at[i++] - '0');
        if (i == first || value > 255 || (host.at[first] == '0' && i - first > 1))
            return false;
        address = address << 8 | value;
    }
    if (i != host.len)
        return false;
    ret_address->s_addr = htonl(address);
    return true;
}

static bool parse_ipv6(struct text host, struct in6_addr *ret_address)
{
    char copy[INET6_ADDRSTRLEN]; /* no address has a longer form: groups have at most four digits */
    if (host.len >= sizeof(copy))
        return false;
    memcpy(copy, host.at, host.len);
    copy[host.len] = '\0';
    return inet_pton(AF_INET6, copy, ret_address) == 1;
}

static bool is_label(struct text label)
{
    if (label.len == 0 || label.len > MAX_LABEL_LEN)
        return false;
    for (size_t i = 0; i < label.len; i++)
        if (!is(label.at[i], LABEL))
            return false;
    return label.at[0] != '-' && label.at[label.len - 1] != '-';
}

static const char *check_name(struct text host, struct parts *p)
{
    if (host.len == 0)
        return "no host";
    struct text name = host;
    if (name.at[name.len - 1] == '.')
        name.len--;
    size_t last = name.len;
    while (last > 0 && name.at[last - 1] != '.')
        last--;
    if (is_number(skip(name, last))) {
        p->has_address = parse_ipv4(host, &p->v4);
        return p->has_address ? NULL : "host looks like a number but is not a plain IPv4 address";
    }
    if (name.len > MAX_NAME_LEN)
        return "host longer than 253";
    for (struct text rest = name;;) {
        size_t dot = find(rest, '.');
        if (!is_label((struct text){ rest.at, dot }))
            return "not a host name";
        if (dot == rest.len)
            return NULL;
        rest = skip(rest, dot + 1);
    }
}

/* digits: what stands behind the colon; nothing is as good as no colon. */
static const char *check_port(struct text digits, struct parts *p)
{
    static const char why[] = "port not in 1-65535";
    if (digits.len == 0)
        return NULL;
    if (digits.len > MAX_PORT_DIGITS)
        return why;
    unsigned port = 0;
    for (size_t i = 0; i < digits.len; i++) {
        if (!is_digit(digits.at[i]))
            return why;
        port = port * 10 + (unsigned)(digits.at[i] - '0');
    }
    if (port < 1 || port > 65535)
        return why;
    p->port = port;
    return NULL;
}

static const char *check_bracketed(struct text authority, struct parts *p)
{
    size_t end = find(authority, ']');
    if (end == authority.len)
        return "unclosed [";
    p->bracketed = true;
    p->host = (struct text){ authority.at + 1, end - 1 };
    if (find(p->host, '%') < p->host.len)
        return "IPv6 zone";
    p->has_address = parse_ipv6(p->host, &p->v6);
    if (!p->has_address)
        return "not an IPv6 address";
    struct text rest = skip(authority, end + 1);
    if (rest.len > 0 && rest.at[0] != ':')
        return "characters after ]";
    return check_port(rest.len > 0 ? skip(rest, 1) : rest, p);
}

static const char *check_authority(struct text authority, struct parts *p)
{
    if (find(authority, '@') < authority.len)
        return "user name or password in URL";
    if (authority.len > 0 && authority.at[0] == '[')
        return check_bracketed(authority, p);
    size_t colon = find(authority, ':');
    p->host = (struct text){ authority.at, colon };
    const char *why = check_name(p->host, p);
    if (why || colon == authority.len)
        return why;
    return check_port(skip(authority, colon + 1), p);
}

/* "/" and "?" everywhere (a second "?" belongs to the query, and before the first there is only the
 * path), "#" once. The tail begins with one of these three, if with anything. */
static bool is_tail(struct text tail)
{
    bool fragment = false;
    for (size_t i = 0; i < tail.len; i++) {
        char c = tail.at[i];
        if (c == '%') {
            if (tail.len - i < 3 || !is_hex(tail.at[i + 1]) || !is_hex(tail.at[i + 2]))
                return false;
            i += 2;
        } else if (c == '#') {
            if (fragment)
                return false;
            fragment = true;
        } else if (!is(c, TAIL)) {
            return false;
        }
    }
    return true;
}

/* NULL: *p is filled in. Else why the URL is not valid. */
static const char *split(struct text url, struct parts *p)
{
    *p = (struct parts){ 0 };
    if (url.len == 0)
        return "empty";
    const char *why = check_bytes(url);
    if (why)
        return why;
    if (url.len > URL_MAX_LEN)
        return "longer than 2048 bytes";
    struct text rest;
    if (has_prefix(url, "https://")) {
        p->https = true;
        p->port = HTTPS_PORT;
        rest = skip(url, strlen("https://"));
    } else if (has_prefix(url, "http://")) {
        p->port = HTTP_PORT;
        rest = skip(url, strlen("http://"));
    } else {
        return "must start with http:// or https://";
    }
    size_t cut = 0;
    while (cut < rest.len && rest.at[cut] != '/' && rest.at[cut] != '?' && rest.at[cut] != '#')
        cut++;
    p->tail = skip(rest, cut);
    why = check_authority((struct text){ rest.at, cut }, p);
    if (why)
        return why;
    if (!is_tail(p->tail))
        return "character that must be percent-encoded, or a broken %";
    return NULL;
}

bool url_is_valid(const char *url, size_t len, const char **ret_why)
{
    struct parts p;
    const char *why = split((struct text){ url, len }, &p);
    *ret_why = why ? why : "ok";
    return why == NULL;
}

static struct parts split_valid(const char *url)
{
    struct parts p;
    const char *why = split((struct text){ url, strlen(url) }, &p);
    assert(!why);
    (void)why;
    return p;
}

/* false: the host is a name. */
static bool address_of(const struct parts *p, struct sockaddr_storage *ret_address)
{
    if (!p->has_address)
        return false;
    *ret_address = (struct sockaddr_storage){ 0 };
    if (p->bracketed) {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret_address;
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)p->port);
        v6->sin6_addr = p->v6;
    } else {
        struct sockaddr_in *v4 = (struct sockaddr_in *)ret_address;
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)p->port);
        v4->sin_addr = p->v4;
    }
    return true;
}

bool url_literal_address(const char *url, struct sockaddr_storage *ret_address)
{
    struct parts p = split_valid(url);
    return address_of(&p, ret_address);
}

/* The len bytes at from, in lower case; returns the end. Once an event, so not by snprintf(). */
static char *append(char *to, const char *from, size_t len)
{
    for (size_t i = 0; i < len; i++)
        *to++ = (char)(from[i] >= 'A' && from[i] <= 'Z' ? from[i] - 'A' + 'a' : from[i]);
    *to = '\0';
    return to;
}

bool url_origin(const char *url, char ret_origin[static URL_ORIGIN_LEN])
{
    struct parts p;
    char v6[INET6_ADDRSTRLEN + 2] = "[", digits[MAX_PORT_DIGITS + 1],
                               *digit = digits + sizeof(digits);
    if (split((struct text){ url, strlen(url) }, &p))
        return false;
    if (p.bracketed) {
        (void)inet_ntop(AF_INET6, &p.v6, v6 + 1, INET6_ADDRSTRLEN);
        p.host = (struct text){ v6, strlen(strcat(v6, "]")) };
    }
    do
        *--digit = (char)('0' + p.port % 10);
    while ((p.port /= 10) > 0);
    *--digit = ':';
    char *end = append(ret_origin, url, p.https ? strlen("https://") : strlen("http://"));
    end = append(end, p.host.at, p.host.len);
    (void)append(end, digit, (size_t)(digits + sizeof(digits) - digit));
    return true;
}

void url_split(const char *url, struct url_parts *ret_parts)
{
    struct parts p = split_valid(url);
    if (!p.bracketed && p.host.at[p.host.len - 1] == '.')
        p.host.len--;
    ret_parts->https = p.https;
    ret_parts->port = p.port;
    ret_parts->literal = address_of(&p, &ret_parts->address);
    ret_parts->target = p.tail.at;
    ret_parts->target_len = find(p.tail, '#');
    (void)append(ret_parts->host, p.host.at, p.host.len);
}
