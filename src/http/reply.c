#include "http/loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"

/* RFC 9110 §5.6.7, whatever the locale. */
void http_date_update(struct http_loop *loop, int64_t wall_ms)
{
    static const char days[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
    static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
    time_t now = (time_t)(wall_ms / 1000);
    if (now == loop->date_s)
        return;
    struct tm tm;
    if (!gmtime_r(&now, &tm))
        return;
    int n =
        snprintf(loop->date, sizeof(loop->date), "Date: %s, %02d %s %04d %02d:%02d:%02d GMT\r\n",
                 days[tm.tm_wday % 7], tm.tm_mday, months[tm.tm_mon % 12],
                 (tm.tm_year + 1900) % 10000, tm.tm_hour, tm.tm_min, tm.tm_sec);
    loop->date_len = n > 0 && (size_t)n < sizeof(loop->date) ? (size_t)n : 0;
    loop->date_s = now;
}

/* RFC 9110 §15, RFC 6585. */
static const char *reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        { 200, "OK" },
        { 201, "Created" },
        { 202, "Accepted" },
        { 204, "No Content" },
        { 206, "Partial Content" },
        { 301, "Moved Permanently" },
        { 302, "Found" },
        { 303, "See Other" },
        { 304, "Not Modified" },
        { 307, "Temporary Redirect" },
        { 308, "Permanent Redirect" },
        { 400, "Bad Request" },
        { 401, "Unauthorized" },
        { 403, "Forbidden" },
        { 404, "Not Found" },
        { 405, "Method Not Allowed" },
        { 406, "Not Acceptable" },
        { 408, "Request Timeout" },
        { 409, "Conflict" },
        { 410, "Gone" },
        { 411, "Length Required" },
        { 412, "Precondition Failed" },
        { 413, "Content Too Large" },
        { 414, "URI Too Long" },
        { 415, "Unsupported Media Type" },
        { 416, "Range Not Satisfiable" },
        { 417, "Expectation Failed" },
        { 421, "Misdirected Request" },
        { 422, "Unprocessable Content" },
        { 429, "Too Many Requests" },
        { 431, "Request Header Fields Too Large" },
        { 500, "Internal Server Error" },
        { 501, "Not Implemented" },
        { 502, "Bad Gateway" },
        { 503, "Service Unavailable" },
        { 504, "Gateway Timeout" },
        { 505, "HTTP Version Not Supported" },
        { 507, "Insufficient Storage" },
    };
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return ""; /* RFC 9112 §4: may be empty */
}

/* Room for len more bytes of output, or NULL. */
static char *out_room(struct http_conn *c, size_t len)
{
    if (!c->out && len <= HTTP_OUT_BLOCK) {
        c->out = http_spare_get(&c->loop->outs);
        c->out_cap = c->out ? HTTP_OUT_BLOCK : 0;
    }
    if (c->out_cap - c->out_len >= len)
        return c->out ? c->out + c->out_len : NULL;
    if (c->out_sent > 0) { /* of a stream that is never quite taken: what was sent is of no use */
        memmove(c->out, c->out + c->out_sent, c->out_len - c->out_sent);
        c->out_len -= c->out_sent;
        c->out_sent = 0;
        if (c->out_cap - c->out_len >= len)
            return c->out + c->out_len;
    }
    size_t cap = c->out_cap ? c->out_cap * 2 : len;
    while (cap < c->out_len + len)
        cap *= 2;
    char *grown = malloc(cap);
    if (!grown)
        return NULL;
    size_t len_before = c->out_len, sent_before = c->out_sent;
    if (c->out)
        memcpy(grown, c->out, c->out_len);
    http_out_release(c);
    c->out = grown;
    c->out_cap = cap;
    c->out_len = len_before;
    c->out_sent = sent_before;
    return grown + c->out_len;
}

void http_out_release(struct http_conn *c)
{
    if (c->out_cap == HTTP_OUT_BLOCK)
        http_spare_put(&c->loop->outs, c->out);
    else
        free(c->out);
    c->out = NULL;
    c->out_len = c->out_cap = c->out_sent = 0;
}

int http_out_add(struct http_conn *c, const void *data, size_t len)
{
    char *room = out_room(c, len);
    if (!room)
        return -1;
    memcpy(room, data, len);
    c->out_len += len;
    return 0;
}

