#include "worker/worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "worker/report.h"

enum {
    CLAIM_MAX = 8,
    JOBS = 2 * CLAIM_MAX, /* endings that may be on their way to the store, a worker */
    TEXT_MAX_LEN = 64 * 1024,
};

/* An ending on its way to the store, with all that its step borrows. */
struct job {
    struct step step; /* first: the mail that comes back is the job */
    struct job *next_free;
    struct claim *claim;
    int64_t submitted_us; /* its ending; 0: none */
    struct buf errors, report;
};

/* One thread. Only it touches this, but for the atomics. */
struct worker {
    struct workers *all;
    unsigned slot;
    pthread_t thread;
    struct mailbox box;
    struct step claim_step;
    bool claiming;       /* claim_step is away */
    atomic_bool resting; /* beyond the active ones: claims nothing */
    struct mail wake;    /* posted when there may be something else to do than to wait */
    atomic_bool woken;   /* wake is in the box */
    pthread_mutex_t shown_lock;
    char current[ASSET_ID_LEN + 1]; /* under it: what is being checked; "" */
    struct claim *held;             /* claimed, not begun; oldest first */
    struct job jobs[JOBS];
    struct job *free_jobs;
    unsigned jobs_away;
};

struct workers {
    struct workers_config config;
    atomic_bool draining;
    _Atomic uint64_t valid, invalid, faults;
    atomic_uint busy, active;
    struct workers_times times;
    unsigned started;
    struct worker worker[];
};

int64_t worker_retry_ms(unsigned attempts, int64_t now_ms, uint32_t random)
{
    unsigned doublings = attempts > 0 ? attempts - 1 : 0;
    int64_t pause_ms = doublings < 9 ? (int64_t)1000 << doublings : 300 * 1000;
    if (pause_ms > 300 * 1000)
        pause_ms = 300 * 1000;
    return now_ms + pause_ms + (int64_t)(random % 1000) * pause_ms / 4000;
}

static void submit(struct worker *w, struct step *step)
{
    step->reply_to = &w->box;
    service_submit(w->all->config.service, step, step);
}

static void claim_more(struct worker *w)
{
    if (w->claiming || atomic_load(&w->all->draining) || atomic_load(&w->resting))
        return;
    w->claim_step = (struct step){ .kind = STEP_CLAIM, .parkable = true, .recalled = &w->resting };
    w->claim_step.u.claim.max = CLAIM_MAX;
    w->claiming = true;
    submit(w, &w->claim_step);
}

static void take_back(struct worker *w, struct job *job)
{
    if (job->step.result == STEP_LOST)
        log_warn("asset_lost", LOG_S("asset", job->claim->id),
                 LOG_S("why", "somebody else has it meanwhile"));
    else if (job->step.result == STEP_FAILED)
        log_error("asset_not_stored", LOG_S("asset", job->claim->id),
                  LOG_S("why", "the store is away; it is validated again after the next start"));
    if (job->submitted_us && job->step.result == STEP_DONE)
        histogram_add(&w->all->times.store, &histogram_work, clock_mono_us() - job->submitted_us);
    claims_free(TAKE(job->claim));
    buf_release(&job->errors);
    buf_release(&job->report);
    job->next_free = w->free_jobs;
    w->free_jobs = job;
    w->jobs_away--;
}

static void take_mail(struct worker *w, struct mail *mail)
{
    while (mail) {
        struct step *step = MAIL_ENTRY(mail, struct step, mail);
        bool only_wakes = mail == &w->wake;
        mail = mail->next;
        if (only_wakes) {
            atomic_store(&w->woken, false);
            continue;
        }
        if (step != &w->claim_step) {
            take_back(w, (struct job *)step);
            continue;
        }
        w->claiming = false;
        if (step->result != STEP_DONE)
            continue;
        struct claim **end = &w->held;
        while (*end)
            end = &(*end)->next;
        *end = TAKE(step->u.claim.ret_claims);
    }
}

/* A job for claim, waiting for an earlier ending to be stored when all are away. Owns claim then. */
static struct job *job_for(struct worker *w, struct claim *claim)
{
    while (!w->free_jobs)
        take_mail(w, mailbox_wait(&w->box, -1));
    struct job *job = w->free_jobs;
    w->free_jobs = job->next_free;
    w->jobs_away++;
    *job = (struct job){ .claim = claim };
    buf_init(&job->errors, TEXT_MAX_LEN);
    buf_init(&job->report, TEXT_MAX_LEN);
    return job;
}

