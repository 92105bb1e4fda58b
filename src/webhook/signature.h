#ifndef WEBHOOK_SIGNATURE_H
#define WEBHOOK_SIGNATURE_H
/* signature: who sent this webhook? The symmetric scheme of Standard Webhooks 1.0.0:
 *
 *     webhook-signature: v1,B64 [v1,B64]       one for each live key
 *     B64     = base64(HMAC-SHA256(key, webhook-id "." webhook-timestamp "." body))
 *     secret  = "whsec_" base64(key)           key: 24 to 64 random bytes
 *
 * While a key is replaced two are live: the sender signs with both, a receiver has either. A signer
 * belongs to one thread. */
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    SIGNER_KEYS = 2,
    SIGNATURE_TOLERANCE_S = 5 * 60,    /* how far a timestamp may be off, either way */
    SIGNATURES_LEN = SIGNER_KEYS * 48, /* "v1," and 44 characters, a space or the NUL behind each */
};

struct signer;

/* secrets: one or two, white space between them; borrowed, and never quoted in *err. */
int signer_new(const char *secrets, struct signer **ret_signer, struct err *err);
/* Wipes the keys. NULL is fine. */
void signer_free(struct signer *signer);
/* The value of webhook-signature. */
int signer_sign(struct signer *signer, const char *id, const char *timestamp, const void *body,
                size_t body_len, char ret_signatures[static SIGNATURES_LEN], struct err *err);

enum signature_verdict {
    SIGNATURE_GOOD,
    SIGNATURE_MISSING, /* a header is missing */
    SIGNATURE_BAD,     /* none of the signatures is of one of our keys */
    SIGNATURE_OLD,     /* the timestamp is none, or too far from now_s: perhaps a replay */
};
/* What a receiver makes of it. id, timestamp, signatures: the headers' values; NULL: missing. */
enum signature_verdict signature_check(struct signer *signer, const char *id, const char *timestamp,
                                       const char *signatures, const void *body, size_t body_len,
                                       int64_t now_s);
#endif
