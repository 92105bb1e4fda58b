#ifndef BENCH_ACCEPTING_H
#define BENCH_ACCEPTING_H
/* accepting: what the rivals of `assay server` in the accept benchmark have in common. They have its
 * HTTP loop, read and judge a POST /assets/image as it does, and answer the same bytes. Only what
 * happens between the two differs. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/request.h"
#include "base/cleanup.h"
#include "base/permute.h"
#include "http/http.h"
#include "webhook/judge.h"
#include "webhook/policy.h"

struct acceptor {
    struct policy *policy;
    struct permute ids;
    _Atomic uint64_t accepted;
};

/* 0, or the status of a request that is not accepted. */
static inline int acceptor_read(const struct acceptor *a, const struct http_request *request)
{
    CLEANUP(buf_release) struct buf detail, faults;
    buf_init(&detail, 1024);
    buf_init(&faults, 1 << 20);
    static _Thread_local struct judge_known known;
    struct asset_request asset;
    if (asset_request_parse(request->body.data, request->body.len, &asset, &detail, &faults) !=
        REQUEST_OK)
        return 400;
    bool sound = true;
    for (int i = 0; i < NOTIFY_COUNT; i++)
        sound = sound && judge_url_again(a->policy, &known, asset.urls[i]) != URL_INVALID;
    asset_request_release(&asset);
    return sound ? 0 : 422;
}

static inline void acceptor_reply(struct acceptor *a, struct http_exchange *x, int status)
{
    struct http_response response = { .status = status };
    char id[PERMUTE_NAME_LEN + 1], body[64], location[64];
    if (status == 202) {
        permute_name(&a->ids, atomic_fetch_add(&a->accepted, 1), id);
        response.content_type = "application/json";
        response.body = body;
        response.body_len =
            (size_t)snprintf(body, sizeof(body), "{\"id\":\"%s\",\"state\":\"queued\"}", id);
        (void)snprintf(location, sizeof(location), "Location: /assets/%s\r\n", id);
        response.fields = location;
    }
    http_reply(x, &response);
}

static inline const char *acceptor_problem(int status, const char *detail, struct buf *body)
{
    (void)buf_addf(body, "%d %s\n", status, detail);
    return "text/plain";
}

/* Serve on the address until SIGTERM; the program's exit code. */
static inline int acceptor_run(struct acceptor *a, const char *listen, const struct http_app *ops,
                               void *app)
{
    static const uint8_t key[PERMUTE_KEY_LEN] = "bench";
    permute_init(&a->ids, key);
    sigset_t stopping;
    (void)sigemptyset(&stopping);
    (void)sigaddset(&stopping, SIGTERM);
    (void)sigaddset(&stopping, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &stopping, NULL);
    (void)signal(SIGPIPE, SIG_IGN);

    static const char *const hosts[] = { "localhost", "127.0.0.1", NULL };
    struct http_config http = { .listen = listen, .threads = 1, .hosts = hosts };
    struct http_server *server;
    struct err err;
    if (policy_new("public,private,loopback", NULL, &a->policy, &err) < 0 ||
        http_start(&http, ops, app, &server, &err) < 0) {
        (void)fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    int signal_no;
    (void)sigwait(&stopping, &signal_no);
    http_drain(server);
    http_stop(server, 1000);
    policy_free(a->policy);
    return 0;
}
#endif
