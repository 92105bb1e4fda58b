/* What the SQLite store does when the disk, the memory or the power fails: whatever was answered as
 * durable is there afterwards, and everything adds up.
 *
 * This program has its own pwrite, fsync and so on, in front of the C library's, for SQLite and for us
 * alike. They remember for every file what a power cut would leave: only what a successful sync covered.
 * A sync that fails drops what it should have written, as Linux does: the bytes can still be read, and
 * the next sync succeeds without them. */
#undef _FILE_OFFSET_BITS /* with it, pwrite() here would be called pwrite64(), too */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/log.h"
#include "support/store_world.h"

enum { FILES_MAX = 8, RANGES_MAX = 16384, IDS_MAX = 512, SECTOR = 512 };

struct range {
    off_t at;
    size_t len;
};

struct disk_file {
    char path[128];
    char *durable; /* what a power cut leaves */
    size_t durable_len;
    struct range dirty[RANGES_MAX]; /* written since the last sync */
    size_t dirty_n;
};

enum fault { FAULT_NONE, FAULT_WRITE, FAULT_NO_SPACE, FAULT_SYNC, FAULT_ANY };

static struct {
    pthread_mutex_t lock;
    bool on;
    char folder[64];
    struct disk_file files[FILES_MAX];
    size_t files_n;
    enum fault fault;
    unsigned long countdown; /* operations of the kind until it fails */
    unsigned long failures;  /* so many times */
    bool met;
} disk = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ---- the disk ---- */

/* NULL: none of the store's files. Under lock. */
static struct disk_file *file_of(int fd)
{
    char link[64], path[sizeof(disk.files[0].path)];
    if (!disk.on)
        return NULL;
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof(path) - 1);
    if (n < 0)
        return NULL;
    path[n] = '\0';
    if (strncmp(path, disk.folder, strlen(disk.folder)) != 0 || !strstr(path, ".db") ||
        strstr(path, "-shm") || strstr(path, ".lock"))
        return NULL;
    for (size_t i = 0; i < disk.files_n; i++)
        if (strcmp(disk.files[i].path, path) == 0)
            return &disk.files[i];
    if (disk.files_n == FILES_MAX)
        abort();
    struct disk_file *f = &disk.files[disk.files_n++];
    (void)strcpy(f->path, path);
    f->durable = NULL;
    f->durable_len = f->dirty_n = 0;
    return f;
}

/* Whether this operation is one that fails. Under lock. */
static bool strikes(enum fault kind)
{
    if (disk.fault != FAULT_ANY && disk.fault != kind &&
        !(disk.fault == FAULT_NO_SPACE && kind == FAULT_WRITE))
        return false;
    if (disk.countdown > 1) {
        disk.countdown--;
        return false;
    }
    if (disk.failures == 0)
        return false;
    disk.failures--;
    disk.met = true;
    errno = disk.fault == FAULT_NO_SPACE ? ENOSPC : EIO;
    return true;
}

static void make_durable(struct disk_file *f, off_t at, const char *data, size_t len)
{
    if ((size_t)at + len > f->durable_len) {
        f->durable = realloc(f->durable, (size_t)at + len);
        if (!f->durable)
            abort();
        memset(f->durable + f->durable_len, 0, (size_t)at + len - f->durable_len);
        f->durable_len = (size_t)at + len;
    }
    memcpy(f->durable + at, data, len);
}

static ssize_t disk_pwrite(int fd, const void *data, size_t len, off_t at)
{
    (void)pthread_mutex_lock(&disk.lock);
    struct disk_file *f = file_of(fd);
    if (f && strikes(FAULT_WRITE)) {
        (void)pthread_mutex_unlock(&disk.lock);
        return -1;
    }
    if (f && f->dirty_n == RANGES_MAX)
        abort();
    if (f)
        f->dirty[f->dirty_n++] = (struct range){ at, len };
    (void)pthread_mutex_unlock(&disk.lock);
    return syscall(SYS_pwrite64, fd, data, len, at);
}

