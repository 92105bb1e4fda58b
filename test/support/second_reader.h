#ifndef SUPPORT_SECOND_READER_H
#define SUPPORT_SECOND_READER_H
/* libcurl as a second reader of URLs: two that differ are how requests end up at hosts that nobody checked.
 * Who includes this links with -lcurl. */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client/url.h"

static inline bool same_host(const struct url_parts *ours, char *theirs)
{
    size_t len = strlen(theirs);
    struct in6_addr v6;
    if (theirs[0] != '[') {
        if (len > 0 && theirs[len - 1] == '.')
            theirs[len - 1] = '\0';
        return strcasecmp(ours->host, theirs) == 0;
    }
    theirs[len - 1] = '\0';
    return ours->literal && ours->address.ss_family == AF_INET6 &&
           inet_pton(AF_INET6, theirs + 1, &v6) == 1 &&
           memcmp(&v6, &((const struct sockaddr_in6 *)&ours->address)->sin6_addr, sizeof(v6)) == 0;
}

/* Whether libcurl reads the scheme, host and port out of a valid URL that url_split() does. */
static inline bool libcurl_agrees(const char *url)
{
    struct url_parts ours;
    CURLU *handle = curl_url();
    char *scheme = NULL, *host = NULL, *port = NULL;
    url_split(url, &ours);
    bool agrees = handle && curl_url_set(handle, CURLUPART_URL, url, 0) == CURLUE_OK &&
                  curl_url_get(handle, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                  curl_url_get(handle, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
                  curl_url_get(handle, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
                  strcmp(scheme, ours.https ? "https" : "http") == 0 && same_host(&ours, host) &&
                  strtoul(port, NULL, 10) == ours.port;
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(handle);
    return agrees;
}
#endif
