/* What the sender sends, to whom, and what comes of it. */
#include "test_sender_rig.h"

#include "base/version.h"

/* --- the request --- */

static void a_request_is_what_the_contract_says(void **state)
{
    (void)state;
    struct rig rig;
    char url[256];
    static const char errors[] =
        "{\"asset\":[\"is not a jpeg\"],\"onStart\":[\"caf\xc3\xa9 \\\"\"]}";
    rig_up(&rig, "loopback", false);
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/200?k=v#part",
                   receiver_port(rig.receiver));
    (void)add_to(&rig, url, NOTIFY_START, NULL);
    (void)add_to(&rig, url, NOTIFY_SUCCESS, NULL);
    (void)add_to(&rig, url, NOTIFY_FAILURE, errors);
    int64_t before_s = clock_wall_ms() / 1000;
    rig_send(&rig, (struct sender_config){ .per_host = 1 }); /* one after another */
    wait_results(&rig, 3);
    assert_int_equal(receiver_count(rig.receiver), 3);

    const struct request *r = receiver_request(rig.receiver, 0);
    assert_string_equal(r->path, "/200?k=v");
    assert_string_equal(r->body, "{\"id\":\"0asset\",\"state\":\"started\"}");
    r = receiver_request(rig.receiver, 1);
    assert_string_equal(r->body, "{\"id\":\"1asset\",\"state\":\"success\"}");
    r = receiver_request(rig.receiver, 2);
    char body[512];
    (void)snprintf(body, sizeof(body), "{\"id\":\"2asset\",\"state\":\"failed\",\"errors\":%s}",
                   errors);
    assert_string_equal(r->body, body);

    assert_non_null(strstr(r->head, "POST /200?k=v HTTP/1.1\r\n"));
    assert_non_null(strstr(r->head, "\r\ncontent-type: application/json\r\n"));
    assert_non_null(strcasestr(r->head, "\r\nuser-agent: assay/" ASSAY_VERSION "\r\n"));
    assert_non_null(strstr(r->head, "\r\nwebhook-id: 2asset_1_x\r\n"));
    assert_null(strcasestr(r->head, "expect:"));
    assert_null(strcasestr(r->head, "accept-encoding:"));
    assert_null(strcasestr(r->head, "cookie:"));
    assert_null(strcasestr(r->head, "authorization:"));
    const char *timestamp = strstr(r->head, "\r\nwebhook-timestamp: ");
    assert_non_null(timestamp);
    assert_in_range(strtoll(timestamp + 21, NULL, 10), before_s, clock_wall_ms() / 1000);
    assert_int_equal(receiver_connections(rig.receiver), 1); /* kept */
    rig_down(&rig);
}

/* The value of the request's header of this name, which must be there. */
static const char *field(const struct request *r, const char *name)
{
    static char value[256];
    char start[64];
    (void)snprintf(start, sizeof(start), "\r\n%s: ", name);
    const char *at = strstr(r->head, start);
    assert_non_null(at);
    at += strlen(start);
    size_t len = strcspn(at, "\r");
    assert_true(len < sizeof(value));
    memcpy(value, at, len);
    value[len] = '\0';
    return value;
}

static void every_attempt_is_signed_with_every_key(void **state)
{
    (void)state;
    static const char new[] = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    static const char old[] = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    struct rig rig;
    struct err err;
    struct signer *signer, *receivers[2];
    char secrets[256];
    (void)snprintf(secrets, sizeof(secrets), "%s\n%s\n", new, old);
    assert_int_equal(signer_new(secrets, &signer, &err), 0);
    assert_int_equal(signer_new(new, &receivers[0], &err), 0);
    assert_int_equal(signer_new(old, &receivers[1], &err), 0);
    rig_up(&rig, "loopback", false);
    (void)add(&rig, "127.0.0.1", "/flaky");
    rig_send(&rig, (struct sender_config){ .signer = signer });
    wait_results(&rig, 2);
    for (size_t i = 0; i < 2; i++) {
        const struct request *r = receiver_request(rig.receiver, i);
        char id[64], timestamp[64];
        strcpy(id, field(r, "webhook-id"));
        strcpy(timestamp, field(r, "webhook-timestamp"));
        const char *signatures = field(r, "webhook-signature");
        for (size_t k = 0; k < 2; k++)
            assert_int_equal(signature_check(receivers[k], id, timestamp, signatures, r->body,
                                             strlen(r->body), clock_wall_ms() / 1000),
                             SIGNATURE_GOOD);
    }
    rig_down(&rig);
    signer_free(signer);
    signer_free(receivers[0]);
    signer_free(receivers[1]);
}

