/* The life of one connection. Its socket is watched for edges, so whoever learns that something can be
 * done sets a flag and calls http_conn_run(), which does all that can be done and then settles on what to
 * wait for:
 *
 *     idle     nothing read: no exchange, only struct http_conn
 *     reading  an exchange, its request incomplete
 *     busy     the application has the request; nothing more is read or parsed
 *     writing  the client must take what is in out, before anything more is parsed
 *     closing  out is the last answer; then close, or linger and close
 *
 * An answer is only put into out. It is sent at the end of the turn, together with those to the requests
 * that came with its own: one read and one write a turn. */
#include "http/loop.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- life ---- */

struct http_conn *http_conn_new(struct http_loop *loop, int fd, struct http_peer peer,
                                bool overflow)
{
    struct http_conn *c = calloc(1, sizeof(*c));
    if (!c) {
        (void)close(fd);
        return NULL;
    }
    *c = (struct http_conn){ .loop = loop, .fd = fd, .peer = peer, .overflow = overflow };
    c->waits_for = HTTP_WAIT_NOTHING;
    c->fresh = true;
    http_link_init(&c->ready);
    http_link_init(&c->waiting);
    http_link_append(&loop->conns, &c->all);
    /* Edges, and both directions at once: epoll_ctl is never called again for this connection. */
    struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                 .data.ptr = c };
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        http_link_remove(&c->all);
        (void)close(fd);
        free(c);
        return NULL;
    }
    return c;
}

