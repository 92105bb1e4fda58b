/* Answers that are written piece by piece, bodies whose limit is the path's, and the clock that an
 * application may have: over real sockets. */
#include "unit/test_http_rig.h"

/* An application that streams. Only its thread touches it, but for the atomics. */
struct streamer {
    int wake_fd;
    struct http_exchange *x[4];
    size_t n;
    size_t flood; /* bytes that are written at once to /flood */
    sem_t began;
    atomic_int gone, drained, drains, refused, turns, sleep_ms, unsent;
    atomic_int order; /* what wake() does: 1 write "more", 2 end, 3 write a flood and "more" */
};
static struct streamer streamer;

static int streamer_start(void *arg, void **ret_ctx, int *ret_wake_fd, struct err *err)
{
    (void)err;
    *ret_ctx = arg;
    *ret_wake_fd = ((struct streamer *)arg)->wake_fd;
    return 0;
}

static void streamer_stop(void *ctx)
{
    (void)ctx;
}

static size_t streamer_max_body(const struct http_request *head)
{
    return http_slice_is(head->path, "/batch") ? 300 * 1024 : 0;
}

static void streamer_handle(void *ctx, struct http_exchange *x, const struct http_request *request)
{
    struct streamer *s = ctx;
    if (request->method == HTTP_POST) {
        char text[32];
        (void)snprintf(text, sizeof(text), "%zu", request->body.len);
        answer(x, 200, text);
        return;
    }
    struct http_response head = { .status = 200, .content_type = "text/event-stream" };
    if (!http_stream_begin(x, &head))
        return;
    s->x[s->n++] = x;
    if (http_slice_is(request->path, "/flood")) {
        char *bytes = calloc(1, s->flood);
        http_stream_write(x, bytes, s->flood);
        free(bytes);
        atomic_store(&s->unsent, http_stream_unsent(x) >= s->flood);
    } else {
        http_stream_write(x, "hello", 5);
        http_stream_write(x, "", 0);
    }
    sem_post(&s->began);
}

static char flood_byte(size_t i)
{
    return (char)(i % 251);
}

static void write_flood(struct http_exchange *x, size_t len)
{
    char *bytes = malloc(len);
    for (size_t i = 0; i < len; i++)
        bytes[i] = flood_byte(i);
    http_stream_write(x, bytes, len);
    free(bytes);
}

static void streamer_wake(void *ctx)
{
    struct streamer *s = ctx;
    uint64_t ignored;
    (void)!read(s->wake_fd, &ignored, sizeof(ignored));
    int what = atomic_load(&s->order); /* once: what is written may be answered by the next order */
    for (size_t i = 0; i < s->n; i++) {
        if (what == 3)
            write_flood(s->x[i], s->flood);
        if (what == 2)
            http_stream_end(s->x[i]);
        else
            http_stream_write(s->x[i], "more", 4);
    }
    s->n = what == 2 ? 0 : s->n;
}

static void streamer_gone(void *ctx, struct http_exchange *x)
{
    struct streamer *s = ctx;
    size_t i = 0;
    while (i < s->n && s->x[i] != x)
        i++;
    assert_true(i < s->n);
    s->x[i] = s->x[--s->n];
    atomic_fetch_add(&s->gone, 1);
}

static void streamer_drained(void *ctx, struct http_exchange *x)
{
    assert_int_equal(http_stream_unsent(x), 0);
    atomic_fetch_add(&((struct streamer *)ctx)->drained, 1);
}

static void streamer_drain(void *ctx)
{
    struct streamer *s = ctx;
    for (size_t i = 0; i < s->n; i++)
        http_stream_end(s->x[i]);
    s->n = 0;
    atomic_fetch_add(&s->drains, 1);
}

static void streamer_refused(void *ctx, int status)
{
    atomic_store(&((struct streamer *)ctx)->refused, status);
}

static void streamer_turn_over(void *ctx)
{
    atomic_fetch_add(&((struct streamer *)ctx)->turns, 1);
}

static int streamer_sleep_ms(void *ctx)
{
    return atomic_load(&((struct streamer *)ctx)->sleep_ms);
}

static const struct http_app streamer_ops = { .thread_start = streamer_start,
                                              .thread_stop = streamer_stop,
                                              .handle = streamer_handle,
                                              .wake = streamer_wake,
                                              .turn_over = streamer_turn_over,
                                              .sleep_ms = streamer_sleep_ms,
                                              .max_body = streamer_max_body,
                                              .gone = streamer_gone,
                                              .drained = streamer_drained,
                                              .drain = streamer_drain,
                                              .refused = streamer_refused,
                                              .problem = app_problem };

