/* http_null ADDRESS: the accept path without storage. The HTTP loop, the request's body read and its
 * URLs judged, and a 202 at once: what the API could do if the disk and the store cost nothing. */
#include "accepting.h"

static int thread_start(void *app, void **ret_ctx, int *ret_wake_fd, struct err *err)
{
    (void)err;
    *ret_ctx = app;
    *ret_wake_fd = -1;
    return 0;
}

static void thread_stop(void *ctx)
{
    (void)ctx;
}

static void handle(void *ctx, struct http_exchange *x, const struct http_request *request)
{
    int refused = acceptor_read(ctx, request);
    acceptor_reply(ctx, x, refused ? refused : 202);
}

static void wake(void *ctx)
{
    (void)ctx;
}

static const struct http_app app = { .thread_start = thread_start,
                                     .thread_stop = thread_stop,
                                     .handle = handle,
                                     .wake = wake,
                                     .problem = acceptor_problem };

int main(int argc, char *argv[])
{
    static struct acceptor acceptor;
    if (argc != 2) {
        (void)fprintf(stderr, "usage: http_null ADDRESS\n");
        return 2;
    }
    return acceptor_run(&acceptor, argv[1], &app, &acceptor);
}
