#ifndef STORE_ATTEMPT_LOG_H
#define STORE_ATTEMPT_LOG_H
/* attempt_log: the attempts at one event as bytes, for engines that keep them as one value. Each is
 *
 *     at_ms 8 · http_status 4 · duration_ms 4 · error_len 2 · answer_len 2 · error · answer
 *
 * little-endian, oldest first; a length of 0xffff: there is none. Errors of more than ERROR_MAX bytes
 * and answers of more than ANSWER_MAX are cut. */
#include "base/buf.h"
#include "store/store.h"

enum { ATTEMPT_ERROR_MAX = 256, ATTEMPT_LOG_MAX = ATTEMPTS_MAX * (20 + 256 + ANSWER_MAX) };

/* Append one, dropping the oldest of more than ATTEMPTS_MAX. log was made with room for one more than
 * ATTEMPT_LOG_MAX: attempt_log_init(). -1: no memory. */
void attempt_log_init(struct buf *log);
int attempt_log_add(struct buf *log, const struct attempt *attempt);
/* Copies of all in data; the caller frees them as event_view_release() does. Bytes that are no log end
 * it. -1: no memory. */
int attempt_log_read(const void *data, size_t len, struct attempt **ret_attempts, size_t *ret_n);
#endif
