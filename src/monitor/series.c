#include "monitor/series.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

const char *const span_names[SPANS] = { "15m", "24h", "30d" };
const char *const span_titles[SPANS] = { "15 minutes", "24 hours", "30 days" };

enum value {
    V_ACCEPTED,
    V_SUCCESS,
    V_FAILED,
    V_QUEUED,
    V_STARTED,
    V_OLDEST_MS,
    V_BACKLOG,
    V_DEAD,
    V_LATENCY,
    V_ERRORS,
    V_DELIVERED = V_ERRORS + SERIES_CODES / 2
};
_Static_assert((int)V_DELIVERED < (int)SAMPLE_VALUES, "a sample has room for all values");

/* How a span is made of a ring: its length, and the distance of its points. */
static const struct {
    enum ring ring;
    int64_t length_ms, step_ms;
} spans[SPANS] = {
    [SPAN_15_MIN] = { RING_MINUTE, 15 * 60 * 1000, 60 * 1000 },
    [SPAN_24_H] = { RING_MINUTE, 24 * 3600 * 1000, 5 * 60 * 1000 },
    [SPAN_30_D] = { RING_HOUR, 30 * 24 * 3600 * (int64_t)1000, 3600 * 1000 },
};

void series_sample(const struct store_stats *stats, struct latency latency, int64_t now_ms,
                   struct sample *ret_sample)
{
    uint64_t *v = ret_sample->values;
    *ret_sample = (struct sample){ .at_ms = now_ms };
    v[V_ACCEPTED] = stats->accepted;
    v[V_SUCCESS] = stats->runs_success;
    v[V_FAILED] = stats->runs_failed;
    v[V_QUEUED] = stats->by_state[ASSET_QUEUED];
    v[V_STARTED] = stats->by_state[ASSET_STARTED];
    if (stats->oldest_queued_ms && stats->oldest_queued_ms < now_ms)
        v[V_OLDEST_MS] = (uint64_t)(now_ms - stats->oldest_queued_ms);
    v[V_BACKLOG] = stats->events_by_state[EVENT_WAITING] + stats->events_by_state[EVENT_PENDING];
    v[V_DEAD] = stats->events_by_state[EVENT_DEAD];
    v[V_DELIVERED] = stats->events_by_state[EVENT_DELIVERED];
    v[V_LATENCY] = latency.known ? (uint64_t)latency.p50_ms << 32 | latency.p99_ms : UINT64_MAX;
    for (int i = 0; i < SERIES_CODES; i++)
        v[V_ERRORS + i / 2] |= (stats->errors_by_code[i] & UINT32_MAX) << (i % 2 ? 0 : 32);
}

struct latency sample_latency(const struct sample *sample)
{
    uint64_t v = sample->values[V_LATENCY];
    if (v == UINT64_MAX)
        return (struct latency){ 0 };
    return (struct latency){ true, (uint32_t)(v >> 32), (uint32_t)v };
}

static uint32_t errors_of(const struct sample *s, int code)
{
    return (uint32_t)(s->values[V_ERRORS + code / 2] >> (code % 2 ? 0 : 32));
}

static uint64_t grown(const struct sample *before, const struct sample *now, enum value value)
{
    uint64_t a = before->values[value], b = now->values[value];
    return b > a ? b - a : 0;
}

