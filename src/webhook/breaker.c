#include "webhook/breaker.h"

#include <string.h>

const struct breaker_rule breaker_default_rule = {
    .least_attempts = 10,
    .percent = 70,
    .open_ms = 30 * 1000,
};

const char *breaker_state_name(enum breaker_state state)
{
    switch (state) {
    case BREAKER_CLOSED:
        return "closed";
    case BREAKER_OPEN:
        return "open";
    case BREAKER_HALF_OPEN:
        return "half-open";
    }
    return "unknown";
}

bool breaker_allows(struct breaker *b, int64_t now_ms)
{
    if (b->state == BREAKER_OPEN && now_ms >= b->until_ms) {
        b->state = BREAKER_HALF_OPEN;
        b->probing = false;
    }
    return b->state == BREAKER_CLOSED || (b->state == BREAKER_HALF_OPEN && !b->probing);
}

void breaker_begin(struct breaker *b)
{
    if (b->state == BREAKER_HALF_OPEN)
        b->probing = true;
}

static void count(struct breaker *b, bool ok, int64_t now_ms)
{
    int64_t number = now_ms / BREAKER_SLOT_MS;
    struct breaker_slot *slot = &b->slots[number % BREAKER_SLOTS];
    if (slot->number != number)
        *slot = (struct breaker_slot){ .number = number };
    slot->attempts++;
    slot->failed += !ok;
}

void breaker_counts(const struct breaker *b, int64_t now_ms, unsigned *ret_attempts,
                    unsigned *ret_failed)
{
    int64_t number = now_ms / BREAKER_SLOT_MS;
    *ret_attempts = *ret_failed = 0;
    for (int i = 0; i < BREAKER_SLOTS; i++) {
        if (b->slots[i].number <= number - BREAKER_SLOTS || b->slots[i].number > number)
            continue;
        *ret_attempts += b->slots[i].attempts;
        *ret_failed += b->slots[i].failed;
    }
}

static void trip(struct breaker *b, const struct breaker_rule *rule, int64_t now_ms)
{
    b->state = BREAKER_OPEN;
    b->probing = false;
    b->trips++;
    b->until_ms = now_ms + rule->open_ms;
}

bool breaker_end(struct breaker *b, const struct breaker_rule *rule, bool known, bool ok,
                 int64_t now_ms)
{
    unsigned attempts, failed;
    if (b->state == BREAKER_HALF_OPEN) {
        if (!b->probing) /* it began before the breaker opened */
            return false;
        b->probing = false;
        if (!known)
            return false;
        if (ok)
            memset(b, 0, sizeof(*b));
        else
            trip(b, rule, now_ms);
        return true;
    }
    if (!known)
        return false;
    count(b, ok, now_ms);
    if (ok || b->state == BREAKER_OPEN || rule->least_attempts == 0)
        return false;
    breaker_counts(b, now_ms, &attempts, &failed);
    if (attempts < rule->least_attempts || failed * 100 < attempts * rule->percent)
        return false;
    trip(b, rule, now_ms);
    return true;
}
