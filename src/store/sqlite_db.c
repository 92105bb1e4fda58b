#include "store/sqlite_db.h"

#include <string.h>

#include "base/cleanup.h"

int sqlite_fail(sqlite3 *db, int rc, struct err *err, const char *what)
{
    enum err_code code = ERR_IO;
    if (rc == SQLITE_IOERR_NOMEM || (rc & 0xff) == SQLITE_NOMEM)
        code = ERR_NOMEM;
    else if ((rc & 0xff) == SQLITE_FULL)
        code = ERR_FULL;
    else if ((rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_LOCKED)
        code = ERR_BUSY;
    else if ((rc & 0xff) == SQLITE_TOOBIG)
        code = ERR_INVALID;
    else if ((rc & 0xff) == SQLITE_PERM || (rc & 0xff) == SQLITE_READONLY)
        code = ERR_DENIED;
    /* The connection's own text says more, if it is about the same failure. */
    const char *text = db && (sqlite3_extended_errcode(db) & 0xff) == (rc & 0xff)
                           ? sqlite3_errmsg(db)
                           : sqlite3_errstr(rc);
    return err_set(err, code, "%s: %s (%d)", what, text, rc);
}

int query_row(struct query *q, struct err *err)
{
    if (q->rc == SQLITE_OK || q->rc == SQLITE_ROW)
        q->rc = sqlite3_step(q->stmt);
    if (q->rc == SQLITE_ROW)
        return 1;
    if (q->rc == SQLITE_DONE)
        return 0;
    return sqlite_fail(sqlite3_db_handle(q->stmt), q->rc, err, "query");
}

void query_end(struct query *q)
{
    (void)sqlite3_reset(q->stmt); /* tells again what query_row() has told */
}

int query_run(struct query *q, struct err *err)
{
    int rc;
    while ((rc = query_row(q, err)) > 0)
        ;
    query_end(q);
    return rc;
}

int query_col_dup(struct query *q, int column, char **ret_text, struct err *err)
{
    *ret_text = NULL;
    if (sqlite3_column_type(q->stmt, column) == SQLITE_NULL)
        return 0;
    const char *text = (const char *)sqlite3_column_text(q->stmt, column);
    if (!text || !(*ret_text = strdup(text))) {
        q->rc = SQLITE_NOMEM;
        return err_set(err, ERR_NOMEM, "out of memory");
    }
    return 0;
}

int sqlite_prepare(sqlite3 *db, const char *const sql[], sqlite3_stmt *ret[], int n,
                   struct err *err)
{
    for (int i = 0; i < n; i++) {
        int rc = sqlite3_prepare_v3(db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &ret[i], NULL);
        if (rc != SQLITE_OK)
            return sqlite_fail(db, rc, err, "prepare");
    }
    return 0;
}

void sqlite_finalize(sqlite3_stmt *statements[], int n)
{
    for (int i = 0; i < n; i++) {
        (void)sqlite3_finalize(statements[i]);
        statements[i] = NULL;
    }
}

/* What the file must tell us about itself: a file system without shared memory cannot do WAL. */
static int check_wal(sqlite3 *db, struct err *err)
{
    const char *sql = "PRAGMA journal_mode = WAL";
    sqlite3_stmt *stmt = NULL;
    if (sqlite_prepare(db, &sql, &stmt, 1, err) < 0)
        return -1;
    struct query q = query_start(stmt);
    int rc = query_row(&q, err);
    if (rc > 0) {
        const char *mode = (const char *)sqlite3_column_text(stmt, 0);
        rc = mode && strcmp(mode, "wal") == 0
                 ? 0
                 : err_set(err, ERR_UNSUPPORTED, "no write-ahead log on this file system");
    }
    sqlite_finalize(&stmt, 1);
    return rc;
}

int sqlite_connect(const char *path, bool writable, sqlite3 **ret_db, struct err *err)
{
    static const char writer_settings[] = "PRAGMA synchronous = FULL;"
                                          "PRAGMA wal_autocheckpoint = 0;"
                                          "PRAGMA temp_store = MEMORY;"
                                          "PRAGMA cache_size = -32768;"; /* KiB */
    static const char reader_settings[] = "PRAGMA query_only = ON;"
                                          "PRAGMA temp_store = MEMORY;"
                                          "PRAGMA cache_size = -4096;";
    sqlite3 *db = NULL;
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
                (writable ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY);
    int rc = sqlite3_open_v2(path, &db, flags, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_busy_timeout(db, BUSY_TIMEOUT_MS);
    if (rc == SQLITE_OK)
        rc = sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (rc == SQLITE_OK && writable && check_wal(db, err) < 0) {
        sqlite_disconnect(db);
        return -1;
    }
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, writable ? writer_settings : reader_settings, NULL, NULL, NULL);
    if (rc != SQLITE_OK) {
        (void)sqlite_fail(db, rc, err, "connect");
        sqlite_disconnect(db);
        return -1;
    }
    *ret_db = db;
    return 0;
}

void sqlite_disconnect(sqlite3 *db)
{
    (void)sqlite3_close(db);
}
