/* What the reader of responses makes of a connection's bytes, after RFC 9112: the same however they are split. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "client/response.h"

enum { KEEP = 16, WHOLE = INT32_MAX };

#define BYTES(literal) literal, sizeof(literal) - 1
#define OK "HTTP/1.1 200 OK\r\n"
#define CHUNKED OK "Transfer-Encoding: chunked\r\n\r\n"
#define LENGTH(n) OK "Content-Length: " n "\r\n"

/* ---- feeding ---- */

static const char *word_of(enum response_result result)
{
    switch (result) {
    case RESPONSE_MORE:
        return "more";
    case RESPONSE_DONE:
        return "done";
    case RESPONSE_LAST:
        return "last";
    case RESPONSE_INVALID:
        return "invalid";
    case RESPONSE_TOO_LARGE:
        return "too large";
    }
    return "?";
}

/* From a block of exactly its size, so that a sanitizer sees a read behind the end. */
static enum response_result feed(struct response *r, const char *data, size_t len)
{
    char *copy = malloc(len);
    assert_non_null(copy);
    memcpy(copy, data, len);
    enum response_result result = response_feed(r, copy, len);
    free(copy);
    return result;
}

/* Feed data, the first piece of first bytes and then pieces of step bytes, and write down what has come of it:
 * "done 200 'body' (retry-after)". What follows a response that is done makes it the last, as it does for a client
 * that finds more to read. */
static void read_all(struct buf *said, const char *data, size_t len, size_t first, size_t step)
{
    CLEANUP(freep) char *keep = malloc(KEEP);
    struct response r;
    enum response_result result = RESPONSE_MORE;
    assert_non_null(keep);
    response_init(&r, keep, KEEP);
    assert_false(response_begun(&r));
    size_t fed = 0;
    for (size_t piece = first; fed < len && result == RESPONSE_MORE; piece = step) {
        size_t n = piece < len - fed ? piece : len - fed;
        result = feed(&r, data + fed, n);
        assert_true(response_begun(&r));
        fed += n;
    }
    if (result == RESPONSE_DONE && fed < len)
        result = RESPONSE_LAST;
    buf_clear(said);
    buf_adds(said, word_of(result));
    assert_int_equal(response_end(&r), r.final ? RESPONSE_LAST : RESPONSE_INVALID);
    if (result == RESPONSE_DONE || result == RESPONSE_LAST)
        assert_true(r.final);
    if (result == RESPONSE_INVALID || result == RESPONSE_TOO_LARGE)
        assert_false(r.final);
    if (r.final)
        buf_addf(said, " %d", r.status);
    if (r.body_len > 0)
        buf_addf(said, " '%.*s'", (int)response_kept(&r), keep);
    if (r.body_len > KEEP)
        buf_addf(said, " of %zu", r.body_len);
    if (r.retry_after[0])
        buf_addf(said, " (%s)", r.retry_after);
}

static void expect(const char *what, const char *how, const struct buf *said, const char *expected)
{
    if (strcmp(buf_str(said), expected) != 0)
        fail_msg("%s, %s: '%s' instead of '%s'", what, how, buf_str(said), expected);
}

/* What comes of data must not depend on how it is split. */
static void check(const char *what, const char *data, size_t len, const char *expected)
{
    struct buf said;
    char how[64];
    buf_init(&said, 1 << 20);
    read_all(&said, data, len, WHOLE, WHOLE);
    expect(what, "whole", &said, expected);
    read_all(&said, data, len, 1, 1);
    expect(what, "byte by byte", &said, expected);
    size_t stride =
        len > 2000 ? len / 300 : 1; /* but every one near the end, where the limits are */
    for (size_t at = 1; at < len; at += len - at < 300 ? 1 : stride) {
        (void)snprintf(how, sizeof(how), "split at %zu", at);
        read_all(&said, data, len, at, WHOLE);
        expect(what, how, &said, expected);
    }
    buf_release(&said);
}

struct example {
    const char *what, *data;
    size_t len;
    const char *expected;
};

static void check_all(const struct example *examples, size_t n)
{
    for (size_t i = 0; i < n; i++)
        check(examples[i].what, examples[i].data, examples[i].len, examples[i].expected);
}

/* ---- the status line ---- */

