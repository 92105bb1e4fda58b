/* What the reader of requests refuses, after RFC 9110 and RFC 9112, and its limits. */
#include "test_http_reader_rig.h"

/* ---- what is refused ---- */

static void refuses_what_is_no_request(void **state)
{
    (void)state;
    static const struct example examples[] = {
        { "a TLS client", BYTES("\x16"), "400" },
        { "NUL at once", BYTES("\0"), "400" },
        { "a space before the method", BYTES(" "), "400" },
        { "a line feed before the method", BYTES("\n"), "400" },
        { "a bare CR before the method", BYTES("\rG"), "400" },
        { "two empty lines before", BYTES("\r\n\r"), "400" },
        { "a byte that no method has", BYTES("GE(T / HTTP/1.1\r\n" HOST "\r\n"), "400" },
        { "a tab after the method", BYTES("GET\t/ HTTP/1.1\r\n" HOST "\r\n"), "400" },
        { "two spaces after the method", BYTES("GET  / HTTP/1.1\r\n" HOST "\r\n"), "400" },
        { "two spaces after the target", BYTES("GET /  HTTP/1.1\r\n" HOST "\r\n"), "400" },
        { "a space in the target", BYTES("GET /a b HTTP/1.1\r\n" HOST "\r\n"), "400" },
        { "a space after the version", BYTES("GET / HTTP/1.1 \r\n" HOST "\r\n"), "400" },
        { "no target", BYTES("GET HTTP/1.1\r\n" HOST "\r\n"), "400" },
        { "no version", BYTES("GET /\r\n" HOST "\r\n"), "400" },
        { "HTTP/0.9 as such", BYTES("GET / HTTP/0.9\r\n\r\n"), "400" },
        { "HTTP/2.0", BYTES("GET / HTTP/2.0\r\n" HOST "\r\n"), "505" },
        { "the preface of HTTP/2", BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "505" },
        { "HTTP/1.2", BYTES("GET / HTTP/1.2\r\n" HOST "\r\n"), "505" },
        { "HTTP/3.0", BYTES("GET / HTTP/3.0\r\n" HOST "\r\n"), "505" },
        { "HTTP/1.10", BYTES("GET / HTTP/1.10\r\n" HOST "\r\n"), "400" },
        { "HTTP/1", BYTES("GET / HTTP/1\r\n" HOST "\r\n"), "400" },
        { "http/1.1", BYTES("GET / http/1.1\r\n" HOST "\r\n"), "400" },
        { "RTSP/1.1", BYTES("GET / RTSP/1.1\r\n" HOST "\r\n"), "400" },
        { "a bare LF after the version", BYTES("GET / HTTP/1.1\n" HOST "\r\n"), "400" },
        { "a bare CR after the version", BYTES("GET / HTTP/1.1\rX" HOST "\r\n"), "400" },
        { "CONNECT", BYTES("CONNECT a:443 HTTP/1.1\r\n" HOST "\r\n"), "501" },
        { "CONNECT with a path", BYTES("CONNECT / HTTP/1.1\r\n" HOST "\r\n"), "501" },
    };
    check_all(examples, ARRAY_LEN(examples));
}

