#ifndef WEBHOOK_POLICY_H
#define WEBHOOK_POLICY_H
/* policy: which addresses webhooks may be sent to. Decided on the resolved socket address at every
 * connect, so that no name, notation or rebinding goes round it. First match wins: the deny list; the
 * ports of other protocols; the CIDRs of the allow list, which may open any range on purpose; the ranges
 * that are never right; the named networks. An IPv4-mapped address is judged as the IPv4 address. */
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "base/err.h"

struct policy;

/* allow: "public,private,loopback" or CIDRs, in any mix, or "none": nothing is ever sent. deny: CIDRs or
 * the same names; NULL, "" or "none" denies nothing more. ERR_INVALID names the word that is none of these. */
int policy_new(const char *allow, const char *deny, struct policy **ret_policy, struct err *err);
void policy_free(struct policy *policy);
bool policy_is_off(const struct policy *policy); /* allow was "none" */
/* Whether loopback or private addresses are allowed by name: those that a firewall hides from outside. */
bool policy_reaches_inside(const struct policy *policy);
/* true: may be connected to. Else *ret_why names the rule. */
bool policy_allows(const struct policy *policy, const struct sockaddr *address,
                   const char **ret_why);
#endif
