/* How many connections one client address may have. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "base/cleanup.h"
#include "http/peers.h"

static struct http_peer peer_of(const char *text)
{
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } address;
    memset(&address, 0, sizeof(address));
    if (strchr(text, ':')) {
        address.in6.sin6_family = AF_INET6;
        assert_int_equal(inet_pton(AF_INET6, text, &address.in6.sin6_addr), 1);
    } else {
        address.in.sin_family = AF_INET;
        assert_int_equal(inet_pton(AF_INET, text, &address.in.sin_addr), 1);
    }
    return http_peer_of(&address.any);
}

static bool is_same(const char *a, const char *b)
{
    struct http_peer x = peer_of(a), y = peer_of(b);
    return memcmp(&x, &y, sizeof(x)) == 0;
}

static void counts_an_ipv4_address_or_a_64_of_ipv6_as_one(void **state)
{
    (void)state;
    assert_true(is_same("192.0.2.1", "192.0.2.1"));
    assert_false(is_same("192.0.2.1", "192.0.2.2"));
    assert_true(is_same("192.0.2.1", "::ffff:192.0.2.1"));
    assert_true(is_same("2001:db8::1", "2001:db8::ffff:1"));
    assert_false(is_same("2001:db8::1", "2001:db8:0:1::1"));
}

static void does_not_count_loopback(void **state)
{
    (void)state;
    static const char *const loopback[] = { "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1" };
    struct http_peers *peers;
    struct err err;
    assert_int_equal(http_peers_new(4, &peers, &err), 0);
    for (size_t i = 0; i < ARRAY_LEN(loopback); i++)
        for (int n = 0; n < HTTP_PEER_MAX + 10; n++)
            assert_true(http_peers_add(peers, peer_of(loopback[i])));
    http_peers_remove(peers, peer_of("127.0.0.1"));
    http_peers_free(peers);
}

static void limits_each_address_by_itself(void **state)
{
    (void)state;
    struct http_peers *peers;
    struct err err;
    assert_int_equal(http_peers_new(1024, &peers, &err), 0);
    struct http_peer a = peer_of("192.0.2.1"), b = peer_of("2001:db8::1");
    for (int i = 0; i < HTTP_PEER_MAX; i++)
        assert_true(http_peers_add(peers, a));
    assert_false(http_peers_add(peers, a));
    assert_true(http_peers_add(peers, b));
    http_peers_remove(peers, a);
    assert_true(http_peers_add(peers, a));
    assert_false(http_peers_add(peers, a));
    http_peers_free(peers);
}

/* Thousands of random arrivals and departures beside a plain array of counts. */
static void counts_like_a_plain_array(void **state)
{
    (void)state;
    enum { ADDRESSES = 200, STEPS = 50000 };
    static unsigned counts[ADDRESSES];
    struct http_peers *peers;
    struct err err;
    uint32_t seed = 1;
    assert_int_equal(http_peers_new(ADDRESSES, &peers, &err), 0);
    for (int i = 0; i < STEPS; i++) {
        seed = seed * 1664525 + 1013904223;
        unsigned who = (seed >> 8) % ADDRESSES;
        struct http_peer peer = { { 4, 0xc0000200 + who } };
        if ((seed >> 24) % 2 == 0) {
            assert_int_equal(http_peers_add(peers, peer), counts[who] < HTTP_PEER_MAX);
            counts[who] += counts[who] < HTTP_PEER_MAX;
        } else if (counts[who] > 0) {
            http_peers_remove(peers, peer);
            counts[who]--;
        }
    }
    for (unsigned who = 0; who < ADDRESSES; who++) {
        struct http_peer peer = { { 4, 0xc0000200 + who } };
        for (; counts[who] < HTTP_PEER_MAX; counts[who]++)
            assert_true(http_peers_add(peers, peer));
        assert_false(http_peers_add(peers, peer));
    }
    http_peers_free(peers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_an_ipv4_address_or_a_64_of_ipv6_as_one),
        cmocka_unit_test(does_not_count_loopback),
        cmocka_unit_test(limits_each_address_by_itself),
        cmocka_unit_test(counts_like_a_plain_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
