#ifndef CMD_PARTS_H
#define CMD_PARTS_H
/* parts: what a process of assay is made of. A command that serves is a choice of them; they meet in the
 * store only, so it makes no difference whether they run in one process or in many. */
#include "cmd/config.h"

enum part {
    PART_API = 1 << 0,     /* HTTP API on --listen */
    PART_WORKERS = 1 << 1, /* jailed children and worker threads; housekeeping */
    PART_SENDER = 1 << 2,  /* the webhook thread */
    PART_MONITOR = 1 << 3, /* pages on --monitor-listen */
    PART_HEALTH = 1 << 4,  /* /healthz, /readyz and /metrics on --health-listen */
};

/* The whole life of such a process: configuration, start, until SIGTERM, drain. Returns the exit code. */
int parts_main(const char *name, enum command command, unsigned parts, int argc, char *argv[]);
#endif
