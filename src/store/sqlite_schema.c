#include "store/sqlite_db.h"

#include <stdio.h>
#include <sys/random.h>

#include "base/cleanup.h"

enum { APPLICATION_ID = 0x61737379 /* "assy" */, SCHEMA_VERSION = 2 };

static const char schema_1[] =
    "CREATE TABLE meta (id INTEGER PRIMARY KEY CHECK (id = 1), permute_key BLOB NOT NULL);"
    "CREATE TABLE counters (id INTEGER PRIMARY KEY CHECK (id = 1),"
    " next_number INTEGER NOT NULL DEFAULT 1," /* never given out yet */
    " oldest_open INTEGER NOT NULL DEFAULT 1," /* all first runs below it have ended */
    " queued INTEGER NOT NULL DEFAULT 0, started INTEGER NOT NULL DEFAULT 0,"
    " success INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0,"
    " accepted INTEGER NOT NULL DEFAULT 0, pruned INTEGER NOT NULL DEFAULT 0,"
    " runs_success INTEGER NOT NULL DEFAULT 0, runs_failed INTEGER NOT NULL DEFAULT 0,"
    " events_waiting INTEGER NOT NULL DEFAULT 0, events_pending INTEGER NOT NULL DEFAULT 0,"
    " events_delivered INTEGER NOT NULL DEFAULT 0, events_dead INTEGER NOT NULL DEFAULT 0,"
    " events_off INTEGER NOT NULL DEFAULT 0,"
    " errors BLOB);" /* 64-bit little-endian numbers, one a finding's code */
    "CREATE TABLE assets (number INTEGER PRIMARY KEY,"
    " state INTEGER NOT NULL," /* + 2: 2 queued, 3 started, 4 success, 5 failed */
    " path TEXT NOT NULL, on_start TEXT, on_success TEXT, on_failure TEXT,"
    " url_states INTEGER NOT NULL," /* 4 bits each */
    " accepted_ms INTEGER NOT NULL,"
    " started_ms INTEGER NOT NULL," /* from started on */
    " ended_ms INTEGER NOT NULL,"   /* from success or failed on */
    " run INTEGER NOT NULL, attempts INTEGER NOT NULL,"
    " not_before_ms INTEGER," /* started: NULL while a worker has it, else when one may */
    " retried_ms INTEGER);"   /* of a run after the first that has not ended */
    "CREATE INDEX assets_ended ON assets (state, number) WHERE state >= 4;"
    "CREATE INDEX assets_retried ON assets (number) WHERE retried_ms IS NOT NULL;"
    "CREATE TABLE results (key INTEGER PRIMARY KEY,"
    " codes INTEGER NOT NULL, errors TEXT, report TEXT);"
    "CREATE TABLE events (key INTEGER PRIMARY KEY,"
    " notify INTEGER NOT NULL,"
    " state INTEGER NOT NULL,"  /* + 2: 2 waiting, 3 pending, 4 delivered, 5 dead, 6 off */
    " due_ms INTEGER NOT NULL," /* of a pending one */
    " attempts INTEGER NOT NULL, created_ms INTEGER NOT NULL,"
    /* of the last attempt, from the first one on */
    " last_ms INTEGER NOT NULL, status INTEGER NOT NULL,"
    " duration_ms INTEGER NOT NULL," /* -1: it was sent again since; attempts may have a log */
    " error TEXT);"
    "CREATE INDEX events_due ON events (state, due_ms) WHERE state = 3;"
    "INSERT INTO counters (id) VALUES (1);";

static const char schema_2[] =
    "ALTER TABLE counters ADD COLUMN feed_seq INTEGER NOT NULL DEFAULT 0;" /* of its last entry */
    /* One row a transaction: its entries as 64-bit little-endian numbers, number << 17 | run << 2 |
     * state. seq is that of the first. */
    "CREATE TABLE feed (seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, entries BLOB NOT NULL);"
    /* attempt_log.h; of an event with one attempt and no answer its own row says it all */
    "CREATE TABLE attempts (key INTEGER PRIMARY KEY, log BLOB NOT NULL);"
    "CREATE INDEX events_dead ON events (key) WHERE state = 5;"
    "CREATE TABLE idempotency (number INTEGER PRIMARY KEY," /* of the asset it was accepted as */
    " hash INTEGER NOT NULL,"                               /* first eight bytes of key */
    " key BLOB NOT NULL, digest BLOB NOT NULL, at_ms INTEGER NOT NULL);"
    "CREATE INDEX idempotency_hash ON idempotency (hash);"
    "CREATE TABLE samples (place INTEGER PRIMARY KEY," /* ring << 16 | place in it */
    " at_ms INTEGER NOT NULL, data BLOB NOT NULL);";   /* 64-bit little-endian numbers */

