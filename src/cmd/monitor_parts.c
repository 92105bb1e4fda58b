#include "cmd/monitor_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/version.h"
#include "http/keys.h"

static uint64_t resident_bytes(void)
{
    unsigned long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f)
        return 0;
    if (fscanf(f, "%*u %llu", &pages) != 1)
        pages = 0;
    (void)fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static size_t list_workers(void *arg, struct monitor_worker *ret, size_t max)
{
    const struct monitor_parts *parts = arg;
    struct workers_stats stats;
    if (!parts->workers || max == 0)
        return 0;
    workers_stats(parts->workers, &stats);
    *ret = (struct monitor_worker){ .pid = getpid(),
                                    .since_ms = parts->since_ms,
                                    .threads = stats.threads,
                                    .succeeded = stats.valid,
                                    .failed = stats.invalid,
                                    .faults = stats.faults,
                                    .memory_bytes = resident_bytes() };
    if (gethostname(ret->host, sizeof(ret->host) - 1) < 0)
        (void)snprintf(ret->host, sizeof(ret->host), "localhost");
    (void)snprintf(ret->name, sizeof(ret->name), "%s:%" PRId64, ret->host, ret->pid);
    (void)snprintf(ret->version, sizeof(ret->version), "%s", ASSAY_VERSION);
    return 1;
}

static size_t list_origins(void *arg, struct monitor_origin *ret, size_t max)
{
    const struct monitor_parts *parts = arg;
    struct sender_breaker breakers[SENDER_BREAKERS_MAX];
    size_t n = sender_breakers(parts->sender, breakers);
    for (size_t i = 0; i < n && i < max; i++) {
        ret[i] = (struct monitor_origin){ .state = breaker_state_name(breakers[i].state),
                                          .trips = breakers[i].trips,
                                          .attempts = breakers[i].attempts,
                                          .failed = breakers[i].failed,
                                          .next_ms = breakers[i].half_open_ms };
        (void)snprintf(ret[i].name, sizeof(ret[i].name), "%.*s", (int)sizeof(ret[i].name) - 1,
                       breakers[i].origin);
    }
    return n < max ? n : max;
}

static int write_metrics(void *arg, struct buf *out, struct err *err)
{
    const struct monitor_parts *parts = arg;
    return api_metrics_write(parts->api, out, err);
}

static bool admit(void *arg, const struct http_request *request, const char **ret_who)
{
    const struct monitor_parts *parts = arg;
    return http_keys_admit(parts->keys, request, ret_who);
}

struct monitor_hooks monitor_parts_hooks(struct monitor_parts *parts)
{
    return (struct monitor_hooks){ .arg = parts,
                                   .workers = list_workers,
                                   .origins = parts->sender ? list_origins : NULL,
                                   .metrics = write_metrics,
                                   .admit = admit,
                                   .challenge = http_keys_challenge };
}
