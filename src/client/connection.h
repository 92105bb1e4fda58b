#ifndef CLIENT_CONNECTION_H
#define CLIENT_CONNECTION_H
/* connection: one socket, plain or TLS, and those that are kept for the next request to the same server.
 * Part of the client.
 *
 * A connection has a call, or is kept (`idle`), or is closed and waits in `closed` for connections_bury(): an
 * event that was already read may still name it. Its socket is watched edge-triggered, once, for everything:
 * so what is readable is to be read until nothing is left. */
#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "client/tls.h"
#include "client/url.h"

struct call;

struct connection {
    LIST_ENTRY(connection) in_bucket;
    TAILQ_ENTRY(connection) in_list; /* of the idle or the closed ones */
    struct call *call;               /* NULL: idle or closed */
    struct tls *tls;                 /* NULL: plain, or not yet secured */
    int fd;                          /* -1: closed */
    bool used;                       /* it has answered before */
    bool https;
    unsigned port;
    int errnum; /* of what failed last; 0: unknown */
    int64_t idle_until_ms;
    char host[URL_HOST_LEN];
};

LIST_HEAD(connection_bucket, connection);
TAILQ_HEAD(connection_list, connection);

enum { CONNECTION_BUCKETS = 1024 };

struct connections {
    int epoll_fd; /* borrowed */
    unsigned n_idle, max_idle;
    struct connection_list idle, closed; /* idle: longest so first */
    struct connection_bucket buckets[CONNECTION_BUCKETS];
};

void connections_init(struct connections *all, int epoll_fd, unsigned max_idle);
/* Close those that are idle since long ago; all: INT64_MAX. */
void connections_expire(struct connections *all, int64_t now_ms);
void connections_bury(struct connections *all);

/* Begin to connect to this address of url's server. NULL: errno says why not. */
struct connection *connection_begin(struct connections *all, const struct url_parts *url,
                                    const struct addrinfo *address);
/* What the attempt has come to: 0, or an errno. */
int connection_outcome(struct connection *n);
/* 0; -1: no memory. */
int connection_secure(struct connection *n, struct tls_context *context, bool literal);

enum { CONNECTION_AGAIN = TLS_AGAIN, CONNECTION_FAILED = TLS_FAILED };
ssize_t connection_read(struct connection *n, void *data, size_t len); /* 0: it was ended */
ssize_t connection_write(struct connection *n, const void *data, size_t len);
const char *connection_why(const struct connection *n); /* the last of these failed, for a person */

/* One that is not idle. Its call, if it has one, has it no longer. */
void connection_close(struct connections *all, struct connection *n);
/* Its call is answered. until_ms: never earlier than that of those before. */
void connection_keep(struct connections *all, struct connection *n, int64_t until_ms);
/* An idle one to url's server, idle no more, or NULL. */
struct connection *connection_kept(struct connections *all, const struct url_parts *url);
/* Events of its socket while nobody used it: it may have been ended. buffer: of len bytes, to be written over. */
void connection_look(struct connections *all, struct connection *n, uint32_t events, char *buffer,
                     size_t len);
#endif
