#include "store/service.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/step_line.h"

enum {
    BATCH_MAX = 1024,
    PAUSE_MIN_MS = 50, /* after a failure, doubled up to PAUSE_MAX_MS */
    PAUSE_MAX_MS = 2000,
    STOP_MS = 2000,
    PATIENCE_MS = 20,     /* how long a step that may wait does, when nothing else comes */
    LOOK_AGAIN_MS = 1000, /* longest sleep before a due time: the wall clock may be set */
};

/* Parkable steps of one kind, in order, and whether it makes sense to apply them. */
struct parking {
    struct line line;
    bool dry;        /* the last one applied found nothing, and nothing has come since */
    int64_t next_ms; /* while dry: wall time when something becomes due; 0: no such time */
    size_t made;     /* steps of this batch that may have made work for it */
};

struct service {
    struct store *store;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct line incoming; /* under lock, as all up to healthy */
    bool asleep, unparked, stopping, recall;
    bool healthy;
    struct err why; /* while not healthy */
    struct service_watch *watches;
    int wake_fd; /* eventfd: wakes a thread that sleeps in store_wait(), where the store is shared; else -1 */

    /* the store thread's own */
    unsigned wanted;      /* STORE_NEWS_… */
    int64_t look_mono;    /* when other processes may have done something unheard for long */
    bool looking;         /* ask the store, even without steps */
    struct line ready;    /* to be applied next, in order */
    struct line patient;  /* they may wait, and go with what comes next */
    int64_t patient_mono; /* while there are some: not longer */
    struct parking claims, leases;
    bool draining;      /* unparked, as the thread knows it */
    int pause_ms;       /* 0: the last batch became durable */
    int64_t retry_mono; /* while pause_ms: when to try again */
    int64_t stop_mono;  /* when to give up; 0: not stopping */
    size_t batch_max; /* halved by each failure, so that one hopeless step fails alone in the end */
    struct step *batch[BATCH_MAX];
    size_t batch_n;
};

/* ---- parking ---- */

static bool is_recalled(const struct step *step)
{
    return step->parkable && step->recalled && atomic_load(step->recalled);
}

static struct parking *parking_of(struct service *s, const struct step *step)
{
    if (!step->parkable || s->draining)
        return NULL;
    return step->kind == STEP_CLAIM ? &s->claims : step->kind == STEP_LEASE ? &s->leases : NULL;
}

static int64_t next_ms_of(const struct step *step)
{
    return step->kind == STEP_CLAIM ? step->u.claim.ret_next_ms : step->u.lease.ret_next_ms;
}

/* Whether, after this one, there is nothing more to be had. */
static bool took_all(const struct step *step)
{
    unsigned n = 0;
    if (step->result != STEP_DONE || step->kind != STEP_LEASE)
        return step->result == STEP_NOTHING;
    for (const struct event *e = step->u.lease.ret_events; e; e = e->next)
        n++;
    return n < step->u.lease.max;
}

/* How many of the parked ones are worth a try: no more than what came can serve, and one to find out
 * that there is no more. */
static size_t worth_trying(const struct parking *p)
{
    size_t most = p->dry ? p->made + (p->made > 0) : p->line.n;
    return most < p->line.n ? most : p->line.n;
}

/* Whether this step may make work for those parked. A claim makes started's event, and so on. */
static void count_made(struct service *s, const struct step *step)
{
    switch (step->kind) {
    case STEP_PUT:
    case STEP_RETRY:
    case STEP_RELEASE:
        s->claims.made++;
        break;
    case STEP_CLAIM:
    case STEP_FINISH:
    case STEP_DELIVERED:
    case STEP_RESEND:
        s->leases.made++;
        break;
    case STEP_LEASE:
    case STEP_PRUNE:
    case STEP_SAMPLE:
        break;
    }
}

static void batch_add(struct service *s, struct step *step)
{
    s->batch[s->batch_n++] = step;
    count_made(s, step);
}

static void batch_add_parked(struct service *s, struct parking *p)
{
    for (size_t n = worth_trying(p); n > 0 && s->batch_n < s->batch_max; n--)
        batch_add(s, line_take(&p->line));
}

