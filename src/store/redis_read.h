#ifndef STORE_REDIS_READ_H
#define STORE_REDIS_READ_H
/* redis_read: what the readers of the Redis engine share. Private to redis_*.c. */
#include "store/redis.h"

/* A connection for one reader; NULL: *err. Who has it calls redis_reader_end(). */
struct redis_reader *redis_reader_begin(struct redis_store *s, struct err *err);
int redis_reader_ask(struct redis_store *s, struct redis_reader *r, redisReply **ret,
                     struct err *err);
void redis_reader_end(struct redis_store *s, struct redis_reader *r);
/* The connections that lie idle are no good any more. */
void redis_drop_idle(struct redis_store *s);

/* All of it: ask what make() makes of what. */
typedef void redis_make(struct redis_store *s, struct redis_request *r, const void *what);
int redis_read(struct redis_store *s, redis_make *make, const void *what, redisReply **ret,
               struct err *err);
/* A make(): the hash of the asset with the number at what. */
void redis_make_hgetall(struct redis_store *s, struct redis_request *r, const void *what);
/* The value of a hash's field, or NULL. */
const redisReply *redis_field(const redisReply *hash, const char *name);
#endif
