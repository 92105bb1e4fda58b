/* The client over plain sockets: which connections are used again, which requests are sent once more, and what
 * becomes of those that end badly. */
#include "test_client_rig.h"

/* --- the request --- */

static void a_request_is_what_the_server_hears(void **state)
{
    (void)state;
    static const struct {
        const char *method, *tail, *fields, *body, *expected;
    } rows[] = {
        { "POST", "/a?b#c", "x: y\r\n", "hi",
          "POST /a?b HTTP/1.1\r\nhost: %s\r\naccept: */*\r\nx: y\r\ncontent-length: 2\r\n\r\nhi" },
        { "POST", "?b", "", "",
          "POST /?b HTTP/1.1\r\nhost: %s\r\naccept: */*\r\ncontent-length: 0\r\n\r\n" },
        { "GET", "", "", "", "GET / HTTP/1.1\r\nhost: %s\r\naccept: */*\r\n\r\n" },
        { "GET", "#c", "", "", "GET / HTTP/1.1\r\nhost: %s\r\naccept: */*\r\n\r\n" },
    };
    struct rig rig;
    rig_up(&rig, &(struct client_config){ 0 });
    int fd = -1;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char url[128], host[64], expected[256];
        struct err err;
        (void)snprintf(host, sizeof(host), "127.0.0.1:%u", rig.server.port);
        (void)snprintf(url, sizeof(url), "HTTP://%s%s", host, rows[i].tail);
        (void)snprintf(expected, sizeof(expected), rows[i].expected, host);
        struct client_request request = {
            .method = rows[i].method,
            .url = url,
            .fields = rows[i].fields,
            .fields_len = strlen(rows[i].fields),
            .body = rows[i].body,
            .body_len = strlen(rows[i].body),
        };
        assert_int_equal(client_begin(rig.client, &rig.call, &request, &err), 0);
        memset(url, '?', sizeof(url)); /* nothing is borrowed */
        if (fd < 0)
            fd = take(&rig);
        assert_string_equal(hear(&rig, fd), expected);
        say(fd, "HTTP/1.1 201 C\r\nContent-Length: 4\r\n\r\nbody");
        ends_with(&rig, CLIENT_OK, 201);
        assert_int_equal(response_kept(&rig.call.response), 4);
        assert_memory_equal(rig.keep, "body", 4);
    }
    hang_up(fd);
    rig_down(&rig);
}

static void an_address_of_ipv6_is_spoken_to(void **state)
{
    (void)state;
    struct rig rig;
    struct listener v6;
    char expected[64];
    if (try_listen(&v6, "::1", 0, 16) < 0)
        skip();
    rig_up(&rig, &(struct client_config){ 0 });
    begin_at(&rig, "[::1]", v6.port);
    int fd = take_from(&rig, &v6);
    (void)snprintf(expected, sizeof(expected), "\r\nhost: [::1]:%u\r\n", v6.port);
    assert_non_null(strstr(hear(&rig, fd), expected));
    say(fd, OK_EMPTY);
    ends_with(&rig, CLIENT_OK, 200);
    assert_int_equal(rig.call.peer.ss_family, AF_INET6);
    begin_at(&rig, "[::1]", v6.port);
    (void)hear(&rig, fd);
    say(fd, OK_EMPTY);
    ends_with(&rig, CLIENT_OK, 200);
    hang_up(fd);
    stop_listening(&v6);
    rig_down(&rig);
}

static void a_request_that_does_not_fit_is_not_begun(void **state)
{
    (void)state;
    struct rig rig;
    struct err err;
    rig_up(&rig, &(struct client_config){ 0 });
    struct call small;
    call_init(&small, 200, NULL, 0);
    char body[201] = "", url[64];
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/", rig.server.port);
    struct client_request request = {
        .method = "POST", .url = url, .body = body, .body_len = sizeof(body)
    };
    assert_int_equal(client_begin(rig.client, &small, &request, &err), -1);
    assert_int_equal(small.state, CALL_RESTS);
    assert_null(client_ended(rig.client));
    request.body_len = 1;
    assert_int_equal(client_begin(rig.client, &small, &request, &err), 0);
    int fd = take(&rig);
    (void)hear(&rig, fd);
    say(fd, OK_EMPTY);
    struct call *ended = NULL;
    UNTIL(&rig, (ended = client_ended(rig.client)) != NULL);
    assert_ptr_equal(ended, &small);
    assert_int_equal(small.error, CLIENT_OK);
    hang_up(fd);
    call_release(&small);
    rig_down(&rig);
}

