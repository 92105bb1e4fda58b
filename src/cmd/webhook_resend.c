/* assay webhook resend: asks the running server's API. */
#include <stdio.h>
#include <string.h>

#include <curl/curl.h>

#include "base/cleanup.h"
#include "cmd/commands.h"
#include "cmd/config.h"
#include "cmd/secrets.h"
#include "cmd/webhook.h"
#include "webhook/libcurl.h"

enum { TIMEOUT_MS = 30 * 1000, ANSWER_MAX_LEN = 64 * 1024 };

extern char **environ;

static size_t keep(char *data, size_t size, size_t n, void *ctx)
{
    return buf_add(ctx, data, size * n) < 0 ? 0 : size * n;
}

/* The first key of a list of "key" or "name:key" lines, as a header field. */
static int add_authorization(const struct config *config, struct buf *field, struct err *err)
{
    char *text = NULL;
    if (secret_read(config->api_key, config->api_key_file, "ASSAY_API_KEY", &text, err) < 0)
        return -1;
    for (const char *line = text; line && *line;) {
        size_t len = strcspn(line, "\r\n");
        const char *colon = memchr(line, ':', len);
        if (len > 0 && *line != '#') {
            const char *key = colon ? colon + 1 : line;
            (void)buf_addf(field, "authorization: Bearer %.*s", (int)(len - (size_t)(key - line)),
                           key);
            break;
        }
        line += len;
        line += strspn(line, "\r\n");
    }
    secret_free(text);
    return 0;
}

static int post(const char *url, const char *authorization, struct buf *answer, long *ret_status,
                struct err *err)
{
    CURL *curl = curl_easy_init();
    struct curl_slist field = { .data = (char *)authorization };
    if (!curl)
        return err_set(err, ERR_NOMEM, "out of memory");
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_MS);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, *authorization ? &field : NULL);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    CURLcode code = curl_easy_perform(curl);
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, ret_status);
    curl_easy_cleanup(curl);
    return code == CURLE_OK ? 0 : err_set(err, ERR_IO, "%s: %s", url, curl_easy_strerror(code));
}

/* What to ask for; -1: the arguments make no sense. */
static int make_url(const struct config *config, struct buf *url)
{
    static const char id_bytes[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
    const char *port = strrchr(config->listen, ':');
    size_t host_len = (size_t)(port - config->listen);
    bool any = strncmp(config->listen, "0.0.0.0:", 8) == 0,
         any6 = strncmp(config->listen, "[::]:", 5) == 0;
    (void)buf_addf(url, "http://%.*s%s/webhooks/",
                   any    ? 9
                   : any6 ? 5
                          : (int)host_len,
                   any    ? "127.0.0.1"
                   : any6 ? "[::1]"
                          : config->listen,
                   port);
    if (config->all_dead && config->n_arguments == 0)
        return buf_adds(url, "resend?state=dead");
    if (config->all_dead || config->n_arguments != 1)
        return -1;
    const char *id = config->arguments[0];
    if (*id == '\0' || strspn(id, id_bytes) != strlen(id))
        return -1;
    return buf_addf(url, "%s/resend", id);
}

int webhook_resend(int argc, char *argv[])
{
    struct config config;
    struct err err;
    CLEANUP(buf_release) struct buf url, field, answer;
    long status = 0;
    buf_init(&url, 1024);
    buf_init(&field, 1024);
    buf_init(&answer, ANSWER_MAX_LEN);
    if (config_parse(&config, COMMAND_HOOK_RESEND, argc, argv, environ, &err) != 0 ||
        add_authorization(&config, &field, &err) < 0) {
        (void)fprintf(stderr, "assay webhook resend: %s\n", err.msg);
        return EXIT_USAGE;
    }
    if (make_url(&config, &url) < 0) {
        (void)fprintf(stderr, "assay webhook resend: say one webhook's id, or --all-dead\n");
        return EXIT_USAGE;
    }
    int rc = libcurl_load(&err);
    if (rc == 0)
        rc = post(buf_str(&url), buf_str(&field), &answer, &status, &err);
    if (field.data)
        explicit_bzero(field.data, field.len);
    if (rc < 0) {
        (void)fprintf(stderr, "assay webhook resend: %s\n", err.msg);
        return EXIT_FAULT;
    }
    if (status != 202)
        (void)fprintf(stderr, "assay webhook resend: %ld %s\n", status, buf_str(&answer));
    else
        (void)printf("%s\n", buf_str(&answer));
    return status == 202 ? EXIT_OK : EXIT_FAULT;
}