/* What makes each version out of the one before. */
static const char *const schemas[SCHEMA_VERSION + 1] = { NULL, schema_1, schema_2 };

const char *const sqlite_writer_sql[W_STATEMENTS] = {
    [W_BEGIN] = "BEGIN IMMEDIATE",
    [W_COMMIT] = "COMMIT",
    [W_ROLLBACK] = "ROLLBACK",
    [W_PUT] = "INSERT INTO assets (number, state, path, on_start, on_success, on_failure,"
              " url_states, accepted_ms, started_ms, ended_ms, run, attempts)"
              " VALUES (?1, 2, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?7, 1, 0)",
    [W_ASSET] = "SELECT state, run, attempts, url_states, not_before_ms, accepted_ms, started_ms,"
                " path FROM assets WHERE number = ?1",
    [W_CLAIM] = "UPDATE assets SET state = 3, attempts = ?2, started_ms = ?3, not_before_ms = NULL"
                " WHERE number = ?1",
    [W_RELEASE] = "UPDATE assets SET attempts = ?2, not_before_ms = ?3 WHERE number = ?1",
    [W_FINISH] = "UPDATE assets SET state = ?2, ended_ms = ?3, not_before_ms = NULL,"
                 " retried_ms = NULL WHERE number = ?1",
    [W_RETRY] = "UPDATE assets SET state = 2, run = ?2, attempts = 0, url_states = ?3,"
                " retried_ms = ?4 WHERE number = ?1",
    [W_RESULT] = "INSERT INTO results (key, codes, errors, report) VALUES (?1, ?2, ?3, ?4)",
    [W_EVENT_ADD] = "INSERT INTO events (key, notify, state, due_ms, attempts, created_ms,"
                    " last_ms, status, duration_ms)"
                    " VALUES (?1, ?2, ?3, ?4, 0, ?4, ?4, 200, 1000)",
    [W_EVENT] = "SELECT state, attempts, last_ms, status, duration_ms, error, notify FROM events"
                " WHERE key = ?1",
    [W_EVENT_SET] = "UPDATE events SET state = ?2, due_ms = ?3, attempts = ?4, last_ms = ?5,"
                    " status = ?6, duration_ms = ?7, error = ?8 WHERE key = ?1",
    [W_EVENT_UNTRIED] = "UPDATE events SET state = ?2, due_ms = ?3 WHERE key = ?1",
    [W_EVENT_WAKE] = "UPDATE events SET state = 3, due_ms = ?2 WHERE key = ?1 AND state = 2",
    [W_EVENT_RESEND] = "UPDATE events SET state = 3, due_ms = ?2, attempts = 0, duration_ms = -1,"
                       " error = NULL WHERE key = ?1",
    [W_EVENTS_DEAD] = "SELECT key, created_ms FROM events INDEXED BY events_dead WHERE state = 5"
                      " ORDER BY key",
    [W_LOG] = "SELECT log FROM attempts WHERE key = ?1",
    [W_LOG_SET] = "INSERT OR REPLACE INTO attempts (key, log) VALUES (?1, ?2)",
    [W_EVENTS_DUE] = "SELECT key FROM events INDEXED BY events_due"
                     " WHERE state = 3 AND due_ms <= ?1 ORDER BY due_ms, key",
    [W_EVENT_NEXT] = "SELECT key, due_ms FROM events INDEXED BY events_due"
                     " WHERE state = 3 AND due_ms > ?1 ORDER BY due_ms, key",
    [W_EVENT_SEND] = "SELECT e.notify, e.attempts, e.created_ms,"
                     " CASE e.notify WHEN 0 THEN a.on_start WHEN 1 THEN a.on_success"
                     " ELSE a.on_failure END,"
                     " CASE e.notify WHEN 2 THEN"
                     " (SELECT errors FROM results r WHERE r.key = e.key) END"
                     " FROM events e CROSS JOIN assets a"
                     " WHERE e.key = ?1 AND a.number = e.key >> 16",
    /* Nothing ends before it was accepted, so the search ends at the first one accepted later. */
    [W_PRUNE_PICK] = "SELECT number, accepted_ms, ended_ms FROM assets"
                     " INDEXED BY assets_ended WHERE state >= 4 AND state = ?1"
                     " ORDER BY number",
    [W_PRUNE_COUNT] = "SELECT state FROM events WHERE key BETWEEN ?1 AND ?2",
    [W_PRUNE_EVENTS] = "DELETE FROM events WHERE key BETWEEN ?1 AND ?2",
    [W_PRUNE_LOGS] = "DELETE FROM attempts WHERE key BETWEEN ?1 AND ?2",
    [W_PRUNE_RESULTS] = "DELETE FROM results WHERE key BETWEEN ?1 AND ?2",
    [W_PRUNE_ASSET] = "DELETE FROM assets WHERE number = ?1",
    [W_FEED_ADD] = "INSERT INTO feed (seq, at_ms, entries) VALUES (?1, ?2, ?3)",
    [W_FEED_OLDEST] = "SELECT seq, at_ms FROM feed ORDER BY seq LIMIT ?1",
    [W_FEED_PRUNE] = "DELETE FROM feed WHERE seq <= ?1",
    [W_KEY] = "SELECT number, digest, at_ms FROM idempotency INDEXED BY idempotency_hash"
              " WHERE hash = ?1 AND key = ?2 ORDER BY number DESC",
    [W_KEY_ADD] = "INSERT INTO idempotency (number, hash, key, digest, at_ms)"
                  " VALUES (?1, ?2, ?3, ?4, ?5)",
    [W_KEY_OLDEST] = "SELECT number, at_ms FROM idempotency ORDER BY number LIMIT ?1",
    [W_KEY_PRUNE] = "DELETE FROM idempotency WHERE number <= ?1",
    [W_SAMPLE] = "INSERT OR REPLACE INTO samples (place, at_ms, data) VALUES (?1, ?2, ?3)",
    [W_COUNTERS] = "UPDATE counters SET next_number = ?1, oldest_open = ?2, queued = ?3,"
                   " started = ?4, success = ?5, failed = ?6, accepted = ?7, pruned = ?8,"
                   " runs_success = ?9, runs_failed = ?10, events_waiting = ?11,"
                   " events_pending = ?12, events_delivered = ?13, events_dead = ?14,"
                   " events_off = ?15, errors = ?16, feed_seq = ?17",
    [W_OPEN_ASSETS] = "SELECT number, state, run, accepted_ms, not_before_ms, retried_ms"
                      " FROM assets WHERE number >= ?1 AND state < 4"
                      " UNION SELECT number, state, run, accepted_ms, not_before_ms, retried_ms"
                      " FROM assets INDEXED BY assets_retried WHERE retried_ms IS NOT NULL"
                      " ORDER BY number",
    [W_VOID_LEASE] = "UPDATE assets SET not_before_ms = 0 WHERE number = ?1",
    [W_LOAD_COUNTERS] = "SELECT next_number, oldest_open, queued, started, success, failed,"
                        " accepted, pruned, runs_success, runs_failed, events_waiting,"
                        " events_pending, events_delivered, events_dead, events_off, errors,"
                        " feed_seq FROM counters",
    [W_LOAD_KEY] = "SELECT permute_key FROM meta",
};