static int disk_sync(int fd)
{
    (void)pthread_mutex_lock(&disk.lock);
    struct disk_file *f = file_of(fd);
    int rc = 0;
    if (f && strikes(FAULT_SYNC)) {
        f->dirty_n = 0; /* forgotten, not written */
        rc = -1;
    } else if (f) {
        for (size_t i = 0; i < f->dirty_n; i++) {
            const struct range *r = &f->dirty[i];
            char *data = malloc(r->len);
            ssize_t n = data ? pread(fd, data, r->len, r->at) : 0;
            if (n > 0)
                make_durable(f, r->at, data, (size_t)n);
            free(data);
        }
        f->dirty_n = 0;
    }
    (void)pthread_mutex_unlock(&disk.lock);
    return rc; /* none of the real ones: they cost time and prove nothing here */
}

static int disk_truncate(int fd, off_t len)
{
    (void)pthread_mutex_lock(&disk.lock);
    struct disk_file *f = file_of(fd);
    if (f && strikes(FAULT_WRITE)) {
        (void)pthread_mutex_unlock(&disk.lock);
        return -1;
    }
    if (f && (size_t)len < f->durable_len)
        f->durable_len = (size_t)len; /* the worst case: at once */
    (void)pthread_mutex_unlock(&disk.lock);
    return (int)syscall(SYS_ftruncate, fd, len);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
    return disk_pwrite(fd, data, len, at);
}
ssize_t pwrite64(int fd, const void *data, size_t len, off64_t at)
{
    return disk_pwrite(fd, data, len, at);
}
int fsync(int fd)
{
    return disk_sync(fd);
}
int fdatasync(int fd)
{
    return disk_sync(fd);
}
int ftruncate(int fd, off_t len)
{
    return disk_truncate(fd, len);
}
int ftruncate64(int fd, off64_t len)
{
    return disk_truncate(fd, len);
}

/* A name lasts at once: the worst case for a file whose content does not. */
int rename(const char *from, const char *to)
{
    (void)pthread_mutex_lock(&disk.lock);
    int rc = (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    for (size_t i = 0; rc == 0 && i < disk.files_n; i++)
        if (strcmp(disk.files[i].path, from) == 0)
            (void)snprintf(disk.files[i].path, sizeof(disk.files[i].path), "%s", to);
    (void)pthread_mutex_unlock(&disk.lock);
    return rc;
}

static void disk_start(const char *folder)
{
    (void)snprintf(disk.folder, sizeof(disk.folder), "%s", folder);
    disk.fault = FAULT_NONE;
    disk.met = false;
    disk.on = true;
}

static void disk_fail(enum fault fault, unsigned long at, unsigned long times)
{
    (void)pthread_mutex_lock(&disk.lock);
    disk.fault = fault;
    disk.countdown = at;
    disk.failures = times;
    (void)pthread_mutex_unlock(&disk.lock);
}

static void disk_stop(void)
{
    disk.on = false;
    for (size_t i = 0; i < disk.files_n; i++)
        free(disk.files[i].durable);
    disk.files_n = 0;
}

/* Of what was not synced each sector may have reached the disk or not. */
static void tear(struct disk_file *f)
{
    int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    for (size_t i = 0; i < f->dirty_n; i++) {
        const struct range *r = &f->dirty[i];
        for (size_t at = 0; at < r->len; at += SECTOR) {
            char data[SECTOR];
            size_t len = r->len - at < SECTOR ? r->len - at : SECTOR;
            if (rand() & 1 && pread(fd, data, len, r->at + (off_t)at) == (ssize_t)len)
                make_durable(f, r->at + (off_t)at, data, len);
        }
    }
    (void)close(fd);
}

/* The files are what was durable; nobody has them open. */
static void power_cut(void)
{
    disk.fault = FAULT_NONE;
    for (size_t i = 0; i < disk.files_n; i++) {
        struct disk_file *f = &disk.files[i];
        char shm[160];
        if (access(f->path, F_OK) < 0)
            continue; /* removed: a journal from before the log */
        tear(f);
        f->dirty_n = 0;
        int fd = open(f->path, O_WRONLY | O_TRUNC | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, f->durable_len ? f->durable : "", f->durable_len),
                         f->durable_len);
        (void)close(fd);
        (void)snprintf(shm, sizeof(shm), "%s-shm", f->path);
        (void)unlink(shm);
    }
}

