#include "webhook/sender_schedule.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)

enum { JITTER_PERCENT = 20 };

static const int64_t max_retry_after_ms = 24 * HOUR;

static const int64_t default_delays_ms[] = {
    5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR,  5 * HOUR,
    10 * HOUR,  14 * HOUR,  20 * HOUR,   24 * HOUR,
};

void schedule_init(struct schedule *schedule, const int64_t delays_ms[], unsigned n_delays)
{
    assert(n_delays <= SENDER_MAX_DELAYS);
    if (n_delays == 0) {
        delays_ms = default_delays_ms;
        n_delays = ARRAY_LEN(default_delays_ms);
    }
    memcpy(schedule->delays_ms, delays_ms, n_delays * sizeof(delays_ms[0]));
    schedule->n_delays = n_delays;
}

/* Between 80 and 120 % of delay_ms: those who failed together do not come back together. */
static int64_t jittered(int64_t delay_ms, uint32_t random)
{
    int64_t span = delay_ms * JITTER_PERCENT / 100;
    return delay_ms - span + (int64_t)((double)(2 * span) * random / UINT32_MAX);
}

enum event_state schedule_settle(const struct schedule *schedule, unsigned attempts,
                                 const struct answer *answer, int64_t now_ms, uint32_t random,
                                 int64_t *ret_next_ms)
{
    if (!answer->error)
        return EVENT_DELIVERED;
    if (answer->permanent || attempts >= schedule->n_delays)
        return EVENT_DEAD;
    int64_t pause_ms = jittered(schedule->delays_ms[attempts], random);
    if (pause_ms < answer->retry_after_ms)
        pause_ms = answer->retry_after_ms;
    *ret_next_ms = now_ms + pause_ms;
    return EVENT_PENDING;
}

/* An HTTP-date in any of its three forms (RFC 9110 §5.6.7), as seconds since 1970; -1: it is none. */
static int64_t parse_date(const char *value)
{
    static const char *const forms[] = { "%a, %d %b %Y %H:%M:%S GMT", "%a, %d-%b-%y %H:%M:%S GMT",
                                         "%a %b %e %H:%M:%S %Y" };
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct tm tm = { 0 };
        const char *end = strptime(value, forms[i], &tm);
        if (end && *end == '\0')
            return timegm(&tm);
    }
    return -1;
}

int64_t schedule_retry_after(const char *value, int64_t now_ms)
{
    int64_t ms;
    size_t len = strlen(value);
    if (len == 0)
        return RETRY_AFTER_NONE;
    if (strspn(value, "0123456789") == len) {
        ms = len > 6 ? max_retry_after_ms : strtol(value, NULL, 10) * SECOND;
    } else {
        int64_t date_s = parse_date(value);
        if (date_s < 0)
            return RETRY_AFTER_NONE;
        ms = date_s * SECOND > now_ms ? date_s * SECOND - now_ms : 0; /* a year has four digits */
    }
    return ms < max_retry_after_ms ? ms : max_retry_after_ms;
}
