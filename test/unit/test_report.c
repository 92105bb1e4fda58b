/* report: what clients are told of a verdict; and the worker's backoff. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "worker/report.h"
#include "worker/worker.h"

static const struct limits limits = { .max_width = 1000, .max_height = 500, .max_bytes = 32 << 20 };
static const enum url_state no_urls[NOTIFY_COUNT] = { URL_ABSENT, URL_ABSENT, URL_ABSENT };

struct texts {
    struct buf errors, report;
    uint32_t codes;
};

static struct texts write_texts(const struct verdict *v, const enum url_state *urls)
{
    struct texts t;
    buf_init(&t.errors, 1 << 16);
    buf_init(&t.report, 1 << 16);
    report_write(v, urls, &limits, &t.errors, &t.report, &t.codes);
    return t;
}

static void release(struct texts *t)
{
    buf_release(&t->errors);
    buf_release(&t->report);
}

static void a_valid_image_has_no_errors_and_all_its_facts(void **state)
{
    (void)state;
    struct verdict v;
    verdict_init(&v, 1234);
    v.format = IMAGE_JPEG;
    v.width = 640;
    v.height = 480;
    v.orientation = 6;
    v.has_sha256 = true;
    verdict_add(&v, FINDING_ROTATED);
    struct texts t = write_texts(&v, no_urls);
    assert_int_equal(t.codes, 0);
    assert_string_equal(buf_str(&t.errors), "");
    assert_non_null(strstr(buf_str(&t.report), "\"severity\":\"warning\",\"field\":\"asset\""));
    assert_non_null(strstr(buf_str(&t.report),
                           "\"image\":{\"format\":\"jpeg\",\"width\":640,\"height\":480,"
                           "\"displayedWidth\":480,\"displayedHeight\":640,\"orientation\":6,"
                           "\"bytes\":1234,\"sha256\":\"0000"));
    release(&t);
}

static void all_errors_are_told_at_once_under_their_fields(void **state)
{
    (void)state;
    struct verdict v;
    verdict_init(&v, 10);
    v.format = IMAGE_PNG;
    struct finding *wide = verdict_add(&v, FINDING_TOO_WIDE);
    wide->measured = 1600;
    wide->allowed = 1000;
    verdict_add(&v, FINDING_NOT_A_JPEG);
    const enum url_state urls[NOTIFY_COUNT] = { URL_INVALID, URL_VALID, URL_DISALLOWED };
    struct texts t = write_texts(&v, urls);
    assert_string_equal(buf_str(&t.errors),
                        "{\"asset\":[\"is not a jpeg\",\"has a width greater than 1000px\"],"
                        "\"onStart\":[\"is not a valid URL\"],"
                        "\"onFailure\":[\"is not an allowed URL\"]}");
    assert_int_equal(t.codes, 1u << FINDING_NOT_A_JPEG | 1u << FINDING_TOO_WIDE |
                                  1u << FINDING_INVALID_URL | 1u << FINDING_DISALLOWED_URL);
    assert_non_null(strstr(buf_str(&t.report), "\"measured\":1600,\"allowed\":1000"));
    release(&t);
}

static void only_urls_may_be_wrong(void **state)
{
    (void)state;
    struct verdict v;
    verdict_init(&v, 10);
    const enum url_state urls[NOTIFY_COUNT] = { URL_ABSENT, URL_INVALID, URL_ABSENT };
    struct texts t = write_texts(&v, urls);
    assert_string_equal(buf_str(&t.errors), "{\"onSuccess\":[\"is not a valid URL\"]}");
    release(&t);
}

static void what_is_not_reachable_has_no_size(void **state)
{
    (void)state;
    struct verdict v;
    verdict_init(&v, 0);
    verdict_add(&v, FINDING_NOT_REACHABLE);
    struct texts t = write_texts(&v, no_urls);
    assert_string_equal(buf_str(&t.errors), "{\"asset\":[\"is not reachable\"]}");
    assert_non_null(strstr(buf_str(&t.report),
                           "{\"format\":null,\"width\":null,\"height\":null,"
                           "\"displayedWidth\":null,\"displayedHeight\":null,"
                           "\"orientation\":null,\"bytes\":null,\"sha256\":null}"));
    release(&t);
}

static void faults_wait_longer_each_time(void **state)
{
    (void)state;
    assert_int_equal(worker_retry_ms(1, 5000, 0), 6000);
    assert_int_equal(worker_retry_ms(2, 5000, 0), 7000);
    assert_int_equal(worker_retry_ms(5, 0, 0), 16000);
    assert_int_equal(worker_retry_ms(9, 0, 0), 256000);
    assert_int_equal(worker_retry_ms(10, 0, 0), 300000);
    assert_int_equal(worker_retry_ms(4000, 0, 0), 300000);
    assert_in_range(worker_retry_ms(1, 0, 999), 1240, 1250);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_valid_image_has_no_errors_and_all_its_facts),
        cmocka_unit_test(all_errors_are_told_at_once_under_their_fields),
        cmocka_unit_test(only_urls_may_be_wrong),
        cmocka_unit_test(what_is_not_reachable_has_no_size),
        cmocka_unit_test(faults_wait_longer_each_time),
    };
    return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