static int streamer_set_up(void **state)
{
    memset(&streamer, 0, sizeof(streamer));
    streamer.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    atomic_store(&streamer.sleep_ms, -1);
    sem_init(&streamer.began, 0, 0);
    if (set_up(state) < 0)
        return -1;
    config.write_ms = 300;
    return 0;
}

static int streamer_tear_down(void **state)
{
    int rc = tear_down(state);
    (void)close(streamer.wake_fd);
    sem_destroy(&streamer.began);
    return rc;
}

static void start_streamer(void)
{
    struct err err;
    if (http_start(&config, &streamer_ops, &streamer, &server, &err) < 0)
        fail_msg("%s", err.msg);
}

static void order(int what)
{
    uint64_t one = 1;
    atomic_store(&streamer.order, what);
    assert_int_equal(write(streamer.wake_fd, &one, sizeof(one)), sizeof(one));
}

static void await(atomic_int *count, int at_least)
{
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (atomic_load(count) < at_least) {
        if (clock_mono_ms() > until)
            fail_msg("%d instead of %d", atomic_load(count), at_least);
        (void)poll(NULL, 0, 1);
    }
}

#define STREAM_HEAD                                                                                \
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"

static void pieces_arrive_as_they_are_written(void **state)
{
    (void)state;
    start_streamer();
    int fd = client();
    send_text(fd, GET("/stream"));
    expect(fd, STREAM_HEAD "\r\n5\r\nhello\r\n");
    order(1);
    expect(fd, "4\r\nmore\r\n");
    order(2);
    expect(fd, "0\r\n\r\n");
    send_text(fd, GET("/stream")); /* and the connection goes on */
    expect(fd, STREAM_HEAD "\r\n5\r\nhello\r\n");
    (void)close(fd);
}

static void what_is_pipelined_behind_a_stream_waits_for_its_end(void **state)
{
    (void)state;
    start_streamer();
    int fd = client();
    send_text(fd, GET("/stream") POST("/x", "Content-Length: 3\r\n") "abc");
    expect(fd, STREAM_HEAD "\r\n5\r\nhello\r\n");
    order(2);
    expect(fd, "0\r\n\r\nHTTP/1.1 200 OK\r\n" ANSWER("3", 1));
    (void)close(fd);
}

static void http_1_0_gets_it_up_to_the_end_of_the_connection(void **state)
{
    (void)state;
    start_streamer();
    int fd = client();
    send_text(fd, "GET /stream HTTP/1.0\r\n\r\n");
    expect(fd,
           "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\nhello");
    order(2);
    expect_end(fd);
}

static void head_gets_the_head_alone(void **state)
{
    (void)state;
    start_streamer();
    int fd = client();
    send_text(fd,
              "HEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n" POST("/x", "Content-Length: 1\r\n") "a");
    expect(fd, STREAM_HEAD "\r\nHTTP/1.1 200 OK\r\n" ANSWER("1", 1));
    (void)close(fd);
}

static void a_client_that_leaves_is_told_of(void **state)
{
    (void)state;
    start_streamer();
    int fd = client();
    send_text(fd, GET("/stream"));
    expect(fd, STREAM_HEAD "\r\n5\r\nhello\r\n");
    struct linger reset = { .l_onoff = 1, .l_linger = 0 };
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
    (void)close(fd);
    await(&streamer.gone, 1);
    await_connections(0);
}

static void a_client_that_takes_nothing_is_cut_off(void **state)
{
    (void)state;
    streamer.flood = 16 * 1024 * 1024;
    start_streamer();
    int fd = client();
    send_text(fd, GET("/flood"));
    await(&streamer.gone, 1);
    assert_true(atomic_load(&streamer.unsent));
    assert_int_equal(atomic_load(&streamer.drained), 0);
    (void)close(fd);
}

static void a_writer_is_told_when_all_was_taken(void **state)
{
    (void)state;
    streamer.flood = 4 * 1024 * 1024;
    config.write_ms = 10000;
    start_streamer();
    int fd = client();
    send_text(fd, GET("/flood"));
    size_t got = 0;
    char bytes[65536];
    while (got < streamer.flood) {
        ssize_t n = receive(fd, bytes, sizeof(bytes));
        assert_true(n > 0);
        got += (size_t)n;
    }
    await(&streamer.drained, 1);
    (void)close(fd);
}

