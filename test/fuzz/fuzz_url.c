/* link: -lcurl */
/* The rule for URLs must not read beyond its input, and what it calls valid must mean the same to
 * libcurl: the same scheme, host and port. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "client/url.h"
#include "support/second_reader.h"
#include "webhook/judge.h"
#include "webhook/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct policy *everywhere(void)
{
    static struct policy *policy; /* all IPv4 and IPv6 addresses; only ports are refused */
    struct err err;
    if (!policy && policy_new("public,private,loopback,0.0.0.0/0,::/0", NULL, &policy, &err) < 0)
        abort();
    return policy;
}

/* What a request is made of must lead to the URL's own origin, and its target is a piece of the URL. */
static void check_parts(const char *url, size_t len, const char *origin)
{
    struct url_parts parts;
    char composed[URL_MAX_LEN + 32], again[URL_ORIGIN_LEN];
    memset(&parts, 0xff, sizeof(parts));
    url_split(url, &parts);
    size_t host_len = strnlen(parts.host, sizeof(parts.host));
    if (host_len == 0 || host_len > 253 || parts.port < 1 || parts.port > 65535)
        abort();
    bool v6 = parts.literal && parts.address.ss_family == AF_INET6;
    (void)snprintf(composed, sizeof(composed), v6 ? "%s://[%s]:%u" : "%s://%s:%u",
                   parts.https ? "https" : "http", parts.host, parts.port);
    if (!url_origin(composed, again))
        abort();
    if (strcmp(origin, again) != 0) { /* but for a dot at the end of a name */
        const char *dot = strrchr(origin, '.');
        if (parts.literal || !dot || dot[1] != ':' ||
            strncmp(origin, again, (size_t)(dot - origin)) != 0 ||
            strcmp(dot + 1, again + (dot - origin)) != 0)
            abort();
    }
    if (parts.target < url || parts.target + parts.target_len > url + len ||
        memchr(parts.target, '#', parts.target_len) ||
        (parts.target[parts.target_len] != '\0' && parts.target[parts.target_len] != '#') ||
        (parts.target_len > 0 && parts.target[0] != '/' && parts.target[0] != '?'))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const char *why = NULL;
    bool valid = url_is_valid((const char *)data, len, &why);
    if (!why || valid != (strcmp(why, "ok") == 0))
        abort();
    if (!valid)
        return 0;
    if (len > URL_MAX_LEN || memchr(data, '\0', len))
        abort();
    char url[URL_MAX_LEN + 1], origin[URL_ORIGIN_LEN], again[URL_ORIGIN_LEN];
    struct sockaddr_storage address;
    memcpy(url, data, len);
    url[len] = '\0';
    /* an origin is a URL, and its own origin */
    if (!url_origin(url, origin) || !url_origin(origin, again) || strcmp(origin, again) != 0)
        abort();
    (void)url_literal_address(url, &address);
    check_parts(url, len, origin);
    if (!libcurl_agrees(url))
        abort();
    enum url_state state = judge_url(everywhere(), url, &why);
    if (state != URL_VALID && state != URL_DISALLOWED)
        abort();
    return 0;
}
