#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "http/loop.h"

enum { BACKLOG = 4096, MAX_CONNECTIONS_MAX = 1 << 20, THREADS_MAX = 256 };

union address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_storage storage;
};

/* ---- listening ---- */

static bool is_port(const char *text)
{
    size_t len = strspn(text, "0123456789");
    return len > 0 && len <= 5 && text[len] == '\0' && atoi(text) <= 65535;
}

/* "host:port" or "[host]:port". */
static int resolve(const char *listen, union address *ret_address, socklen_t *ret_len,
                   struct err *err)
{
    char host[256];
    const char *colon = strrchr(listen, ':');
    size_t len = colon ? (size_t)(colon - listen) : 0;
    if (len == 0 || len >= sizeof(host) || !is_port(colon + 1))
        return err_set(err, ERR_INVALID, "'%s' is not host:port", listen);
    bool brackets = listen[0] == '[' && listen[len - 1] == ']';
    (void)snprintf(host, sizeof(host), "%.*s", (int)(brackets ? len - 2 : len), listen + brackets);
    struct addrinfo hints = { .ai_family = brackets ? AF_INET6 : AF_UNSPEC,
                              .ai_socktype = SOCK_STREAM,
                              .ai_flags =
                                  AI_PASSIVE | AI_NUMERICSERV | (brackets ? AI_NUMERICHOST : 0) };
    struct addrinfo *found;
    int rc = getaddrinfo(host, colon + 1, &hints, &found);
    if (rc != 0)
        return err_set(err, ERR_INVALID, "'%s' cannot be listened on: %s", listen,
                       gai_strerror(rc));
    memcpy(ret_address, found->ai_addr, found->ai_addrlen);
    *ret_len = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

static int set_option(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value));
}

static int listen_on(const union address *address, socklen_t len, bool share, int *ret_fd,
                     struct err *err)
{
    CLEANUP(closep)
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_errno(err, errno, "socket");
    /* What is accepted inherits TCP_NODELAY: answers are written in one piece. */
    if (set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) < 0 ||
        set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1) < 0 ||
        (share && set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1) < 0) ||
        (address->any.sa_family == AF_INET6 && set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0) < 0))
        return err_errno(err, errno, "setsockopt");
    if (bind(fd, &address->any, len) < 0)
        return err_errno(err, errno, "bind");
    if (listen(fd, BACKLOG) < 0)
        return err_errno(err, errno, "listen");
    *ret_fd = TAKE_FD(fd);
    return 0;
}

/* One listener for each thread. SO_REUSEPORT would also let a second server of ours take half of the
 * clients unnoticed, so the port is first taken without it. */
static int listen_all(struct http_server *server, int fds[], struct err *err)
{
    union address address;
    socklen_t len = 0;
    bool share = server->n_loops > 1;
    if (resolve(server->config.listen, &address, &len, err) < 0)
        return -1;
    in_port_t *port =
        address.any.sa_family == AF_INET ? &address.in.sin_port : &address.in6.sin6_port;
    if (share && *port != 0) {
        CLEANUP(closep) int alone = -1;
        if (listen_on(&address, len, false, &alone, err) < 0)
            return err_add(err, "listen on '%s'", server->config.listen);
    }
    for (unsigned i = 0; i < server->n_loops; i++) {
        if (listen_on(&address, len, share, &fds[i], err) < 0)
            return err_add(err, "listen on '%s'", server->config.listen);
        if (*port == 0) {
            socklen_t size = len;
            if (getsockname(fds[i], &address.any, &size) < 0)
                return err_errno(err, errno, "getsockname");
        }
    }
    server->port = ntohs(*port);
    return 0;
}

/* ---- starting ---- */

static int check_config(struct http_config *config, struct err *err)
{
    config->threads = config->threads ? config->threads : 1;
    config->max_body = config->max_body ? config->max_body : 64 * 1024;
    config->max_large = config->max_large ? config->max_large : (size_t)64 << 20;
    config->max_connections = config->max_connections ? config->max_connections : 1024;
    config->head_ms = config->head_ms ? config->head_ms : 5000;
    config->body_ms = config->body_ms ? config->body_ms : 10000;
    config->idle_ms = config->idle_ms ? config->idle_ms : 60000;
    config->write_ms = config->write_ms ? config->write_ms : 10000;
    if (config->threads > THREADS_MAX || config->max_body > HTTP_BODY_MAX ||
        config->max_connections > MAX_CONNECTIONS_MAX || config->head_ms < 0 ||
        config->body_ms < 0 || config->idle_ms < 0 || config->write_ms < 0)
        return err_set(err, ERR_INVALID, "a limit of the HTTP server is out of range");
    return 0;
}

