#include "http/reader.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "http/reader_parts.h"
#include "http/target.h"

/* Fields that the reader itself understands. */
enum known { KNOWN_NONE, KNOWN_HOST, KNOWN_LENGTH, KNOWN_CODING, KNOWN_CONNECTION, KNOWN_EXPECT };

static bool is_text(const char *data, size_t len, const char *text)
{
    return len == strlen(text) && strncasecmp(data, text, len) == 0;
}

/* ---- the request line ---- */

static enum http_method method_of(const char *name, size_t len)
{
    static const struct {
        const char *name;
        enum http_method method;
    } methods[] = {
        { "POST", HTTP_POST }, { "GET", HTTP_GET },       { "HEAD", HTTP_HEAD },
        { "PUT", HTTP_PUT },   { "DELETE", HTTP_DELETE }, { "OPTIONS", HTTP_OPTIONS },
    };
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (len == strlen(methods[i].name) && memcmp(name, methods[i].name, len) == 0)
            return methods[i].method;
    return HTTP_OTHER;
}

static enum http_reader_step line_done(struct http_reader *r, char major, char minor)
{
    if (major == '0')
        return http_reader_refuse(r, 400, "HTTP/0.9 is not spoken here.");
    if (major != '1' || (minor != '0' && minor != '1'))
        return http_reader_refuse(r, 505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.");
    r->minor = (uint8_t)(minor - '0');
    const char *p = http_reader_base(r);
    r->request.method = method_of(p, r->method_len);
    if (r->method_len == 7 && memcmp(p, "CONNECT", 7) == 0)
        return http_reader_refuse(r, 501, "This server is not a proxy: it has no CONNECT.");
    struct http_slice target = { p + r->target, r->target_len };
    const char *why = http_target_split(target, r->request.method, &r->request.path,
                                        &r->request.query, &r->request.host);
    if (why)
        return http_reader_refuse(r, 400, why);
    r->state = NAME_START;
    return STEP_LEAVE;
}

/* The byte at pos in "HTTP/" DIGIT "." DIGIT CR LF. */
static enum http_reader_step version(struct http_reader *r)
{
    static const char shape[] = "HTTP/d.d\r\n";
    const char *p = http_reader_base(r) + r->mark;
    size_t i = r->pos - r->mark;
    if (shape[i] == 'd' ? p[i] < '0' || p[i] > '9' : p[i] != shape[i])
        return http_reader_refuse(r, 400, "The request line does not end with an HTTP version.");
    r->pos++;
    return p[i] == '\n' ? line_done(r, p[5], p[7]) : STEP_STAY;
}

/* The bytes before the method. */
static enum http_reader_step start(struct http_reader *r)
{
    char c = http_reader_base(r)[r->pos];
    if (r->state == START_LF) {
        if (c != '\n')
            return http_reader_refuse(r, 400, "A carriage return is not followed by a line feed.");
        r->start += 2;
        r->len -= 2;
        r->pos = 0;
        r->state = START_AGAIN;
    } else if (c == '\r' && r->state == START) {
        r->pos++;
        r->state = START_LF;
    } else if (http_is(c, HTTP_TOKEN)) {
        r->state = METHOD;
    } else {
        return http_reader_refuse(r, 400, "This is not the beginning of an HTTP request.");
    }
    return STEP_STAY;
}

static enum http_reader_step request_line(struct http_reader *r)
{
    enum http_reader_step step = STEP_STAY;
    while (step == STEP_STAY && r->pos < r->len) {
        if (r->pos >= HTTP_LINE_MAX)
            return http_reader_refuse(r, 414, "The request line is longer than 8 KiB.");
        const char *p = http_reader_base(r);
        size_t end = http_least(r->len, HTTP_LINE_MAX);
        switch (r->state) {
        case METHOD:
            while (r->pos < end && http_is(p[r->pos], HTTP_TOKEN))
                r->pos++;
            if (r->pos == end)
                break;
            if (p[r->pos] != ' ')
                return http_reader_refuse(r, 400, "The method is not followed by one space.");
            r->method_len = r->pos++;
            r->target = r->pos;
            r->state = TARGET;
            break;
        case TARGET:
            while (r->pos < end && http_is(p[r->pos], HTTP_TARGET))
                r->pos++;
            if (r->pos == end)
                break;
            if (p[r->pos] != ' ' || r->pos == r->target)
                return http_reader_refuse(
                    r, 400, "The request target has a character that cannot be in one.");
            r->target_len = r->pos++ - r->target;
            r->mark = r->pos;
            r->state = VERSION;
            break;
        case VERSION:
            step = version(r);
            break;
        default:
            step = start(r);
            break;
        }
    }
    return step;
}

/* ---- fields ---- */

static enum known known_field(const char *name, size_t len)
{
    switch (len) {
    case 4:
        return is_text(name, len, "host") ? KNOWN_HOST : KNOWN_NONE;
    case 6:
        return is_text(name, len, "expect") ? KNOWN_EXPECT : KNOWN_NONE;
    case 10:
        return is_text(name, len, "connection") ? KNOWN_CONNECTION : KNOWN_NONE;
    case 14:
        return is_text(name, len, "content-length") ? KNOWN_LENGTH : KNOWN_NONE;
    case 17:
        return is_text(name, len, "transfer-encoding") ? KNOWN_CODING : KNOWN_NONE;
    default:
        return KNOWN_NONE;
    }
}

static enum http_reader_step content_length(struct http_reader *r, struct http_slice value)
{
    if (r->has_length)
        return http_reader_refuse(r, 400, "There is more than one Content-Length.");
    r->has_length = true;
    if (value.len == 0)
        return http_reader_refuse(r, 400, "Content-Length is not a number.");
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return http_reader_refuse(r, 400, "Content-Length is not a number.");
        r->length = r->length * 10 + (uint64_t)(value.data[i] - '0');
        if (r->length > (UINT64_C(1) << 53))
            return http_reader_refuse(r, 400, "Content-Length is out of range.");
    }
    return STEP_STAY;
}

