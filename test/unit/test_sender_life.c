/* The sender under load, at its limits, at its end, and over a SQLite store. */
#include "test_sender_rig.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "webhook/sender_origin.h"

/* --- limits --- */

static void one_origin_gets_no_more_than_its_share_at_once(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, "loopback", false);
    for (int i = 0; i < 40; i++)
        (void)add(&rig, "127.0.0.1", "/slow");
    rig_send(&rig, (struct sender_config){ .window = 64, .per_host = 3, .total_timeout_ms = 5000 });
    wait_results(&rig, 40);
    assert_int_equal(receiver_most_at_once(rig.receiver), 3);
    assert_int_equal(receiver_connections(rig.receiver), 3);
    rig_down(&rig);
}

static void memory_is_bounded_whatever_the_backlog(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, "loopback", false);
    for (int i = 0; i < 1000; i++)
        (void)add(&rig, "127.0.0.1", "/200");
    rig_send(&rig, (struct sender_config){ .window = 8, .unproven = 4, .total_timeout_ms = 5000 });
    size_t n = 1000, delivered = 0;
    wait_results(&rig, n);
    for (size_t i = 0; i < n; i++)
        delivered += result(&rig, i).state == EVENT_DELIVERED;
    assert_int_equal(delivered, n); /* none was given back: this receiver is fast */
    assert_true(rig.script->most_leased <= 36);
    assert_true(rig.script->lease_ms > 45000 + 5000);
    rig_down(&rig);
}

static void a_receiver_that_never_answers_delays_no_other(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, "loopback", false);
    struct receiver *dead = receiver_start(false);
    char url[64];
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/hang", receiver_port(dead));
    for (int i = 0; i < 200; i++) /* far more than all that a sender with this window may hold */
        (void)add_to(&rig, url, NOTIFY_START, NULL);
    for (int i = 0; i < 20; i++)
        (void)add(&rig, "127.0.0.1", "/200");
    int64_t start_ms = clock_mono_ms();
    /* The dead one's attempts do not end within this test. */
    rig_send(&rig,
             (struct sender_config){ .window = 16, .per_host = 4, .total_timeout_ms = 60000 });
    assert_true(receiver_wait(rig.receiver, 20));
    assert_true(clock_mono_ms() - start_ms < 10000);
    assert_true(receiver_count(dead) <= 4);
    for (size_t i = 0; i < count_results(&rig); i++) {
        struct step_delivered d = result(&rig, i);
        if (d.key < 200) { /* given back, uncounted, for later */
            assert_int_equal(d.state, EVENT_PENDING);
            assert_false(d.attempted);
            assert_true(d.next_ms > clock_wall_ms());
        }
    }
    receiver_stop(dead);
    rig_down(&rig);
}

/* A listener on every address of loopback whose connections nobody takes. */
static int dig_holes(unsigned *ret_port)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(fd, 1024), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

/* Their events are due first, many times more than may be held, and none of their attempts ends. */
static void black_holes_that_fill_every_lease_delay_nobody_who_answers(void **state)
{
    (void)state;
    enum { HOLES = 600, GOOD = 100, WINDOW = 16, UNPROVEN = 8 };
    struct rig rig;
    unsigned port;
    char url[64];
    rig_up(&rig, "loopback", false);
    int fd = dig_holes(&port);
    (void)add(&rig, "127.0.0.1", "/200");
    rig_send(&rig, (struct sender_config){
                       .window = WINDOW, .unproven = UNPROVEN, .total_timeout_ms = 60000 });
    wait_results(&rig, 1); /* it is known to answer */
    for (unsigned i = 0; i < HOLES; i++) {
        (void)snprintf(url, sizeof(url), "http://127.1.%u.%u:%u/", i / 250, i % 250 + 1, port);
        (void)add_to(&rig, url, NOTIFY_START, NULL);
    }
    for (int i = 0; i < GOOD; i++)
        (void)add(&rig, "127.0.0.1", "/200");
    stir(&rig);
    assert_true(receiver_wait(rig.receiver, 1 + GOOD));
    struct sender_stats stats;
    sender_stats(rig.sender, &stats);
    assert_in_range(stats.in_flight, 1, UNPROVEN + WINDOW);
    assert_int_equal(stats.failed[0], 0);
    assert_true(rig.script->most_leased <= HELD_WINDOWS * WINDOW + UNPROVEN);
    rig_down(&rig);
    (void)close(fd);
}