static void times_are_told_in_their_order(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, &(struct client_config){ 0 });
    hang_up(exchange_kept(&rig));
    const struct call *c = &rig.call;
    assert_true(0 <= c->resolved_us && c->resolved_us <= c->connected_us);
    assert_true(c->connected_us <= c->sent_us && c->sent_us <= c->answered_us);
    assert_true(c->answered_us <= c->ended_us);
    assert_int_equal(c->secured_us, -1);
    assert_int_equal(((const struct sockaddr_in *)&c->peer)->sin_port,
                     htons((uint16_t)rig.server.port));
    rig_down(&rig);
}

/* --- connections that are kept --- */

static void a_kept_connection_is_used_again_by_the_same_origin_only(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, &(struct client_config){ 0 });
    struct listener other_host = listen_at("127.0.0.2", rig.server.port);
    struct listener other_port = listen_at("127.0.0.1", 0);
    int fd = exchange_kept(&rig);
    begin(&rig);
    (void)hear(&rig, fd);
    say(fd, OK_EMPTY);
    ends_with(&rig, CLIENT_OK, 200);
    assert_int_equal(rig.call.resolved_us, -1);
    assert_int_equal(rig.call.connected_us, -1);
    const struct {
        const char *host;
        const struct listener *listener;
    } rows[] = { { "127.0.0.2", &other_host }, { "127.0.0.1", &other_port } };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        begin_at(&rig, rows[i].host, rows[i].listener->port);
        int other = take_from(&rig, rows[i].listener);
        (void)hear(&rig, other);
        say(other, OK_EMPTY);
        ends_with(&rig, CLIENT_OK, 200);
        hang_up(other);
    }
    char url[64];
    (void)snprintf(url, sizeof(url), "https://127.0.0.1:%u/", rig.server.port);
    begin_body(&rig, &rig.call, url, "hi", 2);
    int secure = take(&rig);
    hang_up(secure);
    ends_with(&rig, CLIENT_TLS, 0);
    assert_true(is_quiet(fd));
    begin(&rig); /* and still it is kept for its own */
    (void)hear(&rig, fd);
    client_cancel(rig.client, &rig.call);
    hang_up(fd);
    stop_listening(&other_host);
    stop_listening(&other_port);
    rig_down(&rig);
}

static void two_at_once_have_two_connections_and_the_last_used_is_used_first(void **state)
{
    (void)state;
    struct rig rig;
    struct call other;
    char url[64];
    rig_up(&rig, &(struct client_config){ 0 });
    call_init(&other, MAX_REQUEST, NULL, 0);
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/2", rig.server.port);
    begin(&rig);
    int first = take(&rig);
    begin_body(&rig, &other, url, NULL, 0);
    int second = take(&rig);
    (void)hear(&rig, first);
    (void)hear(&rig, second);
    say(second, OK_EMPTY);
    UNTIL(&rig, client_ended(rig.client) == &other);
    say(first, OK_EMPTY);
    ends_with(&rig, CLIENT_OK, 200);
    begin(&rig);
    (void)hear(&rig, first);
    assert_true(is_quiet(second));
    client_cancel(rig.client, &rig.call);
    hang_up(first);
    hang_up(second);
    call_release(&other);
    rig_down(&rig);
}

