/* link: -Wl,--wrap=malloc,--wrap=calloc,--wrap=socket,--wrap=setsockopt,--wrap=listen,--wrap=accept4 */
/* link: -Wl,--wrap=epoll_create1,--wrap=epoll_ctl,--wrap=eventfd,--wrap=pthread_create */
/* link: -Wl,--wrap=recv,--wrap=send,--wrap=shutdown */
/* The server when the n-th call to the system fails, for n = 1, 2, … until nothing fails any more: it
 * starts or says why not, a client gets its whole answer or a closed connection, the next one is served,
 * and no memory or descriptor is lost. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "http/http.h"

enum { PATIENCE_MS = 10000, BODY = 20000 };

/* ---- calls that fail ---- */

static atomic_int countdown; /* the call that makes it 0 fails */
static atomic_int io_errno;  /* of recv() and send() */
static atomic_int accept_errno;
static _Thread_local bool is_client; /* the test's own calls do not fail */

static bool fails(int errnum)
{
    if (is_client || atomic_fetch_sub(&countdown, 1) != 1)
        return false;
    errno = errnum;
    return true;
}

#define WRAP(type, name, parameters, arguments, errnum, failure)                                   \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return fails(errnum) ? failure : __real_##name arguments;                                  \
    }

WRAP(void *, malloc, (size_t n), (n), ENOMEM, NULL)
WRAP(void *, calloc, (size_t n, size_t size), (n, size), ENOMEM, NULL)
WRAP(int, socket, (int domain, int type, int protocol), (domain, type, protocol), EMFILE, -1)
WRAP(int, setsockopt, (int fd, int level, int name, const void *value, socklen_t len),
     (fd, level, name, value, len), ENOBUFS, -1)
WRAP(int, listen, (int fd, int backlog), (fd, backlog), EADDRINUSE, -1)
WRAP(int, accept4, (int fd, struct sockaddr *address, socklen_t *len, int flags),
     (fd, address, len, flags), atomic_load(&accept_errno), -1)
WRAP(int, epoll_create1, (int flags), (flags), EMFILE, -1)
WRAP(int, epoll_ctl, (int fd, int op, int what, struct epoll_event *event), (fd, op, what, event),
     ENOMEM, -1)
WRAP(int, eventfd, (unsigned n, int flags), (n, flags), EMFILE, -1)
WRAP(int, pthread_create,
     (pthread_t * thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg),
     (thread, attr, run, arg), EAGAIN, EAGAIN)
WRAP(ssize_t, recv, (int fd, void *data, size_t len, int flags), (fd, data, len, flags),
     atomic_load(&io_errno), -1)
WRAP(ssize_t, send, (int fd, const void *data, size_t len, int flags), (fd, data, len, flags),
     atomic_load(&io_errno), -1)
WRAP(int, shutdown, (int fd, int how), (fd, how), ENOTCONN, -1)

/* ---- the server ---- */

static int app_thread_start(void *app, void **ret_ctx, int *ret_wake_fd, struct err *err)
{
    (void)app;
    int *wake_fd = malloc(sizeof(*wake_fd));
    if (!wake_fd)
        return err_set(err, ERR_NOMEM, "out of memory");
    *wake_fd = eventfd(0, EFD_CLOEXEC);
    if (*wake_fd < 0) {
        free(wake_fd);
        return err_set(err, ERR_NOMEM, "no descriptor");
    }
    *ret_ctx = wake_fd;
    *ret_wake_fd = *wake_fd;
    return 0;
}

static void app_thread_stop(void *ctx)
{
    (void)close(*(int *)ctx);
    free(ctx);
}

static void app_nothing(void *ctx)
{
    (void)ctx;
}

static void app_echo(void *ctx, struct http_exchange *x, const struct http_request *request)
{
    (void)ctx;
    struct http_response response = { .status = 200, .content_type = "text/plain" };
    response.body = request->body.data;
    response.body_len = request->body.len;
    http_reply(x, &response);
}

static const char *app_problem(int status, const char *detail, struct buf *body)
{
    buf_addf(body, "%d %s", status, detail);
    return "text/plain";
}

static const struct http_app ops = { .thread_start = app_thread_start,
                                     .thread_stop = app_thread_stop,
                                     .handle = app_echo,
                                     .wake = app_nothing,
                                     .problem = app_problem };