static void a_status_line_is_that_of_http_1(void **state)
{
    (void)state;
#define NONE "Content-Length: 0\r\n\r\n"
    static const struct example examples[] = {
        { "plain", BYTES("HTTP/1.1 200 OK\r\n" NONE), "done 200" },
        { "no reason", BYTES("HTTP/1.1 404 \r\n" NONE), "done 404" },
        { "nothing behind the status", BYTES("HTTP/1.1 404\r\n" NONE), "done 404" },
        { "a later minor version", BYTES("HTTP/1.9 299 \xc3\xa4\r\n" NONE), "done 299" },
        { "an unknown class", BYTES("HTTP/1.1 999 ?\r\n" NONE), "done 999" },
        { "bare LF", BYTES("HTTP/1.1 200 OK\nContent-Length: 2\n\nab"), "done 200 'ab'" },
        { "HTTP/2", BYTES("HTTP/2 200\r\n" NONE), "invalid" },
        { "HTTP/1", BYTES("HTTP/1 200 OK\r\n" NONE), "invalid" },
        { "two digits of version", BYTES("HTTP/1.11 200 OK\r\n" NONE), "invalid" },
        { "no digit of version", BYTES("HTTP/1.x 200 OK\r\n" NONE), "invalid" },
        { "lower case", BYTES("http/1.1 200 OK\r\n" NONE), "invalid" },
        { "two spaces", BYTES("HTTP/1.1  200 OK\r\n" NONE), "invalid" },
        { "a tab", BYTES("HTTP/1.1\t200 OK\r\n" NONE), "invalid" },
        { "two digits", BYTES("HTTP/1.1 20 OK\r\n" NONE), "invalid" },
        { "four digits", BYTES("HTTP/1.1 2000 OK\r\n" NONE), "invalid" },
        { "a letter", BYTES("HTTP/1.1 20O OK\r\n" NONE), "invalid" },
        { "below 100", BYTES("HTTP/1.1 099 OK\r\n" NONE), "invalid" },
        { "cut short", BYTES("HTTP/1.1 20\r\n" NONE), "invalid" },
        { "nothing but the version", BYTES("HTTP/1.1\r\n" NONE), "invalid" },
        { "an empty line before", BYTES("\r\nHTTP/1.1 200 OK\r\n" NONE), "invalid" },
        { "NUL", BYTES("HTTP/1.1 200 O\0K\r\n" NONE), "invalid" },
        { "an alert of TLS", BYTES("\x15\x03\x01\x00\x02\x02\x16"), "invalid" },
        { "garbage that goes on", BYTES("SSH-2.0-OpenSSH_9.2p1"), "invalid" },
        { "one byte of garbage", BYTES("h"), "invalid" },
        { "an almost good beginning", BYTES("HTTP/3"), "invalid" },
        { "nothing yet", BYTES(""), "more" },
        { "half a status line", BYTES("HTTP/1.1 20"), "more" },
        { "half a header", BYTES("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"), "more" },
    };
    check_all(examples, ARRAY_LEN(examples));
}

static void informational_responses_are_passed_over(void **state)
{
    (void)state;
    static const struct example examples[] = {
        { "100", BYTES("HTTP/1.1 100 Continue\r\n\r\n" LENGTH("2") "\r\nab"), "done 200 'ab'" },
        { "several",
          BYTES("HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\nLink: x\r\n\r\n" LENGTH("0") "\r\n"),
          "done 200" },
        { "their fields are not the final one's",
          BYTES("HTTP/1.1 103 E\r\nRetry-After: 9\r\nConnection: close\r\nContent-Length: 7\r\n"
                "Transfer-Encoding: chunked\r\n\r\n" LENGTH("1") "\r\nx"),
          "done 200 'x'" },
        { "nor is their length", BYTES("HTTP/1.1 103 E\r\nContent-Length: 1\r\n\r\n" OK "\r\nxyz"),
          "more 200 'xyz'" },
        { "what goes on begins in the header",
          BYTES("HTTP/1.1 103 E\r\nContent-Length: 1\r\n\r\n" OK
                " folded\r\nContent-Length: 0\r\n\r\n"),
          "done 200" },
        { "of HTTP/1.0 before one of 1.1", BYTES("HTTP/1.0 100 C\r\n\r\n" LENGTH("0") "\r\n"),
          "done 200" },
        { "no final one", BYTES("HTTP/1.1 100 Continue\r\n\r\n"), "more" },
        { "no final one but garbage", BYTES("HTTP/1.1 100 Continue\r\n\r\nwhat"), "invalid" },
        { "101, which nobody asked for",
          BYTES("HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n\r\n\x01\x02"), "last 101" },
        { "101 and nothing else", BYTES("HTTP/1.1 101 S\r\nContent-Length: 5\r\n\r\n"),
          "last 101" },
    };
    check_all(examples, ARRAY_LEN(examples));
}

