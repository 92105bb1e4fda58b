/* Name servers that never answer, or not the same again. The resolver is replaced: the client calls
 * this program's getaddrinfo(), on threads of its own. moves.example has another address each time; for all other
 * names it does not come back before the test lets it. */
#include "test_sender_rig.h"

#include <dlfcn.h>
#include <netdb.h>
#include <stdatomic.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t let_go = PTHREAD_COND_INITIALIZER;
static bool stalls = true;
static atomic_uint inside, moves;

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret)
{
    *ret = NULL;
    if (strcmp(node, "moves.example") == 0) {
        int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
        char address[32];
        *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
        (void)snprintf(address, sizeof(address), "127.0.0.%u", 1 + atomic_fetch_add(&moves, 1));
        return real(address, service, hints, ret);
    }
    atomic_fetch_add(&inside, 1);
    (void)pthread_mutex_lock(&lock);
    while (stalls)
        (void)pthread_cond_wait(&let_go, &lock);
    (void)pthread_mutex_unlock(&lock);
    atomic_fetch_sub(&inside, 1);
    return EAI_AGAIN;
}

static void a_name_server_that_never_answers_stalls_nobody(void **state)
{
    (void)state;
    enum { STALLED = 100, GOOD = 200 };
    struct rig rig;
    char url[128];
    rig_up(&rig, "public,loopback", false);
    for (int i = 0; i < STALLED; i++) {
        (void)snprintf(url, sizeof(url), "http://host%d.stall.example/", i);
        (void)add_to(&rig, url, NOTIFY_START, NULL);
    }
    for (int i = 0; i < GOOD; i++)
        (void)add(&rig, "127.0.0.1", "/200");
    rig_send(&rig, (struct sender_config){ .total_timeout_ms = 5000,
                                           .connect_timeout_ms = 3000,
                                           .delays_ms = { 3600 * 1000 },
                                           .n_delays = 1 });
    /* The good ones do not wait for a single name: the resolver holds all of them. */
    size_t seen = 0;
    for (size_t good = 0; good < GOOD; seen++) {
        wait_results(&rig, seen + 1);
        good += result(&rig, seen).state == EVENT_DELIVERED;
    }
    assert_true(seen < GOOD + STALLED / 10);
    wait_results(&rig, GOOD + STALLED);
    for (size_t i = 0; i < GOOD + STALLED; i++) {
        struct step_delivered d = result(&rig, i);
        if (d.state == EVENT_DELIVERED)
            continue;
        assert_string_equal(d.error, "timeout");
        assert_in_range(d.duration_ms, 2900, 5500);
    }
    /* And they do not hold up the end: the threads that ask are left behind. */
    int64_t before_ms = clock_mono_ms();
    sender_stop(TAKE(rig.sender));
    assert_true(clock_mono_ms() - before_ms < 1000);
    assert_true(atomic_load(&inside) > 0);
    (void)pthread_mutex_lock(&lock);
    stalls = false; /* so that nothing is left for the leak checker */
    (void)pthread_cond_broadcast(&let_go);
    (void)pthread_mutex_unlock(&lock);
    while (atomic_load(&inside) > 0)
        (void)sched_yield();
    rig_down(&rig);
}

/* The first attempt is reset, so that the second needs a connection of its own. */
static void every_connection_goes_where_its_name_leads_now(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, "127.0.0.1", false);
    (void)add(&rig, "moves.example", "/reset");
    rig_send(&rig, (struct sender_config){ .total_timeout_ms = 10000 });
    wait_results(&rig, 1);
    assert_string_equal(result(&rig, 0).error, "reset");
    wait_results(&rig, 2);
    assert_int_equal(result(&rig, 1).state, EVENT_DEAD);
    assert_string_equal(result(&rig, 1).error, "disallowed"); /* 127.0.0.2 */
    rig_down(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_connection_goes_where_its_name_leads_now),
        cmocka_unit_test(a_name_server_that_never_answers_stalls_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
