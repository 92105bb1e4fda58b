#ifndef TEST_HTTP_READER_RIG_H
#define TEST_HTTP_READER_RIG_H
/* Feeds a reader whole, byte by byte and split in two at every point, and demands one outcome. */
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
#include "http/reader.h"

enum { MAX_BODY = 1000, WHOLE = INT32_MAX };

#define BYTES(literal) literal, sizeof(literal) - 1
#define LINE "POST /p HTTP/1.1\r\n"
#define HOST "Host: a\r\n"
#define HEAD LINE HOST
#define CHUNKED HEAD "Transfer-Encoding: chunked\r\n\r\n"

static const char *const *hosts;

/* ---- feeding ---- */

static inline void note_request(struct buf *said, const struct http_reader *r)
{
    const struct http_request *q = &r->request;
    buf_addf(said, "%.*s %.*s", (int)q->method_name.len, q->method_name.data, (int)q->path.len,
             q->path.data);
    if (q->query.len > 0)
        buf_addf(said, "?%.*s", (int)q->query.len, q->query.data);
    buf_addf(said, " @%.*s", (int)q->host.len, q->host.len ? q->host.data : "");
    if (q->body.len > 0)
        buf_addf(said, " \"%.*s\"", (int)q->body.len, q->body.data);
    buf_adds(said, r->keep_alive ? "; " : "; close");
}

static inline void grow(struct http_reader *r, char **buffer, size_t cap)
{
    char *larger = malloc(cap);
    assert_non_null(larger);
    http_reader_move(r, larger, cap);
    free(*buffer);
    *buffer = larger;
}

/* Feed data, the first piece of first bytes and then pieces of step bytes, and write down what the
 * reader says: each request, then "close", the status of a refusal, or what it waits for. */
static inline void read_all(struct buf *said, const char *data, size_t len, size_t first,
                            size_t step)
{
    static const char *const stages[] = { "idle", "head", "body" };
    const struct http_reader_limits limits = { .max_body = MAX_BODY, .hosts = hosts };
    size_t fed = 0, cap = 32, piece = first;
    char *buffer = malloc(cap);
    struct http_reader r;
    buf_clear(said);
    http_reader_init(&r, &limits, buffer, cap);
    for (;;) {
        enum http_reader_result result = http_reader_parse(&r);
        if (result == HTTP_READER_REFUSED) {
            buf_addf(said, "%d", r.status);
            break;
        }
        if (result == HTTP_READER_REQUEST) {
            note_request(said, &r);
            if (!r.keep_alive)
                break;
            http_reader_next(&r);
            continue;
        }
        if (fed == len) {
            buf_adds(said, stages[http_reader_stage(&r)]);
            break;
        }
        size_t room_len;
        char *room = http_reader_room(&r, &room_len);
        if (room_len == 0) {
            assert_true(http_reader_wants(&r) > cap);
            cap = cap * 2 < http_reader_wants(&r) ? cap * 2 : http_reader_wants(&r);
            grow(&r, &buffer, cap);
            room = http_reader_room(&r, &room_len);
        }
        size_t n = piece < len - fed ? piece : len - fed;
        n = n < room_len ? n : room_len;
        memcpy(room, data + fed, n);
        http_reader_fed(&r, n);
        fed += n;
        piece = step;
    }
    free(buffer);
}

/* The outcome of data, which must not depend on how it is split. */
static inline void check(const char *what, const char *data, size_t len, const char *expected)
{
    struct buf whole, split;
    buf_init(&whole, 1 << 20);
    buf_init(&split, 1 << 20);
    read_all(&whole, data, len, WHOLE, WHOLE);
    if (strcmp(buf_str(&whole), expected) != 0)
        fail_msg("%s: '%s' instead of '%s'", what, buf_str(&whole), expected);
    read_all(&split, data, len, 1, 1);
    if (strcmp(buf_str(&split), expected) != 0)
        fail_msg("%s, byte by byte: '%s' instead of '%s'", what, buf_str(&split), expected);
    size_t stride = len > 2000 ? 97 : 1;
    for (size_t at = 1; at < len; at += stride) {
        read_all(&split, data, len, at, WHOLE);
        if (strcmp(buf_str(&split), expected) != 0)
            fail_msg("%s, split at %zu: '%s' instead of '%s'", what, at, buf_str(&split), expected);
    }
    buf_release(&whole);
    buf_release(&split);
}

struct example {
    const char *what, *data;
    size_t len;
    const char *expected;
};

static inline void check_all(const struct example *examples, size_t n)
{
    for (size_t i = 0; i < n; i++)
        check(examples[i].what, examples[i].data, examples[i].len, examples[i].expected);
}

#endif
