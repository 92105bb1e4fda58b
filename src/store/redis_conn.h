#ifndef STORE_REDIS_CONN_H
#define STORE_REDIS_CONN_H
/* redis_conn: connections to a Redis, and requests of any length. Made for hiredis 0.14 and 1.2.
 *
 * Whatever happens to the network, no call blocks for more than CONNECT_MS or ANSWER_MS: a network that
 * was cut says nothing. A connection whose err is set (an answer did not come, or came half) is of no
 * more use: redis_gone(). */
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "store/redis_url.h"

enum { REDIS_CONNECT_MS = 1000, REDIS_ANSWER_MS = 2000 };

/* Connect, say the password, choose the database. ERR_DENIED: a wrong password. */
int redis_connect(const struct redis_url *url, redisContext **ret, struct err *err);
static inline bool redis_gone(const redisContext *c)
{
    return !c || c->err;
}
/* For CLEANUP(). */
static inline void redis_disconnectp(redisContext **c)
{
    if (*c)
        redisFree(*c);
    *c = NULL;
}
static inline void redis_reply_freep(redisReply **reply)
{
    if (*reply)
        freeReplyObject(*reply);
}

/* A command being made, argument by argument; any bytes. redis_request_init(), then for each command
 * redis_request_begin(). */
struct redis_request {
    struct buf body;
    size_t args;
};
void redis_request_init(struct redis_request *r);
void redis_request_release(struct redis_request *r);
void redis_request_begin(struct redis_request *r);
void redis_add(struct redis_request *r, const void *data, size_t len);
void redis_adds(struct redis_request *r, const char *text); /* NULL: as "" */
void redis_add_int(struct redis_request *r, int64_t value);

/* Send it and wait for its answer. -1 and redis_gone(): nobody knows whether it was done. -1 else: it
 * was refused, and nothing was done: ERR_FULL for want of memory, ERR_ABSENT: no such function,
 * ERR_DENIED, or ERR_IO. */
int redis_ask(redisContext *c, const struct redis_request *r, redisReply **ret, struct err *err);
/* Send it alone: what is answered is read by other means. */
int redis_send(redisContext *c, const struct redis_request *r, struct err *err);

/* How a reply looks; false for any other shape. */
static inline bool redis_is_array(const redisReply *r, size_t n)
{
    return r && r->type == REDIS_REPLY_ARRAY && r->elements >= n;
}
static inline bool redis_is_text(const redisReply *r)
{
    return r && (r->type == REDIS_REPLY_STRING || r->type == REDIS_REPLY_STATUS);
}
/* A number, also one that came as text; 0 for what is none. */
int64_t redis_number(const redisReply *r);
#endif
