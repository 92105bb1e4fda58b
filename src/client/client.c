/* A call goes CALL_ASKS → CALL_CONNECTS → CALL_SECURES → CALL_SENDS → CALL_READS → CALL_ENDED, and leaves out
 * what it does not need: over a kept connection it begins with CALL_SENDS.
 *
 * Invariants:
 *  1. Every call between client_begin() and its end is in `all`, by due_ms; while it has no connection that
 *     can be sent over, in `connecting`, by connect_due_ms; while it may go on to another address, in `trying`.
 *     The first two are ordered because all of a client's time-outs are the same.
 *  2. A request over a kept connection takes one send() and one recv(): sockets are watched edge-triggered, and
 *     stay so between two calls. */
#include "client/client.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "client/connection.h"
#include "client/resolver.h"
#include "client/tls.h"

enum {
    DEFAULT_MAX_IDLE = 64,
    DEFAULT_CONNECT_MS = 3000,
    DEFAULT_TOTAL_MS = 10000,
    IDLE_MS = 90 * 1000, /* how long a connection is kept unused */
    TRYING_MS = 20,      /* how often is looked whether an address has had its time */
    MAX_WAIT_MS = 60 * 1000,
    EVENTS_AT_ONCE = 128,
    READ_LEN = 16 * 1024,
};

TAILQ_HEAD(call_list, call);

struct client {
    struct client_config config;
    int epoll_fd;
    struct resolver *resolver;
    struct tls_context *tls; /* NULL: nobody has spoken https yet */
    int64_t now_ms;
    int64_t trying_ms; /* when is looked next */
    struct call_list all, connecting, trying, ended;
    struct connections connections;
    char in[READ_LEN];
};

const char *client_error_word(enum client_error error)
{
    static const char *const words[] = {
        [CLIENT_OK] = "ok",
        [CLIENT_TIMEOUT] = "timeout",
        [CLIENT_DNS] = "dns",
        [CLIENT_REFUSED] = "refused",
        [CLIENT_UNREACHABLE] = "unreachable",
        [CLIENT_RESET] = "reset",
        [CLIENT_TLS] = "tls",
        [CLIENT_PROTOCOL] = "protocol",
        [CLIENT_TOO_LARGE] = "too_large",
        [CLIENT_DISALLOWED] = "disallowed",
        [CLIENT_STARVED] = "no_descriptors",
    };
    return words[error];
}

void call_init(struct call *call, size_t max_request, char *keep, size_t keep_len)
{
    *call = (struct call){ .state = CALL_RESTS, .keep = keep, .keep_len = keep_len };
    buf_init(&call->out, max_request);
}

void call_release(struct call *call)
{
    buf_release(&call->out);
}

static int64_t since_begin_us(const struct call *call)
{
    return clock_mono_us() - call->begin_us;
}

static void drop_connection(struct client *c, struct call *call)
{
    if (call->connection)
        connection_close(&c->connections, TAKE(call->connection));
}

/* --- the end of a call --- */

static void leave_trying(struct client *c, struct call *call)
{
    if (call->trying)
        TAILQ_REMOVE(&c->trying, call, in_trying);
    call->trying = false;
}

static bool is_connecting(const struct call *call)
{
    return call->state == CALL_ASKS || call->state == CALL_CONNECTS || call->state == CALL_SECURES;
}

/* Of everything but its connection. */
static void leave_lists(struct client *c, struct call *call)
{
    if (is_connecting(call))
        TAILQ_REMOVE(&c->connecting, call, in_connecting);
    leave_trying(c, call);
    TAILQ_REMOVE(&c->all, call, in_all);
    if (call->lookup)
        resolver_give_up(c->resolver, TAKE(call->lookup));
    if (call->addresses)
        freeaddrinfo(TAKE(call->addresses));
}

static void over(struct client *c, struct call *call, enum client_error error)
{
    leave_lists(c, call);
    call->error = error;
    call->state = CALL_ENDED;
    call->ended_us = since_begin_us(call);
    TAILQ_INSERT_TAIL(&c->ended, call, in_all);
}

static void end_call(struct client *c, struct call *call, enum client_error error, const char *why)
{
    (void)snprintf(call->why, sizeof(call->why), "%s", why); /* perhaps the connection's */
    drop_connection(c, call);
    over(c, call, error);
}

static void end_well(struct client *c, struct call *call, bool keep)
{
    if (keep)
        connection_keep(&c->connections, TAKE(call->connection), c->now_ms + IDLE_MS);
    else
        drop_connection(c, call);
    over(c, call, CLIENT_OK);
}

