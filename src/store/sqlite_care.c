/* sqlite_care: what an operator does with a store: copy it while it is in use, and have it prove that
 * all of it adds up. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "store/durable.h"
#include "store/engine.h"
#include "store/sqlite.h"

DEFINE_FREEP(struct store *, store_close)

static int out_of_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "out of memory");
}

/* ---- backup ---- */

/* Copy all pages of one snapshot. */
static int copy_pages(sqlite3 *from, const char *path, struct err *err)
{
    sqlite3 *to = NULL;
    int rc = sqlite3_open_v2(path, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_EXRESCODE, NULL);
    sqlite3_backup *backup = rc == SQLITE_OK ? sqlite3_backup_init(to, "main", from, "main") : NULL;
    if (rc == SQLITE_OK && !backup)
        rc = sqlite3_extended_errcode(to);
    if (backup) {
        int stepped = sqlite3_backup_step(backup, -1);
        rc = sqlite3_backup_finish(backup);
        if (rc == SQLITE_OK && stepped != SQLITE_DONE)
            rc = stepped;
    }
    int failed = rc == SQLITE_OK ? 0 : sqlite_fail(to, rc, err, "copy");
    (void)sqlite3_close(to);
    return failed;
}

static int make_copy(struct sqlite_store *s, const char *path, struct err *err)
{
    CLEANUP(freep) char *part = NULL;
    if (asprintf(&part, "%s.part", path) < 0) {
        part = NULL;
        return out_of_memory(err);
    }
    int fd = open(part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, errno, "make '%s'", part);
    (void)close(fd);
    sqlite3 *from = NULL; /* one of its own: the copy takes long, and readers have pages cached */
    int rc = sqlite_connect(s->path, false, &from, err);
    if (rc == 0)
        rc = copy_pages(from, part, err);
    sqlite_disconnect(from);
    if (rc == 0)
        rc = durable_rename(part, path, err);
    if (rc < 0)
        (void)unlink(part);
    return rc;
}

int sqlite_backup(struct store *base, const char *path, struct err *err)
{
    struct stat st;
    if (lstat(path, &st) == 0)
        return err_set(err, ERR_INVALID, "'%s' is there already", path);
    if (make_copy((struct sqlite_store *)base, path, err) < 0)
        return err_add(err, "back up to '%s'", path);
    return 0;
}

/* ---- verification ---- */

#define EVENT_OF_RUN "(a.number << 16) + (a.run << 1)"
#define USABLE(n) "((a.url_states >> (4 * " n ") & 15) IN (1, 4))" /* URL_VALID, URL_OFF */

/* Facts that hold in every sound store; sql counts what speaks against each. */
static const struct {
    const char *fact, *sql;
} facts[] = {
    { "each asset is counted in its state",
      "SELECT (queued != (SELECT count(*) FROM assets WHERE state = 2))"
      " + (started != (SELECT count(*) FROM assets WHERE state = 3))"
      " + (success != (SELECT count(*) FROM assets WHERE state = 4))"
      " + (failed != (SELECT count(*) FROM assets WHERE state = 5)) FROM counters" },
    { "accepted = queued + started + success + failed + pruned",
      "SELECT accepted != queued + started + success + failed + pruned FROM counters" },
    { "as many were accepted as numbers were given out",
      "SELECT (accepted != next_number - 1)"
      " + (SELECT count(*) FROM assets WHERE number >= next_number) FROM counters" },
    { "each event is counted in its state",
      "SELECT (events_waiting != (SELECT count(*) FROM events WHERE state = 2))"
      " + (events_pending != (SELECT count(*) FROM events WHERE state = 3))"
      " + (events_delivered != (SELECT count(*) FROM events WHERE state = 4))"
      " + (events_dead != (SELECT count(*) FROM events WHERE state = 5))"
      " + (events_off != (SELECT count(*) FROM events WHERE state = 6)) FROM counters" },
    { "every run that is over has one result, and no other has",
      "SELECT count(*) FROM assets a WHERE a.run - (a.state < 4) !="
      " (SELECT count(*) FROM results WHERE key BETWEEN a.number << 16 AND a.number << 16 | "
      "65535)" },
    { "every result has its asset",
      "SELECT count(*) FROM results r"
      " WHERE NOT EXISTS (SELECT 1 FROM assets WHERE number = r.key >> 16)" },
    { "every ending has its event",
      "SELECT count(*) FROM assets a LEFT JOIN events e ON e.key = " EVENT_OF_RUN " + 1"
      " WHERE a.state >= 4 AND ((e.key IS NOT NULL) != " USABLE(
          "(a.state - 3)") " OR e.notify != a.state - 3)" },
    { "every start has its event",
      "SELECT count(*) FROM assets a LEFT JOIN events e ON e.key = " EVENT_OF_RUN
      " WHERE a.state >= 3 AND ((e.key IS NOT NULL) != " USABLE("0") " OR e.notify != 0)" },
    { "what has not come to pass has no event",
      "SELECT count(*) FROM assets a JOIN events e ON e.key >= " EVENT_OF_RUN " + (a.state = 3)"
      " AND e.key <= a.number << 16 | 65535 WHERE a.state < 4" },
    { "every event has its asset",
      "SELECT count(*) FROM events e"
      " WHERE NOT EXISTS (SELECT 1 FROM assets WHERE number = e.key >> 16)" },
    { "an event waits only for a first attempt at its start",
      "SELECT count(*) FROM events e WHERE e.state = 2 AND NOT EXISTS"
      " (SELECT 1 FROM events s WHERE s.key = e.key - 1 AND s.state = 3 AND s.attempts = 0)" },
    { "every log of attempts has its event",
      "SELECT count(*) FROM attempts l"
      " WHERE NOT EXISTS (SELECT 1 FROM events WHERE key = l.key)" },
    { "the queue at a start would miss no asset",
      "SELECT (SELECT count(*) FROM assets WHERE number < oldest_open AND state < 4"
      " AND retried_ms IS NULL) + (SELECT count(*) FROM assets"
      " WHERE (retried_ms IS NOT NULL) != (run > 1 AND state < 4)) FROM counters" },
    { "the feed has no gap",
      "SELECT (SELECT count(*) FROM (SELECT seq + length(entries) / 8 AS ends,"
      " lead(seq) OVER (ORDER BY seq) AS next FROM feed) WHERE ends != next)"
      " + (coalesce((SELECT seq + length(entries) / 8 - 1 FROM feed ORDER BY seq DESC LIMIT 1),"
      " feed_seq) != feed_seq) FROM counters" },
};

