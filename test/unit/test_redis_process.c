/* What the processes that share a Redis tell each other of themselves, and ask of each other. */
#include "base/clock.h"
#include "store/redis.h"
#include "support/store_world.h"

/* Two processes that share a store: two engines, as far as Redis can tell. */
struct shared {
    struct world a, b;
    struct store_process seen[4];
    size_t n;
};

static int setup(void **state)
{
    struct shared *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    *state = s;
    if (!redis_server_url())
        return 0;
    world_init(&s->a, WORLD_REDIS);
    s->b = s->a;
    world_open(&s->a);
    world_open(&s->b);
    return 0;
}

static int teardown(void **state)
{
    struct shared *s = *state;
    if (s->a.store)
        store_close(s->a.store);
    if (s->b.store)
        store_close(s->b.store);
    free(s);
    return 0;
}

/* The tests of this file need a Redis. */
static struct shared *opened(void **state)
{
    struct shared *s = *state;
    if (!s->a.store) {
        print_message("no redis-server is installed\n");
        skip();
    }
    return s;
}

static int beat(struct world *w, const struct store_process *p)
{
    int wanted = -2;
    struct err err = { 0 };
    if (store_beat(w->store, p, &wanted, &err) < 0)
        fail_msg("%s", err.msg);
    return wanted;
}

static void look(struct shared *s)
{
    struct err err = { 0 };
    if (store_processes(s->b.store, s->seen, ARRAY_LEN(s->seen), &s->n, &err) < 0)
        fail_msg("%s", err.msg);
}

static struct store_process a_worker(void)
{
    struct store_process p = { .role = "worker",
                               .host = "one",
                               .version = "1.2",
                               .pid = 3,
                               .capacity = 4,
                               .active = 3,
                               .busy = 2,
                               .done = 5,
                               .faults = 6,
                               .failed = 1,
                               .memory_bytes = 1 << 20,
                               .since_ms = 7,
                               .assets = { "4abcdefg", "5hijklmn" },
                               .n_assets = 2,
                               .n_origins = 1,
                               .all_origins = 9 };
    p.origins[0] = (struct store_origin){ .name = "http://[::1]:8080",
                                          .state = "half-open",
                                          .trips = 1,
                                          .attempts = 20,
                                          .failed = 19,
                                          .next_ms = 1234 };
    return p;
}

static void processes_tell_of_themselves_until_they_end(void **state)
{
    struct shared *s = opened(state);
    struct store_process one = a_worker(),
                         two = { .role = "worker", .host = "two", .version = "1" };
    one.busy = 4;
    assert_int_equal(beat(&s->a, &one), -1);
    assert_int_equal(beat(&s->b, &two), -1);
    one.busy = 2;
    assert_int_equal(beat(&s->a, &one), -1);
    look(s);
    assert_int_equal(s->n, 2);
    assert_true(s->seen[0].number < s->seen[1].number);
    assert_in_range(s->seen[0].seen_ms, 1, INT64_MAX);
    /* these are the store's to say */
    one.number = s->seen[0].number;
    one.seen_ms = s->seen[0].seen_ms;
    one.wanted = -1;
    assert_memory_equal(&s->seen[0], &one, sizeof(one));
    store_close(TAKE(s->a.store));
    look(s);
    assert_int_equal(s->n, 1);
    assert_string_equal(s->seen[0].host, "two");
}

static void the_most_that_one_tells_fits(void **state)
{
    struct shared *s = opened(state);
    struct store_process p = a_worker();
    memset(p.host, 'h', sizeof(p.host) - 1);
    p.n_assets = STORE_PROCESS_ASSETS;
    p.n_origins = STORE_PROCESS_ORIGINS;
    for (unsigned i = 0; i < p.n_assets; i++)
        memset(p.assets[i], '0' + (int)i, ASSET_ID_LEN);
    for (unsigned i = 0; i < p.n_origins; i++) {
        p.origins[i] = p.origins[0];
        p.origins[i].trips = p.origins[i].attempts = p.origins[i].failed = UINT32_MAX;
        p.origins[i].next_ms = INT64_MAX;
        memset(p.origins[i].name, 'a' + (int)i, STORE_ORIGIN_LEN - 1);
    }
    (void)beat(&s->a, &p);
    look(s);
    assert_int_equal(s->n, 1);
    assert_string_equal(s->seen[0].host, p.host);
    assert_memory_equal(s->seen[0].assets, p.assets, sizeof(p.assets));
    assert_memory_equal(s->seen[0].origins, p.origins, sizeof(p.origins));
}

enum { STRANGER = 99 };