/* ---- memory ---- */

static sqlite3_mem_methods real_memory;
static _Atomic unsigned long memory_countdown; /* 0: never fails */
static _Atomic bool memory_met;

static bool memory_fails(void)
{
    unsigned long left = memory_countdown;
    if (left == 0)
        return false;
    memory_countdown = left - 1;
    if (left == 1)
        memory_met = true;
    return left == 1;
}
static void *failing_malloc(int n)
{
    return memory_fails() ? NULL : real_memory.xMalloc(n);
}
static void *failing_realloc(void *p, int n)
{
    return memory_fails() ? NULL : real_memory.xRealloc(p, n);
}

/* ---- a short life with everything in it ---- */

struct ledger {
    char ids[IDS_MAX][ASSET_ID_LEN + 1]; /* put and answered so */
    size_t ids_n;
    uint64_t ended[IDS_MAX]; /* numbers */
    size_t ended_n;
    unsigned failed_batches;
};

enum { TRIES = 6, BATCHES = 10, PUTS = 3 };

/* Like the service: what failed is applied again. false: the disk never came back. */
static bool apply_stubbornly(struct world *w, struct ledger *l, struct step *batch[], size_t n)
{
    for (int i = 0; i < TRIES; i++) {
        struct err err = { 0 };
        if (store_apply(w->store, batch, n, w->now_ms++, &err) == 0)
            return true;
        assert_int_not_equal(err.code, ERR_NONE);
        l->failed_batches++;
        for (size_t j = 0; j < n; j++) {
            assert_int_equal(batch[j]->result, STEP_FAILED);
            if (batch[j]->kind == STEP_CLAIM)
                assert_null(batch[j]->u.claim.ret_claims);
            if (batch[j]->kind == STEP_LEASE)
                assert_null(batch[j]->u.lease.ret_events);
        }
    }
    return false;
}

static bool open_stubbornly(struct world *w)
{
    struct err err;
    for (int i = 0; i < TRIES; i++)
        if (world_try_open(w, &err) == 0)
            return true;
    return false;
}

static void note_put(struct ledger *l, const struct step *step)
{
    if (step->result == STEP_DONE)
        memcpy(l->ids[l->ids_n++], step->u.put.ret_id, sizeof(l->ids[0]));
}

/* Finish what was claimed, settle what was leased. */
static bool end_what_is_held(struct world *w, struct ledger *l, const struct claim *claims,
                             const struct event *events)
{
    struct step steps[32], *batch[32];
    size_t n = 0;
    for (const struct claim *c = claims; c; c = c->next, n++) {
        steps[n] = (struct step){ .kind = STEP_FINISH };
        steps[n].u.finish = (struct step_finish){
            .number = c->number, .run = c->run, .success = c->number & 1, .report = "{}"
        };
    }
    for (const struct event *e = events; e; e = e->next, n++) {
        steps[n] = (struct step){ .kind = STEP_DELIVERED };
        steps[n].u.delivered =
            (struct step_delivered){ .key = e->key,
                                     .state = e->key & 2 << 16 ? EVENT_DEAD : EVENT_DELIVERED,
                                     .attempted = true,
                                     .answer = e->key & 1 ? "thanks" : NULL,
                                     .answer_len = 6 };
    }
    for (size_t i = 0; i < n; i++)
        batch[i] = &steps[i];
    if (!apply_stubbornly(w, l, batch, n))
        return false;
    for (size_t i = 0; i < n; i++)
        if (steps[i].kind == STEP_FINISH && steps[i].result == STEP_DONE)
            l->ended[l->ended_n++] = steps[i].u.finish.number;
    return true;
}

