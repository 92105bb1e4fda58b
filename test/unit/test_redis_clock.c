/* link: -Wl,--wrap=clock_wall_ms */
/* Processes that share a Redis, and of which one has a wrong clock: times mean the same to all of them. */
#include <stdatomic.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/redis.h"
#include "support/store_world.h"

enum { HOUR_MS = 3600 * 1000 };

static atomic_llong offset_ms; /* of the clock of this process */

int64_t __real_clock_wall_ms(void);
int64_t __wrap_clock_wall_ms(void);
int64_t __wrap_clock_wall_ms(void)
{
    return __real_clock_wall_ms() + atomic_load(&offset_ms);
}

/* Two processes: a's clock is right, b's is wrong. */
struct shared {
    struct world a, b;
    int64_t wrong_ms;
};

/* From here on it is w's process that runs, later_ms after the test's begin by its own clock. */
static struct world *run_as(struct shared *s, struct world *w, int64_t later_ms)
{
    static int64_t begin_ms;
    if (!begin_ms)
        begin_ms = __real_clock_wall_ms();
    atomic_store(&offset_ms, w == &s->b ? s->wrong_ms : 0);
    w->now_ms = begin_ms + atomic_load(&offset_ms) + later_ms;
    return w;
}

static void open_both(struct shared *s, int64_t wrong_ms, bool from_the_start)
{
    struct world w;
    world_init(&w, WORLD_REDIS);
    *s = (struct shared){ .a = w, .b = w, .wrong_ms = from_the_start ? wrong_ms : 0 };
    world_open(run_as(s, &s->a, 0));
    world_open(run_as(s, &s->b, 0));
    s->wrong_ms = wrong_ms;
}

static void close_both(struct shared *s)
{
    store_close(s->a.store);
    store_close(s->b.store);
    atomic_store(&offset_ms, 0);
}

/* Neither early nor late: b gets it when its time has come, and then only once. */
static void event_comes_at(struct shared *s, struct world *w, int64_t later_ms, const char *id)
{
    assert_int_equal(lease_one(run_as(s, w, later_ms - 2000)).key, 0);
    assert_string_equal(lease_one(run_as(s, w, later_ms + 2000)).id, id);
}

static void times_hold_for_both(struct shared *s)
{
    (void)put_with(run_as(s, &s->a, 0), URL_VALID, URL_VALID, URL_VALID);
    struct claim c = claim_one(run_as(s, &s->a, 0));
    struct leased_event e = lease_one(run_as(s, &s->a, 0)); /* for 30 s */
    assert_string_equal(e.what, "1_started");
    assert_int_equal(lease_one(run_as(s, &s->b, 0)).key, 0); /* a has it */
    assert_int_equal(claim_one(run_as(s, &s->b, 0)).number, 0);
    assert_int_equal(finish(run_as(s, &s->b, 0), &c, true), STEP_DONE); /* an ending is anybody's */
    assert_int_equal(delivered(run_as(s, &s->a, 0), e.key, EVENT_PENDING, s->a.now_ms + 10000),
                     STEP_DONE);
    struct leased_event ending = lease_one(run_as(s, &s->b, 0)); /* its start was tried */
    assert_string_equal(ending.what, "1_success");
    assert_int_equal(delivered(run_as(s, &s->b, 0), ending.key, EVENT_PENDING, s->b.now_ms + 20000),
                     STEP_DONE);
    event_comes_at(s, &s->b, 10000, e.id);
    event_comes_at(s, &s->a, 20000, ending.id);

    (void)put_with(run_as(s, &s->b, 0), URL_ABSENT, URL_ABSENT, URL_ABSENT);
    c = claim_one(run_as(s, &s->b, 0));
    assert_int_equal(release_until(run_as(s, &s->b, 0), &c, s->b.now_ms + 10000, true), STEP_DONE);
    assert_int_equal(claim_one(run_as(s, &s->a, 8000)).number, 0);
    c = claim_one(run_as(s, &s->a, 12000));
    assert_int_equal(c.attempts, 2);
    assert_int_equal(release_until(run_as(s, &s->a, 12000), &c, s->a.now_ms + 10000, true),
                     STEP_DONE);
    assert_int_equal(claim_one(run_as(s, &s->b, 20000)).number, 0);
    assert_int_equal(claim_one(run_as(s, &s->b, 24000)).attempts, 3);
}

static void times_mean_the_same_where_a_clock_is_wrong(void **state)
{
    (void)state;
    struct shared s;
    for (int sign = -1; sign <= 1; sign += 2) {
        open_both(&s, sign * HOUR_MS, true);
        times_hold_for_both(&s);
        close_both(&s);
    }
}

static void a_clock_that_is_set_while_we_run_is_noticed(void **state)
{
    (void)state;
    struct shared s;
    for (int sign = -1; sign <= 1; sign += 2) {
        open_both(&s, sign * HOUR_MS, false);
        times_hold_for_both(&s);
        close_both(&s);
    }
}

int main(void)
{
    log_setup(LOG_ERROR + 1, LOG_LOGFMT); /* clock_differs: on purpose */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_mean_the_same_where_a_clock_is_wrong),
        cmocka_unit_test(a_clock_that_is_set_while_we_run_is_noticed),
    };
    return world_run_redis("redis_clock", tests, ARRAY_LEN(tests));
}
