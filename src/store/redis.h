#ifndef STORE_REDIS_H
#define STORE_REDIS_H
/* redis: the engine for many processes, private to redis*.c. What is kept where: redis.lua.
 *
 * What apply() promises. A batch is one call of a function: it happens whole or not at all, and with
 * appendfsync always it is on Redis's disk before the answer comes. Weaker than SQLite in one point: when
 * the connection is lost before the answer, nobody knows whether it happened. apply() fails then, and
 *  - a put may have been accepted although its client was answered 503;
 *  - an ending that is sent again and was stored the first time counts as done (uncertain);
 *  - what was claimed or leased unheard comes back when its lease is over, for nobody renews it.
 *
 * Numbers: the shard's number << SHARD_BITS | a count from 1. There is one shard yet, 0; its ids are as
 * short as SQLite's. Keys of other shards would have another hash tag.
 *
 * Threads: the store thread has the writer; a thread of the engine renews the leases on a connection of
 * its own, and never does anything else; readers have one each while they read; wait() has one. */
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/permute.h"
#include "store/leased.h"
#include "store/redis_conn.h"
#include "store/redis_url.h"
#include "store/store.h"

enum { REDIS_VERSION = 2 /* of the data */, SHARD_BITS = 40, SHARD = 0 };
#define REDIS_NUMBERS ((uint64_t)1 << SHARD_BITS) /* of one shard */
#define REDIS_MAX_RUN 0x7fffu
#define REDIS_PREFIX "{assay:0}"

extern const char redis_lua[]; /* redis.lua */

/* As leased.h has it: key → anything. */
static inline uint64_t redis_claim_ref(uint64_t number, unsigned run)
{
    return number << 16 | run;
}
static inline uint64_t redis_event_ref(uint64_t number, unsigned run, bool terminal)
{
    return number << 16 | (uint64_t)run << 1 | terminal;
}

struct redis_reader {
    struct redis_reader *next;
    redisContext *c;
    struct redis_request request;
};

struct redis_store {
    struct store base;
    struct redis_url url;
    uint64_t max_queued;
    int64_t lease_ms;
    char library[32]; /* its name, and how its functions' names begin */
    char process[24]; /* the number that the store gave us; constant after open */
    struct permute ids;
    char key_text[2 * PERMUTE_KEY_LEN + 1]; /* of ids; constant after open */

    /* the store thread's */
    redisContext *writer;
    struct redis_request request;
    int64_t skew_ms;              /* the server's clock minus ours; 0 while that is little */
    int64_t skew_mono, skew_wall; /* our clocks when they were compared */
    int64_t connected_mono, retry_mono, looked_mono;
    bool failed;             /* the last batch did: the next one asks, whatever it holds */
    redisContext *watch;     /* subscribed to what wait() wants; NULL: to nothing, yet */
    unsigned watched;        /* STORE_NEWS_… of watch */
    int64_t watch_mono;      /* no watch is connected before */
    struct leased uncertain; /* runs whose ending was sent and not answered */

    pthread_mutex_t lock;
    struct leased claims, events; /* under lock: what this process holds */
    struct redis_reader *idle;    /* under lock */
    unsigned idle_n;              /* under lock */
    int64_t readers_fail_until;   /* under lock, monotonic: no reader tries to connect before */
    struct err readers_err;       /* under lock: what they say till then */
    struct store_warnings
        warnings;       /* under lock: as it was looked at last; zeros behind the texts */
    struct err trouble; /* under lock: why leases could not be renewed; ERR_NONE: they were */

    pthread_t renewer;
    bool renewing; /* there is that thread */
    int stop_fd;   /* eventfd: readable when it shall end */
};

/* redis.c: begin a call of one of the library's functions: its name, one key. */
void redis_begin_call(const struct redis_store *s, struct redis_request *r, const char *verb,
                      const char *function);
/* Connect and see that it is the store that we know. */
int redis_connect_store(struct redis_store *s, redisContext **ret, struct err *err);
/* redis_ask(), and once more after loading the library, if the server has lost it. */
int redis_call(struct redis_store *s, redisContext *c, const struct redis_request *r,
               redisReply **ret, struct err *err);