static void a_piece_that_is_taken_in_part_arrives_whole(void **state)
{
    (void)state;
    streamer.flood = 16 * 1024 * 1024; /* more than a socket takes at once */
    config.write_ms = 10000;
    start_streamer();
    int fd = client();
    send_text(fd, GET("/stream"));
    expect(fd, STREAM_HEAD "\r\n5\r\nhello\r\n");
    order(3);
    expect(fd, "1000000\r\n");
    char bytes[65536];
    for (size_t got = 0; got < streamer.flood;) {
        size_t left = streamer.flood - got;
        ssize_t n = receive(fd, bytes, left < sizeof(bytes) ? left : sizeof(bytes));
        assert_true(n > 0);
        for (ssize_t i = 0; i < n; i++, got++)
            if (bytes[i] != flood_byte(got))
                fail_msg("another byte at %zu", got);
    }
    expect(fd, "\r\n4\r\nmore\r\n");
    (void)close(fd);
}

static void a_drain_ends_streams(void **state)
{
    (void)state;
    start_streamer();
    int fd = client();
    send_text(fd, GET("/stream"));
    expect(fd, STREAM_HEAD "\r\n5\r\nhello\r\n");
    http_drain(server);
    expect(fd, "0\r\n\r\n");
    expect_end(fd);
    assert_int_equal(atomic_load(&streamer.drains), 1);
}

static void a_body_may_be_as_long_as_its_path_allows(void **state)
{
    (void)state;
    start_streamer();
    enum { LEN = 300 * 1024 };
    char *body = calloc(1, LEN);
    int fd = client();
    send_text(fd, POST("/batch", "Content-Length: 307200\r\n"));
    send_bytes(fd, body, LEN);
    expect(fd, "HTTP/1.1 200 OK\r\n" ANSWER("307200", 6));
    send_text(fd, POST("/batch", "Transfer-Encoding: chunked\r\n") "4b000\r\n");
    send_bytes(fd, body, LEN);
    send_text(fd, "\r\n0\r\n\r\n");
    expect(fd, "HTTP/1.1 200 OK\r\n" ANSWER("307200", 6));
    send_text(fd, POST("/batch", "Content-Length: 307201\r\n"));
    expect_problem(fd, "413 Content Too Large", 413);
    assert_int_equal(atomic_load(&streamer.refused), 413);
    fd = client();
    send_text(fd, POST("/other", "Content-Length: 65537\r\n"));
    expect_problem(fd, "413 Content Too Large", 413);
    free(body);
}

static void long_bodies_share_one_limit(void **state)
{
    (void)state;
    config.max_large = 256 * 1024;
    start_streamer();
    enum { LEN = 300 * 1024 };
    char *body = calloc(1, LEN);
    int fd = client();
    send_text(fd, POST("/batch", "Content-Length: 307200\r\n"));
    (void)!send(fd, body, LEN, MSG_NOSIGNAL);
    char got[512];
    ssize_t n = receive(fd, got, sizeof(got) - 1);
    assert_true(n > 0);
    got[n] = '\0';
    assert_non_null(strstr(got, "HTTP/1.1 503"));
    (void)close(fd);
    free(body);
}

static void an_application_has_its_turn_in_time(void **state)
{
    (void)state;
    atomic_store(&streamer.sleep_ms, 2);
    start_streamer();
    await(&streamer.turns, 10); /* although nothing happens */
}

int main(void)
{
#define STREAM_TEST(f) cmocka_unit_test_setup_teardown(f, streamer_set_up, streamer_tear_down)
    const struct CMUnitTest tests[] = {
        STREAM_TEST(pieces_arrive_as_they_are_written),
        STREAM_TEST(what_is_pipelined_behind_a_stream_waits_for_its_end),
        STREAM_TEST(http_1_0_gets_it_up_to_the_end_of_the_connection),
        STREAM_TEST(head_gets_the_head_alone),
        STREAM_TEST(a_client_that_leaves_is_told_of),
        STREAM_TEST(a_client_that_takes_nothing_is_cut_off),
        STREAM_TEST(a_writer_is_told_when_all_was_taken),
        STREAM_TEST(a_piece_that_is_taken_in_part_arrives_whole),
        STREAM_TEST(a_drain_ends_streams),
        STREAM_TEST(a_body_may_be_as_long_as_its_path_allows),
        STREAM_TEST(long_bodies_share_one_limit),
        STREAM_TEST(an_application_has_its_turn_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
