#include "http/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

enum { EVENTS_MAX = 256, ACCEPT_MAX = 64 };

/* ---- spare blocks ---- */

void *http_spare_get(struct http_spares *spares)
{
    void *block = spares->first;
    if (!block)
        return malloc(spares->size);
    memcpy(&spares->first, block, sizeof(void *));
    spares->n--;
    return block;
}

void http_spare_put(struct http_spares *spares, void *block)
{
    if (spares->n >= HTTP_SPARE_MAX) {
        free(block);
        return;
    }
    memcpy(block, &spares->first, sizeof(void *));
    spares->first = block;
    spares->n++;
}

static void spares_release(struct http_spares *spares)
{
    while (spares->first)
        free(http_spare_get(spares));
}

/* ---- accepting ---- */

/* Descriptors or memory ran out. The listener stays readable, so we must look away for a while, or the
 * loop would spin; the clients wait in the kernel's queue meanwhile. */
static void pause_accepting(struct http_loop *loop, int errnum)
{
    struct epoll_event event = { .events = 0, .data.ptr = &loop->listen_fd };
    if (!loop->starved) /* once, not ten times a second */
        log_warn("http_accept_paused", LOG_S("why", strerror(errnum)));
    loop->starved = true;
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, loop->listen_fd, &event) < 0)
        log_error("http_accept_pause", LOG_S("why", strerror(errno)));
    loop->paused_until_ms = loop->now_ms + HTTP_ACCEPT_PAUSE_MS;
}

static void resume_accepting(struct http_loop *loop)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = &loop->listen_fd };
    bool resumed = epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, loop->listen_fd, &event) == 0;
    if (!resumed) /* try again: nobody could connect any more */
        log_error("http_accept_resume", LOG_S("why", strerror(errno)));
    loop->paused_until_ms = resumed ? 0 : loop->now_ms + HTTP_ACCEPT_PAUSE_MS;
}

/* Whether there is room for one more connection of peer; it is counted then. NULL, or why not. */
static const char *admit(struct http_server *server, struct http_peer peer)
{
    const char *why = NULL;
    if (atomic_fetch_add(&server->admitted, 1) >= server->config.max_connections)
        why = "There are too many connections.";
    else if (!http_peers_add(server->peers, peer))
        why = "There are too many connections from your address.";
    if (why)
        atomic_fetch_sub(&server->admitted, 1);
    return why;
}

/* A client is here: make it a connection. If there are too many it is told so, unless those that are
 * told so are too many as well. */
static void welcome(struct http_loop *loop, int fd, struct http_peer peer)
{
    struct http_server *server = loop->server;
    const char *why = admit(server, peer);
    atomic_uint *count = why ? &server->overflow : &server->admitted;
    if (why) {
        peer = (struct http_peer){ 0 };
        if (atomic_fetch_add(count, 1) >= HTTP_OVERFLOW_MAX) {
            (void)close(fd);
            atomic_fetch_sub(count, 1);
            atomic_fetch_add_explicit(&loop->refused, 1, memory_order_relaxed);
            return;
        }
    }
    struct http_conn *c = http_conn_new(loop, fd, peer, why != NULL);
    if (!c) {
        log_warn("http_accept_failed", LOG_S("why", "out of memory"));
        http_peers_remove(server->peers, peer);
        atomic_fetch_sub(count, 1);
        return;
    }
    if (why)
        http_conn_refuse(c, 503, why);
    http_conn_queue(c);
}

/* False: there is nobody left, or nobody can be let in. */
static bool accept_one(struct http_loop *loop)
{
    union {
        struct sockaddr any;
        struct sockaddr_storage storage;
    } address;
    socklen_t len = sizeof(address);
    int fd = accept4(loop->listen_fd, &address.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        loop->starved = false;
        welcome(loop, fd, http_peer_of(&address.any));
        return true;
    }
    switch (errno) {
    case EAGAIN:
        return false;
    case EINTR: /* and what accept(2) passes on of a connection that is gone already: */
    case ECONNABORTED:
    case EPROTO:
    case ENOPROTOOPT:
    case EPERM:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET:
        return true;
    default:
        pause_accepting(loop, errno);
        return false;
    }
}

static void accept_some(struct http_loop *loop)
{
    for (int i = 0; i < ACCEPT_MAX && accept_one(loop); i++)
        ;
}

