#include "http/keys.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char http_keys_challenge[] =
    "WWW-Authenticate: Bearer realm=\"assay\", Basic realm=\"assay\", charset=\"UTF-8\"\r\n";

struct key {
    char name[HTTP_KEY_NAME_MAX + 1];
    uint8_t digest[SHA256_DIGEST_LENGTH];
};

struct http_keys {
    size_t n;
    struct key keys[HTTP_KEYS_MAX];
};

static bool is_visible(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    return true;
}

/* The text of a key is never part of a message. */
static int add_line(struct http_keys *keys, const char *line, size_t len, size_t number,
                    struct err *err)
{
    const char *colon = memchr(line, ':', len);
    size_t name_len = colon ? (size_t)(colon - line) : 0;
    const char *key = colon ? colon + 1 : line;
    size_t key_len = len - (size_t)(key - line);
    if (keys->n == HTTP_KEYS_MAX)
        return err_set(err, ERR_INVALID, "there are more than %d keys", HTTP_KEYS_MAX);
    if (name_len > HTTP_KEY_NAME_MAX || (colon && name_len == 0) || !is_visible(line, name_len))
        return err_set(err, ERR_INVALID, "the name of key %zu is not 1 to %d visible characters",
                       number, HTTP_KEY_NAME_MAX);
    if (key_len < HTTP_KEY_MIN || key_len > HTTP_KEY_MAX || !is_visible(key, key_len) ||
        memchr(key, ':', key_len))
        return err_set(err, ERR_INVALID,
                       "key %zu is not %d to %d visible ASCII characters without a colon", number,
                       HTTP_KEY_MIN, HTTP_KEY_MAX);
    struct key *k = &keys->keys[keys->n++];
    (void)SHA256((const uint8_t *)key, key_len, k->digest);
    if (colon)
        memcpy(k->name, line, name_len);
    for (int i = 0; !colon && i < 8; i++)
        (void)snprintf(k->name + 2 * i, 3, "%02x", k->digest[i]);
    return 0;
}

int http_keys_read(const char *text, size_t len, struct http_keys **keys, struct err *err)
{
    if (!*keys && !(*keys = calloc(1, sizeof(**keys))))
        return err_set(err, ERR_NOMEM, "out of memory");
    size_t number = 0;
    while (len > 0) {
        const char *end = memchr(text, '\n', len);
        size_t line_len = end ? (size_t)(end - text) : len, used = line_len + (end != NULL);
        if (line_len > 0 && text[line_len - 1] == '\r')
            line_len--;
        number++;
        if (line_len > 0 && text[0] != '#' && add_line(*keys, text, line_len, number, err) < 0)
            return -1;
        text += used;
        len -= used;
    }
    return 0;
}

void http_keys_free(struct http_keys *keys)
{
    free(keys);
}

size_t http_keys_count(const struct http_keys *keys)
{
    return keys ? keys->n : 0;
}

/* Every key is compared, whichever fits, so that the time tells nothing. */
static const struct key *find(const struct http_keys *keys, const char *key, size_t len)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    const struct key *found = NULL;
    (void)SHA256((const uint8_t *)key, len, digest);
    for (size_t i = 0; i < keys->n; i++)
        if (CRYPTO_memcmp(digest, keys->keys[i].digest, sizeof(digest)) == 0)
            found = &keys->keys[i];
    return found;
}

/* The password of RFC 7617's base64 of user-id ":" password. */
static const struct key *find_basic(const struct http_keys *keys, const char *text, size_t len)
{
    enum { TEXT_MAX = 2048 };
    uint8_t decoded[TEXT_MAX];
    if (len == 0 || len % 4 != 0 || len > TEXT_MAX)
        return NULL;
    int n = EVP_DecodeBlock(decoded, (const uint8_t *)text, (int)len); /* padding counts as bytes */
    n -= (text[len - 1] == '=') + (text[len - 2] == '=');
    const char *colon = n > 0 ? memchr(decoded, ':', (size_t)n) : NULL;
    const struct key *found = NULL;
    if (colon)
        found = find(keys, colon + 1, (size_t)((const char *)decoded + n - (colon + 1)));
    OPENSSL_cleanse(decoded, sizeof(decoded));
    return found;
}

/* Case-insensitive scheme, spaces, credentials (RFC 9110 §11.4). */
static bool skip_scheme(struct http_slice *field, const char *scheme)
{
    size_t len = strlen(scheme);
    if (field->len <= len || strncasecmp(field->data, scheme, len) != 0 || field->data[len] != ' ')
        return false;
    while (len < field->len && field->data[len] == ' ')
        len++;
    field->data += len;
    field->len -= len;
    return true;
}

bool http_keys_admit(const struct http_keys *keys, const struct http_request *request,
                     const char **ret_name)
{
    if (!keys)
        return true;
    struct http_slice field = http_field(request, "authorization");
    const struct key *found = NULL;
    if (skip_scheme(&field, "bearer"))
        found = find(keys, field.data, field.len);
    else if (skip_scheme(&field, "basic"))
        found = find_basic(keys, field.data, field.len);
    if (found && ret_name)
        *ret_name = found->name;
    return found != NULL;
}
