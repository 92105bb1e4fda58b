/* An answer that is written piece by piece. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/cleanup.h"
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
    if (len > 0 && !c->broken && http_out_add(c, data, len) < 0)
        c->broken = true;
}

/* What one send takes of the parts. Whatever is wrong with the connection is met again at its turn. */
static size_t send_now(struct http_conn *c, struct iovec *parts, size_t n)
{
    struct msghdr message = { .msg_iov = parts, .msg_iovlen = n };
    ssize_t sent = sendmsg(c->fd, &message, MSG_NOSIGNAL);
    if (sent <= 0)
        return 0;
    c->fresh = true; /* the client has not stalled */
    return (size_t)sent;
}

/* Sent from where it is, if nothing waits before it: the same piece may be for a thousand clients, and is copied
 * only for those who do not take it. */
void http_stream_write(struct http_exchange *x, const void *data, size_t len)
{
    struct http_conn *c = x->conn;
    if (!c || len == 0) /* an empty chunk would be the last one */
        return;
    char size[24], end[] = "\r\n";
    int size_len = x->chunked ? snprintf(size, sizeof(size), "%zx\r\n", len) : 0;
    struct iovec parts[] = { { size, (size_t)size_len },
                             { (void *)(uintptr_t)data, len },
                             { end, x->chunked ? 2 : 0 } };
    size_t sent = c->out || c->broken ? 0 : send_now(c, parts, ARRAY_LEN(parts));
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        size_t skip = sent < parts[i].iov_len ? sent : parts[i].iov_len;
        sent -= skip;
        add(c, (char *)parts[i].iov_base + skip, parts[i].iov_len - skip);
    }
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
