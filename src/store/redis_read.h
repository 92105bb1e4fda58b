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
/* A list that a function gives a part at a time, so that Redis is never blocked for long: it answers how many
 * records it examined, below which to go on ("": there is nothing more), and what it found. */
struct redis_paging {
    redis_make *make; /* gets this struct, the first member of its own */
    /* Put found into the page, which has room for limit. */
    int (*add)(struct redis_store *s, struct redis_paging *paging, const redisReply *found,
               struct err *err);
    unsigned limit;        /* of the page */
    size_t n;              /* there are in the page; add() counts */
    uint64_t below;        /* where the next part begins */
    int base;              /* of its digits */
    unsigned ask, examine; /* what the next part is limited to */
};
/* 1: there is more, below paging->below; 0: there is not; -1. */
int redis_fill_page(struct redis_store *s, struct redis_paging *paging, struct err *err);
/* A make(): the hash of the asset with the number at what. */
void redis_make_asset(struct redis_store *s, struct redis_request *r, const void *what);
/* The value of a hash's field, or NULL. */
const redisReply *redis_field(const redisReply *hash, const char *name);
#endif
