#include "store/service.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

enum {
    BATCH_MAX = 1024,
    PAUSE_MIN_MS = 50, /* after a failure, doubled up to PAUSE_MAX_MS */
    PAUSE_MAX_MS = 2000,
    STOP_MS = 2000,
    LOOK_AGAIN_MS = 1000, /* longest sleep before a due time: the wall clock may be set */
    REPLY_BOXES = 16
};

/* Steps in order. */
struct line {
    struct mail *first, *last;
    size_t n;
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
    unsigned news; /* STORE_NEWS_…, from the listener */
    bool look;     /* other processes may have done something unheard */

    /* hears of other processes, where the store is shared */
    pthread_t listener;
    bool listening;
    int stop_fd; /* eventfd: readable when the listener shall end; -1: there is none */

    /* the store thread's own */
    bool looking;      /* ask the store, even without steps */
    struct line ready; /* to be applied next, in order */
    struct parking claims, leases;
    bool draining;      /* unparked, as the thread knows it */
    int pause_ms;       /* 0: the last batch became durable */
    int64_t retry_mono; /* while pause_ms: when to try again */
    int64_t stop_mono;  /* when to give up; 0: not stopping */
    size_t batch_max; /* halved by each failure, so that one hopeless step fails alone in the end */
    struct step *batch[BATCH_MAX];
    size_t batch_n;
};

static struct step *step_of(struct mail *mail)
{
    return MAIL_ENTRY(mail, struct step, mail);
}

static void line_add(struct line *line, struct step *step)
{
    step->mail.next = NULL;
    if (line->first)
        line->last->next = &step->mail;
    else
        line->first = &step->mail;
    line->last = &step->mail;
    line->n++;
}

static void line_add_first(struct line *line, struct step *step)
{
    step->mail.next = line->first;
    if (!line->first)
        line->last = &step->mail;
    line->first = &step->mail;
    line->n++;
}

static struct step *line_take(struct line *line)
{
    struct step *step = step_of(line->first);
    line->first = step->mail.next;
    line->n--;
    return step;
}

/* ---- answers: one post a mailbox ---- */

struct replies {
    struct {
        struct mailbox *box;
        struct line line;
    } boxes[REPLY_BOXES];
    size_t n;
};

static void replies_send(struct replies *r)
{
    for (size_t i = 0; i < r->n; i++)
        mailbox_post(r->boxes[i].box, r->boxes[i].line.first, r->boxes[i].line.last);
    r->n = 0;
}

static void replies_add(struct replies *r, struct step *step)
{
    size_t i = 0;
    while (i < r->n && r->boxes[i].box != step->reply_to)
        i++;
    if (i == REPLY_BOXES) {
        replies_send(r);
        i = 0;
    }
    if (i == r->n) {
        r->boxes[i].box = step->reply_to;
        r->boxes[i].line = (struct line){ 0 };
        r->n++;
    }
    line_add(&r->boxes[i].line, step);
}

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
        if (p && step->result == STEP_NOTHING) {
            if (!p->dry)
                p->next_ms = next_ms_of(step);
            p->dry = true;
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

static int64_t until_due(const struct parking *p, int64_t now_ms)
{
    if (!p->line.n || !p->next_ms)
        return -1;
    int64_t ms = p->next_ms - now_ms;
    return ms < 0 ? 0 : ms < LOOK_AGAIN_MS ? ms : LOOK_AGAIN_MS;
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
    int64_t claims = until_due(&s->claims, now_ms), leases = until_due(&s->leases, now_ms);
    return claims < 0 || (leases >= 0 && leases < claims) ? leases : claims;
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

/* Sleep until there may be something to do; take all that came. true: some parked steps are recalled. */
static bool wait_for_work(struct service *s, struct line *ret_incoming, unsigned *ret_news)
{
    int64_t ms = sleep_ms(s);
    (void)pthread_mutex_lock(&s->lock);
    if (!s->incoming.n && ms != 0 && s->unparked == s->draining && !s->news && !s->look &&
        !s->recall && s->stopping == (s->stop_mono != 0))
        sleep_locked(s, ms);
    *ret_incoming = s->incoming;
    s->incoming = (struct line){ 0 };
    *ret_news = s->news;
    s->looking = s->look;
    bool recall = s->recall;
    s->news = 0;
    s->look = s->recall = false;
    s->draining = s->unparked;
    if (s->stopping && !s->stop_mono)
        s->stop_mono = clock_mono_ms() + STOP_MS;
    (void)pthread_mutex_unlock(&s->lock);
    return recall;
}

static bool is_done(struct service *s)
{
    (void)pthread_mutex_lock(&s->lock);
    bool done = s->stop_mono && !s->ready.n && !s->incoming.n;
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
        if (!in_pause(s))
            apply_batch(s);
        if (s->pause_ms && s->stop_mono && clock_mono_ms() >= s->stop_mono)
            answer_all(&s->ready, STEP_FAILED);
    }
    return NULL;
}

/* ---- the listener ---- */

static void wake_locked(struct service *s)
{
    if (s->asleep)
        (void)pthread_cond_signal(&s->wake);
    s->asleep = false; /* one signal is enough */
}

/* Passes on what other processes did. News can be missed (a connection was lost, a process died before
 * it told), so once in a while the store is looked at without any. */
static void *listener_run(void *arg)
{
    struct service *s = arg;
    bool stopping = false;
    while (!stopping) {
        unsigned news = store_wait(s->store, s->stop_fd, LOOK_AGAIN_MS);
        (void)pthread_mutex_lock(&s->lock);
        stopping = s->stopping;
        s->news |= news;
        s->look |= !news;
        wake_locked(s);
        (void)pthread_mutex_unlock(&s->lock);
    }
    return NULL;
}

static int start_listener(struct service *s, struct err *err)
{
    s->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->stop_fd < 0)
        return err_errno(err, errno, "eventfd");
    int rc = pthread_create(&s->listener, NULL, listener_run, s);
    if (rc != 0)
        return err_errno(err, rc, "start the store's listener");
    s->listening = true;
    return 0;
}

/* ---- for other threads ---- */

int service_start(struct store *store, struct service **ret_service, struct err *err)
{
    struct service *s = calloc(1, sizeof(*s));
    if (!s)
        return err_set(err, ERR_NOMEM, "out of memory");
    s->store = store;
    s->stop_fd = -1;
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
        free(s);
        return err_errno(err, rc, "store thread");
    }
    if (store->ops->wait && start_listener(s, err) < 0) {
        service_stop(s);
        return -1;
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
    if (service->incoming.n)
        service->incoming.last->next = &first->mail;
    else
        service->incoming.first = &first->mail;
    service->incoming.last = &last->mail;
    service->incoming.n += n;
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
    if (service->listening) {
        (void)eventfd_write(service->stop_fd, 1);
        (void)pthread_join(service->listener, NULL);
    }
    (void)pthread_join(service->thread, NULL);
    if (service->stop_fd >= 0)
        (void)close(service->stop_fd);
    (void)pthread_cond_destroy(&service->wake);
    (void)pthread_mutex_destroy(&service->lock);
    free(service);
}
