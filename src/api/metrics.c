/* GET /metrics: what is told is true at the moment it is read: the store's figures come out of the store,
 * those of the process out of its counters. */
#include <stdio.h>
#include <string.h>

#include "api/parts.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/version.h"
#include "validate/verdict.h"

/* Every status that is answered has its place; the last is for all that was forgotten here. */
static const int statuses[API_STATUSES] = { 200, 202, 204, 400, 401, 403, 404, 405, 408, 409, 413,
                                            414, 415, 417, 421, 422, 431, 500, 501, 503, 505, 0 };

void api_count(struct api_thread *t, struct http_exchange *x, int status)
{
    struct api_counts *c = &t->api->counts;
    const struct api_exchange *e = x ? http_app_data(x) : NULL;
    size_t route = e && e->route ? (size_t)(e->route - api_routes) : API_ROUTES, i = 0;
    while (statuses[i] != status && statuses[i] != 0)
        i++;
    atomic_fetch_add_explicit(&c->answers[route][i], 1, memory_order_relaxed);
    if (e && !e->waits)
        histogram_add(&c->durations, &histogram_answers, clock_mono_us() - e->began_us);
}

static void write_http(struct api *api, struct buf *out)
{
    static const char requests[] = "assay_http_requests_total";
    static const char duration[] = "assay_http_request_duration_seconds";
    metrics_family(out, requests, "counter",
                   "Requests answered; route none: there is no such path.");
    for (size_t r = 0; r <= API_ROUTES; r++)
        for (size_t i = 0; i < API_STATUSES; i++) {
            uint64_t n = atomic_load_explicit(&api->counts.answers[r][i], memory_order_relaxed);
            char labels[128];
            if (n == 0)
                continue;
            (void)snprintf(labels, sizeof(labels), "route=\"%s\",code=\"%d\"",
                           r < API_ROUTES ? api_routes[r].path : "none", statuses[i]);
            metrics_count(out, requests, labels, n);
        }
    metrics_family(out, duration, "histogram",
                   "From a request's last byte to its answer; without long polls and streams.");
    metrics_histogram(out, duration, NULL, &api->counts.durations, &histogram_answers);
}

static void write_assets(const struct store_stats *s, struct buf *out)
{
    static const char total[] = "assay_assets_total", gauge[] = "assay_assets";
    char labels[64];
    metrics_family(out, total, "counter", "Assets accepted, and runs that ended.");
    metrics_count(out, total, "outcome=\"accepted\"", s->accepted);
    metrics_count(out, total, "outcome=\"success\"", s->runs_success);
    metrics_count(out, total, "outcome=\"failed\"", s->runs_failed);
    metrics_family(out, gauge, "gauge", "Assets by state; they add up to those accepted.");
    for (int i = 0; i < ASSET_STATES; i++) {
        (void)snprintf(labels, sizeof(labels), "state=\"%s\"",
                       asset_state_name((enum asset_state)i));
        metrics_count(out, gauge, labels, s->by_state[i]);
    }
    metrics_count(out, gauge, "state=\"pruned\"", s->pruned);
    metrics_family(out, "assay_queue_depth", "gauge", "Assets that have not ended.");
    metrics_count(out, "assay_queue_depth", "state=\"queued\"", s->by_state[ASSET_QUEUED]);
    metrics_count(out, "assay_queue_depth", "state=\"started\"", s->by_state[ASSET_STARTED]);
    metrics_family(out, "assay_queue_oldest_seconds", "gauge",
                   "How long the asset that waits longest has waited.");
    metrics_seconds(out, "assay_queue_oldest_seconds", NULL,
                    s->oldest_queued_ms ? (clock_wall_ms() - s->oldest_queued_ms) * 1000 : 0);
    metrics_family(out, "assay_asset_errors_total", "counter",
                   "Ended runs that had this error, each run once.");
    for (int c = 0; c < FINDING_COUNT; c++) {
        if (!finding_is_error((enum finding_code)c))
            continue;
        (void)snprintf(labels, sizeof(labels), "code=\"%s\"", finding_name((enum finding_code)c));
        metrics_count(out, "assay_asset_errors_total", labels, s->errors_by_code[c]);
    }
    metrics_family(out, "assay_leases_rescued_total", "counter",
                   "Assets taken over from workers that died.");
    metrics_count(out, "assay_leases_rescued_total", NULL, s->rescued);
    metrics_family(out, "assay_webhook_backlog", "gauge", "Webhooks that are to be sent.");
    metrics_count(out, "assay_webhook_backlog", NULL,
                  s->events_by_state[EVENT_WAITING] + s->events_by_state[EVENT_PENDING]);
    metrics_family(out, "assay_webhook_dead", "gauge", "Webhooks that were given up.");
    metrics_count(out, "assay_webhook_dead", NULL, s->events_by_state[EVENT_DEAD]);
}

/* What /readyz tells, all of them from the beginning, so that an alert sees it begin. */
static void write_warnings(struct store *store, struct buf *out)
{
    static const char gauge[] = "assay_store_warnings";
    struct store_warnings warnings;
    struct err err; /* what it cannot do now is no warning */
    (void)store_health(store, &warnings, &err);
    metrics_family(out, gauge, "gauge",
                   "1: the store works, and should not stay as it is; /readyz says why.");
    for (int i = 0; i < STORE_WARNINGS; i++) {
        char labels[64];
        uint64_t n = 0;
        for (size_t j = 0; j < warnings.n; j++)
            n |= strcmp(warnings.list[j].name, store_warning_names[i]) == 0;
        (void)snprintf(labels, sizeof(labels), "name=\"%s\"", store_warning_names[i]);
        metrics_count(out, gauge, labels, n);
    }
}

static void write_build(struct buf *out)
{
    metrics_family(out, "assay_build_info", "gauge", "What this is; always 1.");
    metrics_count(out, "assay_build_info", "version=\"" ASSAY_VERSION "\"", 1);
}

int api_metrics_write(struct api *api, struct buf *out, struct err *err)
{
    struct store_stats stats;
    if (!api->health_only && store_stats(api->store, &stats, err) < 0)
        return -1;
    write_http(api, out);
    if (!api->health_only)
        write_assets(&stats, out);
    write_warnings(api->store, out);
    if (api->process_metrics)
        api->process_metrics(api->process, out);
    write_build(out);
    metrics_process(out);
    return 0;
}

void api_metrics(struct api_thread *t, struct http_exchange *x, const struct http_request *request,
                 const char *id)
{
    (void)request;
    (void)id;
    struct err err;
    if (api_metrics_write(t->api, &t->body, &err) < 0)
        api_store_is_away(t, x, &err);
    else
        api_reply(t, x, 200, "text/plain; version=0.0.4; charset=utf-8", NULL);
}
