/* Parameters of a query, and the paths that the API has. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "api/parts.h"
#include "api/query.h"
#include "base/cleanup.h"
#include "base/clock.h"

static struct http_slice slice(const char *text)
{
    return (struct http_slice){ text, strlen(text) };
}

static void parameters_are_decoded(void **state)
{
    (void)state;
    static const struct {
        const char *query, *name, *value;
    } cases[] = {
        { "a=b", "a", "b" },
        { "&&a=b", "a", "b" },
        { "a", "a", "" },
        { "a=b=c", "a", "b=c" },
        { "path=a%2Fb+c%2b", "path", "a/b c+" },
        { "%70ath=x", "path", "x" },
        { "=x", "", "x" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct query q = { .rest = slice(cases[i].query) };
        const char *fault = NULL;
        assert_int_equal(query_next(&q, &fault), 1);
        assert_string_equal(q.name, cases[i].name);
        assert_string_equal(q.value, cases[i].value);
        assert_int_equal(query_next(&q, &fault), 0);
    }
}

static void malformed_parameters_are_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "a=%", "a=%4", "a=%zz", "a=%00", "%00=a", "a-name-that-is-longer-than-any-of-ours=1",
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct query q = { .rest = slice(cases[i]) };
        const char *fault = NULL;
        assert_int_equal(query_next(&q, &fault), -1);
        assert_non_null(fault);
    }
}

static void times_are_read_as_rfc_3339_has_them(void **state)
{
    (void)state;
    static const struct {
        const char *text, *means; /* NULL: no time */
    } cases[] = {
        { "2026-11-24T08:00:00Z", "2026-11-24T08:00:00.000Z" },
        { "2026-11-24t08:00:00z", "2026-11-24T08:00:00.000Z" },
        { "2026-11-24T08:00:00.5Z", "2026-11-24T08:00:00.500Z" },
        { "2026-11-24T08:00:00.1239Z", "2026-11-24T08:00:00.123Z" },
        { "2026-11-24T08:00:00+01:30", "2026-11-24T06:30:00.000Z" },
        { "2026-11-24T08:00:00 01:30", "2026-11-24T06:30:00.000Z" }, /* a "+" nobody encoded */
        { "2026-11-24T08:00:00-00:30", "2026-11-24T08:30:00.000Z" },
        { "2024-02-29T23:59:60Z", "2024-03-01T00:00:00.000Z" }, /* a leap second */
        { "2026-02-29T00:00:00Z", NULL },
        { "2026-04-31T00:00:00Z", NULL },
        { "2026-13-01T00:00:00Z", NULL },
        { "2026-11-24T24:00:00Z", NULL },
        { "2026-11-24T08:00:00", NULL },
        { "2026-11-24T08:00Z", NULL },
        { "2026-11-24", NULL },
        { "2026-11-24T08:00:00.Z", NULL },
        { "2026-11-24T08:00:00Zx", NULL },
        { "26-11-24T08:00:00Z", NULL },
        { "", NULL },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t ms = 0;
        char text[CLOCK_TEXT_LEN];
        if (query_time(cases[i].text, &ms) != (cases[i].means != NULL))
            fail_msg("'%s'", cases[i].text);
        if (cases[i].means)
            assert_string_equal(clock_text(ms, text), cases[i].means);
    }
}

static void numbers_have_bounds(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
    } cases[] = { { "1", true },    { "1000", true },  { "007", true },
                  { "0", false },   { "1001", false }, { "", false },
                  { "1e2", false }, { "-1", false },   { "99999999999999999999999", false } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t n;
        if (query_number(cases[i].text, 1, 1000, &n) != cases[i].good)
            fail_msg("'%s'", cases[i].text);
    }
}

static void fixed_paths_win_over_ids(void **state)
{
    (void)state;
    static const struct {
        const char *path, *route, *id; /* NULL: there is nothing */
    } cases[] = {
        { "/assets", "/assets", "" },
        { "/assets/", NULL, "" },
        { "/assets/image", "/assets/image", "" },
        { "/assets/images", "/assets/images", "" },
        { "/assets/7ye0jmt", "/assets/{id}", "7ye0jmt" },
        { "/assets/7ye0jmt/retry", "/assets/{id}/retry", "7ye0jmt" },
        { "/assets/image/retry", "/assets/{id}/retry", "image" },
        { "/assets//retry", NULL, "" },
        { "/assets/a/b", NULL, "" },
        { "/assets/7ye0jmt/", NULL, "" },
        { "/ASSETS", NULL, "" },
        { "/", NULL, "" },
        { "*", NULL, "" },
        { "/assets/" /* longer than any id: the route is there, and nothing is found */
          "0123456789012345678901234567890123456789012345678901234567890123456789",
          "/assets/{id}", "" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char id[API_ID_LEN + 1];
        const struct route *route = route_of(slice(cases[i].path), id);
        if (!route != !cases[i].route)
            fail_msg("%s", cases[i].path);
        if (route)
            assert_string_equal(route->path, cases[i].route);
        assert_string_equal(id, cases[i].id);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_are_decoded),
        cmocka_unit_test(malformed_parameters_are_refused),
        cmocka_unit_test(times_are_read_as_rfc_3339_has_them),
        cmocka_unit_test(numbers_have_bounds),
        cmocka_unit_test(fixed_paths_win_over_ids),
    };
    return cmocka_run_group_tests_name("query", tests, NULL, NULL);
}
