/* The life of connections and of the server: deadlines, clients that leave, descriptors that run out,
 * drain, stop and start. */
#include "test_http_rig.h"

#include <sys/resource.h>

/* ---- deadlines ---- */

static void ends_a_slow_head_with_408(void **state)
{
    (void)state;
    config.head_ms = 100;
    start();
    int fd = client();
    send_text(fd, GET("/") "GET / HT");
    expect(fd, HELLO);
    expect_problem(fd, "408 Request Timeout", 408);
}

static void ends_a_slow_body_with_408(void **state)
{
    (void)state;
    config.body_ms = 100;
    start();
    int fd = client();
    send_text(fd, POST("/echo", "Content-Length: 10\r\n") "abc");
    expect_problem(fd, "408 Request Timeout", 408);
    fd = client();
    send_text(fd, POST("/echo", "Transfer-Encoding: chunked\r\n") "5\r\nabc");
    expect_problem(fd, "408 Request Timeout", 408);
}

/* A byte now and then does not buy more time. */
static void counts_deadlines_from_the_first_byte(void **state)
{
    (void)state;
    config.head_ms = 300;
    start();
    int fd = client(), sent = 0;
    struct pollfd p = { .fd = fd, .events = POLLIN };
    send_text(fd, "GET /");
    while (poll(&p, 1, 20) == 0 && sent++ < 500)
        send_text(fd, "x");
    assert_true(sent < 500);
    expect_problem(fd, "408 Request Timeout", 408);
}

static void closes_idle_connections_silently(void **state)
{
    (void)state;
    config.idle_ms = 100;
    start();
    int used = client(), unused = client(), empty_line = client();
    send_text(used, GET("/"));
    send_text(empty_line, "\r\n");
    expect(used, HELLO);
    expect_end(used);
    expect_end(unused);
    expect_end(empty_line);
    assert_int_equal(stats().refused, 0);
}

static void has_no_deadline_for_the_application(void **state)
{
    (void)state;
    config.idle_ms = config.head_ms = config.body_ms = config.write_ms = 50;
    start();
    int fd = client(), idle = client();
    send_text(fd, GET("/keep"));
    await_kept();
    expect_end(idle); /* by now more than a deadline is over */
    wake_app();
    expect(fd, KEPT);
    (void)close(fd);
}

static void gives_up_on_a_client_that_does_not_read(void **state)
{
    (void)state;
    config.write_ms = 100;
    start();
    int fd = client_socket(), small = 4096;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
    connect_to(fd);
    send_text(fd, GET("/big"));
    char byte;
    assert_int_equal(receive(fd, &byte, 1), 1);
    assert_int_equal(stats().connections, 1);
    await_connections(0);
    (void)close(fd);
}

/* ---- clients that leave ---- */

static void answers_a_client_that_shut_its_sending_side(void **state)
{
    (void)state;
    start();
    int fd = client();
    send_text(fd, GET("/") GET("/keep") GET("/"));
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    expect(fd, HELLO);
    await_kept();
    wake_app();
    expect(fd, KEPT HELLO);
    expect_end(fd);
    fd = client();
    send_text(fd, "GET / HTTP/1.1\r\n");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    expect_problem(fd, "400 Bad Request", 400);
    await_connections(0);
}

static void reset(int fd)
{
    struct linger linger = { .l_onoff = 1 };
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
    (void)close(fd);
}

static void forgets_a_kept_request_whose_client_has_left(void **state)
{
    (void)state;
    start();
    int gone = client(), stays = client();
    send_text(gone, GET("/keep"));
    await_kept();
    send_text(stays, GET("/keep"));
    await_kept();
    reset(gone);
    await_connections(1);
    wake_app();
    expect(stays, KEPT);
    send_text(stays, GET("/"));
    expect(stays, HELLO);
    (void)close(stays);
}

