/* Who is let in with which key, and which files of keys are refused. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "http/keys.h"
#include "http/reader.h"

static const char two[] = "# keys of the labelling team\r\n"
                          "team:0123456789abcdef\r\n"
                          "\n"
                          "fedcba9876543210";

static struct http_keys *read_keys(const char *text)
{
    struct http_keys *keys = NULL;
    struct err err;
    if (http_keys_read(text, strlen(text), &keys, &err) < 0)
        fail_msg("%s", err.msg);
    return keys;
}

/* Whether a request with this Authorization field is let in, and under which name. */
static bool admitted(const struct http_keys *keys, const char *field, const char **ret_name)
{
    static char data[4096];
    static struct http_reader reader;
    static const struct http_reader_limits limits = { .max_body = 1024 };
    http_reader_init(&reader, &limits, data, sizeof(data));
    size_t room;
    char *at = http_reader_room(&reader, &room);
    int n = snprintf(at, room, "GET / HTTP/1.1\r\nHost: a\r\n%s%s%s\r\n",
                     field ? "Authorization: " : "", field ? field : "", field ? "\r\n" : "");
    http_reader_fed(&reader, (size_t)n);
    assert_int_equal(http_reader_parse(&reader), HTTP_READER_REQUEST);
    return http_keys_admit(keys, &reader.request, ret_name);
}

static void a_key_opens_as_bearer_and_as_password(void **state)
{
    (void)state;
    struct http_keys *keys = read_keys(two);
    assert_int_equal(http_keys_count(keys), 2);
    static const struct {
        const char *field;
        bool in;
    } cases[] = {
        { NULL, false },
        { "", false },
        { "Bearer 0123456789abcdef", true },
        { "bearer  0123456789abcdef", true },
        { "BEARER fedcba9876543210", true },
        { "Bearer team:0123456789abcdef", false }, /* the name is no part of the key */
        { "Bearer 0123456789abcdeF", false },
        { "Bearer 0123456789abcde", false },
        { "Bearer 0123456789abcdef0", false },
        { "Bearer", false },
        { "0123456789abcdef", false },
        { "Basic OjAxMjM0NTY3ODlhYmNkZWY=", true },         /* :0123456789abcdef */
        { "Basic YW55Ym9keTpmZWRjYmE5ODc2NTQzMjEw", true }, /* anybody:fedcba9876543210 */
        { "Basic MDEyMzQ1Njc4OWFiY2RlZg==", false },        /* 0123456789abcdef */
        { "Basic MDEyMzQ1Njc4OWFiY2RlZjo=", false },        /* 0123456789abcdef: */
        { "Basic ====", false },
        { "Basic AAA", false },
        { "Basic !!!!", false },
        { "Digest 0123456789abcdef", false },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (admitted(keys, cases[i].field, NULL) != cases[i].in)
            fail_msg("'%s'", cases[i].field);
    http_keys_free(keys);
}

static void a_key_has_its_name_or_the_beginning_of_its_digest(void **state)
{
    (void)state;
    struct http_keys *keys = read_keys(two);
    const char *name = NULL;
    assert_true(admitted(keys, "Bearer 0123456789abcdef", &name));
    assert_string_equal(name, "team");
    assert_true(admitted(keys, "Bearer fedcba9876543210", &name));
    assert_int_equal(strlen(name), 16);
    assert_null(strstr("fedcba9876543210", name));
    http_keys_free(keys);
}

static void without_keys_everybody_may(void **state)
{
    (void)state;
    assert_true(admitted(NULL, NULL, NULL));
    assert_true(admitted(NULL, "Bearer whatever", NULL));
}

static void what_is_no_key_is_refused_and_not_repeated(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        { "short", "key 1" },
        { "0123456789abcdef\nsecret key with spaces", "key 2" },
        { ":0123456789abcdef", "name of key 1" },
        { "a b:0123456789abcdef", "name of key 1" },
        { "name:0123456789:abcdef", "key 1" },
        { "name:\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4", "key 1" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_keys *keys = NULL;
        struct err err;
        assert_int_equal(http_keys_read(cases[i].text, strlen(cases[i].text), &keys, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
        if (!strstr(err.msg, cases[i].says) || strstr(err.msg, "secret"))
            fail_msg("%s", err.msg);
        http_keys_free(keys);
    }
}

static void there_may_be_256_keys(void **state)
{
    (void)state;
    struct http_keys *keys = NULL;
    struct err err;
    char line[64];
    for (int i = 0; i < HTTP_KEYS_MAX; i++) {
        int n = snprintf(line, sizeof(line), "0123456789abcdef%d\n", i);
        assert_int_equal(http_keys_read(line, (size_t)n, &keys, &err), 0);
    }
    assert_true(admitted(keys, "Bearer 0123456789abcdef255", NULL));
    assert_int_equal(http_keys_read("0123456789abcdef!", 17, &keys, &err), -1);
    http_keys_free(keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_opens_as_bearer_and_as_password),
        cmocka_unit_test(a_key_has_its_name_or_the_beginning_of_its_digest),
        cmocka_unit_test(without_keys_everybody_may),
        cmocka_unit_test(what_is_no_key_is_refused_and_not_repeated),
        cmocka_unit_test(there_may_be_256_keys),
    };
    return cmocka_run_group_tests_name("keys", tests, NULL, NULL);
}
