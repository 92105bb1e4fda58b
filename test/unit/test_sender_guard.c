/* The guard on addresses: a name is what its name server says at the moment, which here is what this program's
 * getaddrinfo() says. Nothing that is refused is ever connected to. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "support/receiver.h"
#include "webhook/sender_transfer.h"

DEFINE_FREEP(struct policy *, policy_free)
DEFINE_FREEP(struct client *, client_free)
DEFINE_FREEP(struct transfer *, transfer_free)

static const char name[] = "receiver.example";

static const char *resolved; /* one address, or more with commas */

/* The real one would allocate and link them otherwise. */
void freeaddrinfo(struct addrinfo *a)
{
    for (struct addrinfo *next; a; a = next) {
        next = a->ai_next;
        free(a->ai_addr);
        free(a);
    }
}

static struct addrinfo *address_of(const char *text, const char *port)
{
    char url[128];
    struct url_parts parts;
    struct addrinfo *a = calloc(1, sizeof(*a));
    (void)snprintf(url, sizeof(url), "http://%s:%s", text, port);
    url_split(url, &parts);
    assert_true(a && parts.literal);
    a->ai_family = parts.address.ss_family;
    a->ai_addrlen =
        a->ai_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    a->ai_addr = malloc(sizeof(parts.address));
    memcpy(a->ai_addr, &parts.address, sizeof(parts.address));
    return a;
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret)
{
    char list[256], *rest = list;
    (void)hints;
    (void)strcpy(list, resolved);
    assert_string_equal(node, name);
    for (char *text; (text = strsep(&rest, ",")) != NULL; ret = &(*ret)->ai_next)
        *ret = address_of(text, service);
    return 0;
}

/* One attempt at the name at this port, which has these addresses now: one, or more with commas. Nothing is kept
 * of earlier attempts: else it would go over their connection, whatever the name has become. */
static struct answer attempt(const struct policy *policy, unsigned port, const char *addresses)
{
    char url[128];
    struct event event = { .notify = NOTIFY_START, .asset_id = "4k2m9qx", .url = url };
    struct answer answer;
    struct err err;
    CLEANUP(client_freep) struct client *client = NULL;
    CLEANUP(transfer_freep) struct transfer *t = NULL;
    resolved = addresses;
    (void)snprintf(url, sizeof(url), "http://%s:%u/200", name, port);
    assert_int_equal(transfer_client(policy, 0, 0, 0, &client, &err), 0);
    assert_int_equal(transfer_new(NULL, &t, &err), 0);
    assert_int_equal(transfer_prepare(t, &event, 1000, &err), 0);
    assert_int_equal(client_perform(client, &t->call, &t->request, &err), 0);
    transfer_answer(t, 1000, &answer);
    return answer;
}

static void assert_refused(struct answer answer, const char *addresses)
{
    if (!answer.error || strcmp(answer.error, "disallowed") != 0)
        fail_msg("%s: %s, status %d", addresses, answer.error ? answer.error : "sent",
                 answer.status);
    assert_true(answer.permanent);
    assert_true(answer.refused);
}

static void a_name_is_judged_by_what_it_resolves_to(void **state)
{
    (void)state;
    static const char *const refused[] = {
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "0.0.0.0",
        "[::]",
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "168.63.129.16",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
        "224.0.0.1",
        "255.255.255.255",
        "127.0.0.1,[::1],0.0.0.0",
    };
    struct err err;
    struct policy *fresh;
    struct receiver *trap = receiver_start(false);
    assert_int_equal(policy_new("public,private", NULL, &fresh, &err), 0);
    CLEANUP(policy_freep) struct policy *policy = fresh;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        assert_refused(attempt(policy, receiver_port(trap), refused[i]), refused[i]);
    assert_int_equal(receiver_connections(trap), 0);
    receiver_stop(trap);
}

static void a_name_that_is_rebound_is_judged_again(void **state)
{
    (void)state;
    struct err err;
    struct policy *fresh;
    struct receiver *receiver = receiver_start(false);
    unsigned port = receiver_port(receiver);
    assert_int_equal(policy_new("127.0.0.1", NULL, &fresh, &err), 0);
    CLEANUP(policy_freep) struct policy *policy = fresh;
    assert_null(attempt(policy, port, "127.0.0.1").error);
    assert_refused(attempt(policy, port, "127.0.0.2"), "127.0.0.2");
    assert_refused(attempt(policy, port, "169.254.169.254"), "169.254.169.254");
    assert_null(attempt(policy, port, "127.0.0.1").error);
    assert_int_equal(receiver_count(receiver), 2);
    receiver_stop(receiver);
}

static void of_many_addresses_an_allowed_one_is_used(void **state)
{
    (void)state;
    static const char *const lists[] = {
        "169.254.169.254,127.0.0.1",
        "127.0.0.1,169.254.169.254",
        "[::1],0.0.0.0,127.0.0.2,127.0.0.1",
    };
    struct err err;
    struct policy *fresh;
    struct receiver *receiver = receiver_start(false);
    assert_int_equal(policy_new("127.0.0.1", NULL, &fresh, &err), 0);
    CLEANUP(policy_freep) struct policy *policy = fresh;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        if (attempt(policy, receiver_port(receiver), lists[i]).error)
            fail_msg("%s: not sent", lists[i]);
    assert_int_equal(receiver_count(receiver), ARRAY_LEN(lists));
    receiver_stop(receiver);
}

static void a_port_of_another_protocol_is_refused_behind_a_name(void **state)
{
    (void)state;
    static const unsigned ports[] = { 22, 25, 3306, 5432, 6379, 11211, 27017 };
    struct err err;
    struct policy *fresh;
    assert_int_equal(policy_new("public,private,loopback", NULL, &fresh, &err), 0);
    CLEANUP(policy_freep) struct policy *policy = fresh;
    for (size_t i = 0; i < ARRAY_LEN(ports); i++)
        assert_refused(attempt(policy, ports[i], "127.0.0.1"), "127.0.0.1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_is_judged_by_what_it_resolves_to),
        cmocka_unit_test(a_name_that_is_rebound_is_judged_again),
        cmocka_unit_test(of_many_addresses_an_allowed_one_is_used),
        cmocka_unit_test(a_port_of_another_protocol_is_refused_behind_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
