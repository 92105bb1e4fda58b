/* sqlite: the embedded store. One process owns it; its store thread is the only writer.
 *
 * What a commit promises: WAL with synchronous=FULL, so the log is synced before apply() returns. When
 * a write or sync fails, the kernel may have dropped what it could not write and call the next sync a
 * success. So nothing is built on such a log: every connection is closed, the log's bytes are written
 * and synced once more (start_log_anew()), and the store starts as after a crash. Until that succeeds
 * apply() fails. */
#include "store/sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "store/durable.h"
#include "store/engine.h"

enum {
    /* Some 16 MB: from here on the writer itself starts the log anew, so that it writes over what it
     * has instead of making the file longer. */
    WAL_TURN_PAGES = 4000,
    WAL_AGAIN_PAGES = 500, /* when somebody was in the way: after so many more */
    WAL_MAX_PAGES = 60000, /* some 240 MB: from here on it waits until nobody is */
    RESTART_BUSY_MS = 100, /* readers get so long to make way */
    COPY_LEN = 1 << 20
};

DEFINE_FREEP(struct store *, store_close)

static int out_of_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "out of memory");
}

/* ---- counters ---- */

static void encode_errors(const struct store_stats *counts, uint8_t out[8 * FINDING_CODES])
{
    for (int i = 0; i < FINDING_CODES; i++)
        for (int j = 0; j < 8; j++)
            out[8 * i + j] = (uint8_t)(counts->errors_by_code[i] >> (8 * j));
}

static int save_counters(struct sqlite_store *s, struct err *err)
{
    const struct store_stats *c = &s->counts;
    uint8_t errors[8 * FINDING_CODES];
    encode_errors(c, errors);
    struct query q = query_start(s->stmts[W_COUNTERS]);
    query_int(&q, (int64_t)s->next_number);
    query_int(&q, (int64_t)low_mark_value(&s->low_mark));
    for (int i = 0; i < ASSET_STATES; i++)
        query_int(&q, (int64_t)c->by_state[i]);
    query_int(&q, (int64_t)c->accepted);
    query_int(&q, (int64_t)c->pruned);
    query_int(&q, (int64_t)c->runs_success);
    query_int(&q, (int64_t)c->runs_failed);
    for (int i = 0; i <= EVENT_OFF; i++)
        query_int(&q, (int64_t)c->events_by_state[i]);
    query_blob(&q, errors, sizeof(errors));
    query_int(&q, (int64_t)s->feed_seq);
    return query_run(&q, err);
}

static int load_counters(struct sqlite_store *s, uint64_t *ret_oldest_open, struct err *err)
{
    struct store_stats *c = &s->counts;
    struct query q = query_start(s->stmts[W_LOAD_COUNTERS]);
    int rc = query_row(&q, err), col = 0;
    if (rc == 0)
        rc = err_set(err, ERR_IO, "the counters are missing");
    if (rc > 0) {
        *c = (struct store_stats){ 0 };
        s->next_number = (uint64_t)query_col(&q, col++);
        *ret_oldest_open = (uint64_t)query_col(&q, col++);
        for (int i = 0; i < ASSET_STATES; i++)
            c->by_state[i] = (uint64_t)query_col(&q, col++);
        c->accepted = (uint64_t)query_col(&q, col++);
        c->pruned = (uint64_t)query_col(&q, col++);
        c->runs_success = (uint64_t)query_col(&q, col++);
        c->runs_failed = (uint64_t)query_col(&q, col++);
        for (int i = 0; i <= EVENT_OFF; i++)
            c->events_by_state[i] = (uint64_t)query_col(&q, col++);
        const uint8_t *errors = sqlite3_column_blob(q.stmt, col);
        int len = sqlite3_column_bytes(q.stmt, col++);
        for (int i = 0; errors && i < len && i < 8 * FINDING_CODES; i++)
            c->errors_by_code[i / 8] |= (uint64_t)errors[i] << (i % 8 * 8);
        s->feed_seq = (uint64_t)query_col(&q, col);
    }
    query_end(&q);
    return rc < 0 ? -1 : 0;
}

static void publish(struct sqlite_store *s)
{
    (void)pthread_mutex_lock(&s->lock);
    s->published = s->counts;
    s->published.oldest_queued_ms = waiting_oldest_ms(&s->waiting);
    (void)pthread_mutex_unlock(&s->lock);
}

/* ---- start ---- */

static int load_key(struct sqlite_store *s, struct err *err)
{
    struct query q = query_start(s->stmts[W_LOAD_KEY]);
    int rc = query_row(&q, err);
    if (rc >= 0) {
        const uint8_t *key = rc > 0 ? sqlite3_column_blob(q.stmt, 0) : NULL;
        if (key && sqlite3_column_bytes(q.stmt, 0) == PERMUTE_KEY_LEN) {
            permute_init(&s->ids, key);
            rc = 0;
        } else {
            rc = err_set(err, ERR_IO, "the key of the ids is missing");
        }
    }
    query_end(&q);
    return rc;
}