/* ---- may the connection be used again ---- */

static void a_connection_is_used_again_only_if_both_sides_want_it(void **state)
{
    (void)state;
#define OLD "HTTP/1.0 200 OK\r\n"
    static const struct example examples[] = {
        { "HTTP/1.1", BYTES(LENGTH("0") "\r\n"), "done 200" },
        { "close", BYTES(LENGTH("0") "Connection: close\r\n\r\n"), "last 200" },
        { "close in any case", BYTES(LENGTH("0") "CONNECTION:CLOSE\r\n\r\n"), "last 200" },
        { "close in a list", BYTES(LENGTH("0") "Connection: a, keep-alive ,\tclose\t,b\r\n\r\n"),
          "last 200" },
        { "close in a second field",
          BYTES(LENGTH("0") "Connection: a\r\nConnection: close\r\n\r\n"), "last 200" },
        { "both: close is stronger", BYTES(LENGTH("0") "Connection: close, keep-alive\r\n\r\n"),
          "last 200" },
        { "other words", BYTES(LENGTH("0") "Connection: closed, x-close, clos\r\n\r\n"),
          "done 200" },
        { "empty words", BYTES(LENGTH("0") "Connection: ,, ,\r\n\r\n"), "done 200" },
        { "HTTP/1.0", BYTES(OLD "Content-Length: 0\r\n\r\n"), "last 200" },
        { "HTTP/1.0 with keep-alive",
          BYTES(OLD "Content-Length: 2\r\nConnection: Keep-Alive\r\n\r\nab"), "done 200 'ab'" },
        { "HTTP/1.0 with both",
          BYTES(OLD "Content-Length: 0\r\nConnection: keep-alive, close\r\n\r\n"), "last 200" },
        { "HTTP/1.0 with chunks, which it has not",
          BYTES(OLD
                "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
          "last 200 'x'" },
        { "HTTP/1.0 until close", BYTES(OLD "Connection: keep-alive\r\n\r\nab"), "more 200 'ab'" },
        { "bytes behind a length", BYTES(LENGTH("1") "\r\nxy"), "last 200 'x'" },
        { "bytes behind no body", BYTES(LENGTH("0") "\r\nHTTP/1.1 200 OK\r\n\r\n"), "last 200" },
        { "bytes behind the chunks", BYTES(CHUNKED "1\r\nx\r\n0\r\n\r\n\r\n"), "last 200 'x'" },
        { "bytes behind 204", BYTES("HTTP/1.1 204 N\r\n\r\nx"), "last 204" },
    };
    check_all(examples, ARRAY_LEN(examples));
}

/* ---- how long the body is ---- */

static void a_length_is_one_number(void **state)
{
    (void)state;
    static const struct example examples[] = {
        { "a length", BYTES(LENGTH("5") "\r\nhello"), "done 200 'hello'" },
        { "of nothing", BYTES(LENGTH("0") "\r\n"), "done 200" },
        { "leading zeros", BYTES(LENGTH("0003") "\r\nabc"), "done 200 'abc'" },
        { "spaces", BYTES(OK "content-length:\t 3 \t\r\n\r\nabc"), "done 200 'abc'" },
        { "a body that is not kept whole", BYTES(LENGTH("20") "\r\n0123456789abcdefghij"),
          "done 200 '0123456789abcdef' of 20" },
        { "a body with line ends", BYTES(LENGTH("4") "\r\n\r\n\r\n"), "done 200 '\r\n\r\n'" },
        { "half a body", BYTES(LENGTH("5") "\r\nhel"), "more 200 'hel'" },
        { "none of a body", BYTES(LENGTH("5") "\r\n"), "more 200" },
        { "the same twice", BYTES(LENGTH("1") "Content-Length: 1\r\n\r\nx"), "done 200 'x'" },
        { "the same in a list", BYTES(LENGTH("1, 1,\t01") "\r\nx"), "done 200 'x'" },
        { "another", BYTES(LENGTH("1") "Content-Length: 2\r\n\r\nxy"), "invalid" },
        { "another in a list", BYTES(LENGTH("1, 2") "\r\nxy"), "invalid" },
        { "letters", BYTES(LENGTH("five") "\r\nhello"), "invalid" },
        { "hexadecimal", BYTES(LENGTH("0x5") "\r\nhello"), "invalid" },
        { "a sign", BYTES(LENGTH("+5") "\r\nhello"), "invalid" },
        { "less than nothing", BYTES(LENGTH("-5") "\r\nhello"), "invalid" },
        { "two numbers", BYTES(LENGTH("5 5") "\r\nhello"), "invalid" },
        { "a fraction", BYTES(LENGTH("5.0") "\r\nhello"), "invalid" },
        { "a bare CR", BYTES(LENGTH("5\rX: y") "\r\nhello"), "invalid" },
        { "the largest", BYTES(LENGTH("999999999999999999") "\r\nab"), "more 200 'ab'" },
        { "larger", BYTES(LENGTH("1000000000000000000") "\r\nab"), "invalid" },
        { "2 to the 64", BYTES(LENGTH("18446744073709551616") "\r\n"), "invalid" },
        { "2 to the 64 less one", BYTES(LENGTH("18446744073709551615") "\r\n"), "invalid" },
        { "empty", BYTES(LENGTH("") "\r\n"), "invalid" },
        { "an empty list", BYTES(LENGTH(",") "\r\n"), "invalid" },
        { "empty behind a good one", BYTES(LENGTH("1") "Content-Length: \r\n\r\nx"), "invalid" },
        { "a folded line behind it", BYTES(LENGTH("5") " 5\r\n\r\nhello"), "invalid" },
        { "another by its side, a folded line behind that",
          BYTES(LENGTH("5") "X: y\r\n 5\r\n\r\nhello"), "done 200 'hello'" },
        { "a space before the colon", BYTES(OK "Content-Length \t: 5\r\n\r\nhello"),
          "done 200 'hello'" },
        { "a name that begins so", BYTES(OK "Content-Lengths: 5\r\n\r\nhello"),
          "more 200 'hello'" },
    };
    check_all(examples, ARRAY_LEN(examples));
}

static void some_have_no_body_whatever_they_say(void **state)
{
    (void)state;
    static const struct example examples[] = {
        { "204", BYTES("HTTP/1.1 204 No Content\r\n\r\n"), "done 204" },
        { "204 with a length of zero", BYTES("HTTP/1.1 204 N\r\nContent-Length: 0\r\n\r\n"),
          "done 204" },
        { "304 with the length of what it stands for",
          BYTES("HTTP/1.1 304 N\r\nContent-Length: 500\r\n\r\n"), "done 304" },
        { "204 with a length: perhaps it is sent",
          BYTES("HTTP/1.1 204 N\r\nContent-Length: 5\r\n\r\n"), "last 204" },
        { "204 with chunks: likewise",
          BYTES("HTTP/1.1 204 N\r\nTransfer-Encoding: chunked\r\n\r\n"), "last 204" },
        { "304 with chunks", BYTES("HTTP/1.1 304 N\r\nTransfer-Encoding: chunked\r\n\r\n"),
          "last 304" },
        { "204 of HTTP/1.0", BYTES("HTTP/1.0 204 N\r\n\r\n"), "last 204" },
        { "204 and close", BYTES("HTTP/1.1 204 N\r\nConnection: close\r\n\r\n"), "last 204" },
        { "205, which may have one", BYTES("HTTP/1.1 205 R\r\nContent-Length: 1\r\n\r\nx"),
          "done 205 'x'" },
    };
    check_all(examples, ARRAY_LEN(examples));
}

static void codings_come_before_a_length(void **state)
{
    (void)state;
#define CODED(codings) OK "Transfer-Encoding: " codings "\r\n"
#define CHUNKS "2\r\nab\r\n0\r\n\r\n"
    static const struct example examples[] = {
        { "chunked", BYTES(CHUNKED CHUNKS), "done 200 'ab'" },
        { "in any case", BYTES(CODED("ChUnKeD") "\r\n" CHUNKS), "done 200 'ab'" },
        { "zipped and chunked", BYTES(CODED("gzip, chunked") "\r\n" CHUNKS), "done 200 'ab'" },
        { "the same in two fields",
          BYTES(CODED("gzip") "Transfer-Encoding: chunked\r\n\r\n" CHUNKS), "done 200 'ab'" },
        { "chunked is not the last", BYTES(CODED("chunked, gzip") "\r\n" CHUNKS),
          "more 200 '2\r\nab\r\n0\r\n\r\n'" },
        { "nor here", BYTES(CODED("chunked") "Transfer-Encoding: gzip\r\n\r\n1"), "more 200 '1'" },
        { "unknown", BYTES(CODED("brotli") "\r\nab"), "more 200 'ab'" },
        { "a name that begins so", BYTES(CODED("chunkedx") "\r\nab"), "more 200 'ab'" },
        { "empty", BYTES(CODED("") "\r\nab"), "more 200 'ab'" },
        { "with a length", BYTES(CODED("chunked") "Content-Length: 3\r\n\r\n" CHUNKS),
          "last 200 'ab'" },
        { "behind a length", BYTES(LENGTH("3") "Transfer-Encoding: chunked\r\n\r\n" CHUNKS),
          "last 200 'ab'" },
        { "unknown with a length", BYTES(CODED("x") "Content-Length: 1\r\n\r\nab"),
          "more 200 'ab'" },
        { "with a bad length", BYTES(CODED("chunked") "Content-Length: x\r\n\r\n" CHUNKS),
          "invalid" },
        { "a folded line behind it", BYTES(CODED("gzip") " ,chunked\r\n\r\n" CHUNKS), "invalid" },
        { "a space before the colon", BYTES(OK "Transfer-Encoding : chunked\r\n\r\n" CHUNKS),
          "done 200 'ab'" },
        { "neither: up to the end", BYTES(OK "\r\nabc"), "more 200 'abc'" },
        { "neither, and nothing", BYTES(OK "\r\n"), "more 200" },
    };
    check_all(examples, ARRAY_LEN(examples));
}

static void chunks_are_counted(void **state)
{
    (void)state;
    static const struct example examples[] = {
        { "several", BYTES(CHUNKED "1\r\na\r\n002\r\nbc\r\n00A\r\n0123456789\r\n000\r\n\r\n"),
          "done 200 'abc0123456789'" },
        { "both cases of digits",
          BYTES(CHUNKED "b\r\n0123456789a\r\nB\r\n0123456789b\r\n0\r\n\r\n"),
          "done 200 '0123456789a01234' of 22" },
        { "none", BYTES(CHUNKED "0\r\n\r\n"), "done 200" },
        { "extensions", BYTES(CHUNKED "1;a;b=\"c\"\r\nx\r\n1 ; d\r\ny\r\n0;z\r\n\r\n"),
          "done 200 'xy'" },
        { "spaces behind the size", BYTES(CHUNKED "1 \t\r\nx\r\n0  \r\n\r\n"), "done 200 'x'" },
        { "trailers", BYTES(CHUNKED "1\r\nx\r\n0\r\nConnection: close\r\nRetry-After: 4\r\n\r\n"),
          "done 200 'x'" },
        { "no proper trailers", BYTES(CHUNKED "0\r\nwhat\0ever\r\n folded\r\n\r\n"), "done 200" },
        { "bare LF", BYTES(CHUNKED "1\nx\n0\n\n"), "done 200 'x'" },
        { "data with line ends", BYTES(CHUNKED "4\r\n\r\n\r\n\r\n0\r\n\r\n"),
          "done 200 '\r\n\r\n'" },
        { "no digits", BYTES(CHUNKED "\r\nx\r\n0\r\n\r\n"), "last 200" },
        { "no digits but an extension", BYTES(CHUNKED ";a\r\nx\r\n0\r\n\r\n"), "last 200" },
        { "a space before", BYTES(CHUNKED " 1\r\nx\r\n0\r\n\r\n"), "last 200" },
        { "a sign", BYTES(CHUNKED "-1\r\nx\r\n0\r\n\r\n"), "last 200" },
        { "0x", BYTES(CHUNKED "0x1\r\nx\r\n0\r\n\r\n"), "last 200" },
        { "15 digits", BYTES(CHUNKED "fffffffffffffff\r\nx"), "more 200 'x'" },
        { "16 digits", BYTES(CHUNKED "0000000000000001\r\nx\r\n"), "last 200" },
        { "17 digits", BYTES(CHUNKED "10000000000000001\r\nx\r\n"), "last 200" },
        { "more data than announced", BYTES(CHUNKED "1\r\nxy\r\n0\r\n\r\n"), "last 200 'x'" },
        { "no CR LF behind the data", BYTES(CHUNKED "1\r\nx0\r\n\r\n"), "last 200 'x'" },
        { "a space behind the data", BYTES(CHUNKED "1\r\nx \r\n0\r\n\r\n"), "last 200 'x'" },
        { "half a size", BYTES(CHUNKED "1"), "more 200" },
        { "half a chunk", BYTES(CHUNKED "3\r\nab"), "more 200 'ab'" },
        { "no end of the data", BYTES(CHUNKED "2\r\nab"), "more 200 'ab'" },
        { "no end of the trailers", BYTES(CHUNKED "0\r\n"), "more 200" },
    };
    check_all(examples, ARRAY_LEN(examples));
}

/* ---- other fields ---- */

static void of_other_fields_only_retry_after_matters(void **state)
{
    (void)state;
    static const struct example examples[] = {
        { "seconds", BYTES(LENGTH("0") "Retry-After: 120\r\n\r\n"), "done 200 (120)" },
        { "a date", BYTES(LENGTH("0") "retry-after:\tTue, 24 Nov 2026 08:00:30 GMT \r\n\r\n"),
          "done 200 (Tue, 24 Nov 2026 08:00:30 GMT)" },
        { "63 bytes",
          BYTES(LENGTH(
              "0") "Retry-After: 123456789012345678901234567890123456789012345678901234567890123"
                   "\r\n\r\n"),
          "done 200 (123456789012345678901234567890123456789012345678901234567890123)" },
        { "64 bytes, which no date has",
          BYTES(LENGTH(
              "0") "Retry-After: 1234567890123456789012345678901234567890123456789012345678901234"
                   "\r\n\r\n"),
          "done 200" },
        { "empty", BYTES(LENGTH("0") "Retry-After:\r\n\r\n"), "done 200" },
        { "the last of two", BYTES(LENGTH("0") "Retry-After: 1\r\nRetry-After: 2\r\n\r\n"),
          "done 200 (2)" },
        { "strange but harmless",
          BYTES(LENGTH("0") "X:\r\n:\r\n: y\r\nA b: c\r\nD: \xff\x01\r\n folded\r\n\r\n"),
          "done 200" },
        { "folded at once", BYTES(OK " folded\r\nContent-Length: 0\r\n\r\n"), "done 200" },
        { "no colon", BYTES(LENGTH("0") "what\r\n\r\n"), "invalid" },
        { "a bare CR for a line", BYTES(LENGTH("0") "\r\r\n\r\n"), "invalid" },
        { "NUL in a value", BYTES(LENGTH("0") "X: a\0b\r\n\r\n"), "invalid" },
        { "NUL in a name", BYTES(LENGTH("0") "X\0Y: ab\r\n\r\n"), "invalid" },
        { "NUL in a folded line", BYTES(LENGTH("0") "X: a\r\n \0\r\n\r\n"), "invalid" },
        { "NUL in a body", BYTES(LENGTH("3") "\r\n\0\0\0"), "done 200 ''" },
    };
    check_all(examples, ARRAY_LEN(examples));
}

/* ---- limits ---- */

/* A line of len bytes with its CR LF: before, as many fill as are missing, after. */
static void add_line(struct buf *b, const char *before, char fill, const char *after, size_t len)
{
    buf_adds(b, before);
    for (size_t n = strlen(before) + strlen(after) + 2; n < len; n++)
        buf_add(b, &fill, 1);
    buf_adds(b, after);
    buf_adds(b, "\r\n");
}

static void of_a_long_line_only_the_beginning_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *before, *after;
        char fill;
        const char *fits, *too_long; /* up to RESPONSE_LINE bytes; longer */
    } rows[] = {
        { "X-Long: ", "", 'y', "done 200 '12345'", "done 200 '12345'" },
        { "X", ": y", 'y', "done 200 '12345'", "done 200 '12345'" },
        { "X: ", "\r\n folded", 'y', "done 200 '12345'", "done 200 '12345'" },
        { " folded", "", 'y', "done 200 '12345'", "done 200 '12345'" },
        { "no colon", "", 'y', "invalid", "done 200 '12345'" }, /* perhaps it has one further on */
        { "Retry-After:", "7", ' ', "done 200 '12345' (7)", "done 200 '12345'" },
        { "Content-Length:", "5", ' ', "done 200 '12345'", "invalid" },
        { "Content-Length: 5", "", ' ', "done 200 '12345'", "invalid" },
        { "Transfer-Encoding:", "x", ' ', "more 200 '12345'", "invalid" },
        { "Connection:", "x", ' ', "done 200 '12345'", "last 200 '12345'" }, /* or close */
        { "Connection:", "close", ' ', "last 200 '12345'", "last 200 '12345'" },
    };
    static const size_t lens[] = { RESPONSE_LINE - 1, RESPONSE_LINE, RESPONSE_LINE + 1, 999 };
    struct buf b;
    char what[64];
    buf_init(&b, 1 << 20);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t j = 0; j < ARRAY_LEN(lens); j++) {
            size_t len = lens[j] + (strstr(rows[i].after, "\r\n") ? strlen(" folded\r\n") : 0);
            buf_clear(&b);
            buf_adds(&b, LENGTH("5"));
            buf_adds(&b, "Y: z\r\n");
            add_line(&b, rows[i].before, rows[i].fill, rows[i].after, len);
            buf_adds(&b, "\r\n12345");
            (void)snprintf(what, sizeof(what), "%s…%s, %zu bytes", rows[i].before, rows[i].after,
                           lens[j]);
            check(what, b.data, b.len, lens[j] > RESPONSE_LINE ? rows[i].too_long : rows[i].fits);
        }
    buf_release(&b);
}

