#ifndef HTTP_HTTP_H
#define HTTP_HTTP_H
/* http: an HTTP/1.1 server (RFC 9110, 9112): one epoll loop a thread, each with its own SO_REUSEPORT
 * listener and its own connections. Has never heard of assets.
 *
 * The reader (reader.h) turns bytes into requests and does no I/O; the loop (loop.c) does the rest:
 * limits, absolute deadlines, pipelining in order, 100-continue, drain. A request that cannot be
 * answered at once (its commit is under way) is simply kept by the application, which answers it later
 * from the same thread; meanwhile nothing more of its connection is parsed. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/err.h"

struct http_server;
struct http_exchange; /* one request and its answer; the loop's until http_reply() */

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_DELETE,
    HTTP_OPTIONS,
    HTTP_OTHER
};

struct http_slice {
    const char *data;
    size_t len;
};

/* A checked request. Everything points into the connection's buffer and stays until http_reply(). */
struct http_request {
    enum http_method method;
    struct http_slice method_name;
    struct http_slice path;  /* of the target, undecoded: "/assets/image" */
    struct http_slice query; /* without "?"; empty if there is none */
    struct http_slice host;  /* Host field, or the authority of an absolute target */
    struct http_slice body;
};
/* The value of the field of this name (case-insensitive), whitespace trimmed; data is NULL when there is
 * none. When it is there more than once: the first. */
struct http_slice http_field(const struct http_request *request, const char *name);
bool http_slice_is(struct http_slice slice, const char *text);

struct http_response {
    int status;
    const char *content_type; /* NULL: no body */
    const void *body;         /* copied */
    size_t body_len;
    const char *fields; /* further fields, each ending CR LF; NULL: none. Copied */
    bool close;         /* close the connection after it */
};

/* What a thread of the server calls. All of it on that thread. */
struct http_app {
    /* Make and free the thread's own context; wake_fd (-1: none) is watched: wake() when readable. */
    int (*thread_start)(void *app, void **ret_ctx, int *ret_wake_fd, struct err *err);
    void (*thread_stop)(void *ctx);
    /* Answer now with http_reply(), or keep x and do so later from wake(). */
    void (*handle)(void *ctx, struct http_exchange *x, const struct http_request *request);
    void (*wake)(void *ctx);
    /* All that was readable in this turn of the loop was handled: hand over as one what handle() kept.
     * NULL: nothing to do. */
    void (*turn_over)(void *ctx);
    /* ms until turn_over() must be called even if nothing happens; -1: any time will do. NULL: that. */
    int (*sleep_ms)(void *ctx);
    /* The longest body of this request, whose head was read; 0: as config says. NULL: always that. */
    size_t (*max_body)(const struct http_request *head);
    /* The client of a streamed answer, or of what http_keep() was called for, has left, or was too slow:
     * x is no more. */
    void (*gone)(void *ctx, struct http_exchange *x);
    /* The client of what http_keep() was called for has shut its sending side: it has left, or will read one
     * more answer. NULL: that makes no difference. */
    void (*leaving)(void *ctx, struct http_exchange *x);
    /* All that was written of a streamed answer has been sent. NULL: nobody cares. */
    void (*drained)(void *ctx, struct http_exchange *x);
    /* The drain has begun: answer what is kept and end what is streamed, soon. NULL: nothing is kept long. */
    void (*drain)(void *ctx);
    /* The server itself has answered with status. NULL: nobody counts. */
    void (*refused)(void *ctx, int status);
    /* Body for an answer that the server itself gives (400, 408, 413, 421, 431, 503 …): append it to
     * body and return its content type. detail is a sentence for the client. */
    const char *(*problem)(int status, const char *detail, struct buf *body);
};

struct http_config {
    const char *listen;       /* "127.0.0.1:5001", "[::1]:5001", "0.0.0.0:5001"; port 0: any */
    unsigned threads;         /* 0: 1 */
    size_t max_body;          /* bytes; a longer one is 413; 0: 64 KiB */
    size_t max_large;         /* bytes of all bodies over 64 KiB together; beyond: 503; 0: 64 MiB */
    unsigned max_connections; /* of all threads together; 0: 1024 */
    /* Deadlines, ms; 0: 5000, 10000, 60000, 10000 */
    int head_ms, body_ms, idle_ms, write_ms;
    /* NULL-terminated list of host names that Host may have (any port); NULL: any. Others get 421.
     * Borrowed until http_stop(). */
    const char *const *hosts;
};

int http_start(const struct http_config *config, const struct http_app *ops, void *app,
               struct http_server **ret_server, struct err *err);
/* The port that is listened on (config may have said 0). */
int http_port(const struct http_server *server);
/* Stop accepting; answer what is in flight with "Connection: close". Returns at once. */
void http_drain(struct http_server *server);
/* Wait until every connection is over, at most timeout_ms, then end the threads and free everything. An
 * exchange that is still kept then must not be answered any more. */
void http_stop(struct http_server *server, int timeout_ms);

/* Answer a request: HEAD's body is left out but counted; Content-Length and Date are added. The exchange
 * is gone after it. If the client has left meanwhile nothing happens. */
void http_reply(struct http_exchange *x, const struct http_response *response);

/* Have gone() called should the client leave before http_reply(): for what is kept for long. */
void http_keep(struct http_exchange *x);

/* A streamed answer: a head, pieces, an end, each from the exchange's own thread. Its body is chunked, or
 * ends with the connection for a client of HTTP/1.0. Nothing blocks and nothing is refused: what the client
 * has not taken yet is kept, so look at http_stream_unsent() before more is written. The write deadline
 * runs while there is some. */
/* The response's body is not looked at. False: the exchange is over, because it was a HEAD or the client
 * has left. True: until http_stream_end() or gone(). */
bool http_stream_begin(struct http_exchange *x, const struct http_response *response);
void http_stream_write(struct http_exchange *x, const void *data, size_t len);
size_t http_stream_unsent(const struct http_exchange *x);
void http_stream_end(struct http_exchange *x);

/* Room for the application's own data of one request: size bytes, zeroed at arrival. */
enum { HTTP_APP_DATA = 1024 };
void *http_app_data(struct http_exchange *x);

struct http_stats {
    uint64_t requests; /* handed to the application */
    uint64_t refused;  /* answered by the server itself, or connections closed for being too many */
    uint64_t connections; /* open now */
};
void http_stats(const struct http_server *server, struct http_stats *ret_stats);
#endif