static bool one_turn(struct world *w, struct ledger *l)
{
    struct step steps[PUTS + 3], *batch[PUTS + 3];
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        steps[i] = i < PUTS       ? put_step("./a.jpg", URL_VALID, URL_VALID, URL_VALID)
                   : i < PUTS + 2 ? (struct step){ .kind = STEP_CLAIM, .u.claim.max = 2 }
                                  : (struct step){ .kind = STEP_LEASE,
                                                   .u.lease = { .max = 8, .lease_ms = 1000 } };
        batch[i] = &steps[i];
    }
    /* A client that keeps asking until it is answered. */
    uint8_t key[IDEMPOTENCY_LEN] = { (uint8_t)l->ids_n, (uint8_t)(l->ids_n >> 8) };
    steps[0].u.put.idempotency_key = steps[0].u.put.body_digest = key;
    if (!apply_stubbornly(w, l, batch, ARRAY_LEN(steps)))
        return false;
    for (size_t i = 0; i < PUTS; i++)
        note_put(l, &steps[i]);
    bool fine = true;
    for (size_t i = PUTS; i < ARRAY_LEN(steps); i++) {
        bool claim = steps[i].kind == STEP_CLAIM;
        fine = fine && end_what_is_held(w, l, claim ? steps[i].u.claim.ret_claims : NULL,
                                        claim ? NULL : steps[i].u.lease.ret_events);
        if (claim)
            claims_free(steps[i].u.claim.ret_claims);
        else
            events_free(steps[i].u.lease.ret_events);
    }
    return fine;
}

/* false: it stopped half-way; the store may not even be open. */
static bool live(struct world *w, struct ledger *l)
{
    if (!open_stubbornly(w))
        return false;
    for (int i = 0; i < BATCHES; i++) {
        if (!one_turn(w, l))
            return false;
        if (i % 4 == 3) {
            store_close(TAKE(w->store));
            if (!open_stubbornly(w))
                return false;
        }
    }
    return true;
}

/* ---- afterwards ---- */

static int64_t ask(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(stmt, 0);
    (void)sqlite3_finalize(stmt);
    return value;
}