/* Start the loop's thread and wait until the application's part of it has started. */
static int start_thread(struct http_loop *loop, unsigned number, struct err *err)
{
    sigset_t all, before;
    char name[16];
    sigfillset(&all); /* signals are the main thread's business */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&loop->thread, NULL, http_loop_run, loop);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0)
        return err_errno(err, rc, "start a thread");
    loop->running = true;
    (void)snprintf(name, sizeof(name), "http-%u", number);
    (void)pthread_setname_np(loop->thread, name);
    pthread_mutex_lock(&loop->start_lock);
    while (loop->started == 0)
        pthread_cond_wait(&loop->start_done, &loop->start_lock);
    pthread_mutex_unlock(&loop->start_lock);
    if (loop->started > 0)
        return 0;
    if (err)
        *err = loop->start_err;
    return -1;
}

static void free_server(struct http_server *server)
{
    atomic_store(&server->stopping, true);
    for (unsigned i = 0; i < server->n_loops; i++)
        if (server->loops[i].running)
            http_loop_poke(&server->loops[i]);
    for (unsigned i = 0; i < server->n_loops; i++)
        if (server->loops[i].running)
            pthread_join(server->loops[i].thread, NULL);
    for (unsigned i = 0; i < server->n_loops; i++)
        if (server->loops[i].server)
            http_loop_release(&server->loops[i]);
    http_peers_free(server->peers);
    pthread_mutex_destroy(&server->lock);
    pthread_cond_destroy(&server->changed);
    free(server->loops);
    free(server);
}
DEFINE_FREEP(struct http_server *, free_server)

static int init_loops(struct http_server *server, struct err *err)
{
    int fds[THREADS_MAX], rc;
    for (unsigned i = 0; i < server->n_loops; i++)
        fds[i] = -1;
    rc = listen_all(server, fds, err);
    for (unsigned i = 0; rc == 0 && i < server->n_loops; i++)
        rc = http_loop_init(&server->loops[i], server, TAKE_FD(fds[i]), err);
    for (unsigned i = 0; i < server->n_loops; i++)
        closep(&fds[i]);
    return rc;
}

int http_start(const struct http_config *config, const struct http_app *ops, void *app,
               struct http_server **ret_server, struct err *err)
{
    struct http_config checked = *config;
    if (check_config(&checked, err) < 0)
        return -1;
    struct http_loop *loops = calloc(checked.threads, sizeof(*loops));
    CLEANUP(free_serverp) struct http_server *server = loops ? calloc(1, sizeof(*server)) : NULL;
    if (!server) {
        free(loops);
        return err_set(err, ERR_NOMEM, "out of memory");
    }
    *server = (struct http_server){ .config = checked, .ops = ops, .app = app, .loops = loops };
    server->n_loops = checked.threads;
    atomic_store(&server->undrained, checked.threads);
    server->limits = (struct http_reader_limits){ .max_body = checked.max_body,
                                                  .hosts = checked.hosts,
                                                  .max_body_of = ops->max_body };
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&server->changed, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&server->lock, NULL);
    if (http_peers_new(checked.max_connections, &server->peers, err) < 0)
        return -1;
    if (init_loops(server, err) < 0)
        return -1;
    for (unsigned i = 0; i < server->n_loops; i++)
        if (start_thread(&server->loops[i], i, err) < 0)
            return err_add(err, "start HTTP thread %u", i);
    *ret_server = TAKE(server);
    return 0;
}

/* ---- running ---- */

int http_port(const struct http_server *server)
{
    return server->port;
}

void http_stats(const struct http_server *server, struct http_stats *ret_stats)
{
    *ret_stats = (struct http_stats){ 0 };
    ret_stats->connections = atomic_load(&server->admitted) + atomic_load(&server->overflow);
    for (unsigned i = 0; i < server->n_loops; i++) {
        const struct http_loop *loop = &server->loops[i];
        ret_stats->requests += atomic_load_explicit(&loop->requests, memory_order_relaxed);
        ret_stats->refused += atomic_load_explicit(&loop->refused, memory_order_relaxed);
    }
}

void http_drain(struct http_server *server)
{
    atomic_store(&server->draining, true);
    for (unsigned i = 0; i < server->n_loops; i++)
        http_loop_poke(&server->loops[i]);
}

/* Clients that had connected before the drain count too: hence undrained. */
static bool is_at_work(struct http_server *server)
{
    return atomic_load(&server->undrained) > 0 || atomic_load(&server->admitted) > 0 ||
           atomic_load(&server->overflow) > 0 || atomic_load(&server->orphans) > 0;
}

void http_stop(struct http_server *server, int timeout_ms)
{
    if (!server)
        return;
    http_drain(server);
    int64_t until_ms = clock_mono_ms() + timeout_ms;
    struct timespec until = { .tv_sec = (time_t)(until_ms / 1000),
                              .tv_nsec = (long)(until_ms % 1000) * 1000000 };
    pthread_mutex_lock(&server->lock);
    int rc = 0;
    while (rc == 0 && is_at_work(server))
        rc = pthread_cond_timedwait(&server->changed, &server->lock, &until);
    pthread_mutex_unlock(&server->lock);
    free_server(server);
}