/* Numbers of started assets whose lease ends with this start. */
struct voided {
    uint64_t *numbers;
    size_t n, cap;
};

static int add_voided(struct voided *v, uint64_t number)
{
    if (v->n == v->cap) {
        size_t cap = v->cap ? 2 * v->cap : 256;
        uint64_t *grown = reallocarray(v->numbers, cap, sizeof(*grown));
        if (!grown)
            return -1;
        v->numbers = grown;
        v->cap = cap;
    }
    v->numbers[v->n++] = number;
    return 0;
}

/* One asset that has not ended: put it where it waits. */
static int load_open_asset(struct sqlite_store *s, struct query *q, struct voided *voided)
{
    uint64_t number = (uint64_t)query_col(q, 0);
    uint64_t ref = run_ref(number, (unsigned)query_col(q, 2));
    bool retried = sqlite3_column_type(q->stmt, 5) != SQLITE_NULL;
    if (query_col(q, 1) == ASSET_QUEUED + STATE_BASE)
        return waiting_add(&s->waiting, ref, query_col(q, retried ? 5 : 3));
    if (sqlite3_column_type(q->stmt, 4) == SQLITE_NULL && add_voided(voided, number) < 0)
        return -1;
    return waiting_give_back(&s->waiting, ref, query_col(q, 4)); /* 0 for NULL: at once */
}

static int load_open_assets(struct sqlite_store *s, uint64_t oldest_open, struct voided *voided,
                            struct err *err)
{
    uint64_t number = oldest_open; /* the first that may be open and was not looked at */
    struct query q = query_start(s->stmts[W_OPEN_ASSETS]);
    query_int(&q, (int64_t)oldest_open);
    int rc;
    while ((rc = query_row(&q, err)) > 0) {
        if (load_open_asset(s, &q, voided) < 0) {
            rc = out_of_memory(err);
            break;
        }
        bool first_run = query_col(&q, 2) == 1;
        for (; first_run && number < (uint64_t)query_col(&q, 0); number++)
            low_mark_end(&s->low_mark, number);
        number += first_run;
    }
    query_end(&q);
    for (; rc == 0 && number < s->next_number; number++)
        low_mark_end(&s->low_mark, number);
    waiting_sort(&s->waiting);
    return rc;
}

static int void_leases(struct sqlite_store *s, const struct voided *voided, struct err *err)
{
    if (!voided->n)
        return 0;
    struct query q = query_start(s->stmts[W_BEGIN]);
    if (query_run(&q, err) < 0)
        return -1;
    for (size_t i = 0; i < voided->n; i++) {
        q = query_start(s->stmts[W_VOID_LEASE]);
        query_int(&q, (int64_t)voided->numbers[i]);
        if (query_run(&q, err) < 0)
            return -1;
    }
    q = query_start(s->stmts[W_COMMIT]);
    return query_run(&q, err);
}

static int load(struct sqlite_store *s, struct err *err)
{
    uint64_t oldest_open = 0;
    struct voided voided = { 0 };
    waiting_release(&s->waiting);
    leased_release(&s->leased);
    if (load_key(s, err) < 0 || load_counters(s, &oldest_open, err) < 0)
        return -1;
    low_mark_init(&s->low_mark, oldest_open);
    int rc = load_open_assets(s, oldest_open, &voided, err);
    if (rc == 0)
        rc = void_leases(s, &voided, err);
    free(voided.numbers);
    if (rc == 0) {
        waiting_commit(&s->waiting);
        s->counts.rescued += voided.n;
        publish(s);
    }
    return rc;
}

static void disconnect(struct sqlite_store *s)
{
    checkpointer_stop(TAKE(s->checkpointer));
    sqlite_close_readers(s);
    sqlite_finalize(s->stmts, W_STATEMENTS);
    sqlite_disconnect(TAKE(s->db));
}

static int remember_wal_pages(void *arg, sqlite3 *db, const char *name, int pages)
{
    struct sqlite_store *s = arg;
    (void)db, (void)name;
    s->wal_pages = pages;
    return SQLITE_OK;
}

static int connect_and_load(struct sqlite_store *s, struct err *err)
{
    if (sqlite_connect(s->path, true, &s->db, err) < 0 || sqlite_migrate(s->db, err) < 0 ||
        sqlite_prepare(s->db, sqlite_writer_sql, s->stmts, W_STATEMENTS, err) < 0 ||
        load(s, err) < 0 || checkpointer_start(s->path, &s->checkpointer, err) < 0) {
        disconnect(s);
        return -1;
    }
    s->wal_pages = 0;
    s->wal_limit = WAL_TURN_PAGES;
    (void)sqlite3_wal_hook(s->db, remember_wal_pages, s);
    return 0;
}

