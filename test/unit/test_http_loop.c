/* The server with real sockets on 127.0.0.1: what is sent, and in which order; deadlines, limits, drain;
 * requests that are answered later, and clients that leave. Nothing sleeps: a test waits for the other
 * side's bytes, its end, or a count. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/http.h"

enum { PATIENCE_MS = 10000, KEPT_MAX = 64, BIG = 8 * 1024 * 1024 };

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST(path, fields) "POST " path " HTTP/1.1\r\nHost: a\r\n" fields "\r\n"
#define ANSWER(body, len) "Content-Type: text/plain\r\nContent-Length: " #len "\r\n\r\n" body
#define CLOSING(body, len)                                                                         \
    "Content-Type: text/plain\r\nContent-Length: " #len "\r\nConnection: close\r\n\r\n" body

/* ---- the application: what it does depends on the path ---- */

struct app {
    atomic_int wake_fd, started, stopped, app_data_dirty, turns, answer_at_turn_over;
    bool fail_start;
    char *big;
    sem_t kept_one;
    struct http_exchange *kept[KEPT_MAX]; /* of the first thread, used there only */
    size_t n_kept;
};

static int app_thread_start(void *arg, void **ret_ctx, int *ret_wake_fd, struct err *err)
{
    struct app *a = arg;
    if (a->fail_start)
        return err_set(err, ERR_IO, "no luck");
    *ret_wake_fd = -1;
    if (atomic_fetch_add(&a->started, 1) == 0) {
        *ret_wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        atomic_store(&a->wake_fd, *ret_wake_fd);
    }
    *ret_ctx = a;
    return 0;
}

static void app_thread_stop(void *ctx)
{
    atomic_fetch_add(&((struct app *)ctx)->stopped, 1);
}

static void answer(struct http_exchange *x, int status, const char *body)
{
    struct http_response response = { .status = status,
                                      .content_type = "text/plain",
                                      .body = body };
    response.body_len = strlen(body);
    http_reply(x, &response);
}

static void app_handle(void *ctx, struct http_exchange *x, const struct http_request *request)
{
    struct app *a = ctx;
    char *data = http_app_data(x);
    for (int i = 0; i < HTTP_APP_DATA; i++)
        if (data[i] != 0)
            atomic_store(&a->app_data_dirty, 1);
    memset(data, 0xff, HTTP_APP_DATA);
    struct http_response response = { .status = 200, .content_type = "text/plain" };
    if (http_slice_is(request->path, "/keep")) {
        a->kept[a->n_kept++] = x;
        sem_post(&a->kept_one);
    } else if (http_slice_is(request->path, "/echo")) {
        response.body = request->body.data;
        response.body_len = request->body.len;
        http_reply(x, &response);
    } else if (http_slice_is(request->path, "/big")) {
        response.body = a->big;
        response.body_len = BIG;
        http_reply(x, &response);
    } else if (http_slice_is(request->path, "/none")) {
        http_reply(x, &(struct http_response){ .status = 204, .fields = "Allow: GET\r\n" });
    } else if (http_slice_is(request->path, "/created")) {
        http_reply(x, &(struct http_response){ .status = 201 });
    } else if (http_slice_is(request->path, "/close")) {
        response.close = true;
        http_reply(x, &response);
    } else {
        answer(x, 200, "hello");
    }
}

static void answer_kept(struct app *a)
{
    for (size_t i = 0; i < a->n_kept; i++)
        answer(a->kept[i], 202, "kept");
    a->n_kept = 0;
}

static void app_wake(void *ctx)
{
    struct app *a = ctx;
    uint64_t ignored;
    (void)!read(atomic_load(&a->wake_fd), &ignored, sizeof(ignored));
    answer_kept(a);
}

static const char *app_problem(int status, const char *detail, struct buf *body)
{
    assert_true(strlen(detail) > 10 && detail[strlen(detail) - 1] == '.');
    buf_addf(body, "problem %d", status);
    return "text/plain";
}

static void app_turn_over(void *ctx)
{
    struct app *a = ctx;
    atomic_fetch_add(&a->turns, 1);
    if (atomic_load(&a->answer_at_turn_over))
        answer_kept(a);
}

