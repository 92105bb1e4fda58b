/* When an origin is spared, and when it is tried again. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "webhook/breaker.h"

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)

static const struct breaker_rule *const rule = &breaker_default_rule;

/* n attempts end at now_ms; whether the last changed the state. */
static bool end(struct breaker *b, unsigned n, bool ok, int64_t now_ms)
{
    bool changed = false;
    for (unsigned i = 0; i < n; i++)
        changed = breaker_end(b, rule, true, ok, now_ms);
    return changed;
}

static void it_opens_at_ten_attempts_of_which_seven_failed(void **state)
{
    (void)state;
    static const struct {
        unsigned good, bad; /* attempts, in this order */
        enum breaker_state expected;
    } rows[] = {
        { 0, 9, BREAKER_CLOSED },   { 0, 10, BREAKER_OPEN },  { 3, 7, BREAKER_OPEN },
        { 4, 6, BREAKER_CLOSED },   { 4, 9, BREAKER_CLOSED }, { 4, 10, BREAKER_OPEN },
        { 30, 69, BREAKER_CLOSED }, { 30, 70, BREAKER_OPEN }, { 1000, 2333, BREAKER_CLOSED },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct breaker b = { 0 };
        (void)end(&b, rows[i].good, true, MINUTE);
        bool opened = end(&b, rows[i].bad, false, MINUTE);
        assert_int_equal(b.state, rows[i].expected);
        assert_int_equal(opened, rows[i].expected == BREAKER_OPEN);
    }
}

static void only_the_last_five_minutes_count(void **state)
{
    (void)state;
    for (int64_t begin_ms = 0; begin_ms < MINUTE; begin_ms += 7 * SECOND) {
        struct breaker b = { 0 };
        unsigned attempts, failed;
        (void)end(&b, 9, false, begin_ms);
        assert_false(end(&b, 1, false, begin_ms + 5 * MINUTE));
        breaker_counts(&b, begin_ms + 5 * MINUTE, &attempts, &failed);
        assert_int_equal(attempts, 1);
        b = (struct breaker){ 0 };
        (void)end(&b, 9, false, begin_ms);
        assert_true(end(&b, 1, false, begin_ms + 4 * MINUTE));
    }
}

static void a_success_never_opens_it(void **state)
{
    (void)state;
    struct breaker b = { 0 };
    (void)end(&b, 9, false, 0);
    assert_false(end(&b, 1, true, 0)); /* 10 attempts, 90 % failed */
    assert_int_equal(b.state, BREAKER_CLOSED);
    assert_true(end(&b, 1, false, 0));
}

static void after_half_a_minute_one_probe_decides(void **state)
{
    (void)state;
    struct breaker b = { 0 };
    assert_true(end(&b, 10, false, MINUTE));
    assert_false(breaker_allows(&b, MINUTE + 30 * SECOND - 1));
    assert_true(breaker_allows(&b, MINUTE + 30 * SECOND));
    assert_int_equal(b.state, BREAKER_HALF_OPEN);
    breaker_begin(&b);
    assert_false(breaker_allows(&b, 9 * MINUTE)); /* while the probe is under way */
    assert_true(end(&b, 1, false, 2 * MINUTE));
    assert_int_equal(b.state, BREAKER_OPEN);
    assert_int_equal(b.trips, 2);
    assert_false(breaker_allows(&b, 2 * MINUTE + 29 * SECOND));

    assert_true(breaker_allows(&b, 3 * MINUTE));
    breaker_begin(&b);
    assert_true(end(&b, 1, true, 3 * MINUTE));
    assert_int_equal(b.state, BREAKER_CLOSED);
    assert_int_equal(b.trips, 0);
    assert_false(end(&b, 9, false, 3 * MINUTE)); /* what was counted before is forgotten */
    assert_true(end(&b, 1, false, 3 * MINUTE));
}

static void what_says_nothing_of_the_origin_is_not_counted(void **state)
{
    (void)state;
    struct breaker b = { 0 };
    for (int i = 0; i < 100; i++)
        assert_false(breaker_end(&b, rule, false, false, 0));
    assert_int_equal(b.state, BREAKER_CLOSED);
    (void)end(&b, 10, false, 0);
    assert_true(breaker_allows(&b, MINUTE));
    breaker_begin(&b);
    assert_false(breaker_end(&b, rule, false, false, MINUTE));
    assert_true(breaker_allows(&b, MINUTE)); /* another probe */
}

static void attempts_from_before_do_not_decide_for_the_probe(void **state)
{
    (void)state;
    struct breaker b = { 0 };
    (void)end(&b, 10, false, 0);
    assert_false(end(&b, 3, false, SECOND)); /* they were under way when it opened */
    assert_false(end(&b, 1, true, SECOND));
    assert_int_equal(b.state, BREAKER_OPEN);
    assert_int_equal(b.trips, 1);
    assert_true(breaker_allows(&b, MINUTE));
    assert_false(end(&b, 1, false, MINUTE));
    assert_int_equal(b.state, BREAKER_HALF_OPEN);
}

static void a_rule_of_no_attempts_never_opens_it(void **state)
{
    (void)state;
    static const struct breaker_rule never = { 0 };
    struct breaker b = { 0 };
    for (int i = 0; i < 1000; i++)
        assert_false(breaker_end(&b, &never, true, false, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_opens_at_ten_attempts_of_which_seven_failed),
        cmocka_unit_test(only_the_last_five_minutes_count),
        cmocka_unit_test(a_success_never_opens_it),
        cmocka_unit_test(after_half_a_minute_one_probe_decides),
        cmocka_unit_test(what_says_nothing_of_the_origin_is_not_counted),
        cmocka_unit_test(attempts_from_before_do_not_decide_for_the_probe),
        cmocka_unit_test(a_rule_of_no_attempts_never_opens_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
