/* An answer that is written piece by piece. */
#include <stdio.h>
#include <string.h>

#include "http/loop.h"

bool http_stream_begin(struct http_exchange *x, const struct http_response *response)
{
    struct http_conn *c = x->conn;
    if (!c) {
        http_exchange_free(x);
        return false;
    }
    bool chunked = x->reader.minor >= 1;
    bool close = response->close || !chunked || http_is_last(x);
    bool is_head = x->reader.request.method == HTTP_HEAD;
    if (http_out_stream_head(c, response, chunked, close) < 0) {
        c->busy = false;
        http_conn_close(c);
        return false;
    }
    if (is_head) {
        http_answered(x, close);
        return false;
    }
    x->told = x->streams = true;
    x->chunked = chunked;
    http_conn_queue(c);
    return true;
}

void http_keep(struct http_exchange *x)
{
    x->told = x->conn != NULL;
}

/* Without memory for a piece the whole answer is worth nothing. But the application is in the middle of
 * something, so it is not told before the connection has its turn. */
static void add(struct http_conn *c, const void *data, size_t len)
{
    if (!c->broken && http_out_add(c, data, len) < 0)
        c->broken = true;
}

void http_stream_write(struct http_exchange *x, const void *data, size_t len)
{
    struct http_conn *c = x->conn;
    if (!c || len == 0) /* an empty chunk would be the last one */
        return;
    char size[24];
    if (x->chunked)
        add(c, size, (size_t)snprintf(size, sizeof(size), "%zx\r\n", len));
    add(c, data, len);
    if (x->chunked)
        add(c, "\r\n", 2);
    http_conn_queue(c);
}

size_t http_stream_unsent(const struct http_exchange *x)
{
    return x->conn ? x->conn->out_len - x->conn->out_sent : 0;
}

void http_stream_end(struct http_exchange *x)
{
    struct http_conn *c = x->conn;
    if (!c)
        return;
    if (x->chunked)
        add(c, "0\r\n\r\n", 5);
    http_answered(x, !x->chunked || http_is_last(x));
    http_conn_queue(c);
}
