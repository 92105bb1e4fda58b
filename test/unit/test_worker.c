/* How many threads claim assets, and what the others do meanwhile. What a check costs and finds is pool's. */
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>

#include "base/log.h"
#include "store/service.h"
#include "support/store_world.h"
#include "worker/worker.h"

enum { THREADS = 2 };

/* Checks go on while it is open. Shared with the pool's children. */
static atomic_bool *gate;

static int check(const struct media *media, const struct limits *limits, struct verdict *verdict,
                 struct err *err)
{
    (void)media, (void)limits, (void)verdict, (void)err;
    while (!atomic_load(gate))
        (void)poll(NULL, 0, 1);
    return 0;
}
static const struct validator patient = { .kind = "test", .check = check };

struct site {
    struct world world;
    struct pool *pool;
    struct asset_root *root;
    struct service *service;
    struct workers *workers;
};

static int setup(void **state)
{
    struct site *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    const struct pool_config pool = { .validator = &patient,
                                      .limits = { 1000, 1000, 1000 },
                                      .slots = THREADS,
                                      .deadline_ms = 60000 };
    atomic_store(gate, true);
    assert_int_equal(pool_new(&pool, &s->pool, NULL), 0); /* no thread exists yet */
    world_init(&s->world, WORLD_SQLITE);
    world_open(&s->world);
    char path[100];
    (void)snprintf(path, sizeof(path), "%s/a.jpg", s->world.folder);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0);
    assert_int_equal(asset_root_open(s->world.folder, &s->root, NULL), 0);
    assert_int_equal(service_start(s->world.store, &s->service, NULL), 0);
    const struct workers_config config = { .count = THREADS,
                                           .service = s->service,
                                           .pool = s->pool,
                                           .root = s->root,
                                           .limits = pool.limits };
    assert_int_equal(workers_start(&config, &s->workers, NULL), 0);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct site *s = *state;
    atomic_store(gate, true);
    workers_drain(s->workers);
    service_unpark(s->service);
    workers_stop(s->workers);
    service_stop(s->service);
    asset_root_close(s->root);
    pool_free(s->pool);
    world_release(&s->world);
    free(s);
    return 0;
}

static void put(struct site *s, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct step step = put_step("./a.jpg", URL_ABSENT, URL_ABSENT, URL_ABSENT);
        service_call(s->service, &step);
        assert_int_equal(step.result, STEP_DONE);
    }
}

static struct workers_stats stats(struct site *s)
{
    struct workers_stats now;
    workers_stats(s->workers, &now);
    return now;
}

static uint64_t in_state(struct site *s, enum asset_state state)
{
    struct store_stats now;
    assert_int_equal(store_stats(s->world.store, &now, NULL), 0);
    return now.by_state[state];
}

#define AWAIT(condition)                                                                           \
    do {                                                                                           \
        int tries_ = 20000;                                                                        \
        while (!(condition) && --tries_ > 0)                                                       \
            (void)poll(NULL, 0, 1);                                                                \
        assert_true(condition);                                                                    \
    } while (0)

/* ---- facts ---- */

static void all_threads_claim_until_told_otherwise(void **state)
{
    struct site *s = *state;
    char ids[THREADS + 1][ASSET_ID_LEN + 1];
    assert_int_equal(stats(s).active, THREADS);
    assert_int_equal(workers_current(s->workers, ids, ARRAY_LEN(ids)), 0);
    atomic_store(gate, false);
    put(s, 20);
    AWAIT(stats(s).busy == THREADS);
    AWAIT(workers_current(s->workers, ids, ARRAY_LEN(ids)) == THREADS);
    assert_string_not_equal(ids[0], ids[1]);
    assert_int_equal(workers_current(s->workers, ids, 1), 1);
    atomic_store(gate, true);
    AWAIT(in_state(s, ASSET_FAILED) + in_state(s, ASSET_SUCCESS) == 20);
}

static void without_active_threads_nothing_is_claimed_until_there_are_some(void **state)
{
    struct site *s = *state;
    workers_resize(s->workers, 0);
    put(s, 5);
    /* somebody else comes after them, and gets all */
    struct claim *claims[5];
    for (size_t i = 0; i < ARRAY_LEN(claims); i++) {
        struct step claim = { .kind = STEP_CLAIM, .u.claim.max = 1 };
        service_call(s->service, &claim);
        assert_int_equal(claim.result, STEP_DONE);
        claims[i] = claim.u.claim.ret_claims;
    }
    for (size_t i = 0; i < ARRAY_LEN(claims); i++) {
        struct step release = { .kind = STEP_RELEASE,
                                .u.release = { claims[i]->number, claims[i]->run, 0, false } };
        service_call(s->service, &release);
        claims_free(claims[i]);
    }
    workers_resize(s->workers, 1);
    assert_int_equal(stats(s).active, 1);
    AWAIT(in_state(s, ASSET_FAILED) + in_state(s, ASSET_SUCCESS) == 5);
    workers_resize(s->workers, 99);
    assert_int_equal(stats(s).active, THREADS);
}

static void who_rests_finishes_what_it_has(void **state)
{
    struct site *s = *state;
    atomic_store(gate, false);
    put(s, 60);
    AWAIT(stats(s).busy == THREADS);
    workers_resize(s->workers, 0);
    put(s, 1); /* the store thread has recalled what waited when this is done */
    uint64_t has = in_state(s, ASSET_STARTED);
    assert_in_range(has, THREADS, 60 - 1);
    atomic_store(gate, true);
    AWAIT(in_state(s, ASSET_STARTED) == 0 && stats(s).busy == 0);
    assert_int_equal(in_state(s, ASSET_QUEUED), 61 - has);
    workers_resize(s->workers, THREADS);
    AWAIT(in_state(s, ASSET_QUEUED) + in_state(s, ASSET_STARTED) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_threads_claim_until_told_otherwise, setup, teardown),
        cmocka_unit_test_setup_teardown(
            without_active_threads_nothing_is_claimed_until_there_are_some, setup, teardown),
        cmocka_unit_test_setup_teardown(who_rests_finishes_what_it_has, setup, teardown),
    };
    log_setup(LOG_ERROR + 1, LOG_LOGFMT);
    gate = mmap(NULL, sizeof(*gate), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(gate != MAP_FAILED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
