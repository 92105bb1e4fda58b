/* What the server sends for what it is sent, and in which order. */
#include "test_http_rig.h"

/* ---- requests and answers ---- */

static void answers_one_request_after_the_other(void **state)
{
    (void)state;
    start();
    int fd = client();
    for (int i = 0; i < 3; i++) {
        send_text(fd, GET("/"));
        expect(fd, HELLO);
    }
    assert_int_equal(stats().requests, 3);
    assert_int_equal(stats().connections, 1);
    (void)close(fd);
    await_connections(0);
}

static void answers_with_what_the_status_allows(void **state)
{
    (void)state;
    start();
    int fd = client();
    send_text(fd, GET("/none"));
    expect(fd, "HTTP/1.1 204 No Content\r\nAllow: GET\r\n\r\n");
    send_text(fd, GET("/created"));
    expect(fd, "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
    send_text(fd, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" GET("/"));
    expect(fd, "HTTP/1.1 200 OK\r\n" ANSWER("", 5) HELLO);
    send_text(fd, GET("/close"));
    expect(fd, "HTTP/1.1 200 OK\r\n" CLOSING("", 0));
    expect_end(fd);
}

static void closes_when_the_client_asks_for_it(void **state)
{
    (void)state;
    static const char *const requests[] = {
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" GET("/never"),
    };
    start();
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        int fd = client();
        send_text(fd, requests[i]);
        expect(fd, "HTTP/1.1 200 OK\r\n" CLOSING("hello", 5));
        expect_end(fd);
    }
    assert_int_equal(stats().requests, ARRAY_LEN(requests));
}

static void answers_pipelined_requests_in_order(void **state)
{
    (void)state;
    start();
    int fd = client();
    send_text(fd, GET("/") POST("/echo", "Content-Length: 2\r\n") "ab" GET("/keep") POST(
                      "/echo", "Transfer-Encoding: chunked\r\n") "2\r\ncd\r\n0\r\n\r\n" GET("/"));
    expect(fd, HELLO "HTTP/1.1 200 OK\r\n" ANSWER("ab", 2));
    await_kept();
    assert_int_equal(stats().requests, 3); /* what is behind a kept request waits */
    wake_app();
    expect(fd, KEPT "HTTP/1.1 200 OK\r\n" ANSWER("cd", 2) HELLO);
    (void)close(fd);
}

/* The application hands over all that it kept in a turn at once. */
static void tells_when_a_turn_is_over(void **state)
{
    (void)state;
    start();
    atomic_store(&app.answer_at_turn_over, 1);
    int fd = client();
    send_text(fd, GET("/keep") GET("/keep") GET("/"));
    expect(fd, KEPT KEPT HELLO);
    assert_true(atomic_load(&app.turns) >= 3);
    (void)close(fd);
}

static void takes_a_request_byte_by_byte(void **state)
{
    (void)state;
    static const char request[] = "\r\n" POST("/echo", "Content-Length: 3\r\n") "abc";
    start();
    int fd = client();
    for (size_t i = 0; i < sizeof(request) - 1; i++)
        send_bytes(fd, request + i, 1);
    expect(fd, "HTTP/1.1 200 OK\r\n" ANSWER("abc", 3));
    (void)close(fd);
}

static void takes_a_thousand_requests_of_a_connection(void **state)
{
    (void)state;
    start();
    int fd = client();
    struct buf all;
    buf_init(&all, 1 << 20);
    for (int i = 0; i < 1010; i++)
        buf_adds(&all, GET("/"));
    send_bytes(fd, all.data, all.len);
    for (int i = 0; i < 999; i++)
        expect(fd, HELLO);
    expect(fd, "HTTP/1.1 200 OK\r\n" CLOSING("hello", 5));
    expect_end(fd);
    assert_int_equal(stats().requests, 1000);
    buf_release(&all);
}

static void takes_large_bodies_and_gives_large_answers(void **state)
{
    (void)state;
    enum { LARGE = 64 * 1024 };
    start();
    int fd = client();
    struct buf b;
    buf_init(&b, 1 << 20);
    buf_adds(&b, POST("/echo", "Content-Length: 65536\r\n"));
    for (int i = 0; i < LARGE; i++)
        buf_add(&b, "x", 1);
    buf_adds(&b, POST("/echo", "Transfer-Encoding: chunked\r\n"));
    for (int i = 0; i < LARGE / 16; i++)
        buf_adds(&b, "10\r\nxxxxxxxxxxxxxxxx\r\n");
    buf_adds(&b, "0\r\n\r\n" GET("/big"));
    send_bytes(fd, b.data, b.len);
    for (int i = 0; i < 2; i++) {
        expect(fd, "HTTP/1.1 200 OK\r\n" ANSWER("", 65536));
        for (int left = LARGE; left > 0;) {
            char data[4096];
            ssize_t n = receive(fd, data, left < 4096 ? (size_t)left : sizeof(data));
            assert_true(n > 0 && data[0] == 'x');
            left -= (int)n;
        }
    }
    expect(fd, "HTTP/1.1 200 OK\r\n" ANSWER("", 8388608));
    for (int left = BIG; left > 0;) {
        char data[65536];
        ssize_t n = receive(fd, data, left < 65536 ? (size_t)left : sizeof(data));
        assert_true(n > 0);
        left -= (int)n;
    }
    send_text(fd, GET("/"));
    expect(fd, HELLO);
    (void)close(fd);
    buf_release(&b);
}

static void says_100_continue_before_the_body_only(void **state)
{
    (void)state;
    start();
    int fd = client();
    send_text(fd, POST("/echo", "Expect: 100-continue\r\nContent-Length: 2\r\n"));
    expect(fd, "HTTP/1.1 100 Continue\r\n\r\n");
    send_text(fd, "ab");
    expect(fd, "HTTP/1.1 200 OK\r\n" ANSWER("ab", 2));
    send_text(fd, POST("/echo", "Expect: 100-continue\r\nContent-Length: 2\r\n") "cd");
    expect(fd, "HTTP/1.1 200 OK\r\n" ANSWER("cd", 2)); /* it did not wait for it */
    send_text(fd, POST("/echo", "Expect: 100-continue\r\nContent-Length: 65537\r\n"));
    expect_problem(fd, "413 Content Too Large", 413);
    fd = client();
    send_text(fd, POST("/echo", "Expect: tea\r\nContent-Length: 2\r\n"));
    expect_problem(fd, "417 Expectation Failed", 417);
}

/* ---- what is refused ---- */

static void refuses_and_closes(void **state)
{
    (void)state;
    static const char *const list[] = { "a", NULL };
    static const struct {
        const char *bytes, *status_line;
        int status;
    } cases[] = {
        { "\x16", "400 Bad Request", 400 },
        { "GET / HTTP/1.1\r\n\r\n" GET("/never"), "400 Bad Request", 400 },
        { "GET / HTTP/1.1\r\nHost: b\r\n\r\n", "421 Misdirected Request", 421 },
        { "GET / HTTP/2.0\r\n", "505 HTTP Version Not Supported", 505 },
        { "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", "501 Not Implemented", 501 },
        { POST("/", "Content-Length: 70000\r\n"), "413 Content Too Large", 413 },
    };
    config.hosts = list;
    start();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int fd = client();
        send_text(fd, cases[i].bytes);
        expect_problem(fd, cases[i].status_line, cases[i].status);
    }
    int fd = client();
    send_text(fd,
              "HEAD / HTTP/1.1\r\nHost: b\r\n\r\n"); /* no body for a HEAD, whatever the answer */
    expect(fd, "HTTP/1.1 421 Misdirected Request\r\n" CLOSING("", 11));
    expect_end(fd);
    assert_int_equal(stats().refused, ARRAY_LEN(cases) + 1);
    assert_int_equal(stats().requests, 0);
}

