/* assay health: asks a running process's /readyz (a monitor's /healthcheck); the containers' health
 * check. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "client/client.h"
#include "cmd/commands.h"
#include "cmd/config.h"

enum { TIMEOUT_MS = 3000 };

extern char **environ;

DEFINE_FREEP(struct client *, client_free)

/* The address to ask: a server that listens on every address is asked on loopback. */
static void health_url(const char *listen, const char *path, char *ret_url, size_t size)
{
    const char *port = strrchr(listen, ':');
    size_t host_len = (size_t)(port - listen);
    if (host_len == 7 && memcmp(listen, "0.0.0.0", 7) == 0)
        (void)snprintf(ret_url, size, "http://127.0.0.1%s%s", port, path);
    else if (host_len == 4 && memcmp(listen, "[::]", 4) == 0)
        (void)snprintf(ret_url, size, "http://[::1]%s%s", port, path);
    else
        (void)snprintf(ret_url, size, "http://%s%s", listen, path);
}

int cmd_health(int argc, char *argv[])
{
    struct config config;
    struct err err;
    if (config_parse(&config, COMMAND_HEALTH, argc, argv, environ, &err) != 0) {
        (void)fprintf(stderr, "assay health: %s\n", err.msg);
        return EXIT_USAGE;
    }
    char url[512];
    health_url(config.listen, config.health_path, url, sizeof(url));
    const struct client_config limits = { .connect_timeout_ms = TIMEOUT_MS,
                                          .total_timeout_ms = TIMEOUT_MS };
    const struct client_request request = { .method = "GET", .url = url };
    CLEANUP(client_freep) struct client *client = NULL;
    CLEANUP(call_release) struct call call;
    const char *why;
    call_init(&call, sizeof(url) + 256, NULL, 0);
    if (!url_is_valid(url, strlen(url), &why)) {
        (void)fprintf(stderr, "assay health: %s: %s\n", url, why);
        return EXIT_USAGE;
    }
    if (client_new(&limits, &client, &err) < 0 ||
        client_perform(client, &call, &request, &err) < 0) {
        (void)fprintf(stderr, "assay health: %s\n", err.msg);
        return EXIT_FAULT;
    }
    if (!call.response.final)
        (void)fprintf(stderr, "assay health: %s: %s: %s\n", url, client_error_word(call.error),
                      call.why);
    else if (call.response.status != 200)
        (void)fprintf(stderr, "assay health: %s answers %d\n", url, call.response.status);
    return call.response.final && call.response.status == 200 ? EXIT_OK : EXIT_FAULT;
}