/* redis_steps.c: add step to the request. false: *step is answered already, without asking. */
bool redis_step_encode(struct redis_store *s, struct step *step, int64_t now_ms);
/* A start that was told, while its run has not ended: only its ending makes that matter. A call of its own
 * would keep the ending waiting. */
bool redis_step_may_wait(struct store *base, const struct step *step);
/* Answer step from reply; -1: the reply makes no sense, or memory ran out. */
int redis_step_decode(struct redis_store *s, struct step *step, const redisReply *reply,
                      struct err *err);

/* redis_record.c: what the store keeps, as text and bytes. */
struct redis_asset {
    enum asset_state state;
    unsigned run, attempts, deaths;
    enum url_state url_states[NOTIFY_COUNT];
    int64_t accepted_ms, started_ms, ended_ms, since_ms;
    uint32_t codes;
};
struct redis_event {
    enum event_state state;
    enum notify notify;
    unsigned attempts;
    int64_t due_ms, created_ms, last_ms;
    int http_status, duration_ms;
    const char *error; /* within the text; "": none */
};
int redis_asset_read(const char *text, struct redis_asset *ret, struct err *err);
int redis_event_read(const char *text, struct redis_event *ret, struct err *err);
void redis_urls_write(const enum url_state states[NOTIFY_COUNT], char out[NOTIFY_COUNT + 1]);
/* path and URLs, with a checksum: a torn log may hold zeros where bytes should be. */
void redis_put_write(const char *path, const char *const urls[NOTIFY_COUNT], struct buf *out);
/* The part of it that says the path, which it begins with. */
void redis_path_write(const char *path, struct buf *out);
/* Copies; ret_path may be NULL. */
int redis_put_read(const char *data, size_t len, char **ret_path, char *ret_urls[NOTIFY_COUNT],
                   struct err *err);

/* redis_read.c */
int redis_find(struct store *base, const char *id, struct asset *ret_asset, struct err *err);
int redis_list(struct store *base, const struct asset_query *query, struct asset_page *ret_page,
               struct err *err);
int redis_stats(struct store *base, struct store_stats *ret_stats, struct err *err);
void redis_close_readers(struct redis_store *s);

/* redis_events.c */
int redis_event(struct store *base, const char *webhook_id, struct event_view *ret_event,
                struct err *err);
int redis_events(struct store *base, const struct event_query *query, struct event_page *ret_page,
                 struct err *err);
int redis_deliveries(struct store *base, const char *asset_id, struct event_page *ret_page,
                     struct err *err);
int redis_feed(struct store *base, uint64_t after_seq, unsigned limit, struct feed_page *ret_page,
               struct err *err);
int redis_history(struct store *base, enum ring ring, struct sample *ret_samples, size_t max,
                  size_t *ret_n, struct err *err);

/* redis_health.c: look at the server's settings, and log what has changed there. */
void redis_look(struct redis_store *s, redisContext *c);
/* What redis_health() is to say of writing; ERR_NONE: it is possible. */
void redis_note(struct redis_store *s, const struct err *why);
int redis_health(struct store *base, struct store_warnings *ret_warnings, struct err *err);

/* redis_verify.c */
int redis_verify(struct store *base, struct buf *report, struct err *err);
/* Refuses, and says how it is done. */
int redis_backup(struct store *base, const char *path, struct err *err);

/* redis_lease.c */
int redis_renewer_start(struct redis_store *s, struct err *err);
void redis_renewer_stop(struct redis_store *s);
/* Let go of all that this process holds. */
void redis_let_go(struct redis_store *s);
int redis_beat(struct store *base, const struct store_process *process, int *ret_wanted,
               struct err *err);
int redis_ask_active(struct store *base, uint64_t number, unsigned active, struct err *err);
int redis_processes(struct store *base, struct store_process *ret_processes, size_t max,
                    size_t *ret_n, struct err *err);
unsigned redis_wait(struct store *base, unsigned wanted, int wake_fd, int timeout_ms);
#endif