/* Write the log's own bytes over themselves: only then does a sync that succeeds say anything about
 * what an earlier one that failed may have lost. */
static int start_log_anew(const char *path, struct err *err)
{
    CLEANUP(freep) char *wal = NULL;
    CLEANUP(freep) char *data = malloc(COPY_LEN);
    if (!data || asprintf(&wal, "%s-wal", path) < 0) {
        wal = NULL;
        return out_of_memory(err);
    }
    CLEANUP(closep) int fd = open(wal, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : err_errno(err, errno, "open '%s'", wal);
    ssize_t n;
    for (off_t at = 0; (n = pread(fd, data, COPY_LEN, at)) > 0; at += n)
        if (pwrite(fd, data, (size_t)n, at) != n)
            return err_errno(err, errno ? errno : EIO, "write '%s'", wal);
    if (n < 0 || fsync(fd) < 0)
        return err_errno(err, errno, "sync '%s'", wal);
    return 0;
}

static int start_again(struct sqlite_store *s, struct err *err)
{
    disconnect(s);
    if (start_log_anew(s->path, err) < 0 || connect_and_load(s, err) < 0)
        return err_add(err, "start the store again");
    s->broken = false;
    log_info("store_recovered", LOG_S("path", s->path));
    return 0;
}

/* ---- apply ---- */

static void forget_results(struct step *steps[], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct step *step = steps[i];
        if (step->kind == STEP_CLAIM)
            claims_free(TAKE(step->u.claim.ret_claims));
        if (step->kind == STEP_LEASE)
            events_free(TAKE(step->u.lease.ret_events));
        step->result = STEP_FAILED;
    }
}

static int transact(struct sqlite_store *s, struct step *steps[], size_t n, struct err *err)
{
    struct query q = query_start(s->stmts[W_BEGIN]);
    if (query_run(&q, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (sqlite_step_apply(s, steps[i], err) < 0)
            return -1;
    if (sqlite_feed_save(s, err) < 0 || (s->changed && save_counters(s, err) < 0))
        return -1;
    q = query_start(s->stmts[W_COMMIT]);
    return query_run(&q, err);
}

static void roll_back(struct sqlite_store *s, struct err *err)
{
    waiting_rollback(&s->waiting);
    leased_rollback(&s->leased);
    /* Some failures have rolled back already. */
    if (!sqlite3_get_autocommit(s->db)) {
        struct query q = query_start(s->stmts[W_ROLLBACK]);
        if (query_run(&q, NULL) < 0)
            s->broken = true;
    }
    if (err->code == ERR_IO)
        s->broken = true;
    if (s->broken)
        log_error("store_broken", LOG_S("path", s->path), LOG_S("why", err->msg));
}

/* Nobody may be in the way: the next commit then starts at the log's beginning. */
static void make_readers_leave(struct sqlite_store *s)
{
    checkpointer_pause(s->checkpointer);
    (void)sqlite3_busy_timeout(s->db, RESTART_BUSY_MS);
    (void)sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_RESTART, NULL, NULL);
    (void)sqlite3_busy_timeout(s->db, BUSY_TIMEOUT_MS);
    checkpointer_resume(s->checkpointer);
}

/* While there is always more to commit, the checkpointer alone never gets to the log's end. What it has
 * left over is little, so the writer does that, and the next commit starts the log anew. The log grows
 * while the checkpointer is at work, cannot keep up, or a reader holds an old snapshot. */
static void bound_log(struct sqlite_store *s)
{
    checkpointer_tell(s->checkpointer, s->wal_pages);
    if (s->wal_pages < WAL_TURN_PAGES)
        s->wal_limit = WAL_TURN_PAGES;
    if (s->wal_pages < s->wal_limit)
        return;
    if (s->wal_pages >= WAL_MAX_PAGES)
        make_readers_leave(s);
    else
        (void)sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    s->wal_limit = s->wal_pages + WAL_AGAIN_PAGES;
}

static int sqlite_apply(struct store *base, struct step *steps[], size_t n, int64_t now_ms,
                        struct err *err)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    if (s->broken && start_again(s, err) < 0) {
        forget_results(steps, n);
        return -1;
    }
    struct store_stats old_counts = s->counts;
    uint64_t old_next_number = s->next_number, old_feed_seq = s->feed_seq;
    s->now_ms = now_ms;
    s->changed = s->failed;
    s->failed = true; /* until it is durable */
    s->ended_n = s->feed_n = 0;
    waiting_begin(&s->waiting);
    leased_begin(&s->leased);
    if (transact(s, steps, n, err) < 0) {
        roll_back(s, err);
        s->counts = old_counts;
        s->next_number = old_next_number;
        s->feed_seq = old_feed_seq;
        forget_results(steps, n);
        return -1;
    }
    s->failed = false;
    waiting_commit(&s->waiting);
    for (size_t i = 0; i < s->ended_n; i++)
        low_mark_end(&s->low_mark, s->ended[i]);
    if (s->changed) {
        publish(s);
        bound_log(s);
    }
    return 0;
}

