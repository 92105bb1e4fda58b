#include "webhook/sender_io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "webhook/libcurl.h"

enum { EVENTS_AT_ONCE = 128, MAX_WAIT_MS = 60 * 1000 };

/* NULL: no memory. */
static struct io_socket *socket_of(struct io *io, int fd)
{
    size_t i = (size_t)fd;
    if (i >= io->n_sockets) {
        size_t n = i < 64 ? 64 : 2 * i;
        struct io_socket *sockets = realloc(io->sockets, n * sizeof(*sockets));
        if (!sockets)
            return NULL;
        memset(sockets + io->n_sockets, 0, (n - io->n_sockets) * sizeof(*sockets));
        io->sockets = sockets;
        io->n_sockets = n;
    }
    return &io->sockets[i];
}

/* CURLMOPT_SOCKETFUNCTION */
static int watch(CURL *easy, curl_socket_t fd, int what, void *arg, void *unused)
{
    struct io *io = arg;
    struct io_socket *s = socket_of(io, fd);
    (void)easy;
    (void)unused;
    if (!s)
        return -1;
    s->wanted = (what == CURL_POLL_IN || what == CURL_POLL_INOUT ? EPOLLIN : 0) |
                (what == CURL_POLL_OUT || what == CURL_POLL_INOUT ? EPOLLOUT : 0);
    if (s->wanted == s->registered || (what == CURL_POLL_REMOVE && s->ours))
        return 0;
    struct epoll_event event = { .events = s->wanted, .data.fd = fd };
    int op = what == CURL_POLL_REMOVE ? EPOLL_CTL_DEL
             : s->registered          ? EPOLL_CTL_MOD
                                      : EPOLL_CTL_ADD;
    s->registered = s->wanted;
    if (epoll_ctl(io->epoll_fd, op, fd, &event) == 0 || op == EPOLL_CTL_DEL)
        return 0;
    s->registered = 0;
    return -1;
}

/* CURLMOPT_TIMERFUNCTION */
static int set_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct io *io = arg;
    (void)multi;
    io->timer_us = timeout_ms < 0 ? INT64_MAX : clock_mono_us() + (int64_t)timeout_ms * 1000;
    return 0;
}

static int add_fd(struct io *io, int fd)
{
    struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };
    return epoll_ctl(io->epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

int io_init(struct io *io, int mail_fd, unsigned connections, struct err *err)
{
    *io = (struct io){ .mail_fd = mail_fd, .timer_us = INT64_MAX };
    io->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    io->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (io->epoll_fd < 0 || io->wake_fd < 0 || add_fd(io, mail_fd) < 0 ||
        add_fd(io, io->wake_fd) < 0)
        return err_errno(err, errno, "epoll");
    if (libcurl_load(err) < 0)
        return -1;
    io->multi = curl_multi_init();
    if (!io->multi)
        return err_set(err, ERR_NOMEM, "curl_multi_init");
    (void)curl_multi_setopt(io->multi, CURLMOPT_SOCKETFUNCTION, watch);
    (void)curl_multi_setopt(io->multi, CURLMOPT_SOCKETDATA, io);
    (void)curl_multi_setopt(io->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    (void)curl_multi_setopt(io->multi, CURLMOPT_TIMERDATA, io);
    (void)curl_multi_setopt(io->multi, CURLMOPT_MAXCONNECTS, (long)connections);
    return 0;
}

void io_release(struct io *io)
{
    if (io->multi)
        (void)curl_multi_cleanup(io->multi); /* closes what is kept, through io_socket_close() */
    if (io->epoll_fd >= 0)
        (void)close(io->epoll_fd);
    if (io->wake_fd >= 0)
        (void)close(io->wake_fd);
    free(io->sockets);
}

void io_wake(struct io *io)
{
    (void)eventfd_write(io->wake_fd, 1);
}

void io_socket_made(struct io *io, int fd)
{
    struct io_socket *s = socket_of(io, fd);
    if (s)
        *s = (struct io_socket){ .ours = true };
}

int io_socket_close(void *arg, curl_socket_t fd)
{
    struct io *io = arg;
    if ((size_t)fd < io->n_sockets)
        io->sockets[fd] = (struct io_socket){ 0 };
    return close(fd); /* and with it goes its place in the epoll */
}

static CURLMcode socket_is_ready(struct io *io, int fd, uint32_t events)
{
    struct io_socket *s = &io->sockets[fd];
    int running;
    if (!s->wanted) { /* a kept connection that its other side has closed */
        (void)epoll_ctl(io->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
        s->registered = 0;
        return CURLM_OK;
    }
    int what = (events & EPOLLIN ? CURL_CSELECT_IN : 0) |
               (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
               (events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
    return curl_multi_socket_action(io->multi, fd, what, &running);
}

/* How long epoll may sleep: rounded up, so as not to come too early again and again. */
static int sleep_ms(const struct io *io, int64_t wait_ms)
{
    int64_t left_us = io->timer_us == INT64_MAX ? INT64_MAX : io->timer_us - clock_mono_us();
    if (wait_ms > MAX_WAIT_MS)
        wait_ms = MAX_WAIT_MS;
    if (left_us < wait_ms * 1000)
        wait_ms = left_us > 0 ? (left_us + 999) / 1000 : 0;
    return (int)wait_ms;
}

int io_wait(struct io *io, int64_t wait_ms, struct err *err)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    CURLMcode code = CURLM_OK;
    eventfd_t ignored;
    int running;
    int n = epoll_wait(io->epoll_fd, events, EVENTS_AT_ONCE, sleep_ms(io, wait_ms));
    if (n < 0 && errno != EINTR)
        return err_errno(err, errno, "epoll_wait");
    for (int i = 0; i < n && code == CURLM_OK; i++) {
        int fd = events[i].data.fd;
        if (fd == io->wake_fd)
            (void)eventfd_read(io->wake_fd, &ignored);
        else if (fd != io->mail_fd)
            code = socket_is_ready(io, fd, events[i].events);
    }
    if (code == CURLM_OK && clock_mono_us() >= io->timer_us) {
        io->timer_us = INT64_MAX; /* libcurl sets it anew */
        code = curl_multi_socket_action(io->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
    if (code != CURLM_OK)
        return err_set(err, ERR_NOMEM, "%s", curl_multi_strerror(code));
    return 0;
}
