/* link: -lcurl */
/* What is known of a client's URL before anything is sent. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "support/second_reader.h"
#include "webhook/judge.h"

DEFINE_FREEP(struct policy *, policy_free)

static struct policy *policy_of(const char *allow)
{
    struct policy *policy = NULL;
    struct err err;
    if (policy_new(allow, NULL, &policy, &err) < 0)
        fail_msg("%s", err.msg);
    return policy;
}

static void urls_are_judged_by_rule_then_by_address(void **state)
{
    (void)state;
    static const struct {
        const char *allow, *url;
        enum url_state expected;
    } rows[] = {
        { "public,private,loopback", NULL, URL_ABSENT },
        { "public,private,loopback", "", URL_INVALID },
        { "public,private,loopback", "nonsense", URL_INVALID },
        { "public,private,loopback", "http://127.1/", URL_INVALID },
        { "public,private,loopback", "http://localhost:9000/x", URL_VALID },
        { "public,private,loopback", "http://127.0.0.1:9000", URL_VALID },
        { "public,private,loopback", "http://127.0.0.1:6379", URL_DISALLOWED },
        { "public,private,loopback", "http://169.254.169.254/latest", URL_DISALLOWED },
        { "public,private,loopback", "http://[::ffff:169.254.169.254]/", URL_DISALLOWED },
        { "public,private,loopback", "http://0.0.0.0:9000/", URL_DISALLOWED },
        { "public", "http://127.0.0.1:9000", URL_DISALLOWED },
        { "public", "http://[::1]:9000", URL_DISALLOWED },
        { "public", "http://10.0.0.1/", URL_DISALLOWED },
        { "public", "http://localhost/", URL_VALID }, /* a name: decided when it is resolved */
        { "public", "https://93.184.216.34/", URL_VALID },
        { "none", NULL, URL_ABSENT },
        { "none", "nonsense", URL_INVALID },
        { "none", "http://localhost/", URL_OFF },
        { "none", "http://169.254.169.254/", URL_OFF },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(policy_freep) struct policy *policy = policy_of(rows[i].allow);
        const char *why = NULL;
        if (judge_url(policy, rows[i].url, &why) != rows[i].expected)
            fail_msg("allow %s, %s: %s", rows[i].allow, rows[i].url, why);
        assert_non_null(why);
        assert_int_equal(judge_url(policy, rows[i].url, NULL), rows[i].expected);
    }
}

static void libcurl_agrees_on_every_way_to_write_an_origin(void **state)
{
    (void)state;
    static const char *const urls[] = {
        "HtTpS://EXAMPLE.com./Path",
        "http://h:",
        "http://h:00080/",
        "http://h?q",
        "http://h#f",
        "http://my_svc:9000",
        "http://[::1]:00080",
        "http://h:/?",
        "http://[0:0:0:0:0:FFFF:102:304]/",
        "http://[1:2:3:4:5:6:7::]/",
        "http://1.2.3.4.example",
        "http://h/?u=http://x@y:1/",
        "http://xn--bcher-kva.example",
        "http://h//double",
    };
    CLEANUP(policy_freep) struct policy *policy = policy_of("public,private,0.0.0.0/0,::/0");
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        const char *why;
        if (judge_url(policy, urls[i], &why) != URL_VALID)
            fail_msg("%s: %s", urls[i], why);
        assert_true(libcurl_agrees(urls[i]));
    }
}

static void libcurl_agrees_on_the_shared_cases(void **state)
{
    (void)state;
    const char *shared = getenv("ASSAY_SHARED");
    char path[4096];
    (void)snprintf(path, sizeof(path), "%s/urls/cases.jsonl", shared ? shared : "../shared");
    FILE *f = fopen(path, "r");
    if (!f) {
        print_message("skipped: no %s\n", path);
        skip();
    }
    CLEANUP(policy_freep) struct policy *policy = policy_of("public,private,0.0.0.0/0,::/0");
    CLEANUP(freep) char *line = NULL;
    size_t cap = 0;
    while (getline(&line, &cap, f) > 0) {
        json_error_t error;
        json_t *row = json_loads(line, JSON_ALLOW_NUL, &error);
        assert_non_null(row);
        json_t *url = json_object_get(row, "url");
        const char *text = json_string_value(url), *why;
        bool has_nul = strlen(text) != json_string_length(url);
        bool valid = json_is_true(json_object_get(row, "valid"));
        enum url_state judged = judge_url(policy, text, &why);
        if (!has_nul && valid != (judged != URL_INVALID))
            fail_msg("%s: %s", text, why);
        if (valid && !libcurl_agrees(text))
            fail_msg("libcurl reads '%s' otherwise", text);
        json_decref(row);
    }
    (void)fclose(f);
}

static bool knows(const struct judge_known *known, const char *url)
{
    for (size_t i = 0; i < JUDGE_KNOWN; i++)
        if (strcmp(known->urls[i], url) == 0)
            return true;
    return false;
}

static void what_is_known_is_judged_the_same(void **state)
{
    (void)state;
    static struct judge_known known;
    char longest[JUDGE_KNOWN_LEN], longer[JUDGE_KNOWN_LEN + 1];
    (void)snprintf(longest, sizeof(longest), "http://h/%0*d", (int)sizeof(longest) - 10, 0);
    (void)snprintf(longer, sizeof(longer), "http://h/%0*d", (int)sizeof(longer) - 10, 0);
    const char *const urls[] = {
        "http://h/", "http://127.0.0.1:9000/", "nonsense", "", NULL, longest, longer
    };
    CLEANUP(policy_freep) struct policy *all = policy_of("public,loopback");
    CLEANUP(policy_freep) struct policy *public = policy_of("public");
    CLEANUP(policy_freep) struct policy *none = policy_of("none");
    const struct policy *const policies[] = { all, public, none, all, all };
    for (size_t i = 0; i < ARRAY_LEN(policies); i++) /* what one allows, another may not */
        for (size_t j = 0; j < ARRAY_LEN(urls); j++)
            assert_int_equal(judge_url_again(policies[i], &known, urls[j]),
                             judge_url(policies[i], urls[j], NULL));
    assert_true(knows(&known, urls[0]) && knows(&known, urls[1]) && knows(&known, longest));
    assert_false(knows(&known, "nonsense") || knows(&known, longer));
}

static void the_newest_url_takes_the_place(void **state)
{
    (void)state;
    static struct judge_known known;
    CLEANUP(policy_freep) struct policy *policy = policy_of("public");
    for (int i = 0; i < 10 * JUDGE_KNOWN; i++) {
        char url[64];
        (void)snprintf(url, sizeof(url), "http://h/%d", i);
        assert_int_equal(judge_url_again(policy, &known, url), URL_VALID);
        assert_true(knows(&known, url));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_judged_by_rule_then_by_address),
        cmocka_unit_test(libcurl_agrees_on_every_way_to_write_an_origin),
        cmocka_unit_test(libcurl_agrees_on_the_shared_cases),
        cmocka_unit_test(what_is_known_is_judged_the_same),
        cmocka_unit_test(the_newest_url_takes_the_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
