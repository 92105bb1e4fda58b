/* assay health: asks a running process's /readyz (a monitor's /healthcheck); the containers' health
 * check. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "cmd/commands.h"
#include "cmd/config.h"
#include "webhook/libcurl.h"

enum { TIMEOUT_MS = 3000 };

extern char **environ;

static size_t discard(char *data, size_t size, size_t n, void *ctx)
{
    (void)data;
    (void)ctx;
    return size * n;
}

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
    long status = 0;
    if (libcurl_load(&err) < 0) {
        (void)fprintf(stderr, "assay health: %s\n", err.msg);
        return EXIT_FAULT;
    }
    CURL *curl = curl_easy_init();
    if (!curl)
        return EXIT_FAULT;
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_MS);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, discard);
    CURLcode code = curl_easy_perform(curl);
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(curl);
    if (code != CURLE_OK) {
        (void)fprintf(stderr, "assay health: %s: %s\n", url, curl_easy_strerror(code));
        return EXIT_FAULT;
    }
    if (status != 200)
        (void)fprintf(stderr, "assay health: %s answers %ld\n", url, status);
    return status == 200 ? EXIT_OK : EXIT_FAULT;
}
