#include "cmd/process_metrics.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/metrics.h"
#include "validate/pool.h"
#include "webhook/sender.h"
#include "worker/worker.h"

static void write_workers(const struct process_parts *parts, struct buf *out)
{
    static const char wait[] = "assay_asset_wait_seconds";
    static const char duration[] = "assay_asset_duration_seconds";
    struct workers_stats s = { 0 };
    const struct workers_times *times = parts->workers ? workers_times(parts->workers) : NULL;
    if (parts->workers)
        workers_stats(parts->workers, &s);
    metrics_family(out, wait, "histogram", "From an asset's acceptance to its first check.");
    metrics_histogram(out, wait, NULL, times ? &times->wait : NULL, &histogram_work);
    metrics_family(out, duration, "histogram",
                   "Opening a file, checking it in its jail, and making the ending durable.");
    metrics_histogram(out, duration, "stage=\"open\"", times ? &times->open : NULL,
                      &histogram_work);
    metrics_histogram(out, duration, "stage=\"check\"", times ? &times->check : NULL,
                      &histogram_work);
    metrics_histogram(out, duration, "stage=\"store\"", times ? &times->store : NULL,
                      &histogram_work);
    metrics_family(out, "assay_workers", "gauge", "Threads that have files validated.");
    metrics_count(out, "assay_workers", "state=\"busy\"", s.busy);
    unsigned able = s.active > s.busy ? s.active : s.busy; /* one may still have what it began */
    metrics_count(out, "assay_workers", "state=\"idle\"", able - s.busy);
    metrics_count(out, "assay_workers", "state=\"resting\"", s.threads - able);
    metrics_family(out, "assay_asset_faults_total", "counter",
                   "Checks that could not be made and are made again.");
    metrics_count(out, "assay_asset_faults_total", NULL, s.faults);
}

static void write_validators(const struct process_parts *parts, struct buf *out)
{
    static const char name[] = "assay_validator_deaths_total";
    uint64_t deaths[POOL_SIGNALS] = { 0 };
    if (parts->pool)
        pool_deaths(parts->pool, deaths);
    metrics_family(out, name, "counter", "Jailed children that ended unasked, by signal.");
    for (int i = 0; i < POOL_SIGNALS; i++) {
        const char *abbreviation = i > 0 ? sigabbrev_np(i) : "exit";
        char labels[64];
        bool usual = i == SIGKILL || i == SIGSEGV || i == SIGSYS; /* shown from the beginning */
        if (deaths[i] == 0 && !usual)
            continue;
        if (abbreviation)
            (void)snprintf(labels, sizeof(labels), "signal=\"%s%s\"", i > 0 ? "SIG" : "",
                           abbreviation);
        else
            (void)snprintf(labels, sizeof(labels), "signal=\"%d\"", i);
        metrics_count(out, name, labels, deaths[i]);
    }
}

static void write_webhooks(const struct process_parts *parts, struct buf *out)
{
    static const char attempts[] = "assay_webhook_attempts_total";
    static const char duration[] = "assay_webhook_duration_seconds";
    static const char *const events[] = { "started", "ended" };
    struct sender_stats s = { 0 };
    if (parts->sender)
        sender_stats(parts->sender, &s);
    metrics_family(out, attempts, "counter", "Attempts to send a webhook, by what came of them.");
    for (int i = 0; i < 2; i++) {
        const struct {
            const char *result;
            uint64_t n;
        } results[] = { { "delivered", s.delivered[i] },
                        { "failed", s.failed[i] },
                        { "dead", s.dead[i] } };
        for (size_t r = 0; r < ARRAY_LEN(results); r++) {
            char labels[64];
            (void)snprintf(labels, sizeof(labels), "event=\"%s\",result=\"%s\"", events[i],
                           results[r].result);
            metrics_count(out, attempts, labels, results[r].n);
        }
    }
    metrics_family(out, duration, "histogram", "An attempt to send a webhook, up to its answer.");
    metrics_histogram(out, duration, NULL, parts->sender ? sender_durations(parts->sender) : NULL,
                      &histogram_answers);
}

void process_metrics(void *arg, struct buf *out)
{
    const struct process_parts *parts = arg;
    write_workers(parts, out);
    write_validators(parts, out);
    write_webhooks(parts, out);
}
