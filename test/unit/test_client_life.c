/* How calls of the client end that nobody answers: by time, by who began them, or because something is lacking. */
#include "test_client_rig.h"

#include <sys/resource.h>

#include "support/emulated.h"

enum { SHORT_MS = 300, TOTAL_MS = 1000, LONG_MS = 60000, MANY = 100 };

static void url_of(char url[static 64], const char *scheme, const struct listener *l)
{
    (void)snprintf(url, 64, "%s://127.0.0.1:%u/", scheme, l->port);
}

/* It ended at its time: not before, and not never. */
static void timed_out(const struct call *call, int after_ms)
{
    assert_int_equal(call->error, CLIENT_TIMEOUT);
    assert_in_range(call->ended_us, (after_ms - 5) * 1000, WAIT_S * 1000000);
}

static void an_address_that_is_silent_costs_the_connect_time(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig,
           &(struct client_config){ .connect_timeout_ms = SHORT_MS, .total_timeout_ms = LONG_MS });
    struct silent silent = fall_silent("127.0.0.2", 0);
    begin_at(&rig, "127.0.0.2", silent.listener.port);
    assert_int_equal(rig.call.state, CALL_CONNECTS);
    ends_with(&rig, CLIENT_TIMEOUT, 0);
    timed_out(&rig.call, SHORT_MS);
    assert_true(rig.call.resolved_us >= 0);
    assert_int_equal(rig.call.connected_us, -1);
    silent_stop(&silent);
    rig_down(&rig);
}

static void so_does_a_server_that_is_silent_on_tls(void **state)
{
    (void)state;
    struct rig rig;
    char url[64];
    rig_up(&rig,
           &(struct client_config){ .connect_timeout_ms = SHORT_MS, .total_timeout_ms = LONG_MS });
    url_of(url, "https", &rig.server);
    begin_body(&rig, &rig.call, url, NULL, 0);
    int fd = take(&rig);
    ends_with(&rig, CLIENT_TIMEOUT, 0);
    timed_out(&rig.call, SHORT_MS);
    assert_true(rig.call.connected_us >= 0);
    assert_int_equal(rig.call.secured_us, -1);
    is_left(&rig, fd);
    rig_down(&rig);
}

static void a_server_that_never_answers_costs_the_total_time(void **state)
{
    (void)state;
    /* nothing, not all of a header, informational ones, half a body, too little to an end */
    static const struct {
        const char *said, *again;
        int status;
    } rows[] = {
        { "", "", 0 },
        { "HTTP/1.1 200 OK\r\nX: ", "y", 0 },
        { "", "HTTP/1.1 103 Early Hints\r\n\r\n", 0 },
        { "HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", "b", 200 },
        { "HTTP/1.1 200 OK\r\n\r\n", "b", 200 },
    };
    struct rig rig;
    rig_up(&rig, &(struct client_config){ .total_timeout_ms = TOTAL_MS });
    for (size_t i = 0; i <= ARRAY_LEN(rows); i++) {
        int fd = i == ARRAY_LEN(rows) ? exchange_kept(&rig) : -1;
        begin(&rig);
        fd = fd >= 0 ? fd : take(&rig);
        (void)hear(&rig, fd);
        say(fd, rows[i % ARRAY_LEN(rows)].said);
        look_around(&rig);
        for (int n = 0; rig.call.state != CALL_ENDED; n++) {
            if (n < 400 && is_quiet(fd))
                say(fd, rows[i % ARRAY_LEN(rows)].again); /* it is about to say more, always */
            turn(&rig);
        }
        ends_with(&rig, CLIENT_TIMEOUT, rows[i % ARRAY_LEN(rows)].status);
        timed_out(&rig.call, TOTAL_MS);
        assert_true(rig.call.sent_us >= 0);
        is_left(&rig, fd);
        assert_true(nobody_comes(&rig)); /* nor is it tried again */
    }
    rig_down(&rig);
}

static void a_server_that_reads_nothing_costs_the_total_time(void **state)
{
    (void)state;
    struct rig rig;
    char url[64];
    CLEANUP(freep) char *body = large_body();
    rig_up(&rig, &(struct client_config){ .total_timeout_ms = SHORT_MS });
    url_of(url, "http", &rig.server);
    begin_body(&rig, &rig.call, url, body, LARGE);
    int fd = take(&rig);
    ends_with(&rig, CLIENT_TIMEOUT, 0);
    timed_out(&rig.call, SHORT_MS);
    assert_int_equal(rig.call.sent_us, -1);
    is_left(&rig, fd);
    rig_down(&rig);
}