#define LISTED                                                                                     \
    "SELECT a.number, a.state, a.run, a.attempts, a.path, a.accepted_ms, a.started_ms,"            \
    " a.ended_ms, a.url_states, r.errors, r.report, a.on_start, a.on_success, a.on_failure"        \
    " FROM assets a"
#define WITH_RESULT                                                                                \
    " LEFT JOIN results r ON a.state >= 4 AND r.key = (a.number << 16) + (a.run << 1) + 1"

const char *const sqlite_reader_sql[R_STATEMENTS] = {
    [R_BEGIN] = "BEGIN",
    [R_COMMIT] = "COMMIT",
    [R_ASSET] = LISTED WITH_RESULT " WHERE a.number = ?1",
    [R_EVENTS] = "SELECT notify, state, attempts, status, error, due_ms, last_ms FROM events"
                 " WHERE key BETWEEN ?1 AND ?2",
    /* Lists walk over numbers and keys; what the rows hold is looked up one by one. */
    [R_ROW] = "SELECT state, accepted_ms, run, path FROM assets WHERE number = ?1",
    [R_CODES] = "SELECT codes FROM results WHERE key = ?1",
    [R_WALK_ALL] = "SELECT number FROM assets WHERE number < ?1 ORDER BY number DESC",
    [R_WALK_ENDED] = "SELECT number FROM assets INDEXED BY assets_ended"
                     " WHERE state >= 4 AND state = ?2 AND number < ?1 ORDER BY number DESC",
    /* Queued and started ones are in no index, but none is older than the mark unless retried. */
    [R_WALK_OPEN] = "SELECT number FROM assets"
                    " WHERE number >= (SELECT oldest_open FROM counters) AND number < ?1"
                    " UNION SELECT number FROM assets INDEXED BY assets_retried"
                    " WHERE retried_ms IS NOT NULL AND number < ?1 ORDER BY number DESC",
    [R_EVENT] = "SELECT e.notify, e.state, e.attempts, e.status, e.error, e.due_ms, e.last_ms,"
                " e.created_ms, e.duration_ms, CASE e.notify WHEN 0 THEN a.on_start"
                " WHEN 1 THEN a.on_success ELSE a.on_failure END"
                " FROM events e CROSS JOIN assets a WHERE e.key = ?1 AND a.number = e.key >> 16",
    [R_LOG] = "SELECT log FROM attempts WHERE key = ?1",
    [R_EVENT_KEYS] = "SELECT key FROM events WHERE key BETWEEN ?1 AND ?2 ORDER BY key DESC",
    [R_WALK_EVENTS] = "SELECT key, state FROM events WHERE key < ?1 ORDER BY key DESC",
    [R_WALK_DEAD] = "SELECT key, state FROM events INDEXED BY events_dead"
                    " WHERE state = 5 AND key < ?1 ORDER BY key DESC",
    /* These two look at all that are pending, which is as many as are late. */
    [R_WALK_PENDING] = "SELECT key, state FROM events INDEXED BY events_due"
                       " WHERE state = 3 AND key < ?1 ORDER BY key DESC LIMIT ?2",
    [R_WALK_WAITING] = "SELECT e.key, e.state FROM events s INDEXED BY events_due"
                       " CROSS JOIN events e ON e.key = (s.key | 1)"
                       " WHERE s.state = 3 AND s.key & 1 = 0 AND e.state = 2 AND e.key < ?1"
                       " ORDER BY e.key DESC LIMIT ?2",
    [R_FEED_ENDS] = "SELECT feed_seq, (SELECT min(seq) FROM feed) FROM counters",
    [R_FEED] = "SELECT seq, at_ms, entries FROM feed"
               " WHERE seq >= coalesce((SELECT max(seq) FROM feed WHERE seq <= ?1), ?1)"
               " ORDER BY seq",
    [R_ERRORS] = "SELECT errors FROM results WHERE key = ?1",
    [R_HISTORY] = "SELECT at_ms, data FROM samples WHERE place BETWEEN ?1 AND ?2"
                  " ORDER BY at_ms DESC LIMIT ?3",
};