/* No address is left. */
static void end_unconnected(struct client *c, struct call *call)
{
    if (call->starved && !call->tried) {
        end_call(c, call, CLIENT_STARVED, "no socket can be had");
    } else if (call->refused && !call->tried) {
        end_call(c, call, CLIENT_DISALLOWED, "the policy refuses all addresses");
    } else {
        enum client_error error = CLIENT_REFUSED;
        if (call->os_errno == ETIMEDOUT)
            error = CLIENT_TIMEOUT;
        else if (call->os_errno == ECONNRESET) /* there was one, for a moment */
            error = CLIENT_RESET;
        else if (call->os_errno == EHOSTUNREACH || call->os_errno == ENETUNREACH ||
                 call->os_errno == EADDRNOTAVAIL)
            error = CLIENT_UNREACHABLE;
        end_call(c, call, error, strerror(call->os_errno));
    }
}

/* --- to a connection --- */

static bool is_shortage(int errnum)
{
    return errnum == EMFILE || errnum == ENFILE || errnum == ENOMEM || errnum == ENOBUFS ||
           errnum == ENOSPC;
}

/* Try the next address that is allowed; half of what is left of the time is the next one's, if there is one. */
static void connect_next(struct client *c, struct call *call)
{
    leave_trying(c, call);
    for (const struct addrinfo *a; (a = call->next_address) != NULL;) {
        call->next_address = a->ai_next;
        if (c->config.allows && !c->config.allows(c->config.arg, a->ai_addr)) {
            call->refused = true;
            continue;
        }
        call->connection = connection_begin(&c->connections, &call->url, a);
        if (!call->connection) {
            if (is_shortage(errno)) {
                call->starved = true;
            } else {
                call->os_errno = errno;
                call->tried = true;
            }
            continue;
        }
        call->connection->call = call;
        call->tried = true;
        call->state = CALL_CONNECTS;
        memcpy(&call->peer, a->ai_addr, a->ai_addrlen);
        if (call->next_address) {
            call->address_due_ms = c->now_ms + (call->connect_due_ms - c->now_ms) / 2;
            call->trying = true;
            TAILQ_INSERT_TAIL(&c->trying, call, in_trying);
        }
        return;
    }
    end_unconnected(c, call);
}

/* Over a new connection. The call is in no list but `all`. */
static void connect_fresh(struct client *c, struct call *call)
{
    call->state = CALL_ASKS;
    call->connect_due_ms = c->now_ms + c->config.connect_timeout_ms;
    TAILQ_INSERT_TAIL(&c->connecting, call, in_connecting);
    if (!call->url.literal) {
        call->lookup =
            resolver_ask(c->resolver, call->url.host, call->url.port, call->stranger, call);
        if (!call->lookup)
            end_call(c, call, CLIENT_STARVED, "no thread to ask for the name can be had");
        return;
    }
    call->resolved_us = since_begin_us(call);
    struct sockaddr *address = (struct sockaddr *)&call->url.address;
    call->literal = (struct addrinfo){
        .ai_family = address->sa_family,
        .ai_addr = address,
        .ai_addrlen = address->sa_family == AF_INET ? sizeof(struct sockaddr_in)
                                                    : sizeof(struct sockaddr_in6),
    };
    call->next_address = &call->literal;
    connect_next(c, call);
}

static void take_addresses(struct client *c)
{
    struct call *call;
    int code;
    struct addrinfo *addresses;
    while ((call = resolver_take(c->resolver, &code, &addresses)) != NULL) {
        call->lookup = NULL;
        call->resolved_us = since_begin_us(call);
        if (code == EAI_MEMORY) {
            end_call(c, call, CLIENT_STARVED, "no descriptor or memory to ask for the name");
            continue;
        }
        if (!addresses) {
            end_call(c, call, CLIENT_DNS, gai_strerror(code));
            continue;
        }
        call->addresses = addresses;
        call->next_address = addresses;
        connect_next(c, call);
    }
}

/* --- over a connection --- */

/* It is of no use. A kept one that has ended meanwhile says nothing of the server: try a new one. */
static void broken(struct client *c, struct call *call, enum client_error error, const char *why)
{
    if (!call->connection->used || response_begun(&call->response)) {
        end_call(c, call, error, why);
        return;
    }
    drop_connection(c, call);
    call->sent_len = 0;
    connect_fresh(c, call);
}

