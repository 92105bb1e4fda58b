#ifndef API_API_H
#define API_API_H
/* api: the HTTP API. POST /assets/image is read and checked, handed to the store thread, and answered
 * from the same HTTP thread when its commit is over: 202 leaves only after the asset is durable.
 *
 *     POST /assets/image         POST /assets/images (a batch)
 *     GET  /assets               GET  /assets/{id}              POST /assets/{id}/retry
 *     GET  /webhooks             GET  /webhooks/{id}            POST /webhooks/{id}/resend
 *     POST /webhooks/resend      GET  /events                   GET  /openapi.json
 *     GET  /healthz              GET  /readyz                   GET  /metrics
 *
 * docs/API.md says what each does; the table of them is in routes.c. */
#include "base/metrics.h"
#include "http/http.h"
#include "http/keys.h"
#include "store/service.h"
#include "webhook/policy.h"

enum { API_ROUTES = 16, API_STATUSES = 24 };

/* Which answers were given, and how long they took. Any thread. */
struct api_counts {
    /* of each route, and of no route; by the place of the status in a table of metrics.c */
    _Atomic uint64_t answers[API_ROUTES + 1][API_STATUSES];
    struct histogram durations;
};

/* All borrowed for as long as the server runs; what one process does not have is NULL. */
struct api {
    struct store *store;
    struct service *service;
    const struct policy *policy;
    bool sandbox;               /* is the jail on? */
    const char *sandbox_layers; /* NULL: no image is read here */
    uint64_t max_queued;
    const struct http_keys *keys; /* NULL: everybody may */
    bool health_only;             /* /healthz, /readyz and /metrics: the rest is 404 */
    /* For /metrics: append what the parts of this process tell. NULL: nothing */
    void (*process_metrics)(void *process, struct buf *out);
    void *process;
    struct api_counts counts; /* zeroed at first */
};

extern const struct http_app api_http; /* its app is a struct api */

/* Append everything that /metrics tells. */
int api_metrics_write(struct api *api, struct buf *out, struct err *err);
#endif
