#ifndef CMD_MONITOR_PARTS_H
#define CMD_MONITOR_PARTS_H
/* monitor_parts: what the monitor learns of the process that it runs in. */
#include "api/api.h"
#include "monitor/monitor.h"
#include "webhook/sender.h"
#include "worker/worker.h"

/* Borrowed; what this process does not have is NULL. */
struct monitor_parts {
    struct workers *workers;
    struct sender *sender;
    struct http_keys *keys;
    struct api *api;  /* for its /metrics */
    int64_t since_ms; /* wall clock; when the process started */
};

/* The hooks of a monitor over these parts. Borrows parts. */
struct monitor_hooks monitor_parts_hooks(struct monitor_parts *parts);
#endif