static void other_long_lines_are_read_alike(void **state)
{
    (void)state;
    static const size_t lens[] = { RESPONSE_LINE - 1, RESPONSE_LINE, RESPONSE_LINE + 1, 999 };
    struct buf b;
    buf_init(&b, 1 << 20);
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        buf_clear(&b);
        add_line(&b, "HTTP/1.1 200 ", 'y', "", lens[i]);
        buf_adds(&b, "Transfer-Encoding: chunked\r\n\r\n");
        add_line(&b, "1;", 'y', "", lens[i]);
        buf_adds(&b, "x\r\n");
        add_line(&b, "1", ' ', "", lens[i]);
        buf_adds(&b, "y\r\n0\r\n");
        add_line(&b, "Trailer: ", 'y', "", lens[i]);
        buf_adds(&b, "\r\n");
        check("status, chunks and trailers", b.data, b.len, "done 200 'xy'");
        buf_clear(&b);
        buf_adds(&b, CHUNKED);
        add_line(&b, "", '0', "1", lens[i]);
        check("digits", b.data, b.len, "last 200");
        buf_clear(&b);
        buf_adds(&b, CHUNKED "1\r\nx");
        add_line(&b, "", 'y', "", lens[i]);
        check("behind the data", b.data, b.len, "last 200 'x'");
    }
    buf_release(&b);
}