static void of_too_many_kept_connections_the_longest_idle_goes(void **state)
{
    (void)state;
    struct rig rig;
    struct listener at[3];
    int fds[3];
    rig_up(&rig, &(struct client_config){ .max_idle = 2 });
    for (int i = 0; i < 3; i++) {
        at[i] = listen_at("127.0.0.1", 0);
        begin_at(&rig, "127.0.0.1", at[i].port);
        fds[i] = take_from(&rig, &at[i]);
        (void)hear(&rig, fds[i]);
        say(fds[i], OK_EMPTY);
        ends_with(&rig, CLIENT_OK, 200);
        if (i == 1) { /* the first one is used once more: the second has been idle for longer */
            begin_at(&rig, "127.0.0.1", at[0].port);
            (void)hear(&rig, fds[0]);
            say(fds[0], OK_EMPTY);
            ends_with(&rig, CLIENT_OK, 200);
        }
    }
    is_left(&rig, fds[1]);
    assert_true(is_quiet(fds[0]));
    assert_true(is_quiet(fds[2]));
    hang_up(fds[0]);
    hang_up(fds[2]);
    for (int i = 0; i < 3; i++)
        stop_listening(&at[i]);
    rig_down(&rig);
}

/* Ways in which a server ends a connection that it was done with. */
static void goodbye_half(int fd)
{
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
}

static void goodbye_extra(int fd)
{
    say(fd, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n");
}

static void goodbye_extra_and_close(int fd)
{
    goodbye_extra(fd);
    goodbye_half(fd);
}

static void (*const goodbyes[])(int) = { goodbye_half, goodbye_extra, goodbye_extra_and_close,
                                         hang_up, reset };
enum { GOODBYES_OPEN = 3 /* these leave the server's descriptor open */ };

static void a_connection_that_ended_while_idle_is_not_used(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, &(struct client_config){ 0 });
    for (size_t i = 0; i < ARRAY_LEN(goodbyes); i++) {
        int old = exchange_kept(&rig);
        goodbyes[i](old);
        look_around(&rig);
        begin(&rig);
        int fd = take(&rig);
        (void)hear(&rig, fd);
        say(fd, OK_EMPTY);
        ends_with(&rig, CLIENT_OK, 200);
        assert_true(rig.call.connected_us >= 0);
        if (i < GOODBYES_OPEN) {
            char byte;
            assert_true(recv(old, &byte, 1, 0) <= 0); /* it was closed, and nothing was sent */
            hang_up(old);
        }
        reset(fd);
        look_around(&rig);
        assert_true(nobody_comes(&rig));
    }
    rig_down(&rig);
}

/* The client sends before it can know. */
static void a_request_that_met_a_connection_just_ended_is_sent_once_more(void **state)
{
    (void)state;
    static void (*const ends[])(int) = { goodbye_half, hang_up, reset };
    struct rig rig;
    rig_up(&rig, &(struct client_config){ 0 });
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        for (int good = 0; good < 2; good++) {
            int old = exchange_kept(&rig);
            ends[i](old);
            begin(&rig);
            if (ends[i] == goodbye_half) {
                (void)hear(&rig, old);
                hang_up(old);
            }
            int fd = take(&rig);
            (void)hear(&rig, fd);
            if (good)
                say(fd, OK_EMPTY);
            hang_up(fd);
            ends_with(&rig, good ? CLIENT_OK : CLIENT_RESET, good ? 200 : 0);
            look_around(&rig);
            assert_true(nobody_comes(&rig)); /* once, not twice */
        }
    rig_down(&rig);
}

static void so_is_one_whose_connection_ends_while_it_waits_for_the_answer(void **state)
{
    (void)state;
    static void (*const ends[])(int) = { hang_up, reset };
    struct rig rig;
    rig_up(&rig, &(struct client_config){ 0 });
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        int old = exchange_kept(&rig);
        begin(&rig);
        (void)hear(&rig, old);
        look_around(&rig);
        ends[i](old);
        int fd = take(&rig);
        (void)hear(&rig, fd);
        say(fd, OK_EMPTY);
        ends_with(&rig, CLIENT_OK, 200);
        reset(fd);
        look_around(&rig);
    }
    rig_down(&rig);
}