/* One of three never connects, one is never secured, one never answers. */
static void many_end_each_at_its_time(void **state)
{
    (void)state;
    struct rig rig;
    char silent_url[64], plain_url[64], secure_url[64];
    rig_up(&rig, &(struct client_config){ .connect_timeout_ms = SHORT_MS,
                                          .total_timeout_ms = 2 * SHORT_MS });
    struct silent silent = fall_silent("127.0.0.1", 0);
    url_of(silent_url, "http", &silent.listener);
    url_of(plain_url, "http", &rig.server);
    url_of(secure_url, "https", &rig.server);
    const char *const urls[] = { silent_url, secure_url, plain_url };
    struct call calls[MANY], *call;
    for (int i = 0; i < MANY; i++) {
        call_init(&calls[i], MAX_REQUEST, NULL, 0);
        begin_body(&rig, &calls[i], urls[i % 3], "hi", 2);
    }
    for (int i = 0; i < MANY; i++) {
        UNTIL(&rig, (call = client_ended(rig.client)) != NULL);
        int kind = (int)(call - calls) % 3;
        timed_out(call, SHORT_MS);
        if (kind == 2) {
            assert_true(call->sent_us >= 0);
            assert_true(call->ended_us >= (2 * SHORT_MS - 5) * 1000);
        } else {
            assert_int_equal(call->connected_us < 0, kind == 0);
            assert_int_equal(call->sent_us, -1);
        }
    }
    for (int i = 0; i < MANY; i++)
        call_release(&calls[i]);
    silent_stop(&silent);
    rig_down(&rig);
}

/* --- given up --- */

