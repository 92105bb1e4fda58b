/* link: -lcurl */
/* The rule for URLs must not read beyond its input, and what it calls valid must mean the same to
 * libcurl: the same scheme, host and port. */
#include <stdint.h>
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
    if (!libcurl_agrees(url))
        abort();
    enum url_state state = judge_url(everywhere(), url, &why);
    if (state != URL_VALID && state != URL_DISALLOWED)
        abort();
    return 0;
}
