#include "api/idempotency.h"

#include <ctype.h>
#include <openssl/sha.h>
#include <string.h>

_Static_assert((int)SHA256_DIGEST_LENGTH == (int)IDEMPOTENCY_LEN, "keys are SHA-256");

/* tchar (RFC 9110 §5.6.2), and what else stands in base64 and in names of things. */
static bool is_bare(char c)
{
    return isalnum((unsigned char)c) || (c != '\0' && strchr("!#$%&'*+-.^_`|~:/=@", c));
}

/* The characters of the key, without quotes and backslashes. 0: it is none. */
static size_t read_key(struct http_slice field, char ret[static IDEMPOTENCY_KEY_MAX])
{
    size_t n = 0;
    bool quoted = field.len > 0 && field.data[0] == '"', closed = !quoted;
    for (size_t i = quoted; i < field.len; i++) {
        char c = field.data[i];
        if (quoted && closed) /* parameters, or a second item */
            return 0;
        if (quoted && c == '"') {
            closed = true;
            continue;
        }
        if (quoted && c == '\\' && (++i == field.len || !strchr("\\\"", c = field.data[i])))
            return 0;
        if (n == IDEMPOTENCY_KEY_MAX || !(quoted ? c >= ' ' && c <= '~' : is_bare(c)))
            return 0;
        ret[n++] = c;
    }
    return closed ? n : 0;
}

int idempotency_key(const struct http_request *request, const char *client,
                    uint8_t ret_key[static IDEMPOTENCY_LEN])
{
    char text[IDEMPOTENCY_KEY_MAX];
    struct http_slice field = http_field(request, "idempotency-key");
    if (!field.data)
        return 0;
    size_t len = read_key(field, text);
    if (len == 0)
        return -1;
    char both[128 + sizeof(text)] = "";
    size_t client_len = client ? strnlen(client, 126) : 0;
    if (client)
        memcpy(both, client, client_len);
    memcpy(both + client_len + 1, text, len); /* a NUL between them */
    (void)SHA256((const uint8_t *)both, client_len + 1 + len, ret_key);
    return 1;
}

void idempotency_line_key(const uint8_t key[static IDEMPOTENCY_LEN], uint64_t n,
                          uint8_t ret_key[static IDEMPOTENCY_LEN])
{
    uint8_t both[IDEMPOTENCY_LEN + 8];
    memcpy(both, key, IDEMPOTENCY_LEN);
    for (int i = 0; i < 8; i++)
        both[IDEMPOTENCY_LEN + i] = (uint8_t)(n >> (8 * i));
    (void)SHA256(both, sizeof(both), ret_key);
}

void idempotency_digest(const void *body, size_t len, uint8_t ret_digest[static IDEMPOTENCY_LEN])
{
    (void)SHA256(body, len, ret_digest);
}