/* --- what came of it --- */

static void the_beginning_of_the_answer_is_kept(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, "loopback", false);
    (void)add(&rig, "127.0.0.1", "/cut");
    (void)add(&rig, "127.0.0.1", "/endless500");
    (void)add(&rig, "127.0.0.1", "/204");
    rig_send(&rig, (struct sender_config){ .delays_ms = { 3600 * 1000 }, .n_delays = 1 });
    wait_results(&rig, 3);
    for (size_t i = 0; i < 3; i++) {
        struct step_delivered d = result(&rig, i);
        static const size_t lens[] = { 3, ANSWER_MAX, 0 };
        assert_int_equal(d.answer_len, lens[d.key]);
        assert_int_equal(rig.script->answers[i] != NULL, d.answer_len > 0);
    }
    rig_down(&rig);
}

/* Ten events for an origin that answers 500 to all; then its breaker is open. */
static void trip_breaker(struct rig *rig, int64_t open_ms)
{
    const struct breaker_rule rule = { .least_attempts = 10, .percent = 70, .open_ms = open_ms };
    for (int i = 0; i < 10; i++)
        (void)add(rig, "127.0.0.1", "/500");
    rig_send(rig, (struct sender_config){
                      .delays_ms = { 3600 * 1000 }, .n_delays = 1, .breaker = &rule });
    wait_results(rig, 10);
}

static void an_open_breaker_gives_events_back_untried(void **state)
{
    (void)state;
    struct rig rig;
    struct sender_stats stats;
    struct sender_breaker breakers[SENDER_BREAKERS_MAX];
    rig_up(&rig, "loopback", false);
    trip_breaker(&rig, 30 * 1000);
    int64_t now_ms = clock_wall_ms();
    for (int i = 0; i < 5; i++)
        (void)add(&rig, "127.0.0.1", "/200");
    (void)add(&rig, "localhost", "/200"); /* another origin */
    stir(&rig);
    wait_results(&rig, 16);
    for (size_t i = 10; i < 16; i++) {
        struct step_delivered d = result(&rig, i);
        if (d.key == 15) {
            assert_int_equal(d.state, EVENT_DELIVERED);
            continue;
        }
        assert_int_equal(d.state, EVENT_PENDING);
        assert_false(d.attempted);
        assert_in_range(d.next_ms - now_ms, 29 * 1000 - WAIT_S * 1000, 31 * 1000);
    }
    assert_int_equal(receiver_count(rig.receiver), 11);
    sender_stats(rig.sender, &stats);
    assert_int_equal(stats.breaker_trips, 1);
    assert_int_equal(stats.breakers[BREAKER_OPEN], 1);
    assert_int_equal(sender_breakers(rig.sender, breakers), 1);
    assert_int_equal(breakers[0].state, BREAKER_OPEN);
    assert_int_equal(breakers[0].failed, 10);
    assert_non_null(strstr(breakers[0].origin, "http://127.0.0.1:"));
    assert_in_range(breakers[0].half_open_ms - now_ms, 30000 - WAIT_S * 1000, 30000);
    rig_down(&rig);
}

static void a_probe_that_succeeds_lets_all_others_through(void **state)
{
    (void)state;
    struct rig rig;
    struct sender_stats stats;
    rig_up(&rig, "loopback", false);
    trip_breaker(&rig, 50);
    for (int i = 0; i < 20; i++)
        (void)add(&rig, "127.0.0.1", "/200");
    stir(&rig);
    size_t delivered = 0;
    for (size_t i = 10; delivered < 20; i++) {
        wait_results(&rig, i + 1);
        delivered += result(&rig, i).state == EVENT_DELIVERED;
    }
    assert_int_equal(receiver_count(rig.receiver), 30);
    sender_stats(rig.sender, &stats);
    assert_int_equal(stats.breaker_trips, 1);
    assert_int_equal(stats.breakers[BREAKER_OPEN] + stats.breakers[BREAKER_HALF_OPEN], 0);
    rig_down(&rig);
}

