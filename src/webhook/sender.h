#ifndef WEBHOOK_SENDER_H
#define WEBHOOK_SENDER_H
/* sender: the webhook thread. Leases due events from the store, posts them, and reports what came of each. The backlog stays in the store; at most `window` transfers run
 * at once to origins that answer, `per_host` to one, origins in turn; and `unproven` to those without a
 * success in the last five minutes, which hang there and cost next to nothing. */
#include <stdint.h>

#include "base/metrics.h"
#include "store/service.h"
#include "webhook/breaker.h"
#include "webhook/policy.h"
#include "webhook/signature.h"
#include "client/url.h"

struct sender;

enum { SENDER_MAX_DELAYS = 32 };

struct sender_config {
    unsigned window;                          /* 0: 256 */
    unsigned unproven;                        /* 0: 1024, or a quarter of the files one may open */
    unsigned per_host;                        /* 0: 4, and 16 to those who answer at once */
    int connect_timeout_ms, total_timeout_ms; /* 0: 3000, 10000 */
    /* Pause after the n-th failed attempt; the event is dead when they are used up. n_delays 0: the
     * default of Standard Webhooks (5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h). */
    int64_t delays_ms[SENDER_MAX_DELAYS];
    unsigned n_delays;
    /* Borrowed until sender_stop(), and for the sender's thread alone. NULL: webhooks are not signed. */
    const struct breaker_rule *breaker; /* NULL: the default; copied */
    struct signer *signer;
};

struct sender_stats {                          /* since the start */
    uint64_t delivered[2], failed[2], dead[2]; /* attempts, by 0: started, 1: terminal events */
    uint64_t in_flight;
    uint64_t breaker_trips; /* how often a breaker opened */
    unsigned breakers[BREAKER_HALF_OPEN +
                      1]; /* origins by state, about a second ago; closed: not counted */
};

/* An origin whose breaker is not closed. */
struct sender_breaker {
    char origin[URL_ORIGIN_LEN];
    enum breaker_state state;
    unsigned trips;            /* since it was closed last */
    unsigned attempts, failed; /* in the five minutes before */
    int64_t half_open_ms;      /* wall clock; when the next attempt may be made */
};
enum { SENDER_BREAKERS_MAX = 64 };

/* Borrows service and policy until sender_stop(). */
int sender_new(struct service *service, const struct policy *policy,
               const struct sender_config *config, struct sender **ret_sender, struct err *err);
/* Start the thread, which sends what is due from now on. */
int sender_start(struct sender *sender, struct err *err);
void sender_stats(struct sender *sender, struct sender_stats *ret_stats);
/* How long attempts took, whatever came of them; by histogram_answers. Any thread. */
const struct histogram *sender_durations(const struct sender *sender);
/* Some of those origins, as of about a second ago; returns how many. Any thread. */
size_t sender_breakers(struct sender *sender,
                       struct sender_breaker ret_breakers[static SENDER_BREAKERS_MAX]);
/* Begin the drain: lease nothing more, give back what has not begun; transfers under way may end within
 * grace_ms, then are given back too. Follow it by service_unpark(). */
void sender_drain(struct sender *sender, int grace_ms);
/* Wait for the end of the drain (with no grace, if it has not begun) and for the store to have its
 * results; the service must still run. If that does not answer for 2 s, what it still holds is left to
 * it and never freed: the process is about to end. NULL is fine. */
void sender_stop(struct sender *sender);
#endif