static void a_large_request_is_sent_once_more_from_its_beginning(void **state)
{
    (void)state;
    struct rig rig;
    char url[64];
    CLEANUP(freep) char *body = large_body();
    rig_up(&rig, &(struct client_config){ 0 });
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/", rig.server.port);
    int old = exchange_kept(&rig);
    begin_body(&rig, &rig.call, url, body, LARGE);
    assert_int_equal(rig.call.state, CALL_SENDS);
    look_around(&rig);
    reset(old);
    int fd = take(&rig);
    size_t len = 0, head = 0;
    CLEANUP(freep) char *got = malloc(LARGE + 1000);
    while (len < LARGE + head || head == 0) {
        UNTIL(&rig, is_readable(fd));
        ssize_t n = recv(fd, got + len, LARGE + 1000 - len, 0);
        assert_true(n > 0);
        len += (size_t)n;
        const char *end = head ? NULL : memmem(got, len, "\r\n\r\n", 4);
        if (end)
            head = (size_t)(end - got) + 4;
    }
    assert_int_equal(len, head + LARGE);
    assert_memory_equal(got, "POST / ", 7);
    assert_memory_equal(got + head, body, LARGE);
    say(fd, OK_EMPTY);
    ends_with(&rig, CLIENT_OK, 200);
    hang_up(fd);
    rig_down(&rig);
}

static void a_new_connection_that_ends_before_the_answer_is_final(void **state)
{
    (void)state;
    static void (*const ends[])(int) = { hang_up, reset };
    struct rig rig;
    rig_up(&rig, &(struct client_config){ 0 });
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        for (int heard = 0; heard < 2; heard++) {
            begin(&rig);
            int fd = take(&rig);
            if (heard)
                (void)hear(&rig, fd);
            ends[i](fd);
            ends_with(&rig, CLIENT_RESET, 0);
            assert_string_not_equal(rig.call.why, "");
            look_around(&rig);
            assert_true(nobody_comes(&rig));
        }
    rig_down(&rig);
}

static void half_an_answer_is_not_asked_for_again(void **state)
{
    (void)state;
    static const struct {
        const char *said;
        enum client_error error;
        int status;
    } rows[] = {
        { "H", CLIENT_RESET, 0 },
        { "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", CLIENT_RESET, 0 },
        { "HTTP/1.1 100 Continue\r\n\r\n", CLIENT_RESET, 0 },
        { "HTTP/1.1 500 Oops\r\nContent-Length: 5\r\n\r\nhel", CLIENT_OK,
          500 }, /* status decides */
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", CLIENT_OK, 200 },
        { "HTTP/1.1 200 OK\r\n\r\nuntil close", CLIENT_OK, 200 },
    };
    static void (*const ends[])(int) = { hang_up, reset };
    struct rig rig;
    rig_up(&rig, &(struct client_config){ 0 });
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t j = 0; j < 2 * ARRAY_LEN(ends); j++) {
            int fd = exchange_kept(&rig);
            begin(&rig);
            (void)hear(&rig, fd);
            say(fd, rows[i].said);
            if (j % 2)
                look_around(&rig);
            ends[j / 2](fd);
            ends_with(&rig, rows[i].error, rows[i].status);
            look_around(&rig);
            assert_true(nobody_comes(&rig));
        }
    rig_down(&rig);
}

static void who_says_close_is_left(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nmore than that",
        "HTTP/1.1 101 Switching\r\n\r\n",
    };
    struct rig rig;
    rig_up(&rig, &(struct client_config){ 0 });
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        begin(&rig);
        int fd = take(&rig);
        (void)hear(&rig, fd);
        say(fd, rows[i]);
        ends_with(&rig, CLIENT_OK, i == 3 ? 101 : 200);
        is_left(&rig, fd);
    }
    begin(&rig); /* one says nothing, and ends with its answer */
    int fd = take(&rig);
    (void)hear(&rig, fd);
    say(fd, OK_EMPTY);
    goodbye_half(fd);
    ends_with(&rig, CLIENT_OK, 200);
    is_left(&rig, fd);
    rig_down(&rig);
}