static void check_counts(struct world *w)
{
    struct store_stats s = stats_of(w);
    struct buf report;
    buf_init(&report, 1 << 16);
    if (store_verify(w->store, &report, NULL) != 1)
        fail_msg("%s", buf_str(&report));
    buf_release(&report);
    sqlite3 *db;
    assert_int_equal(sqlite3_open_v2(strchr(w->url, ':') + 1, &db, SQLITE_OPEN_READONLY, NULL),
                     SQLITE_OK);
    for (int i = 0; i < ASSET_STATES; i++) {
        char sql[96];
        (void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM assets WHERE state = %d", i + 2);
        assert_int_equal(ask(db, sql), s.by_state[i]);
    }
    for (int i = 0; i <= EVENT_OFF; i++) {
        char sql[96];
        (void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM events WHERE state = %d", i + 2);
        assert_int_equal(ask(db, sql), s.events_by_state[i]);
    }
    /* each ended run has one result and one ending */
    assert_int_equal(ask(db, "SELECT count(*) FROM results"), s.runs_success + s.runs_failed);
    assert_int_equal(ask(db, "SELECT count(*) FROM events WHERE key & 1"),
                     s.runs_success + s.runs_failed);
    (void)sqlite3_close(db);
}

static void nothing_is_lost(struct world *w, const struct ledger *l)
{
    for (size_t i = 0; i < l->ids_n; i++)
        assert_true(exists(w, l->ids[i]));
    check_counts(w);
    struct claim *c;
    while ((c = claim_up_to(w, 8))) {
        for (const struct claim *i = c; i; i = i->next) {
            for (size_t j = 0; j < l->ended_n; j++)
                assert_int_not_equal(i->number, l->ended[j]);
            assert_int_equal(finish(w, i, true), STEP_DONE);
        }
        claims_free(c);
    }
    struct store_stats s = stats_of(w);
    assert_int_equal(s.by_state[ASSET_QUEUED] + s.by_state[ASSET_STARTED], 0);
    assert_true(s.accepted >= l->ids_n);
    assert_int_equal(s.runs_success + s.runs_failed, s.accepted);
    check_counts(w);
}

/* One life with one fault, then a power cut, then all that was promised. false: the fault was not met. */
static bool survives(enum fault fault, unsigned long at, unsigned long times)
{
    struct world w;
    static struct ledger l;
    l = (struct ledger){ 0 };
    world_init(&w, WORLD_SQLITE);
    disk_start(w.folder);
    disk_fail(fault, at, times);
    bool lived = live(&w, &l);
    bool met = disk.met;
    if (times < TRIES)
        assert_true(lived);             /* the fault was over, and the store went on */
    disk_fail(FAULT_ANY, 1, ULONG_MAX); /* so that closing it saves nothing more */
    store_close(TAKE(w.store));
    power_cut();
    disk_fail(FAULT_NONE, 0, 0);
    world_open(&w);
    nothing_is_lost(&w, &l);
    disk_stop();
    world_release(&w);
    return met;
}

static void survives_each(enum fault fault, unsigned long times, unsigned long stride)
{
    unsigned long n = 1;
    while (survives(fault, n, times))
        n += stride;
    assert_true(n > 20); /* it was a long life */
}

static void every_write_may_fail(void **state)
{
    (void)state;
    survives_each(FAULT_WRITE, 1, 3);
}

static void the_disk_may_be_full_at_every_write(void **state)
{
    (void)state;
    survives_each(FAULT_NO_SPACE, 1, 5);
    survives_each(FAULT_NO_SPACE, 3, 7);
}

static void every_single_sync_may_fail(void **state)
{
    (void)state;
    survives_each(FAULT_SYNC, 1, 1);
    survives_each(FAULT_SYNC, 3, 2);
}

static void the_power_may_fail_at_every_write_or_sync(void **state)
{
    (void)state;
    survives_each(FAULT_ANY, ULONG_MAX, 3);
}

static void every_allocation_of_the_database_may_fail(void **state)
{
    (void)state;
    unsigned long n = 1;
    bool met = true;
    while (met) {
        struct world w;
        static struct ledger l;
        l = (struct ledger){ 0 };
        world_init(&w, WORLD_SQLITE);
        memory_met = false;
        memory_countdown = n;
        assert_true(live(&w, &l));
        memory_countdown = 0;
        met = memory_met;
        nothing_is_lost(&w, &l);
        world_release(&w);
        n += 1 + n / 16;
    }
    assert_true(n > 1000);
}

static void a_batch_that_failed_took_nothing(void **state)
{
    (void)state;
    static const enum fault faults[] = { FAULT_NO_SPACE, FAULT_WRITE, FAULT_SYNC };
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        struct world w;
        world_init(&w, WORLD_SQLITE);
        disk_start(w.folder);
        world_open(&w);
        struct id first = put_one(&w), second = put_one(&w);
        (void)claim_one(&w);
        struct step put = put_step("./b.jpg", URL_VALID, URL_VALID, URL_VALID);
        struct step claim = { .kind = STEP_CLAIM, .u.claim.max = 1 };
        struct step lease = { .kind = STEP_LEASE, .u.lease = { .max = 1, .lease_ms = 1000000 } };
        struct step *batch[] = { &put, &claim, &lease };
        struct err err;
        struct store_stats before = stats_of(&w);
        disk_fail(faults[i], 1, 1);
        assert_int_equal(store_apply(w.store, batch, ARRAY_LEN(batch), w.now_ms, &err), -1);
        assert_int_equal(err.code, faults[i] == FAULT_NO_SPACE ? ERR_FULL : ERR_IO);
        struct store_stats after = stats_of(&w);
        assert_memory_equal(&before, &after, sizeof(before));
        assert_int_equal(store_apply(w.store, batch, ARRAY_LEN(batch), w.now_ms, &err), 0);
        /* After a failed sync all leases are void, so the first asset may come again. */
        assert_string_equal(claim.u.claim.ret_claims->id,
                            faults[i] == FAULT_NO_SPACE ? second.text : first.text);
        assert_string_equal(lease.u.lease.ret_events->asset_id, first.text);
        claims_free(claim.u.claim.ret_claims);
        events_free(lease.u.lease.ret_events);
        disk_stop();
        world_release(&w);
    }
}

/* ---- a process that dies ---- */

static void put_until_killed(struct world *w, int out)
{
    struct err err;
    if (world_try_open(w, &err) < 0)
        _exit(1);
    for (;;) {
        struct step steps[8], *batch[8];
        for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
            steps[i] = put_step("./a.jpg", URL_VALID, URL_VALID, URL_VALID);
            batch[i] = &steps[i];
        }
        if (store_apply(w->store, batch, ARRAY_LEN(batch), w->now_ms, &err) < 0)
            _exit(1);
        for (size_t i = 0; i < ARRAY_LEN(steps); i++)
            if (write(out, steps[i].u.put.ret_id, ASSET_ID_LEN + 1) != ASSET_ID_LEN + 1)
                _exit(1);
    }
}