static void look_at_clock(struct parking *p, int64_t now_ms)
{
    if (p->dry && p->next_ms && p->next_ms <= now_ms)
        p->dry = false;
}

/* Those that may find something are applied in the same transaction as what made it. */
static void make_batch(struct service *s, int64_t now_ms)
{
    s->batch_n = 0;
    s->claims.made = s->leases.made = 0;
    look_at_clock(&s->claims, now_ms);
    look_at_clock(&s->leases, now_ms);
    while (s->ready.n && s->batch_n < s->batch_max)
        batch_add(s, line_take(&s->ready));
    batch_add_parked(s, &s->claims);
    batch_add_parked(s, &s->leases);
}

/* ---- after a batch ---- */

static void set_health(struct service *s, bool healthy, const struct err *why)
{
    (void)pthread_mutex_lock(&s->lock);
    s->healthy = healthy;
    if (!healthy)
        s->why = *why;
    (void)pthread_mutex_unlock(&s->lock);
}

static bool changes_a_state(const struct step *step)
{
    switch (step->kind) {
    case STEP_PUT:
        return step->result == STEP_DONE && !step->u.put.ret_repeated;
    case STEP_RETRY:
    case STEP_CLAIM:
    case STEP_FINISH:
        return step->result == STEP_DONE;
    case STEP_RELEASE:
    case STEP_LEASE:
    case STEP_DELIVERED:
    case STEP_RESEND:
    case STEP_PRUNE:
    case STEP_SAMPLE:
        break;
    }
    return false;
}

/* Before the answers: once a step is answered it may be gone. */
static void tell_watches(struct service *s, bool changed)
{
    for (size_t i = 0; i < s->batch_n && !changed; i++)
        changed = changes_a_state(s->batch[i]);
    if (!changed)
        return;
    (void)pthread_mutex_lock(&s->lock);
    for (struct service_watch *w = s->watches; w; w = w->next) {
        if (atomic_exchange(&w->posted, true))
            continue;
        w->mail.next = NULL;
        mailbox_post(w->reply_to, &w->mail, &w->mail);
    }
    (void)pthread_mutex_unlock(&s->lock);
}

/* What this batch made and nobody has taken yet keeps the parked ones worth a try. */
static void update_dry(struct parking *p)
{
    if (p->made)
        p->dry = false;
}

static void batch_durable(struct service *s)
{
    struct replies replies = { 0 };
    if (s->pause_ms) {
        log_info("store_works_again", LOG_I("waiting", s->ready.n));
        set_health(s, true, NULL);
    }
    tell_watches(s, false);
    update_dry(&s->claims);
    update_dry(&s->leases);
    for (size_t i = s->batch_n; i-- > 0;) { /* backwards: those parked again keep their order */
        struct step *step = s->batch[i];
        struct parking *p = parking_of(s, step);
        if (!p || !took_all(step))
            continue;
        if (!p->dry)
            p->next_ms = next_ms_of(step);
        p->dry = true;
        if (step->result == STEP_NOTHING) {
            line_add_first(&p->line, step);
            s->batch[i] = NULL;
        }
    }
    for (size_t i = 0; i < s->batch_n; i++)
        if (s->batch[i])
            replies_add(&replies, s->batch[i]);
    replies_send(&replies);
    s->pause_ms = 0;
    s->batch_max = s->batch_max < BATCH_MAX / 2 ? 2 * s->batch_max : BATCH_MAX;
}

static bool fails_at_once(const struct step *step)
{
    return step->kind == STEP_PUT || step->kind == STEP_RETRY || step->kind == STEP_RESEND ||
           step->kind == STEP_SAMPLE;
}

