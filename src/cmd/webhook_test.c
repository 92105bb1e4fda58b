/* assay webhook test: the very path of a delivery, each step on a line of its own. */
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "cmd/commands.h"
#include "cmd/config.h"
#include "cmd/secrets.h"
#include "cmd/webhook.h"
#include "webhook/judge.h"
#include "webhook/sender_transfer.h"
#include "client/url.h"

extern char **environ;

DEFINE_FREEP(struct client *, client_free)
DEFINE_FREEP(struct policy *, policy_free)
DEFINE_FREEP(struct signer *, signer_free)
DEFINE_FREEP(struct transfer *, transfer_free)

static bool say(const char *step, bool ok, const char *text)
{
    (void)printf("%-10s %-6s  %s\n", step, ok ? "ok" : "failed", text);
    (void)fflush(stdout);
    return ok;
}

static bool check_rule(const struct policy *policy, const char *url)
{
    const char *why = "ok";
    switch (judge_url(policy, url, &why)) {
    case URL_VALID:
        return say("rule", true, "an absolute http or https URL");
    case URL_DISALLOWED: /* the policy's line says more */
        return say("rule", true, "an absolute http or https URL with a literal address");
    case URL_OFF:
        return say("rule", false, "nothing is ever sent (--webhook-allow none)");
    case URL_ABSENT:
    case URL_INVALID:
        break;
    }
    return say("rule", false, why);
}

/* The host of a valid URL as getaddrinfo() wants it, and its port. */
static void split_origin(const char *url, char host[static URL_ORIGIN_LEN], char port[static 8])
{
    char origin[URL_ORIGIN_LEN];
    (void)url_origin(url, origin);
    char *at = strstr(origin, "://") + 3, *colon = strrchr(at, ':');
    *colon = '\0';
    (void)snprintf(port, 8, "%s", colon + 1);
    size_t len = strlen(at);
    if (at[0] == '[') { /* IPv6 */
        at[len - 1] = '\0';
        at++;
    }
    (void)snprintf(host, URL_ORIGIN_LEN, "%s", at);
}

/* true: there is an address that may be connected to. */
static bool check_addresses(const struct policy *policy, const char *url)
{
    char host[URL_ORIGIN_LEN], port[8], text[512];
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    struct addrinfo *found = NULL;
    split_origin(url, host, port);
    int64_t begin_us = clock_mono_us();
    int rc = getaddrinfo(host, port, &hints, &found);
    unsigned n = 0;
    for (const struct addrinfo *a = found; a; a = a->ai_next)
        n++;
    if (rc != 0) {
        (void)snprintf(text, sizeof(text), "%.300s: %s", host, gai_strerror(rc));
        return say("dns", false, text);
    }
    (void)snprintf(text, sizeof(text), "%.300s: %u address%s, %.1f ms", host, n, n == 1 ? "" : "es",
                   (double)(clock_mono_us() - begin_us) / 1000);
    (void)say("dns", true, text);
    bool any = false;
    for (const struct addrinfo *a = found; a; a = a->ai_next) {
        char address[NI_MAXHOST];
        const char *why;
        bool allowed = policy_allows(policy, a->ai_addr, &why);
        if (getnameinfo(a->ai_addr, a->ai_addrlen, address, sizeof(address), NULL, 0,
                        NI_NUMERICHOST) != 0)
            strcpy(address, "?");
        (void)snprintf(text, sizeof(text), "%.60s port %s: %s", address, port, why);
        any |= say("policy", allowed, text);
    }
    freeaddrinfo(found);
    return any;
}

static double ms(int64_t us)
{
    return (double)us / 1000;
}

