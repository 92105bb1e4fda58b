#include "support/receiver.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum { MAX_CONNECTIONS = 4096, MAX_REQUESTS = 65536, REQUEST_LIMIT = 1 << 20, WAIT_S = 20 };

struct connection {
    struct receiver *receiver;
    pthread_t thread;
    int fd;
};

struct receiver {
    int listen_fd;
    unsigned port;
    pthread_t thread;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    bool stopping;
    struct connection connections[MAX_CONNECTIONS];
    unsigned n_connections;
    struct request *requests[MAX_REQUESTS];
    size_t n_requests;
    unsigned busy, most_busy;
};

static void must(bool ok, const char *what)
{
    if (!ok) {
        perror(what);
        abort();
    }
}

static bool is_stopping(struct receiver *r)
{
    (void)pthread_mutex_lock(&r->lock);
    bool stopping = r->stopping;
    (void)pthread_mutex_unlock(&r->lock);
    return stopping;
}

static bool send_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

static bool send_text(int fd, const char *text)
{
    return send_all(fd, text, strlen(text));
}

/* Until the peer goes away: all of its closing looks like something to read. */
static void hang(int fd)
{
    char byte;
    while (recv(fd, &byte, 1, 0) > 0)
        ;
}

static void drip(int fd, const char *piece)
{
    while (send_text(fd, piece))
        (void)poll(NULL, 0, 20);
}

static void flood(int fd, const char *piece, size_t limit)
{
    size_t len = strlen(piece);
    for (size_t sent = 0; sent < limit && send_all(fd, piece, len); sent += len)
        ;
}

static void reset(int fd)
{
    struct linger linger = { .l_onoff = 1 };
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

static bool is(const char *path, const char *name)
{
    size_t len = strlen(name);
    return strncmp(path, name, len) == 0 && (path[len] == '\0' || path[len] == '?');
}

static bool seen_before(struct receiver *r, const struct request *request)
{
    const char *id = strstr(request->head, "webhook-id: ");
    size_t len = strcspn(id, "\r");
    bool seen = false;
    (void)pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < r->n_requests && r->requests[i] != request; i++) {
        const char *other = strstr(r->requests[i]->head, "webhook-id: ");
        seen |= strncmp(id, other, len) == 0 && other[len] == '\r';
    }
    (void)pthread_mutex_unlock(&r->lock);
    return seen;
}

static bool send_status(int fd, int status)
{
    char text[128];
    const char *length = status == 204 ? "" : "Content-Length: 0\r\n";
    const char *location = status / 100 == 3 ? "Location: /200\r\n" : "";
    (void)snprintf(text, sizeof(text), "HTTP/1.1 %d X\r\n%s%s\r\n", status, length, location);
    return send_text(fd, text);
}