static void batch_failed(struct service *s, const struct err *why)
{
    struct replies replies = { 0 };
    bool alone = s->batch_n == 1;
    set_health(s, false, why); /* before the answers: who gets one may ask */
    for (size_t i = s->batch_n; i-- > 0;) {
        struct step *step = s->batch[i];
        struct parking *p = parking_of(s, step);
        step->result = STEP_FAILED;
        if (p) {
            p->dry = false;
            line_add_first(&p->line, step);
        } else if (step->parkable) { /* and the drain has begun */
            step->result = STEP_NOTHING;
            replies_add(&replies, step);
        } else if (alone && !fails_at_once(step)) {
            line_add(&s->ready, step); /* the others first: it may never succeed */
        } else if (!fails_at_once(step)) {
            line_add_first(&s->ready, step);
        } else {
            replies_add(&replies, step);
        }
    }
    replies_send(&replies);
    s->pause_ms = s->pause_ms ? 2 * s->pause_ms : PAUSE_MIN_MS;
    if (s->pause_ms > PAUSE_MAX_MS)
        s->pause_ms = PAUSE_MAX_MS;
    s->retry_mono = clock_mono_ms() + s->pause_ms;
    s->batch_max = s->batch_n > 1 ? s->batch_n / 2 : 1;
    log_warn("store_failed", LOG_S("why", why->msg), LOG_I("steps", s->batch_n),
             LOG_I("pause_ms", s->pause_ms));
}

static void answer_all(struct line *line, enum step_result result)
{
    struct replies replies = { 0 };
    while (line->n) {
        struct step *step = line_take(line);
        step->result = result;
        replies_add(&replies, step);
    }
    replies_send(&replies);
}

static void answer_recalled(struct line *line)
{
    struct replies replies = { 0 };
    struct line stay = { 0 };
    while (line->n) {
        struct step *step = line_take(line);
        if (!is_recalled(step)) {
            line_add(&stay, step);
            continue;
        }
        step->result = STEP_NOTHING;
        replies_add(&replies, step);
    }
    *line = stay;
    replies_send(&replies);
}

/* ---- the thread ---- */

static bool in_pause(const struct service *s)
{
    return s->pause_ms && clock_mono_ms() < s->retry_mono;
}

/* Put what came where it belongs. During a pause, what cannot wait fails at once. */
static void sort_in(struct service *s, struct line *incoming)
{
    struct replies replies = { 0 };
    bool pause = in_pause(s);
    while (incoming->n) {
        struct step *step = line_take(incoming);
        struct parking *p = parking_of(s, step);
        if (is_recalled(step)) {
            step->result = STEP_NOTHING;
            replies_add(&replies, step);
        } else if (p) {
            line_add(&p->line, step);
        } else if (pause && fails_at_once(step)) {
            step->result = STEP_FAILED;
            replies_add(&replies, step);
        } else if (!s->draining && store_may_wait(s->store, step)) {
            if (!s->patient.n)
                s->patient_mono = clock_mono_ms() + PATIENCE_MS;
            line_add(&s->patient, step);
        } else {
            line_add(&s->ready, step);
        }
    }
    replies_send(&replies);
}

static bool has_work(const struct service *s)
{
    return s->ready.n || (s->claims.line.n && !s->claims.dry) ||
           (s->leases.line.n && !s->leases.dry);
}

/* Those that may wait go first: what made them came first. */
static void release_patient(struct service *s)
{
    if (!s->patient.n || (!has_work(s) && !s->draining && clock_mono_ms() < s->patient_mono))
        return;
    line_join(&s->patient, &s->ready);
    s->ready = s->patient;
    s->patient = (struct line){ 0 };
}

static int64_t until_due(const struct parking *p, int64_t now_ms)
{
    if (!p->line.n || !p->next_ms)
        return -1;
    int64_t ms = p->next_ms - now_ms;
    return ms < 0 ? 0 : ms < LOOK_AGAIN_MS ? ms : LOOK_AGAIN_MS;
}

