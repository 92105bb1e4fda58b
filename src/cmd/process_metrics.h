#ifndef CMD_PROCESS_METRICS_H
#define CMD_PROCESS_METRICS_H
/* process_metrics: what /metrics tells of the parts that run in this process, beside what the store knows. */
#include "base/buf.h"

/* Borrowed; what this process does not have is NULL. */
struct process_parts {
    int64_t since_ms; /* wall clock; when the process started */
    struct workers *workers;
    struct sender *sender;
    struct pool *pool;
};

/* parts is a struct process_parts: fits struct api. */
void process_metrics(void *parts, struct buf *out);
#endif