static void a_probe_that_fails_is_the_only_attempt(void **state)
{
    (void)state;
    struct rig rig;
    struct sender_stats stats;
    rig_up(&rig, "loopback", false);
    trip_breaker(&rig, 200);
    for (int i = 0; i < 20; i++)
        (void)add(&rig, "127.0.0.1", "/500");
    stir(&rig);
    size_t probes = 0;
    for (size_t i = 10; probes < 2; i++) {
        wait_results(&rig, i + 1);
        probes += result(&rig, i).attempted;
    }
    assert_int_equal(receiver_count(rig.receiver), 12);
    sender_stats(rig.sender, &stats);
    assert_int_equal(stats.breaker_trips, 3);
    rig_down(&rig);
}

static void what_our_policy_refuses_opens_no_breaker(void **state)
{
    (void)state;
    struct rig rig;
    struct sender_stats stats;
    rig_up(&rig, "public", false);
    for (int i = 0; i < 20; i++)
        (void)add(&rig, "localhost", "/200");
    rig_send(&rig, (struct sender_config){ 0 });
    wait_results(&rig, 20);
    for (size_t i = 0; i < 20; i++)
        assert_true(result(&rig, i).attempted);
    sender_stats(rig.sender, &stats);
    assert_int_equal(stats.dead[0], 20);
    assert_int_equal(stats.breaker_trips, 0);
    rig_down(&rig);
}

static const struct {
    const char *path;
    enum event_state state;
    int status;
    const char *error;
} answers[] = {
    { "/200", EVENT_DELIVERED, 200, NULL },
    { "/204", EVENT_DELIVERED, 204, NULL },
    { "/201", EVENT_DELIVERED, 201, NULL },
    { "/500", EVENT_PENDING, 500, "status" },
    { "/404", EVENT_PENDING, 404, "status" },
    { "/302", EVENT_PENDING, 302, "status" },
    { "/410", EVENT_DEAD, 410, "status" },
    { "/busy", EVENT_PENDING, 503, "status" },
    { "/early", EVENT_PENDING, 500, "status" },
    { "/hang", EVENT_PENDING, 0, "timeout" },
    { "/drip", EVENT_DELIVERED, 200, NULL }, /* the status decides */
    { "/dripheader", EVENT_PENDING, 0, "timeout" },
    { "/endless", EVENT_DELIVERED, 200, NULL },
    { "/endless500", EVENT_PENDING, 500, "status" },
    { "/cut", EVENT_DELIVERED, 200, NULL },
    { "/trailer", EVENT_DELIVERED, 200, NULL },
    { "/continue", EVENT_PENDING, 0, "too_large" },
    { "/hugeheader", EVENT_PENDING, 0, "too_large" },
    { "/hugeline", EVENT_PENDING, 0, "too_large" },
    { "/reset", EVENT_PENDING, 0, "reset" },
    { "/garbage", EVENT_PENDING, 0, "protocol" },
};

static void every_answer_has_its_result(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, "loopback", false);
    for (size_t i = 0; i < ARRAY_LEN(answers); i++)
        (void)add(&rig, "127.0.0.1", answers[i].path);
    int64_t now_ms = clock_wall_ms();
    rig_send(&rig,
             (struct sender_config){ .delays_ms = { 3600 * 1000 }, .n_delays = 1, .per_host = 4 });
    wait_results(&rig, ARRAY_LEN(answers));
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        struct step_delivered d = result(&rig, i);
        const char *word = answers[d.key].error;
        if (d.state != answers[d.key].state || d.http_status != answers[d.key].status ||
            (word ? !d.error || strcmp(word, d.error) != 0 : d.error != NULL))
            fail_msg("%s: state %d, status %d, %s", answers[d.key].path, (int)d.state,
                     d.http_status, d.error ? d.error : "no error");
        assert_true(d.attempted);
        assert_in_range(d.duration_ms, 0, 2000);
        if (d.state == EVENT_PENDING) /* an hour ± 20 % */
            assert_in_range(d.next_ms - now_ms, 2880 * 1000, 4320 * 1000 + WAIT_S * 1000);
    }
    assert_int_equal(receiver_count(rig.receiver),
                     ARRAY_LEN(answers)); /* no redirect was followed */
    struct sender_stats stats;
    sender_stats(rig.sender, &stats);
    assert_int_equal(stats.delivered[0] + stats.failed[0] + stats.dead[0], ARRAY_LEN(answers));
    assert_int_equal(stats.dead[0], 1);
    assert_int_equal(stats.delivered[0], 7);
    assert_int_equal(stats.in_flight, 0);
    rig_down(&rig);
}

