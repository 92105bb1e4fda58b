#ifndef CLIENT_CLIENT_H
#define CLIENT_CLIENT_H
/* client: HTTP/1.1 requests to many servers at once, by one thread: names, connections that are kept, TLS,
 * deadlines. A server that hangs costs a descriptor and no time, however many do.
 *
 *     client_begin() for each new call;  client_wait();  while ((call = client_ended()))  …
 *
 * Redirects are not followed, no proxy is used, no cookie is kept. A request that was sent over a kept
 * connection which ended before anything came back is sent once more over a new one. */
#include <netdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/err.h"
#include "client/response.h"
#include "client/url.h"

struct client;
struct connection;
struct lookup;

struct client_config {
    unsigned max_idle;                        /* connections kept, together; 0: 64 */
    int connect_timeout_ms, total_timeout_ms; /* 0: 3000, 10000. To a connection; to the end */
    /* Whether an address may be connected to, asked at every connect, whatever name or notation led there.
     * NULL: all may. */
    bool (*allows)(const void *arg, const struct sockaddr *address);
    const void *arg;
};

enum client_error {
    CLIENT_OK,
    CLIENT_TIMEOUT,
    CLIENT_DNS, /* the name has no address */
    CLIENT_REFUSED,
    CLIENT_UNREACHABLE,
    CLIENT_RESET, /* hung up before answering */
    CLIENT_TLS,
    CLIENT_PROTOCOL,   /* what came is no HTTP/1 */
    CLIENT_TOO_LARGE,  /* the header is */
    CLIENT_DISALLOWED, /* config.allows() refused all of its addresses */
    CLIENT_STARVED,    /* we lack descriptors, threads or memory: the server had no part in it */
};
const char *client_error_word(enum client_error error); /* "timeout", "dns", … */

/* What a call asks for. client_begin() copies all of it. */
struct client_request {
    const char *method, *url; /* url_is_valid() */
    const char *fields; /* header lines, each with its CR LF; but for Host and Content-Length */
    size_t fields_len;
    const void *body;
    size_t body_len;
    bool stranger; /* its name may be one of many that are never answered: see resolver.h */
};

/* One request and its response, in the caller's memory, which stays where it is; used again and again.
 * call_init() before all else, call_release() at the end. */
struct call {
    /* After client_ended(): */
    struct response response; /* if .final, this is what came, whatever the error */
    enum client_error error;
    char why[160]; /* with an error: more words for a person, or "" */
    /* microseconds since the beginning; -1: it did not come to that */
    int64_t resolved_us, connected_us, secured_us, sent_us, answered_us, ended_us;
    struct sockaddr_storage peer; /* with connected_us >= 0 */

    /* The rest is the client's own. */
    TAILQ_ENTRY(call) in_all, in_connecting, in_trying;
    enum call_state {
        CALL_RESTS,
        CALL_ASKS, /* for the name's addresses */
        CALL_CONNECTS,
        CALL_SECURES,
        CALL_SENDS,
        CALL_READS,
        CALL_ENDED,
    } state;
    bool trying;      /* there are more addresses to try */
    bool refused;     /* by allows(): an address */
    bool tried;       /* a connection was begun */
    bool starved;     /* no socket could be had for one */
    int os_errno;     /* of the last connection that failed */
    int64_t begin_us; /* monotonic, as those below */
    int64_t due_ms, connect_due_ms, address_due_ms;
    struct url_parts url; /* but for .target, which is not kept */
    bool stranger;
    struct lookup *lookup;
    struct addrinfo *addresses; /* owned */
    struct addrinfo literal;
    const struct addrinfo *next_address;
    struct connection *connection;
    struct buf out; /* the request */
    size_t sent_len;
    char *keep; /* for the response's body */
    size_t keep_len;
};

/* keep: where the first keep_len bytes of a response's body go; borrowed until call_release(). */
void call_init(struct call *call, size_t max_request, char *keep, size_t keep_len);
void call_release(struct call *call); /* it rests */

int client_new(const struct client_config *config, struct client **ret_client, struct err *err);
void client_free(struct client *client); /* no call is under way. NULL is fine */
/* client_wait() ends too when fd is readable; reading it is the caller's. */
int client_watch(struct client *client, int fd, struct err *err);
/* The call is the client's until client_ended() returns it, or client_cancel(). -1: no memory. */
int client_begin(struct client *client, struct call *call, const struct client_request *request,
                 struct err *err);
/* Sleep until something happens, at most wait_ms, and do what can be done. */
int client_wait(struct client *client, int64_t wait_ms, struct err *err);
/* The next call that has ended, or NULL. */
struct call *client_ended(struct client *client);
/* Break off a call that is under way. */
void client_cancel(struct client *client, struct call *call);
/* Begin a call, and wait for its end: for those who have only one. */
int client_perform(struct client *client, struct call *call, const struct client_request *request,
                   struct err *err);
#endif