/* Connection = #connection-option; the only one that matters is close. */
static bool has_close(struct http_slice list)
{
    size_t from = 0;
    for (size_t i = 0; i <= list.len; i++) {
        if (i < list.len && http_is(list.data[i], HTTP_TOKEN))
            continue;
        if (is_text(list.data + from, i - from, "close"))
            return true;
        from = i + 1;
    }
    return false;
}

static enum http_reader_step known_value(struct http_reader *r, struct http_slice value)
{
    switch ((enum known)r->known) {
    case KNOWN_NONE:
        break;
    case KNOWN_HOST:
        if (r->has_host)
            return http_reader_refuse(r, 400, "There is more than one Host.");
        if (!http_host_valid(value))
            return http_reader_refuse(r, 400, "Host is not valid.");
        r->has_host = true;
        r->field_host = value;
        break;
    case KNOWN_LENGTH:
        return content_length(r, value);
    case KNOWN_CODING:
        if (r->chunked || r->minor == 0 || !is_text(value.data, value.len, "chunked"))
            return http_reader_refuse(r, 400,
                                      "Transfer-Encoding is not a lone chunked of HTTP/1.1.");
        r->chunked = true;
        break;
    case KNOWN_CONNECTION:
        r->close = r->close || has_close(value);
        break;
    case KNOWN_EXPECT:
        if (is_text(value.data, value.len, "100-continue"))
            r->expect = r->minor >= 1;
        else if (value.len > 0)
            r->expect_other = true;
        break;
    }
    return STEP_STAY;
}

/* The line feed of a field line was read: its value is complete. */
static enum http_reader_step field_done(struct http_reader *r)
{
    r->state = NAME_START;
    if (r->in_trailers)
        return STEP_STAY;
    const char *p = http_reader_base(r);
    size_t value = r->mark, end = r->pos - 2;
    while (end > value && (p[end - 1] == ' ' || p[end - 1] == '\t'))
        end--;
    struct http_reader_field *field = &r->fields[r->n_fields++];
    field->value = (uint16_t)value;
    field->value_len = (uint16_t)(end - value);
    return known_value(r, (struct http_slice){ p + value, end - value });
}

/* The request is complete up to pos. */
static enum http_reader_step finish(struct http_reader *r)
{
    r->request.method_name = (struct http_slice){ http_reader_base(r), r->method_len };
    r->request.body = (struct http_slice){ http_reader_base(r) + r->body, r->body_len };
    if (!r->request.host.data) /* RFC 9112 §3.2.2: an absolute target's goes before Host */
        r->request.host = r->field_host;
    r->keep_alive = r->minor >= 1 && !r->close;
    r->state = DONE;
    return STEP_LEAVE;
}

