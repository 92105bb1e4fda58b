#include "monitor/token.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "base/cleanup.h"

int token_key_make(struct token_key *key, struct err *err)
{
    if (getrandom(key->bytes, sizeof(key->bytes), 0) != (ssize_t)sizeof(key->bytes))
        return err_errno(err, errno, "random bytes");
    return 0;
}

static int token_of_period(const struct token_key *key, const char *what,
                           const struct http_request *request, int64_t period,
                           char ret[static TOKEN_LEN + 1])
{
    CLEANUP(buf_release) struct buf text;
    struct http_slice who = http_field(request, "authorization");
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    buf_init(&text, 64 * 1024);
    (void)buf_addf(&text, "%" PRId64 "\n%s\n", period, what);
    if (who.len > 0)
        (void)buf_add(&text, who.data, who.len);
    if (buf_failed(&text) || !HMAC(EVP_sha256(), key->bytes, sizeof(key->bytes),
                                   (const unsigned char *)text.data, text.len, digest, &len))
        return -1;
    for (unsigned i = 0; i < len && 2 * i < TOKEN_LEN; i++) {
        static const char digits[] = "0123456789abcdef";
        ret[2 * i] = digits[digest[i] >> 4];
        ret[2 * i + 1] = digits[digest[i] & 15];
    }
    ret[TOKEN_LEN] = '\0';
    return 0;
}

int token_make(const struct token_key *key, const char *what, const struct http_request *request,
               int64_t now_ms, char ret[static TOKEN_LEN + 1])
{
    return token_of_period(key, what, request, now_ms / TOKEN_PERIOD_MS, ret);
}

bool token_is_good(const struct token_key *key, const char *what,
                   const struct http_request *request, int64_t now_ms, const char *token)
{
    char good[TOKEN_LEN + 1];
    if (strlen(token) != TOKEN_LEN)
        return false;
    for (int64_t age = 0; age < 2; age++)
        if (token_of_period(key, what, request, now_ms / TOKEN_PERIOD_MS - age, good) == 0 &&
            CRYPTO_memcmp(good, token, TOKEN_LEN) == 0)
            return true;
    return false;
}

/* An Origin is "scheme://host:port"; ours has the request's own host behind the scheme. */
static bool is_origin_of(struct http_slice origin, struct http_slice host)
{
    static const char *const schemes[] = { "http://", "https://" };
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        size_t len = strlen(schemes[i]);
        if (origin.len == len + host.len && memcmp(origin.data, schemes[i], len) == 0 &&
            strncasecmp(origin.data + len, host.data, host.len) == 0)
            return true;
    }
    return false;
}

bool token_is_cross_site(const struct http_request *request)
{
    struct http_slice site = http_field(request, "sec-fetch-site");
    struct http_slice origin = http_field(request, "origin");
    if (site.data && !http_slice_is(site, "same-origin") && !http_slice_is(site, "none"))
        return true;
    return origin.data && !is_origin_of(origin, request->host);
}