static void refuses_targets_outside_the_grammar(void **state)
{
    (void)state;
    static const struct example examples[] = {
        { "* for GET", BYTES("GET * HTTP/1.1\r\n" HOST "\r\n"), "400" },
        { "*x", BYTES("OPTIONS *x HTTP/1.1\r\n" HOST "\r\n"), "400" },
        { "a fragment", BYTES("GET /a#b HTTP/1.1\r\n" HOST "\r\n"), "400" },
        { "a relative path", BYTES("GET a HTTP/1.1\r\n" HOST "\r\n"), "400" },
        { "a backslash", BYTES("GET /a\\b HTTP/1.1\r\n" HOST "\r\n"), "400" },
        { "a quote", BYTES("GET /a\"b HTTP/1.1\r\n" HOST "\r\n"), "400" },
        { "brackets in a query", BYTES("GET /?a[]=1 HTTP/1.1\r\n" HOST "\r\n"), "400" },
        { "UTF-8", BYTES("GET /\xc3\xa4 HTTP/1.1\r\n" HOST "\r\n"), "400" },
        { "a control character", BYTES("GET /\x01 HTTP/1.1\r\n" HOST "\r\n"), "400" },
        { "DEL", BYTES("GET /\x7f HTTP/1.1\r\n" HOST "\r\n"), "400" },
        { "NUL", BYTES("GET /\0 HTTP/1.1\r\n" HOST "\r\n"), "400" },
        { "a percent sign alone", BYTES("GET /% HTTP/1.1\r\n" HOST "\r\n"), "400" },
        { "half a percent-encoding", BYTES("GET /%a HTTP/1.1\r\n" HOST "\r\n"), "400" },
        { "no percent-encoding", BYTES("GET /?%zz HTTP/1.1\r\n" HOST "\r\n"), "400" },
        { "another scheme", BYTES("GET ftp://a/ HTTP/1.1\r\n" HOST "\r\n"), "400" },
        { "https, which this is not", BYTES("GET https://a/ HTTP/1.1\r\n" HOST "\r\n"), "400" },
        { "no authority", BYTES("GET http:///x HTTP/1.1\r\n" HOST "\r\n"), "400" },
        { "nothing behind the scheme", BYTES("GET http:// HTTP/1.1\r\n" HOST "\r\n"), "400" },
        { "one slash", BYTES("GET http:/x HTTP/1.1\r\n" HOST "\r\n"), "400" },
        { "user info", BYTES("GET http://u@a/ HTTP/1.1\r\n" HOST "\r\n"), "400" },
        { "a port that is no number", BYTES("GET http://a:b/ HTTP/1.1\r\n" HOST "\r\n"), "400" },
        { "brackets in an absolute path", BYTES("GET http://a/[ HTTP/1.1\r\n" HOST "\r\n"), "400" },
        { "an authority for GET", BYTES("GET a:80 HTTP/1.1\r\n" HOST "\r\n"), "400" },
    };
    check_all(examples, ARRAY_LEN(examples));
}

static void refuses_malformed_fields(void **state)
{
    (void)state;
    static const struct example examples[] = {
        { "a space before the colon", BYTES("GET / HTTP/1.1\r\nHost : a\r\n\r\n"), "400" },
        { "a tab before the colon", BYTES("GET / HTTP/1.1\r\nHost\t: a\r\n\r\n"), "400" },
        { "a space in a name", BYTES(HEAD "Bad Name: x\r\n\r\n"), "400" },
        { "a name that is empty", BYTES(HEAD ": x\r\n\r\n"), "400" },
        { "a line without a colon", BYTES(HEAD "X\r\n\r\n"), "400" },
        { "a byte that no name has", BYTES(HEAD "X(: x\r\n\r\n"), "400" },
        { "obs-text in a name", BYTES(HEAD "X\xc3\xa4: x\r\n\r\n"), "400" },
        { "a folded value", BYTES(HEAD "X: a\r\n b\r\n\r\n"), "400" },
        { "a value folded with a tab", BYTES(HEAD "X: a\r\n\tb\r\n\r\n"), "400" },
        { "a space before the first field", BYTES(LINE " Host: a\r\n\r\n"), "400" },
        { "a bare LF behind a value", BYTES(HEAD "X: a\nY: b\r\n\r\n"), "400" },
        { "a bare CR in a value", BYTES(HEAD "X: a\rY: b\r\n\r\n"), "400" },
        { "a bare LF as the empty line", BYTES(HEAD "\n"), "400" },
        { "a bare CR as the empty line", BYTES(HEAD "\rx"), "400" },
        { "NUL in a value", BYTES(HEAD "X: a\0b\r\n\r\n"), "400" },
        { "a control character in a value", BYTES(HEAD "X: a\x01\r\n\r\n"), "400" },
        { "ESC in a value", BYTES(HEAD "X: \x1b[0m\r\n\r\n"), "400" },
        { "DEL in a value", BYTES(HEAD "X: a\x7f\r\n\r\n"), "400" },
        { "NUL in a name", BYTES(HEAD "X\0: a\r\n\r\n"), "400" },
    };
    check_all(examples, ARRAY_LEN(examples));
}

