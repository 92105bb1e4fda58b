/* What the monitor's pages are made of: forms, searches, tokens, the history, and the store that is away. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "http/reader.h"
#include "monitor/filter.h"
#include "monitor/form.h"
#include "monitor/html.h"
#include "monitor/monitor.h"
#include "monitor/series.h"
#include "monitor/token.h"
#include "store/service.h"
#include "support/store_world.h"

static struct http_slice slice(const char *text)
{
    return (struct http_slice){ text, strlen(text) };
}

/* ---- form and filter ---- */

static void a_form_is_decoded(void **state)
{
    (void)state;
    static const struct {
        const char *form, *name;
        enum form_result result;
        const char *value;
    } cases[] = {
        { "", "a", FORM_ABSENT, "" },
        { "a=", "a", FORM_FOUND, "" },
        { "a", "a", FORM_ABSENT, "" },
        { "b=1&a=2&a=3", "a", FORM_FOUND, "2" },
        { "aa=1&a=2", "a", FORM_FOUND, "2" },
        { "a=x+y%20z", "a", FORM_FOUND, "x y z" },
        { "a=%c3%BC", "a", FORM_FOUND, "\xc3\xbc" },
        { "a=100%", "a", FORM_FOUND, "100%" },
        { "a=%4", "a", FORM_FOUND, "%4" },
        { "a=%zz", "a", FORM_FOUND, "%zz" },
        { "a=x%00y", "a", FORM_INVALID, "" },
        { "a=0123456789", "a", FORM_INVALID, "" },
        { "a=012345678", "a", FORM_FOUND, "012345678" },
        { "&&a=1&&", "a", FORM_FOUND, "1" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char value[10] = "";
        assert_int_equal(form_value(slice(cases[i].form), cases[i].name, value, sizeof(value)),
                         cases[i].result);
        if (cases[i].result == FORM_FOUND)
            assert_string_equal(value, cases[i].value);
    }
}

static void what_was_encoded_decodes_to_itself(void **state)
{
    (void)state;
    static const char text[] = "./a b&c=d%+\"'<>\xc3\xbc#?~";
    char value[64];
    struct buf out;
    buf_init(&out, 1000);
    (void)buf_adds(&out, "q=");
    form_encode(&out, text);
    assert_null(strpbrk(buf_str(&out) + 2, "&=\"'<> "));
    assert_int_equal(form_value(slice(buf_str(&out)), "q", value, sizeof(value)), FORM_FOUND);
    assert_string_equal(value, text);
    buf_release(&out);
}

static void times_are_read_or_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms; /* -1: refused */
    } cases[] = {
        { "1970-01-01T00:00", 0 },
        { "2026-11-24T08:00", INT64_C(1795507200000) },
        { "2026-11-24T08:00:30", INT64_C(1795507230000) },
        { "2026-11-24T08:00:30Z", INT64_C(1795507230000) },
        { "2026-06-31T08:00", -1 },
        { "2026-11-24", -1 },
        { "2026-11-24T25:00", -1 },
        { "2026-11-24T08:00x", -1 },
        { "yesterday", -1 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t ms = -1;
        assert_int_equal(filter_time(cases[i].text, &ms), cases[i].ms >= 0);
        assert_int_equal(ms, cases[i].ms);
    }
}

static void a_search_is_read_and_written_back(void **state)
{
    (void)state;
    struct filter f, again;
    const char *why;
    assert_true(filter_read(slice("q=.%2Fa+b%26&state=failed&code=too_wide&since=2026-11-24T08:00"
                                  "&until=&after=abc"),
                            &f, &why));
    assert_string_equal(f.q, "./a b&");
    assert_true(f.by_state && f.state == ASSET_FAILED && f.by_code && !f.until_ms);
    assert_string_equal(f.after, "abc");
    struct asset_query q = filter_query(&f, 7);
    assert_int_equal(q.limit, 7);
    assert_string_equal(q.path, "./a b&");
    assert_string_equal(q.after, "abc");
    struct buf out;
    buf_init(&out, 10000);
    filter_write(&f, &out);
    char plain[500] = "";
    for (const char *c = buf_str(&out); *c; c++) /* as a browser does with "&amp;" */
        if (strncmp(c, "amp;", 4) == 0)
            c += 3;
        else
            strncat(plain, c, 1);
    assert_true(filter_read(slice(plain), &again, &why));
    assert_string_equal(again.q, f.q);
    assert_true(again.state == f.state && again.code == f.code && again.since_ms == f.since_ms);
    buf_release(&out);
}

