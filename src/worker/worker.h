#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H
/* worker: threads that claim assets, have their files validated in jailed children, and finish them.
 *
 * A *verdict* is a result and final. A *fault* (descriptors or memory ran out, an I/O error) means that
 * we could not tell: the asset is released and claimed again later, with a growing pause; after
 * WORKER_MAX_ATTEMPTS of them it ends as not reachable. One over which WORKER_MAX_DEATHS worker processes
 * died ends as corrupt, before it takes another one along. */
#include <stdint.h>

#include "base/metrics.h"
#include "store/service.h"
#include "validate/asset_file.h"
#include "validate/pool.h"

enum { WORKER_MAX_ATTEMPTS = 10, WORKER_MAX_DEATHS = 3 };

struct workers;

struct workers_config {
    unsigned count;          /* threads; as many slots has the pool */
    struct service *service; /* all borrowed until workers_stop() */
    struct pool *pool;
    const struct asset_root *root;
    struct limits limits;
};

struct workers_stats { /* since the start */
    uint64_t valid, invalid, faults;
    unsigned threads, active, busy; /* now; active: those that claim */
};

/* How long things took. Any thread may read. */
struct workers_times {
    struct histogram wait;               /* acceptance to first claim */
    struct histogram open, check, store; /* of one asset; store: until its ending was durable */
};

int workers_start(const struct workers_config *config, struct workers **ret_workers,
                  struct err *err);
void workers_stats(const struct workers *workers, struct workers_stats *ret_stats);
/* Up to max ids of assets that are being checked, of the first threads that have one; how many. Any thread. */
size_t workers_current(struct workers *workers, char ret_ids[][ASSET_ID_LEN + 1], size_t max);
/* From now on only the first `active` threads claim (no more than there are); the others finish what they
 * have. 0: nothing is claimed until it is called again. Any thread. */
void workers_resize(struct workers *workers, unsigned active);
const struct workers_times *workers_times(const struct workers *workers);
/* Claim nothing more, and give back what is held but not begun. Follow it by service_unpark(), so that
 * claims that wait are answered, and by workers_stop(). */
void workers_drain(struct workers *workers);
/* Wait until every check under way has ended and was stored; free. NULL is fine. */
void workers_stop(struct workers *workers);

/* Wall time of the next claim after the n-th attempt met a fault: 1 s, doubled each time, at most 5 min,
 * with up to a quarter added by random. */
int64_t worker_retry_ms(unsigned attempts, int64_t now_ms, uint32_t random);
#endif
