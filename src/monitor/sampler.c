/* sampler: one sample a minute into both rings. Counts are those of the store, so a minute that was missed
 * (a restart) loses its place in the plot and nothing else. How long assets took is read from the feed,
 * of some of the minute's endings: enough for two percentiles, and never much work. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "monitor/monitor.h"
#include "monitor/series.h"

enum { PAGES = 4, PAGE_LEN = 1000, DURATIONS_MAX = PAGES * PAGE_LEN };

/* 1: *ret_ms is how long it took from its acceptance. A retried one would tell of the days between. */
static int duration_of(struct store *store, const struct feed_entry *e, int64_t *ret_ms,
                       struct err *err)
{
    if (e->run != 1 || (e->state != ASSET_SUCCESS && e->state != ASSET_FAILED))
        return 0;
    struct asset asset;
    int found = store_find(store, e->id, &asset, err);
    if (found > 0) {
        *ret_ms = e->at_ms - asset.accepted_ms;
        asset_release(&asset);
    }
    return found;
}

/* Up to PAGES pages, spread evenly over what came after `from` up to `to`, and after since_ms. */
static int read_durations(struct store *store, uint64_t from, uint64_t to, int64_t since_ms,
                          int64_t *durations, size_t *ret_n, struct err *err)
{
    uint64_t stride = (to - from) / PAGES > PAGE_LEN ? (to - from) / PAGES : PAGE_LEN;
    size_t n = 0;
    for (uint64_t at = from; at < to && n < DURATIONS_MAX; at += stride) {
        CLEANUP(feed_page_release) struct feed_page page = { 0 };
        if (store_feed(store, at, PAGE_LEN, &page, err) < 0)
            return -1;
        for (size_t i = 0; i < page.n && n < DURATIONS_MAX; i++) {
            if (page.entries[i].at_ms <= since_ms)
                continue;
            int found = duration_of(store, &page.entries[i], &durations[n], err);
            if (found < 0)
                return -1;
            n += (size_t)found;
        }
    }
    *ret_n = n;
    return 0;
}

/* Of what ended since this was called last; the first time, in the minute before. Where another process
 * has made the sample already, nothing is read, and the next one begins here. */
static int read_latency(struct monitor_sampler *sampler, struct store *store, bool made,
                        int64_t now_ms, struct latency *ret, struct err *err)
{
    CLEANUP(feed_page_release) struct feed_page newest = { 0 };
    CLEANUP(freep) int64_t *durations = malloc(DURATIONS_MAX * sizeof(*durations));
    size_t n = 0;
    if (!durations)
        return err_set(err, ERR_NOMEM, "out of memory");
    if (store_feed(store, sampler->feed_seq, 1, &newest, err) < 0)
        return -1;
    uint64_t from = sampler->feed_seq, to = newest.last_seq;
    int64_t since_ms = sampler->has_seq ? 0 : now_ms - ring_period_ms(RING_MINUTE);
    if (!sampler->has_seq)
        from = to > DURATIONS_MAX ? to - DURATIONS_MAX : 0;
    if (made || from > to)
        from = to;
    if (from + 1 < newest.first_seq) /* some were pruned meanwhile */
        from = newest.first_seq - 1;
    if (read_durations(store, from, to, since_ms, durations, &n, err) < 0)
        return -1;
    sampler->feed_seq = to;
    sampler->has_seq = true;
    *ret = latency_of(durations, n);
    return 0;
}

static int write_sample(struct service *service, enum ring ring, const struct sample *sample,
                        struct err *err)
{
    struct step step = { .kind = STEP_SAMPLE, .u.sample = { .ring = ring, .sample = *sample } };
    service_call(service, &step);
    return step.result == STEP_DONE ? 0 : err_set(err, ERR_IO, "the sample was not stored");
}

/* Whether the ring has a sample of this minute or hour. The first of each stays: what happened after it
 * would be lost otherwise, when there is none before it. */
static int has_sample(struct store *store, enum ring ring, int64_t now_ms, struct err *err)
{
    struct sample newest;
    size_t n;
    if (store_history(store, ring, &newest, 1, &n, err) < 0)
        return -1;
    int64_t period_ms = ring_period_ms(ring);
    return n == 1 && newest.at_ms / period_ms == now_ms / period_ms;
}

/* Of the hour before now. */
static int worst_latency(struct store *store, int64_t now_ms, struct latency *worst,
                         struct err *err)
{
    enum { MINUTES = 60 };
    struct sample minutes[MINUTES];
    size_t n;
    if (store_history(store, RING_MINUTE, minutes, MINUTES, &n, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        struct latency l = sample_latency(&minutes[i]);
        if (l.known && minutes[i].at_ms > now_ms - ring_period_ms(RING_HOUR) &&
            (!worst->known || l.p99_ms > worst->p99_ms))
            *worst = l;
    }
    return 0;
}

static int sample_ring(struct store *store, struct service *service, enum ring ring,
                       const struct store_stats *stats, struct latency latency, int64_t now_ms,
                       struct err *err)
{
    struct sample sample;
    int has = has_sample(store, ring, now_ms, err);
    if (has != 0)
        return has < 0 ? -1 : 0;
    if (ring == RING_HOUR && worst_latency(store, now_ms, &latency, err) < 0)
        return -1;
    series_sample(stats, latency, now_ms, &sample);
    return write_sample(service, ring, &sample, err);
}

int monitor_sample(struct monitor_sampler *sampler, struct store *store, struct service *service,
                   int64_t now_ms, struct err *err)
{
    struct store_stats stats;
    struct latency latency = { 0 };
    if (store_stats(store, &stats, err) < 0)
        return -1;
    int made = has_sample(store, RING_MINUTE, now_ms, err);
    if (made < 0)
        return -1;
    if (read_latency(sampler, store, made, now_ms, &latency, err) < 0 &&
        err->code != ERR_UNSUPPORTED)
        return -1;
    for (int ring = 0; ring < RINGS; ring++)
        if (sample_ring(store, service, (enum ring)ring, &stats, latency, now_ms, err) < 0)
            return -1;
    return 0;
}
