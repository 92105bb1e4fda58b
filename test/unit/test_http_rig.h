#ifndef TEST_HTTP_RIG_H
#define TEST_HTTP_RIG_H
/* A server with real sockets on 127.0.0.1, an application that does what the path says, and a client.
 * Nothing sleeps: a test waits for the other side's bytes, its end, or a count. */
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

static inline int app_thread_start(void *arg, void **ret_ctx, int *ret_wake_fd, struct err *err)
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

static inline void app_thread_stop(void *ctx)
{
    atomic_fetch_add(&((struct app *)ctx)->stopped, 1);
}

static inline void answer(struct http_exchange *x, int status, const char *body)
{
    struct http_response response = { .status = status,
                                      .content_type = "text/plain",
                                      .body = body };
    response.body_len = strlen(body);
    http_reply(x, &response);
}

static inline void app_handle(void *ctx, struct http_exchange *x,
                              const struct http_request *request)
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

static inline void answer_kept(struct app *a)
{
    for (size_t i = 0; i < a->n_kept; i++)
        answer(a->kept[i], 202, "kept");
    a->n_kept = 0;
}

static inline void app_wake(void *ctx)
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

static inline void app_turn_over(void *ctx)
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

static inline int set_up(void **state)
{
    (void)state;
    memset(&app, 0, sizeof(app));
    sem_init(&app.kept_one, 0, 0);
    app.big = calloc(1, BIG);
    config = (struct http_config){ .listen = "127.0.0.1:0" };
    server = NULL;
    return app.big ? 0 : -1;
}

static inline int tear_down(void **state)
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

static inline void start(void)
{
    struct err err;
    if (http_start(&config, &ops, &app, &server, &err) < 0)
        fail_msg("%s", err.msg);
}

static inline void await_kept(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    assert_int_equal(sem_timedwait(&app.kept_one, &until), 0);
}

static inline void wake_app(void)
{
    uint64_t one = 1;
    assert_int_equal(write(atomic_load(&app.wake_fd), &one, sizeof(one)), sizeof(one));
}

static inline struct http_stats stats(void)
{
    struct http_stats s;
    http_stats(server, &s);
    return s;
}

static inline void await_connections(unsigned n)
{
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (stats().connections != n) {
        if (clock_mono_ms() > until)
            fail_msg("%llu connections instead of %u", (unsigned long long)stats().connections, n);
        (void)poll(NULL, 0, 1);
    }
}

/* ---- a client ---- */

static inline void connect_to(int fd)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)http_port(server)),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
}

static inline int client_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    return fd;
}

static inline int client(void)
{
    int fd = client_socket();
    connect_to(fd);
    return fd;
}

static inline void send_bytes(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        assert_true(n > 0);
        data += n;
        len -= (size_t)n;
    }
}

static inline void send_text(int fd, const char *text)
{
    send_bytes(fd, text, strlen(text));
}

/* More bytes, 0 at the end, -1 when the connection was reset. */
static inline ssize_t receive(int fd, char *data, size_t len)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
    return recv(fd, data, len, 0);
}

/* Take the Date fields out: they are the only thing in an answer that is not known. */
static inline void drop_dates(char *text)
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
static inline void expect(int fd, const char *expected)
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
static inline void expect_end(int fd)
{
    char byte;
    assert_int_equal(receive(fd, &byte, 1), 0);
    (void)close(fd);
}

static inline void expect_problem(int fd, const char *status_line, int status)
{
    char expected[256];
    (void)snprintf(expected, sizeof(expected), "HTTP/1.1 %s\r\n" CLOSING("problem %d", 11),
                   status_line, status);
    expect(fd, expected);
    expect_end(fd);
}

#define HELLO "HTTP/1.1 200 OK\r\n" ANSWER("hello", 5)
#define KEPT "HTTP/1.1 202 Accepted\r\n" ANSWER("kept", 4)

#endif