/* Take in whoever has connected already, then close the door. */
static void drain(struct http_loop *loop)
{
    loop->draining = true;
    while (loop->paused_until_ms == 0 && accept_one(loop))
        ;
    (void)close(loop->listen_fd);
    loop->listen_fd = -1;
    loop->paused_until_ms = 0;
    for (struct http_link *l = loop->conns.next; l != &loop->conns; l = l->next) {
        struct http_conn *c = HTTP_LINKED(l, struct http_conn, all);
        c->readable = true; /* a request may have come since; an idle connection is closed if not */
        http_conn_queue(c);
    }
    if (loop->server->ops->drain)
        loop->server->ops->drain(loop->ctx);
    atomic_fetch_sub(&loop->server->undrained, 1);
    http_tell_stopper(loop->server);
}

/* ---- the loop ---- */

static void conn_event(struct http_conn *c, uint32_t events)
{
    if (c->fd < 0)
        return;
    if (events & (EPOLLERR | EPOLLHUP)) { /* reset, or both sides shut: no answer would arrive */
        http_conn_close(c);
        return;
    }
    if (events & EPOLLRDHUP)
        c->ends = true;
    if (events & (EPOLLIN | EPOLLRDHUP))
        c->readable = true;
    if (c->readable || c->out)
        http_conn_run(c);
}

static void dispatch(struct http_loop *loop, const struct epoll_event *event)
{
    void *what = event->data.ptr;
    uint64_t ignored;
    if (what == &loop->listen_fd) {
        if (loop->listen_fd >= 0 && (event->events & EPOLLIN))
            accept_some(loop);
    } else if (what == &loop->wake_fd) {
        loop->server->ops->wake(loop->ctx);
    } else if (what == &loop->control_fd) {
        (void)!read(loop->control_fd, &ignored, sizeof(ignored));
    } else {
        conn_event(what, event->events);
    }
}

/* Run what was queued so far; what is queued meanwhile waits for the next turn. */
static void run_ready(struct http_loop *loop)
{
    if (http_link_alone(&loop->ready))
        return;
    struct http_link last; /* a mark */
    http_link_append(&loop->ready, &last);
    while (loop->ready.next != &last) {
        struct http_conn *c = HTTP_LINKED(loop->ready.next, struct http_conn, ready);
        http_link_remove(&c->ready);
        http_conn_run(c);
    }
    http_link_remove(&last);
}

static void run_expired(struct http_loop *loop)
{
    for (int i = 0; i < HTTP_WAITS; i++) {
        struct http_link *list = &loop->waits[i];
        while (!http_link_alone(list)) {
            struct http_conn *c = HTTP_LINKED(list->next, struct http_conn, waiting);
            if (c->due_ms > loop->now_ms)
                break;
            http_link_remove(&c->waiting);
            http_conn_expired(c);
        }
    }
    if (loop->paused_until_ms != 0 && loop->paused_until_ms <= loop->now_ms)
        resume_accepting(loop);
}

/* How long epoll_wait() may sleep, ms; -1: for ever. */
static int sleep_ms(const struct http_loop *loop)
{
    int64_t due = loop->paused_until_ms ? loop->paused_until_ms : INT64_MAX;
    if (!http_link_alone(&loop->ready))
        return 0;
    for (int i = 0; i < HTTP_WAITS; i++) {
        if (http_link_alone(&loop->waits[i]))
            continue;
        const struct http_conn *c = HTTP_LINKED(loop->waits[i].next, struct http_conn, waiting);
        due = c->due_ms < due ? c->due_ms : due;
    }
    int64_t wait = due == INT64_MAX ? -1 : due - clock_mono_ms();
    if (due != INT64_MAX)
        wait = wait < 0 ? 0 : wait > 60000 ? 60000 : wait;
    int app = loop->server->ops->sleep_ms ? loop->server->ops->sleep_ms(loop->ctx) : -1;
    return app >= 0 && (wait < 0 || app < wait) ? app : (int)wait;
}

static void bury(struct http_loop *loop)
{
    while (!http_link_alone(&loop->graveyard)) {
        struct http_conn *c = HTTP_LINKED(loop->graveyard.next, struct http_conn, all);
        http_link_remove(&c->all);
        free(c);
    }
}

static void look_at_clocks(struct http_loop *loop)
{
    loop->now_ms = clock_mono_ms();
    http_date_update(loop, clock_wall_ms());
}