/* true: the connection goes on. */
static bool answer(struct receiver *r, int fd, const struct request *request)
{
    const char *p = request->path;
    if (is(p, "/flaky"))
        return send_status(fd, seen_before(r, request) ? 200 : 500);
    if (is(p, "/busy"))
        return send_text(fd, "HTTP/1.1 503 X\r\nContent-Length: 0\r\nRetry-After: 7\r\n\r\n");
    if (is(p, "/early"))
        return send_text(fd, "HTTP/1.1 103 X\r\nRetry-After: 9\r\n\r\n") && send_status(fd, 500);
    if (is(p, "/slow")) {
        return send_status(fd, 200);
    } else if (is(p, "/hang")) {
        hang(fd);
    } else if (is(p, "/drip")) {
        if (send_text(fd, "HTTP/1.1 200 X\r\n\r\n"))
            drip(fd, "x");
    } else if (is(p, "/dripheader")) {
        if (send_text(fd, "HTTP/1.1 200 X\r\nX: "))
            drip(fd, "x");
    } else if (is(p, "/endless") || is(p, "/endless500")) {
        (void)send_text(fd,
                        is(p, "/endless") ? "HTTP/1.1 200 X\r\n\r\n" : "HTTP/1.1 500 X\r\n\r\n");
        flood(fd, "0123456789abcdef0123456789abcdef\n", SIZE_MAX / 2);
    } else if (is(p, "/continue")) {
        flood(fd, "HTTP/1.1 100 Continue\r\n\r\n", SIZE_MAX / 2);
    } else if (is(p, "/hugeheader")) {
        (void)send_text(fd, "HTTP/1.1 200 X\r\n");
        flood(fd, "X-Filler: 0123456789abcdef\r\n", 1 << 20);
        (void)send_text(fd, "Content-Length: 0\r\n\r\n");
    } else if (is(p, "/hugeline")) {
        (void)send_text(fd, "HTTP/1.1 200 X\r\nX: ");
        flood(fd, "0123456789abcdef", 1 << 20);
        (void)send_text(fd, "\r\nContent-Length: 0\r\n\r\n");
    } else if (is(p, "/trailer")) {
        (void)send_text(fd, "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n");
        flood(fd, "X-Filler: 0123456789abcdef\r\n", 1 << 20);
        (void)send_text(fd, "\r\n");
    } else if (is(p, "/cut")) {
        (void)send_text(fd, "HTTP/1.1 200 X\r\nContent-Length: 10\r\n\r\nabc");
    } else if (is(p, "/reset")) {
        reset(fd);
    } else if (is(p, "/garbage")) {
        (void)send_text(fd, "220 mail.example ESMTP\r\n");
    } else {
        return send_status(fd, atoi(p + 1));
    }
    return false;
}

static struct request *note(struct receiver *r, const char *head, size_t head_len, const char *body,
                            size_t body_len)
{
    struct request *request = calloc(1, sizeof(*request));
    must(request, "calloc");
    request->head = strndup(head, head_len);
    request->body = strndup(body, body_len);
    must(request->head && request->body, "strndup");
    (void)sscanf(head, "POST %127s", request->path);
    request->at_us = clock_mono_us();
    (void)pthread_mutex_lock(&r->lock);
    must(r->n_requests < MAX_REQUESTS, "too many requests");
    r->requests[r->n_requests++] = request;
    if (++r->busy > r->most_busy)
        r->most_busy = r->busy;
    (void)pthread_cond_broadcast(&r->changed);
    (void)pthread_mutex_unlock(&r->lock);
    return request;
}

static void count_out(struct receiver *r)
{
    (void)pthread_mutex_lock(&r->lock);
    r->busy--;
    (void)pthread_mutex_unlock(&r->lock);
}

static void *serve(void *arg)
{
    struct connection *c = arg;
    char *data = malloc(REQUEST_LIMIT + 1);
    size_t len = 0;
    must(data, "malloc");
    for (bool more = true; more;) {
        data[len] = '\0';
        char *end = strstr(data, "\r\n\r\n");
        const char *announced = strcasestr(data, "\r\ncontent-length:");
        size_t head_len = end ? (size_t)(end - data) + 4 : 0;
        size_t body_len = announced ? strtoul(announced + 17, NULL, 10) : 0;
        if (!end || len < head_len + body_len) {
            ssize_t n = recv(c->fd, data + len, REQUEST_LIMIT - len, 0);
            if (n <= 0)
                break;
            len += (size_t)n;
            continue;
        }
        struct request *request = note(c->receiver, data, head_len, data + head_len, body_len);
        /* Not busy any more before the answer is out, or the sender's next request could be counted
         * beside this one. */
        if (is(request->path, "/slow"))
            (void)poll(NULL, 0, 50);
        count_out(c->receiver);
        more = answer(c->receiver, c->fd, request);
        memmove(data, data + head_len + body_len, len - head_len - body_len);
        len -= head_len + body_len;
    }
    free(data);
    (void)pthread_mutex_lock(&c->receiver->lock);
    (void)close(c->fd);
    c->fd = -1;
    (void)pthread_mutex_unlock(&c->receiver->lock);
    return NULL;
}

