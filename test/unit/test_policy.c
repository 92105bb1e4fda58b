/* Which addresses webhooks may go to. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "webhook/policy.h"

DEFINE_FREEP(struct policy *, policy_free)

static struct policy *policy_of(const char *allow, const char *deny)
{
    struct policy *policy = NULL;
    struct err err;
    if (policy_new(allow, deny, &policy, &err) < 0)
        fail_msg("%s", err.msg);
    return policy;
}

static bool allows_port(const struct policy *policy, const char *text, unsigned port)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
    const char *why = NULL;
    bool allowed;
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
        allowed = policy_allows(policy, (const struct sockaddr *)&v4, &why);
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
        allowed = policy_allows(policy, (const struct sockaddr *)&v6, &why);
    }
    assert_non_null(why);
    return allowed;
}

static bool allows(const struct policy *policy, const char *text)
{
    return allows_port(policy, text, 9000);
}

/* The network an address belongs to: 'u' public, 'p' private, 'l' loopback, '-' never. */
static const struct {
    const char *address;
    char network;
} addresses[] = {
    { "8.8.8.8", 'u' },
    { "1.1.1.1", 'u' },
    { "11.0.0.0", 'u' },
    { "9.255.255.255", 'u' },
    { "172.15.255.255", 'u' },
    { "172.32.0.0", 'u' },
    { "192.167.255.255", 'u' },
    { "100.63.255.255", 'u' },
    { "100.128.0.0", 'u' },
    { "128.0.0.1", 'u' },
    { "223.255.255.255", 'u' },
    { "168.63.129.15", 'u' },
    { "168.63.129.17", 'u' },
    { "1.0.0.0", 'u' },
    { "169.253.255.255", 'u' },
    { "169.255.0.0", 'u' },
    { "192.0.1.0", 'u' },
    { "192.0.3.0", 'u' },
    { "192.88.98.255", 'u' },
    { "192.88.100.0", 'u' },
    { "198.17.255.255", 'u' },
    { "198.20.0.0", 'u' },
    { "198.51.101.0", 'u' },
    { "203.0.114.0", 'u' },
    { "2000::", 'u' },
    { "2001:db9::", 'u' },
    { "2003::", 'u' },
    { "3fff:1000::", 'u' },
    { "2001:4860:4860::8888", 'u' },
    { "2606:4700::1111", 'u' },
    { "2001:200::1", 'u' },
    { "3ffe::1", 'u' },
    { "::ffff:8.8.8.8", 'u' },
    { "127.0.0.1", 'l' },
    { "127.255.255.254", 'l' },
    { "::1", 'l' },
    { "::ffff:127.0.0.1", 'l' },
    { "10.0.0.1", 'p' },
    { "10.255.255.255", 'p' },
    { "172.16.0.1", 'p' },
    { "172.17.0.1", 'p' },
    { "172.31.255.255", 'p' },
    { "192.168.0.1", 'p' },
    { "100.64.0.1", 'p' },
    { "100.127.255.255", 'p' },
    { "100.100.100.201", 'p' },
    { "fd00:ec2::253", 'p' },
    { "fc00::1", 'p' },
    { "fd12:3456::1", 'p' },
    { "::ffff:10.0.0.1", 'p' },
    { "0.0.0.0", '-' },
    { "0.1.2.3", '-' },
    { "169.254.169.254", '-' },
    { "169.254.0.1", '-' },
    { "::ffff:169.254.169.254", '-' },
    { "168.63.129.16", '-' },
    { "100.100.100.200", '-' },
    { "192.0.0.1", '-' },
    { "192.0.2.1", '-' },
    { "198.51.100.7", '-' },
    { "203.0.113.9", '-' },
    { "192.88.99.1", '-' },
    { "198.18.0.1", '-' },
    { "198.19.255.255", '-' },
    { "224.0.0.1", '-' },
    { "239.255.255.255", '-' },
    { "240.0.0.1", '-' },
    { "255.255.255.255", '-' },
    { "::ffff:0.0.0.0", '-' },
    { "::", '-' },
    { "::127.0.0.1", '-' },
    { "64:ff9b::7f00:1", '-' },
    { "64:ff9b:1::1", '-' },
    { "100::1", '-' },
    { "2001::1", '-' },
    { "2001:1ff::1", '-' },
    { "2002:7f00:1::", '-' },
    { "2001:db8::1", '-' },
    { "3fff::1", '-' },
    { "fe80::1", '-' },
    { "fec0::1", '-' },
    { "ff02::1", '-' },
    { "fd00:ec2::254", '-' },
    { "fd20:ce::254", '-' },
    { "fd00:42::42", '-' },
    { "4000::1", '-' },
};