static void release(struct worker *w, struct job *job, int64_t not_before_ms, bool fault)
{
    job->step.kind = STEP_RELEASE;
    job->step.u.release = (struct step_release){ .number = job->claim->number,
                                                 .run = job->claim->run,
                                                 .not_before_ms = not_before_ms,
                                                 .fault = fault };
    submit(w, &job->step);
}

/* Look at the file. 0: *v says all; -1: a fault. */
static int examine(struct worker *w, const struct claim *claim, struct verdict *v, struct err *err)
{
    const struct workers_config *config = &w->all->config;
    CLEANUP(closep) int fd = -1;
    uint64_t size = 0;
    struct workers_times *times = &w->all->times;
    int64_t began_us = clock_mono_us();
    int reachable = asset_root_file(config->root, claim->path, &fd, &size, err);
    int64_t opened_us = clock_mono_us();
    histogram_add(&times->open, &histogram_work, opened_us - began_us);
    if (reachable < 0)
        return -1;
    if (reachable > 0) {
        int rc = pool_check(config->pool, w->slot, fd, size, v, err);
        histogram_add(&times->check, &histogram_work, clock_mono_us() - opened_us);
        return rc;
    }
    verdict_init(v, 0);
    (void)verdict_add(v, FINDING_NOT_REACHABLE);
    log_info("asset_unreachable", LOG_S("asset", claim->id), LOG_S("path", claim->path),
             LOG_S("why", err->msg));
    return 0;
}

static void finish(struct worker *w, struct job *job, const struct verdict *v)
{
    struct workers *all = w->all;
    uint32_t codes;
    report_write(v, job->claim->url_states, &all->config.limits, &job->errors, &job->report,
                 &codes);
    if (buf_failed(&job->errors) || buf_failed(&job->report)) { /* no memory: that is a fault */
        release(w, job, clock_wall_ms() + 1000, true);
        return;
    }
    job->step.kind = STEP_FINISH;
    job->step.u.finish = (struct step_finish){ .number = job->claim->number,
                                               .run = job->claim->run,
                                               .success = codes == 0,
                                               .codes = codes,
                                               .errors = codes ? job->errors.data : NULL,
                                               .report = job->report.data };
    job->submitted_us = clock_mono_us();
    atomic_fetch_add(codes ? &all->invalid : &all->valid, 1);
    log_info("asset_ended", LOG_S("asset", job->claim->id),
             LOG_S("state", codes ? "failed" : "success"), LOG_S("errors", buf_str(&job->errors)));
    submit(w, &job->step);
}

static void show_current(struct worker *w, const char *id)
{
    (void)pthread_mutex_lock(&w->shown_lock);
    (void)snprintf(w->current, sizeof(w->current), "%s", id);
    (void)pthread_mutex_unlock(&w->shown_lock);
}

static void work_on(struct worker *w, struct claim *claim)
{
    struct verdict v;
    struct err err = { 0 };
    struct job *job = job_for(w, claim);
    if (atomic_load(&w->all->draining)) {
        release(w, job, 0, false);
        return;
    }
    if (claim->deaths >= WORKER_MAX_DEATHS) {
        log_error("asset_poisonous", LOG_S("asset", claim->id), LOG_I("deaths", claim->deaths),
                  LOG_S("why", "so many worker processes died while they had it"));
        verdict_init(&v, 0);
        struct finding *f = verdict_add(&v, FINDING_CORRUPT);
        (void)strncpy(f->detail, "the workers that looked at it died", sizeof(f->detail) - 1);
        finish(w, job, &v);
        return;
    }
    log_info("asset_started", LOG_S("asset", claim->id), LOG_I("run", claim->run));
    if (claim->run == 1 && claim->attempts == 1)
        histogram_add(&w->all->times.wait, &histogram_work,
                      (claim->started_ms - claim->accepted_ms) * 1000);
    (void)atomic_fetch_add(&w->all->busy, 1);
    show_current(w, claim->id);
    int examined = examine(w, claim, &v, &err);
    show_current(w, "");
    (void)atomic_fetch_sub(&w->all->busy, 1);
    if (examined == 0) {
        finish(w, job, &v);
        return;
    }
    atomic_fetch_add(&w->all->faults, 1);
    log_warn("asset_fault", LOG_S("asset", claim->id), LOG_I("attempt", claim->attempts),
             LOG_S("why", err.msg));
    if (claim->attempts >= WORKER_MAX_ATTEMPTS) {
        verdict_init(&v, 0);
        struct finding *f = verdict_add(&v, FINDING_NOT_REACHABLE);
        (void)strncpy(f->detail, "it could not be read in ten attempts", sizeof(f->detail) - 1);
        finish(w, job, &v);
        return;
    }
    uint32_t random = 0;
    (void)!getrandom(&random, sizeof(random), 0); /* only jitter */
    release(w, job, worker_retry_ms(claim->attempts, clock_wall_ms(), random), true);
}

