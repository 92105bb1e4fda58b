/* The sender whole: a real store thread over a scripted store, libcurl, and receivers on loopback that
 * answer well, badly or not at all. One test runs it over a SQLite store. Nothing sleeps: what waits,
 * waits for an event with a deadline. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/version.h"
#include "support/receiver.h"
#include "webhook/sender.h"

enum { WAIT_S = 20, MAX_EVENTS = 4096 };

/* --- a store that holds events in an array, and remembers what was reported of them --- */

struct scripted {
    char url[512];
    char *errors;
    enum notify notify;
    unsigned attempts;
    int64_t due_ms, lease_until_ms; /* 0: not leased */
    bool over;
};

struct script {
    struct store base;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct scripted events[MAX_EVENTS];
    size_t n_events;
    struct step_delivered results[MAX_EVENTS]; /* in the order in which they were reported */
    size_t n_results;
    unsigned most_leased, leased;
    int64_t lease_ms;
    bool broken; /* every batch fails */
};

static void script_lease(struct script *s, struct step_lease *lease, struct step *step,
                         int64_t now_ms)
{
    struct event **end = &lease->ret_events;
    step->result = STEP_NOTHING;
    lease->ret_next_ms = 0;
    s->lease_ms = lease->lease_ms;
    unsigned n = 0;
    for (size_t i = 0; i < s->n_events && n < lease->max; i++) {
        struct scripted *e = &s->events[i];
        if (e->over || e->lease_until_ms > now_ms)
            continue;
        if (e->due_ms > now_ms) {
            if (!lease->ret_next_ms || e->due_ms < lease->ret_next_ms)
                lease->ret_next_ms = e->due_ms;
            continue;
        }
        struct event *event = calloc(1, sizeof(*event));
        event->key = i;
        event->notify = e->notify;
        event->attempts = e->attempts;
        (void)snprintf(event->asset_id, sizeof(event->asset_id), "%zuasset", i);
        (void)snprintf(event->webhook_id, sizeof(event->webhook_id), "%zuasset_1_x", i);
        event->url = strdup(e->url);
        event->errors = e->errors ? strdup(e->errors) : NULL;
        e->lease_until_ms = now_ms + lease->lease_ms;
        s->leased++;
        n++;
        *end = event;
        end = &event->next;
        step->result = STEP_DONE;
    }
    *end = NULL;
    if (s->leased > s->most_leased)
        s->most_leased = s->leased;
}

static void script_deliver(struct script *s, const struct step_delivered *d, struct step *step)
{
    struct scripted *e = &s->events[d->key];
    step->result = e->lease_until_ms ? STEP_DONE : STEP_LOST;
    if (step->result == STEP_LOST)
        return;
    e->lease_until_ms = 0;
    e->over = d->state != EVENT_PENDING;
    e->due_ms = d->next_ms;
    e->attempts += d->attempted;
    s->leased--;
    if (s->n_results < MAX_EVENTS)
        s->results[s->n_results++] = *d;
}

static int script_apply(struct store *store, struct step *steps[], size_t n, int64_t now_ms,
                        struct err *err)
{
    struct script *s = (struct script *)store;
    (void)pthread_mutex_lock(&s->lock);
    bool broken = s->broken;
    for (size_t i = 0; i < n && !broken; i++) {
        if (steps[i]->kind == STEP_LEASE)
            script_lease(s, &steps[i]->u.lease, steps[i], now_ms);
        else if (steps[i]->kind == STEP_DELIVERED)
            script_deliver(s, &steps[i]->u.delivered, steps[i]);
        else
            steps[i]->result = STEP_DONE; /* a PUT: something may have come */
    }
    (void)pthread_cond_broadcast(&s->changed);
    (void)pthread_mutex_unlock(&s->lock);
    return broken ? err_set(err, ERR_IO, "scripted") : 0;
}

static const struct store_ops script_ops = { .scheme = "script", .apply = script_apply };

/* --- the rig: everything a sender needs --- */

