#ifndef HTTP_LOOP_H
#define HTTP_LOOP_H
/* loop: what the parts of the server share: one thread's loop, its connections and its exchanges.
 * Private to src/http.
 *
 *   server.c   starts and ends the threads, owns what they share
 *   loop.c     one thread: waits for events and deadlines, accepts
 *   conn.c     one connection: read, parse, handle, write, close
 *   reply.c    http_reply(): an answer as bytes
 *   stream.c   http_stream_…(): an answer piece by piece
 *
 * Everything in struct http_loop and below belongs to that thread alone, unless it says otherwise. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "http/http.h"
#include "http/link.h"
#include "http/peers.h"
#include "http/reader.h"

enum {
    HTTP_BLOCK = 8 * 1024,     /* bytes of input that cost no allocation */
    HTTP_OUT_BLOCK = 4 * 1024, /* bytes of output that cost none */
    HTTP_SPARE_MAX = 256,      /* unused blocks of a kind that a loop keeps */
    HTTP_REQUESTS_MAX = 1000,  /* on one connection */
    HTTP_TURN_MAX = 64,        /* requests of one connection before the others have their turn */
    HTTP_LARGE = 128 * 1024,   /* bytes of input from which on all connections share a limit */
    HTTP_OUT_MAX = 64 * 1024,  /* pipelined answers that are collected before they are sent */
    HTTP_OVERFLOW_MAX = 64, /* connections over the limit that are told so; beyond: just closed */
    HTTP_LINGER_MS = 2000,  /* how long a client may take to read a last answer */
    HTTP_ACCEPT_PAUSE_MS = 100, /* when descriptors or memory ran out */
};

/* What a connection waits for. Each has its own list, in which all wait equally long: so the first in
 * a list is always the first that is due. */
enum http_wait {
    HTTP_WAIT_IDLE,   /* the first byte of a request */
    HTTP_WAIT_HEAD,   /* the rest of a head, counted from its first byte */
    HTTP_WAIT_BODY,   /* the rest of a body, counted from the head's end */
    HTTP_WAIT_WRITE,  /* the client to take some of an answer */
    HTTP_WAIT_LINGER, /* the client to close */
    HTTP_WAITS,
    HTTP_WAIT_NOTHING = HTTP_WAITS /* the application, which has no deadline here */
};

/* Shared by the threads. */
struct http_server {
    struct http_config config; /* with defaults filled in; listen is used at the start only */
    const struct http_app *ops;
    void *app;
    struct http_reader_limits limits;
    struct http_peers *peers;
    int port;
    struct http_loop *loops; /* n_loops of them */
    unsigned n_loops;
    atomic_uint admitted;  /* connections that are served */
    atomic_uint overflow;  /* connections that are told that there are too many */
    atomic_uint orphans;   /* exchanges that are kept although their client has left */
    atomic_uint undrained; /* loops that still accept */
    atomic_size_t large;   /* bytes of buffers over HTTP_LARGE */
    atomic_bool draining, stopping;
    pthread_mutex_t lock; /* for changed: signalled while draining, when one of the counts falls */
    pthread_cond_t changed;
};

/* Blocks of one size that are used again and again. */
struct http_spares {
    void *first; /* each begins with a pointer to the next */
    unsigned n;
    size_t size;
};

struct http_loop {
    struct http_server *server;
    pthread_t thread;
    bool running;
    int epoll_fd, listen_fd, control_fd, wake_fd; /* -1: none */
    void *ctx;                                    /* the application's, of this thread */
    bool draining;
    int64_t now_ms;
    int64_t paused_until_ms; /* accepting goes on then; 0: it is not paused */
    bool starved;            /* nobody could be accepted since it was last paused */
    int64_t date_s;
    char date[40]; /* "Date: …" CR LF */
    size_t date_len;
    struct http_link conns;             /* all */
    struct http_link ready;             /* have something to do without a new event */
    struct http_link graveyard;         /* closed; freed when no event can name them any more */
    struct http_link waits[HTTP_WAITS]; /* by deadline */
    int64_t wait_ms[HTTP_WAITS];
    struct http_link orphans;
    struct http_spares exchanges, outs;
    struct buf problem;
    atomic_ullong requests, refused; /* written by this thread, read by any */

