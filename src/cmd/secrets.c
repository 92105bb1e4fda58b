#include "cmd/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "store/redis_url.h"

enum { MAX_LEN = 64 * 1024 };

static const char *const wiped[] = { "ASSAY_WEBHOOK_SECRET=", "ASSAY_API_KEY=",
                                     "ASSAY_STORE_PASSWORD=" };

DEFINE_FREEP(char *, secret_free)
DEFINE_FREEP(struct http_keys *, http_keys_free)

void secret_free(char *text)
{
    if (!text)
        return;
    explicit_bzero(text, strlen(text));
    free(text);
}

static int read_file(const char *path, const char *variable, char **ret_text, struct err *err)
{
    CLEANUP(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return err_errno(err, errno, "%s_FILE: open '%s'", variable, path);
    CLEANUP(secret_freep) char *text = calloc(1, MAX_LEN + 2);
    if (!text)
        return err_set(err, ERR_NOMEM, "out of memory");
    size_t len = 0;
    ssize_t n;
    while (len <= MAX_LEN && (n = read(fd, text + len, MAX_LEN + 1 - len)) != 0) {
        if (n < 0 && errno != EINTR)
            return err_errno(err, errno, "%s_FILE: read '%s'", variable, path);
        len += n > 0 ? (size_t)n : 0;
    }
    if (len == 0 || len > MAX_LEN || strlen(text) != len)
        return err_set(err, ERR_INVALID, "%s_FILE: '%s' is not one to %d bytes of text", variable,
                       path, MAX_LEN);
    *ret_text = TAKE(text);
    return 0;
}

int secret_read(const char *value, const char *file, const char *variable, char **ret_text,
                struct err *err)
{
    if (value && !*value) /* as compose files pass what is not set */
        value = NULL;
    if (file && !*file)
        file = NULL;
    if (value && file)
        return err_set(err, ERR_INVALID, "%s and %s_FILE cannot both be set", variable, variable);
    *ret_text = NULL;
    if (file)
        return read_file(file, variable, ret_text, err);
    if (value && !(*ret_text = strdup(value)))
        return err_set(err, ERR_NOMEM, "out of memory");
    return 0;
}

int secret_signer(const struct config *config, struct signer **ret_signer, struct err *err)
{
    static const char variable[] = "ASSAY_WEBHOOK_SECRET";
    CLEANUP(secret_freep) char *text = NULL;
    *ret_signer = NULL;
    if (secret_read(config->webhook_secret, config->webhook_secret_file, variable, &text, err) < 0)
        return -1;
    if (text && signer_new(text, ret_signer, err) < 0)
        return err_add(err, "%s%s", variable, config->webhook_secret_file ? "_FILE" : "");
    return 0;
}

int secret_keys(const struct config *config, struct http_keys **ret_keys, struct err *err)
{
    static const char variable[] = "ASSAY_API_KEY";
    CLEANUP(secret_freep) char *text = NULL;
    CLEANUP(http_keys_freep) struct http_keys *keys = NULL;
    *ret_keys = NULL;
    if (secret_read(config->api_key, config->api_key_file, variable, &text, err) < 0)
        return -1;
    if (!text)
        return 0;
    const char *suffix = config->api_key_file ? "_FILE" : "";
    if (http_keys_read(text, strlen(text), &keys, err) < 0)
        return err_add(err, "%s%s", variable, suffix);
    if (http_keys_count(keys) == 0) /* everybody would be let in, or nobody */
        return err_set(err, ERR_INVALID, "%s%s: there is no key in it", variable, suffix);
    *ret_keys = TAKE(keys);
    return 0;
}

/* Whether the URL of a store names a Redis, and no password for it. */
static bool takes_password(const char *url)
{
    static const char scheme[] = "redis:";
    struct redis_url redis;
    if (strncmp(url, scheme, sizeof(scheme) - 1) != 0 ||
        redis_url_parse(url + sizeof(scheme) - 1, &redis, NULL) < 0)
        return false;
    bool has_one = redis.password && redis.password[0];
    redis_url_release(&redis);
    return !has_one;
}

int secret_store(const struct config *config, char **ret_text, struct err *err)
{
    static const char variable[] = "ASSAY_STORE_PASSWORD";
    CLEANUP(secret_freep) char *text = NULL;
    *ret_text = NULL;
    if (secret_read(config->store_password, config->store_password_file, variable, &text, err) < 0)
        return -1;
    if (!text)
        return 0;
    const char *suffix = config->store_password_file ? "_FILE" : "";
    text[strcspn(text, "\r\n")] = '\0'; /* as editors end a file */
    if (!text[0])
        return err_set(err, ERR_INVALID, "%s%s: there is no password in it", variable, suffix);
    if (!takes_password(config->store))
        return err_set(err, ERR_INVALID,
                       "%s%s: --store has to name a Redis, and no password itself", variable,
                       suffix);
    *ret_text = TAKE(text);
    return 0;
}

void secrets_forget(struct config *config, char *variables[])
{
    config->webhook_secret = config->api_key = config->store_password = NULL;
    for (; variables && *variables; variables++)
        for (size_t i = 0; i < ARRAY_LEN(wiped); i++) {
            size_t len = strlen(wiped[i]);
            if (strncmp(*variables, wiped[i], len) == 0)
                explicit_bzero(*variables + len, strlen(*variables + len));
        }
}