static void *listen_run(void *arg)
{
    struct receiver *r = arg;
    for (;;) {
        int fd = accept(r->listen_fd, NULL, NULL);
        if (fd < 0 || is_stopping(r)) {
            if (fd >= 0)
                (void)close(fd);
            return NULL;
        }
        (void)pthread_mutex_lock(&r->lock);
        must(r->n_connections < MAX_CONNECTIONS, "too many connections");
        struct connection *c = &r->connections[r->n_connections++];
        *c = (struct connection){ .receiver = r, .fd = fd };
        must(pthread_create(&c->thread, NULL, serve, c) == 0, "pthread_create");
        (void)pthread_mutex_unlock(&r->lock);
    }
}

struct receiver *receiver_start(bool v6)
{
    struct receiver *r = calloc(1, sizeof(*r));
    struct sockaddr_in in4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback };
    struct sockaddr *address = v6 ? (struct sockaddr *)&in6 : (struct sockaddr *)&in4;
    socklen_t len = v6 ? sizeof(in6) : sizeof(in4);
    must(r, "calloc");
    (void)pthread_mutex_init(&r->lock, NULL);
    (void)pthread_cond_init(&r->changed, NULL);
    r->listen_fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(r->listen_fd >= 0, "socket");
    must(bind(r->listen_fd, address, len) == 0, "bind");
    must(listen(r->listen_fd, 1024) == 0, "listen");
    must(getsockname(r->listen_fd, address, &len) == 0, "getsockname");
    r->port = ntohs(v6 ? in6.sin6_port : in4.sin_port);
    must(pthread_create(&r->thread, NULL, listen_run, r) == 0, "pthread_create");
    return r;
}

void receiver_stop(struct receiver *r)
{
    (void)pthread_mutex_lock(&r->lock);
    r->stopping = true;
    (void)pthread_mutex_unlock(&r->lock);
    (void)shutdown(r->listen_fd, SHUT_RDWR); /* wakes accept() */
    (void)pthread_join(r->thread, NULL);
    (void)close(r->listen_fd);
    for (unsigned i = 0; i < r->n_connections; i++) {
        struct connection *c = &r->connections[i];
        (void)pthread_mutex_lock(&r->lock);
        if (c->fd >= 0)
            (void)shutdown(c->fd, SHUT_RDWR);
        (void)pthread_mutex_unlock(&r->lock);
        (void)pthread_join(c->thread, NULL);
    }
    for (size_t i = 0; i < r->n_requests; i++) {
        free(r->requests[i]->head);
        free(r->requests[i]->body);
        free(r->requests[i]);
    }
    (void)pthread_cond_destroy(&r->changed);
    (void)pthread_mutex_destroy(&r->lock);
    free(r);
}

unsigned receiver_port(const struct receiver *r)
{
    return r->port;
}

size_t receiver_count(struct receiver *r)
{
    (void)pthread_mutex_lock(&r->lock);
    size_t n = r->n_requests;
    (void)pthread_mutex_unlock(&r->lock);
    return n;
}

unsigned receiver_most_at_once(struct receiver *r)
{
    (void)pthread_mutex_lock(&r->lock);
    unsigned n = r->most_busy;
    (void)pthread_mutex_unlock(&r->lock);
    return n;
}

unsigned receiver_connections(struct receiver *r)
{
    (void)pthread_mutex_lock(&r->lock);
    unsigned n = r->n_connections;
    (void)pthread_mutex_unlock(&r->lock);
    return n;
}

const struct request *receiver_request(struct receiver *r, size_t i)
{
    (void)pthread_mutex_lock(&r->lock);
    const struct request *request = i < r->n_requests ? r->requests[i] : NULL;
    (void)pthread_mutex_unlock(&r->lock);
    return request;
}

bool receiver_wait(struct receiver *r, size_t n)
{
    struct timespec deadline;
    (void)clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += WAIT_S;
    int rc = 0;
    (void)pthread_mutex_lock(&r->lock);
    while (r->n_requests < n && rc == 0)
        rc = pthread_cond_timedwait(&r->changed, &r->lock, &deadline);
    bool came = r->n_requests >= n;
    (void)pthread_mutex_unlock(&r->lock);
    return came;
}