/* ---- open and close ---- */

static void sqlite_close(struct store *base)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    if (s->db && !s->broken) {
        checkpointer_stop(TAKE(s->checkpointer));
        sqlite_close_readers(s);
        (void)sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    }
    disconnect(s);
    if (s->lock_fd >= 0)
        (void)close(s->lock_fd);
    waiting_release(&s->waiting);
    leased_release(&s->leased);
    low_mark_release(&s->low_mark);
    free(s->ended);
    free(s->feed);
    free(s->path);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

static const struct store_ops sqlite_ops = {
    .scheme = "sqlite",
    .apply = sqlite_apply,
    .find = sqlite_find,
    .list = sqlite_list,
    .stats = sqlite_stats,
    .event = sqlite_event,
    .events = sqlite_events,
    .deliveries = sqlite_deliveries,
    .feed = sqlite_feed,
    .history = sqlite_history,
    .backup = sqlite_backup,
    .verify = sqlite_verify,
    .close = sqlite_close,
};

/* Make the folder that path is in, and let it last. Only that one: a mistyped path shall not become a new,
 * empty store somewhere else. */
static int make_folder(char *path, struct err *err)
{
    char *slash = strrchr(path, '/');
    int rc = 0;
    if (!slash || slash == path)
        return 0;
    *slash = '\0';
    if (mkdir(path, 0777) == 0)
        rc = durable_sync_parent(path, err);
    else if (errno == ENOENT)
        rc = err_set(err, ERR_ABSENT, "only its last folder is made, and another is missing");
    else if (errno != EEXIST)
        rc = err_errno(err, errno, "make folder '%s'", path);
    *slash = '/';
    return rc;
}

/* Make the file itself if there is none, readable for us only; SQLite gives its log the same mode. */
static int make_file(const char *path, struct err *err)
{
    CLEANUP(freep) char *part = NULL;
    struct stat st;
    if (lstat(path, &st) == 0) { /* or a link to where it shall be */
        CLEANUP(closep) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
            return err_errno(err, errno, "open '%s'", path);
        return durable_sync_parent(path, err); /* whoever made it may not have come so far */
    }
    if (asprintf(&part, "%s.new", path) < 0) {
        part = NULL;
        return out_of_memory(err);
    }
    if (sqlite_write_new(part, err) == 0 && durable_rename(part, path, err) == 0)
        return 0;
    (void)unlink(part);
    return -1;
}

static int take_lock(struct sqlite_store *s, struct err *err)
{
    CLEANUP(freep) char *path = NULL;
    if (asprintf(&path, "%s.lock", s->path) < 0) {
        path = NULL;
        return out_of_memory(err);
    }
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_fd < 0)
        return err_errno(err, errno, "open '%s'", path);
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (errno == EWOULDBLOCK)
        return err_set(err, ERR_BUSY, "another process has the store '%s'", s->path);
    return err_errno(err, errno, "lock '%s'", path);
}

/* SQLite's own statistics cost one lock that all threads share at every allocation. */
static void configure_once(void)
{
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); /* too late, if somebody used it before */
}

int sqlite_store_open(const char *where, const struct store_config *config,
                      struct store **ret_store, struct err *err)
{
    if (where[0] == '\0' || where[strlen(where) - 1] == '/')
        return err_set(err, ERR_INVALID, "a SQLite store needs the name of a file");
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, configure_once);
    struct sqlite_store *s = calloc(1, sizeof(*s));
    if (!s)
        return out_of_memory(err);
    s->base.ops = &sqlite_ops;
    s->lock_fd = -1;
    s->max_queued = config->max_queued;
    (void)pthread_mutex_init(&s->lock, NULL);
    CLEANUP(store_closep) struct store *store = &s->base;
    if (!(s->path = strdup(where)))
        return out_of_memory(err);
    if (make_folder(s->path, err) < 0 || take_lock(s, err) < 0 || make_file(s->path, err) < 0 ||
        connect_and_load(s, err) < 0)
        return err_add(err, "store '%s'", where);
    *ret_store = TAKE(store);
    return 0;
}
