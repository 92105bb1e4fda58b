#ifndef MONITOR_MONITOR_H
#define MONITOR_MONITOR_H
/* monitor: pages for people, and the JSON behind them, on a port of their own. They read the store; the
 * few things that they change (retry, resend, how many threads work) are confirmed on a page of their own, and logged.
 *
 *     GET /                the figures, plots of 15 min, 24 h and 30 d, why assets failed
 *     GET /assets          the assets that match; /assets/{id} is the story of one
 *     GET /workers  /queue  /webhooks
 *     GET /live            the figures as server-sent events
 *     GET /api/…           docs/MONITOR.md; the routes of Flower where there are such
 *     GET /healthcheck     GET /metrics
 *
 * The table of all routes is in monitor.c. */
#include "http/http.h"
#include "store/service.h"
#include "validate/asset_file.h"
#include "webhook/policy.h"

/* What the process around the monitor knows and the store does not. Each may be NULL: not known here.
 * Called on the monitor's thread. */
struct monitor_hooks {
    void *arg;
    /* Where no other process shares the store: the process itself. false: it validates nothing. */
    bool (*self)(void *arg, struct store_process *ret);
    /* Its threads that claim are so many from now on. */
    void (*resize)(void *arg, unsigned active);
    /* Append what /metrics answers. */
    int (*metrics)(void *arg, struct buf *out, struct err *err);
    /* Whether this request may be answered at all; *ret_who is who asks, for the log of actions. Only
     * /healthcheck is answered without. */
    bool (*admit)(void *arg, const struct http_request *request, const char **ret_who);
    const char *challenge; /* fields of the 401 that others get */
};

/* All borrowed for as long as the server runs. */
struct monitor {
    struct store *store;
    struct service *service;       /* NULL: nothing can be changed, and nobody tells of changes */
    const struct policy *policy;   /* judges URLs anew when an asset is retried */
    const struct asset_root *root; /* NULL: the files are not here, so there are no previews */
    const char *prefix;            /* "" or "/assay": what stands before every path; NULL: "" */
    bool read_only;                /* no actions at all */
    const char *charts;            /* the chart library's file; NULL: where Debian has it */
    struct monitor_hooks hooks;
};

extern const struct http_app monitor_http; /* its app is a struct monitor */

/* Is it "", or "/" and then path segments of unreserved characters (RFC 3986 §2.3), without a "/" at its
 * end? */
bool monitor_prefix_is_valid(const char *prefix);

/* Who keeps the history that the plots are made of: call monitor_sample() once a minute. Zeroed at first. */
struct monitor_sampler {
    uint64_t feed_seq; /* read so far */
    bool has_seq;
};
int monitor_sample(struct monitor_sampler *sampler, struct store *store, struct service *service,
                   int64_t now_ms, struct err *err);
#endif
