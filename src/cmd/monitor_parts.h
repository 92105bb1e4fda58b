#ifndef CMD_MONITOR_PARTS_H
#define CMD_MONITOR_PARTS_H
/* monitor_parts: what the monitor learns of the process that it runs in. */
#include "api/api.h"
#include "cmd/process_metrics.h"
#include "monitor/monitor.h"

/* Borrowed; what this process does not have is NULL. */
struct monitor_parts {
    const struct process_parts *process;
    struct http_keys *keys;
    struct api *api; /* for its /metrics */
};

/* The hooks of a monitor over these parts. Borrows parts. */
struct monitor_hooks monitor_parts_hooks(struct monitor_parts *parts);
#endif
