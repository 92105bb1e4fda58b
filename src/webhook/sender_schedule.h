#ifndef WEBHOOK_SENDER_SCHEDULE_H
#define WEBHOOK_SENDER_SCHEDULE_H
/* sender_schedule: what becomes of an event after an attempt, and when the next one is. Pure: the
 * clock and chance are parameters. Part of the sender. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/store.h"
#include "webhook/sender.h"

enum { RETRY_AFTER_NONE = -1 };

/* What came of one attempt. */
struct answer {
    int status;        /* of HTTP; 0: no complete answer */
    const char *error; /* NULL: a 2xx answer. Else one word, a literal: "timeout", "status", … */
    bool permanent;    /* another attempt could not end better */
    bool refused;      /* by our own policy: the receiver never heard of it */
    bool ours;         /* no attempt at all: we lacked a descriptor or memory */
    int64_t retry_after_ms; /* from now; RETRY_AFTER_NONE */
};

struct schedule {
    int64_t delays_ms[SENDER_MAX_DELAYS]; /* the pause after the n-th failed attempt */
    unsigned n_delays;
};

/* n_delays of 0 is the example schedule of Standard Webhooks 1.0.0: ten attempts in three days. */
void schedule_init(struct schedule *schedule, const int64_t delays_ms[], unsigned n_delays);

/* The state of an event whose attempt number `attempts` + 1 came to this answer, at wall time now_ms.
 * PENDING: *ret_next_ms is the next attempt's wall time, the pause ± 20 % by chance, but never before
 * the answer's Retry-After. random: 32 bits of chance. */
enum event_state schedule_settle(const struct schedule *schedule, unsigned attempts,
                                 const struct answer *answer, int64_t now_ms, uint32_t random,
                                 int64_t *ret_next_ms);

/* A Retry-After field's value (RFC 9110 §10.2.3: seconds or a date) as milliseconds from now_ms,
 * at most 24 h; RETRY_AFTER_NONE when it is neither. */
int64_t schedule_retry_after(const char *value, int64_t now_ms);
#endif
