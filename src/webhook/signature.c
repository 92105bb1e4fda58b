#include "webhook/signature.h"

#include <ctype.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

enum {
    KEY_MIN = 24,
    KEY_MAX = 64,
    MAC_LEN = 32,
    MAC_TEXT_LEN = 44, /* of MAC_LEN bytes in base64 */
    MAX_TIMESTAMP_DIGITS = 12,
};

static const char secret_prefix[] = "whsec_";
static const char version[] = "v1,";

struct signer {
    EVP_MAC *mac;
    EVP_MAC_CTX *keys[SIGNER_KEYS]; /* each with its key set */
    unsigned n_keys;
};

/* A word of base64, its padding "=" optional, as bytes. -1: it is none, or not KEY_MIN to KEY_MAX long. */
static int decode_key(const char *text, size_t len, uint8_t ret_key[static KEY_MAX])
{
    char padded[KEY_MAX / 3 * 4 + 8];
    uint8_t bytes[sizeof(padded)];
    while (len > 0 && text[len - 1] == '=')
        len--;
    if (len == 0 || len > sizeof(padded) - 5 || len % 4 == 1)
        return -1;
    for (size_t i = 0; i < len;
         i++) /* EVP_DecodeBlock() trims white space and takes "-" for an end */
        if (!isalnum((unsigned char)text[i]) && text[i] != '+' && text[i] != '/')
            return -1;
    memcpy(padded, text, len);
    size_t whole = (len + 3) / 4 * 4;
    memset(padded + len, '=', whole - len);
    int n = EVP_DecodeBlock(bytes, (const unsigned char *)padded, (int)whole);
    n = n < 0 ? -1 : n - (int)(whole - len);
    if (n >= KEY_MIN && n <= KEY_MAX)
        memcpy(ret_key, bytes, (size_t)n);
    else
        n = -1;
    OPENSSL_cleanse(padded, sizeof(padded));
    OPENSSL_cleanse(bytes, sizeof(bytes));
    return n;
}

static int add_key(struct signer *s, const char *word, size_t len, struct err *err)
{
    uint8_t key[KEY_MAX];
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    size_t prefix_len = sizeof(secret_prefix) - 1;
    if (s->n_keys == SIGNER_KEYS)
        return err_set(err, ERR_INVALID, "more than %d secrets", SIGNER_KEYS);
    int n = len > prefix_len && memcmp(word, secret_prefix, prefix_len) == 0
                ? decode_key(word + prefix_len, len - prefix_len, key)
                : -1;
    if (n < 0)
        return err_set(err, ERR_INVALID,
                       "secret %u is not whsec_ followed by %d to %d bytes in base64",
                       s->n_keys + 1, KEY_MIN, KEY_MAX);
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(s->mac);
    bool ok = ctx && EVP_MAC_init(ctx, key, (size_t)n, params) == 1;
    OPENSSL_cleanse(key, sizeof(key));
    if (!ok) {
        EVP_MAC_CTX_free(ctx);
        return err_set(err, ERR_NOMEM, "EVP_MAC_init");
    }
    s->keys[s->n_keys++] = ctx;
    return 0;
}

DEFINE_FREEP(struct signer *, signer_free)

int signer_new(const char *secrets, struct signer **ret_signer, struct err *err)
{
    static const char space[] = " \t\r\n";
    CLEANUP(signer_freep) struct signer *s = calloc(1, sizeof(*s));
    if (!s)
        return err_set(err, ERR_NOMEM, "out of memory");
    s->mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    if (!s->mac)
        return err_set(err, ERR_UNSUPPORTED, "libcrypto has no HMAC");
    for (const char *word = secrets + strspn(secrets, space); *word;) {
        size_t len = strcspn(word, space);
        if (add_key(s, word, len, err) < 0)
            return -1;
        word += len;
        word += strspn(word, space);
    }
    if (s->n_keys == 0)
        return err_set(err, ERR_INVALID, "there is no secret in it");
    *ret_signer = TAKE(s);
    return 0;
}

