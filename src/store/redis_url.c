#include "store/redis_url.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static int hex_value(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c - 'A' + 10;
}

/* A copy of text[0…len) without percent-encoding; NULL: out of memory, or it makes no sense. */
static char *decode(const char *text, size_t len)
{
    char *out = malloc(len + 1);
    if (!out)
        return NULL;
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (c == '%') {
            if (len - i < 3 || !isxdigit((unsigned char)text[i + 1]) ||
                !isxdigit((unsigned char)text[i + 2])) {
                free(out);
                return NULL;
            }
            c = (char)(hex_value(text[i + 1]) << 4 | hex_value(text[i + 2]));
            i += 2;
        }
        out[n++] = c;
    }
    out[n] = '\0';
    return out;
}

static int parse_number(const char *text, size_t len, int most, int *ret)
{
    int value = 0;
    if (len == 0 || len > 5)
        return -1;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        value = value * 10 + (text[i] - '0');
    }
    if (value > most)
        return -1;
    *ret = value;
    return 0;
}

static int parse_user(const char *text, size_t len, struct redis_url *url)
{
    const char *colon = memchr(text, ':', len);
    if (!colon)
        return -1;
    size_t user_len = (size_t)(colon - text);
    if (user_len && !(url->user = decode(text, user_len)))
        return -1;
    url->password = decode(colon + 1, len - user_len - 1);
    return url->password ? 0 : -1;
}

static int parse_host(const char *text, size_t len, struct redis_url *url)
{
    size_t host_len = len;
    if (len && text[0] == '[') {
        const char *end = memchr(text, ']', len);
        if (!end)
            return -1;
        url->host = strndup(text + 1, (size_t)(end - text) - 1);
        host_len = (size_t)(end - text) + 1;
    } else {
        const char *colon = memchr(text, ':', len);
        host_len = colon ? (size_t)(colon - text) : len;
        url->host = strndup(text, host_len);
    }
    url->port = REDIS_PORT;
    if (!url->host || !url->host[0])
        return -1;
    if (host_len == len)
        return 0;
    return text[host_len] == ':' &&
                   parse_number(text + host_len + 1, len - host_len - 1, 65535, &url->port) == 0 &&
                   url->port > 0
               ? 0
               : -1;
}

int redis_url_parse(const char *where, struct redis_url *ret_url, struct err *err)
{
    CLEANUP(redis_url_release) struct redis_url url = { 0 };
    bool fine = strncmp(where, "//", 2) == 0;
    if (fine) {
        const char *text = where + 2;
        size_t len = strcspn(text, "/?#");
        const char *at = memrchr(text, '@', len);
        const char *host = at ? at + 1 : text;
        fine = (!at || parse_user(text, (size_t)(at - text), &url) == 0) &&
               parse_host(host, len - (size_t)(host - text), &url) == 0;
        const char *path = text + len;
        fine = fine &&
               (path[0] == '\0' || strcmp(path, "/") == 0 ||
                (path[0] == '/' && parse_number(path + 1, strlen(path + 1), 65535, &url.db) == 0));
    }
    if (!fine) /* without the text: it may hold a password */
        return err_set(err, ERR_INVALID, "a Redis is named redis://[:password@]host:port/db");
    *ret_url = url;
    url = (struct redis_url){ 0 };
    return 0;
}

void redis_url_release(struct redis_url *url)
{
    if (url->password)
        explicit_bzero(url->password, strlen(url->password));
    free(url->user);
    free(url->password);
    free(url->host);
    *url = (struct redis_url){ 0 };
}

const char *redis_url_shown(const char *url, char *out, size_t size)
{
    const char *slashes = strstr(url, "://");
    const char *text = slashes ? slashes + 3 : url;
    const char *at = slashes ? memrchr(text, '@', strcspn(text, "/?#")) : NULL;
    if (at)
        (void)snprintf(out, size, "%.*s***%s", (int)(text - url), url, at);
    else
        (void)snprintf(out, size, "%s", url);
    return out;
}