static void add_point(struct series *ret, const struct sample *before, const struct sample *s,
                      int64_t step_ms)
{
    if (ret->n == SERIES_POINTS_MAX)
        return;
    struct point *p = &ret->points[ret->n++];
    *p = (struct point){ .at_ms = s->at_ms,
                         .all_accepted = s->values[V_ACCEPTED],
                         .all_success = s->values[V_SUCCESS],
                         .all_failed = s->values[V_FAILED],
                         .queued = s->values[V_QUEUED],
                         .started = s->values[V_STARTED],
                         .oldest_ms = s->values[V_OLDEST_MS],
                         .backlog = s->values[V_BACKLOG],
                         .dead = s->values[V_DEAD],
                         .latency = sample_latency(s) };
    if (!before)
        return;
    int64_t ms = s->at_ms - before->at_ms;
    if (ms <= 0 || ms > 3 * step_ms) /* nobody was there to see how it went */
        return;
    p->has_rates = true;
    p->accepted = 1000.0 * (double)grown(before, s, V_ACCEPTED) / (double)ms;
    p->success = 1000.0 * (double)grown(before, s, V_SUCCESS) / (double)ms;
    p->failed = 1000.0 * (double)grown(before, s, V_FAILED) / (double)ms;
}

/* Of the samples within one step the last one counts, with the slowest minute of them. */
static bool is_last_of_step(const struct sample *samples, size_t i, size_t n, int64_t step_ms)
{
    return i + 1 == n || samples[i + 1].at_ms / step_ms != samples[i].at_ms / step_ms;
}

void series_make(enum span span, const struct sample *samples, size_t n, const struct sample *now,
                 struct series *ret)
{
    int64_t step_ms = spans[span].step_ms, from_ms = now->at_ms - spans[span].length_ms;
    const struct sample *before = NULL, *first = now;
    struct latency worst = { 0 };
    ret->n = 0;
    for (size_t i = 0; i < n; i++) {
        if (samples[i].at_ms < from_ms || samples[i].at_ms >= now->at_ms)
            continue;
        first = first == now ? &samples[i] : first;
        struct latency l = sample_latency(&samples[i]);
        if (l.known && (!worst.known || l.p99_ms >= worst.p99_ms))
            worst = l;
        if (!is_last_of_step(samples, i, n, step_ms))
            continue;
        add_point(ret, before, &samples[i], step_ms);
        if (ret->n > 0)
            ret->points[ret->n - 1].latency = worst;
        worst = (struct latency){ 0 };
        before = &samples[i];
    }
    add_point(ret, before, now, step_ms);
    for (int i = 0; i < SERIES_CODES; i++)
        ret->errors[i] = (uint32_t)(errors_of(now, i) - errors_of(first, i));
}

int series_read(struct store *store, enum span span, int64_t now_ms, struct series *ret,
                struct store_stats *ret_stats, struct err *err)
{
    CLEANUP(freep) struct sample *samples = malloc(RING_LEN_MAX * sizeof(*samples));
    struct store_stats stats;
    size_t n;
    if (!samples)
        return err_set(err, ERR_NOMEM, "out of memory");
    size_t want = span == SPAN_15_MIN ? 17 : RING_LEN_MAX;
    if (store_stats(store, &stats, err) < 0 ||
        store_history(store, spans[span].ring, samples, want, &n, err) < 0)
        return -1;
    struct latency latest = { 0 }; /* now has none of its own */
    for (size_t i = 0; i < n; i++)
        if (samples[i].at_ms > now_ms - spans[SPAN_15_MIN].length_ms &&
            sample_latency(&samples[i]).known)
            latest = sample_latency(&samples[i]);
    struct sample now;
    series_sample(&stats, latest, now_ms, &now);
    series_make(span, samples, n, &now, ret);
    if (ret_stats)
        *ret_stats = stats;
    return 0;
}

static int by_duration(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static uint32_t ms_of(int64_t duration_ms)
{
    return duration_ms < 0 ? 0 : duration_ms >= UINT32_MAX ? UINT32_MAX - 1 : (uint32_t)duration_ms;
}

struct latency latency_of(int64_t *durations_ms, size_t n)
{
    if (n == 0)
        return (struct latency){ 0 };
    qsort(durations_ms, n, sizeof(*durations_ms), by_duration);
    return (struct latency){ true, ms_of(durations_ms[(n - 1) / 2]),
                             ms_of(durations_ms[(n * 99 + 99) / 100 - 1]) };
}
