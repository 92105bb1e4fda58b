#include "webhook/judge.h"

#include <curl/curl.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "webhook/url.h"

static void curl_url_freep(CURLU **handle)
{
    curl_url_cleanup(*handle);
}

static void curl_textp(char **text)
{
    curl_free(*text);
}

/* Whether libcurl, which will send to this URL, reads the same origin out of it: two readers that
 * differ are how requests end up at hosts that nobody checked. */
static bool curl_agrees(const char *url)
{
    CLEANUP(curl_url_freep) CURLU *handle = curl_url();
    CLEANUP(curl_textp) char *scheme = NULL;
    CLEANUP(curl_textp) char *host = NULL;
    CLEANUP(curl_textp) char *port = NULL;
    if (!handle)
        return true; /* no memory: no second opinion. The sender asks libcurl again. */
    CURLUcode code = curl_url_set(handle, CURLUPART_URL, url, 0);
    if (code == CURLUE_OK)
        code = curl_url_get(handle, CURLUPART_SCHEME, &scheme, 0);
    if (code == CURLUE_OK)
        code = curl_url_get(handle, CURLUPART_HOST, &host, 0);
    if (code == CURLUE_OK)
        code = curl_url_get(handle, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
    if (code != CURLUE_OK)
        return code == CURLUE_OUT_OF_MEMORY;

    return url_agrees(url, scheme, host, port);
}

enum url_state judge_url(const struct policy *policy, const char *url, const char **ret_why)
{
    const char *ignored;
    const char **why = ret_why ? ret_why : &ignored;
    if (!url) {
        *why = "absent";
        return URL_ABSENT;
    }
    if (!url_is_valid(url, strlen(url), why))
        return URL_INVALID;
    if (policy_is_off(policy)) {
        *why = "nothing is ever sent";
        return URL_OFF;
    }
    if (!curl_agrees(url)) {
        *why = "libcurl reads another host or port";
        return URL_INVALID;
    }
    struct sockaddr_storage address;
    if (url_literal_address(url, &address) &&
        !policy_allows(policy, (const struct sockaddr *)&address, why))
        return URL_DISALLOWED;
    *why = "ok";
    return URL_VALID;
}

static char *place_of(struct judge_known *known, const char *url, size_t len)
{
    uint32_t sum = fnv1a(FNV1A_BEGIN, url, len);
    return known->urls[(sum ^ sum >> 16) % JUDGE_KNOWN];
}

enum url_state judge_url_again(const struct policy *policy, struct judge_known *known,
                               const char *url)
{
    size_t len = url ? strlen(url) : JUDGE_KNOWN_LEN;
    if (len >= JUDGE_KNOWN_LEN)
        return judge_url(policy, url, NULL);
    if (known->policy != policy) /* it would judge otherwise */
        *known = (struct judge_known){ .policy = policy };
    char *place = place_of(known, url, len);
    if (len > 0 && strcmp(place, url) == 0)
        return URL_VALID;
    enum url_state state = judge_url(policy, url, NULL);
    if (state == URL_VALID)
        memcpy(place, url, len + 1);
    return state;
}
