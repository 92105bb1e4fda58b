/* The rule for valid webhook URLs: a table of our own, and, where it is at hand, the shared one. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <jansson.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "client/url.h"

#define OK "ok"
#define CONTROL "control character"
#define SCHEME "must start with http:// or https://"
#define NUMBER "host looks like a number but is not a plain IPv4 address"
#define NAME "not a host name"
#define V6 "not an IPv6 address"
#define PORT "port not in 1-65535"
#define TAIL "character that must be percent-encoded, or a broken %"
#define USER "user name or password in URL"
#define ASCII "non-ASCII character: write hosts as punycode, the rest percent-encoded"
#define L63 "abcdefghijklmnopqrstuvwxyz-abcdefghijklmnopqrstuvwxyz-123456789"

static const struct {
    const char *url, *why;
} cases[] = {
    { "http://a", OK },
    { "http://localhost:9000/onStart", OK },
    { "HTTPS://Example.COM./x", OK },
    { "http://my_service_1:9000/hook?a=b#c", OK },
    { "http://a:/", OK },
    { "http://a:00080/", OK },
    { "http://a:65535", OK },
    { "http://127.0.0.1", OK },
    { "http://0.0.0.0:1", OK },
    { "http://255.255.255.255", OK },
    { "http://[::]", OK },
    { "http://[::1]:80/", OK },
    { "http://[1:2:3:4:5:6:7::]", OK },
    { "http://[::2:3:4:5:6:7:8]", OK },
    { "http://[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]", OK },
    { "http://xn--bcher-kva.example/%C3%A4", OK },
    { "http://0x7g.example.0xg", OK },
    { "http://1.2.3.4.example", OK },
    { "http://" L63 ".x", OK },
    { "http://h/-._~!$&'()*+,;=:@%20", OK },
    { "http://h?a/b?c#d/e?f", OK },
    { "http://h#", OK },
    { "http://h/a//b/../c", OK },
    { "", "empty" },
    { "http://a b", "space" },
    { "http://a b\n", CONTROL },
    { "\thttp://a", CONTROL },
    { "http://a\x7f", CONTROL },
    { "http://b\xc3\xbc"
      "cher.example",
      ASCII },
    { "ftp://a", SCHEME },
    { "http:/a", SCHEME },
    { "http:a", SCHEME },
    { "//a", SCHEME },
    { "httpx://a", SCHEME },
    { "http", SCHEME },
    { "javascript:alert(1)", SCHEME },
    { "http://", "no host" },
    { "http:///path", "no host" },
    { "http://:80", "no host" },
    { "http://user@h", USER },
    { "http://h:80@evil.example/", USER },
    { "http://h/\\@x", TAIL },
    { "http://h\\@evil.example", USER },
    { "http://.", NAME },
    { "http://a..b", NAME },
    { "http://a..", NAME },
    { "http://-a", NAME },
    { "http://a-.b", NAME },
    { "http://a%41", NAME },
    { "http://" L63 "x", NAME },
    { "http://127.1", NUMBER },
    { "http://2130706433", NUMBER },
    { "http://0x7f000001", NUMBER },
    { "http://0X", NUMBER },
    { "http://0177.0.0.1", NUMBER },
    { "http://127.0.0.01", NUMBER },
    { "http://256.0.0.1", NUMBER },
    { "http://1.2.3.4.5", NUMBER },
    { "http://1.2.3.4.", NUMBER },
    { "http://foo.4", NUMBER },
    { "http://1.2.3.1000", NUMBER },
    { "http://[::1", "unclosed [" },
    { "http://[]", V6 },
    { "http://[1.2.3.4]", V6 },
    { "http://[::00001]", V6 },
    { "http://[1::2::3]", V6 },
    { "http://[::1.2.3.04]", V6 },
    { "http://[1:2:3:4:5:6:7:8::]", V6 },
    { "http://[0000:0000:0000:0000:0000:0000:0000:0000:0000]", V6 },
    { "http://[fe80::1%25eth0]", "IPv6 zone" },
    { "http://[::1]x", "characters after ]" },
    { "http://[::1]:x", PORT },
    { "http://a:0", PORT },
    { "http://a:65536", PORT },
    { "http://a:000080", PORT },
    { "http://a:+80", PORT },
    { "http://a:80:90", PORT },
    { "http://h/%", TAIL },
    { "http://h/%4", TAIL },
    { "http://h/%zz", TAIL },
    { "http://h/[a]", TAIL },
    { "http://h/{id}", TAIL },
    { "http://h?a|b", TAIL },
    { "http://h#a#b", TAIL },
    { "http://h/a\\b", TAIL },
};

/* From a block of exactly its size, so that a sanitizer sees a read behind the end. */
static const char *why_of(const char *url, size_t len)
{
    CLEANUP(freep) char *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, url, len);
    const char *why = NULL;
    bool valid = url_is_valid(copy, len, &why);
    assert_non_null(why);
    assert_int_equal(valid, strcmp(why, OK) == 0);
    return why;
}

