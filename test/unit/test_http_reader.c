/* What the reader of requests takes, after RFC 9110 and RFC 9112, and what else its header promises. */
#include "test_http_reader_rig.h"

/* ---- what is taken ---- */

static void takes_what_the_rfc_allows(void **state)
{
    (void)state;
    static const struct example examples[] = {
        { "a plain GET", BYTES("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
          "GET / @localhost; idle" },
        { "a body with a length", BYTES(HEAD "Content-Length: 5\r\n\r\nhello"),
          "POST /p @a \"hello\"; idle" },
        { "a length of zero", BYTES(HEAD "Content-Length: 0\r\n\r\n"), "POST /p @a; idle" },
        { "a length with leading zeros", BYTES(HEAD "Content-Length: 005\r\n\r\nhello"),
          "POST /p @a \"hello\"; idle" },
        { "OPTIONS *", BYTES("OPTIONS * HTTP/1.1\r\n" HOST "\r\n"), "OPTIONS * @a; idle" },
        { "an absolute target", BYTES("GET http://b/x?y HTTP/1.1\r\n" HOST "\r\n"),
          "GET /x?y @b; idle" },
        { "an absolute target's case", BYTES("GET HTTP://B HTTP/1.1\r\n" HOST "\r\n"),
          "GET / @B; idle" },
        { "an absolute target without a path", BYTES("GET http://b?y HTTP/1.1\r\n" HOST "\r\n"),
          "GET /?y @b; idle" },
        { "OPTIONS of a whole server", BYTES("OPTIONS http://b:80 HTTP/1.1\r\n" HOST "\r\n"),
          "OPTIONS * @b:80; idle" },
        { "an IPv6 host", BYTES("GET / HTTP/1.1\r\nHost: [::1]:5001\r\n\r\n"),
          "GET / @[::1]:5001; idle" },
        { "a host with an empty port", BYTES("GET / HTTP/1.1\r\nHost: a:\r\n\r\n"),
          "GET / @a:; idle" },
        { "a query", BYTES("GET /a?b=c&d=/?e HTTP/1.1\r\n" HOST "\r\n"),
          "GET /a?b=c&d=/?e @a; idle" },
        { "every kind of pchar", BYTES("GET /-._~!$&'()*+,;=:@%2F%00 HTTP/1.1\r\n" HOST "\r\n"),
          "GET /-._~!$&'()*+,;=:@%2F%00 @a; idle" },
        { "an unknown method", BYTES("BREW /pot HTTP/1.1\r\n" HOST "\r\n"), "BREW /pot @a; idle" },
        { "a method's case", BYTES("get / HTTP/1.1\r\n" HOST "\r\n"), "get / @a; idle" },
        { "one empty line before", BYTES("\r\nGET / HTTP/1.1\r\n" HOST "\r\n"), "GET / @a; idle" },
        { "field names in any case", BYTES("GET / HTTP/1.1\r\nhOsT:a\r\n\r\n"), "GET / @a; idle" },
        { "whitespace around a value", BYTES("GET / HTTP/1.1\r\nHost: \t a\t \r\n\r\n"),
          "GET / @a; idle" },
        { "an empty value", BYTES(HEAD "X:\r\nContent-Length: 1\r\n\r\nx"),
          "POST /p @a \"x\"; idle" },
        { "obs-text in a value", BYTES(HEAD "X: \xc3\xa4\xff\r\n\r\n"), "POST /p @a; idle" },
        { "a chunked body", BYTES(CHUNKED "5\r\nhello\r\n0\r\n\r\n"),
          "POST /p @a \"hello\"; idle" },
        { "several chunks", BYTES(CHUNKED "5\r\nhello\r\n00B\r\n, you there\r\n0\r\n\r\n"),
          "POST /p @a \"hello, you there\"; idle" },
        { "an empty chunked body", BYTES(CHUNKED "0\r\n\r\n"), "POST /p @a; idle" },
        { "Chunked in any case",
          BYTES(HEAD "Transfer-Encoding: ChUnKeD \r\n\r\n1\r\nx\r\n0\r\n\r\n"),
          "POST /p @a \"x\"; idle" },
        { "chunk extensions", BYTES(CHUNKED "1;a;b=c;d=\"e;\\\"\\\\ \"\r\nx\r\n0;z\r\n\r\n"),
          "POST /p @a \"x\"; idle" },
        { "trailers, which are dropped",
          BYTES(CHUNKED "1\r\nx\r\n0\r\nHost: b\r\nX-Sum: 1\r\n\r\n"), "POST /p @a \"x\"; idle" },
        { "CR LF and NUL in a body", BYTES(HEAD "Content-Length: 3\r\n\r\n\r\n\t"),
          "POST /p @a \"\r\n\t\"; idle" },
        { "pipelined requests",
          BYTES(HEAD "Content-Length: 2\r\n\r\nxyGET /2 HTTP/1.1\r\n" HOST "\r\n\r\n" CHUNKED
                     "1\r\nz\r\n0\r\n\r\nHEAD /4 HTTP/1.1\r\n" HOST "\r\n"),
          "POST /p @a \"xy\"; GET /2 @a; POST /p @a \"z\"; HEAD /4 @a; idle" },
        { "Connection: close", BYTES("GET / HTTP/1.1\r\n" HOST "Connection: x , Close\r\n\r\nrest"),
          "GET / @a; close" },
        { "Connection: keep-alive",
          BYTES("GET / HTTP/1.1\r\n" HOST "Connection: keep-alive\r\n\r\n"), "GET / @a; idle" },
        { "Connection: closed, which is something else",
          BYTES("GET / HTTP/1.1\r\n" HOST "Connection: closed, x-close\r\n\r\n"),
          "GET / @a; idle" },
        { "HTTP/1.0 without a Host", BYTES("GET / HTTP/1.0\r\n\r\n"), "GET / @; close" },
        { "HTTP/1.0 with a body", BYTES("POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\nx"),
          "POST / @ \"x\"; close" },
        { "HTTP/1.0 with keep-alive",
          BYTES("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n"),
          "GET / @; close" },
        { "HTTP/1.0 with an expectation, which it cannot have",
          BYTES("POST / HTTP/1.0\r\nExpect: tea\r\nContent-Length: 1\r\n\r\nx"),
          "POST / @ \"x\"; close" },
        { "Upgrade, which is ignored",
          BYTES("GET / HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"),
          "GET / @a; idle" },
        { "Expect: 100-continue", BYTES(HEAD "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\nx"),
          "POST /p @a \"x\"; idle" },
        { "half a head", BYTES("GET / HTTP/1.1\r\n"), "head" },
        { "half a body", BYTES(HEAD "Content-Length: 3\r\n\r\nab"), "body" },
        { "half a chunk", BYTES(CHUNKED "3\r\nab"), "body" },
        { "half a trailer", BYTES(CHUNKED "0\r\nX: "), "body" },
        { "nothing but an empty line", BYTES("\r\n"), "idle" },
    };
    check_all(examples, ARRAY_LEN(examples));
}

/* ---- what else the header promises ---- */

static void read_one(struct http_reader *r, char *buffer, size_t cap, const char *data)
{
    static const struct http_reader_limits limits = { .max_body = MAX_BODY };
    size_t room_len;
    http_reader_init(r, &limits, buffer, cap);
    char *room = http_reader_room(r, &room_len);
    assert_true(room_len >= strlen(data));
    memcpy(room, data, strlen(data));
    http_reader_fed(r, strlen(data));
}

static void finds_fields_by_name(void **state)
{
    (void)state;
    char buffer[512];
    struct http_reader r;
    read_one(&r, buffer, sizeof(buffer),
             HEAD "Content-Type:  application/json \r\nX: 1\r\nx: 2\r\nEmpty:\r\n\r\n");
    assert_int_equal(http_reader_parse(&r), HTTP_READER_REQUEST);
    assert_int_equal(r.request.method, HTTP_POST);
    assert_true(http_slice_is(http_field(&r.request, "content-type"), "application/json"));
    assert_true(http_slice_is(http_field(&r.request, "x"), "1")); /* the first */
    assert_true(http_slice_is(http_field(&r.request, "empty"), ""));
    assert_non_null(http_field(&r.request, "empty").data);
    assert_null(http_field(&r.request, "absent").data);
    assert_false(http_slice_is(http_field(&r.request, "absent"), ""));
}

static void tells_methods_apart(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum http_method method;
    } methods[] = {
        { "GET", HTTP_GET },     { "HEAD", HTTP_HEAD },     { "POST", HTTP_POST },
        { "PUT", HTTP_PUT },     { "DELETE", HTTP_DELETE }, { "OPTIONS", HTTP_OPTIONS },
        { "PATCH", HTTP_OTHER }, { "get", HTTP_OTHER },     { "GETS", HTTP_OTHER },
        { "GE", HTTP_OTHER },    { "HEADER", HTTP_OTHER },
    };
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        char buffer[512], data[256];
        struct http_reader r;
        (void)snprintf(data, sizeof(data), "%s / HTTP/1.1\r\n" HOST "\r\n", methods[i].name);
        read_one(&r, buffer, sizeof(buffer), data);
        assert_int_equal(http_reader_parse(&r), HTTP_READER_REQUEST);
        assert_int_equal(r.request.method, methods[i].method);
        assert_int_equal(http_reader_is_head(&r), methods[i].method == HTTP_HEAD);
    }
}

