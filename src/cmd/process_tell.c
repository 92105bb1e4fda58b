#include "cmd/process_tell.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/version.h"
#include "webhook/sender.h"
#include "worker/worker.h"

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

static void tell_workers(struct workers *workers, struct store_process *ret)
{
    struct workers_stats stats;
    workers_stats(workers, &stats);
    ret->capacity = stats.threads;
    ret->active = stats.active;
    ret->busy = stats.busy;
    ret->done = stats.valid + stats.invalid;
    ret->failed = (int64_t)stats.invalid;
    ret->faults = stats.faults;
    ret->n_assets = (unsigned)workers_current(workers, ret->assets, STORE_PROCESS_ASSETS);
}

static int worst_first(const void *a, const void *b)
{
    const struct sender_breaker *x = a, *y = b;
    if (x->failed != y->failed)
        return x->failed < y->failed ? 1 : -1;
    return x->trips != y->trips ? (x->trips < y->trips ? 1 : -1) : strcmp(x->origin, y->origin);
}

static void tell_origins(struct sender *sender, struct store_process *ret)
{
    struct sender_breaker shut[SENDER_BREAKERS_MAX];
    struct sender_stats stats;
    size_t n = sender_breakers(sender, shut);
    sender_stats(sender, &stats);
    qsort(shut, n, sizeof(shut[0]), worst_first);
    ret->all_origins = stats.breakers[BREAKER_OPEN] + stats.breakers[BREAKER_HALF_OPEN];
    for (size_t i = 0; i < n && i < STORE_PROCESS_ORIGINS; i++) {
        struct store_origin *o = &ret->origins[ret->n_origins++];
        *o = (struct store_origin){ .trips = shut[i].trips,
                                    .attempts = shut[i].attempts,
                                    .failed = shut[i].failed,
                                    .next_ms = shut[i].half_open_ms };
        _Static_assert(sizeof(o->name) >= sizeof(shut[i].origin), "any fits");
        (void)strcpy(o->name, shut[i].origin);
        (void)snprintf(o->state, sizeof(o->state), "%s", breaker_state_name(shut[i].state));
    }
}

void process_tell(const struct process_parts *parts, struct store_process *ret)
{
    *ret = (struct store_process){ .role = "worker",
                                   .version = ASSAY_VERSION,
                                   .pid = (int)getpid(),
                                   .wanted = -1,
                                   .since_ms = parts->since_ms,
                                   .seen_ms = clock_wall_ms(),
                                   .memory_bytes = resident_bytes() };
    if (gethostname(ret->host, sizeof(ret->host) - 1) < 0 || !ret->host[0])
        (void)strcpy(ret->host, "unknown");
    if (parts->workers)
        tell_workers(parts->workers, ret);
    if (parts->sender)
        tell_origins(parts->sender, ret);
}
