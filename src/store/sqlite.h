#ifndef STORE_SQLITE_H
#define STORE_SQLITE_H
/* sqlite: the engine's own state, private to sqlite*.c. The store thread owns all but what is said to
 * be under lock.
 *
 * What apply() changes in memory (counts, waiting, leased) it changes while it works, so that the
 * steps of a batch see each other, and takes back when the transaction fails. */
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/permute.h"
#include "store/checkpointer.h"
#include "store/leased.h"
#include "store/low_mark.h"
#include "store/sqlite_db.h"
#include "store/store.h"
#include "store/waiting.h"

/* A connection that one reader has at a time. */
struct reader {
    struct reader *next;
    uint64_t generation; /* of the store when it was opened */
    sqlite3 *db;
    sqlite3_stmt *stmts[R_STATEMENTS];
};

struct sqlite_store {
    struct store base;
    char *path;
    int lock_fd; /* its flock says that this process owns the store */
    uint64_t max_queued;
    struct permute ids; /* constant after open */

    sqlite3 *db; /* NULL while broken */
    sqlite3_stmt *stmts[W_STATEMENTS];
    bool broken; /* a write or sync failed: nothing more is written before a new start */
    struct checkpointer *checkpointer;
    int wal_pages, wal_limit; /* length of the log; where the writer itself starts it anew */

    int64_t now_ms; /* of the batch being applied */
    bool changed;   /* it writes something; after a failure always, to see whether that works */
    bool failed;    /* the last batch did */
    uint64_t next_number;
    struct store_stats counts; /* all but oldest_queued_ms */
    struct waiting waiting;
    struct leased leased;
    struct low_mark low_mark;
    uint64_t *ended; /* numbers whose first run ends in this batch */
    size_t ended_n, ended_cap;

    pthread_mutex_t lock;
    struct store_stats published; /* under lock: counts after the last commit */
    struct reader *idle;          /* under lock */
    unsigned idle_n;              /* under lock */
    uint64_t generation;          /* under lock: grows when readers must open anew */
};

/* sqlite_steps.c: do one step inside the transaction. -1: the batch has failed. */
int sqlite_step_apply(struct sqlite_store *s, struct step *step, struct err *err);

/* sqlite_read.c */
int sqlite_find(struct store *base, const char *id, struct asset *ret_asset, struct err *err);
int sqlite_list(struct store *base, const struct asset_query *query, struct asset_page *ret_page,
                struct err *err);
int sqlite_stats(struct store *base, struct store_stats *ret_stats, struct err *err);
/* Close the idle readers; those at work close when they are done. */
void sqlite_close_readers(struct sqlite_store *s);
#endif
