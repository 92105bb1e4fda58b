/* store_bench: how fast a store makes things durable, without HTTP. Prints puts and full lives (put,
 * claim, finish, two events leased and delivered) a second, at several batch sizes.
 *
 *     store_bench [URL of a new store] [seconds for each row]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "store/store.h"

enum { BATCH_MAX = 256, LEASE_MS = 60000 };

/* One batch: steps are added one by one, and their results read after it. */
static struct step steps[8 * BATCH_MAX];
static struct step *batch[8 * BATCH_MAX];
static size_t batch_n;

static double cpu_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void apply(struct store *s)
{
    struct err err = { 0 };
    if (store_apply(s, batch, batch_n, clock_wall_ms(), &err) < 0) {
        (void)fprintf(stderr, "store_bench: %s\n", err.msg);
        exit(1);
    }
}

static struct step *add(enum step_kind kind)
{
    struct step *step = batch[batch_n] = &steps[batch_n];
    batch_n++;
    *step = (struct step){ .kind = kind };
    return step;
}

static void add_put(void)
{
    struct step_put *put = &add(STEP_PUT)->u.put;
    put->path = "./images/2026/11/24/camera-07/000123456.jpg";
    put->notifications[NOTIFY_START] =
        (struct notification){ "http://labels.example.com/hooks/assets/start", URL_VALID };
    put->notifications[NOTIFY_SUCCESS] =
        (struct notification){ "http://labels.example.com/hooks/assets/success", URL_VALID };
    put->notifications[NOTIFY_FAILURE] =
        (struct notification){ "http://labels.example.com/hooks/assets/failure", URL_VALID };
}

static void add_finish(const struct claim *c)
{
    bool success = c->number % 8 != 0;
    add(STEP_FINISH)->u.finish = (struct step_finish){
        .number = c->number,
        .run = c->run,
        .success = success,
        .codes = !success,
        .errors = success ? NULL : "{\"asset\":[\"has a width greater than 1000px\"]}",
        .report = "{\"findings\":[],\"image\":{\"format\":\"jpeg\",\"width\":1000,"
                  "\"height\":1000,\"bytes\":123456,\"orientation\":1,\"sha256\":"
                  "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"}}",
    };
}

static void add_delivered(const struct event *e)
{
    add(STEP_DELIVERED)->u.delivered = (struct step_delivered){ .key = e->key,
                                                                .state = EVENT_DELIVERED,
                                                                .attempted = true,
                                                                .http_status = 204,
                                                                .duration_ms = 3 };
}

/* One transaction as a busy service makes it: n assets come, n are claimed, those claimed before are
 * finished, events are leased, those leased before are delivered. Returns how many lives ended. */
static size_t live(struct store *s, size_t n, struct claim **claims, struct event **events)
{
    size_t ended = 0;
    batch_n = 0;
    for (size_t i = 0; i < n; i++)
        add_put();
    for (const struct claim *c = *claims; c; c = c->next)
        add_finish(c);
    for (const struct event *e = *events; e; e = e->next) {
        add_delivered(e);
        ended += e->notify != NOTIFY_START;
    }
    size_t claim_at = batch_n, workers = 8;
    for (size_t i = 0; i < workers; i++)
        add(STEP_CLAIM)->u.claim.max = (unsigned)(n / workers);
    size_t lease_at = batch_n;
    add(STEP_LEASE)->u.lease =
        (struct step_lease){ .max = (unsigned)(5 * n / 2), .lease_ms = LEASE_MS };
    apply(s);
    claims_free(*claims);
    events_free(*events);
    *claims = NULL;
    for (size_t i = 0; i < workers; i++) {
        struct claim **last = claims;
        while (*last)
            last = &(*last)->next;
        *last = steps[claim_at + i].u.claim.ret_claims;
    }
    *events = steps[lease_at].u.lease.ret_events;
    return ended;
}

static void put_row(struct store *s, size_t n, int64_t for_ms)
{
    int64_t start_us = clock_mono_us(), spent_us;
    double cpu = cpu_s();
    size_t done = 0;
    do {
        batch_n = 0;
        for (size_t i = 0; i < n; i++)
            add_put();
        apply(s);
        done += n;
        spent_us = clock_mono_us() - start_us;
    } while (spent_us < for_ms * 1000);
    printf("puts   batch %4zu  %8.0f/s  cpu %5.1f us each\n", n,
           (double)done * 1e6 / (double)spent_us, (cpu_s() - cpu) * 1e6 / (double)done);
}

static void life_row(struct store *s, size_t n, int64_t for_ms)
{
    int64_t start_us = clock_mono_us(), spent_us;
    double cpu = cpu_s();
    struct claim *claims = NULL;
    struct event *events = NULL;
    size_t done = 0;
    do {
        done += live(s, n, &claims, &events);
        spent_us = clock_mono_us() - start_us;
    } while (spent_us < for_ms * 1000);
    claims_free(claims);
    events_free(events);
    printf("lives  batch %4zu  %8.0f/s  cpu %5.1f us each\n", n,
           (double)done * 1e6 / (double)spent_us, (cpu_s() - cpu) * 1e6 / (double)done);
}

int main(int argc, char **argv)
{
    char url[] = "sqlite:/var/tmp/store_bench_XXXXXX/assay.db";
    char *folder = strchr(url, ':') + 1;
    struct store_config config = { .max_queued = UINT64_MAX };
    struct store *store;
    struct err err = { 0 };
    if (argc < 2) {
        char *slash = strrchr(folder, '/');
        *slash = '\0';
        if (!mkdtemp(folder))
            return 1;
        *slash = '/';
    }
    const char *where = argc < 2 ? url : argv[1];
    int64_t for_ms = argc > 2 ? atoi(argv[2]) * 1000 : 2000;
    if (store_open(where, &config, &store, &err) < 0) {
        (void)fprintf(stderr, "store_bench: %s\n", err.msg);
        return 1;
    }
    static const size_t sizes[] = { 16, 64, 256 };
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        life_row(store, sizes[i], for_ms);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        put_row(store, sizes[i], for_ms);
    store_close(store);
    if (argc < 2) {
        (void)printf("the store is left in %s\n", folder);
    }
    return 0;
}