/* As much as the socket takes. true: the other side takes no more; its last words may say why. */
static bool write_request(struct call *call)
{
    while (call->sent_len < call->out.len) {
        ssize_t n = connection_write(call->connection, call->out.data + call->sent_len,
                                     call->out.len - call->sent_len);
        if (n < 0)
            return n == CONNECTION_FAILED;
        call->sent_len += (size_t)n;
    }
    call->state = CALL_READS;
    call->sent_us = since_begin_us(call);
    return false;
}

/* Nothing more came. */
static void read_failed(struct client *c, struct call *call, bool ended)
{
    struct connection *n = call->connection;
    if (response_end(&call->response) == RESPONSE_LAST)
        end_well(c, call, false);
    else if (ended)
        broken(c, call, CLIENT_RESET, "the connection was closed");
    else
        broken(c, call, n->errnum == ETIMEDOUT ? CLIENT_TIMEOUT : CLIENT_RESET, connection_why(n));
}

/* Whether the connection is good for another request. What nobody asked for would be taken for the next answer.
 * drained: all that came was read. */
static bool is_clean(struct client *c, struct call *call, bool drained)
{
    return call->sent_len == call->out.len &&
           (drained || connection_read(call->connection, c->in, sizeof(c->in)) == CONNECTION_AGAIN);
}

/* ends: nothing comes after what is there now, so that it must be read to its end. */
static void read_response(struct client *c, struct call *call, bool ends)
{
    struct connection *n = call->connection;
    enum response_result result = RESPONSE_MORE;
    bool drained = false; /* never of TLS: there may be more although the socket is empty */
    while (result == RESPONSE_MORE) {
        ssize_t len = connection_read(n, c->in, sizeof(c->in));
        if (len == CONNECTION_AGAIN)
            return;
        if (len <= 0) {
            read_failed(c, call, len == 0);
            return;
        }
        if (call->answered_us < 0)
            call->answered_us = since_begin_us(call);
        result = response_feed(&call->response, c->in, (size_t)len);
        drained = !n->tls && (size_t)len < sizeof(c->in);
        if (result == RESPONSE_MORE && drained && !ends)
            return;
    }
    if (result == RESPONSE_INVALID)
        end_call(c, call, CLIENT_PROTOCOL, "what came is not HTTP/1");
    else if (result == RESPONSE_TOO_LARGE)
        end_call(c, call, CLIENT_TOO_LARGE, "the header is too large");
    else
        end_well(c, call, result == RESPONSE_DONE && !ends && is_clean(c, call, drained));
}

static void secured(struct client *c, struct call *call)
{
    TAILQ_REMOVE(&c->connecting, call, in_connecting);
    call->state = CALL_SENDS;
}

/* false: the call has ended, or waits for the socket. */
static bool secure(struct client *c, struct call *call)
{
    int rc = tls_handshake(call->connection->tls);
    if (rc == TLS_FAILED)
        end_call(c, call, CLIENT_TLS, tls_why(call->connection->tls));
    if (rc != 0)
        return false;
    call->secured_us = since_begin_us(call);
    secured(c, call);
    return true;
}

/* There is a connection. false: the call has ended. */
static bool connected(struct client *c, struct call *call)
{
    struct connection *n = call->connection;
    struct err err;
    leave_trying(c, call);
    call->connected_us = since_begin_us(call);
    if (!n->https) {
        secured(c, call);
        return true;
    }
    call->state = CALL_SECURES;
    if (!c->tls && tls_context_new(&c->tls, &err) < 0)
        end_call(c, call, err.code == ERR_NOMEM ? CLIENT_STARVED : CLIENT_TLS, err.msg);
    else if (connection_secure(n, c->tls, call->url.literal) < 0)
        end_call(c, call, CLIENT_STARVED, "no memory for TLS");
    return call->state == CALL_SECURES;
}

static void try_another(struct client *c, struct call *call, int errnum)
{
    call->os_errno = errnum;
    drop_connection(c, call);
    connect_next(c, call);
}

/* false: it has failed, and another address is tried if there is one; or it is still under way. */
static bool connect_goes_on(struct client *c, struct call *call, uint32_t events)
{
    if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
        return false;
    int errnum = connection_outcome(call->connection);
    if (errnum == 0)
        return connected(c, call);
    try_another(c, call, errnum);
    return false;
}