static void kill_9_loses_nothing_that_was_answered(void **state)
{
    (void)state;
    struct world w;
    size_t answered = 0;
    world_init(&w, WORLD_SQLITE);
    for (int i = 0; i < 5; i++) {
        int fds[2];
        assert_int_equal(pipe(fds), 0);
        pid_t child = fork();
        if (child == 0) {
            (void)close(fds[0]);
            put_until_killed(&w, fds[1]);
        }
        (void)close(fds[1]);
        char(*ids)[ASSET_ID_LEN + 1] = calloc(20000, sizeof(*ids));
        assert_non_null(ids);
        size_t len = 0, limit = (size_t)(500 + 700 * i) * sizeof(*ids);
        ssize_t n;
        while (len < limit && (n = read(fds[0], (char *)ids + len, limit - len)) > 0)
            len += (size_t)n;
        (void)kill(child, SIGKILL);
        while ((n = read(fds[0], (char *)ids + len, 20000 * sizeof(*ids) - len)) > 0)
            len += (size_t)n;
        (void)close(fds[0]);
        (void)waitpid(child, NULL, 0);
        world_open(&w);
        for (size_t j = 0; j < len / sizeof(*ids); j++)
            assert_true(exists(&w, ids[j]));
        answered += len / sizeof(*ids);
        assert_true(stats_of(&w).accepted >= answered);
        check_counts(&w);
        store_close(TAKE(w.store));
        free(ids);
    }
    assert_true(answered > 5000);
    world_release(&w);
}

static void a_second_owner_is_refused(void **state)
{
    (void)state;
    struct world w;
    struct store *second;
    struct store_config config = { .max_queued = 1 };
    struct err err;
    world_init(&w, WORLD_SQLITE);
    world_open(&w);
    assert_int_equal(store_open(w.url, &config, &second, &err), -1);
    assert_int_equal(err.code, ERR_BUSY);
    world_reopen(&w); /* the lock ends with its owner */
    world_release(&w);
}

