#ifndef TEST_CLIENT_RIG_H
#define TEST_CLIENT_RIG_H
/* A client and the servers that it speaks to, on one thread: the client's sockets do not block, so a test takes
 * turns. What the server does, it does between two turns, and what it sent over loopback is there when the
 * next one begins: no test depends on who is faster. Whatever waits, waits at most WAIT_S. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "client/client.h"

enum {
    WAIT_S = 20,
    MAX_REQUEST = 20 << 20,
    LARGE = 16 << 20 /* more than sockets take */,
    TEXT_LEN = 64 * 1024
};

#define OK_EMPTY "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

struct listener {
    int fd;
    unsigned port;
};

struct rig {
    struct client *client;
    struct listener server; /* at 127.0.0.1 */
    struct call call;
    char keep[64];
    char text[TEXT_LEN]; /* what was heard last */
    bool stranger;       /* of requests */
};

/* --- servers --- */

/* Up to queue connections wait; port 0: any. -1: there is no such address here. */
static inline int try_listen(struct listener *l, const char *address, unsigned port, int queue)
{
    struct sockaddr_in in4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
    bool v6 = strchr(address, ':') != NULL;
    struct sockaddr *any = v6 ? (struct sockaddr *)&in6 : (struct sockaddr *)&in4;
    socklen_t len = v6 ? sizeof(in6) : sizeof(in4);
    const int on = 1;
    assert_int_equal(
        inet_pton(any->sa_family, address, v6 ? (void *)&in6.sin6_addr : &in4.sin_addr), 1);
    l->fd = socket(any->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->fd < 0)
        return -1;
    (void)setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(l->fd, any, len) < 0 || listen(l->fd, queue) < 0) {
        (void)close(TAKE_FD(l->fd));
        return -1;
    }
    assert_int_equal(getsockname(l->fd, any, &len), 0);
    l->port = ntohs(v6 ? in6.sin6_port : in4.sin_port);
    return 0;
}

static inline struct listener listen_at(const char *address, unsigned port)
{
    struct listener l;
    assert_int_equal(try_listen(&l, address, port, 1024), 0);
    return l;
}

static inline void stop_listening(struct listener *l)
{
    (void)close(TAKE_FD(l->fd));
}

/* One that answers no attempt to connect: its queue is full, of `held`. */
struct silent {
    struct listener listener;
    int held[3];
};