/* As far as it goes. events: of its socket. */
static void use_connection(struct client *c, struct call *call, uint32_t events)
{
    bool ends = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    if (call->state == CALL_CONNECTS && !connect_goes_on(c, call, events))
        return;
    if (call->state == CALL_SECURES && !secure(c, call))
        return;
    if (call->state == CALL_SENDS)
        ends |= write_request(call);
    if ((call->state == CALL_SENDS || call->state == CALL_READS) && (events & EPOLLIN || ends))
        read_response(c, call, ends);
}

/* --- the loop --- */

static void expire(struct client *c)
{
    struct call *call, *next;
    while ((call = TAILQ_FIRST(&c->all)) != NULL && call->due_ms <= c->now_ms)
        end_call(c, call, CLIENT_TIMEOUT, "it took too long");
    while ((call = TAILQ_FIRST(&c->connecting)) != NULL && call->connect_due_ms <= c->now_ms)
        end_call(c, call, CLIENT_TIMEOUT, "no connection in time");
    if (c->now_ms >= c->trying_ms) {
        for (call = TAILQ_FIRST(&c->trying); call; call = next) {
            next = TAILQ_NEXT(call, in_trying);
            if (call->address_due_ms > c->now_ms)
                continue;
            try_another(c, call, ETIMEDOUT);
        }
        c->trying_ms = c->now_ms + TRYING_MS;
    }
    connections_expire(&c->connections, c->now_ms);
}

static int time_to_sleep_ms(const struct client *c, int64_t wait_ms)
{
    const struct call *call;
    int64_t now_ms = clock_mono_ms(),
            until_ms = now_ms + (wait_ms < MAX_WAIT_MS ? wait_ms : MAX_WAIT_MS);
    if (!TAILQ_EMPTY(&c->ended))
        return 0;
    if ((call = TAILQ_FIRST(&c->all)) != NULL && call->due_ms < until_ms)
        until_ms = call->due_ms;
    if ((call = TAILQ_FIRST(&c->connecting)) != NULL && call->connect_due_ms < until_ms)
        until_ms = call->connect_due_ms;
    if (!TAILQ_EMPTY(&c->trying) && c->trying_ms < until_ms)
        until_ms = c->trying_ms;
    const struct connection *idle = TAILQ_FIRST(&c->connections.idle);
    if (idle && idle->idle_until_ms < until_ms)
        until_ms = idle->idle_until_ms;
    return until_ms > now_ms ? (int)(until_ms - now_ms) : 0;
}

int client_wait(struct client *c, int64_t wait_ms, struct err *err)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int n = epoll_wait(c->epoll_fd, events, EVENTS_AT_ONCE, time_to_sleep_ms(c, wait_ms));
    if (n < 0 && errno != EINTR)
        return err_errno(err, errno, "epoll_wait");
    c->now_ms = clock_mono_ms();
    for (int i = 0; i < n; i++) {
        struct connection *connection = events[i].data.ptr;
        if (events[i].data.ptr == c->resolver)
            take_addresses(c);
        else if (!connection || connection->fd < 0)
            continue; /* watched for the caller; or closed a moment ago */
        else if (connection->call)
            use_connection(c, connection->call, events[i].events);
        else
            connection_look(&c->connections, connection, events[i].events, c->in, sizeof(c->in));
    }
    expire(c);
    connections_bury(&c->connections);
    return 0;
}

/* --- for the caller --- */

static void add_number(struct buf *out, size_t number)
{
    char digits[24], *at = digits + sizeof(digits);
    do
        *--at = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    (void)buf_add(out, at, (size_t)(digits + sizeof(digits) - at));
}

static int make_request(struct call *call, const struct client_request *request, struct err *err)
{
    const struct url_parts *url = &call->url;
    bool v6 = url->literal && url->address.ss_family == AF_INET6;
    struct buf *out = &call->out;
    buf_clear(out);
    (void)buf_adds(out, request->method);
    (void)buf_adds(out, url->target_len > 0 && url->target[0] == '/' ? " " : " /");
    (void)buf_add(out, url->target, url->target_len);
    (void)buf_adds(out, v6 ? " HTTP/1.1\r\nhost: [" : " HTTP/1.1\r\nhost: ");
    (void)buf_adds(out, url->host);
    (void)buf_adds(out, v6 ? "]" : "");
    if (url->port != (url->https ? 443 : 80)) {
        (void)buf_adds(out, ":");
        add_number(out, url->port);
    }
    (void)buf_adds(out, "\r\naccept: */*\r\n");
    (void)buf_add(out, request->fields, request->fields_len);
    if (request->body_len > 0 || strcmp(request->method, "GET") != 0) {
        (void)buf_adds(out, "content-length: ");
        add_number(out, request->body_len);
        (void)buf_adds(out, "\r\n");
    }
    (void)buf_adds(out, "\r\n");
    (void)buf_add(out, request->body, request->body_len);
    return buf_failed(out) ? err_set(err, ERR_NOMEM, "the request does not fit") : 0;
}