static void retry_after_is_obeyed(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, "loopback", false);
    (void)add(&rig, "127.0.0.1", "/busy");
    int64_t now_ms = clock_wall_ms();
    rig_send(&rig, (struct sender_config){ 0 });
    wait_results(&rig, 1);
    assert_in_range(result(&rig, 0).next_ms - now_ms, 7000, 7000 + WAIT_S * 1000);
    rig_down(&rig);
}

static void retry_after_of_an_informational_answer_means_nothing(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, "loopback", false);
    (void)add(&rig, "127.0.0.1", "/early");
    int64_t now_ms = clock_wall_ms();
    rig_send(&rig, (struct sender_config){ 0 });
    wait_results(&rig, 1);
    assert_true(result(&rig, 0).next_ms - now_ms < 9000);
    rig_down(&rig);
}

static void endless_answers_are_cut_long_before_their_time(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, "loopback", false);
    (void)add(&rig, "127.0.0.1", "/endless");
    (void)add(&rig, "127.0.0.1", "/continue");
    rig_send(&rig, (struct sender_config){
                       .delays_ms = { 3600 * 1000 }, .n_delays = 1, .total_timeout_ms = 120000 });
    wait_results(&rig, 2);
    rig_down(&rig);
}

static void what_fails_is_tried_again_then_dead(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, "loopback", false);
    (void)add(&rig, "127.0.0.1", "/500");
    rig_send(&rig, (struct sender_config){ .delays_ms = { 10, 20, 30 }, .n_delays = 3 });
    wait_results(&rig, 4);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(result(&rig, i).state, i < 3 ? EVENT_PENDING : EVENT_DEAD);
    assert_int_equal(receiver_count(rig.receiver), 4);
    for (size_t i = 1; i < 4; i++) /* the pauses, less jitter */
        assert_true(receiver_request(rig.receiver, i)->at_us -
                        receiver_request(rig.receiver, i - 1)->at_us >=
                    (int64_t)i * 10 * 800 - 1000);
    rig_down(&rig);
}

static void what_succeeds_later_is_delivered_with_the_same_id(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, "loopback", false);
    (void)add(&rig, "127.0.0.1", "/flaky");
    rig_send(&rig, (struct sender_config){ 0 });
    wait_results(&rig, 2);
    assert_int_equal(result(&rig, 0).state, EVENT_PENDING);
    assert_int_equal(result(&rig, 1).state, EVENT_DELIVERED);
    rig_down(&rig);
}

static void closed_ports_and_unknown_names_are_told_apart(void **state)
{
    (void)state;
    struct rig rig;
    char url[64];
    rig_up(&rig, "loopback", false);
    struct receiver *gone = receiver_start(false);
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/", receiver_port(gone));
    receiver_stop(gone);
    (void)add_to(&rig, url, NOTIFY_START, NULL);
    (void)add_to(&rig, "http://name.invalid/", NOTIFY_START, NULL);
    rig_send(&rig, (struct sender_config){ .delays_ms = { 3600 * 1000 }, .n_delays = 1 });
    wait_results(&rig, 2);
    for (size_t i = 0; i < 2; i++) {
        struct step_delivered d = result(&rig, i);
        assert_int_equal(d.state, EVENT_PENDING);
        if (d.key == 0)
            assert_string_equal(d.error, "refused");
        if (d.key == 1) /* without a name server the question itself may time out */
            assert_true(strcmp(d.error, "dns") == 0 || strcmp(d.error, "timeout") == 0);
    }
    rig_down(&rig);
}

/* --- where it may go --- */

static void addresses_that_are_refused_are_final(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, "public", false);
    (void)add(&rig, "127.0.0.1", "/200");
    (void)add(&rig, "localhost", "/200"); /* decided when resolved */
    (void)add_to(&rig, "http://169.254.169.254/latest/meta-data", NOTIFY_START, NULL);
    (void)add_to(&rig, "http://[::ffff:127.0.0.1]:9000/", NOTIFY_START, NULL);
    (void)add_to(&rig, "http://127.0.0.1:6379/", NOTIFY_START, NULL);
    (void)add_to(&rig, "http://0.0.0.0:9000/", NOTIFY_START, NULL);
    rig_send(&rig, (struct sender_config){ 0 });
    wait_results(&rig, 6);
    for (size_t i = 0; i < 6; i++) {
        struct step_delivered d = result(&rig, i);
        assert_int_equal(d.state, EVENT_DEAD);
        assert_string_equal(d.error, "disallowed");
        assert_int_equal(d.http_status, 0);
    }
    assert_int_equal(receiver_connections(rig.receiver), 0);
    rig_down(&rig);
}