static void survives_clients_that_reset_while_it_writes(void **state)
{
    (void)state;
    start();
    for (int i = 0; i < 20; i++) {
        int fd = client();
        send_text(fd, GET("/big") GET("/big"));
        char byte;
        assert_int_equal(receive(fd, &byte, 1), 1);
        reset(fd);
    }
    await_connections(0);
    int fd = client();
    send_text(fd, GET("/"));
    expect(fd, HELLO);
    (void)close(fd);
}

/* ---- descriptors run out ---- */

static int64_t cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void waits_without_spinning_while_descriptors_are_short(void **state)
{
    (void)state;
    enum { WATCHED_MS = 400 };
    start();
    int fd = client_socket();
    struct rlimit before, now;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int lowest_free = dup(fd);
    assert_true(lowest_free > 0);
    (void)close(lowest_free);
    now = (struct rlimit){ (rlim_t)lowest_free, before.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
    connect_to(fd); /* into the kernel's queue */
    send_text(fd, GET("/"));
    int64_t cpu = cpu_ms();
    struct pollfd p = { .fd = fd, .events = POLLIN };
    int answered = poll(&p, 1, WATCHED_MS);
    cpu = cpu_ms() - cpu;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(answered, 0);
    assert_true(cpu < WATCHED_MS / 2);
    expect(fd, HELLO);
    (void)close(fd);
}

/* ---- drain and stop ---- */

static void drains(void **state)
{
    (void)state;
    start();
    int idle = client(), kept = client(), half = client();
    send_text(idle, GET("/"));
    expect(idle, HELLO);
    send_text(kept, GET("/keep"));
    await_kept();
    send_text(half, GET("/") "GET / HTTP/1.1\r\n");
    expect(half, HELLO);
    http_drain(server);
    expect_end(idle);
    send_text(half, "Host: a\r\n\r\n" GET("/never"));
    expect(half, "HTTP/1.1 200 OK\r\n" CLOSING("hello", 5));
    expect_end(half);
    int late = client_socket();
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)http_port(server)),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    assert_int_equal(connect(late, (struct sockaddr *)&address, sizeof(address)), -1);
    assert_int_equal(errno, ECONNREFUSED);
    (void)close(late);
    wake_app();
    expect(kept, "HTTP/1.1 202 Accepted\r\n" CLOSING("kept", 4));
    expect_end(kept);
    int64_t before = clock_mono_ms();
    http_stop(server, PATIENCE_MS);
    server = NULL;
    assert_true(clock_mono_ms() - before < PATIENCE_MS / 2);
}

static void stops_although_requests_are_kept(void **state)
{
    (void)state;
    start();
    int fd = client(), gone = client();
    send_text(fd, GET("/keep"));
    await_kept();
    send_text(gone, GET("/keep"));
    await_kept();
    reset(gone);
    await_connections(1);
    http_stop(server, 20);
    server = NULL;
    char byte;
    assert_int_equal(receive(fd, &byte, 1), 0);
    (void)close(fd);
}

static void stops_when_the_last_kept_request_is_answered(void **state)
{
    (void)state;
    start();
    int gone = client();
    send_text(gone, GET("/keep"));
    await_kept();
    reset(gone);
    await_connections(0);
    wake_app(); /* it is answered before or after the stop begins to wait */
    int64_t before = clock_mono_ms();
    http_stop(server, PATIENCE_MS);
    server = NULL;
    assert_true(clock_mono_ms() - before < PATIENCE_MS / 2);
}

/* ---- starting ---- */

static void serves_from_several_threads(void **state)
{
    (void)state;
    enum { CLIENTS = 32 };
    int fds[CLIENTS];
    config.threads = 3;
    start();
    assert_int_equal(atomic_load(&app.started), 3);
    for (int i = 0; i < CLIENTS; i++)
        fds[i] = client();
    for (int i = 0; i < CLIENTS; i++)
        send_text(fds[i], GET("/"));
    for (int i = 0; i < CLIENTS; i++) {
        expect(fds[i], HELLO);
        (void)close(fds[i]);
    }
    await_connections(0);
    assert_int_equal(stats().requests, CLIENTS);
}