struct rig {
    struct script *script;
    struct service *service;
    struct policy *policy;
    struct receiver *receiver;
    struct sender *sender;
};

static void rig_up(struct rig *rig, const char *allow, bool v6)
{
    struct err err;
    *rig = (struct rig){ 0 };
    rig->script = calloc(1, sizeof(*rig->script));
    assert_non_null(rig->script);
    rig->script->base.ops = &script_ops;
    (void)pthread_mutex_init(&rig->script->lock, NULL);
    (void)pthread_cond_init(&rig->script->changed, NULL);
    assert_int_equal(policy_new(allow, NULL, &rig->policy, &err), 0);
    assert_int_equal(service_start(&rig->script->base, &rig->service, &err), 0);
    rig->receiver = receiver_start(v6);
}

/* A sender whose time-outs and pauses are short. */
static void rig_send(struct rig *rig, struct sender_config config)
{
    struct err err;
    if (!config.total_timeout_ms)
        config.total_timeout_ms = 300;
    if (!config.n_delays) {
        config.n_delays = 2;
        config.delays_ms[0] = config.delays_ms[1] = 10;
    }
    if (sender_start(rig->service, rig->policy, &config, &rig->sender, &err) < 0)
        fail_msg("%s", err.msg);
}

static void rig_down(struct rig *rig)
{
    sender_stop(rig->sender);
    receiver_stop(rig->receiver); /* those who hang end here, not before */
    service_stop(rig->service);
    policy_free(rig->policy);
    for (size_t i = 0; i < rig->script->n_events; i++)
        free(rig->script->events[i].errors);
    (void)pthread_cond_destroy(&rig->script->changed);
    (void)pthread_mutex_destroy(&rig->script->lock);
    free(rig->script);
}

static size_t add_to(struct rig *rig, const char *url, enum notify notify, const char *errors)
{
    struct script *s = rig->script;
    (void)pthread_mutex_lock(&s->lock);
    size_t i = s->n_events++;
    struct scripted *e = &s->events[i];
    (void)snprintf(e->url, sizeof(e->url), "%s", url);
    e->notify = notify;
    e->errors = errors ? strdup(errors) : NULL;
    (void)pthread_mutex_unlock(&s->lock);
    return i;
}

/* An event for the receiver at this host ("127.0.0.1", "localhost", …) and path. */
static size_t add(struct rig *rig, const char *host, const char *path)
{
    char url[256];
    (void)snprintf(url, sizeof(url), "http://%s:%u%s", host, receiver_port(rig->receiver), path);
    return add_to(rig, url, NOTIFY_START, NULL);
}

/* Until that many results were reported. */
static void wait_results(struct rig *rig, size_t n)
{
    struct script *s = rig->script;
    struct timespec deadline;
    int rc = 0;
    (void)clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += WAIT_S;
    (void)pthread_mutex_lock(&s->lock);
    while (s->n_results < n && rc == 0)
        rc = pthread_cond_timedwait(&s->changed, &s->lock, &deadline);
    size_t got = s->n_results;
    (void)pthread_mutex_unlock(&s->lock);
    if (got < n)
        fail_msg("%zu of %zu results", got, n);
}

static struct step_delivered result(struct rig *rig, size_t i)
{
    (void)pthread_mutex_lock(&rig->script->lock);
    assert_true(i < rig->script->n_results);
    struct step_delivered d = rig->script->results[i];
    (void)pthread_mutex_unlock(&rig->script->lock);
    return d;
}

static size_t count_results(struct rig *rig)
{
    (void)pthread_mutex_lock(&rig->script->lock);
    size_t n = rig->script->n_results;
    (void)pthread_mutex_unlock(&rig->script->lock);
    return n;
}

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

/* --- what came of it --- */

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
    rig_send(&rig, (struct sender_config){ .delays_ms = { 3600 * 1000 }, .n_delays = 1 });
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