static void a_store_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *prepare, *text;
    } cases[] = {
        { "CREATE TABLE cats (name TEXT)", "belongs to another program" },
        { "PRAGMA application_id = 1634956153; PRAGMA user_version = 99; CREATE TABLE t (x)",
          "version 99" },
    };
    struct store_config config = { .max_queued = 1 };
    struct store *store;
    struct err err;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char folder[] = "/tmp/test_store_XXXXXX", url[64];
        sqlite3 *db;
        assert_non_null(mkdtemp(folder));
        (void)snprintf(url, sizeof(url), "sqlite:%s/x.db", folder);
        assert_int_equal(sqlite3_open(url + 7, &db), SQLITE_OK);
        assert_int_equal(sqlite3_exec(db, cases[i].prepare, NULL, NULL, NULL), SQLITE_OK);
        (void)sqlite3_close(db);
        assert_int_equal(store_open(url, &config, &store, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
        assert_non_null(strstr(err.msg, cases[i].text));
        (void)nftw(folder, world_remove, 8, FTW_DEPTH | FTW_PHYS);
    }
    static const char *const urls[] = { "sqlite:", "sqlite:/tmp/", "sqlite:/proc/no/x.db", "cat:x",
                                        "memory" };
    for (size_t i = 0; i < ARRAY_LEN(urls); i++)
        assert_int_equal(store_open(urls[i], &config, &store, &err), -1);
}

static void the_file_is_for_its_owner_only(void **state)
{
    (void)state;
    static const char *const names[] = { "assay.db", "assay.db-wal" };
    struct world w;
    world_init(&w, WORLD_SQLITE);
    world_open(&w);
    (void)put_one(&w);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[128];
        struct stat st;
        (void)snprintf(path, sizeof(path), "%s/data/%s", w.folder, names[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    world_release(&w);
}

static void a_half_made_file_is_never_taken_for_a_store(void **state)
{
    (void)state;
    static const char torn[] = "SQLite format 3";
    struct world w;
    struct err err;
    char path[128];
    world_init(&w, WORLD_SQLITE);
    (void)snprintf(path, sizeof(path), "%s/data", w.folder);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof(path), "%s/data/assay.db.new", w.folder);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600); /* somebody was killed here */
    assert_int_equal(write(fd, torn, sizeof(torn)), sizeof(torn));
    (void)close(fd);
    disk_start(w.folder);
    disk_fail(FAULT_SYNC, 1, 1);
    assert_int_equal(world_try_open(&w, &err), -1);
    assert_int_equal(err.code, ERR_IO);
    assert_int_equal(access(strchr(w.url, ':') + 1, F_OK), -1);
    assert_int_equal(access(path, F_OK), -1);
    world_open(&w);
    check_counts(&w);
    disk_stop();
    world_release(&w);
}

int main(void)
{
    log_setup(LOG_ERROR + 1, LOG_LOGFMT); /* what fails here fails on purpose */
    (void)sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_memory);
    sqlite3_mem_methods failing = real_memory;
    failing.xMalloc = failing_malloc;
    failing.xRealloc = failing_realloc;
    (void)sqlite3_config(SQLITE_CONFIG_MALLOC, &failing);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kill_9_loses_nothing_that_was_answered),
        cmocka_unit_test(every_write_may_fail),
        cmocka_unit_test(a_batch_that_failed_took_nothing),
        cmocka_unit_test(the_disk_may_be_full_at_every_write),
        cmocka_unit_test(every_single_sync_may_fail),
        cmocka_unit_test(the_power_may_fail_at_every_write_or_sync),
        cmocka_unit_test(every_allocation_of_the_database_may_fail),
        cmocka_unit_test(a_second_owner_is_refused),
        cmocka_unit_test(a_store_that_makes_no_sense_is_refused),
        cmocka_unit_test(the_file_is_for_its_owner_only),
        cmocka_unit_test(a_half_made_file_is_never_taken_for_a_store),
    };
    return cmocka_run_group_tests_name("store_faults", tests, NULL, NULL);
}