static void listens_on_ipv6_too(void **state)
{
    (void)state;
    struct err err;
    config.listen = "[::1]:0";
    if (http_start(&config, &ops, &app, &server, &err) < 0)
        skip(); /* this machine has no IPv6 */
    assert_true(http_port(server) > 0);
}

static void does_not_start_where_it_cannot_listen(void **state)
{
    (void)state;
    static const char *const wrong[] = { "",
                                         "5001",
                                         ":5001",
                                         "127.0.0.1",
                                         "127.0.0.1:x",
                                         "127.0.0.1:99999",
                                         "[127.0.0.1]:5001",
                                         "[::1:5001",
                                         "192.0.2.1:5001" };
    struct http_server *none = NULL;
    struct err err;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        config.listen = wrong[i];
        if (http_start(&config, &ops, &app, &none, &err) != -1)
            fail_msg("it listens on '%s'", wrong[i]);
        assert_null(none);
        assert_non_null(strchr(err.msg, '\''));
    }
}

static void does_not_start_with_limits_out_of_range(void **state)
{
    (void)state;
    static const struct http_config wrong[] = {
        { .listen = "127.0.0.1:0", .threads = 1000000 },
        { .listen = "127.0.0.1:0", .max_body = (size_t)1 << 40 },
        { .listen = "127.0.0.1:0", .max_connections = 1u << 30 },
        { .listen = "127.0.0.1:0", .head_ms = -1 },
        { .listen = "127.0.0.1:0", .body_ms = -1 },
        { .listen = "127.0.0.1:0", .idle_ms = -1 },
        { .listen = "127.0.0.1:0", .write_ms = -1 },
    };
    struct http_server *none = NULL;
    struct err err;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_int_equal(http_start(&wrong[i], &ops, &app, &none, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
    }
}

/* SO_REUSEPORT would let two servers share a port, and each client would find one of them. */
static void does_not_share_a_port_with_another_server(void **state)
{
    (void)state;
    char listen[64];
    struct http_server *none = NULL;
    struct err err;
    config.threads = 2;
    start();
    (void)snprintf(listen, sizeof(listen), "127.0.0.1:%d", http_port(server));
    config.listen = listen;
    for (config.threads = 1; config.threads <= 2; config.threads++) {
        assert_int_equal(http_start(&config, &ops, &app, &none, &err), -1);
        assert_non_null(strstr(err.msg, listen));
    }
}

static void does_not_start_when_the_application_does_not(void **state)
{
    (void)state;
    struct http_server *none = NULL;
    struct err err;
    app.fail_start = true;
    assert_int_equal(http_start(&config, &ops, &app, &none, &err), -1);
    assert_non_null(strstr(err.msg, "no luck"));
}

int main(void)
{
    log_setup(LOG_ERROR, LOG_LOGFMT);
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(ends_a_slow_head_with_408),
        TEST(ends_a_slow_body_with_408),
        TEST(counts_deadlines_from_the_first_byte),
        TEST(closes_idle_connections_silently),
        TEST(has_no_deadline_for_the_application),
        TEST(gives_up_on_a_client_that_does_not_read),
        TEST(answers_a_client_that_shut_its_sending_side),
        TEST(forgets_a_kept_request_whose_client_has_left),
        TEST(survives_clients_that_reset_while_it_writes),
        TEST(waits_without_spinning_while_descriptors_are_short),
        TEST(drains),
        TEST(stops_although_requests_are_kept),
        TEST(stops_when_the_last_kept_request_is_answered),
        TEST(serves_from_several_threads),
        TEST(listens_on_ipv6_too),
        TEST(does_not_start_where_it_cannot_listen),
        TEST(does_not_start_with_limits_out_of_range),
        TEST(does_not_share_a_port_with_another_server),
        TEST(does_not_start_when_the_application_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