static void the_rule_is_held_by_our_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *why = why_of(cases[i].url, strlen(cases[i].url));
        if (strcmp(why, cases[i].why) != 0)
            fail_msg("%s: '%s', not '%s'", cases[i].url, why, cases[i].why);
    }
}

static void a_nul_inside_is_refused(void **state)
{
    (void)state;
    static const char url[] = "http://a\0.evil.example";
    assert_string_equal(why_of(url, sizeof(url) - 1), CONTROL);
    assert_string_equal(why_of("", 1), CONTROL);
}

static void lengths_are_limited(void **state)
{
    (void)state;
    char url[URL_MAX_LEN + 2];
    memset(url, 'a', sizeof(url));
    memcpy(url, "http://h/", 9);
    assert_string_equal(why_of(url, URL_MAX_LEN), OK);
    assert_string_equal(why_of(url, URL_MAX_LEN + 1), "longer than 2048 bytes");

    static const char label[] = L63 ".";
    memset(url, 0, sizeof(url));
    strcpy(url, "http://");
    for (int i = 0; i < 4; i++)
        strcat(url, label); /* 4 × 64: cut to 253 and 254 bytes of name, which ends in a label */
    url[7 + 253] = '\0';
    assert_string_equal(why_of(url, strlen(url)), OK);
    strcat(url, "."); /* the dot at the end is not counted */
    assert_string_equal(why_of(url, strlen(url)), OK);
    url[7 + 253] = 'a';
    assert_string_equal(why_of(url, strlen(url)), "host longer than 253");
}

static void the_rule_agrees_with_the_shared_cases(void **state)
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
    CLEANUP(freep) char *line = NULL;
    size_t cap = 0;
    unsigned n = 0, wrong = 0;
    while (getline(&line, &cap, f) > 0) {
        json_error_t error;
        json_t *row = json_loads(line, JSON_ALLOW_NUL, &error);
        assert_non_null(row);
        json_t *url = json_object_get(row, "url");
        bool valid = json_is_true(json_object_get(row, "valid"));
        const char *expected = json_string_value(json_object_get(row, "why"));
        const char *why = why_of(json_string_value(url), json_string_length(url));
        if (valid != (strcmp(why, OK) == 0) || strcmp(why, expected) != 0) {
            print_error("%s: '%s', not '%s'\n", json_string_value(url), why, expected);
            wrong++;
        }
        n++;
        json_decref(row);
    }
    (void)fclose(f);
    print_message("%u of %u shared cases right\n", n - wrong, n);
    assert_int_equal(wrong, 0);
    assert_true(n > 300);
}

static void literal_addresses_are_told_from_names(void **state)
{
    (void)state;
    static const struct {
        const char *url, *address; /* NULL: a name */
        int port;
    } rows[] = {
        { "http://127.0.0.1/x", "127.0.0.1", 80 },
        { "https://10.1.2.3", "10.1.2.3", 443 },
        { "http://10.1.2.3:8080?x", "10.1.2.3", 8080 },
        { "http://[::1]:9/", "::1", 9 },
        { "https://[::ffff:1.2.3.4]", "::ffff:1.2.3.4", 443 },
        { "http://localhost", NULL, 0 },
        { "http://1.2.3.4.example", NULL, 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct sockaddr_storage address;
        char text[INET6_ADDRSTRLEN];
        assert_int_equal(url_literal_address(rows[i].url, &address), rows[i].address != NULL);
        if (!rows[i].address)
            continue;
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address;
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address;
        bool is_v4 = address.ss_family == AF_INET;
        assert_non_null(inet_ntop(address.ss_family,
                                  is_v4 ? (const void *)&v4->sin_addr : &v6->sin6_addr, text,
                                  sizeof(text)));
        assert_string_equal(text, rows[i].address);
        assert_int_equal(ntohs(is_v4 ? v4->sin_port : v6->sin6_port), rows[i].port);
    }
}

static void an_origin_has_one_spelling(void **state)
{
    (void)state;
    static const struct {
        const char *url, *origin;
    } rows[] = {
        { "HTTP://Example.COM/Path", "http://example.com:80" },
        { "https://example.com?x", "https://example.com:443" },
        { "https://example.com:0443", "https://example.com:443" },
        { "http://a:/", "http://a:80" },
        { "http://[0:0:0:0:0:0:0:1]:9/", "http://[::1]:9" },
        { "http://[::FFFF:1.2.3.4]", "http://[::ffff:1.2.3.4]:80" },
        { "http://10.0.0.1:8080#f", "http://10.0.0.1:8080" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char origin[URL_ORIGIN_LEN];
        assert_true(url_origin(rows[i].url, origin));
        assert_string_equal(origin, rows[i].origin);
    }
    char none[URL_ORIGIN_LEN];
    assert_false(url_origin("http://1.2.3/", none));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rule_is_held_by_our_table),
        cmocka_unit_test(a_nul_inside_is_refused),
        cmocka_unit_test(lengths_are_limited),
        cmocka_unit_test(the_rule_agrees_with_the_shared_cases),
        cmocka_unit_test(literal_addresses_are_told_from_names),
        cmocka_unit_test(an_origin_has_one_spelling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