static void without_descriptors_events_are_given_back_untried(void **state)
{
    (void)state;
    struct rig rig;
    struct rlimit old;
    rig_up(&rig, "loopback", false);
    rig_send(&rig, (struct sender_config){ 0 });
    struct mailbox box; /* for a step that tells the store thread: something has come */
    struct step step = { .kind = STEP_FINISH, .reply_to = &box };
    assert_int_equal(mailbox_init(&box, NULL), 0);
    (void)add(&rig, "127.0.0.1", "/200");
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    /* No new descriptor, whatever the other threads open and close meanwhile; a poll() of three works. */
    const struct rlimit full = { .rlim_cur = STDERR_FILENO + 1, .rlim_max = old.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &full), 0);
    service_submit(rig.service, &step, &step);
    wait_results(&rig, 1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    while (!mailbox_wait(&box, -1))
        ;
    mailbox_release(&box);
    struct step_delivered d = result(&rig, 0);
    assert_int_equal(d.state, EVENT_PENDING);
    assert_false(d.attempted);
    assert_in_range(d.next_ms - clock_wall_ms(), 1, 5000);
    rig_down(&rig);
}

/* --- the end --- */

static void a_drain_lets_transfers_end_and_gives_the_rest_back(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, "loopback", false);
    for (int i = 0; i < 8; i++)
        (void)add(&rig, "127.0.0.1", "/slow");
    rig_send(&rig, (struct sender_config){ .per_host = 2, .total_timeout_ms = 5000 });
    assert_true(receiver_wait(rig.receiver, 2));
    sender_drain(rig.sender, 5000);
    service_unpark(rig.service);
    wait_results(&rig, 8);
    sender_stop(rig.sender);
    rig.sender = NULL;
    size_t delivered = 0;
    for (size_t i = 0; i < 8; i++) {
        struct step_delivered d = result(&rig, i);
        delivered += d.state == EVENT_DELIVERED;
        if (d.state != EVENT_DELIVERED) {
            assert_int_equal(d.state, EVENT_PENDING);
            assert_false(d.attempted);
        }
    }
    assert_int_equal(delivered, receiver_count(rig.receiver)); /* all that was begun was ended */
    assert_in_range(delivered, 2, 7);
    assert_int_equal(rig.script->leased, 0);
    rig_down(&rig);
}

static void after_the_grace_transfers_are_given_back(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, "loopback", false);
    (void)add(&rig, "127.0.0.1", "/hang");
    rig_send(&rig, (struct sender_config){ .total_timeout_ms = 60000 });
    assert_true(receiver_wait(rig.receiver, 1));
    int64_t start_ms = clock_mono_ms();
    sender_drain(rig.sender, 50);
    sender_stop(rig.sender);
    rig.sender = NULL;
    assert_in_range(clock_mono_ms() - start_ms, 50, 5000);
    assert_int_equal(count_results(&rig), 1);
    assert_int_equal(result(&rig, 0).state, EVENT_PENDING);
    assert_false(result(&rig, 0).attempted);
    rig_down(&rig);
}

static void an_idle_sender_stops_at_once(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, "loopback", false);
    rig_send(&rig, (struct sender_config){ 0 });
    int64_t start_ms = clock_mono_ms();
    sender_stop(rig.sender);
    rig.sender = NULL;
    assert_true(clock_mono_ms() - start_ms < 1000);
    sender_stop(NULL);
    rig_down(&rig);
}