static void *worker_run(void *arg)
{
    struct worker *w = arg;
    for (;;) {
        claim_more(w);
        while (w->held) {
            struct claim *claim = w->held;
            w->held = TAKE(claim->next);
            if (!w->held)
                claim_more(w); /* its commit goes on while this last one is checked */
            work_on(w, claim);
            take_mail(w, mailbox_take(&w->box));
        }
        if (!w->claiming && w->jobs_away == 0 && atomic_load(&w->all->draining))
            return NULL;
        take_mail(w, mailbox_wait(&w->box, -1));
    }
}

static int start_one(struct workers *all, unsigned slot, struct err *err)
{
    struct worker *w = &all->worker[slot];
    *w = (struct worker){ .all = all, .slot = slot };
    for (int i = 0; i < JOBS; i++) {
        w->jobs[i].next_free = w->free_jobs;
        w->free_jobs = &w->jobs[i];
    }
    if (mailbox_init(&w->box, err) < 0)
        return -1;
    (void)pthread_mutex_init(&w->shown_lock, NULL);
    int rc = pthread_create(&w->thread, NULL, worker_run, w);
    if (rc != 0) {
        (void)pthread_mutex_destroy(&w->shown_lock);
        mailbox_release(&w->box);
        return err_errno(err, rc, "start worker %u", slot);
    }
    all->started++;
    return 0;
}

int workers_start(const struct workers_config *config, struct workers **ret_workers,
                  struct err *err)
{
    struct workers *all = calloc(1, sizeof(*all) + config->count * sizeof(all->worker[0]));
    if (!all)
        return err_set(err, ERR_NOMEM, "out of memory");
    all->config = *config;
    all->active = config->count;
    for (unsigned i = 0; i < config->count; i++) {
        if (start_one(all, i, err) < 0) {
            workers_drain(all);
            service_unpark(config->service);
            workers_stop(all);
            return -1;
        }
    }
    *ret_workers = all;
    return 0;
}

void workers_stats(const struct workers *all, struct workers_stats *ret_stats)
{
    ret_stats->valid = atomic_load(&all->valid);
    ret_stats->invalid = atomic_load(&all->invalid);
    ret_stats->faults = atomic_load(&all->faults);
    ret_stats->threads = all->config.count;
    ret_stats->active = atomic_load(&all->active);
    ret_stats->busy = atomic_load(&all->busy);
}

size_t workers_current(struct workers *all, char ret_ids[][ASSET_ID_LEN + 1], size_t max)
{
    size_t n = 0;
    for (unsigned i = 0; i < all->started && n < max; i++) {
        struct worker *w = &all->worker[i];
        (void)pthread_mutex_lock(&w->shown_lock);
        (void)strcpy(ret_ids[n], w->current);
        (void)pthread_mutex_unlock(&w->shown_lock);
        n += ret_ids[n][0] != '\0';
    }
    return n;
}

static void wake(struct worker *w)
{
    if (!atomic_exchange(&w->woken, true))
        mailbox_post(&w->box, &w->wake, &w->wake);
}

void workers_resize(struct workers *all, unsigned active)
{
    if (active > all->started)
        active = all->started;
    atomic_store(&all->active, active);
    for (unsigned i = 0; i < all->started; i++) {
        atomic_store(&all->worker[i].resting, i >= active);
        wake(&all->worker[i]);
    }
    service_recall(all->config.service);
}

const struct workers_times *workers_times(const struct workers *all)
{
    return &all->times;
}

void workers_drain(struct workers *all)
{
    atomic_store(&all->draining, true);
    for (unsigned i = 0; i < all->started; i++)
        wake(&all->worker[i]); /* one that rests waits for nothing else */
}

void workers_stop(struct workers *all)
{
    if (!all)
        return;
    for (unsigned i = 0; i < all->started; i++) {
        (void)pthread_join(all->worker[i].thread, NULL);
        (void)pthread_mutex_destroy(&all->worker[i].shown_lock);
        mailbox_release(&all->worker[i].box);
    }
    free(all);
}
