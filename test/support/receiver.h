#ifndef SUPPORT_RECEIVER_H
#define SUPPORT_RECEIVER_H
/* receiver: a tiny webhook receiver on loopback for tests, one thread a connection. The path of a
 * request says how it is answered:
 *
 *   /200 /204 /302 /410 /500 …   that status, an empty body, the connection kept
 *   /flaky        500 the first time a webhook-id is seen, then 200
 *   /busy         503 with "Retry-After: 7"
 *   /slow         200 after 50 ms
 *   /hang         no answer, ever
 *   /drip         200 and a complete header, then a byte every 20 ms, for ever
 *   /dripheader   a status line of 200, then a byte of header every 20 ms, for ever
 *   /endless      200, then a body that never ends, as fast as it can
 *   /endless500   500 likewise
 *   /early        103 Early Hints with a Retry-After, then 500
 *   /continue     100 Continue for ever
 *   /hugeheader   200 and 1 MB of header lines;  /hugeline  200 and one line of 1 MB
 *   /trailer      200, chunked, with 1 MB of trailers
 *   /cut          200, announces 10 bytes, sends 3, closes
 *   /reset        closes with RST without an answer
 *   /garbage      bytes that are not HTTP
 * What stands behind '?' is ignored. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct receiver;

struct request {
    char path[128]; /* as sent, query included */
    char *head;     /* the whole header, from the request line to the empty line */
    char *body;
    int64_t at_us; /* monotonic, when all of it was there */
};

/* On 127.0.0.1, or [::1] if v6. Aborts the test program when it cannot. */
struct receiver *receiver_start(bool v6);
/* Ends all connections and threads. */
void receiver_stop(struct receiver *r);
unsigned receiver_port(const struct receiver *r);
/* How many requests came so far; how many waited for their answer at once, at most (/hang counts only
 * until it begins to hang); how many connections they came over. */
size_t receiver_count(struct receiver *r);
unsigned receiver_most_at_once(struct receiver *r);
unsigned receiver_connections(struct receiver *r);
/* The i-th request; borrowed until receiver_stop(). */
const struct request *receiver_request(struct receiver *r, size_t i);
/* Until n requests have come, for at most 20 s. */
bool receiver_wait(struct receiver *r, size_t n);
#endif