void http_tell_stopper(struct http_server *server)
{
    if (!atomic_load(&server->draining))
        return;
    pthread_mutex_lock(&server->lock);
    pthread_cond_signal(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

static struct http_exchange *exchange_new(struct http_conn *c)
{
    struct http_exchange *x = http_spare_get(&c->loop->exchanges);
    if (!x)
        return NULL;
    x->conn = c;
    x->loop = c->loop;
    x->large = NULL;
    x->large_counted = 0;
    x->told = x->streams = false;
    http_link_init(&x->orphan);
    http_reader_init(&x->reader, &c->loop->server->limits, x->block, sizeof(x->block));
    return x;
}

void http_exchange_free(struct http_exchange *x)
{
    struct http_loop *loop = x->loop;
    bool was_orphan = !x->conn;
    http_link_remove(&x->orphan);
    free(x->large);
    (void)atomic_fetch_sub(&loop->server->large, x->large_counted);
    http_spare_put(&loop->exchanges, x);
    if (was_orphan) {
        atomic_fetch_sub(&loop->server->orphans, 1);
        http_tell_stopper(loop->server);
    }
}

/* An idle connection needs no exchange: keep it for whoever has something to say. */
static void release_exchange(struct http_conn *c)
{
    if (c->x)
        http_exchange_free(c->x);
    c->x = NULL;
}

void http_conn_close(struct http_conn *c)
{
    struct http_loop *loop = c->loop;
    if (c->fd < 0)
        return;
    (void)close(c->fd); /* leaves the epoll set as well: nobody else has this descriptor */
    c->fd = -1;
    if (c->busy && c->x->told) {
        c->busy = false; /* before it is told: nothing may be written any more */
        c->x->conn = NULL;
        loop->server->ops->gone(loop->ctx, c->x);
        c->x->conn = c;
    } else if (c->busy) {
        c->x->conn = NULL;
        http_link_append(&loop->orphans, &c->x->orphan);
        atomic_fetch_add(&loop->server->orphans, 1);
        c->x = NULL;
        c->busy = false;
    }
    release_exchange(c);
    http_out_release(c);
    http_link_remove(&c->ready);
    http_link_remove(&c->waiting);
    http_link_remove(&c->all);
    http_link_append(&loop->graveyard, &c->all);
    http_peers_remove(loop->server->peers, c->peer);
    atomic_fetch_sub(c->overflow ? &loop->server->overflow : &loop->server->admitted, 1);
    http_tell_stopper(loop->server);
}

void http_conn_queue(struct http_conn *c)
{
    if (c->fd >= 0 && http_link_alone(&c->ready))
        http_link_append(&c->loop->ready, &c->ready);
}

static void wait_for(struct http_conn *c, enum http_wait what)
{
    if (c->waits_for == what && !c->fresh)
        return; /* absolute: what it waits for has not changed */
    http_link_remove(&c->waiting);
    c->waits_for = (uint8_t)what;
    c->fresh = false;
    if (what == HTTP_WAIT_NOTHING)
        return;
    c->due_ms = c->loop->now_ms + c->loop->wait_ms[what];
    http_link_append(&c->loop->waits[what], &c->waiting);
}

/* ---- writing ---- */

/* Send what there is. Closes the connection when the client cannot be written to any more. */
static void flush(struct http_conn *c)
{
    while (c->fd >= 0 && c->out_sent < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_sent, c->out_len - c->out_sent, MSG_NOSIGNAL);
        if (n > 0) {
            c->out_sent += (size_t)n;
            c->fresh = true; /* the client took some: it has not stalled */
        } else if (errno == EAGAIN) {
            return;
        } else if (errno != EINTR) {
            http_conn_close(c);
        }
    }
    if (c->fd >= 0 && c->out)
        http_out_release(c);
}

static void say(struct http_conn *c, const char *text)
{
    if (http_out_add(c, text, strlen(text)) < 0)
        http_conn_close(c);
}

void http_conn_refuse(struct http_conn *c, int status, const char *detail)
{
    struct http_loop *loop = c->loop;
    struct buf *body = &loop->problem;
    buf_clear(body);
    struct http_response response = { .status = status };
    if (loop->server->ops->problem)
        response.content_type = loop->server->ops->problem(status, detail, body);
    if (response.content_type && !buf_failed(body)) {
        response.body = body->data;
        response.body_len = body->len;
    }
    bool is_head = c->x && http_reader_is_head(&c->x->reader);
    atomic_fetch_add_explicit(&loop->refused, 1, memory_order_relaxed);
    c->closing = c->lingers = true;
    if (loop->server->ops->refused)
        loop->server->ops->refused(loop->ctx, status);
    if (http_out_response(c, &response, is_head, true) < 0)
        http_conn_close(c);
}

/* ---- reading ---- */

/* Give the request a larger buffer. Doubled at most: a client has to send what it gets memory for. */
static bool grow(struct http_exchange *x)
{
    size_t cap = x->reader.cap * 2, wants = http_reader_wants(&x->reader);
    if (cap > wants)
        cap = wants > x->reader.cap ? wants : cap;
    size_t counted = cap > HTTP_LARGE ? cap : 0;
    atomic_size_t *large = &x->loop->server->large;
    if (counted > 0 &&
        atomic_fetch_add(large, counted) + counted > x->loop->server->config.max_large) {
        (void)atomic_fetch_sub(large, counted);
        return false;
    }
    char *larger = malloc(cap);
    if (!larger) {
        (void)atomic_fetch_sub(large, counted);
        return false;
    }
    http_reader_move(&x->reader, larger, cap);
    (void)atomic_fetch_sub(large, x->large_counted);
    x->large_counted = counted;
    free(x->large);
    x->large = larger;
    return true;
}

/* The client has shut its sending side. What it asked was answered, or it asks the rest of nothing. */
static void at_end(struct http_conn *c)
{
    c->readable = false;
    if (http_reader_stage(&c->x->reader) == HTTP_READER_IDLE)
        c->closing = true;
    else
        http_conn_refuse(c, 400, "The request ends too early.");
    c->lingers = false; /* nothing more can come */
}

/* Read once. False: there is nothing to read now. */
static bool receive(struct http_conn *c)
{
    if (!c->readable)
        return false;
    size_t room_len;
    char *room = http_reader_room(&c->x->reader, &room_len);
    if (room_len == 0) {
        if (!grow(c->x)) {
            http_conn_refuse(c, 503, "There is no memory for this body just now.");
            return true;
        }
        room = http_reader_room(&c->x->reader, &room_len);
    }
    ssize_t n = recv(c->fd, room, room_len, 0);
    if (n > 0) {
        http_reader_fed(&c->x->reader, (size_t)n);
        if ((size_t)n < room_len && !c->ends)
            c->readable = false; /* epoll(7): a short read has emptied it; more is a new edge */
    } else if (n == 0) {
        at_end(c);
    } else if (errno == EAGAIN) {
        c->readable = false;
        return false;
    } else if (errno != EINTR) {
        http_conn_close(c);
    }
    return true;
}

static void serve(struct http_conn *c)
{
    struct http_loop *loop = c->loop;
    struct http_exchange *x = c->x;
    memset(x->app_data, 0, sizeof(x->app_data));
    c->requests++;
    c->busy = true;
    atomic_fetch_add_explicit(&loop->requests, 1, memory_order_relaxed);
    loop->server->ops->handle(loop->ctx, x, &x->reader.request);
}

/* Take one step with the request under way. False: nothing can be done until something happens. */
static bool step(struct http_conn *c)
{
    if (!c->x && !(c->x = exchange_new(c))) {
        http_conn_close(c);
        return false;
    }
    switch (http_reader_parse(&c->x->reader)) {
    case HTTP_READER_REQUEST:
        serve(c);
        return true;
    case HTTP_READER_REFUSED:
        http_conn_refuse(c, c->x->reader.status, c->x->reader.detail);
        return true;
    case HTTP_READER_MORE:
        break;
    }
    if (http_reader_continue(&c->x->reader))
        say(c, "HTTP/1.1 100 Continue\r\n\r\n");
    return c->fd >= 0 && receive(c);
}

/* ---- closing ---- */

/* A socket that is closed while input lies in it sends a reset, which may destroy the last answer before
 * the client has read it. So we shut our side only, throw away what comes, and close when the client
 * does or HTTP_LINGER_MS are over (RFC 9112 §9.6). */
static void linger(struct http_conn *c)
{
    char scrap[16 * 1024];
    if (!c->shut) {
        c->shut = true;
        c->fresh = true;
        release_exchange(c);
        if (shutdown(c->fd, SHUT_WR) < 0) {
            http_conn_close(c);
            return;
        }
    }
    for (int i = 0; c->readable && i < 16; i++) {
        ssize_t n = recv(c->fd, scrap, sizeof(scrap), 0);
        if (n < 0 && errno == EAGAIN) {
            c->readable = false;
        } else if (n == 0 || (n < 0 && errno != EINTR)) {
            http_conn_close(c);
            return;
        }
    }
    if (c->readable)
        http_conn_queue(c);
    wait_for(c, HTTP_WAIT_LINGER);
}

/* Everything that could be done was done: decide what the connection waits for. */
static void settle(struct http_conn *c)
{
    if (c->out) {
        wait_for(c, HTTP_WAIT_WRITE);
    } else if (c->closing && c->lingers) {
        linger(c);
    } else if (c->closing) {
        http_conn_close(c);
    } else if (c->busy) {
        wait_for(c, HTTP_WAIT_NOTHING);
    } else if (!c->x || http_reader_empty(&c->x->reader)) {
        release_exchange(c);
        if (c->loop->draining)
            http_conn_close(c);
        else
            wait_for(c, HTTP_WAIT_IDLE);
    } else {
        static const enum http_wait waits[] = {
            [HTTP_READER_IDLE] = HTTP_WAIT_IDLE,
            [HTTP_READER_HEAD] = HTTP_WAIT_HEAD,
            [HTTP_READER_BODY] = HTTP_WAIT_BODY,
        };
        wait_for(c, waits[http_reader_stage(&c->x->reader)]);
    }
}

/* Read, parse and have handled as much as there is, but let the others have their turn. */
static void work(struct http_conn *c)
{
    unsigned before = c->requests;
    while (c->fd >= 0 && !c->busy && !c->closing) {
        if (c->requests - before >= HTTP_TURN_MAX || c->out_len >= HTTP_OUT_MAX) {
            http_conn_queue(c);
            return;
        }
        if (!step(c))
            return;
    }
}

/* A stream's writer may have more. What it writes now is sent in the next turn, after the others. */
static void tell_drained(struct http_conn *c)
{
    const struct http_app *ops = c->loop->server->ops;
    if (c->fd >= 0 && c->busy && c->x->streams && !c->out && ops->drained)
        ops->drained(c->loop->ctx, c->x);
}

static void tell_leaving(struct http_conn *c)
{
    const struct http_app *ops = c->loop->server->ops;
    if (c->fd < 0 || !c->ends || !c->busy || !c->x->told || c->x->streams || !ops->leaving)
        return;
    ops->leaving(c->loop->ctx, c->x);
    http_conn_queue(c); /* what was answered is sent in the next turn */
}

void http_conn_run(struct http_conn *c)
{
    assert(!c->running);
    if (c->fd < 0)
        return;
    c->running = true;
    if (c->out)
        flush(c);
    if (!c->out) /* else the client must first take what it asked for */
        work(c);
    flush(c);
    if (c->broken)
        http_conn_close(c);
    tell_drained(c);
    tell_leaving(c);
    if (c->fd >= 0)
        settle(c);
    c->running = false;
}

void http_conn_expired(struct http_conn *c)
{
    switch ((enum http_wait)c->waits_for) {
    case HTTP_WAIT_HEAD:
        http_conn_refuse(c, 408, "The head of the request took too long.");
        http_conn_run(c);
        break;
    case HTTP_WAIT_BODY:
        http_conn_refuse(c, 408, "The body of the request took too long.");
        http_conn_run(c);
        break;
    case HTTP_WAIT_IDLE:
    case HTTP_WAIT_WRITE:
    case HTTP_WAIT_LINGER:
    case HTTP_WAIT_NOTHING:
        http_conn_close(c);
        break;
    }
}