static int run_sql(sqlite3 *db, const char *sql, struct err *err)
{
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : sqlite_fail(db, rc, err, "schema");
}

static int pragma_value(sqlite3 *db, const char *pragma, int64_t *ret_value, struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    if (sqlite_prepare(db, &pragma, &stmt, 1, err) < 0)
        return -1;
    struct query q = query_start(stmt);
    int rc = query_row(&q, err);
    if (rc > 0)
        *ret_value = query_col(&q, 0);
    sqlite_finalize(&stmt, 1);
    return rc < 0 ? -1 : 0;
}

static int make_key(sqlite3 *db, struct err *err)
{
    unsigned char key[PERMUTE_KEY_LEN];
    if (getrandom(key, sizeof(key), 0) != sizeof(key))
        return err_set(err, ERR_IO, "no random bytes");
    const char *sql = "INSERT INTO meta (id, permute_key) VALUES (1, ?1)";
    sqlite3_stmt *stmt = NULL;
    if (sqlite_prepare(db, &sql, &stmt, 1, err) < 0)
        return -1;
    struct query q = query_start(stmt);
    query_blob(&q, key, sizeof(key));
    int rc = query_run(&q, err);
    sqlite_finalize(&stmt, 1);
    return rc;
}

/* From version (0: an empty file) to ours. */
static int upgrade(sqlite3 *db, int64_t version, struct err *err)
{
    char pragmas[96];
    for (int64_t i = version + 1; i <= SCHEMA_VERSION; i++)
        if (run_sql(db, schemas[i], err) < 0)
            return -1;
    if (version == 0 && make_key(db, err) < 0)
        return -1;
    (void)snprintf(pragmas, sizeof(pragmas), "PRAGMA application_id = %d; PRAGMA user_version = %d",
                   APPLICATION_ID, SCHEMA_VERSION);
    return run_sql(db, pragmas, err);
}

int sqlite_migrate(sqlite3 *db, struct err *err)
{
    int64_t application = 0, version = 0, tables = 0;
    if (run_sql(db, "BEGIN IMMEDIATE", err) < 0)
        return -1;
    int rc = pragma_value(db, "PRAGMA application_id", &application, err);
    if (rc == 0)
        rc = pragma_value(db, "PRAGMA user_version", &version, err);
    if (rc == 0)
        rc = pragma_value(db, "SELECT count(*) FROM sqlite_schema", &tables, err);
    if (rc == 0 && tables > 0 && application != APPLICATION_ID)
        rc = err_set(err, ERR_INVALID, "this database belongs to another program");
    else if (rc == 0 && tables > 0 && (version < 1 || version > SCHEMA_VERSION))
        rc = err_set(err, ERR_INVALID, "its tables have version %d, this program knows %d",
                     (int)version, SCHEMA_VERSION);
    else if (rc == 0 && (tables == 0 || version < SCHEMA_VERSION))
        rc = upgrade(db, tables == 0 ? 0 : version, err);
    if (rc == 0)
        rc = run_sql(db, "COMMIT", err);
    if (rc < 0 && !sqlite3_get_autocommit(db))
        (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}
