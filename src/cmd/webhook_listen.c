/* assay webhook listen: a receiver for development. It shows each event, whether its signature is good,
 * and answers all with one status. */
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/problem.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "cmd/commands.h"
#include "cmd/config.h"
#include "cmd/secrets.h"
#include "cmd/webhook.h"
#include "http/http.h"

enum { FIELD_MAX = 512, SHOWN_MAX = 1024 * 1024, DRAIN_MS = 1000, BODY_MAX = 4 * 1024 * 1024 };

extern char **environ;

struct receiver {
    struct signer *signer; /* NULL: signatures cannot be checked */
    int status;
};

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

static void wake(void *ctx)
{
    (void)ctx;
}

/* The field's value as a string; NULL: it is missing, or longer than any of ours. */
static const char *field(const struct http_request *request, const char *name,
                         char value[static FIELD_MAX])
{
    struct http_slice found = http_field(request, name);
    if (!found.data || found.len >= FIELD_MAX)
        return NULL;
    memcpy(value, found.data, found.len);
    value[found.len] = '\0';
    return value;
}

static const char *verdict_of(struct receiver *r, const struct http_request *request)
{
    char id[FIELD_MAX], timestamp[FIELD_MAX], signatures[FIELD_MAX];
    const char *has_id = field(request, "webhook-id", id);
    const char *has_timestamp = field(request, "webhook-timestamp", timestamp);
    const char *has_signatures = field(request, "webhook-signature", signatures);
    if (!has_signatures)
        return "unsigned";
    if (!r->signer)
        return "signed, not checked: ASSAY_WEBHOOK_SECRET is not set";
    switch (signature_check(r->signer, has_id, has_timestamp, has_signatures, request->body.data,
                            request->body.len, clock_wall_ms() / 1000)) {
    case SIGNATURE_GOOD:
        return "verified";
    case SIGNATURE_MISSING:
        return "unsigned";
    case SIGNATURE_BAD:
        return "BAD SIGNATURE";
    case SIGNATURE_OLD:
        return "signed, but TOO OLD or too new: perhaps a replay";
    }
    return "unsigned";
}

/* The body, indented if it is JSON. Nothing in it can write to the terminal but its text. */
static void add_body(struct buf *out, struct http_slice body)
{
    json_t *json = json_loadb(body.data ? body.data : "", body.len, JSON_REJECT_DUPLICATES, NULL);
    char *text = json ? json_dumps(json, JSON_INDENT(2) | JSON_ENSURE_ASCII) : NULL;
    if (text)
        (void)buf_adds(out, text);
    else
        (void)buf_add_json(out, body.data ? body.data : "", body.len);
    free(text);
    json_decref(json);
}

static void show(struct receiver *r, const struct http_request *request)
{
    CLEANUP(buf_release) struct buf out;
    char now[CLOCK_TEXT_LEN], id[FIELD_MAX];
    const char *has_id = field(request, "webhook-id", id);
    buf_init(&out, SHOWN_MAX);
    (void)buf_addf(&out, "%s  %.*s  ", clock_text(clock_wall_ms(), now), (int)request->path.len,
                   request->path.data);   /* the reader lets nothing but visible ASCII through */
    for (char *c = id; has_id && *c; c++) /* a field may hold bytes that a terminal obeys */
        if (*c < 0x20 || *c > 0x7e)
            *c = '?';
    (void)buf_addf(&out, "%s  %s\n", has_id ? has_id : "(no webhook-id)", verdict_of(r, request));
    add_body(&out, request->body);
    (void)printf("%s\n\n", buf_failed(&out) ? "(too long to show)" : buf_str(&out));
    (void)fflush(stdout);
}

static void handle(void *ctx, struct http_exchange *x, const struct http_request *request)
{
    struct receiver *r = ctx;
    if (request->method != HTTP_POST) {
        http_reply(x, &(struct http_response){ .status = 405, .fields = "Allow: POST\r\n" });
        return;
    }
    show(r, request);
    http_reply(x, &(struct http_response){ .status = r->status });
}

static const struct http_app receiver_http = { .thread_start = thread_start,
                                               .thread_stop = thread_stop,
                                               .handle = handle,
                                               .wake = wake,
                                               .problem = problem_of_server };

int webhook_listen(int argc, char *argv[])
{
    struct config config;
    struct err err;
    struct receiver receiver = { 0 };
    struct http_server *server;
    if (config_parse(&config, COMMAND_HOOK_LISTEN, argc, argv, environ, &err) != 0 ||
        secret_signer(&config, &receiver.signer, &err) < 0) {
        (void)fprintf(stderr, "assay webhook listen: %s\n", err.msg);
        return EXIT_USAGE;
    }
    receiver.status = (int)config.receiver_status;
    secrets_forget(&config, environ);
    sigset_t stopping;
    (void)sigemptyset(&stopping);
    (void)sigaddset(&stopping, SIGTERM);
    (void)sigaddset(&stopping, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &stopping, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    const struct http_config http = { .listen = config.receiver_listen,
                                      .threads = 1,
                                      .max_body = BODY_MAX };
    if (http_start(&http, &receiver_http, &receiver, &server, &err) < 0) {
        (void)fprintf(stderr, "assay webhook listen: %s: %s\n", config.receiver_listen, err.msg);
        signer_free(receiver.signer);
        return EXIT_NO_START;
    }
    (void)fprintf(stderr, "listening on port %d, answering %d; Ctrl-C ends it\n", http_port(server),
                  receiver.status);
    int got;
    (void)sigwait(&stopping, &got);
    http_drain(server);
    http_stop(server, DRAIN_MS);
    signer_free(receiver.signer);
    return EXIT_OK;
}
