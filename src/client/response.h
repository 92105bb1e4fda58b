#ifndef CLIENT_RESPONSE_H
#define CLIENT_RESPONSE_H
/* response: bytes of one connection → the final response to one request (RFC 9112). No I/O, no clock and
 * no memory of its own, so that a fuzzer can drive it. Any split of the bytes gives the same result.
 *
 * The status decides: once the header of a final response is complete, a body that never ends, is cut off
 * or is no proper one changes nothing but that the connection is of no more use. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RESPONSE_MAX_HEADER = 32 * 1024, /* bytes of all header lines of all responses, trailers too */
    RESPONSE_MAX_BODY = 64 * 1024,
    RESPONSE_LINE = 256, /* bytes of a line that are looked at */
};

enum response_result {
    RESPONSE_MORE,      /* feed more */
    RESPONSE_DONE,      /* complete, and the connection may be used again */
    RESPONSE_LAST,      /* status is known, the connection is of no more use */
    RESPONSE_INVALID,   /* this is no HTTP/1 */
    RESPONSE_TOO_LARGE, /* a header that is over the limit, or never ends */
};

struct response {
    int status;           /* of the final response, once `final` */
    bool final;           /* its header is complete */
    char retry_after[64]; /* that field's value; "": none */
    size_t header_len, body_len;

    /* The rest is the reader's own. */
    char *keep; /* of the body the first keep_len go here */
    size_t keep_len;
    uint8_t state;
    bool old, close, keep_alive; /* HTTP/1.0; what Connection says */
    bool chunked, coded, has_length;
    bool framing;    /* the line before was one of those that say how long the body is */
    bool last;       /* the connection is of no more use */
    uint64_t left;   /* bytes of the body or chunk; UINT64_MAX: up to the connection's end */
    size_t line_len; /* bytes of the line under way, also those not kept */
    char line[RESPONSE_LINE]; /* what is kept when a line comes in pieces */
};

/* keep: keep_len bytes for the body's beginning; borrowed until the end. */
void response_init(struct response *r, char *keep, size_t keep_len);
/* The next len bytes. Nothing may be fed after another result than RESPONSE_MORE. */
enum response_result response_feed(struct response *r, const char *data, size_t len);
/* The connection has ended: RESPONSE_LAST, or RESPONSE_INVALID when there is no final response. */
enum response_result response_end(const struct response *r);
/* Whether anything at all has come. */
static inline bool response_begun(const struct response *r)
{
    return r->header_len > 0 || r->line_len > 0;
}
/* How much of the body is kept. */
static inline size_t response_kept(const struct response *r)
{
    return r->body_len < r->keep_len ? r->body_len : r->keep_len;
}
#endif
