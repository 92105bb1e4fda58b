#ifndef MONITOR_MONITOR_H
#define MONITOR_MONITOR_H
/* monitor: pages for people on a port of their own. They read the store and change nothing.
 *
 *     GET /          how many assets were accepted, wait, succeeded, failed; the webhook backlog
 *     GET /failed    the newest failed ones with their errors (also ?after=ID)
 *     GET /healthcheck
 */
#include "http/http.h"
#include "store/store.h"

struct monitor {
    struct store *store; /* borrowed for as long as the server runs */
};

extern const struct http_app monitor_http; /* its app is a struct monitor */
#endif