static const struct http_app ops = {
    .thread_start = app_thread_start,
    .thread_stop = app_thread_stop,
    .handle = app_handle,
    .wake = app_wake,
    .turn_over = app_turn_over,
    .problem = app_problem,
};

/* ---- the server under test ---- */

static struct app app;
static struct http_server *server;
static struct http_config config;

static int set_up(void **state)
{
    (void)state;
    memset(&app, 0, sizeof(app));
    sem_init(&app.kept_one, 0, 0);
    app.big = calloc(1, BIG);
    config = (struct http_config){ .listen = "127.0.0.1:0" };
    server = NULL;
    return app.big ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    http_stop(server, 0);
    if (atomic_load(&app.wake_fd) > 0)
        (void)close(atomic_load(&app.wake_fd));
    sem_destroy(&app.kept_one);
    free(app.big);
    return atomic_load(&app.started) == atomic_load(&app.stopped) &&
                   !atomic_load(&app.app_data_dirty)
               ? 0
               : -1;
}

static void start(void)
{
    struct err err;
    if (http_start(&config, &ops, &app, &server, &err) < 0)
        fail_msg("%s", err.msg);
}

static void await_kept(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    assert_int_equal(sem_timedwait(&app.kept_one, &until), 0);
}

static void wake_app(void)
{
    uint64_t one = 1;
    assert_int_equal(write(atomic_load(&app.wake_fd), &one, sizeof(one)), sizeof(one));
}

static struct http_stats stats(void)
{
    struct http_stats s;
    http_stats(server, &s);
    return s;
}

static void await_connections(unsigned n)
{
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (stats().connections != n) {
        if (clock_mono_ms() > until)
            fail_msg("%llu connections instead of %u", (unsigned long long)stats().connections, n);
        (void)poll(NULL, 0, 1);
    }
}

/* ---- a client ---- */

static void connect_to(int fd)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)http_port(server)),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
}

static int client_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    return fd;
}

static int client(void)
{
    int fd = client_socket();
    connect_to(fd);
    return fd;
}

static void send_bytes(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        assert_true(n > 0);
        data += n;
        len -= (size_t)n;
    }
}

static void send_text(int fd, const char *text)
{
    send_bytes(fd, text, strlen(text));
}

/* More bytes, 0 at the end, -1 when the connection was reset. */
static ssize_t receive(int fd, char *data, size_t len)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
    return recv(fd, data, len, 0);
}

/* Take the Date fields out: they are the only thing in an answer that is not known. */
static void drop_dates(char *text)
{
    char *date;
    while ((date = strstr(text, "Date: "))) {
        const char *end = strstr(date, " GMT\r\n");
        assert_non_null(end);
        assert_int_equal(end - date, strlen("Date: Tue, 24 Nov 2026 08:00:00"));
        memmove(date, end + 6, strlen(end + 6) + 1);
    }
}

/* The next bytes are these, but for the dates. */
static void expect(int fd, const char *expected)
{
    char got[16384];
    size_t len = 0, want = strlen(expected), dates = 0;
    for (const char *p = expected; (p = strstr(p, "HTTP/1.1 ")); p++)
        dates += strncmp(p, "HTTP/1.1 100", 12) == 0 ? 0 : strlen("Date: ") + 31;
    while (len < want + dates) {
        ssize_t n = receive(fd, got + len, want + dates - len);
        if (n <= 0)
            fail_msg("the end instead of '%s' (so far '%.*s')", expected, (int)len, got);
        len += (size_t)n;
    }
    got[len] = '\0';
    drop_dates(got);
    assert_string_equal(got, expected);
}

/* The server closes, saying nothing more and resetting nothing. */
static void expect_end(int fd)
{
    char byte;
    assert_int_equal(receive(fd, &byte, 1), 0);
    (void)close(fd);
}

static void expect_problem(int fd, const char *status_line, int status)
{
    char expected[256];
    (void)snprintf(expected, sizeof(expected), "HTTP/1.1 %s\r\n" CLOSING("problem %d", 11),
                   status_line, status);
    expect(fd, expected);
    expect_end(fd);
}

#define HELLO "HTTP/1.1 200 OK\r\n" ANSWER("hello", 5)
#define KEPT "HTTP/1.1 202 Accepted\r\n" ANSWER("kept", 4)

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
        TEST(does_not_share_a_port_with_another_server),
        TEST(does_not_start_when_the_application_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