static void a_closed_port_is_refused(void **state)
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
    (void)snprintf(url, sizeof(url), "https://127.0.0.1:%u/200", receiver_port(rig.receiver));
    (void)add_to(&rig, url, NOTIFY_START, NULL);
    rig_send(&rig, (struct sender_config){ .delays_ms = { 3600 * 1000 }, .n_delays = 1 });
    wait_results(&rig, 3);
    for (size_t i = 0; i < 3; i++) {
        struct step_delivered d = result(&rig, i);
        assert_int_equal(d.state, EVENT_PENDING);
        if (d.key == 0)
            assert_string_equal(d.error, "refused");
        if (d.key == 1) /* without a name server the question itself may time out */
            assert_true(strcmp(d.error, "dns") == 0 || strcmp(d.error, "timeout") == 0);
        if (d.key == 2) /* that receiver speaks no TLS */
            assert_true(strcmp(d.error, "tls") == 0 || strcmp(d.error, "timeout") == 0);
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

/* libcurl knows two addresses of localhost, [::1] and 127.0.0.1. */
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
    assert_int_equal(result(&rig, 0).state, EVENT_DEAD);
    assert_string_equal(result(&rig, 0).error, "disallowed");
    rig_down(&rig);

    rig_up(&rig, "loopback", false);
    (void)add_to(&rig, "http://h/{no longer valid}", NOTIFY_START, NULL);
    rig_send(&rig, (struct sender_config){ 0 });
    wait_results(&rig, 1);
    assert_int_equal(result(&rig, 0).state, EVENT_DEAD);
    assert_string_equal(result(&rig, 0).error, "invalid_url");
    rig_down(&rig);
}

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
    rig_send(&rig, (struct sender_config){ .window = 8, .total_timeout_ms = 5000 });
    size_t n = 1000, delivered = 0;
    wait_results(&rig, n);
    for (size_t i = 0; i < n; i++)
        delivered += result(&rig, i).state == EVENT_DELIVERED;
    assert_int_equal(delivered, n); /* none was given back: this receiver is fast */
    assert_true(rig.script->most_leased <= 32);
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
    int lowest_free = dup(STDERR_FILENO);
    assert_true(lowest_free >= 0);
    (void)close(lowest_free);
    const struct rlimit full = { .rlim_cur = (rlim_t)lowest_free, .rlim_max = old.rlim_max };
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
        cmocka_unit_test(a_request_is_what_the_contract_says),
        cmocka_unit_test(every_answer_has_its_result),
        cmocka_unit_test(retry_after_is_obeyed),
        cmocka_unit_test(what_fails_is_tried_again_then_dead),
        cmocka_unit_test(what_succeeds_later_is_delivered_with_the_same_id),
        cmocka_unit_test(a_closed_port_is_refused),
        cmocka_unit_test(addresses_that_are_refused_are_final),
        cmocka_unit_test(of_two_addresses_the_allowed_one_is_used),
        cmocka_unit_test(a_failure_at_the_allowed_one_of_two_is_tried_again),
        cmocka_unit_test(a_proxy_of_the_environment_is_not_used),
        cmocka_unit_test(events_of_an_earlier_set_up_end_unsent),
        cmocka_unit_test(one_origin_gets_no_more_than_its_share_at_once),
        cmocka_unit_test(memory_is_bounded_whatever_the_backlog),
        cmocka_unit_test(a_receiver_that_never_answers_delays_no_other),
        cmocka_unit_test(without_descriptors_events_are_given_back_untried),
        cmocka_unit_test(a_drain_lets_transfers_end_and_gives_the_rest_back),
        cmocka_unit_test(after_the_grace_transfers_are_given_back),
        cmocka_unit_test(an_idle_sender_stops_at_once),
        cmocka_unit_test(a_store_that_fails_for_a_while_gets_the_result_later),
        cmocka_unit_test(a_store_that_never_answers_does_not_stop_the_end),
        cmocka_unit_test(over_a_real_store_started_comes_before_the_ending),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
