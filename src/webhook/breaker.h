#ifndef WEBHOOK_BREAKER_H
#define WEBHOOK_BREAKER_H
/* breaker: spare an origin that fails, and ourselves the attempts at it.
 *
 *     closed ── 10 attempts or more in the last 5 min, 70 % of them failed ──▸ open
 *     open ── 30 s ──▸ half-open: one attempt, the probe, may be made
 *     half-open ── it succeeds ──▸ closed, all counts forgotten     ── it fails ──▸ open
 *
 * Pure: now_ms is the monotonic clock's. */
#include <stdbool.h>
#include <stdint.h>

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };
const char *breaker_state_name(enum breaker_state state); /* "closed", "open", "half-open" */

struct breaker_rule {
    unsigned least_attempts; /* 0: never opens */
    unsigned percent;        /* of them failed */
    int64_t open_ms;
};
extern const struct breaker_rule breaker_default_rule;

enum { BREAKER_SLOTS = 10, BREAKER_SLOT_MS = 30 * 1000 }; /* five minutes together */

struct breaker { /* zeroed: closed */
    enum breaker_state state;
    bool probing;     /* half-open: the probe is under way */
    unsigned trips;   /* how often it opened since it was closed last */
    int64_t until_ms; /* open: when it becomes half-open */
    struct breaker_slot {
        int64_t number; /* of the time that it counts: now_ms / BREAKER_SLOT_MS */
        uint32_t attempts, failed;
    } slots[BREAKER_SLOTS];
};

/* Whether an attempt may begin now. An open one whose time is over becomes half-open. */
bool breaker_allows(struct breaker *b, int64_t now_ms);
/* An attempt that was allowed begins. */
void breaker_begin(struct breaker *b);
/* One has ended. known false: it says nothing of the origin. true: the state has changed. */
bool breaker_end(struct breaker *b, const struct breaker_rule *rule, bool known, bool ok,
                 int64_t now_ms);
/* The attempts of the last five minutes that count, and how many of them failed. */
void breaker_counts(const struct breaker *b, int64_t now_ms, unsigned *ret_attempts,
                    unsigned *ret_failed);
#endif