static void every_address_belongs_to_its_network(void **state)
{
    (void)state;
    static const struct {
        const char *allow, *networks;
    } rows[] = {
        { "public,private,loopback", "upl" },
        { "public", "u" },
        { "private", "p" },
        { "loopback", "l" },
        { " loopback , private ", "lp" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(policy_freep) struct policy *policy = policy_of(rows[i].allow, NULL);
        assert_false(policy_is_off(policy));
        for (size_t j = 0; j < ARRAY_LEN(addresses); j++) {
            bool expected = strchr(rows[i].networks, addresses[j].network) != NULL;
            if (allows(policy, addresses[j].address) != expected)
                fail_msg("allow %s: %s is wrong", rows[i].allow, addresses[j].address);
        }
    }
}

static void a_cidr_opens_even_what_is_never_right(void **state)
{
    (void)state;
    CLEANUP(policy_freep)
    struct policy *policy = policy_of("169.254.169.254,10.0.0.0/9,fe80::/10,192.0.2.77/24", NULL);
    assert_true(allows(policy, "169.254.169.254"));
    assert_true(allows(policy, "::ffff:169.254.169.254"));
    assert_false(allows(policy, "169.254.169.253"));
    assert_true(allows(policy, "10.127.255.255"));
    assert_false(allows(policy, "10.128.0.0"));
    assert_true(allows(policy, "fe80::1"));
    assert_false(allows(policy, "fec0::1"));
    assert_true(allows(policy, "192.0.2.1"));
    assert_false(allows(policy, "8.8.8.8"));
}

static void deny_wins(void **state)
{
    (void)state;
    CLEANUP(policy_freep)
    struct policy *policy =
        policy_of("public,private,loopback,10.0.0.0/8,2001:db8::/32",
                  "10.1.0.0/16, 8.8.8.8, 2606:4700::/32, 2001:db8:1::/48, loopback");
    assert_false(allows(policy, "10.1.2.3"));
    assert_false(allows(policy, "::ffff:10.1.2.3"));
    assert_true(allows(policy, "10.2.0.0"));
    assert_false(allows(policy, "8.8.8.8"));
    assert_true(allows(policy, "8.8.8.9"));
    assert_false(allows(policy, "2606:4700::1"));
    assert_true(allows(policy, "2001:db8::1"));
    assert_false(allows(policy, "2001:db8:1::1"));
    assert_false(allows(policy, "127.0.0.1"));
    assert_false(allows(policy, "::1"));
}

static void the_families_do_not_match_each_other(void **state)
{
    (void)state;
    CLEANUP(policy_freep) struct policy *no_v6 = policy_of("public,loopback", "::/0");
    assert_true(allows(no_v6, "127.0.0.1"));
    assert_true(allows(no_v6, "::ffff:127.0.0.1"));
    assert_false(allows(no_v6, "::1"));
    CLEANUP(policy_freep) struct policy *all_v4 = policy_of("0.0.0.0/0", NULL);
    assert_true(allows(all_v4, "255.255.255.255"));
    assert_false(allows(all_v4, "2606:4700::1"));
    CLEANUP(policy_freep) struct policy *mapped = policy_of("::ffff:10.0.0.0/104", NULL);
    assert_true(allows(mapped, "10.9.9.9"));
    assert_false(allows(mapped, "11.0.0.0"));
}

static void ports_of_other_protocols_are_refused_even_where_a_cidr_is_open(void **state)
{
    (void)state;
    static const unsigned bad[] = { 0,    1,    22,   25,   53,    110,  143,   465,  587,  993,
                                    6000, 6379, 6667, 5432, 11211, 3306, 27017, 2049, 10080 };
    static const unsigned good[] = { 80, 443, 3000, 5000, 5001, 8000, 8080, 8443, 9000, 65535 };
    CLEANUP(policy_freep) struct policy *policy = policy_of("public,loopback,10.0.0.0/8", NULL);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(allows_port(policy, "127.0.0.1", bad[i]));
        assert_false(allows_port(policy, "10.0.0.1", bad[i]));
        assert_false(allows_port(policy, "2606:4700::1", bad[i]));
    }
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(allows_port(policy, "127.0.0.1", good[i]));
}