static void serve_until_stopped(struct http_loop *loop)
{
    struct epoll_event events[EVENTS_MAX];
    while (!atomic_load(&loop->server->stopping)) {
        int n = epoll_wait(loop->epoll_fd, events, EVENTS_MAX, sleep_ms(loop));
        look_at_clocks(loop);
        for (int i = 0; i < n; i++)
            dispatch(loop, &events[i]);
        if (!loop->draining && atomic_load(&loop->server->draining))
            drain(loop);
        run_ready(loop);
        if (loop->server->ops->turn_over)
            loop->server->ops->turn_over(loop->ctx);
        run_expired(loop);
        if (loop->server->ops->turn_over)
            loop->server->ops->turn_over(loop->ctx);
        bury(loop);
    }
}

static void tell_start(struct http_loop *loop, int started)
{
    pthread_mutex_lock(&loop->start_lock);
    loop->started = started;
    pthread_cond_signal(&loop->start_done);
    pthread_mutex_unlock(&loop->start_lock);
}

static int watch(struct http_loop *loop, int *fd, struct err *err)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = fd };
    if (*fd >= 0 && epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, *fd, &event) < 0)
        return err_errno(err, errno, "watch a descriptor");
    return 0;
}

/* End what is left. Whoever kept an exchange must not answer it any more. */
static void end(struct http_loop *loop)
{
    while (!http_link_alone(&loop->conns))
        http_conn_close(HTTP_LINKED(loop->conns.next, struct http_conn, all));
    bury(loop);
    loop->server->ops->thread_stop(loop->ctx);
    while (!http_link_alone(&loop->orphans))
        http_exchange_free(HTTP_LINKED(loop->orphans.next, struct http_exchange, orphan));
}

void *http_loop_run(void *arg)
{
    struct http_loop *loop = arg;
    look_at_clocks(loop);
    if (loop->server->ops->thread_start(loop->server->app, &loop->ctx, &loop->wake_fd,
                                        &loop->start_err) < 0) {
        tell_start(loop, -1);
        return NULL;
    }
    if (watch(loop, &loop->wake_fd, &loop->start_err) < 0) {
        loop->server->ops->thread_stop(loop->ctx);
        tell_start(loop, -1);
        return NULL;
    }
    tell_start(loop, 1);
    serve_until_stopped(loop);
    end(loop);
    return NULL;
}

void http_loop_poke(struct http_loop *loop)
{
    uint64_t one = 1;
    (void)!write(loop->control_fd, &one, sizeof(one));
}

int http_loop_init(struct http_loop *loop, struct http_server *server, int listen_fd,
                   struct err *err)
{
    const struct http_config *config = &server->config;
    const int wait_ms[HTTP_WAITS] = {
        [HTTP_WAIT_IDLE] = config->idle_ms,  [HTTP_WAIT_HEAD] = config->head_ms,
        [HTTP_WAIT_BODY] = config->body_ms,  [HTTP_WAIT_WRITE] = config->write_ms,
        [HTTP_WAIT_LINGER] = HTTP_LINGER_MS,
    };
    loop->server = server;
    loop->listen_fd = listen_fd;
    loop->wake_fd = loop->epoll_fd = loop->control_fd = -1;
    struct http_link *lists[] = { &loop->conns, &loop->ready, &loop->graveyard, &loop->orphans };
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        http_link_init(lists[i]);
    for (int i = 0; i < HTTP_WAITS; i++) {
        http_link_init(&loop->waits[i]);
        loop->wait_ms[i] = wait_ms[i];
    }
    loop->exchanges.size = sizeof(struct http_exchange);
    loop->outs.size = HTTP_OUT_BLOCK;
    buf_init(&loop->problem, HTTP_OUT_MAX);
    pthread_mutex_init(&loop->start_lock, NULL);
    pthread_cond_init(&loop->start_done, NULL);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->control_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->epoll_fd < 0 || loop->control_fd < 0)
        return err_errno(err, errno, "make an event loop");
    if (watch(loop, &loop->control_fd, err) < 0 || watch(loop, &loop->listen_fd, err) < 0)
        return -1;
    return 0;
}

void http_loop_release(struct http_loop *loop)
{
    int fds[] = { loop->epoll_fd, loop->control_fd, loop->listen_fd };
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        if (fds[i] >= 0)
            (void)close(fds[i]);
    spares_release(&loop->exchanges);
    spares_release(&loop->outs);
    buf_release(&loop->problem);
    pthread_mutex_destroy(&loop->start_lock);
    pthread_cond_destroy(&loop->start_done);
}
