#ifndef API_IDEMPOTENCY_H
#define API_IDEMPOTENCY_H
/* idempotency: the field Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): the same key and
 * body give the first answer again. A key is its client's own: another client's cannot meet it. */
#include <stdbool.h>
#include <stdint.h>

#include "http/http.h"
#include "store/store.h"

enum { IDEMPOTENCY_KEY_MAX = 255 };

/* An item of a structured field that is a string ("…", RFC 9651 §3.3.3), or its characters bare, as most
 * send it. 1: ret_key is its digest; 0: there is no such field; -1: it is no key. */
int idempotency_key(const struct http_request *request, const char *client,
                    uint8_t ret_key[static IDEMPOTENCY_LEN]);
/* The key of the n-th line of a batch with this key. */
void idempotency_line_key(const uint8_t key[static IDEMPOTENCY_LEN], uint64_t n,
                          uint8_t ret_key[static IDEMPOTENCY_LEN]);
void idempotency_digest(const void *body, size_t len, uint8_t ret_digest[static IDEMPOTENCY_LEN]);
#endif
