/* Histograms and the text that Prometheus reads. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "base/metrics.h"
#include "support/emulated.h"

static const struct histogram_bounds three = { 3, { 1000, 2500, 1000000 } };

static void an_observation_counts_in_its_bucket_and_all_above(void **state)
{
    (void)state;
    struct histogram h = { 0 };
    struct buf out;
    buf_init(&out, 4096);
    static const int64_t observed[] = { -5, 0, 1000, 1001, 2500, 999999, 1000001 };
    for (size_t i = 0; i < sizeof(observed) / sizeof(observed[0]); i++)
        histogram_add(&h, &three, observed[i]);
    metrics_family(&out, "x_seconds", "histogram", "How long.");
    metrics_histogram(&out, "x_seconds", "a=\"b\"", &h, &three);
    assert_string_equal(buf_str(&out), "# HELP x_seconds How long.\n"
                                       "# TYPE x_seconds histogram\n"
                                       "x_seconds_bucket{a=\"b\",le=\"0.001\"} 3\n"
                                       "x_seconds_bucket{a=\"b\",le=\"0.0025\"} 5\n"
                                       "x_seconds_bucket{a=\"b\",le=\"1\"} 6\n"
                                       "x_seconds_bucket{a=\"b\",le=\"+Inf\"} 7\n"
                                       "x_seconds_sum{a=\"b\"} 2.004501\n"
                                       "x_seconds_count{a=\"b\"} 7\n");
    buf_release(&out);
}

static void what_is_not_there_is_empty(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 4096);
    metrics_histogram(&out, "x", NULL, NULL, &three);
    assert_non_null(strstr(buf_str(&out), "x_bucket{le=\"+Inf\"} 0\nx_sum 0\nx_count 0\n"));
    buf_release(&out);
}

static void bounds_rise(void **state)
{
    (void)state;
    const struct histogram_bounds *const all[] = { &histogram_answers, &histogram_work };
    for (size_t i = 0; i < 2; i++) {
        assert_true(all[i]->n <= HISTOGRAM_BUCKETS_MAX);
        for (size_t b = 1; b < all[i]->n; b++)
            assert_true(all[i]->us[b] > all[i]->us[b - 1]);
    }
    assert_int_equal(histogram_answers.us[0], 500);
    assert_int_equal(histogram_answers.us[histogram_answers.n - 1], 10000000);
    assert_int_equal(histogram_work.us[0], 1000);
    assert_int_equal(histogram_work.us[histogram_work.n - 1], INT64_C(3600000000));
}

static void the_process_tells_of_itself(void **state)
{
    (void)state;
    if (emulated())
        skip(); /* its /proc/self/stat tells no memory */
    struct buf out;
    buf_init(&out, 16384);
    metrics_process(&out);
    static const char *const names[] = { "process_cpu_seconds_total ",
                                         "process_resident_memory_bytes ",
                                         "process_virtual_memory_bytes ",
                                         "process_start_time_seconds ",
                                         "process_open_fds ",
                                         "process_max_fds " };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *at = strstr(buf_str(&out), names[i]);
        while (at && at != out.data && at[-1] != '\n')
            at = strstr(at + 1, names[i]);
        if (!at || (at[strlen(names[i])] == '0' && at[strlen(names[i]) + 1] != '.'))
            fail_msg("%s in %s", names[i], buf_str(&out));
    }
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_observation_counts_in_its_bucket_and_all_above),
        cmocka_unit_test(what_is_not_there_is_empty),
        cmocka_unit_test(bounds_rise),
        cmocka_unit_test(the_process_tells_of_itself),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
