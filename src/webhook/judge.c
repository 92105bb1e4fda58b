#include "webhook/judge.h"

#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "base/hash.h"
#include "client/url.h"

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