/* Field lines until there are len bytes; the last ends with them. */
static void pad_to(struct buf *b, size_t len)
{
    while (len - b->len > 200)
        add_line(b, "X: ", 'y', "", 100);
    add_line(b, "X: ", 'y', "", len - b->len);
    assert_int_equal(b->len, len);
}

static void a_header_has_a_limit_which_may_be_reached(void **state)
{
    (void)state;
    static const struct {
        const char *what, *before;
        size_t over; /* bytes over the limit */
        const char *after, *expected;
    } rows[] = {
        { "a header", LENGTH("2"), 0, "\r\nab", "done 200 'ab'" },
        { "a header and one byte", LENGTH("2"), 1, "\r\nab", "too large" },
        { "with the one before it", "HTTP/1.1 103 E\r\nX: y\r\n\r\n" LENGTH("2"), 0, "\r\nab",
          "done 200 'ab'" },
        { "with the one before it and one byte", "HTTP/1.1 103 E\r\nX: y\r\n\r\n" LENGTH("2"), 1,
          "\r\nab", "too large" },
        { "trailers", CHUNKED "0\r\n", 0, "\r\n", "done 200" },
        { "trailers and one byte", CHUNKED "0\r\n", 1, "\r\n", "last 200" },
    };
    struct buf b;
    buf_init(&b, 1 << 20);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_clear(&b);
        buf_adds(&b, rows[i].before);
        pad_to(&b, RESPONSE_MAX_HEADER - 2 + rows[i].over);
        buf_adds(&b, rows[i].after);
        check(rows[i].what, b.data, b.len, rows[i].expected);
    }
    static const struct {
        const char *before, *expected;
    } endless[] = {
        { OK "X: ", "too large" },          { "HTTP/1.1 ", "too large" },
        { "HTTP/1.1 200 ", "too large" },   { CHUNKED "1;", "last 200" },
        { CHUNKED "0\r\nX: ", "last 200" }, { CHUNKED "1\r\nx", "last 200 'x'" },
    };
    for (size_t i = 0; i < ARRAY_LEN(endless); i++) {
        buf_clear(&b);
        buf_adds(&b, endless[i].before);
        while (b.len < RESPONSE_MAX_HEADER + 100)
            buf_adds(&b, "z");
        check(endless[i].before, b.data, b.len, endless[i].expected);
    }
    buf_clear(&b);
    while (b.len < RESPONSE_MAX_HEADER + 100)
        buf_adds(&b, "HTTP/1.1 100 Continue\r\n\r\n");
    check("100 for ever", b.data, b.len, "too large");
    buf_release(&b);
}