static inline struct silent fall_silent(const char *address, unsigned port)
{
    struct silent s;
    struct sockaddr_in to = { .sin_family = AF_INET };
    assert_int_equal(try_listen(&s.listener, address, port, 0), 0);
    to.sin_port = htons((uint16_t)s.listener.port);
    assert_int_equal(inet_pton(AF_INET, address, &to.sin_addr), 1);
    for (size_t i = 0; i < ARRAY_LEN(s.held); i++) {
        s.held[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_true(s.held[i] >= 0);
        (void)connect(s.held[i], (const struct sockaddr *)&to, sizeof(to));
    }
    return s;
}

static inline void silent_stop(struct silent *s)
{
    for (size_t i = 0; i < ARRAY_LEN(s->held); i++)
        (void)close(s->held[i]);
    stop_listening(&s->listener);
}

/* --- turns --- */

static inline void turn(struct rig *rig)
{
    struct err err;
    if (client_wait(rig->client, 5, &err) < 0)
        fail_msg("%s", err.msg);
}

/* Let the client see all that has come so far. */
static inline void look_around(struct rig *rig)
{
    struct err err;
    for (int i = 0; i < 3; i++)
        assert_int_equal(client_wait(rig->client, 0, &err), 0);
}

#define UNTIL(rig, condition)                                                                      \
    do {                                                                                           \
        int64_t until_ms_ = clock_mono_ms() + WAIT_S * 1000;                                       \
        while (!(condition)) {                                                                     \
            turn(rig);                                                                             \
            if (clock_mono_ms() > until_ms_)                                                       \
                fail_msg("%s:%d: not in time: %s", __FILE__, __LINE__, #condition);                \
        }                                                                                          \
    } while (0)

static inline bool is_readable(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    return poll(&p, 1, 0) == 1;
}

static inline void rig_up(struct rig *rig, const struct client_config *config)
{
    struct err err;
    *rig = (struct rig){ .server = listen_at("127.0.0.1", 0) };
    assert_int_equal(client_new(config, &rig->client, &err), 0);
    call_init(&rig->call, MAX_REQUEST, rig->keep, sizeof(rig->keep));
}

static inline void rig_down(struct rig *rig)
{
    client_free(rig->client);
    call_release(&rig->call);
    stop_listening(&rig->server);
}

/* --- what the client is asked to do --- */

static inline void begin_body(struct rig *rig, struct call *call, const char *url, const void *body,
                              size_t len)
{
    struct err err;
    struct client_request request = { .method = "POST",
                                      .url = url,
                                      .stranger = rig->stranger,
                                      .fields = "x: y\r\n",
                                      .fields_len = 6,
                                      .body = body,
                                      .body_len = len };
    if (client_begin(rig->client, call, &request, &err) < 0)
        fail_msg("%s", err.msg);
}

static inline void begin_at(struct rig *rig, const char *host, unsigned port)
{
    char url[128];
    (void)snprintf(url, sizeof(url), "http://%s:%u/p", host, port);
    begin_body(rig, &rig->call, url, "hi", 2);
}

static inline void begin(struct rig *rig)
{
    begin_at(rig, "127.0.0.1", rig->server.port);
}

/* A body that tells where in it one is. */
static inline char *large_body(void)
{
    char *body = malloc(LARGE);
    assert_non_null(body);
    for (size_t i = 0; i < LARGE; i++)
        body[i] = (char)('a' + (i * 7 + i / 4096) % 26);
    return body;
}

static inline void ends_with(struct rig *rig, enum client_error error, int status)
{
    struct call *call = NULL;
    UNTIL(rig, (call = client_ended(rig->client)) != NULL);
    assert_ptr_equal(call, &rig->call);
    if (call->error != error)
        fail_msg("'%s' (%s) instead of '%s'", client_error_word(call->error), call->why,
                 client_error_word(error));
    assert_int_equal(call->response.final, status != 0);
    if (status)
        assert_int_equal(call->response.status, status);
    assert_int_equal(call->state, CALL_RESTS);
    assert_true(call->ended_us >= 0);
    assert_null(client_ended(rig->client));
}

/* --- what a server does --- */

static inline int take_from(struct rig *rig, const struct listener *l)
{
    int fd = -1, on = 1;
    UNTIL(rig, (fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

static inline int take(struct rig *rig)
{
    return take_from(rig, &rig->server);
}

static inline bool nobody_comes(const struct rig *rig)
{
    return !is_readable(rig->server.fd);
}

/* A whole request, and nothing behind it. */
static inline const char *hear(struct rig *rig, int fd)
{
    size_t len = 0;
    for (;;) {
        rig->text[len] = '\0';
        const char *end = strstr(rig->text, "\r\n\r\n");
        const char *announced = strstr(rig->text, "\r\ncontent-length: ");
        size_t body_len = announced ? strtoul(announced + 18, NULL, 10) : 0;
        if (end && len >= (size_t)(end - rig->text) + 4 + body_len) {
            assert_int_equal(len, (size_t)(end - rig->text) + 4 + body_len);
            return rig->text;
        }
        UNTIL(rig, is_readable(fd));
        ssize_t n = recv(fd, rig->text + len, sizeof(rig->text) - 1 - len, 0);
        assert_true(n > 0);
        len += (size_t)n;
    }
}

static inline void say_bytes(int fd, const void *data, size_t len)
{
    assert_int_equal(send(fd, data, len, MSG_NOSIGNAL), len);
}

static inline void say(int fd, const char *text)
{
    say_bytes(fd, text, strlen(text));
}

static inline void hang_up(int fd)
{
    (void)close(fd);
}

static inline void reset(int fd)
{
    const struct linger now = { .l_onoff = 1 };
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
    (void)close(fd);
}

/* The client has closed it; what it had sent is passed over. */
static inline void is_left(struct rig *rig, int fd)
{
    ssize_t n;
    do {
        UNTIL(rig, is_readable(fd));
        n = recv(fd, rig->text, sizeof(rig->text), 0);
    } while (n > 0);
    assert_true(n == 0 || errno == ECONNRESET);
    hang_up(fd);
}

/* Nothing has come of it: it is open and quiet. */
static inline bool is_quiet(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

/* One exchange that leaves a connection at the server's end, kept by the client. */
static inline int exchange_kept(struct rig *rig)
{
    begin(rig);
    int fd = take(rig);
    (void)hear(rig, fd);
    say(fd, OK_EMPTY);
    ends_with(rig, CLIENT_OK, 200);
    return fd;
}

#endif