static void a_store_that_fails_for_a_while_gets_the_result_later(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, "loopback", false);
    (void)add(&rig, "127.0.0.1", "/slow");
    rig_send(&rig, (struct sender_config){ .total_timeout_ms = 5000 });
    assert_true(receiver_wait(rig.receiver, 1));
    (void)pthread_mutex_lock(&rig.script->lock);
    rig.script->broken = true;
    (void)pthread_mutex_unlock(&rig.script->lock);
    struct err why;
    while (service_healthy(rig.service, &why)) /* until the result has met the broken store */
        sched_yield();
    assert_int_equal(count_results(&rig), 0);
    (void)pthread_mutex_lock(&rig.script->lock);
    rig.script->broken = false;
    (void)pthread_mutex_unlock(&rig.script->lock);
    wait_results(&rig, 1);
    assert_int_equal(result(&rig, 0).state, EVENT_DELIVERED);
    assert_int_equal(receiver_count(rig.receiver), 1);
    rig_down(&rig);
}

static void results_that_are_lost_stop_nothing(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, "loopback", false);
    rig.script->forgetful = true; /* no sender yet: no lock */
    for (int i = 0; i < 20; i++)
        (void)add(&rig, "127.0.0.1", "/200");
    rig_send(&rig, (struct sender_config){ .window = 2, .total_timeout_ms = 5000 });
    assert_true(receiver_wait(rig.receiver, 20)); /* more than it could hold, had it kept those */
    rig_down(&rig);
}

/* What it still holds then is left to the store, and never freed: only seen without LeakSanitizer. */
static void a_store_that_never_answers_does_not_stop_the_end(void **state)
{
    (void)state;
    struct rig rig;
    static struct sender *left; /* reachable: no leak, but what the process ends with */
    rig_up(&rig, "loopback", false);
    (void)add(&rig, "127.0.0.1", "/slow");
    rig_send(&rig, (struct sender_config){ .total_timeout_ms = 5000 });
    assert_true(receiver_wait(rig.receiver, 1));
    (void)pthread_mutex_lock(&rig.script->lock);
    rig.script->broken = true;
    (void)pthread_mutex_unlock(&rig.script->lock);
    left = rig.sender;
    int64_t start_ms = clock_mono_ms();
    sender_stop(rig.sender);
    rig.sender = NULL;
    assert_in_range(clock_mono_ms() - start_ms, 1000, 10000);
    assert_non_null(left);
    rig_down(&rig); /* the service answers to a mailbox that must still be there */
}

/* --- over a real store --- */

static enum step_result call(struct service *service, struct step *step)
{
    service_call(service, step);
    return step->result;
}

static void put(struct rig *rig, const char *start_path, const char *end_path, char *ret_id)
{
    char start[128], end[128];
    struct step step = { .kind = STEP_PUT };
    (void)snprintf(start, sizeof(start), "http://127.0.0.1:%u%s", receiver_port(rig->receiver),
                   start_path);
    (void)snprintf(end, sizeof(end), "http://127.0.0.1:%u%s", receiver_port(rig->receiver),
                   end_path);
    step.u.put.path = "x.jpg";
    step.u.put.notifications[NOTIFY_START] = (struct notification){ start, URL_VALID };
    step.u.put.notifications[NOTIFY_SUCCESS] = (struct notification){ end, URL_VALID };
    step.u.put.notifications[NOTIFY_FAILURE] = (struct notification){ end, URL_VALID };
    assert_int_equal(call(rig->service, &step), STEP_DONE);
    strcpy(ret_id, step.u.put.ret_id);
}

/* What a worker does, as fast as it can. */
static void work(struct rig *rig, unsigned n)
{
    for (unsigned i = 0; i < n;) {
        struct step claim = { .kind = STEP_CLAIM, .parkable = true, .u.claim.max = 16 };
        assert_int_equal(call(rig->service, &claim), STEP_DONE);
        for (struct claim *c = claim.u.claim.ret_claims; c; c = c->next, i++) {
            struct step finish = { .kind = STEP_FINISH };
            bool success = c->number % 2 == 0;
            finish.u.finish = (struct step_finish){
                .number = c->number,
                .run = c->run,
                .success = success,
                .errors = success ? NULL : "{\"asset\":[\"is empty\"]}",
                .report = "{}",
            };
            assert_int_equal(call(rig->service, &finish), STEP_DONE);
        }
        claims_free(claim.u.claim.ret_claims);
    }
}