static void a_body_has_a_limit_which_may_be_reached(void **state)
{
    (void)state;
    static const struct {
        const char *what, *before;
        size_t len;
        const char *after, *expected;
    } rows[] = {
        { "a length", LENGTH("65536") "\r\n", 65536, "", "done 200 'bbbbbbbbbbbbbbbb' of 65536" },
        { "a length and one byte", LENGTH("65537") "\r\n", 65537, "",
          "last 200 'bbbbbbbbbbbbbbbb' of 65537" },
        { "far more", LENGTH("99999") "\r\n", 99999, "", "last 200 'bbbbbbbbbbbbbbbb' of 65537" },
        { "until close", OK "\r\n", 65536, "", "more 200 'bbbbbbbbbbbbbbbb' of 65536" },
        { "until close and one byte", OK "\r\n", 65537, "",
          "last 200 'bbbbbbbbbbbbbbbb' of 65537" },
        { "a chunk", CHUNKED "10000\r\n", 65536, "\r\n0\r\n\r\n",
          "done 200 'bbbbbbbbbbbbbbbb' of 65536" },
        { "a chunk and one byte", CHUNKED "10000\r\n", 65536, "\r\n1\r\nx\r\n0\r\n\r\n",
          "last 200 'bbbbbbbbbbbbbbbb' of 65537" },
        { "a large chunk", CHUNKED "fffffffffffffff\r\n", 70000, "",
          "last 200 'bbbbbbbbbbbbbbbb' of 65537" },
    };
    struct buf b;
    buf_init(&b, 1 << 20);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_clear(&b);
        buf_adds(&b, rows[i].before);
        size_t end = b.len + rows[i].len;
        while (b.len < end)
            buf_adds(&b, "b");
        buf_adds(&b, rows[i].after);
        check(rows[i].what, b.data, b.len, rows[i].expected);
    }
    buf_release(&b);
}