static void a_search_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    static const char *const queries[] = {
        "state=lost",   "state=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "code=rotated", "code=x",
        "since=today",  "until=2026-13-01T00:00",
        "q=%00",        "after=aaaaaaaaaaaaaaaaaaaa",
    };
    struct filter f;
    for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
        const char *why = NULL;
        assert_false(filter_read(slice(queries[i]), &f, &why));
        assert_non_null(why);
    }
}

/* ---- html ---- */

static void text_of_clients_stays_text(void **state)
{
    (void)state;
    static const struct {
        const char *text, *html;
    } cases[] = {
        { "a.jpg", "<bdi>a.jpg</bdi>" },
        { "<b>\"&'", "<bdi>&lt;b&gt;&quot;&amp;&#39;</bdi>" },
        { "a\xe2\x80\xaegpj.exe", "<bdi>a\xef\xbf\xbdgpj.exe</bdi>" },
        { "\xe2\x81\xa7x\xe2\x80\x8f", "<bdi>\xef\xbf\xbdx\xef\xbf\xbd</bdi>" },
        { "\xe2\x80", "<bdi>\xe2\x80</bdi>" },
        { "\xe2\x82\xac", "<bdi>\xe2\x82\xac</bdi>" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf out;
        struct page p = { .out = &out };
        buf_init(&out, 1000);
        html_text(&p, cases[i].text);
        assert_string_equal(buf_str(&out), cases[i].html);
        buf_release(&out);
    }
}

static void durations_read_easily(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = { { -5, "0 ms" },          { 999, "999 ms" },        { 1500, "1.5 s" },
                  { 90000, "1 min 30 s" }, { 3660000, "1 h 1 min" }, { 200000000, "2 d 7 h" } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf out;
        struct page p = { .out = &out };
        buf_init(&out, 100);
        html_duration(&p, cases[i].ms);
        assert_string_equal(buf_str(&out), cases[i].text);
        buf_release(&out);
    }
}

static void a_prefix_is_a_path(void **state)
{
    (void)state;
    static const char *const good[] = { "", "/assay", "/a/b-c_d.e~f" };
    static const char *const bad[] = { "/", "assay", "/assay/", "/a//b", "/a b", "/a\"b", "/../a" };
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(monitor_prefix_is_valid(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(monitor_prefix_is_valid(bad[i]));
}

/* ---- token ---- */

/* A request with these fields. */
struct parsed {
    struct http_reader reader;
    char data[4096];
};

static const struct http_request *request_with(struct parsed *p, const char *fields)
{
    static const struct http_reader_limits limits = { .max_body = 1024 };
    size_t room;
    http_reader_init(&p->reader, &limits, p->data, sizeof(p->data));
    char *text = http_reader_room(&p->reader, &room);
    int n = snprintf(text, room, "GET / HTTP/1.1\r\nHost: localhost:5555\r\n%s\r\n", fields);
    http_reader_fed(&p->reader, (size_t)n);
    assert_int_equal(http_reader_parse(&p->reader), HTTP_READER_REQUEST);
    return &p->reader.request;
}

static void a_token_is_good_for_its_form_and_its_hours(void **state)
{
    (void)state;
    enum { HOUR = TOKEN_PERIOD_MS };
    static struct parsed a, b;
    const struct http_request *nobody = request_with(&a, "");
    const struct http_request *somebody = request_with(&b, "Authorization: Bearer x\r\n");
    struct token_key key, other;
    char token[TOKEN_LEN + 1];
    assert_int_equal(token_key_make(&key, NULL), 0);
    assert_int_equal(token_key_make(&other, NULL), 0);
    assert_int_equal(token_make(&key, "/retry", nobody, 10 * HOUR, token), 0);
    assert_int_equal(strlen(token), TOKEN_LEN);
    assert_true(token_is_good(&key, "/retry", nobody, 10 * HOUR, token));
    assert_true(token_is_good(&key, "/retry", nobody, 12 * (int64_t)HOUR - 1, token));
    assert_false(token_is_good(&key, "/retry", nobody, 12 * (int64_t)HOUR, token));
    assert_false(token_is_good(&key, "/retry", nobody, 10 * (int64_t)HOUR - 1, token));
    assert_false(token_is_good(&key, "/resend-dead", nobody, 10 * HOUR, token));
    assert_false(token_is_good(&other, "/retry", nobody, 10 * HOUR, token));
    assert_false(token_is_good(&key, "/retry", somebody, 10 * HOUR, token));
    token[5] ^= 1;
    assert_false(token_is_good(&key, "/retry", nobody, 10 * HOUR, token));
    assert_false(token_is_good(&key, "/retry", nobody, 10 * HOUR, ""));
}

static void a_browser_that_comes_from_elsewhere_says_so(void **state)
{
    (void)state;
    static const struct {
        const char *fields;
        bool cross_site;
    } cases[] = {
        { "", false },
        { "Sec-Fetch-Site: same-origin\r\n", false },
        { "Sec-Fetch-Site: none\r\n", false },
        { "Sec-Fetch-Site: same-site\r\n", true },
        { "Sec-Fetch-Site: cross-site\r\n", true },
        { "Origin: http://localhost:5555\r\n", false },
        { "Origin: https://LOCALHOST:5555\r\n", false },
        { "Origin: http://localhost:5001\r\n", true },
        { "Origin: http://evil.example\r\n", true },
        { "Origin: null\r\n", true },
        { "Sec-Fetch-Site: same-origin\r\nOrigin: http://evil.example\r\n", true },
    };
    static struct parsed p;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(token_is_cross_site(request_with(&p, cases[i].fields)),
                         cases[i].cross_site);
}

/* ---- series ---- */

enum { MINUTE = 60 * 1000 };

static struct sample sample_at(int64_t at_ms, uint64_t accepted, uint64_t failed, uint32_t p99)
{
    struct store_stats stats = { .accepted = accepted, .runs_failed = failed };
    struct sample s;
    stats.errors_by_code[5] = failed;
    stats.errors_by_code[6] = 2 * failed;
    series_sample(&stats, (struct latency){ p99 > 0, p99 / 2, p99 }, at_ms, &s);
    return s;
}

static void a_minute_of_history_has_rates(void **state)
{
    (void)state;
    static struct series s;
    const int64_t now = 1000 * (int64_t)MINUTE;
    struct sample samples[] = { sample_at(now - 3 * MINUTE, 100, 0, 0),
                                sample_at(now - 2 * MINUTE, 160, 30, 500),
                                sample_at(now - MINUTE, 160, 30, 0) };
    struct sample end = sample_at(now, 220, 31, 0);
    series_make(SPAN_15_MIN, samples, 3, &end, &s);
    assert_int_equal(s.n, 4);
    assert_false(s.points[0].has_rates);
    assert_true(s.points[1].has_rates && s.points[1].accepted == 1.0 && s.points[1].failed == 0.5);
    assert_true(s.points[2].accepted == 0 && s.points[3].accepted == 1.0);
    assert_true(s.points[1].latency.known && s.points[1].latency.p99_ms == 500);
    assert_false(s.points[2].latency.known);
    assert_int_equal(s.errors[5], 31);
    assert_int_equal(s.errors[6], 62);
}

static void what_is_older_than_the_span_is_left_out(void **state)
{
    (void)state;
    static struct series s;
    const int64_t now = 1000 * (int64_t)MINUTE;
    struct sample samples[] = { sample_at(now - 1440 * (int64_t)MINUTE, 5, 5, 0),
                                sample_at(now - 16 * MINUTE, 10, 10, 0),
                                sample_at(now - 14 * MINUTE, 20, 20, 0) };
    struct sample end = sample_at(now, 20, 20, 0);
    series_make(SPAN_15_MIN, samples, 3, &end, &s);
    assert_int_equal(s.n, 2);
    assert_int_equal(s.errors[5], 0);
    assert_false(s.points[1].has_rates); /* nobody was there for 14 minutes */
}

static void a_day_is_shown_in_steps_of_five_minutes_with_the_slowest_of_each(void **state)
{
    (void)state;
    enum { N = 1440 };
    static struct series s;
    static struct sample samples[N];
    const int64_t now = 10000 * 5 * (int64_t)MINUTE;
    for (int i = 0; i < N; i++)
        samples[i] =
            sample_at(now - (N - i) * (int64_t)MINUTE, (uint64_t)i, 0, i % 5 == 2 ? 900 : 100);
    struct sample end = sample_at(now, N, 0, 0);
    series_make(SPAN_24_H, samples, N, &end, &s);
    assert_int_equal(s.n, N / 5 + 1);
    for (size_t i = 0; i + 1 < s.n; i++)
        assert_int_equal(s.points[i].latency.p99_ms, 900);
    assert_true(s.points[5].has_rates);
}

static void counts_of_another_store_make_no_rates_below_zero(void **state)
{
    (void)state;
    static struct series s;
    const int64_t now = 1000 * (int64_t)MINUTE;
    struct sample before = sample_at(now - MINUTE, 1000, 500, 0), end = sample_at(now, 10, 5, 0);
    series_make(SPAN_15_MIN, &before, 1, &end, &s);
    assert_true(s.points[1].accepted == 0 && s.points[1].failed == 0);
}

static void percentiles_are_of_the_nearest_rank(void **state)
{
    (void)state;
    int64_t durations[200], one = 7, below = -3;
    for (int i = 0; i < 200; i++)
        durations[i] = 200 - i;
    struct latency l = latency_of(durations, 200);
    assert_true(l.known && l.p50_ms == 100 && l.p99_ms == 198);
    l = latency_of(&one, 1);
    assert_true(l.known && l.p50_ms == 7 && l.p99_ms == 7);
    assert_int_equal(latency_of(&below, 1).p50_ms, 0);
    assert_false(latency_of(&one, 0).known);
}

/* ---- the sampler ---- */

struct sampled {
    struct world world;
    struct service *service;
    struct monitor_sampler sampler;
};

static int sampled_setup(void **state)
{
    struct sampled *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    world_init(&s->world, WORLD_SQLITE);
    world_open(&s->world);
    *state = s;
    return 0;
}

static int sampled_teardown(void **state)
{
    struct sampled *s = *state;
    world_release(&s->world);
    free(s);
    return 0;
}

static void take_sample(struct sampled *s, int64_t now_ms)
{
    struct err err = { 0 };
    assert_int_equal(service_start(s->world.store, &s->service, &err), 0);
    if (monitor_sample(&s->sampler, s->world.store, s->service, now_ms, &err) < 0)
        fail_msg("%s", err.msg);
    service_stop(s->service);
}

static void a_sample_outlives_a_restart_and_tells_how_long_assets_took(void **state)
{
    struct sampled *s = *state;
    struct sample samples[4];
    size_t n;
    s->world.now_ms = 1000 * (int64_t)MINUTE;
    take_sample(s, s->world.now_ms); /* the first only finds out where the feed is */
    (void)put_one(&s->world);
    struct claim claim = claim_one(&s->world);
    s->world.now_ms += 4000;
    assert_int_equal(finish(&s->world, &claim, true), STEP_DONE);
    take_sample(s, s->world.now_ms + MINUTE);
    world_reopen(&s->world);
    assert_int_equal(store_history(s->world.store, RING_MINUTE, samples, 4, &n, NULL), 0);
    assert_int_equal(n, 2);
    struct latency l = sample_latency(&samples[1]);
    assert_true(l.known && l.p50_ms == 4000 && l.p99_ms == 4000);
    assert_int_equal(samples[1].values[0], 1);
    static struct series series;
    struct store_stats stats;
    assert_int_equal(series_read(s->world.store, SPAN_15_MIN, s->world.now_ms + MINUTE + 1, &series,
                                 &stats, NULL),
                     0);
    assert_int_equal(series.n, 3);
    assert_int_equal(stats.accepted, 1);
}

static void the_first_sample_of_a_minute_and_of_an_hour_stays(void **state)
{
    enum { HOUR = 60 * MINUTE };
    struct sampled *s = *state;
    struct sample samples[4];
    size_t n;
    int64_t hour = 1000 * (int64_t)HOUR;
    take_sample(s, hour + 10);
    take_sample(s, hour + 20);
    take_sample(s, hour + MINUTE);
    assert_int_equal(store_history(s->world.store, RING_MINUTE, samples, 4, &n, NULL), 0);
    assert_true(n == 2 && samples[0].at_ms == hour + 10 && samples[1].at_ms == hour + MINUTE);
    assert_int_equal(store_history(s->world.store, RING_HOUR, samples, 4, &n, NULL), 0);
    assert_true(n == 1 && samples[0].at_ms == hour + 10);
    take_sample(s, hour + HOUR);
    assert_int_equal(store_history(s->world.store, RING_HOUR, samples, 4, &n, NULL), 0);
    assert_int_equal(n, 2);
}

static void who_has_just_started_knows_how_long_assets_took_in_the_minute_before(void **state)
{
    static const struct {
        int64_t ended_ms, took_ms;
    } lives[] = { { 60 * MINUTE, 7 }, { 62 * MINUTE + 1, 500 }, { 63 * MINUTE, 300 } };
    struct sampled *s = *state;
    struct sample samples[4];
    size_t n;
    for (size_t i = 0; i < ARRAY_LEN(lives); i++) {
        s->world.now_ms = lives[i].ended_ms - lives[i].took_ms;
        (void)put_one(&s->world);
        struct claim c = claim_one(&s->world);
        s->world.now_ms = lives[i].ended_ms;
        assert_int_equal(finish(&s->world, &c, true), STEP_DONE);
    }
    take_sample(s, 63 * MINUTE);
    s->sampler = (struct monitor_sampler){ 0 };
    take_sample(s, 63 * MINUTE + 5); /* the minute has its sample */
    s->world.now_ms = 64 * MINUTE - 10;
    (void)put_one(&s->world);
    struct claim c = claim_one(&s->world);
    s->world.now_ms = 64 * MINUTE;
    assert_int_equal(finish(&s->world, &c, true), STEP_DONE);
    take_sample(s, 64 * MINUTE);
    assert_int_equal(store_history(s->world.store, RING_MINUTE, samples, 4, &n, NULL), 0);
    assert_int_equal(n, 2);
    struct latency first = sample_latency(&samples[0]), second = sample_latency(&samples[1]);
    assert_true(first.known && first.p50_ms == 300 && first.p99_ms == 500);
    assert_true(second.known && second.p50_ms == 10 && second.p99_ms == 10);
}

static void a_minute_without_endings_has_no_latency(void **state)
{
    struct sampled *s = *state;
    struct sample samples[4];
    size_t n;
    s->world.now_ms = 1000 * (int64_t)MINUTE;
    (void)put_one(&s->world);
    take_sample(s, s->world.now_ms);
    take_sample(s, s->world.now_ms + MINUTE);
    assert_int_equal(store_history(s->world.store, RING_MINUTE, samples, 4, &n, NULL), 0);
    assert_int_equal(n, 2);
    assert_false(sample_latency(&samples[1]).known);
    assert_int_equal(samples[1].values[3], 1);      /* queued */
    assert_int_equal(samples[1].values[5], MINUTE); /* for so long */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_form_is_decoded),
        cmocka_unit_test(what_was_encoded_decodes_to_itself),
        cmocka_unit_test(times_are_read_or_refused),
        cmocka_unit_test(a_search_is_read_and_written_back),
        cmocka_unit_test(a_search_that_makes_no_sense_is_refused),
        cmocka_unit_test(text_of_clients_stays_text),
        cmocka_unit_test(durations_read_easily),
        cmocka_unit_test(a_prefix_is_a_path),
        cmocka_unit_test(a_token_is_good_for_its_form_and_its_hours),
        cmocka_unit_test(a_browser_that_comes_from_elsewhere_says_so),
        cmocka_unit_test(a_minute_of_history_has_rates),
        cmocka_unit_test(what_is_older_than_the_span_is_left_out),
        cmocka_unit_test(a_day_is_shown_in_steps_of_five_minutes_with_the_slowest_of_each),
        cmocka_unit_test(counts_of_another_store_make_no_rates_below_zero),
        cmocka_unit_test(percentiles_are_of_the_nearest_rank),
        cmocka_unit_test_setup_teardown(a_sample_outlives_a_restart_and_tells_how_long_assets_took,
                                        sampled_setup, sampled_teardown),
        cmocka_unit_test_setup_teardown(the_first_sample_of_a_minute_and_of_an_hour_stays,
                                        sampled_setup, sampled_teardown),
        cmocka_unit_test_setup_teardown(
            who_has_just_started_knows_how_long_assets_took_in_the_minute_before, sampled_setup,
            sampled_teardown),
        cmocka_unit_test_setup_teardown(a_minute_without_endings_has_no_latency, sampled_setup,
                                        sampled_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