/* As much as the client reads at once, and more behind it, which no event tells of any more. */
static void bytes_behind_an_answer_that_fills_the_buffer_are_no_answer(void **state)
{
    (void)state;
    enum { AT_ONCE = 16 * 1024 };
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 16300\r\nX: ";
    static const char more[] = "HTTP/1.1 500 Nobody asked\r\nContent-Length: 0\r\n\r\n";
    struct rig rig;
    char answer[AT_ONCE + sizeof(more) - 1];
    memset(answer, 'x', sizeof(answer));
    memcpy(answer, head, sizeof(head) - 1);
    memcpy(answer + AT_ONCE - 16300 - 4, "\r\n\r\n", 4);
    memcpy(answer + AT_ONCE, more, sizeof(more) - 1);
    rig_up(&rig, &(struct client_config){ 0 });
    begin(&rig);
    int old = take(&rig);
    (void)hear(&rig, old);
    say_bytes(old, answer, sizeof(answer));
    ends_with(&rig, CLIENT_OK, 200);
    begin(&rig);
    int fd = take(&rig);
    (void)hear(&rig, fd);
    say_bytes(fd, answer, AT_ONCE);
    ends_with(&rig, CLIENT_OK, 200);
    is_left(&rig, old);
    begin(&rig); /* but if there is nothing more, it is kept */
    (void)hear(&rig, fd);
    say(fd, OK_EMPTY);
    ends_with(&rig, CLIENT_OK, 200);
    hang_up(fd);
    rig_down(&rig);
}

/* --- bodies --- */

static void an_early_answer_is_read(void **state)
{
    (void)state;
    static const char answer[] = "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!";
    struct rig rig;
    char url[64];
    CLEANUP(freep) char *body = large_body();
    rig_up(&rig, &(struct client_config){ 0 });
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/", rig.server.port);
    for (int i = 0; i < 4; i++) {
        int kept = i % 2 ? exchange_kept(&rig) : -1; /* over a new connection, or over a kept one */
        begin_body(&rig, &rig.call, url, body, LARGE);
        int fd = kept >= 0 ? kept : take(&rig);
        UNTIL(&rig, is_readable(fd));
        assert_true(recv(fd, rig.text, 100, 0) > 0);
        look_around(&rig);
        assert_int_equal(rig.call.state, CALL_SENDS);
        say(fd, answer);
        if (i < 2)
            hang_up(fd); /* with most of the request unread: a reset follows the answer */
        ends_with(&rig, CLIENT_OK, 413);
        assert_memory_equal(rig.keep, "no!", 3);
        assert_int_equal(rig.call.sent_us, -1);
        if (i >= 2)
            is_left(&rig, fd); /* the rest of the request would be taken for the next one */
        assert_true(nobody_comes(&rig));
    }
    rig_down(&rig);
}

