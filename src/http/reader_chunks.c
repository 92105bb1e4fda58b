#include "http/reader_parts.h"

#include <string.h>

#include "http/target.h"

static unsigned hex_value(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}

static enum http_reader_step chunk_size(struct http_reader *r, char c)
{
    if (http_is(c, HTTP_HEX)) {
        if (++r->digits > HTTP_CHUNK_DIGITS_MAX)
            return http_reader_refuse(r, 400, "A chunk's size has too many digits.");
        r->length = r->length * 16 + hex_value(c);
        if (r->length > r->max_body - r->body_len)
            return http_reader_refuse(r, 413, "The body is longer than this server takes.");
        return STEP_STAY;
    }
    if (r->digits == 0 || (c != '\r' && c != ';'))
        return http_reader_refuse(r, 400, "A chunk's size is not a hexadecimal number.");
    r->state = c == ';' ? EXT_NAME_START : SIZE_LF;
    return STEP_STAY;
}

/* One byte of ";name=value" behind a chunk's size: checked, and of no use. */
static enum http_reader_step chunk_extension(struct http_reader *r, char c)
{
    static const char malformed[] = "A chunk's extension is malformed.";
    if (++r->extra > HTTP_EXTRA_MAX)
        return http_reader_refuse(r, 413, "The chunk extensions are too long.");
    switch (r->state) {
    case EXT_QUOTED:
        if (c == '"')
            r->state = EXT_END;
        else if (c == '\\')
            r->state = EXT_ESCAPED;
        else if (!http_is(c, HTTP_VALUE))
            return http_reader_refuse(r, 400, malformed);
        return STEP_STAY;
    case EXT_ESCAPED:
        r->state = EXT_QUOTED;
        return http_is(c, HTTP_VALUE) ? STEP_STAY : http_reader_refuse(r, 400, malformed);
    case EXT_NAME_START:
    case EXT_VALUE_START:
        if (c == '"' && r->state == EXT_VALUE_START)
            r->state = EXT_QUOTED;
        else if (http_is(c, HTTP_TOKEN))
            r->state = r->state == EXT_NAME_START ? EXT_NAME : EXT_TOKEN;
        else
            return http_reader_refuse(r, 400, malformed);
        return STEP_STAY;
    default: /* EXT_NAME, EXT_TOKEN, EXT_END */
        if (c == '\r')
            r->state = SIZE_LF;
        else if (c == ';')
            r->state = EXT_NAME_START;
        else if (c == '=' && r->state == EXT_NAME)
            r->state = EXT_VALUE_START;
        else if (r->state == EXT_END || !http_is(c, HTTP_TOKEN))
            return http_reader_refuse(r, 400, malformed);
        return STEP_STAY;
    }
}

/* Move the data that are here down to the body's end. */
static void chunk_data(struct http_reader *r)
{
    char *p = http_reader_base(r);
    size_t n = http_least(r->len - r->pos, r->length);
    memmove(p + r->body + r->body_len, p + r->pos, n);
    r->body_len += n;
    r->pos += n;
    r->length -= n;
    if (r->length == 0)
        r->state = DATA_CR;
}

enum http_reader_step http_reader_chunks(struct http_reader *r)
{
    enum http_reader_step step = STEP_STAY;
    while (step == STEP_STAY && r->pos < r->len) {
        if (r->state == DATA) {
            chunk_data(r);
            continue;
        }
        char c = http_reader_base(r)[r->pos++];
        switch (r->state) {
        case SIZE:
            step = chunk_size(r, c);
            break;
        case SIZE_LF:
            if (c != '\n')
                return http_reader_refuse(r, 400, "A chunk's size is not followed by CR LF.");
            r->digits = 0;
            r->in_trailers = r->length == 0;
            r->state = r->in_trailers ? NAME_START : DATA;
            step = r->in_trailers ? STEP_LEAVE : STEP_STAY;
            break;
        case DATA_CR:
            if (c != '\r')
                return http_reader_refuse(r, 400, "A chunk's data are not followed by CR LF.");
            r->state = DATA_LF;
            break;
        case DATA_LF:
            if (c != '\n')
                return http_reader_refuse(r, 400, "A chunk's data are not followed by CR LF.");
            r->state = SIZE;
            break;
        default:
            step = chunk_extension(r, c);
            break;
        }
    }
    return step;
}