static void refuses_a_host_that_is_missing_doubled_or_invalid(void **state)
{
    (void)state;
    static const struct example examples[] = {
        { "no Host", BYTES("GET / HTTP/1.1\r\n\r\n"), "400" },
        { "no Host, absolute target", BYTES("GET http://a/ HTTP/1.1\r\n\r\n"), "400" },
        { "two Hosts", BYTES("GET / HTTP/1.1\r\n" HOST "Host: b\r\n\r\n"), "400" },
        { "the same Host twice", BYTES("GET / HTTP/1.1\r\n" HOST HOST "\r\n"), "400" },
        { "two Hosts in HTTP/1.0", BYTES("GET / HTTP/1.0\r\n" HOST HOST "\r\n"), "400" },
        { "an empty Host", BYTES("GET / HTTP/1.1\r\nHost:\r\n\r\n"), "400" },
        { "a port only", BYTES("GET / HTTP/1.1\r\nHost: :80\r\n\r\n"), "400" },
        { "a space inside", BYTES("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), "400" },
        { "a list", BYTES("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n"), "400" },
        { "a path", BYTES("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), "400" },
        { "user info", BYTES("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"), "400" },
        { "a percent-encoding", BYTES("GET / HTTP/1.1\r\nHost: %61\r\n\r\n"), "400" },
        { "UTF-8", BYTES("GET / HTTP/1.1\r\nHost: \xc3\xa4\r\n\r\n"), "400" },
        { "a port that is no number", BYTES("GET / HTTP/1.1\r\nHost: a:8x\r\n\r\n"), "400" },
        { "a port out of range", BYTES("GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n"), "400" },
        { "two ports", BYTES("GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n"), "400" },
        { "IPv6 without brackets", BYTES("GET / HTTP/1.1\r\nHost: ::1\r\n\r\n"), "400" },
        { "an open bracket", BYTES("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"), "400" },
        { "no IPv6 in brackets", BYTES("GET / HTTP/1.1\r\nHost: [a]\r\n\r\n"), "400" },
        { "text behind the brackets", BYTES("GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n"), "400" },
        { "an IPv6 zone", BYTES("GET / HTTP/1.1\r\nHost: [fe80::1%eth0]\r\n\r\n"), "400" },
    };
    check_all(examples, ARRAY_LEN(examples));
}

static void refuses_bodies_whose_length_is_in_doubt(void **state)
{
    (void)state;
    static const struct example examples[] = {
        { "two lengths", BYTES(HEAD "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxy"), "400" },
        { "the same length twice", BYTES(HEAD "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx"),
          "400" },
        { "a list of lengths", BYTES(HEAD "Content-Length: 1, 1\r\n\r\nx"), "400" },
        { "a length with a plus", BYTES(HEAD "Content-Length: +1\r\n\r\nx"), "400" },
        { "a length with a minus", BYTES(HEAD "Content-Length: -1\r\n\r\nx"), "400" },
        { "a hexadecimal length", BYTES(HEAD "Content-Length: 0x1\r\n\r\nx"), "400" },
        { "a length with a fraction", BYTES(HEAD "Content-Length: 1.0\r\n\r\nx"), "400" },
        { "a length with a space inside", BYTES(HEAD "Content-Length: 1 1\r\n\r\nx"), "400" },
        { "a length in words", BYTES(HEAD "Content-Length: one\r\n\r\nx"), "400" },
        { "an empty length", BYTES(HEAD "Content-Length:\r\n\r\nx"), "400" },
        { "a length over 2^53", BYTES(HEAD "Content-Length: 9007199254740993\r\n\r\n"), "400" },
        { "a length over 2^64", BYTES(HEAD "Content-Length: 18446744073709551617\r\n\r\n"), "400" },
        { "a length and chunked",
          BYTES(HEAD "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "400" },
        { "chunked and a length",
          BYTES(HEAD "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"), "400" },
        { "chunked twice", BYTES(HEAD "Transfer-Encoding: chunked, chunked\r\n\r\n"), "400" },
        { "chunked in two fields",
          BYTES(HEAD "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"), "400" },
        { "gzip, chunked", BYTES(HEAD "Transfer-Encoding: gzip, chunked\r\n\r\n"), "400" },
        { "chunked, gzip", BYTES(HEAD "Transfer-Encoding: chunked, gzip\r\n\r\n"), "400" },
        { "identity", BYTES(HEAD "Transfer-Encoding: identity\r\n\r\n"), "400" },
        { ",chunked", BYTES(HEAD "Transfer-Encoding: ,chunked\r\n\r\n"), "400" },
        { "xchunked", BYTES(HEAD "Transfer-Encoding: xchunked\r\n\r\n"), "400" },
        { "chunked with a parameter", BYTES(HEAD "Transfer-Encoding: chunked;q=1\r\n\r\n"), "400" },
        { "chunked in quotes", BYTES(HEAD "Transfer-Encoding: \"chunked\"\r\n\r\n"), "400" },
        { "an empty coding", BYTES(HEAD "Transfer-Encoding:\r\n\r\n"), "400" },
        { "chunked behind a vertical tab",
          BYTES(HEAD "Transfer-Encoding: \x0b"
                     "chunked\r\n\r\n"),
          "400" },
        { "chunked in HTTP/1.0",
          BYTES("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "400" },
        { "a body announced over the limit", BYTES(HEAD "Content-Length: 1001\r\n\r\n"), "413" },
        { "another expectation", BYTES(HEAD "Expect: tea\r\nContent-Length: 1\r\n\r\n"), "417" },
    };
    check_all(examples, ARRAY_LEN(examples));
}

static void refuses_malformed_chunks(void **state)
{
    (void)state;
    static const struct example examples[] = {
        { "a size that is no number", BYTES(CHUNKED "Z\r\n"), "400" },
        { "no size", BYTES(CHUNKED "\r\n"), "400" },
        { "a size of 0x1", BYTES(CHUNKED "0x1\r\nx\r\n0\r\n\r\n"), "400" },
        { "a negative size", BYTES(CHUNKED "-1\r\n"), "400" },
        { "a size with a plus", BYTES(CHUNKED "+1\r\n"), "400" },
        { "a space before the size", BYTES(CHUNKED " 1\r\nx\r\n"), "400" },
        { "a space behind the size", BYTES(CHUNKED "1 \r\nx\r\n"), "400" },
        { "a bare LF behind the size", BYTES(CHUNKED "1\nx\r\n"), "400" },
        { "a bare CR behind the size", BYTES(CHUNKED "1\rx"), "400" },
        { "data longer than the chunk", BYTES(CHUNKED "1\r\nxy\r\n"), "400" },
        { "data shorter than the chunk", BYTES(CHUNKED "5\r\nhi\r\n0\r\n\r\n"), "400" },
        { "a bare LF behind the data", BYTES(CHUNKED "1\r\nx\n"), "400" },
        { "a bare CR behind the data", BYTES(CHUNKED "1\r\nx\ry"), "400" },
        { "a size of 17 digits", BYTES(CHUNKED "00000000000000001\r\n"), "400" },
        { "a size over 2^64", BYTES(CHUNKED "ffffffffffffffff1\r\n"), "413" },
        { "a chunk over the limit", BYTES(CHUNKED "3e9\r\n"), "413" },
        { "chunks over the limit together", BYTES(CHUNKED "1\r\nx\r\n3e8\r\n"), "413" },
        { "an extension without a name", BYTES(CHUNKED "1;\r\nx\r\n"), "400" },
        { "an extension without a value", BYTES(CHUNKED "1;a=\r\nx\r\n"), "400" },
        { "an extension with a space", BYTES(CHUNKED "1; a\r\nx\r\n"), "400" },
        { "an extension with a bare LF", BYTES(CHUNKED "1;a\nx\r\n"), "400" },
        { "a bare LF in an extension's quotes", BYTES(CHUNKED "1;a=\"\n\"\r\nx\r\n"), "400" },
        { "a CR LF in an extension's quotes", BYTES(CHUNKED "1;a=\"\r\n\"\r\nx\r\n"), "400" },
        { "an escaped LF in an extension's quotes", BYTES(CHUNKED "1;a=\"\\\n\"\r\nx\r\n"), "400" },
        { "text behind an extension's quotes", BYTES(CHUNKED "1;a=\"b\"c\r\nx\r\n"), "400" },
        { "a folded trailer", BYTES(CHUNKED "0\r\nX: a\r\n b\r\n\r\n"), "400" },
        { "a trailer without a colon", BYTES(CHUNKED "0\r\nX\r\n\r\n"), "400" },
        { "a request where trailers should be", BYTES(CHUNKED "0\r\nGET / HTTP/1.1\r\n"), "400" },
        { "a trailer with a bare LF", BYTES(CHUNKED "0\r\nX: a\n\r\n"), "400" },
    };
    check_all(examples, ARRAY_LEN(examples));
}

static void refuses_host_names_that_are_not_in_the_list(void **state)
{
    (void)state;
    static const char *const list[] = { "localhost", "127.0.0.1", "[::1]", NULL };
    static const struct example examples[] = {
        { "one of the list", BYTES("GET / HTTP/1.1\r\nHost: LocalHost\r\n\r\n"),
          "GET / @LocalHost; idle" },
        { "with a port", BYTES("GET / HTTP/1.1\r\nHost: 127.0.0.1:5001\r\n\r\n"),
          "GET / @127.0.0.1:5001; idle" },
        { "IPv6 with a port", BYTES("GET / HTTP/1.1\r\nHost: [::1]:5001\r\n\r\n"),
          "GET / @[::1]:5001; idle" },
        { "no Host at all, in HTTP/1.0", BYTES("GET / HTTP/1.0\r\n\r\n"), "GET / @; close" },
        { "another name", BYTES("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"), "421" },
        { "a longer name", BYTES("GET / HTTP/1.1\r\nHost: localhost.evil\r\n\r\n"), "421" },
        { "a shorter name", BYTES("GET / HTTP/1.1\r\nHost: localhos\r\n\r\n"), "421" },
        { "another name before its body comes",
          BYTES("POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\n\r\n"), "421" },
        { "another absolute target",
          BYTES("GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n"), "421" },
    };
    hosts = list;
    check_all(examples, ARRAY_LEN(examples));
    hosts = NULL;
}

/* ---- limits ---- */

static void repeat(struct buf *b, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        buf_adds(b, text);
}

static void check_buf(const char *what, struct buf *b, const char *expected)
{
    assert_false(buf_failed(b));
    check(what, b->data, b->len, expected);
    buf_clear(b);
}

static void limits_the_request_line(void **state)
{
    (void)state;
    struct buf b, expected;
    buf_init(&b, 1 << 20);
    buf_init(&expected, 1 << 20);
    size_t fits = HTTP_LINE_MAX - strlen("GET / HTTP/1.1\r\n");
    buf_adds(&b, "GET /");
    repeat(&b, "a", fits);
    buf_adds(&b, " HTTP/1.1\r\n" HOST "\r\n");
    buf_adds(&expected, "GET /");
    repeat(&expected, "a", fits);
    buf_adds(&expected, " @a; idle");
    check_buf("a line of 8 KiB", &b, buf_str(&expected));
    buf_adds(&b, "GET /");
    repeat(&b, "a", fits + 1);
    buf_adds(&b, " HTTP/1.1\r\n" HOST "\r\n");
    check_buf("a line one byte longer", &b, "414");
    repeat(&b, "A", HTTP_LINE_MAX + 1);
    check_buf("an endless method", &b, "414");
    buf_release(&b);
    buf_release(&expected);
}

static void limits_the_head(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1 << 20);
    size_t fits = HTTP_HEAD_MAX - strlen(HEAD "X: \r\n\r\n");
    buf_adds(&b, HEAD "X: ");
    repeat(&b, "a", fits);
    buf_adds(&b, "\r\n\r\n");
    check_buf("a head of 16 KiB", &b, "POST /p @a; idle");
    buf_adds(&b, HEAD "X: ");
    repeat(&b, "a", fits + 1);
    buf_adds(&b, "\r\n\r\n");
    check_buf("a head one byte longer", &b, "431");
    buf_adds(&b, HEAD);
    repeat(&b, "a", HTTP_HEAD_MAX);
    check_buf("an endless name", &b, "431");
    buf_adds(&b, HEAD "X:");
    repeat(&b, " ", HTTP_HEAD_MAX);
    check_buf("endless whitespace", &b, "431");
    buf_adds(&b, HEAD);
    repeat(&b, "X: y\r\n", HTTP_FIELDS_MAX - 1);
    buf_adds(&b, "\r\n");
    check_buf("64 fields", &b, "POST /p @a; idle");
    buf_adds(&b, HEAD);
    repeat(&b, "X: y\r\n", HTTP_FIELDS_MAX);
    buf_adds(&b, "\r\n");
    check_buf("65 fields", &b, "431");
    buf_release(&b);
}

static void limits_what_surrounds_a_chunked_body(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1 << 20);
    buf_adds(&b, CHUNKED "1;");
    repeat(&b, "a", HTTP_EXTRA_MAX + 1);
    check_buf("an endless extension", &b, "413");
    buf_adds(&b, CHUNKED);
    repeat(&b, "1;abcdefghijklmnopqrstuvwxyz\r\nx\r\n", 900);
    check_buf("many extensions", &b, "413");
    buf_adds(&b, CHUNKED "0\r\nX: ");
    repeat(&b, "a", HTTP_EXTRA_MAX);
    check_buf("an endless trailer", &b, "431");
    buf_adds(&b, CHUNKED "0\r\n");
    repeat(&b, "a", HTTP_EXTRA_MAX + 1);
    check_buf("an endless trailer's name", &b, "431");
    buf_adds(&b, CHUNKED "0\r\n");
    repeat(&b, "X: y\r\n", HTTP_FIELDS_MAX);
    buf_adds(&b, "\r\n");
    check_buf("64 trailers", &b, "POST /p @a; idle");
    buf_adds(&b, CHUNKED "0\r\n");
    repeat(&b, "X: y\r\n", HTTP_FIELDS_MAX + 1);
    check_buf("65 trailers", &b, "431");
    buf_release(&b);
}

static void takes_a_body_of_exactly_the_limit(void **state)
{
    (void)state;
    struct buf b, expected;
    buf_init(&b, 1 << 20);
    buf_init(&expected, 1 << 20);
    buf_adds(&expected, "POST /p @a \"");
    repeat(&expected, "x", MAX_BODY);
    buf_adds(&expected, "\"; idle");
    buf_adds(&b, HEAD "Content-Length: 1000\r\n\r\n");
    repeat(&b, "x", MAX_BODY);
    check_buf("with a length", &b, buf_str(&expected));
    buf_adds(&b, CHUNKED);
    repeat(&b, "0000000000000001\r\nx\r\n", MAX_BODY);
    buf_adds(&b, "0\r\n\r\n");
    check_buf("in chunks of one byte", &b, buf_str(&expected));
    buf_release(&b);
    buf_release(&expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_what_is_no_request),
        cmocka_unit_test(refuses_targets_outside_the_grammar),
        cmocka_unit_test(refuses_malformed_fields),
        cmocka_unit_test(refuses_a_host_that_is_missing_doubled_or_invalid),
        cmocka_unit_test(refuses_bodies_whose_length_is_in_doubt),
        cmocka_unit_test(refuses_malformed_chunks),
        cmocka_unit_test(refuses_host_names_that_are_not_in_the_list),
        cmocka_unit_test(limits_the_request_line),
        cmocka_unit_test(limits_the_head),
        cmocka_unit_test(limits_what_surrounds_a_chunked_body),
        cmocka_unit_test(takes_a_body_of_exactly_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
