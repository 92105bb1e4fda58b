#ifndef SUPPORT_STORE_WORLD_H
#define SUPPORT_STORE_WORLD_H
/* store_world: a store under test that can be closed and opened again, a clock, and one-line steps.
 * Only for tests that link the store; all inline, so that others need not. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "store/store.h"
#include "support/redis_server.h"
#include "support/store_memory.h"

enum world_engine { WORLD_MEMORY, WORLD_SQLITE, WORLD_REDIS };

struct world {
    enum world_engine engine;
    uint64_t max_queued;
    int64_t now_ms;
    struct store *store;
    struct memory_disk *disk; /* WORLD_MEMORY */
    char folder[64];          /* WORLD_SQLITE */
    char url[96];
};

static inline int world_try_open(struct world *w, struct err *err)
{
    struct store_config config = { .max_queued = w->max_queued };
    if (w->engine != WORLD_MEMORY)
        return store_open(w->url, &config, &w->store, err);
    w->store = store_memory_new(w->disk, &config);
    return 0;
}

static inline void world_open(struct world *w)
{
    struct err err = { 0 };
    if (world_try_open(w, &err) < 0)
        fail_msg("%s", err.msg);
}

static inline void world_init(struct world *w, enum world_engine engine)
{
    *w = (struct world){ .engine = engine, .max_queued = 100000, .now_ms = 1000000 };
    if (engine == WORLD_MEMORY) {
        w->disk = memory_disk_new();
    } else if (engine == WORLD_REDIS) {
        redis_server_clear();
        (void)snprintf(w->url, sizeof(w->url), "%s", redis_server_url());
    } else {
        char folder[] = "/tmp/test_store_XXXXXX";
        assert_non_null(mkdtemp(folder));
        (void)strcpy(w->folder, folder);
        (void)snprintf(w->url, sizeof(w->url), "sqlite:%s/data/assay.db", folder);
    }
}

static inline void world_reopen(struct world *w)
{
    store_close(TAKE(w->store));
    world_open(w);
}

static inline int world_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static inline void world_release(struct world *w)
{
    store_close(TAKE(w->store));
    memory_disk_free(w->disk);
    if (w->folder[0])
        (void)nftw(w->folder, world_remove, 8, FTW_DEPTH | FTW_PHYS);
}

/* Apply one step now. */
static inline enum step_result world_do(struct world *w, struct step *step)
{
    struct err err = { 0 };
    if (store_apply(w->store, &step, 1, w->now_ms, &err) < 0)
        fail_msg("%s", err.msg);
    return step->result;
}

static inline struct step put_step(const char *path, enum url_state start, enum url_state success,
                                   enum url_state failure)
{
    static const char *const urls[NOTIFY_COUNT] = { "http://a/start", "http://a/success",
                                                    "http://a/failure" };
    struct step step = { .kind = STEP_PUT };
    const enum url_state states[NOTIFY_COUNT] = { start, success, failure };
    step.u.put.path = path;
    for (int i = 0; i < NOTIFY_COUNT; i++)
        step.u.put.notifications[i] = (struct notification){
            states[i] == URL_ABSENT ? NULL : urls[i],
            states[i],
        };
    return step;
}

struct id {
    char text[ASSET_ID_LEN + 1];
};

static inline struct id put_with(struct world *w, enum url_state start, enum url_state success,
                                 enum url_state failure)
{
    struct step step = put_step("./a.jpg", start, success, failure);
    struct id id;
    assert_int_equal(world_do(w, &step), STEP_DONE);
    memcpy(id.text, step.u.put.ret_id, sizeof(id.text));
    return id;
}

static inline struct id put_one(struct world *w)
{
    return put_with(w, URL_VALID, URL_VALID, URL_VALID);
}

/* NULL: there was nothing. claims_free(). */
static inline struct claim *claim_up_to(struct world *w, unsigned max)
{
    struct step step = { .kind = STEP_CLAIM, .u.claim.max = max };
    enum step_result result = world_do(w, &step);
    assert_int_equal(result, step.u.claim.ret_claims ? STEP_DONE : STEP_NOTHING);
    return step.u.claim.ret_claims;
}

/* One claim by value, its path dropped; number 0: there was none. */
static inline struct claim claim_one(struct world *w)
{
    struct claim *c = claim_up_to(w, 1), copy = { 0 };
    if (c) {
        assert_null(c->next);
        copy = *c;
        copy.path = NULL;
    }
    claims_free(c);
    return copy;
}

static inline enum step_result finish(struct world *w, const struct claim *c, bool success)
{
    struct step step = {
        .kind = STEP_FINISH,
        .u.finish = { .number = c->number,
                      .run = c->run,
                      .success = success,
                      .codes = success ? 0 : 5,
                      .errors = success ? NULL : "{\"asset\":[\"is empty\"]}",
                      .report = "{\"findings\":[]}" },
    };
    return world_do(w, &step);
}

static inline enum step_result release_until(struct world *w, const struct claim *c,
                                             int64_t not_before_ms, bool fault)
{
    struct step step = { .kind = STEP_RELEASE,
                         .u.release = { c->number, c->run, not_before_ms, fault } };
    return world_do(w, &step);
}

static inline enum step_result retry(struct world *w, const char *id)
{
    struct step step = { .kind = STEP_RETRY,
                         .u.retry = { id, { URL_VALID, URL_VALID, URL_VALID } } };
    return world_do(w, &step);
}