static void none_allows_nothing(void **state)
{
    (void)state;
    CLEANUP(policy_freep) struct policy *policy = policy_of("none", NULL);
    assert_true(policy_is_off(policy));
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++)
        assert_false(allows(policy, addresses[i].address));
}

static void whether_it_reaches_inside_is_known_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *allow, *deny;
        bool inside;
    } rows[] = {
        { "public,private,loopback", NULL, true },
        { "public,loopback", NULL, true },
        { "private", "loopback", true },
        { "public", NULL, false },
        { "public,private,loopback", "private,loopback", false },
        { "public,10.1.2.3", NULL, false }, /* on purpose: it was written out */
        { "none", NULL, false },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(policy_freep) struct policy *policy = policy_of(rows[i].allow, rows[i].deny);
        if (policy_reaches_inside(policy) != rows[i].inside)
            fail_msg("allow %s: wrong", rows[i].allow);
    }
}

static void sockets_of_other_families_are_refused(void **state)
{
    (void)state;
    CLEANUP(policy_freep) struct policy *policy = policy_of("public,private,loopback", "none");
    struct sockaddr_un local = { .sun_family = AF_UNIX, .sun_path = "/run/x" };
    const char *why;
    assert_false(policy_allows(policy, (const struct sockaddr *)&local, &why));
}

static void what_is_no_list_is_refused_by_name(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "public,",
        ",public",
        "Public",
        "public private",
        "10.0.0/8",
        "10.0.0.0/33",
        "10.0.0.0/",
        "10.0.0.0/-1",
        "10.0.0.0/+8",
        "10.0.0.0/8x",
        "::/129",
        "fe80::1%eth0",
        "none,public",
        "public,none",
        "10.0.0.0/8/8",
        "localhost",
        "1.2.3.4:80",
        "[::1]",
        "10.0.0.0/0008",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct policy *policy = NULL;
        struct err err = { 0 };
        if (policy_new(bad[i], NULL, &policy, &err) == 0)
            fail_msg("'%s' was taken", bad[i]);
        assert_int_equal(err.code, ERR_INVALID);
        assert_null(policy);
        if (bad[i][0]) {
            assert_int_equal(policy_new("public", bad[i], &policy, &err), -1);
            assert_int_equal(err.code, ERR_INVALID);
            assert_non_null(strstr(err.msg, "denied"));
        }
    }
    struct policy *policy = NULL;
    struct err err;
    assert_int_equal(policy_new("public,nonsense", NULL, &policy, &err), -1);
    assert_non_null(strstr(err.msg, "'nonsense'"));
    policy_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_address_belongs_to_its_network),
        cmocka_unit_test(a_cidr_opens_even_what_is_never_right),
        cmocka_unit_test(deny_wins),
        cmocka_unit_test(the_families_do_not_match_each_other),
        cmocka_unit_test(ports_of_other_protocols_are_refused_even_where_a_cidr_is_open),
        cmocka_unit_test(none_allows_nothing),
        cmocka_unit_test(whether_it_reaches_inside_is_known_by_name),
        cmocka_unit_test(sockets_of_other_families_are_refused),
        cmocka_unit_test(what_is_no_list_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
