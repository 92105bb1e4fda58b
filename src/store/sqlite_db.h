#ifndef STORE_SQLITE_DB_H
#define STORE_SQLITE_DB_H
/* sqlite_db: what the SQLite engine asks of its database: the tables, connections with their prepared
 * statements, and queries without repetition. Private to the engine's files (sqlite*.c).
 *
 * The tables (sqlite_schema.c) are made so that the path from a POST to its 202 touches the end of one
 * table and no index:
 *
 *  - assets: a row's key is the asset's number, given out by a counter. The public id is a permutation
 *    of it and stored nowhere. No index covers rows in state queued or started: that queue is in
 *    memory (waiting.h) and rebuilt at the start.
 *  - results: what a run found. The key is that of the run's terminal event.
 *  - events: the outbox. The key is number << 16 | run << 1 | terminal, so that an asset's events are
 *    a range. Only pending
 *    and dead ones are in an index.
 *  - attempts: the log of an event with more than one attempt, or with an answer.
 *  - feed: one row a transaction, with the entries of all its changes.
 *  - idempotency: keys of the last 24 hours. Touched only by puts that have one.
 *  - samples: the rings.
 *  - counters: one row, changed once a transaction. Statistics never count rows.
 *  - meta: one row: the key of the permutation.
 *
 * A row is inserted with values that are as long as those that will follow (times that have not come
 * yet, a state that is never 0 or 1, which SQLite stores in no byte): an update then overwrites the
 * row in place instead of moving its neighbours. */
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/permute.h"
#include "store/store.h"

enum { STATE_BASE = 2 }; /* states are stored as enum + 2 */
enum { BUSY_TIMEOUT_MS = 2000 };
enum { URL_STATE_BITS = 4 };
#define MAX_NUMBER (((uint64_t)1 << 47) - 1)
#define MAX_RUN 0x7fffu

static inline uint64_t run_ref(uint64_t number, unsigned run)
{
    return number << 16 | run;
}
static inline uint64_t event_key(uint64_t number, unsigned run, bool terminal)
{
    return number << 16 | (uint64_t)run << 1 | terminal;
}
static inline unsigned event_run(uint64_t key)
{
    return (unsigned)(key >> 1 & MAX_RUN);
}
static inline unsigned pack_url_states(const enum url_state states[NOTIFY_COUNT])
{
    unsigned packed = 0;
    for (int i = 0; i < NOTIFY_COUNT; i++)
        packed |= (unsigned)states[i] << (i * URL_STATE_BITS);
    return packed;
}
static inline enum url_state url_state_of(unsigned packed, int i)
{
    return (enum url_state)(packed >> (i * URL_STATE_BITS) & ((1u << URL_STATE_BITS) - 1));
}

/* The statements of the writer and those of each reader, in the order of their enum. */
enum {
    W_BEGIN,
    W_COMMIT,
    W_ROLLBACK,
    W_PUT,
    W_ASSET,
    W_CLAIM,
    W_RELEASE,
    W_FINISH,
    W_RETRY,
    W_RESULT,
    W_EVENT_ADD,
    W_EVENT,
    W_EVENT_SET,
    W_EVENT_UNTRIED,
    W_EVENT_WAKE,
    W_EVENT_RESEND,
    W_EVENTS_DEAD,
    W_LOG,
    W_LOG_SET,
    W_EVENTS_DUE,
    W_EVENT_NEXT,
    W_EVENT_SEND,
    W_PRUNE_PICK,
    W_PRUNE_COUNT,
    W_PRUNE_EVENTS,
    W_PRUNE_LOGS,
    W_PRUNE_RESULTS,
    W_PRUNE_ASSET,
    W_FEED_ADD,
    W_FEED_OLDEST,
    W_FEED_PRUNE,
    W_KEY,
    W_KEY_ADD,
    W_KEY_OLDEST,
    W_KEY_PRUNE,
    W_SAMPLE,
    W_COUNTERS,
    W_OPEN_ASSETS,
    W_VOID_LEASE,
    W_LOAD_COUNTERS,
    W_LOAD_KEY,
    W_STATEMENTS
};
enum {
    R_BEGIN,
    R_COMMIT,
    R_ASSET,
    R_EVENTS,
    R_ROW,
    R_CODES,
    R_WALK_ALL,
    R_WALK_ENDED,
    R_WALK_OPEN,
    R_EVENT,
    R_LOG,
    R_EVENT_KEYS,
    R_WALK_EVENTS,
    R_WALK_DEAD,
    R_WALK_PENDING,
    R_WALK_WAITING,
    R_FEED_ENDS,
    R_FEED,
    R_ERRORS,
    R_HISTORY,
    R_STATEMENTS
};
extern const char *const sqlite_writer_sql[W_STATEMENTS];
extern const char *const sqlite_reader_sql[R_STATEMENTS];

/* Fill *err in from a SQLite result; returns -1. ERR_IO, and no other code, means that the connection
 * cannot be trusted with another write (above all after a failed fsync). */
int sqlite_fail(sqlite3 *db, int rc, struct err *err, const char *what);
/* Open path for writing or only reading, with the settings that durability asks for. */
int sqlite_connect(const char *path, bool writable, sqlite3 **ret_db, struct err *err);
/* Close without a last checkpoint, whose fsync might hide one that failed. NULL is fine. */
void sqlite_disconnect(sqlite3 *db);
/* Make the tables if there are none, bring older ones up to date; refuse those of a later version. */
int sqlite_migrate(sqlite3 *db, struct err *err);
/* Write a new store's file to path, in the place of whatever is there. It is not synced. */
int sqlite_write_new(const char *path, struct err *err);
int sqlite_prepare(sqlite3 *db, const char *const sql[], sqlite3_stmt *ret[], int n,
                   struct err *err);
void sqlite_finalize(sqlite3_stmt *statements[], int n);

/* One use of a prepared statement. Arguments are bound in order; the first that fails is remembered
 * and told by query_run() or query_row(). Text is borrowed until query_end(). */
struct query {
    sqlite3_stmt *stmt;
    int n; /* bound so far */
    int rc;
};
static inline struct query query_start(sqlite3_stmt *stmt)
{
    return (struct query){ .stmt = stmt, .rc = SQLITE_OK };
}
static inline void query_int(struct query *q, int64_t value)
{
    if (q->rc == SQLITE_OK)
        q->rc = sqlite3_bind_int64(q->stmt, ++q->n, value);
}
static inline void query_text(struct query *q, const char *text)
{
    if (q->rc == SQLITE_OK)
        q->rc = text ? sqlite3_bind_text(q->stmt, ++q->n, text, -1, SQLITE_STATIC)
                     : sqlite3_bind_null(q->stmt, ++q->n);
}
static inline void query_blob(struct query *q, const void *data, int len)
{
    if (q->rc == SQLITE_OK)
        q->rc = sqlite3_bind_blob(q->stmt, ++q->n, data, len, SQLITE_STATIC);
}
static inline int64_t query_col(struct query *q, int column)
{
    return sqlite3_column_int64(q->stmt, column);
}
/* Next row: 1, none: 0, failed: -1 with *err set. Then query_end(). */
int query_row(struct query *q, struct err *err);
void query_end(struct query *q);
/* Run a statement without rows to its end. */
int query_run(struct query *q, struct err *err);
/* A copy of a text column, NULL for NULL. */
int query_col_dup(struct query *q, int column, char **ret_text, struct err *err);
#endif