static int start(struct http_server **ret_server, struct err *err)
{
    const struct http_config config = { .listen = "127.0.0.1:0", .threads = 2 };
    is_client = false;
    int rc = http_start(&config, &ops, NULL, ret_server, err);
    is_client = true;
    return rc;
}

/* ---- the client ---- */

static int client(const struct http_server *server)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)http_port(server)),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* Send request and read until the server closes. The number of bytes read into answer. */
static size_t converse(const struct http_server *server, const char *request, size_t len,
                       char *answer, size_t max_len)
{
    size_t got = 0;
    int fd = client(server);
    (void)send(fd, request, len, MSG_NOSIGNAL);
    for (;;) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
        ssize_t n = recv(fd, answer + got, max_len - 1 - got, 0);
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    (void)close(fd);
    answer[got] = '\0';
    return got;
}

static char request[BODY * 2], answer[BODY * 2];
static size_t request_len;

/* A request that needs larger buffers than the first ones, both ways, then one that is refused. */
static void make_request(void)
{
    request_len = (size_t)snprintf(
        request, sizeof(request), "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", BODY);
    memset(request + request_len, 'x', BODY);
    request_len += BODY;
    request_len += (size_t)snprintf(request + request_len, sizeof(request) - request_len,
                                    "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n");
}

static bool is_whole_answer(size_t len)
{
    return len > BODY && strstr(answer, "HTTP/1.1 400 Bad Request") &&
           strstr(answer, "There is no Host.");
}

/* Either all that was asked for, or a beginning of it. */
static void check_answer(size_t len, int n)
{
    if (len > 0 && strncmp(answer, "HTTP/1.1 200 OK\r\n", 17) != 0 &&
        strncmp(answer, "HTTP/1.1 503 ", 13) != 0)
        fail_msg("with failure %d the answer is '%.60s'", n, answer);
}

static size_t open_descriptors(void)
{
    size_t n = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir))
        n++;
    (void)closedir(dir);
    return n;
}

/* ---- the tests ---- */

static void starts_or_says_why_not(void **state)
{
    (void)state;
    size_t descriptors = open_descriptors();
    int failed = 0;
    for (int n = 1;; n++) {
        struct http_server *server = NULL;
        struct err err = { 0 };
        atomic_store(&countdown, n);
        int rc = start(&server, &err);
        int left = atomic_exchange(&countdown, 0);
        if (rc == 0)
            http_stop(server, 0);
        else
            assert_true(err.code != ERR_NONE && err.msg[0] != '\0');
        failed += rc != 0;
        if (open_descriptors() != descriptors)
            fail_msg("a descriptor is lost with failure %d", n);
        if (rc == 0 && left > 0)
            break; /* nothing failed any more */
    }
    assert_true(failed > 20);
}

static void serve_with_failures(int io, int accepting)
{
    size_t descriptors = open_descriptors();
    int partial = 0;
    make_request();
    atomic_store(&io_errno, io);
    atomic_store(&accept_errno, accepting);
    for (int n = 1;; n++) {
        struct http_server *server = NULL;
        struct err err;
        assert_int_equal(start(&server, &err), 0);
        atomic_store(&countdown, n);
        size_t len = converse(server, request, request_len, answer, sizeof(answer));
        int left = atomic_exchange(&countdown, 0);
        check_answer(len, n);
        partial += !is_whole_answer(len);
        len = converse(server, request, request_len, answer, sizeof(answer));
        if (!is_whole_answer(len))
            fail_msg("failure %d is not over", n);
        http_stop(server, PATIENCE_MS);
        if (open_descriptors() != descriptors)
            fail_msg("a descriptor is lost with failure %d", n);
        if (left > 0)
            break;
    }
    assert_true(partial > 0);
}

static void serves_the_next_client_after_any_failure(void **state)
{
    (void)state;
    serve_with_failures(ECONNRESET, EMFILE);
}

static void goes_on_when_it_was_interrupted(void **state)
{
    (void)state;
    serve_with_failures(EINTR, ECONNABORTED);
}

int main(void)
{
    log_setup(LOG_ERROR, LOG_LOGFMT);
    is_client = true;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_or_says_why_not),
        cmocka_unit_test(serves_the_next_client_after_any_failure),
        cmocka_unit_test(goes_on_when_it_was_interrupted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