/* As a process with the number STRANGER would have told these words, so long ago. */
static void tell(struct shared *s, const char *words, int age_ms)
{
    CLEANUP(redis_disconnectp) redisContext *c = NULL;
    CLEANUP(redis_reply_freep) redisReply *reply = NULL;
    CLEANUP(redis_request_release) struct redis_request r;
    char told[512];
    struct err err = { 0 };
    (void)snprintf(told, sizeof(told), "%lld %d %s", (long long)clock_wall_ms() - age_ms,
                   STORE_PROCESS_MS, words);
    redis_request_init(&r);
    redis_request_begin(&r);
    redis_adds(&r, "HSET");
    redis_adds(&r, "{assay:0}:procs");
    redis_add_int(&r, STRANGER);
    redis_adds(&r, told);
    if (redis_connect(&((struct redis_store *)s->a.store)->url, &c, &err) < 0 ||
        redis_ask(c, &r, &reply, &err) < 0)
        fail_msg("%s", err.msg);
}

static void what_other_versions_tell_is_understood(void **state)
{
    struct shared *s = opened(state);
    tell(s, "worker old 1.0 7 4 2 10 1 5", 0);
    look(s);
    assert_int_equal(s->n, 1);
    assert_string_equal(s->seen[0].host, "old");
    assert_int_equal(s->seen[0].done, 10);
    assert_int_equal(s->seen[0].active, 4); /* it does not tell */
    assert_int_equal(s->seen[0].failed, -1);
    tell(s, "worker new 9.0 7 4 2 10 1 5 colour=red active=2 more", 0);
    look(s);
    assert_int_equal(s->n, 1);
    assert_string_equal(s->seen[0].version, "9.0");
    assert_int_equal(s->seen[0].active, 2);
}

static void what_makes_no_sense_is_left_out(void **state)
{
    struct shared *s = opened(state);
    static const char *const wrong[] = { "", "worker", "worker h 1.0 x 4 2 10 1 5", "=", "\xff" };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        tell(s, wrong[i], 0);
        look(s);
        assert_int_equal(s->n, 0);
    }
    tell(s,
         "worker h 1.0 7 4 2 10 1 5 asset=<b> asset=01234567890123 asset= origin=open,1,2,3 "
         "origin=<b>,1,2,3,4,http://a:80 origin=open,1,2,3,4,http://b:80",
         0);
    look(s);
    assert_int_equal(s->n, 1);
    assert_int_equal(s->seen[0].n_assets, 0);
    assert_int_equal(s->seen[0].n_origins, 1);
    assert_string_equal(s->seen[0].origins[0].name, "http://b:80");
}

static void who_is_silent_is_gone_in_the_end(void **state)
{
    struct shared *s = opened(state);
    tell(s, "worker h 1.0 7 4 2 10 1 5", STORE_PROCESS_LATE_MS);
    look(s);
    assert_int_equal(s->n, 1);
    assert_in_range(clock_wall_ms() - s->seen[0].seen_ms, STORE_PROCESS_LATE_MS, STORE_PROCESS_MS);
    assert_int_equal(store_ask_active(s->a.store, STRANGER, 1, NULL), 1);
    tell(s, "worker h 1.0 7 4 2 10 1 5", STORE_PROCESS_MS + 1000);
    look(s);
    assert_int_equal(s->n, 0);
    assert_int_equal(store_ask_active(s->a.store, STRANGER, 1, NULL), 0);
}

static void what_is_wanted_of_a_process_is_heard_with_its_next_beat(void **state)
{
    struct shared *s = opened(state);
    struct store_process p = a_worker();
    assert_int_equal(beat(&s->a, &p), -1);
    look(s);
    uint64_t number = s->seen[0].number;
    assert_int_equal(store_ask_active(s->b.store, number, 1, NULL), 1);
    look(s);
    assert_int_equal(s->seen[0].wanted, 1);
    assert_int_equal(beat(&s->b, &p), -1); /* it is not meant */
    assert_int_equal(beat(&s->a, &p), 1);
    assert_int_equal(store_ask_active(s->b.store, number, 0, NULL), 1);
    assert_int_equal(beat(&s->a, &p), 0);
    store_close(TAKE(s->a.store));
    assert_int_equal(store_ask_active(s->b.store, number, 1, NULL), 0);
    assert_string_equal(redis_server_ask("EXISTS {assay:0}:want"), "0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(processes_tell_of_themselves_until_they_end, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_most_that_one_tells_fits, setup, teardown),
        cmocka_unit_test_setup_teardown(what_other_versions_tell_is_understood, setup, teardown),
        cmocka_unit_test_setup_teardown(what_makes_no_sense_is_left_out, setup, teardown),
        cmocka_unit_test_setup_teardown(who_is_silent_is_gone_in_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_wanted_of_a_process_is_heard_with_its_next_beat,
                                        setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