static void wants_100_continue_once_and_only_if_the_client_waits(void **state)
{
    (void)state;
    static const struct {
        const char *what, *data;
        bool wanted;
    } cases[] = {
        { "it waits", HEAD "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", true },
        { "it waits to send chunks",
          HEAD "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n", true },
        { "the head is not over", HEAD "Expect: 100-continue\r\nContent-Length: 5\r\n", false },
        { "it did not wait", HEAD "Expect: 100-continue\r\nContent-Length: 5\r\n\r\nh", false },
        { "it did not wait with a chunk",
          HEAD "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n5", false },
        { "no expectation", HEAD "Content-Length: 5\r\n\r\n", false },
        { "HTTP/1.0", "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
          false },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char buffer[512];
        struct http_reader r;
        read_one(&r, buffer, sizeof(buffer), cases[i].data);
        assert_int_equal(http_reader_parse(&r), HTTP_READER_MORE);
        if (http_reader_continue(&r) != cases[i].wanted)
            fail_msg("%s", cases[i].what);
        assert_false(http_reader_continue(&r));
    }
}

static void keeps_a_request_whole_when_the_buffer_moves(void **state)
{
    (void)state;
    char first[512], second[600];
    struct http_reader r;
    read_one(&r, first, sizeof(first),
             "\r\nGET /a?b HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nx");
    assert_int_equal(http_reader_parse(&r), HTTP_READER_MORE);
    assert_int_equal(http_reader_stage(&r), HTTP_READER_BODY);
    http_reader_move(&r, second, sizeof(second));
    memset(first, '?', sizeof(first));
    size_t room_len;
    *http_reader_room(&r, &room_len) = 'y';
    http_reader_fed(&r, 1);
    assert_int_equal(http_reader_parse(&r), HTTP_READER_REQUEST);
    assert_true(http_slice_is(r.request.path, "/a"));
    assert_true(http_slice_is(r.request.query, "b"));
    assert_true(http_slice_is(r.request.host, "a"));
    assert_true(http_slice_is(r.request.body, "xy"));
    assert_true(http_slice_is(http_field(&r.request, "content-length"), "2"));
}

static void is_empty_only_between_requests(void **state)
{
    (void)state;
    char buffer[512];
    struct http_reader r;
    read_one(&r, buffer, sizeof(buffer), "");
    assert_true(http_reader_empty(&r));
    read_one(&r, buffer, sizeof(buffer), "\r\n");
    assert_int_equal(http_reader_parse(&r), HTTP_READER_MORE);
    assert_false(http_reader_empty(&r)); /* a second empty line would be one too many */
    read_one(&r, buffer, sizeof(buffer), "GET / HTTP/1.1\r\n" HOST "\r\nG");
    assert_int_equal(http_reader_parse(&r), HTTP_READER_REQUEST);
    http_reader_next(&r);
    assert_false(http_reader_empty(&r));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_what_the_rfc_allows),
        cmocka_unit_test(finds_fields_by_name),
        cmocka_unit_test(tells_methods_apart),
        cmocka_unit_test(wants_100_continue_once_and_only_if_the_client_waits),
        cmocka_unit_test(keeps_a_request_whole_when_the_buffer_moves),
        cmocka_unit_test(is_empty_only_between_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