/* Of two times to sleep; -1: for ever. */
static int64_t sooner(int64_t a, int64_t b)
{
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* How long the thread may sleep; -1: until something comes. */
static int64_t sleep_ms(const struct service *s)
{
    if (s->pause_ms) {
        int64_t ms = s->retry_mono - clock_mono_ms();
        if (s->stop_mono && s->stop_mono < s->retry_mono)
            ms = s->stop_mono - clock_mono_ms();
        return ms > 0 ? ms : 0;
    }
    if (has_work(s))
        return 0;
    int64_t now_ms = clock_wall_ms();
    int64_t ms = sooner(until_due(&s->claims, now_ms), until_due(&s->leases, now_ms));
    if (!s->patient.n)
        return ms;
    int64_t patient_ms = s->patient_mono - clock_mono_ms();
    return sooner(ms, patient_ms > 0 ? patient_ms : 0);
}

static void sleep_locked(struct service *s, int64_t ms)
{
    s->asleep = true;
    if (ms < 0) {
        (void)pthread_cond_wait(&s->wake, &s->lock);
    } else {
        int64_t at_us = clock_mono_us() + ms * 1000;
        struct timespec until = { .tv_sec = at_us / 1000000, .tv_nsec = at_us % 1000000 * 1000 };
        (void)pthread_cond_timedwait(&s->wake, &s->lock, &until);
    }
    s->asleep = false;
}

/* What is wanted goes on being so until the next look: those who wait for one asset come and go. */
static void update_wanted(struct service *s)
{
    if (s->watches)
        s->wanted |= STORE_NEWS_CHANGES;
    else if (s->looking)
        s->wanted &= ~(unsigned)STORE_NEWS_CHANGES;
    if (s->claims.line.n || s->leases.line.n)
        s->wanted |= STORE_NEWS_WORK;
}

/* The same where other processes may have news. These can be missed (a connection was lost, a process
 * died before it told), so once in a while the store is looked at without any. */
static unsigned listen_locked(struct service *s, int64_t ms)
{
    int64_t look_ms = s->look_mono - clock_mono_ms();
    if (ms < 0 || ms > look_ms)
        ms = look_ms > 0 ? look_ms : 0;
    update_wanted(s);
    s->asleep = ms > 0;
    (void)pthread_mutex_unlock(&s->lock);
    unsigned news = store_wait(s->store, s->wanted, s->wake_fd, (int)ms);
    (void)pthread_mutex_lock(&s->lock);
    if (ms > 0 && !s->asleep) {
        eventfd_t ignored;
        (void)eventfd_read(s->wake_fd, &ignored);
    }
    s->asleep = false;
    s->looking = clock_mono_ms() >= s->look_mono;
    if (news || s->looking)
        s->look_mono = clock_mono_ms() + LOOK_AGAIN_MS;
    return news;
}

/* Sleep until there may be something to do; take all that came. true: some parked steps are recalled. */
static bool wait_for_work(struct service *s, struct line *ret_incoming, unsigned *ret_news)
{
    int64_t ms = sleep_ms(s);
    *ret_news = 0;
    (void)pthread_mutex_lock(&s->lock);
    if (s->incoming.n || s->unparked != s->draining || s->recall ||
        s->stopping != (s->stop_mono != 0))
        ms = 0;
    if (s->wake_fd >= 0)
        *ret_news = listen_locked(s, ms);
    else if (ms != 0)
        sleep_locked(s, ms);
    *ret_incoming = s->incoming;
    s->incoming = (struct line){ 0 };
    bool recall = s->recall;
    s->recall = false;
    s->draining = s->unparked;
    if (s->stopping && !s->stop_mono)
        s->stop_mono = clock_mono_ms() + STOP_MS;
    (void)pthread_mutex_unlock(&s->lock);
    return recall;
}

static bool is_done(struct service *s)
{
    (void)pthread_mutex_lock(&s->lock);
    bool done = s->stop_mono && !s->ready.n && !s->patient.n && !s->incoming.n;
    (void)pthread_mutex_unlock(&s->lock);
    return done;
}

static void apply_batch(struct service *s)
{
    struct err err = { 0 };
    int64_t now_ms = clock_wall_ms();
    make_batch(s, now_ms);
    if (!s->batch_n && !s->pause_ms && !s->looking)
        return;
    /* After a pause even without steps: the store must be seen to work before it is called healthy,
     * and nobody may send anything before it is. */
    if (store_apply(s->store, s->batch, s->batch_n, now_ms, &err) < 0)
        batch_failed(s, &err);
    else
        batch_durable(s);
}

static void *service_run(void *arg)
{
    struct service *s = arg;
    while (!is_done(s)) {
        struct line incoming;
        unsigned news;
        bool recall = wait_for_work(s, &incoming, &news);
        sort_in(s, &incoming);
        if (s->looking || (news & STORE_NEWS_WORK))
            s->claims.dry = s->leases.dry = false;
        if (news & STORE_NEWS_CHANGES)
            tell_watches(s, true);
        if (s->draining) {
            answer_all(&s->claims.line, STEP_NOTHING);
            answer_all(&s->leases.line, STEP_NOTHING);
        }
        if (recall) {
            answer_recalled(&s->claims.line);
            answer_recalled(&s->leases.line);
        }
        release_patient(s);
        if (!in_pause(s))
            apply_batch(s);
        if (s->pause_ms && s->stop_mono && clock_mono_ms() >= s->stop_mono)
            answer_all(&s->ready, STEP_FAILED);
    }
    return NULL;
}

/* ---- for other threads ---- */

static void wake_locked(struct service *s)
{
    if (s->asleep && s->wake_fd >= 0)
        (void)eventfd_write(s->wake_fd, 1);
    else if (s->asleep)
        (void)pthread_cond_signal(&s->wake);
    s->asleep = false; /* one signal is enough */
}

static void service_free(struct service *s)
{
    if (s->wake_fd >= 0)
        (void)close(s->wake_fd);
    (void)pthread_cond_destroy(&s->wake);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

int service_start(struct store *store, struct service **ret_service, struct err *err)
{
    struct service *s = calloc(1, sizeof(*s));
    if (!s)
        return err_set(err, ERR_NOMEM, "out of memory");
    s->store = store;
    s->wake_fd = store->ops->wait ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
    if (store->ops->wait && s->wake_fd < 0) {
        free(s);
        return err_errno(err, errno, "eventfd");
    }
    s->healthy = true;
    s->batch_max = BATCH_MAX;
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&s->wake, &attr);
    (void)pthread_condattr_destroy(&attr);
    (void)pthread_mutex_init(&s->lock, NULL);
    int rc = pthread_create(&s->thread, NULL, service_run, s);
    if (rc != 0) {
        service_free(s);
        return err_errno(err, rc, "store thread");
    }
    *ret_service = s;
    return 0;
}

void service_submit(struct service *service, struct step *first, struct step *last)
{
    size_t n = 1;
    for (const struct mail *m = &first->mail; m != &last->mail; m = m->next)
        n++;
    last->mail.next = NULL;
    (void)pthread_mutex_lock(&service->lock);
    line_join(&service->incoming, &(struct line){ &first->mail, &last->mail, n });
    wake_locked(service);
    (void)pthread_mutex_unlock(&service->lock);
}

void service_unpark(struct service *service)
{
    (void)pthread_mutex_lock(&service->lock);
    service->unparked = true;
    wake_locked(service);
    (void)pthread_mutex_unlock(&service->lock);
}

void service_recall(struct service *service)
{
    (void)pthread_mutex_lock(&service->lock);
    service->recall = true;
    wake_locked(service);
    (void)pthread_mutex_unlock(&service->lock);
}

bool service_healthy(struct service *service, struct err *ret_why)
{
    (void)pthread_mutex_lock(&service->lock);
    bool healthy = service->healthy;
    if (!healthy && ret_why)
        *ret_why = service->why;
    (void)pthread_mutex_unlock(&service->lock);
    return healthy;
}

void service_watch(struct service *service, struct service_watch *watch)
{
    (void)pthread_mutex_lock(&service->lock);
    watch->next = service->watches;
    service->watches = watch;
    if (service->wake_fd >= 0)
        wake_locked(service); /* to listen for others' changes */
    (void)pthread_mutex_unlock(&service->lock);
}

void service_unwatch(struct service *service, struct service_watch *watch)
{
    (void)pthread_mutex_lock(&service->lock);
    struct service_watch **at = &service->watches;
    while (*at && *at != watch)
        at = &(*at)->next;
    if (*at)
        *at = watch->next;
    (void)pthread_mutex_unlock(&service->lock);
}

void service_call(struct service *service, struct step *step)
{
    struct mailbox box;
    step->result = STEP_FAILED;
    if (mailbox_init(&box, NULL) < 0)
        return;
    step->reply_to = &box;
    service_submit(service, step, step);
    while (!mailbox_wait(&box, -1))
        ;
    mailbox_release(&box);
}

void service_stop(struct service *service)
{
    if (!service)
        return;
    (void)pthread_mutex_lock(&service->lock);
    service->unparked = service->stopping = true;
    wake_locked(service);
    (void)pthread_mutex_unlock(&service->lock);
    (void)pthread_join(service->thread, NULL);
    service_free(service);
}