/* ---- the end of the connection ---- */

static void a_connection_may_end_at_every_byte(void **state)
{
    (void)state;
    static const struct {
        const char *data;
        enum response_result whole;
    } rows[] = {
        { LENGTH("5") "X: y\r\n\r\nhello", RESPONSE_DONE },
        { LENGTH("5") "Connection: close\r\n\r\nhello", RESPONSE_LAST },
        { CHUNKED "2;a\r\nab\r\n1\r\nc\r\n0\r\nX: y\r\n\r\n", RESPONSE_DONE },
        { OK "X: y\r\n\r\nup to the end", RESPONSE_MORE },
        { OK "X: y\r\n folded\r\n\r\n", RESPONSE_MORE },
        { "HTTP/1.1 204 N\r\nX: y\r\n\r\n", RESPONSE_DONE },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t len = strlen(rows[i].data);
        size_t header = (size_t)(strstr(rows[i].data, "\r\n\r\n") - rows[i].data) + 4;
        for (size_t end = 1; end <= len; end++) {
            struct response r;
            response_init(&r, NULL, 0);
            assert_int_equal(feed(&r, rows[i].data, end),
                             end < len ? RESPONSE_MORE : rows[i].whole);
            assert_int_equal(response_end(&r), end < header ? RESPONSE_INVALID : RESPONSE_LAST);
            assert_int_equal(r.final, end >= header);
            assert_int_equal(response_kept(&r), 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_status_line_is_that_of_http_1),
        cmocka_unit_test(informational_responses_are_passed_over),
        cmocka_unit_test(a_connection_is_used_again_only_if_both_sides_want_it),
        cmocka_unit_test(a_length_is_one_number),
        cmocka_unit_test(some_have_no_body_whatever_they_say),
        cmocka_unit_test(codings_come_before_a_length),
        cmocka_unit_test(chunks_are_counted),
        cmocka_unit_test(of_other_fields_only_retry_after_matters),
        cmocka_unit_test(of_a_long_line_only_the_beginning_is_read),
        cmocka_unit_test(other_long_lines_are_read_alike),
        cmocka_unit_test(a_header_has_a_limit_which_may_be_reached),
        cmocka_unit_test(a_body_has_a_limit_which_may_be_reached),
        cmocka_unit_test(a_connection_may_end_at_every_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