/* What the call came to, as lines. A failure begins with the word that the log has for it. */
static bool tell_call(const struct transfer *t)
{
    const struct call *call = &t->call;
    struct answer answer;
    char text[512], why[256], ip[NI_MAXHOST] = "";
    transfer_answer(t, clock_wall_ms(), &answer);
    (void)snprintf(why, sizeof(why), "%s: %s", answer.error ? answer.error : "", call->why);
    bool connected = call->connected_us >= 0;
    if (connected)
        (void)getnameinfo((const struct sockaddr *)&call->peer, sizeof(call->peer), ip, sizeof(ip),
                          NULL, 0, NI_NUMERICHOST);
    (void)snprintf(text, sizeof(text), "%.60s, %.1f ms", ip, ms(call->connected_us));
    if (!say("connect", connected, connected ? text : why))
        return false;
    (void)snprintf(text, sizeof(text), "certificate and name are right, %.1f ms",
                   ms(call->secured_us - call->connected_us));
    bool secured = call->secured_us >= 0;
    if (call->url.https && !say("tls", secured, secured ? text : why))
        return false;
    (void)snprintf(text, sizeof(text), "%zu bytes", t->body.len);
    bool sent = call->response.final || call->sent_us >= 0;
    if (!say("send", sent, sent ? text : why))
        return false;
    if (!call->response.final)
        return say("status", false, why);
    const char *meaning = answer.status / 100 == 2   ? "delivered"
                          : answer.status / 100 == 3 ? "a redirect is a failure and not followed"
                          : answer.status == 410     ? "gone: it would not be tried again"
                                                     : "it would be tried again";
    (void)snprintf(text, sizeof(text), "%d after %.1f ms: %s", answer.status, ms(call->answered_us),
                   meaning);
    return say("status", answer.error == NULL, text);
}

/* len bytes in single quotes, as a shell takes it. */
static void print_quoted(const char *text, size_t len)
{
    (void)putchar('\'');
    for (size_t i = 0; i < len; i++)
        if (text[i] == '\'')
            (void)fputs("'\\''", stdout);
        else
            (void)putchar(text[i]);
    (void)putchar('\'');
}

static void print_curl(const struct transfer *t, const char *url)
{
    (void)fputs("\ncurl -sS -i --max-time 10 --noproxy '*'", stdout);
    const char *line = buf_str(&t->fields);
    for (size_t len; *line; line += len + 2) {
        len = strcspn(line, "\r");
        (void)fputs(" -H ", stdout);
        print_quoted(line, len);
    }
    (void)fputs(" --data-raw ", stdout);
    print_quoted(t->body.data, t->body.len);
    (void)putchar(' ');
    print_quoted(url, strlen(url));
    (void)putchar('\n');
}

static int walk(const struct policy *policy, struct signer *signer, const char *url,
                struct err *err)
{
    struct event event = { .notify = NOTIFY_SUCCESS, .asset_id = "0test00", .url = (char *)url };
    CLEANUP(client_freep) struct client *client = NULL;
    CLEANUP(transfer_freep) struct transfer *t = NULL;
    bool ok = false;
    if (!check_rule(policy, url))
        return 1;
    bool reachable = check_addresses(policy, url);
    (void)snprintf(event.webhook_id, sizeof(event.webhook_id), "0test00_%lld_success",
                   (long long)(clock_wall_ms() / 1000));
    if (transfer_client(policy, 0, 0, 0, &client, err) < 0 || transfer_new(signer, &t, err) < 0 ||
        transfer_prepare(t, &event, clock_wall_ms(), err) < 0)
        return -1;
    if (reachable) {
        if (client_perform(client, &t->call, &t->request, err) < 0)
            return -1;
        ok = tell_call(t);
    }
    (void)printf("%-10s %-6s  %s\n", "signature", signer ? "ok" : "none",
                 signer ? t->signatures : "ASSAY_WEBHOOK_SECRET is not set");
    if (transfer_answer_len(t) > 0) {
        CLEANUP(buf_release) struct buf answer;
        buf_init(&answer, 16 * ANSWER_MAX);
        (void)buf_add_json(&answer, t->answer, transfer_answer_len(t));
        (void)printf("%-10s         %s\n", "answer", buf_str(&answer));
    }
    print_curl(t, url);
    return ok ? 0 : 1;
}

int webhook_test(int argc, char *argv[])
{
    struct config config;
    struct err err;
    CLEANUP(policy_freep) struct policy *policy = NULL;
    CLEANUP(signer_freep) struct signer *signer = NULL;
    if (config_parse(&config, COMMAND_HOOK_TEST, argc, argv, environ, &err) != 0 ||
        policy_new(config.webhook_allow, config.webhook_deny, &policy, &err) < 0 ||
        secret_signer(&config, &signer, &err) < 0) {
        (void)fprintf(stderr, "assay webhook test: %s\n", err.msg);
        return EXIT_USAGE;
    }
    if (config.n_arguments != 1) {
        (void)fprintf(stderr, "assay webhook test: say one URL\n");
        return EXIT_USAGE;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    int rc = walk(policy, signer, config.arguments[0], &err);
    if (rc < 0)
        (void)fprintf(stderr, "assay webhook test: %s\n", err.msg);
    return rc == 0 ? EXIT_OK : EXIT_FAULT;
}