static char *put(char *p, const void *data, size_t len)
{
    memcpy(p, data, len);
    return p + len;
}

static char *put_number(char *p, size_t number)
{
    char digits[24], *d = digits + sizeof(digits);
    do {
        *--d = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return put(p, d, (size_t)(digits + sizeof(digits) - d));
}

#define PUT(p, literal) put(p, literal, sizeof(literal) - 1)

/* How the end of the answer's body is known. */
enum framing { LENGTH, CHUNKED, CONNECTION, NO_BODY };

/* Written by hand instead of by snprintf(): every request passes here. Returns where the head ends, behind
 * which body_len more bytes fit; NULL: out of memory. */
static char *put_head(struct http_conn *c, const struct http_response *response,
                      enum framing framing, size_t body_len, bool close)
{
    enum { FIXED = 256 }; /* more than all that is put below but for the four lengths */
    const char *type = response->content_type, *why = reason(response->status);
    size_t type_len = type ? strlen(type) : 0;
    size_t fields_len = response->fields ? strlen(response->fields) : 0;
    char *p = out_room(c, FIXED + type_len + fields_len + body_len);
    if (!p)
        return NULL;
    p = PUT(p, "HTTP/1.1 ");
    p = put_number(p, (size_t)response->status);
    p = PUT(p, " ");
    p = put(p, why, strlen(why));
    p = PUT(p, "\r\n");
    p = put(p, c->loop->date, c->loop->date_len);
    if (type && framing != NO_BODY) {
        p = PUT(p, "Content-Type: ");
        p = put(p, type, type_len);
        p = PUT(p, "\r\n");
    }
    if (framing == LENGTH) {
        p = PUT(p, "Content-Length: ");
        p = put_number(p, body_len);
        p = PUT(p, "\r\n");
    } else if (framing == CHUNKED) {
        p = PUT(p, "Transfer-Encoding: chunked\r\n");
    }
    if (fields_len > 0)
        p = put(p, response->fields, fields_len);
    if (close)
        p = PUT(p, "Connection: close\r\n");
    return PUT(p, "\r\n");
}

int http_out_response(struct http_conn *c, const struct http_response *response, bool is_head,
                      bool close)
{
    bool no_body = response->status == 204 || response->status == 304; /* RFC 9110 §8.6 */
    size_t body_len = response->content_type && !no_body ? response->body_len : 0;
    char *p = put_head(c, response, no_body ? NO_BODY : LENGTH, body_len, close);
    if (!p)
        return -1;
    if (!is_head && body_len > 0)
        p = put(p, response->body, body_len);
    c->out_len = (size_t)(p - c->out);
    return 0;
}

int http_out_stream_head(struct http_conn *c, const struct http_response *response, bool chunked,
                         bool close)
{
    char *p = put_head(c, response, chunked ? CHUNKED : CONNECTION, 0, close);
    if (!p)
        return -1;
    c->out_len = (size_t)(p - c->out);
    return 0;
}

bool http_is_last(const struct http_exchange *x)
{
    return x->loop->draining || !x->reader.keep_alive || x->conn->requests >= HTTP_REQUESTS_MAX;
}

void http_answered(struct http_exchange *x, bool close)
{
    struct http_conn *c = x->conn;
    c->busy = x->told = x->streams = false;
    c->fresh = true;
    /* A client that asked for the end sends no more, unless it is on its way already. */
    c->lingers = close && (x->reader.keep_alive || x->reader.pos < x->reader.len);
    c->closing = close;
    http_reader_next(&x->reader);
    if (!c->running) /* else it goes on by itself */
        http_conn_queue(c);
}

void http_reply(struct http_exchange *x, const struct http_response *response)
{
    struct http_conn *c = x->conn;
    if (!c) { /* nobody waits for it any more */
        http_exchange_free(x);
        return;
    }
    bool close = response->close || http_is_last(x);
    if (http_out_response(c, response, x->reader.request.method == HTTP_HEAD, close) < 0) {
        c->busy = false; /* the application has it no more */
        http_conn_close(c);
        return;
    }
    http_answered(x, close);
}

void *http_app_data(struct http_exchange *x)
{
    return x->app_data;
}
