/* sqlite_read: readers of a SQLite store. Each has a read-only connection to itself while it reads; a
 * few are kept for the next ones. A reader sees one snapshot and neither blocks the writer nor waits
 * for it. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/sqlite.h"

enum { IDLE_READERS = 8 };

/* Columns of every query that yields assets (sqlite_schema.c). */
enum {
    COL_NUMBER,
    COL_STATE,
    COL_RUN,
    COL_ATTEMPTS,
    COL_PATH,
    COL_ACCEPTED,
    COL_STARTED,
    COL_ENDED,
    COL_URL_STATES,
    COL_ERRORS,
    COL_REPORT,
    COL_URLS
};

static void reader_free(struct reader *r)
{
    sqlite_finalize(r->stmts, R_STATEMENTS);
    sqlite_disconnect(r->db);
    free(r);
}
DEFINE_FREEP(struct reader *, reader_free)

static struct reader *borrow(struct sqlite_store *s, struct err *err)
{
    (void)pthread_mutex_lock(&s->lock);
    uint64_t generation = s->generation;
    struct reader *idle = s->idle;
    if (idle) {
        s->idle = idle->next;
        s->idle_n--;
    }
    (void)pthread_mutex_unlock(&s->lock);
    if (idle)
        return idle;
    CLEANUP(reader_freep) struct reader *r = calloc(1, sizeof(*r));
    if (!r) {
        (void)err_set(err, ERR_NOMEM, "out of memory");
        return NULL;
    }
    r->generation = generation;
    if (sqlite_connect(s->path, false, &r->db, err) < 0 ||
        sqlite_prepare(r->db, sqlite_reader_sql, r->stmts, R_STATEMENTS, err) < 0)
        return NULL;
    return TAKE(r);
}

/* A reader that failed is not used again. */
static void give_back(struct sqlite_store *s, struct reader *r, bool failed)
{
    (void)pthread_mutex_lock(&s->lock);
    bool keep = !failed && r->generation == s->generation && s->idle_n < IDLE_READERS;
    if (keep) {
        r->next = s->idle;
        s->idle = r;
        s->idle_n++;
    }
    (void)pthread_mutex_unlock(&s->lock);
    if (!keep)
        reader_free(r);
}

void sqlite_close_readers(struct sqlite_store *s)
{
    (void)pthread_mutex_lock(&s->lock);
    struct reader *r = s->idle;
    s->idle = NULL;
    s->idle_n = 0;
    s->generation++;
    (void)pthread_mutex_unlock(&s->lock);
    while (r) {
        struct reader *next = r->next;
        reader_free(r);
        r = next;
    }
}

static int read_asset(const struct permute *ids, struct query *q, struct asset *asset,
                      struct err *err)
{
    asset->number = (uint64_t)query_col(q, COL_NUMBER);
    permute_name(ids, asset->number, asset->id);
    asset->state = (enum asset_state)(query_col(q, COL_STATE) - STATE_BASE);
    asset->run = (unsigned)query_col(q, COL_RUN);
    asset->attempts = (unsigned)query_col(q, COL_ATTEMPTS);
    asset->accepted_ms = query_col(q, COL_ACCEPTED);
    if (asset->state >= ASSET_STARTED)
        asset->started_ms = query_col(q, COL_STARTED);
    if (asset->state >= ASSET_SUCCESS)
        asset->ended_ms = query_col(q, COL_ENDED);
    if (query_col_dup(q, COL_PATH, &asset->path, err) < 0 ||
        query_col_dup(q, COL_ERRORS, &asset->errors, err) < 0 ||
        query_col_dup(q, COL_REPORT, &asset->report, err) < 0)
        return -1;
    return 0;
}

static int read_urls(struct query *q, struct asset *asset, struct err *err)
{
    unsigned states = (unsigned)query_col(q, COL_URL_STATES);
    for (int i = 0; i < NOTIFY_COUNT; i++) {
        asset->deliveries[i].url_state = url_state_of(states, i);
        if (query_col_dup(q, COL_URLS + i, &asset->deliveries[i].url, err) < 0)
            return -1;
    }
    return 0;
}

/* Fill in what became of the events of the asset's latest run. */
static int read_events(struct reader *r, struct asset *asset, struct err *err)
{
    struct query q = query_start(r->stmts[R_EVENTS]);
    query_int(&q, (int64_t)event_key(asset->number, asset->run, false));
    query_int(&q, (int64_t)event_key(asset->number, asset->run, true));
    int rc;
    while ((rc = query_row(&q, err)) > 0) {
        struct delivery *d = &asset->deliveries[query_col(&q, 0)];
        d->has_event = true;
        d->state = (enum event_state)(query_col(&q, 1) - STATE_BASE);
        d->attempts = (unsigned)query_col(&q, 2);
        if (d->state == EVENT_PENDING)
            d->next_ms = query_col(&q, 5);
        if (d->attempts == 0)
            continue;
        d->http_status = (int)query_col(&q, 3);
        d->last_ms = query_col(&q, 6);
        if (query_col_dup(&q, 4, &d->error, err) < 0) {
            rc = -1;
            break;
        }
    }
    query_end(&q);
    return rc;
}

static int run_stmt(sqlite3_stmt *stmt, struct err *err)
{
    struct query q = query_start(stmt);
    return query_run(&q, err);
}

struct reader *sqlite_reader_begin(struct sqlite_store *s, struct err *err)
{
    struct reader *r = borrow(s, err);
    if (r && run_stmt(r->stmts[R_BEGIN], err) < 0) {
        give_back(s, r, true);
        return NULL;
    }
    return r;
}

int sqlite_reader_end(struct sqlite_store *s, struct reader *r, int rc, struct err *err)
{
    if (rc >= 0 && run_stmt(r->stmts[R_COMMIT], err) < 0)
        rc = -1;
    give_back(s, r, rc < 0);
    return rc;
}

int sqlite_read_asset(struct sqlite_store *s, struct reader *r, uint64_t number, bool with_urls,
                      struct asset *asset, struct err *err)
{
    struct query q = query_start(r->stmts[R_ASSET]);
    query_int(&q, (int64_t)number);
    int rc = query_row(&q, err);
    if (rc > 0 &&
        (read_asset(&s->ids, &q, asset, err) < 0 || (with_urls && read_urls(&q, asset, err) < 0)))
        rc = -1;
    query_end(&q);
    return rc;
}

int sqlite_find(struct store *base, const char *id, struct asset *ret_asset, struct err *err)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    uint64_t number;
    if (!permute_number(&s->ids, id, &number) || number > MAX_NUMBER)
        return 0;
    struct reader *r = sqlite_reader_begin(s, err);
    if (!r)
        return -1;
    struct asset asset = { 0 };
    int rc = sqlite_read_asset(s, r, number, true, &asset, err);
    if (rc > 0 && read_events(r, &asset, err) < 0)
        rc = -1;
    rc = sqlite_reader_end(s, r, rc, err);
    if (rc > 0)
        *ret_asset = asset;
    else
        asset_release(&asset);
    return rc;
}

int sqlite_stats(struct store *base, struct store_stats *ret_stats, struct err *err)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    (void)err; /* it is all in memory */
    (void)pthread_mutex_lock(&s->lock);
    *ret_stats = s->published;
    (void)pthread_mutex_unlock(&s->lock);
    return 0;
}
