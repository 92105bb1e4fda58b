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
    uint64_t feed_seq; /* of the last entry of the feed */
    uint64_t *feed;    /* this batch's entries, as the table keeps them */
    size_t feed_n, feed_cap;

    pthread_mutex_t lock;
    struct store_stats published; /* under lock: counts after the last commit */
    struct reader *idle;          /* under lock */
    unsigned idle_n;              /* under lock */
    uint64_t generation;          /* under lock: grows when readers must open anew */
};

/* sqlite_steps.c: do one step inside the transaction. -1: the batch has failed. */
int sqlite_step_apply(struct sqlite_store *s, struct step *step, struct err *err);

/* sqlite_idempotency.c. find: 0 the key of this put is new, 1 the step has its answer, -1 failed. */
int sqlite_key_find(struct sqlite_store *s, struct step *step, struct err *err);
int sqlite_key_add(struct sqlite_store *s, const struct step_put *put, uint64_t number,
                   struct err *err);

/* sqlite_outbox.c */
enum { DURATION_RESENT = -1 }; /* in events.duration_ms */
struct event_row {
    enum event_state state;
    enum notify notify;
    unsigned attempts;
    bool resent; /* and not attempted since */
};
/* 1 found, 0 not, -1 failed. */
int sqlite_event_load(struct sqlite_store *s, uint64_t key, struct event_row *ret_row,
                      struct err *err);
int sqlite_lease(struct sqlite_store *s, struct step *step, struct err *err);
int sqlite_delivered(struct sqlite_store *s, struct step *step, struct err *err);
int sqlite_resend(struct sqlite_store *s, struct step *step, struct err *err);

/* sqlite_prune.c */
int sqlite_prune(struct sqlite_store *s, struct step *step, struct err *err);

/* sqlite_history.c */
int sqlite_sample(struct sqlite_store *s, struct step *step, struct err *err);
int sqlite_history(struct store *base, enum ring ring, struct sample *ret_samples, size_t max,
                   size_t *ret_n, struct err *err);

/* sqlite_feed.c. add: remember the change until the batch is over; -1: no memory. */
int sqlite_feed_add(struct sqlite_store *s, uint64_t number, unsigned run, enum asset_state state);
/* Write the batch's entries, as part of its transaction. */
int sqlite_feed_save(struct sqlite_store *s, struct err *err);
int sqlite_feed(struct store *base, uint64_t after_seq, unsigned limit, struct feed_page *ret_page,
                struct err *err);

/* sqlite_events.c */
/* The key of the event of that name; false: there can be none. A success and a failure have the same
 * key: what is found must be of *ret_notify. Any thread. */
bool sqlite_event_key_of(const struct sqlite_store *s, const char *webhook_id, uint64_t *ret_key,
                         enum notify *ret_notify);
int sqlite_event(struct store *base, const char *webhook_id, struct event_view *ret_event,
                 struct err *err);
int sqlite_events(struct store *base, const struct event_query *query, struct event_page *ret_page,
                  struct err *err);
int sqlite_deliveries(struct store *base, const char *asset_id, struct event_page *ret_page,
                      struct err *err);

/* sqlite_list.c */
int sqlite_list(struct store *base, const struct asset_query *query, struct asset_page *ret_page,
                struct err *err);

/* sqlite_care.c */
int sqlite_backup(struct store *base, const char *path, struct err *err);
int sqlite_verify(struct store *base, struct buf *report, struct err *err);

/* sqlite_read.c */
/* Borrow a reader and begin its transaction: one snapshot. NULL: failed. */
struct reader *sqlite_reader_begin(struct sqlite_store *s, struct err *err);
/* rc is what its reading came to; returned, or -1 when ending it fails. */
int sqlite_reader_end(struct sqlite_store *s, struct reader *r, int rc, struct err *err);
/* Fill in *asset, all but its deliveries; with_urls: these two fields of them. 1, 0 none, -1. */
int sqlite_read_asset(struct sqlite_store *s, struct reader *r, uint64_t number, bool with_urls,
                      struct asset *asset, struct err *err);
int sqlite_find(struct store *base, const char *id, struct asset *ret_asset, struct err *err);
int sqlite_stats(struct store *base, struct store_stats *ret_stats, struct err *err);
/* Close the idle readers; those at work close when they are done. */
void sqlite_close_readers(struct sqlite_store *s);
#endif