    pthread_mutex_t start_lock; /* for started */
    pthread_cond_t start_done;
    int started; /* 1: runs; -1: start_err says why not */
    struct err start_err;
};

struct http_conn {
    struct http_loop *loop;
    int fd;            /* -1: closed */
    bool readable;     /* there may be something to read: edges are seen once only */
    bool ends;         /* the client has shut its sending side: a short read is not the last one */
    bool busy;         /* the application has its request */
    bool running;      /* http_conn_run() is under way */
    bool fresh;        /* a request ended: its deadline must not go on for the next one */
    bool closing;      /* close when all is sent */
    bool lingers;      /* closing, but the client may still be sending: see linger() */
    bool shut;         /* lingering: our side is shut */
    bool overflow;     /* one too many */
    bool broken;       /* a streamed answer lacks a piece: close */
    uint8_t waits_for; /* enum http_wait */
    unsigned requests;
    int64_t due_ms;
    struct http_exchange *x; /* NULL while idle: an idle connection is only this struct */
    char *out;               /* [sent, len) is to be sent; NULL: nothing */
    size_t out_len, out_cap, out_sent;
    struct http_peer peer;
    struct http_link all, ready, waiting;
};

struct http_exchange {
    struct http_reader reader;
    struct http_conn *conn; /* NULL: the client has left */
    struct http_loop *loop;
    struct http_link orphan;
    char *large;           /* the buffer when block is too small */
    size_t large_counted;  /* of its bytes in server->large */
    bool told;             /* the application learns that the client has left: gone() */
    bool streams, chunked; /* http_stream_begin() was called; and its body is chunked */
    _Alignas(max_align_t) char app_data[HTTP_APP_DATA];
    char block[HTTP_BLOCK];
};

/* ---- loop.c ---- */
int http_loop_init(struct http_loop *loop, struct http_server *server, int listen_fd,
                   struct err *err);
/* The thread: until server->stopping. Tells start_done. */
void *http_loop_run(void *loop);
/* Make the loop look at server->draining and stopping. Any thread. */
void http_loop_poke(struct http_loop *loop);
void http_loop_release(struct http_loop *loop);
void *http_spare_get(struct http_spares *spares);
void http_spare_put(struct http_spares *spares, void *block);

/* ---- conn.c ---- */
/* Take over fd. NULL: out of memory (fd is closed). */
struct http_conn *http_conn_new(struct http_loop *loop, int fd, struct http_peer peer,
                                bool overflow);
/* Do whatever can be done now. The connection may be closed afterwards. */
void http_conn_run(struct http_conn *c);
/* http_conn_run() soon. */
void http_conn_queue(struct http_conn *c);
/* The deadline is over. */
void http_conn_expired(struct http_conn *c);
/* Give the server's own answer, then close. */
void http_conn_refuse(struct http_conn *c, int status, const char *detail);
/* Close at once. An exchange that the application has becomes an orphan. */
void http_conn_close(struct http_conn *c);
void http_exchange_free(struct http_exchange *x);
/* A count that http_stop() may wait for has fallen. */
void http_tell_stopper(struct http_server *server);

/* ---- reply.c ---- */
/* Append to what is to be sent; -1: out of memory. */
int http_out_add(struct http_conn *c, const void *data, size_t len);
int http_out_response(struct http_conn *c, const struct http_response *response, bool is_head,
                      bool close);
/* The same of an answer whose body follows piece by piece: chunked, or up to the connection's end. */
int http_out_stream_head(struct http_conn *c, const struct http_response *response, bool chunked,
                         bool close);
/* Whether the answer that is given now is the connection's last. */
bool http_is_last(const struct http_exchange *x);
/* The answer is complete: go on with the connection's next request, or close. */
void http_answered(struct http_exchange *x, bool close);
void http_out_release(struct http_conn *c);
/* Keep loop->date at the wall clock's second. */
void http_date_update(struct http_loop *loop, int64_t wall_ms);
#endif