/* First line that the integrity check has to say. */
static int check_file(sqlite3 *db, char text[256], struct err *err)
{
    const char *sql = "PRAGMA integrity_check(1)";
    sqlite3_stmt *stmt = NULL;
    if (sqlite_prepare(db, &sql, &stmt, 1, err) < 0)
        return -1;
    struct query q = query_start(stmt);
    int rc = query_row(&q, err);
    if (rc > 0) {
        const char *said = (const char *)sqlite3_column_text(stmt, 0);
        (void)snprintf(text, 256, "%s", said ? said : "nothing");
        rc = strcmp(text, "ok") == 0;
    }
    sqlite_finalize(&stmt, 1);
    return rc;
}

/* How many speak against it. */
static int count(sqlite3 *db, const char *sql, int64_t *ret_n, struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    if (sqlite_prepare(db, &sql, &stmt, 1, err) < 0)
        return -1;
    struct query q = query_start(stmt);
    int rc = query_row(&q, err);
    *ret_n = rc > 0 ? query_col(&q, 0) : 1; /* no row: the counters are missing */
    sqlite_finalize(&stmt, 1);
    return rc < 0 ? -1 : 0;
}

static int verify(sqlite3 *db, struct buf *report, struct err *err)
{
    char text[256];
    int sound = check_file(db, text, err);
    if (sound < 0)
        return -1;
    (void)buf_addf(report, "%s the file is whole%s%s\n", sound ? "ok " : "NOT", sound ? "" : ": ",
                   sound ? "" : text);
    for (size_t i = 0; i < ARRAY_LEN(facts); i++) {
        int64_t against;
        if (count(db, facts[i].sql, &against, err) < 0)
            return -1;
        if (against == 0) {
            (void)buf_addf(report, "ok  %s\n", facts[i].fact);
        } else {
            (void)buf_addf(report, "NOT %s: %lld against it\n", facts[i].fact, (long long)against);
            sound = 0;
        }
    }
    return sound;
}

int sqlite_verify(struct store *base, struct buf *report, struct err *err)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    struct reader *r = sqlite_reader_begin(s, err);
    if (!r)
        return -1;
    int rc = verify(r->db, report, err);
    return sqlite_reader_end(s, r, rc, err);
}

/* ---- a visitor: another process may own the store ---- */

static int visitor_verify(struct store *base, struct buf *report, struct err *err)
{
    sqlite3 *db = NULL;
    int rc = sqlite_connect(((struct sqlite_store *)base)->path, false, &db, err);
    if (rc == 0 && sqlite3_exec(db, "BEGIN", NULL, NULL, NULL) != SQLITE_OK) /* one snapshot */
        rc = sqlite_fail(db, sqlite3_extended_errcode(db), err, "begin");
    if (rc == 0)
        rc = verify(db, report, err);
    sqlite_disconnect(db);
    return rc;
}

static void visitor_close(struct store *base)
{
    free(((struct sqlite_store *)base)->path);
    free(base);
}

int sqlite_store_visit(const char *where, const char *password, struct store **ret_store,
                       struct err *err)
{
    (void)password;
    static const struct store_ops visitor_ops = { .scheme = "sqlite",
                                                  .backup = sqlite_backup,
                                                  .verify = visitor_verify,
                                                  .close = visitor_close };
    if (access(where, R_OK) < 0)
        return err_errno(err, errno, "store '%s'", where);
    struct sqlite_store *s = calloc(1, sizeof(*s));
    if (!s)
        return out_of_memory(err);
    s->base.ops = &visitor_ops;
    s->lock_fd = -1;
    CLEANUP(store_closep) struct store *store = &s->base;
    if (!(s->path = strdup(where)))
        return out_of_memory(err);
    *ret_store = TAKE(store);
    return 0;
}