static inline struct event *lease_up_to(struct world *w, unsigned max, int64_t lease_ms)
{
    struct step step = { .kind = STEP_LEASE, .u.lease = { .max = max, .lease_ms = lease_ms } };
    enum step_result result = world_do(w, &step);
    assert_int_equal(result, step.u.lease.ret_events ? STEP_DONE : STEP_NOTHING);
    return step.u.lease.ret_events;
}

/* The only event that is due: its webhook id without the asset's id, and its key. "": none. */
struct leased_event {
    uint64_t key;
    unsigned attempts;
    char what[WEBHOOK_ID_LEN];
    char id[WEBHOOK_ID_LEN + 1];
};

static inline struct leased_event lease_one(struct world *w)
{
    struct leased_event out = { 0 };
    struct event *e = lease_up_to(w, 1, 30000);
    if (e) {
        out.key = e->key;
        out.attempts = e->attempts;
        (void)strcpy(out.id, e->webhook_id);
        (void)strcpy(out.what, strchr(e->webhook_id, '_') + 1);
    }
    events_free(e);
    return out;
}

static inline enum step_result delivered(struct world *w, uint64_t key, enum event_state state,
                                         int64_t next_ms)
{
    struct step step = {
        .kind = STEP_DELIVERED,
        .u.delivered = { .key = key,
                         .state = state,
                         .attempted = true,
                         .next_ms = next_ms,
                         .http_status = state == EVENT_DELIVERED ? 204 : 500,
                         .duration_ms = 12,
                         .error = state == EVENT_DELIVERED ? NULL : "status" },
    };
    return world_do(w, &step);
}

static inline enum step_result give_back_event(struct world *w, uint64_t key, int64_t next_ms)
{
    struct step step = { .kind = STEP_DELIVERED,
                         .u.delivered = {
                             .key = key, .state = EVENT_PENDING, .next_ms = next_ms } };
    return world_do(w, &step);
}

static inline unsigned prune(struct world *w, int64_t before_ms, unsigned max)
{
    struct step step = { .kind = STEP_PRUNE, .u.prune = { .before_ms = before_ms, .max = max } };
    enum step_result result = world_do(w, &step);
    assert_int_equal(result, step.u.prune.ret_count ? STEP_DONE : STEP_NOTHING);
    return step.u.prune.ret_count;
}

/* Invariant 1, and the counts themselves. */
static inline struct store_stats stats_of(struct world *w)
{
    struct store_stats s;
    assert_int_equal(store_stats(w->store, &s, NULL), 0);
    assert_int_equal(s.accepted, s.by_state[ASSET_QUEUED] + s.by_state[ASSET_STARTED] +
                                     s.by_state[ASSET_SUCCESS] + s.by_state[ASSET_FAILED] +
                                     s.pruned);
    return s;
}

static inline bool exists(struct world *w, const char *id)
{
    struct asset asset;
    int rc = store_find(w->store, id, &asset, NULL);
    assert_true(rc >= 0);
    if (rc)
        asset_release(&asset);
    return rc;
}

static inline enum asset_state state_of(struct world *w, const char *id)
{
    struct asset asset;
    assert_int_equal(store_find(w->store, id, &asset, NULL), 1);
    enum asset_state state = asset.state;
    asset_release(&asset);
    return state;
}

/* ---- suites that run over every engine ---- */

/* From initial_state, which names the engine, to a world with its store open. */
static inline int world_setup(void **state)
{
    const enum world_engine *engine = *state;
    struct world *w = malloc(sizeof(*w));
    assert_non_null(w);
    world_init(w, *engine);
    world_open(w);
    *state = w;
    return 0;
}

static inline int world_teardown(void **state)
{
    struct world *w = *state;
    world_release(w);
    free(w);
    return 0;
}

#define FACT(name) cmocka_unit_test_prestate_setup_teardown(name, world_setup, world_teardown, NULL)

/* Run n tests over each program that is installed and serves as a Redis; how many failed. */
static inline int world_run_redis(const char *suite, const struct CMUnitTest tests[], size_t n)
{
    char name[64];
    int failed = 0;
    for (size_t i = 0; i < REDIS_SERVER_PROGRAMS; i++) {
        if (!redis_server_choose(redis_server_programs[i])) {
            print_message("[  SKIPPED ] %s: no %s is installed\n", suite, redis_server_programs[i]);
            continue;
        }
        (void)snprintf(name, sizeof(name), "%s_%s", suite, redis_server_programs[i]);
        failed += _cmocka_run_group_tests(name, tests, n, NULL, NULL);
    }
    return failed;
}

/* Run n tests made with FACT() over each engine; how many failed. */
static inline int world_run(const char *suite, struct CMUnitTest tests[], size_t n)
{
    static enum world_engine engines[] = { WORLD_MEMORY, WORLD_SQLITE, WORLD_REDIS };
    int failed = 0;
    for (size_t i = 0; i < ARRAY_LEN(engines); i++) {
        char name[64];
        for (size_t j = 0; j < n; j++)
            tests[j].initial_state = &engines[i];
        (void)snprintf(name, sizeof(name), "%s_%s", suite, i ? "sqlite" : "memory");
        failed += engines[i] == WORLD_REDIS ? world_run_redis(suite, tests, n)
                                            : _cmocka_run_group_tests(name, tests, n, NULL, NULL);
    }
    return failed;
}
#endif
