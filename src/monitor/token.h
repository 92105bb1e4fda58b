#ifndef MONITOR_TOKEN_H
#define MONITOR_TOKEN_H
/* token: proves that a form which was posted came from a page of ours, shown to the same person not long
 * ago: HMAC-SHA-256 over what the form does, who was asked (the Authorization field) and the hour. The
 * key is random and lives as long as the process. */
#include <stdbool.h>
#include <stdint.h>

#include "http/http.h"

enum { TOKEN_KEY_LEN = 32, TOKEN_LEN = 64 };
enum { TOKEN_PERIOD_MS = 3600 * 1000 /* valid for one to two of them */ };

struct token_key {
    uint8_t bytes[TOKEN_KEY_LEN];
};

int token_key_make(struct token_key *key, struct err *err);
/* what: the path that the form is posted to. 0, or -1 without memory. */
int token_make(const struct token_key *key, const char *what, const struct http_request *request,
               int64_t now_ms, char ret[static TOKEN_LEN + 1]);
bool token_is_good(const struct token_key *key, const char *what,
                   const struct http_request *request, int64_t now_ms, const char *token);
/* Whether a browser says that another site's page posts this (Fetch Metadata; RFC 6454 §7). A client
 * that says nothing is no browser, or an old one: the token is what counts then. */
bool token_is_cross_site(const struct http_request *request);
#endif