void signer_free(struct signer *s)
{
    if (!s)
        return;
    for (unsigned i = 0; i < s->n_keys; i++)
        EVP_MAC_CTX_free(s->keys[i]); /* libcrypto wipes the key in it */
    EVP_MAC_free(s->mac);
    free(s);
}

/* One signature in base64, with a NUL. */
static int sign(EVP_MAC_CTX *key, const char *id, const char *timestamp, const void *body,
                size_t body_len, char ret_text[static MAC_TEXT_LEN + 1])
{
    uint8_t mac[MAC_LEN];
    size_t len = 0;
    const unsigned char *id_bytes = (const unsigned char *)id;
    const unsigned char *time_bytes = (const unsigned char *)timestamp;
    static const unsigned char dot[] = ".";
    if (EVP_MAC_init(key, NULL, 0, NULL) != 1 || /* again with the key that it has */
        EVP_MAC_update(key, id_bytes, strlen(id)) != 1 || EVP_MAC_update(key, dot, 1) != 1 ||
        EVP_MAC_update(key, time_bytes, strlen(timestamp)) != 1 ||
        EVP_MAC_update(key, dot, 1) != 1 || EVP_MAC_update(key, body, body_len) != 1 ||
        EVP_MAC_final(key, mac, &len, sizeof(mac)) != 1 || len != sizeof(mac))
        return -1;
    (void)EVP_EncodeBlock((unsigned char *)ret_text, mac, MAC_LEN);
    return 0;
}

int signer_sign(struct signer *s, const char *id, const char *timestamp, const void *body,
                size_t body_len, char ret_signatures[static SIGNATURES_LEN], struct err *err)
{
    char *at = ret_signatures;
    for (unsigned i = 0; i < s->n_keys; i++) {
        if (i > 0)
            *at++ = ' ';
        memcpy(at, version, sizeof(version) - 1);
        at += sizeof(version) - 1;
        if (sign(s->keys[i], id, timestamp, body, body_len, at) < 0)
            return err_set(err, ERR_NOMEM, "EVP_MAC_final");
        at += MAC_TEXT_LEN;
    }
    return 0;
}

static bool is_recent(const char *timestamp, int64_t now_s)
{
    size_t len = strlen(timestamp);
    if (len == 0 || len > MAX_TIMESTAMP_DIGITS || strspn(timestamp, "0123456789") != len)
        return false;
    int64_t sent_s = strtoll(timestamp, NULL, 10);
    return sent_s >= now_s - SIGNATURE_TOLERANCE_S && sent_s <= now_s + SIGNATURE_TOLERANCE_S;
}

enum signature_verdict signature_check(struct signer *s, const char *id, const char *timestamp,
                                       const char *signatures, const void *body, size_t body_len,
                                       int64_t now_s)
{
    char expected[SIGNER_KEYS][MAC_TEXT_LEN + 1];
    bool good = false;
    if (!id || !timestamp || !signatures)
        return SIGNATURE_MISSING;
    for (unsigned i = 0; i < s->n_keys; i++)
        if (sign(s->keys[i], id, timestamp, body, body_len, expected[i]) < 0)
            return SIGNATURE_BAD;
    for (const char *word = signatures; *word;) {
        size_t len = strcspn(word, " ");
        if (len == sizeof(version) - 1 + MAC_TEXT_LEN &&
            memcmp(word, version, sizeof(version) - 1) == 0)
            for (unsigned i = 0; i < s->n_keys; i++) /* in constant time: nothing to measure */
                good |= CRYPTO_memcmp(word + sizeof(version) - 1, expected[i], MAC_TEXT_LEN) == 0;
        word += len;
        word += strspn(word, " ");
    }
    if (!good)
        return SIGNATURE_BAD;
    return is_recent(timestamp, now_s) ? SIGNATURE_GOOD : SIGNATURE_OLD;
}
