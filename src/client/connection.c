#include "client/connection.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/hash.h"

void connections_init(struct connections *all, int epoll_fd, unsigned max_idle)
{
    *all = (struct connections){ .epoll_fd = epoll_fd, .max_idle = max_idle };
    TAILQ_INIT(&all->idle);
    TAILQ_INIT(&all->closed);
}

static void leave_idle(struct connections *all, struct connection *n)
{
    LIST_REMOVE(n, in_bucket);
    TAILQ_REMOVE(&all->idle, n, in_list);
    all->n_idle--;
}

static void close_idle(struct connections *all, struct connection *n)
{
    leave_idle(all, n);
    connection_close(all, n);
}

void connections_expire(struct connections *all, int64_t now_ms)
{
    struct connection *n;
    while ((n = TAILQ_FIRST(&all->idle)) != NULL && n->idle_until_ms <= now_ms)
        close_idle(all, n);
}

void connections_bury(struct connections *all)
{
    struct connection *n;
    while ((n = TAILQ_FIRST(&all->closed)) != NULL) {
        TAILQ_REMOVE(&all->closed, n, in_list);
        free(n);
    }
}

struct connection *connection_begin(struct connections *all, const struct url_parts *url,
                                    const struct addrinfo *address)
{
    const int on = 1; /* a request is complete when it is sent: nothing is to be waited for */
    CLEANUP(freep) struct connection *n = calloc(1, sizeof(*n));
    if (!n)
        return NULL;
    CLEANUP(closep)
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    if (fd < 0)
        return NULL;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(fd, address->ai_addr, address->ai_addrlen) < 0 && errno != EINPROGRESS)
        return NULL;
    struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                 .data.ptr = n };
    if (epoll_ctl(all->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        return NULL;
    n->fd = TAKE_FD(fd);
    n->https = url->https;
    n->port = url->port;
    strcpy(n->host, url->host); /* both of URL_HOST_LEN */
    return TAKE(n);
}

int connection_outcome(struct connection *n)
{
    int errnum = 0;
    socklen_t len = sizeof(errnum);
    return getsockopt(n->fd, SOL_SOCKET, SO_ERROR, &errnum, &len) < 0 ? errno : errnum;
}

int connection_secure(struct connection *n, struct tls_context *context, bool literal)
{
    n->tls = tls_new(context, n->fd, n->host, literal);
    return n->tls ? 0 : -1;
}

static ssize_t judge(struct connection *n, ssize_t result)
{
    if (result >= 0)
        return result;
    if (errno == EAGAIN)
        return CONNECTION_AGAIN;
    n->errnum = errno;
    return CONNECTION_FAILED;
}

ssize_t connection_read(struct connection *n, void *data, size_t len)
{
    return n->tls ? tls_read(n->tls, data, len) : judge(n, recv(n->fd, data, len, 0));
}

ssize_t connection_write(struct connection *n, const void *data, size_t len)
{
    return n->tls ? tls_write(n->tls, data, len) : judge(n, send(n->fd, data, len, MSG_NOSIGNAL));
}

const char *connection_why(const struct connection *n)
{
    return n->tls ? tls_why(n->tls) : strerror(n->errnum);
}

void connection_close(struct connections *all, struct connection *n)
{
    tls_free(TAKE(n->tls));
    (void)close(n->fd); /* and with it goes its place in the epoll */
    n->fd = -1;
    n->call = NULL;
    TAILQ_INSERT_TAIL(&all->closed, n, in_list);
}

static struct connection_bucket *bucket_of(struct connections *all, const char *host, unsigned port)
{
    uint32_t sum = fnv1a(FNV1A_BEGIN, host, strlen(host)) + port * UINT32_C(2654435761);
    return &all->buckets[(sum ^ sum >> 16) % CONNECTION_BUCKETS];
}

void connection_keep(struct connections *all, struct connection *n, int64_t until_ms)
{
    n->call = NULL;
    n->used = true;
    n->idle_until_ms = until_ms;
    if (all->n_idle == all->max_idle)
        close_idle(all, TAILQ_FIRST(&all->idle));
    LIST_INSERT_HEAD(bucket_of(all, n->host, n->port), n,
                     in_bucket); /* the warmest is found first */
    TAILQ_INSERT_TAIL(&all->idle, n, in_list);
    all->n_idle++;
}

struct connection *connection_kept(struct connections *all, const struct url_parts *url)
{
    struct connection *n;
    LIST_FOREACH(n, bucket_of(all, url->host, url->port), in_bucket)
    {
        if (n->port != url->port || n->https != url->https || strcmp(n->host, url->host) != 0)
            continue;
        leave_idle(all, n);
        return n;
    }
    return NULL;
}

void connection_look(struct connections *all, struct connection *n, uint32_t events, char *buffer,
                     size_t len)
{
    bool ends = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    /* A server has nothing to say now; but TLS has. */
    if (ends || (events & EPOLLIN && (!n->tls || tls_read(n->tls, buffer, len) != TLS_AGAIN)))
        close_idle(all, n);
}
