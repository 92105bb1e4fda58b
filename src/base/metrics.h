#ifndef BASE_METRICS_H
#define BASE_METRICS_H
/* metrics: histograms that any thread may add to at any time, and the text that Prometheus reads
 * (its text format 0.0.4: one HELP and one TYPE line a family, then its samples).
 *
 *     metrics_family(out, "assay_queue_depth", "gauge", "Assets by state.");
 *     metrics_count(out, "assay_queue_depth", "state=\"queued\"", n);
 */
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum { HISTOGRAM_BUCKETS_MAX = 24 };

/* Upper bounds in µs, rising; what is above the last counts as +Inf. */
struct histogram_bounds {
    size_t n;
    int64_t us[HISTOGRAM_BUCKETS_MAX];
};
extern const struct histogram_bounds histogram_answers; /* 0.5 ms … 10 s */
extern const struct histogram_bounds histogram_work;    /* 1 ms … 1 h */

/* Zeroed, it is empty. It always gets the same bounds. */
struct histogram {
    _Atomic uint64_t counts[HISTOGRAM_BUCKETS_MAX + 1]; /* of each bucket alone, not cumulative */
    _Atomic uint64_t sum_us;
};
/* One observation; a negative one counts as 0 (clocks are set). Any thread, no lock. */
void histogram_add(struct histogram *h, const struct histogram_bounds *bounds, int64_t us);

/* Begin a family of samples; type is "counter", "gauge" or "histogram". */
void metrics_family(struct buf *out, const char *name, const char *type, const char *help);
/* One sample. labels: name="value" pairs joined by commas, or NULL. */
void metrics_count(struct buf *out, const char *name, const char *labels, uint64_t value);
void metrics_seconds(struct buf *out, const char *name, const char *labels, int64_t us);
/* All samples of one histogram. h may be NULL: an empty one. Its count is the sum of what was read of its
 * buckets, so that they always agree. */
void metrics_histogram(struct buf *out, const char *name, const char *labels,
                       const struct histogram *h, const struct histogram_bounds *bounds);
/* process_…: what Prometheus' client libraries tell of their own process, from /proc/self. */
void metrics_process(struct buf *out);
#endif