static void wait_delivered(struct store *store, uint64_t n)
{
    struct store_stats stats = { 0 };
    struct err err;
    int64_t until_ms = clock_mono_ms() + WAIT_S * 1000;
    do {
        assert_int_equal(store_stats(store, &stats, &err), 0);
        (void)sched_yield();
    } while (stats.events_by_state[EVENT_DELIVERED] < n && clock_mono_ms() < until_ms);
    assert_int_equal(stats.events_by_state[EVENT_DELIVERED], n);
}

static void over_a_real_store_started_comes_before_the_ending(void **state)
{
    (void)state;
    enum { ASSETS = 60 };
    struct rig rig = { 0 };
    struct store *store;
    struct err err;
    char dir[] = "/tmp/assay-sender-XXXXXX", url[64], command[64], id[ASSETS][ASSET_ID_LEN + 1];
    assert_non_null(mkdtemp(dir));
    (void)snprintf(url, sizeof(url), "sqlite:%s/assay.db", dir);
    const struct store_config config = { .max_queued = 1000 };
    if (store_open(url, &config, &store, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(service_start(store, &rig.service, &err), 0);
    assert_int_equal(policy_new("loopback", NULL, &rig.policy, &err), 0);
    rig.receiver = receiver_start(false);
    rig_send(&rig, (struct sender_config){ .total_timeout_ms = 5000 });
    for (int i = 0; i < ASSETS; i++) /* a third fails the first time, a third takes its time */
        put(&rig, i % 3 == 0 ? "/flaky" : i % 3 == 1 ? "/slow" : "/200", "/200", id[i]);
    work(&rig, ASSETS);
    wait_delivered(store, 2 * ASSETS);

    size_t n = receiver_count(rig.receiver);
    assert_int_equal(n, 2 * ASSETS + ASSETS / 3); /* no attempt more than needed */
    for (int i = 0; i < ASSETS; i++) {
        size_t first_started = n, first_ending = n;
        for (size_t j = n; j-- > 0;) {
            const struct request *r = receiver_request(rig.receiver, j);
            if (!strstr(r->body, id[i]))
                continue;
            *(strstr(r->body, "started") ? &first_started : &first_ending) = j;
        }
        assert_true(first_started < first_ending);
        assert_true(first_ending < n);
        struct asset asset;
        assert_int_equal(store_find(store, id[i], &asset, &err), 1);
        assert_int_equal(asset.deliveries[NOTIFY_START].attempts, i % 3 == 0 ? 2 : 1);
        assert_int_equal(asset.deliveries[NOTIFY_START].http_status, 200);
        asset_release(&asset);
    }
    sender_stop(rig.sender);
    receiver_stop(rig.receiver);
    service_stop(rig.service);
    store_close(store);
    policy_free(rig.policy);
    (void)snprintf(command, sizeof(command), "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_origin_gets_no_more_than_its_share_at_once),
        cmocka_unit_test(memory_is_bounded_whatever_the_backlog),
        cmocka_unit_test(a_receiver_that_never_answers_delays_no_other),
        cmocka_unit_test(black_holes_that_fill_every_lease_delay_nobody_who_answers),
        cmocka_unit_test(without_descriptors_events_are_given_back_untried),
        cmocka_unit_test(a_drain_lets_transfers_end_and_gives_the_rest_back),
        cmocka_unit_test(after_the_grace_transfers_are_given_back),
        cmocka_unit_test(an_idle_sender_stops_at_once),
        cmocka_unit_test(a_store_that_fails_for_a_while_gets_the_result_later),
        cmocka_unit_test(results_that_are_lost_stop_nothing),
        cmocka_unit_test(a_store_that_never_answers_does_not_stop_the_end),
        cmocka_unit_test(over_a_real_store_started_comes_before_the_ending),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