int client_begin(struct client *c, struct call *call, const struct client_request *request,
                 struct err *err)
{
    url_split(request->url, &call->url);
    call->stranger = request->stranger;
    if (make_request(call, request, err) < 0)
        return -1;
    response_init(&call->response, call->keep, call->keep_len);
    call->refused = call->tried = call->starved = false;
    call->os_errno = 0;
    call->sent_len = 0;
    call->why[0] = '\0';
    call->resolved_us = call->connected_us = call->secured_us = -1;
    call->sent_us = call->answered_us = call->ended_us = -1;
    call->begin_us = clock_mono_us();
    c->now_ms = call->begin_us / 1000;
    call->due_ms = c->now_ms + c->config.total_timeout_ms;
    TAILQ_INSERT_TAIL(&c->all, call, in_all);
    struct connection *kept = connection_kept(&c->connections, &call->url);
    if (!kept) {
        connect_fresh(c, call);
        return 0;
    }
    kept->call = call;
    call->connection = kept;
    call->state = CALL_SENDS;
    use_connection(c, call, 0);
    return 0;
}

struct call *client_ended(struct client *c)
{
    struct call *call = TAILQ_FIRST(&c->ended);
    if (call) {
        TAILQ_REMOVE(&c->ended, call, in_all);
        call->state = CALL_RESTS;
    }
    return call;
}

void client_cancel(struct client *c, struct call *call)
{
    if (call->state == CALL_ENDED) {
        TAILQ_REMOVE(&c->ended, call, in_all);
    } else if (call->state != CALL_RESTS) {
        leave_lists(c, call);
        drop_connection(c, call);
    }
    call->state = CALL_RESTS;
}

int client_perform(struct client *c, struct call *call, const struct client_request *request,
                   struct err *err)
{
    if (client_begin(c, call, request, err) < 0)
        return -1;
    while (call->state != CALL_ENDED)
        if (client_wait(c, MAX_WAIT_MS, err) < 0) {
            client_cancel(c, call);
            return -1;
        }
    client_cancel(c, call);
    return 0;
}

static int watch(struct client *c, int fd, void *tag, struct err *err)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = tag };
    if (epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        return err_errno(err, errno, "epoll_ctl");
    return 0;
}

int client_watch(struct client *c, int fd, struct err *err)
{
    return watch(c, fd, NULL, err);
}

DEFINE_FREEP(struct client *, client_free)

int client_new(const struct client_config *config, struct client **ret_client, struct err *err)
{
    struct client *fresh = calloc(1, sizeof(*fresh));
    if (!fresh)
        return err_set(err, ERR_NOMEM, "out of memory");
    CLEANUP(client_freep) struct client *c = fresh;
    c->config = *config;
    if (!c->config.max_idle)
        c->config.max_idle = DEFAULT_MAX_IDLE;
    if (!c->config.connect_timeout_ms)
        c->config.connect_timeout_ms = DEFAULT_CONNECT_MS;
    if (!c->config.total_timeout_ms)
        c->config.total_timeout_ms = DEFAULT_TOTAL_MS;
    TAILQ_INIT(&c->all);
    TAILQ_INIT(&c->connecting);
    TAILQ_INIT(&c->trying);
    TAILQ_INIT(&c->ended);
    c->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (c->epoll_fd < 0)
        return err_errno(err, errno, "epoll_create1");
    connections_init(&c->connections, c->epoll_fd, c->config.max_idle);
    if (resolver_new(&c->resolver, err) < 0 ||
        watch(c, resolver_fd(c->resolver), c->resolver, err) < 0)
        return -1;
    *ret_client = TAKE(c);
    return 0;
}

void client_free(struct client *c)
{
    if (!c)
        return;
    connections_expire(&c->connections, INT64_MAX);
    connections_bury(&c->connections);
    resolver_free(c->resolver);
    tls_context_free(c->tls);
    if (c->epoll_fd >= 0)
        (void)close(c->epoll_fd);
    free(c);
}