/* A socket that is closed with unread input resets the connection, and the client may never see why. */
static void lets_the_client_read_a_refusal_while_it_still_sends(void **state)
{
    (void)state;
    start();
    int fd = client();
    send_text(fd, POST("/echo", "Content-Length: 1000000\r\n"));
    send_bytes(fd, app.big, 1000000);
    expect(fd, "HTTP/1.1 413 Content Too Large\r\n" CLOSING("problem 413", 11));
    expect_end(fd);
    await_connections(0);
}

static void refuses_connections_over_the_limit(void **state)
{
    (void)state;
    config.max_connections = 2;
    start();
    int first = client(), second = client();
    send_text(first, GET("/"));
    expect(first, HELLO);
    send_text(second, GET("/"));
    expect(second, HELLO);
    int third = client();
    send_text(third, GET("/"));
    expect_problem(third, "503 Service Unavailable", 503);
    (void)close(first);
    await_connections(1);
    third = client();
    send_text(third, GET("/"));
    expect(third, HELLO);
    (void)close(second);
    (void)close(third);
}

static void closes_at_once_when_far_over_the_limit(void **state)
{
    (void)state;
    enum { MANY = 100 };
    int fds[MANY], told = 0;
    config.max_connections = 1;
    start();
    int first = client();
    send_text(first, GET("/"));
    expect(first, HELLO);
    for (int i = 0; i < MANY; i++)
        fds[i] = client();
    for (int i = 0; i < MANY; i++) {
        char data[512];
        told += receive(fds[i], data, sizeof(data)) > 0;
    }
    assert_int_equal(told, 64);
    for (int i = 0; i < MANY; i++)
        (void)close(fds[i]);
    await_connections(1);
    send_text(first, GET("/"));
    expect(first, HELLO);
    (void)close(first);
}

int main(void)
{
    log_setup(LOG_ERROR, LOG_LOGFMT);
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(answers_one_request_after_the_other),
        TEST(answers_with_what_the_status_allows),
        TEST(closes_when_the_client_asks_for_it),
        TEST(answers_pipelined_requests_in_order),
        TEST(tells_when_a_turn_is_over),
        TEST(takes_a_request_byte_by_byte),
        TEST(takes_a_thousand_requests_of_a_connection),
        TEST(takes_large_bodies_and_gives_large_answers),
        TEST(says_100_continue_before_the_body_only),
        TEST(refuses_and_closes),
        TEST(lets_the_client_read_a_refusal_while_it_still_sends),
        TEST(refuses_connections_over_the_limit),
        TEST(closes_at_once_when_far_over_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
