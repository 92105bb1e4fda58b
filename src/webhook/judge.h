#ifndef WEBHOOK_JUDGE_H
#define WEBHOOK_JUDGE_H
/* judge: what is known of a client's URL before anything is sent: the written rule (url.h) and, of a
 * literal address, the policy. Any thread. */
#include "store/store.h"
#include "webhook/policy.h"

/* url NULL: URL_ABSENT. *ret_why (may be NULL): for a person. */
enum url_state judge_url(const struct policy *policy, const char *url, const char **ret_why);

/* URLs found valid: a client's assets name the same few, and judging them is a quarter of what it costs
 * to accept an asset. Zeros: none yet. One thread's. */
enum { JUDGE_KNOWN = 64, JUDGE_KNOWN_LEN = 256 };
struct judge_known {
    const struct policy *policy;             /* that found them so; outlives this */
    char urls[JUDGE_KNOWN][JUDGE_KNOWN_LEN]; /* each where its hash says; the last one stays */
};
/* As judge_url(). Remembers url if it is valid, and short enough. */
enum url_state judge_url_again(const struct policy *policy, struct judge_known *known,
                               const char *url);
#endif
