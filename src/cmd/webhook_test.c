/* assay webhook test: the very path of a delivery, each step on a line of its own. */
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "cmd/commands.h"
#include "cmd/config.h"
#include "cmd/secrets.h"
#include "cmd/webhook.h"
#include "webhook/judge.h"
#include "webhook/libcurl.h"
#include "webhook/sender_transfer.h"
#include "webhook/url.h"

enum { CONNECT_MS = 3000, TOTAL_MS = 10000 };

extern char **environ;

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

static double info_ms(CURL *easy, CURLINFO info)
{
    curl_off_t us = 0;
    (void)curl_easy_getinfo(easy, info, &us);
    return (double)us / 1000;
}

/* What libcurl came to, as lines. A failure begins with the word that the log has for it. */
static bool tell_transfer(struct transfer *t, CURLcode code, const char *url, const char *reason)
{
    struct answer answer;
    char text[512], why[512], *ip = NULL;
    long local_port = 0;
    curl_off_t sent_len = 0;
    double connect_ms = info_ms(t->easy, CURLINFO_CONNECT_TIME_T);
    double tls_ms = info_ms(t->easy, CURLINFO_APPCONNECT_TIME_T);
    bool https = strncasecmp(url, "https:", 6) == 0;
    transfer_answer(t, code, clock_wall_ms(), &answer);
    (void)snprintf(why, sizeof(why), "%s: %s", answer.error ? answer.error : "",
                   *reason ? reason : curl_easy_strerror(code));
    (void)curl_easy_getinfo(t->easy, CURLINFO_PRIMARY_IP, &ip);
    (void)curl_easy_getinfo(t->easy, CURLINFO_LOCAL_PORT, &local_port);
    (void)curl_easy_getinfo(t->easy, CURLINFO_SIZE_UPLOAD_T, &sent_len);
    (void)snprintf(text, sizeof(text), "%.60s, %.1f ms", ip ? ip : "", connect_ms);
    /* The time is there only when TLS, too, has come about. */
    bool connected = connect_ms > 0 || local_port > 0;
    if (!say("connect", connected, connected ? text : why))
        return false;
    (void)snprintf(text, sizeof(text), "certificate and name are right, %.1f ms",
                   tls_ms - connect_ms);
    if (https && !say("tls", tls_ms > 0, tls_ms > 0 ? text : why))
        return false;
    (void)snprintf(text, sizeof(text), "%zu bytes", t->body.len);
    bool sent = t->final || sent_len == (curl_off_t)t->body.len;
    if (!say("send", sent, sent ? text : why))
        return false;
    if (!t->final)
        return say("status", false, why);
    const char *meaning = answer.status / 100 == 2   ? "delivered"
                          : answer.status / 100 == 3 ? "a redirect is a failure and not followed"
                          : answer.status == 410     ? "gone: it would not be tried again"
                                                     : "it would be tried again";
    (void)snprintf(text, sizeof(text), "%d after %.1f ms: %s", answer.status,
                   info_ms(t->easy, CURLINFO_STARTTRANSFER_TIME_T), meaning);
    return say("status", answer.error == NULL, text);
}

/* text in single quotes, as a shell takes it. */
static void print_quoted(const char *text)
{
    (void)putchar('\'');
    for (; *text; text++)
        if (*text == '\'')
            (void)fputs("'\\''", stdout);
        else
            (void)putchar(*text);
    (void)putchar('\'');
}

static void print_curl(const struct transfer *t, const char *url)
{
    (void)fputs("\ncurl -sS -i --max-time 10 --noproxy '*'", stdout);
    for (const struct curl_slist *line = t->headers; line; line = line->next) {
        size_t len = strlen(line->data);
        if (line->data[len - 1] == ':')
            continue;
        (void)fputs(" -H ", stdout);
        print_quoted(line->data);
    }
    (void)fputs(" --data-raw ", stdout);
    print_quoted(t->body.data);
    (void)putchar(' ');
    print_quoted(url);
    (void)putchar('\n');
}

static int walk(const struct policy *policy, struct signer *signer, const char *url,
                struct err *err)
{
    char reason[CURL_ERROR_SIZE] = "";
    const struct transfer_config config = { .policy = policy,
                                            .signer = signer,
                                            .connect_timeout_ms = CONNECT_MS,
                                            .total_timeout_ms = TOTAL_MS };
    struct event event = { .notify = NOTIFY_SUCCESS, .asset_id = "0test00", .url = (char *)url };
    CLEANUP(transfer_freep) struct transfer *t = NULL;
    if (!check_rule(policy, url))
        return 1;
    bool reachable = check_addresses(policy, url);
    (void)snprintf(event.webhook_id, sizeof(event.webhook_id), "0test00_%lld_success",
                   (long long)(clock_wall_ms() / 1000));
    if (transfer_new(&config, &t, err) < 0 || transfer_prepare(t, &event, clock_wall_ms(), err) < 0)
        return -1;
    bool ok = false;
    if (reachable) {
        (void)curl_easy_setopt(t->easy, CURLOPT_ERRORBUFFER, reason);
        CURLcode code = curl_easy_perform(t->easy);
        ok = tell_transfer(t, code, url, reason);
    }
    (void)printf("%-10s %-6s  %s\n", "signature", signer ? "ok" : "none",
                 signer ? t->signature_line : "ASSAY_WEBHOOK_SECRET is not set");
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
    int rc = libcurl_load(&err);
    if (rc == 0)
        rc = walk(policy, signer, config.arguments[0], &err);
    if (rc < 0)
        (void)fprintf(stderr, "assay webhook test: %s\n", err.msg);
    return rc == 0 ? EXIT_OK : EXIT_FAULT;
}