static void a_large_request_reaches_a_slow_reader(void **state)
{
    (void)state;
    const int small = 8192;
    struct rig rig;
    char url[64];
    CLEANUP(freep) char *body = large_body();
    rig_up(&rig, &(struct client_config){ 0 });
    (void)setsockopt(rig.server.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/", rig.server.port);
    begin_body(&rig, &rig.call, url, body, LARGE);
    int fd = take(&rig);
    look_around(&rig);
    assert_int_equal(rig.call.state, CALL_SENDS);
    say(fd, "HTTP/1.1 100 Continue\r\n\r\n"); /* while it is being sent */
    CLEANUP(freep) char *got = malloc(LARGE + 1000);
    size_t len = 0;
    const char *end = NULL;
    while (!end || len < LARGE + (size_t)(end - got)) {
        UNTIL(&rig, is_readable(fd));
        size_t room = LARGE + 1000 - len;
        ssize_t n = recv(fd, got + len, room < 20000 ? room : 20000, 0);
        assert_true(n > 0);
        len += (size_t)n;
        if (!end && (end = memmem(got, len, "\r\n\r\n", 4)))
            end += 4;
    }
    assert_int_equal(len, LARGE + (size_t)(end - got));
    assert_memory_equal(end, body, LARGE);
    say(fd, OK_EMPTY);
    ends_with(&rig, CLIENT_OK, 200);
    begin(&rig); /* it is kept */
    (void)hear(&rig, fd);
    client_cancel(rig.client, &rig.call);
    hang_up(fd);
    rig_down(&rig);
}

static void an_answer_may_come_in_any_number_of_pieces(void **state)
{
    (void)state;
    static const char answer[] =
        "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\n"
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    struct rig rig;
    rig_up(&rig, &(struct client_config){ 0 });
    int fd = exchange_kept(&rig);
    for (size_t piece = 1; piece < sizeof(answer); piece += 6) {
        begin(&rig);
        (void)hear(&rig, fd);
        for (size_t at = 0; at < sizeof(answer) - 1; at += piece) {
            size_t left = sizeof(answer) - 1 - at;
            assert_int_equal(rig.call.state, CALL_READS);
            say_bytes(fd, answer + at, piece < left ? piece : left);
            look_around(&rig);
        }
        assert_int_equal(rig.call.state, CALL_ENDED);
        ends_with(&rig, CLIENT_OK, 503);
        assert_string_equal(rig.call.response.retry_after, "7");
        assert_int_equal(response_kept(&rig.call.response), 5);
        assert_memory_equal(rig.keep, "abcde", 5);
    }
    hang_up(fd);
    rig_down(&rig);
}

static void what_is_no_http_or_too_much_of_it_is_told(void **state)
{
    (void)state;
    struct rig rig;
    char header[40000];
    memset(header, 'x', sizeof(header) - 1);
    header[sizeof(header) - 1] = '\0';
    memcpy(header, "HTTP/1.1 200 OK\r\nX: ", 20);
    const struct {
        const char *said;
        enum client_error error;
    } rows[] = {
        { "SSH-2.0-x\r\n", CLIENT_PROTOCOL },
        { "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n", CLIENT_PROTOCOL },
        { header, CLIENT_TOO_LARGE },
    };
    rig_up(&rig, &(struct client_config){ 0 });
    for (size_t i = 0; i < 2 * ARRAY_LEN(rows); i++) {
        int fd = i % 2 ? exchange_kept(&rig) : -1;
        begin(&rig);
        fd = fd >= 0 ? fd : take(&rig);
        (void)hear(&rig, fd);
        say(fd, rows[i / 2].said);
        ends_with(&rig, rows[i / 2].error, 0);
        assert_string_not_equal(rig.call.why, "");
        is_left(&rig, fd);
        assert_true(nobody_comes(&rig));
    }
    rig_down(&rig);
}

static void a_call_is_used_again_and_again(void **state)
{
    (void)state;
    struct rig rig;
    char url[64], body[5000];
    memset(body, 'b', sizeof(body));
    rig_up(&rig, &(struct client_config){ 0 });
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/", rig.server.port);
    int fd = exchange_kept(&rig);
    for (int i = 0; i < 300; i++) {
        size_t len = (size_t)(i * 37) % sizeof(body);
        char answer[128];
        begin_body(&rig, &rig.call, url, body, len);
        assert_int_equal(strlen(strstr(hear(&rig, fd), "\r\n\r\n") + 4), len);
        int status = 200 + i;
        (void)snprintf(answer, sizeof(answer), "HTTP/1.1 %d X\r\nContent-Length: %d\r\n%s\r\n%.*s",
                       status, i % 10, i % 3 ? "" : "Retry-After: 3\r\n", i % 10, "0123456789");
        if (status == 204 || status == 304)
            (void)snprintf(answer, sizeof(answer), "HTTP/1.1 %d X\r\n\r\n", status);
        say(fd, answer);
        if (i % 10 == 7) { /* and after it has failed */
            ends_with(&rig, CLIENT_OK, status);
            begin(&rig);
            (void)hear(&rig, fd);
            say(fd, "what?");
            ends_with(&rig, CLIENT_PROTOCOL, 0);
            is_left(&rig, fd);
            fd = exchange_kept(&rig);
            assert_string_equal(rig.call.why, "");
            continue;
        }
        ends_with(&rig, CLIENT_OK, status);
        if (status != 204 && status != 304) {
            assert_string_equal(rig.call.response.retry_after, i % 3 ? "" : "3");
            assert_int_equal(response_kept(&rig.call.response), i % 10);
        }
    }
    assert_true(nobody_comes(&rig));
    hang_up(fd);
    rig_down(&rig);
}

static void one_call_alone_is_performed(void **state)
{
    (void)state;
    struct rig rig;
    struct err err;
    char url[64];
    rig_up(&rig, &(struct client_config){ .total_timeout_ms = 300 });
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/", rig.server.port);
    struct client_request request = { .method = "GET", .url = url };
    assert_int_equal(client_perform(rig.client, &rig.call, &request, &err), 0);
    assert_int_equal(rig.call.error, CLIENT_TIMEOUT); /* nobody took it */
    assert_int_equal(rig.call.state, CALL_RESTS);
    int fd = take(&rig);
    is_left(&rig, fd);
    stop_listening(&rig.server);
    assert_int_equal(client_perform(rig.client, &rig.call, &request, &err), 0);
    assert_int_equal(rig.call.error, CLIENT_REFUSED);
    rig_down(&rig);
}

static void a_wait_ends_too_when_what_the_caller_watches_is_readable(void **state)
{
    (void)state;
    struct rig rig;
    struct err err;
    int ends[2];
    rig_up(&rig, &(struct client_config){ .total_timeout_ms = 60000 });
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(client_watch(rig.client, ends[0], &err), 0);
    assert_int_equal(client_watch(rig.client, ends[0], &err), -1); /* twice */
    assert_int_equal(write(ends[1], "x", 1), 1);
    int64_t before_ms = clock_mono_ms();
    assert_int_equal(client_wait(rig.client, 50000, &err), 0);
    assert_int_equal(client_wait(rig.client, 50000, &err), 0); /* it was not read */
    assert_true(clock_mono_ms() - before_ms < WAIT_S * 1000);
    (void)close(ends[0]);
    (void)close(ends[1]);
    rig_down(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_what_the_server_hears),
        cmocka_unit_test(an_address_of_ipv6_is_spoken_to),
        cmocka_unit_test(a_request_that_does_not_fit_is_not_begun),
        cmocka_unit_test(times_are_told_in_their_order),
        cmocka_unit_test(a_kept_connection_is_used_again_by_the_same_origin_only),
        cmocka_unit_test(two_at_once_have_two_connections_and_the_last_used_is_used_first),
        cmocka_unit_test(of_too_many_kept_connections_the_longest_idle_goes),
        cmocka_unit_test(a_connection_that_ended_while_idle_is_not_used),
        cmocka_unit_test(a_request_that_met_a_connection_just_ended_is_sent_once_more),
        cmocka_unit_test(so_is_one_whose_connection_ends_while_it_waits_for_the_answer),
        cmocka_unit_test(a_large_request_is_sent_once_more_from_its_beginning),
        cmocka_unit_test(a_new_connection_that_ends_before_the_answer_is_final),
        cmocka_unit_test(half_an_answer_is_not_asked_for_again),
        cmocka_unit_test(who_says_close_is_left),
        cmocka_unit_test(bytes_behind_an_answer_that_fills_the_buffer_are_no_answer),
        cmocka_unit_test(an_early_answer_is_read),
        cmocka_unit_test(a_large_request_reaches_a_slow_reader),
        cmocka_unit_test(an_answer_may_come_in_any_number_of_pieces),
        cmocka_unit_test(what_is_no_http_or_too_much_of_it_is_told),
        cmocka_unit_test(a_call_is_used_again_and_again),
        cmocka_unit_test(one_call_alone_is_performed),
        cmocka_unit_test(a_wait_ends_too_when_what_the_caller_watches_is_readable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