/* The empty line was read. What contradicts itself first, then what we do not do. */
static enum http_reader_step head_done(struct http_reader *r)
{
    if (r->minor >= 1 && !r->has_host)
        return http_reader_refuse(r, 400, "There is no Host.");
    if (r->chunked && r->has_length)
        return http_reader_refuse(r, 400, "There are both Content-Length and Transfer-Encoding.");
    struct http_slice host = r->request.host.data ? r->request.host : r->field_host;
    if (host.data && !http_host_listed(host, r->limits->hosts))
        return http_reader_refuse(r, 421, "This server does not answer to that host name.");
    if (r->expect_other && r->minor >= 1)
        return http_reader_refuse(r, 417, "The only expectation that is met here is 100-continue.");
    size_t own = r->limits->max_body_of ? r->limits->max_body_of(&r->request) : 0;
    r->max_body = own ? own : r->limits->max_body;
    assert(r->max_body <= HTTP_BODY_MAX);
    if (r->length > r->max_body)
        return http_reader_refuse(r, 413, "The body is longer than this server takes.");
    r->body = r->pos;
    if (r->chunked) {
        r->state = SIZE;
        return STEP_LEAVE;
    }
    if (r->length > 0) {
        r->state = BODY;
        return STEP_LEAVE;
    }
    return finish(r);
}

static enum http_reader_step name_start(struct http_reader *r, char c)
{
    if (c == '\r') {
        r->pos++;
        r->state = END_LF;
        return STEP_STAY;
    }
    if (!http_is(c, HTTP_TOKEN))
        return http_reader_refuse(r, 400, "A line of the head does not begin with a field's name.");
    uint16_t *n = r->in_trailers ? &r->n_trailers : &r->n_fields;
    if (*n == HTTP_FIELDS_MAX)
        return http_reader_refuse(r, 431, "There are more than 64 fields.");
    *n += r->in_trailers; /* those of a head are counted when complete */
    r->mark = r->pos;
    r->state = NAME;
    return STEP_STAY;
}

static enum http_reader_step name_done(struct http_reader *r)
{
    const char *p = http_reader_base(r);
    if (p[r->pos] != ':')
        return http_reader_refuse(r, 400, "A field's name is not followed by a colon.");
    if (!r->in_trailers) { /* those are dropped, and the name may be gone from the buffer already */
        struct http_reader_field *field = &r->fields[r->n_fields];
        field->name = (uint16_t)r->mark;
        field->name_len = (uint16_t)(r->pos - r->mark);
        r->known = (uint8_t)known_field(p + r->mark, r->pos - r->mark);
    }
    r->pos++;
    r->state = OWS;
    return STEP_STAY;
}

/* Field lines up to the empty line; the byte at limit is one too many. */
static enum http_reader_step field_lines(struct http_reader *r, size_t limit)
{
    const char *p = http_reader_base(r);
    size_t end = http_least(r->len, limit);
    enum http_reader_step step = STEP_STAY;
    while (step == STEP_STAY && r->pos < r->len) {
        if (r->pos >= limit)
            return http_reader_refuse(r, 431, "The fields are longer than 16 KiB.");
        switch (r->state) {
        case NAME_START:
            step = name_start(r, p[r->pos]);
            break;
        case NAME:
            while (r->pos < end && http_is(p[r->pos], HTTP_TOKEN))
                r->pos++;
            if (r->pos < end)
                step = name_done(r);
            break;
        case OWS:
            while (r->pos < end && (p[r->pos] == ' ' || p[r->pos] == '\t'))
                r->pos++;
            r->mark = r->pos;
            if (r->pos < end)
                r->state = VALUE;
            break;
        case VALUE:
            while (r->pos < end && http_is(p[r->pos], HTTP_VALUE))
                r->pos++;
            if (r->pos == end)
                break;
            if (p[r->pos++] != '\r')
                return http_reader_refuse(r, 400,
                                          "A field's value has a character that cannot be in one.");
            r->state = VALUE_LF;
            break;
        default: /* VALUE_LF, END_LF */
            if (p[r->pos++] != '\n')
                return http_reader_refuse(r, 400,
                                          "A carriage return is not followed by a line feed.");
            if (r->state == VALUE_LF)
                step = field_done(r);
            else
                step = r->in_trailers ? finish(r) : head_done(r);
            break;
        }
    }
    return step;
}

static enum http_reader_step fields(struct http_reader *r)
{
    if (!r->in_trailers)
        return field_lines(r, HTTP_HEAD_MAX);
    size_t from = r->pos;
    enum http_reader_step step = field_lines(r, from + HTTP_EXTRA_MAX - r->extra);
    r->extra += r->pos - from;
    return step;
}

/* ---- bodies ---- */

static enum http_reader_step body(struct http_reader *r)
{
    size_t end = r->body + r->length;
    r->pos = http_least(r->len, end);
    if (r->pos < end)
        return STEP_STAY;
    r->body_len = r->length;
    return finish(r);
}

/* ---- what the header promises ---- */

static void forget_request(struct http_reader *r)
{
    r->request = (struct http_request){ 0 };
    r->field_host = (struct http_slice){ 0 };
    r->state = START;
    r->known = KNOWN_NONE;
    r->keep_alive = r->chunked = r->has_length = r->has_host = r->close = false;
    r->expect = r->expect_other = r->in_trailers = false;
    r->n_fields = r->n_trailers = 0;
    r->pos = r->mark = r->method_len = r->target = r->target_len = 0;
    r->body = r->body_len = r->extra = r->digits = 0;
    r->length = 0;
}

