#ifndef HTTP_READER_PARTS_H
#define HTTP_READER_PARTS_H
/* What the two halves of the reader share: reader.c (heads, trailers) and reader_chunks.c (chunked bodies).
 */
#include "http/reader.h"

/* What the next byte is. */
enum http_reader_state {
    /* Nothing yet. RFC 9112 §2.2: one empty line before a request line is forgiven. */
    START,
    START_LF,
    START_AGAIN,
    /* method SP target SP HTTP-version CR LF */
    METHOD,
    TARGET,
    VERSION,
    LINE_LF,
    /* *( name ":" OWS value OWS CR LF ) CR LF, of a head or of trailers */
    NAME_START,
    NAME,
    OWS,
    VALUE,
    VALUE_LF,
    END_LF,
    /* Content-Length bytes */
    BODY,
    /* *( size *( ";" name [ "=" ( token / quoted-string ) ] ) CR LF data CR LF ), RFC 9112 §7.1 */
    SIZE,
    EXT_NAME_START,
    EXT_NAME,
    EXT_VALUE_START,
    EXT_TOKEN,
    EXT_QUOTED,
    EXT_ESCAPED,
    EXT_END,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,

    DONE,
    REFUSED,
};

/* Whether a part of the reader goes on with the next byte, or is done: the state says what is next. */
enum http_reader_step { STEP_STAY, STEP_LEAVE };

static inline enum http_reader_step http_reader_refuse(struct http_reader *r, int status,
                                                       const char *detail)
{
    r->state = REFUSED;
    r->status = status;
    r->detail = detail;
    return STEP_LEAVE;
}

/* The request's first byte. */
static inline char *http_reader_base(const struct http_reader *r)
{
    return r->data + r->start;
}

static inline size_t http_least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Read a chunked body up to its last chunk; the trailers are fields and reader.c's. */
enum http_reader_step http_reader_chunks(struct http_reader *r);
#endif
