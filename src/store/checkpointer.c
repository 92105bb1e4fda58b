#include "store/checkpointer.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "store/sqlite_db.h"

enum { WORTH_IT_PAGES = 400, PERIOD_MS = 20 };

struct checkpointer {
    sqlite3 *db; /* the thread's, under working */
    pthread_t thread;
    pthread_mutex_t working; /* held during a checkpoint */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    int wal_pages; /* under lock: as told, 0 after a checkpoint began */
    bool stop;     /* under lock */
};

static void checkpoint(struct checkpointer *c, bool *failing)
{
    (void)pthread_mutex_lock(&c->working);
    int rc = sqlite3_wal_checkpoint_v2(c->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    /* Safe to leave for later: the log keeps every page until all of them are synced elsewhere. */
    if (rc != SQLITE_OK && rc != SQLITE_BUSY && !*failing)
        log_warn("store_checkpoint_failed", LOG_S("why", sqlite3_errmsg(c->db)));
    *failing = rc != SQLITE_OK;
    (void)pthread_mutex_unlock(&c->working);
}

static void nap(struct checkpointer *c)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += PERIOD_MS * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    while (!c->stop && pthread_cond_timedwait(&c->wake, &c->lock, &until) == 0)
        ;
}

static void *checkpointer_run(void *arg)
{
    struct checkpointer *c = arg;
    bool failing = false;
    (void)pthread_mutex_lock(&c->lock);
    while (!c->stop) {
        if (c->wal_pages < WORTH_IT_PAGES) {
            (void)pthread_cond_wait(&c->wake, &c->lock);
            continue;
        }
        c->wal_pages = 0;
        (void)pthread_mutex_unlock(&c->lock);
        checkpoint(c, &failing);
        (void)pthread_mutex_lock(&c->lock);
        nap(c);
    }
    (void)pthread_mutex_unlock(&c->lock);
    return NULL;
}

int checkpointer_start(const char *path, struct checkpointer **ret, struct err *err)
{
    struct checkpointer *c = calloc(1, sizeof(*c));
    if (!c)
        return err_set(err, ERR_NOMEM, "out of memory");
    if (sqlite_connect(path, true, &c->db, err) < 0) {
        free(c);
        return -1;
    }
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&c->wake, &attr);
    (void)pthread_condattr_destroy(&attr);
    (void)pthread_mutex_init(&c->lock, NULL);
    (void)pthread_mutex_init(&c->working, NULL);
    int rc = pthread_create(&c->thread, NULL, checkpointer_run, c);
    if (rc != 0) {
        sqlite_disconnect(c->db);
        free(c);
        return err_errno(err, rc, "thread");
    }
    *ret = c;
    return 0;
}

void checkpointer_tell(struct checkpointer *c, int wal_pages)
{
    if (wal_pages < WORTH_IT_PAGES)
        return;
    (void)pthread_mutex_lock(&c->lock);
    if (c->wal_pages < WORTH_IT_PAGES)
        (void)pthread_cond_signal(&c->wake);
    c->wal_pages = wal_pages;
    (void)pthread_mutex_unlock(&c->lock);
}

void checkpointer_pause(struct checkpointer *c)
{
    (void)pthread_mutex_lock(&c->working);
}

void checkpointer_resume(struct checkpointer *c)
{
    (void)pthread_mutex_unlock(&c->working);
}

void checkpointer_stop(struct checkpointer *c)
{
    if (!c)
        return;
    (void)pthread_mutex_lock(&c->lock);
    c->stop = true;
    (void)pthread_cond_signal(&c->wake);
    (void)pthread_mutex_unlock(&c->lock);
    (void)pthread_join(c->thread, NULL);
    sqlite_disconnect(c->db);
    (void)pthread_cond_destroy(&c->wake);
    (void)pthread_mutex_destroy(&c->lock);
    (void)pthread_mutex_destroy(&c->working);
    free(c);
}