void http_reader_init(struct http_reader *r, const struct http_reader_limits *limits, char *data,
                      size_t cap)
{
    assert(limits->max_body <= HTTP_BODY_MAX);
    forget_request(r);
    r->limits = limits;
    r->data = data;
    r->cap = cap;
    r->start = r->len = 0;
    r->status = 0;
    r->detail = NULL;
}

/* The request's first byte was at from and is at http_reader_base(r) now: take along what points there. */
static void rebase(struct http_reader *r, const char *from)
{
    struct http_slice *slices[] = { &r->request.path, &r->request.query, &r->request.host,
                                    &r->field_host };
    for (size_t i = 0; i < ARRAY_LEN(slices); i++) {
        uintptr_t at = (uintptr_t)slices[i]->data - (uintptr_t)from;
        if (slices[i]->data && at < r->len) /* not the "/" that stands for no path */
            slices[i]->data = http_reader_base(r) + at;
    }
}

char *http_reader_room(struct http_reader *r, size_t *ret_n)
{
    if (r->state >= SIZE || r->in_trailers) /* the data were moved down, the rest is used up */
        r->len = r->pos = r->body + r->body_len;
    if (r->start > 0) {
        const char *from = http_reader_base(r);
        memmove(r->data, from, r->len);
        r->start = 0;
        rebase(r, from);
    }
    *ret_n = r->cap - r->len;
    return r->data + r->len;
}

void http_reader_fed(struct http_reader *r, size_t n)
{
    assert(r->start + r->len + n <= r->cap);
    r->len += n;
}

void http_reader_move(struct http_reader *r, char *data, size_t cap)
{
    assert(cap >= r->len);
    const char *from = http_reader_base(r);
    memcpy(data, from, r->len);
    r->data = data;
    r->cap = cap;
    r->start = 0;
    rebase(r, from);
}

size_t http_reader_wants(const struct http_reader *r)
{
    enum { FRAMING = 256 }; /* room to read what stands around the last chunk's data */
    if (http_reader_stage(r) != HTTP_READER_BODY)
        return HTTP_HEAD_MAX + 1;
    return r->body + (r->chunked ? r->max_body + FRAMING : r->length);
}

enum http_reader_result http_reader_parse(struct http_reader *r)
{
    for (;;) {
        if (r->state == REFUSED)
            return HTTP_READER_REFUSED;
        if (r->state == DONE)
            return HTTP_READER_REQUEST;
        if (r->pos == r->len)
            return HTTP_READER_MORE;
        if (r->state < NAME_START)
            (void)request_line(r);
        else if (r->state < BODY)
            (void)fields(r);
        else if (r->state == BODY)
            (void)body(r);
        else
            (void)http_reader_chunks(r);
    }
}

void http_reader_next(struct http_reader *r)
{
    assert(r->state == DONE);
    r->start += r->pos;
    r->len -= r->pos;
    if (r->len == 0)
        r->start = 0;
    forget_request(r);
}

enum http_reader_stage http_reader_stage(const struct http_reader *r)
{
    if (r->state < METHOD)
        return HTTP_READER_IDLE;
    return r->state < BODY && !r->in_trailers ? HTTP_READER_HEAD : HTTP_READER_BODY;
}

bool http_reader_empty(const struct http_reader *r)
{
    return r->state == START && r->len == 0;
}

bool http_reader_continue(struct http_reader *r)
{
    if (!r->expect || http_reader_stage(r) != HTTP_READER_BODY)
        return false;
    r->expect = false; /* it is said now, or the client did not wait for it */
    return r->len == r->body;
}

bool http_reader_is_head(const struct http_reader *r)
{
    return r->method_len == 4 && memcmp(http_reader_base(r), "HEAD", 4) == 0;
}

struct http_slice http_field(const struct http_request *request, const char *name)
{
    const struct http_reader *r = (const struct http_reader *)(const void *)request;
    size_t len = strlen(name);
    const char *p = http_reader_base(r);
    for (size_t i = 0; i < r->n_fields; i++) {
        const struct http_reader_field *field = &r->fields[i];
        if (field->name_len == len && strncasecmp(p + field->name, name, len) == 0)
            return (struct http_slice){ p + field->value, field->value_len };
    }
    return (struct http_slice){ NULL, 0 };
}

bool http_slice_is(struct http_slice slice, const char *text)
{
    return slice.data && slice.len == strlen(text) && memcmp(slice.data, text, slice.len) == 0;
}
