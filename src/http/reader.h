#ifndef HTTP_READER_H
#define HTTP_READER_H
/* reader: bytes of one connection → one checked request at a time (RFC 9112). No I/O, no clock, no
 * memory of its own, so that a fuzzer can drive it.
 *
 * It is strict: where a lenient reader would have to guess what was meant, it refuses, because two
 * readers that guess differently is how requests are smuggled. Every byte is judged by the state that
 * the bytes before it led to, never by how many arrived together: any split gives the same answer.
 *
 *     while ((result = http_reader_parse(r)) == HTTP_READER_MORE) {
 *         char *room = http_reader_room(r, &n);    n == 0: http_reader_move() to a larger buffer
 *         http_reader_fed(r, read(fd, room, n));
 *     }
 *     REQUEST: use r->request, answer, http_reader_next(r)
 *     REFUSED: answer r->status, close */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http/http.h"

enum {
    HTTP_LINE_MAX = 8 * 1024,   /* bytes of a request line with its CR LF; beyond: 414 */
    HTTP_HEAD_MAX = 16 * 1024,  /* bytes of request line and fields together; beyond: 431 */
    HTTP_EXTRA_MAX = 16 * 1024, /* bytes of a body's chunk extensions and trailers together */
    HTTP_FIELDS_MAX = 64,       /* beyond: 431. Trailers have 64 of their own */
    HTTP_BODY_MAX =
        1 << 30, /* bytes that a limit of a body may say: a chunk's size cannot overflow */
    HTTP_CHUNK_DIGITS_MAX = 16, /* digits of a chunk's size, leading zeros included */
};

struct http_reader_limits {
    size_t max_body;                                        /* bytes; beyond: 413 */
    const char *const *hosts;                               /* as in struct http_config */
    size_t (*max_body_of)(const struct http_request *head); /* as in struct http_app; or NULL */
};

enum http_reader_result {
    HTTP_READER_MORE,    /* every byte was looked at; feed more */
    HTTP_READER_REQUEST, /* request is complete; http_reader_next() goes on */
    HTTP_READER_REFUSED, /* answer status, detail, and close; there is no way on */
};

/* What the connection waits for: decides which deadline runs. */
enum http_reader_stage { HTTP_READER_IDLE, HTTP_READER_HEAD, HTTP_READER_BODY };

/* Where a field lies, from the request's first byte: survives a move of the buffer. A head has at most
 * 16 KiB, so 16 bits are enough. */
struct http_reader_field {
    uint16_t name, name_len, value, value_len;
};

struct http_reader {
    struct http_request
        request;        /* valid after HTTP_READER_REQUEST. First: http_field() finds the rest */
    bool keep_alive;    /* HTTP/1.1 and no "Connection: close"; after HTTP_READER_REQUEST */
    int status;         /* after HTTP_READER_REFUSED */
    const char *detail; /* a sentence, static */

    /* The rest is the reader's own. The buffer is the caller's: [start, start + len) is unanswered
     * input, and all other positions count from start.
     *   1. pos <= len; bytes before pos were judged.
     *   2. In a chunked body the data were moved down to [body, body + body_len); what lies between
     *      there and pos is of no use any more. */
    const struct http_reader_limits *limits;
    char *data;
    size_t cap, start, len, pos;
    uint8_t state, known, minor;
    bool chunked, has_length, has_host, close, expect, expect_other, in_trailers;
    uint16_t n_fields, n_trailers;
    size_t mark; /* where the token under way began */
    size_t method_len, target, target_len;
    size_t body, body_len;
    size_t max_body; /* of this request, once its head was read */
    uint64_t length; /* Content-Length; of a chunk: bytes left */
    size_t extra, digits;
    struct http_slice field_host;
    struct http_reader_field fields[HTTP_FIELDS_MAX];
};

/* Begin a connection. Borrows limits, and data (cap bytes) until http_reader_move(). */
void http_reader_init(struct http_reader *r, const struct http_reader_limits *limits, char *data,
                      size_t cap);
/* Where the next bytes go and how many fit; *ret_n is 0: the buffer is full. After HTTP_READER_MORE. */
char *http_reader_room(struct http_reader *r, size_t *ret_n);
void http_reader_fed(struct http_reader *r, size_t n);
/* Go on in another buffer, which must hold what is there. The old one is the caller's again. */
void http_reader_move(struct http_reader *r, char *data, size_t cap);
/* A buffer of this size never gets full while the request under way is read. */
size_t http_reader_wants(const struct http_reader *r);

enum http_reader_result http_reader_parse(struct http_reader *r);
/* The request was answered: forget it, keep what came behind it. After HTTP_READER_REQUEST. */
void http_reader_next(struct http_reader *r);

enum http_reader_stage http_reader_stage(const struct http_reader *r);
/* True when nothing at all is buffered: the reader may as well be thrown away. */
bool http_reader_empty(const struct http_reader *r);
/* True once for a request that wants "100 Continue" before it sends its body (RFC 9110 §10.1.1). */
bool http_reader_continue(struct http_reader *r);
/* Whether the request under way is a HEAD, as far as it was read. */
bool http_reader_is_head(const struct http_reader *r);
#endif
