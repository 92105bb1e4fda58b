#ifndef WEBHOOK_JUDGE_H
#define WEBHOOK_JUDGE_H
/* judge: what is known of a client's URL before anything is sent: the written rule (url.h), that libcurl
 * reads the same host and port, and, of a literal address, the policy. Any thread. */
#include "store/store.h"
#include "webhook/policy.h"

/* url NULL: URL_ABSENT. *ret_why (may be NULL): for a person. */
enum url_state judge_url(const struct policy *policy, const char *url, const char **ret_why);
#endif
