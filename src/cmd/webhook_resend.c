/* assay webhook resend: asks the running server's API. */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "client/client.h"
#include "cmd/commands.h"
#include "cmd/config.h"
#include "cmd/secrets.h"
#include "cmd/webhook.h"

enum { TIMEOUT_MS = 30 * 1000, ANSWER_MAX_LEN = 64 * 1024 };

extern char **environ;

DEFINE_FREEP(struct client *, client_free)

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
            (void)buf_addf(field, "authorization: Bearer %.*s\r\n",
                           (int)(len - (size_t)(key - line)), key);
            break;
        }
        line += len;
        line += strspn(line, "\r\n");
    }
    secret_free(text);
    return 0;
}

/* call: its response is the answer. */
static int post(const struct buf *url, const struct buf *fields, struct call *call, struct err *err)
{
    const struct client_config limits = { .total_timeout_ms = TIMEOUT_MS };
    const struct client_request request = {
        .method = "POST", .url = url->data, .fields = fields->data, .fields_len = fields->len
    };
    CLEANUP(client_freep) struct client *client = NULL;
    const char *why;
    if (!url_is_valid(url->data, url->len, &why))
        return err_set(err, ERR_INVALID, "%s: %s", url->data, why);
    if (client_new(&limits, &client, err) < 0 || client_perform(client, call, &request, err) < 0)
        return -1;
    if (!call->response.final)
        return err_set(err, ERR_IO, "%s: %s: %s", url->data, client_error_word(call->error),
                       call->why);
    return 0;
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
    CLEANUP(buf_release) struct buf url, fields;
    CLEANUP(call_release) struct call call;
    char answer[ANSWER_MAX_LEN];
    buf_init(&url, 1024);
    buf_init(&fields, 1024);
    call_init(&call, 4096, answer, sizeof(answer));
    if (config_parse(&config, COMMAND_HOOK_RESEND, argc, argv, environ, &err) != 0 ||
        add_authorization(&config, &fields, &err) < 0) {
        (void)fprintf(stderr, "assay webhook resend: %s\n", err.msg);
        return EXIT_USAGE;
    }
    if (make_url(&config, &url) < 0) {
        (void)fprintf(stderr, "assay webhook resend: say one webhook's id, or --all-dead\n");
        return EXIT_USAGE;
    }
    int rc = post(&url, &fields, &call, &err);
    if (fields.data)
        explicit_bzero(fields.data, fields.len);
    if (call.out.data)
        explicit_bzero(call.out.data, call.out.len);
    if (rc < 0) {
        (void)fprintf(stderr, "assay webhook resend: %s\n", err.msg);
        return EXIT_FAULT;
    }
    int len = (int)response_kept(&call.response);
    if (call.response.status != 202)
        (void)fprintf(stderr, "assay webhook resend: %d %.*s\n", call.response.status, len, answer);
    else
        (void)printf("%.*s\n", len, answer);
    return call.response.status == 202 ? EXIT_OK : EXIT_FAULT;
}