/* localhost has two addresses, [::1] and 127.0.0.1. */
static void of_two_addresses_the_allowed_one_is_used(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, "127.0.0.1", false);
    (void)add(&rig, "localhost", "/200");
    rig_send(&rig, (struct sender_config){ 0 });
    wait_results(&rig, 1);
    assert_int_equal(result(&rig, 0).state, EVENT_DELIVERED);
    rig_down(&rig);
}

static void a_failure_at_the_allowed_one_of_two_is_tried_again(void **state)
{
    (void)state;
    struct rig rig;
    char url[64];
    rig_up(&rig, "127.0.0.1", false);
    struct receiver *gone = receiver_start(false);
    (void)snprintf(url, sizeof(url), "http://localhost:%u/", receiver_port(gone));
    receiver_stop(gone);
    (void)add_to(&rig, url, NOTIFY_START, NULL);
    rig_send(&rig, (struct sender_config){ 0 });
    wait_results(&rig, 1);
    assert_int_equal(result(&rig, 0).state, EVENT_PENDING);
    assert_string_equal(result(&rig, 0).error, "refused");
    rig_down(&rig);
}

static void a_proxy_of_the_environment_is_not_used(void **state)
{
    (void)state;
    struct rig rig;
    char proxy[64];
    rig_up(&rig, "loopback", false);
    struct receiver *trap = receiver_start(false);
    (void)snprintf(proxy, sizeof(proxy), "http://127.0.0.1:%u", receiver_port(trap));
    static const char *const names[] = { "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_int_equal(setenv(names[i], proxy, 1), 0);
    (void)add(&rig, "127.0.0.1", "/200");
    rig_send(&rig, (struct sender_config){ 0 });
    wait_results(&rig, 1);
    assert_int_equal(result(&rig, 0).state, EVENT_DELIVERED);
    assert_int_equal(receiver_connections(trap), 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_int_equal(unsetenv(names[i]), 0);
    receiver_stop(trap);
    rig_down(&rig);
}

static void events_of_an_earlier_set_up_end_unsent(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, "none", false);
    (void)add(&rig, "127.0.0.1", "/200");
    rig_send(&rig, (struct sender_config){ 0 });
    wait_results(&rig, 1);
    assert_int_equal(result(&rig, 0).state, EVENT_OFF);
    assert_false(result(&rig, 0).attempted);
    rig_down(&rig);

    rig_up(&rig, "loopback", false);
    (void)add_to(&rig, "http://h/{no longer valid}", NOTIFY_START, NULL);
    rig_send(&rig, (struct sender_config){ 0 });
    wait_results(&rig, 1);
    assert_int_equal(result(&rig, 0).state, EVENT_DEAD);
    assert_string_equal(result(&rig, 0).error, "invalid_url");
    rig_down(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_what_the_contract_says),
        cmocka_unit_test(every_attempt_is_signed_with_every_key),
        cmocka_unit_test(the_beginning_of_the_answer_is_kept),
        cmocka_unit_test(an_open_breaker_gives_events_back_untried),
        cmocka_unit_test(a_probe_that_succeeds_lets_all_others_through),
        cmocka_unit_test(a_probe_that_fails_is_the_only_attempt),
        cmocka_unit_test(what_our_policy_refuses_opens_no_breaker),
        cmocka_unit_test(every_answer_has_its_result),
        cmocka_unit_test(retry_after_is_obeyed),
        cmocka_unit_test(retry_after_of_an_informational_answer_means_nothing),
        cmocka_unit_test(endless_answers_are_cut_long_before_their_time),
        cmocka_unit_test(what_fails_is_tried_again_then_dead),
        cmocka_unit_test(what_succeeds_later_is_delivered_with_the_same_id),
        cmocka_unit_test(closed_ports_and_unknown_names_are_told_apart),
        cmocka_unit_test(addresses_that_are_refused_are_final),
        cmocka_unit_test(of_two_addresses_the_allowed_one_is_used),
        cmocka_unit_test(a_failure_at_the_allowed_one_of_two_is_tried_again),
        cmocka_unit_test(a_proxy_of_the_environment_is_not_used),
        cmocka_unit_test(events_of_an_earlier_set_up_end_unsent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