/* What a call that was cancelled leaves: nothing. The same memory is good for the next one. */
static void is_as_new(struct rig *rig)
{
    assert_int_equal(rig->call.state, CALL_RESTS);
    look_around(rig);
    assert_null(client_ended(rig->client));
    int fd;
    while ((fd = accept4(rig->server.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
        is_left(rig, fd); /* it had come to a connection */
    hang_up(exchange_kept(rig));
    look_around(rig);
}

static void a_call_can_be_given_up_in_every_state(void **state)
{
    (void)state;
    struct rig rig;
    char url[64];
    CLEANUP(freep) char *body = large_body();
    rig_up(&rig, &(struct client_config){ 0 });

    client_cancel(rig.client, &rig.call); /* at rest */
    is_as_new(&rig);

    struct silent silent = fall_silent("127.0.0.2", 0);
    begin_at(&rig, "127.0.0.2", silent.listener.port);
    assert_int_equal(rig.call.state, CALL_CONNECTS);
    client_cancel(rig.client, &rig.call);
    is_as_new(&rig);
    silent_stop(&silent);

    url_of(url, "https", &rig.server);
    begin_body(&rig, &rig.call, url, NULL, 0);
    UNTIL(&rig, rig.call.state == CALL_SECURES);
    client_cancel(rig.client, &rig.call);
    is_as_new(&rig);

    url_of(url, "http", &rig.server);
    begin_body(&rig, &rig.call, url, body, LARGE);
    UNTIL(&rig, rig.call.state == CALL_SENDS);
    client_cancel(rig.client, &rig.call);
    is_as_new(&rig);

    begin(&rig);
    UNTIL(&rig, rig.call.state == CALL_READS);
    client_cancel(rig.client, &rig.call);
    is_as_new(&rig);

    int fd = exchange_kept(&rig);
    begin(&rig); /* over a kept one, which is kept no more: its answer may still come */
    (void)hear(&rig, fd);
    client_cancel(rig.client, &rig.call);
    is_left(&rig, fd);
    is_as_new(&rig);

    begin(&rig);
    fd = take(&rig);
    (void)hear(&rig, fd);
    say(fd, OK_EMPTY);
    UNTIL(&rig, rig.call.state == CALL_ENDED);
    client_cancel(rig.client, &rig.call);
    assert_null(client_ended(rig.client));
    begin(&rig); /* it was answered: the connection is kept */
    (void)hear(&rig, fd);
    client_cancel(rig.client, &rig.call);
    hang_up(fd);
    is_as_new(&rig);
    rig_down(&rig);
}

static void one_is_given_up_among_many(void **state)
{
    (void)state;
    struct rig rig;
    struct call calls[MANY], *call;
    int fds[MANY];
    char url[64];
    rig_up(&rig, &(struct client_config){ .max_idle = MANY });
    url_of(url, "http", &rig.server);
    for (int i = 0; i < MANY; i++) {
        call_init(&calls[i], MAX_REQUEST, NULL, 0);
        begin_body(&rig, &calls[i], url, "hi", 2);
        fds[i] = take(&rig);
        (void)hear(&rig, fds[i]);
    }
    for (int i = 0; i < MANY; i++)
        say(fds[i], OK_EMPTY);
    for (int i = 0; i < MANY; i += 2) /* their events are there, and unread */
        client_cancel(rig.client, &calls[i]);
    for (int i = 1; i < MANY; i += 2) {
        UNTIL(&rig, (call = client_ended(rig.client)) != NULL);
        assert_int_equal((call - calls) % 2, 1);
        assert_int_equal(call->error, CLIENT_OK);
    }
    look_around(&rig);
    assert_null(client_ended(rig.client));
    for (int i = 0; i < MANY; i++) {
        hang_up(fds[i]);
        call_release(&calls[i]);
    }
    rig_down(&rig);
}

static void a_client_without_calls_closes_what_it_kept(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, &(struct client_config){ 0 });
    int fd = exchange_kept(&rig);
    client_free(TAKE(rig.client));
    char byte;
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    hang_up(fd);
    client_free(NULL);
    rig_down(&rig);
}

/* --- what is lacking, and what is not allowed --- */

static void nobody_listens(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, &(struct client_config){ 0 });
    struct listener gone = listen_at("127.0.0.1", 0);
    stop_listening(&gone);
    begin_at(&rig, "127.0.0.1", gone.port);
    ends_with(&rig, CLIENT_REFUSED, 0);
    assert_string_equal(rig.call.why, strerror(ECONNREFUSED));
    begin_at(&rig, "255.255.255.255", 80); /* no TCP leads there */
    ends_with(&rig, CLIENT_UNREACHABLE, 0);
    rig_down(&rig);
}

static bool allows_none(const void *arg, const struct sockaddr *address)
{
    assert_int_equal(address->sa_family, AF_INET);
    ++*(int *)arg;
    return false;
}

static void what_is_not_allowed_is_not_connected_to(void **state)
{
    (void)state;
    struct rig rig;
    int asked = 0;
    rig_up(&rig, &(struct client_config){ .allows = allows_none, .arg = &asked });
    begin(&rig);
    ends_with(&rig, CLIENT_DISALLOWED, 0);
    assert_int_equal(asked, 1);
    assert_true(nobody_comes(&rig));
    rig_down(&rig);
}

static void a_lack_of_descriptors_is_our_own(void **state)
{
    (void)state;
    struct rig rig;
    struct rlimit old;
    if (emulated())
        skip();
    rig_up(&rig, &(struct client_config){ 0 });
    int kept = exchange_kept(&rig);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    const struct rlimit full = { .rlim_cur = STDERR_FILENO + 1, .rlim_max = old.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &full), 0);
    begin_at(&rig, "127.0.0.2", rig.server.port);
    ends_with(&rig, CLIENT_STARVED, 0);
    assert_string_equal(client_error_word(rig.call.error), "no_descriptors");
    begin_at(&rig, "localhost", rig.server.port); /* the name, too, cannot be asked for */
    ends_with(&rig, CLIENT_STARVED, 0);
    begin(&rig); /* what is kept needs none */
    (void)hear(&rig, kept);
    say(kept, OK_EMPTY);
    ends_with(&rig, CLIENT_OK, 200);
    hang_up(kept);
    begin(&rig); /* but sending it once more needs one */
    ends_with(&rig, CLIENT_STARVED, 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    hang_up(exchange_kept(&rig));
    rig_down(&rig);
}

static void without_descriptors_there_is_no_client(void **state)
{
    (void)state;
    struct rlimit old;
    if (emulated())
        skip();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    int next = dup(STDIN_FILENO); /* the lowest that is free */
    assert_true(next >= 0);
    (void)close(next);
    for (int n = 0; n < 2; n++) { /* none for the epoll, then none for the resolver */
        struct client *client = NULL;
        struct err err;
        const struct rlimit full = { .rlim_cur = (rlim_t)(next + n), .rlim_max = old.rlim_max };
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &full), 0);
        int rc = client_new(&(struct client_config){ 0 }, &client, &err);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
        assert_int_equal(rc, -1);
        assert_null(client);
        int again = dup(STDIN_FILENO); /* and nothing is left open */
        assert_int_equal(again, next);
        (void)close(again);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_that_is_silent_costs_the_connect_time),
        cmocka_unit_test(so_does_a_server_that_is_silent_on_tls),
        cmocka_unit_test(a_server_that_never_answers_costs_the_total_time),
        cmocka_unit_test(a_server_that_reads_nothing_costs_the_total_time),
        cmocka_unit_test(many_end_each_at_its_time),
        cmocka_unit_test(a_call_can_be_given_up_in_every_state),
        cmocka_unit_test(one_is_given_up_among_many),
        cmocka_unit_test(a_client_without_calls_closes_what_it_kept),
        cmocka_unit_test(nobody_listens),
        cmocka_unit_test(what_is_not_allowed_is_not_connected_to),
        cmocka_unit_test(a_lack_of_descriptors_is_our_own),
        cmocka_unit_test(without_descriptors_there_is_no_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
