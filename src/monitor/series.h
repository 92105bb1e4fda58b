#ifndef MONITOR_SERIES_H
#define MONITOR_SERIES_H
/* series: the store's history as the plots show it. What the values of a sample mean is fixed here, for
 * samples outlive the program that wrote them: add, never change.
 *
 *     0  accepted         assets, since ever          8  p50 << 32 | p99   ms from accepted to ended, of the
 *     1  success          ended runs, since ever                           minute; all bits set: unknown
 *     2  failed           ended runs, since ever      9 … 14               findings since ever, two codes
 *     3  queued           now                                              each, modulo 2^32:
 *     4  started          now                                              code 2n << 32 | code 2n + 1
 *     5  oldest, ms       has waited so long         15  delivered webhooks
 *     6  webhooks waiting or pending
 *     7  dead letters */
#include "store/store.h"

enum { SERIES_CODES = 12, SERIES_POINTS_MAX = 724 };
enum span { SPAN_15_MIN, SPAN_24_H, SPAN_30_D };
enum { SPANS = SPAN_30_D + 1 };
extern const char *const span_names[SPANS];  /* "15m", "24h", "30d" */
extern const char *const span_titles[SPANS]; /* "15 minutes" … */

struct latency {
    bool known;
    uint32_t p50_ms, p99_ms;
};

/* Now, as a sample. */
void series_sample(const struct store_stats *stats, struct latency latency, int64_t now_ms,
                   struct sample *ret_sample);
struct latency sample_latency(const struct sample *sample);

struct point {
    int64_t at_ms;
    bool has_rates;                                 /* there was a point not long before */
    double accepted, success, failed;               /* a second, since the point before */
    uint64_t all_accepted, all_success, all_failed; /* since ever */
    uint64_t queued, started, oldest_ms, backlog, dead;
    struct latency latency;
};
struct series {
    size_t n;
    struct point points[SERIES_POINTS_MAX]; /* oldest first; the last one is now */
    uint64_t errors[SERIES_CODES];          /* findings within the span, by code */
};

/* The points of a span until now, of samples (oldest first) and of now itself. Pure. */
void series_make(enum span span, const struct sample *samples, size_t n, const struct sample *now,
                 struct series *ret);
/* The same of a store. *ret_stats (may be NULL) is what was read. */
int series_read(struct store *store, enum span span, int64_t now_ms, struct series *ret,
                struct store_stats *ret_stats, struct err *err);
/* Of n durations; sorts them. */
struct latency latency_of(int64_t *durations_ms, size_t n);
#endif
