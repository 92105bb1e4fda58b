/* One thread, one loop (sender_run): take the answers of the store, end what has ended, start
 * what may start, lease more, submit what has gathered, sleep until something happens.
 *
 * Invariants:
 *  1. held is the number of struct sending: waiting in an origin, running, or reported and not yet
 *     answered. It never exceeds HELD_WINDOWS × window and the attempts that may run at origins without a
 *     success, so memory is bounded whatever the backlog.
 *  2. An attempt starts only while its lease will outlive it: nobody else can have the event meanwhile.
 *  3. At most one LEASE step is out. */
#include "webhook/sender.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "client/client.h"
#include "webhook/sender_log.h"
#include "webhook/sender_origin.h"
#include "webhook/sender_schedule.h"
#include "webhook/sender_transfer.h"

enum {
    DEFAULT_WINDOW = 256,
    DEFAULT_UNPROVEN = 1024,
    DEFAULT_PER_HOST = 4,
    PER_FAST_HOST = 16,
    DEFAULT_TOTAL_TIMEOUT_MS = 10000,
    START_WITHIN_MS = 45 * 1000, /* of a lease's beginning; the attempt's own time comes on top */
    LEASE_SLACK_MS = 5 * 1000,   /* for its result to become durable */
    SWEEP_MS = 1000,             /* how often overdue attempts are looked for */
    IDLE_MS = 60 * 1000,
    UNPROVEN_A_TURN = 4,
    LEASE_PAUSE_MS = 1000,       /* after a lease that brought nothing, although parkable */
    STARVED_PAUSE_MS = 5 * 1000, /* when descriptors or memory run out */
    CROWDED_PAUSE_MS = 1000,     /* ± half of it: for events that their origin has no room for */
    CROWDED_BAD_PAUSE_MS = 20 * 1000, /* the same, when it failed last */
    DRAIN_PAUSE_MS = 1000, /* so that our own parked lease does not bring them back at once */
    ABANDON_MS = 2000,     /* how long sender_stop() waits for a store that does not answer */
};

TAILQ_HEAD(transfer_list, transfer);

struct sender { /* the thread's own, but for what is said to be atomic or constant */
    pthread_t thread;
    bool started;
    struct service *service;
    const struct policy *policy;
    struct signer *signer; /* NULL: unsigned */
    int total_timeout_ms;
    unsigned window;
    struct schedule schedule;
    uint64_t random;

    struct client *client;
    int wake_fd; /* an eventfd: written by other threads */
    struct mailbox box;
    struct origins origins;
    struct transfer_list at_rest, at_work;
    unsigned held;
    struct step lease;
    bool leasing;              /* lease is the service's */
    int64_t lease_after_ms;    /* monotonic */
    int64_t sweep_ms;          /* monotonic: when overdue attempts are looked for next */
    struct mail *first, *last; /* steps to submit */
    bool more_starts;          /* some may begin at once that did not in this turn */
    bool abandoned;            /* ended with steps still in the service's hands */

    _Atomic int64_t drain_by_ms; /* monotonic; INT64_MAX: no drain */
    _Atomic int64_t stop_ms;     /* monotonic: when sender_stop() was called; INT64_MAX: not yet */
    _Atomic uint64_t delivered[2], failed[2], dead[2], in_flight, trips;
    struct histogram durations;

    pthread_mutex_t shown_lock;
    struct sender_breaker shown[SENDER_BREAKERS_MAX]; /* under it, as the next two */
    size_t n_shown;
    unsigned n_breakers[BREAKER_HALF_OPEN + 1];
};

static uint32_t chance(struct sender *s)
{
    s->random ^= s->random << 13; /* Marsaglia, "Xorshift RNGs", 2003 */
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return (uint32_t)(s->random >> 32);
}

static int64_t crowded_pause_ms(struct sender *s, const struct origin *origin)
{
    int64_t pause_ms = origin->standing == STANDING_BAD ? CROWDED_BAD_PAUSE_MS : CROWDED_PAUSE_MS;
    return pause_ms / 2 + chance(s) % pause_ms;
}

static bool is_draining(struct sender *s)
{
    return atomic_load(&s->drain_by_ms) != INT64_MAX;
}

static void gather(struct sender *s, struct step *step)
{
    step->reply_to = &s->box;
    step->mail.next = NULL;
    if (s->first)
        s->last->next = &step->mail;
    else
        s->first = &step->mail;
    s->last = &step->mail;
}

static void submit(struct sender *s)
{
    if (!s->first)
        return;
    service_submit(s->service, MAIL_ENTRY(s->first, struct step, mail),
                   MAIL_ENTRY(s->last, struct step, mail));
    s->first = s->last = NULL;
}

/* Untried, due again after pause_ms. Its attempts are not counted. */
static void give_back(struct sender *s, struct sending *sending, int64_t pause_ms)
{
    sending->step.kind = STEP_DELIVERED;
    sending->step.u.delivered = (struct step_delivered){
        .key = sending->event->key,
        .state = EVENT_PENDING,
        .next_ms = clock_wall_ms() + pause_ms,
    };
    gather(s, &sending->step);
}

/* An attempt came to answer: report what becomes of its event. */
static void settle(struct sender *s, struct sending *sending, const struct answer *answer,
                   int duration_ms)
{
    const struct event *event = sending->event;
    struct step_delivered *delivered = &sending->step.u.delivered;
    sending->step.kind = STEP_DELIVERED;
    *delivered = (struct step_delivered){
        .key = event->key,
        .attempted = true,
        .http_status = answer->status,
        .duration_ms = duration_ms,
        .error = answer->error,
    };
    delivered->state = schedule_settle(&s->schedule, event->attempts, answer, clock_wall_ms(),
                                       chance(s), &delivered->next_ms);
    _Atomic uint64_t *count = delivered->state == EVENT_DELIVERED ? s->delivered
                              : delivered->state == EVENT_DEAD    ? s->dead
                                                                  : s->failed;
    atomic_fetch_add(&count[event->notify != NOTIFY_START], 1);
    histogram_add(&s->durations, &histogram_answers, duration_ms * INT64_C(1000));
    sender_log_end(event, answer, duration_ms, delivered->state);
    gather(s, &sending->step);
}

static void sending_free(struct sender *s, struct sending *sending)
{
    events_free(sending->event);
    free(sending->answer);
    free(sending);
    s->held--;
}

/* Nothing is to be sent any more, and was not: that is how the event ends. */
static void switch_off(struct sender *s, struct sending *sending)
{
    sending->step.kind = STEP_DELIVERED;
    sending->step.u.delivered = (struct step_delivered){
        .key = sending->event->key,
        .state = EVENT_OFF,
    };
    log_info("webhook_off", LOG_S("asset", sending->event->asset_id),
             LOG_S("event", event_word(sending->event->notify)));
    gather(s, &sending->step);
}

/* --- from the store --- */

/* One leased event, ours from here on. */
static void accept_event(struct sender *s, struct event *event, int64_t now_ms)
{
    char name[URL_ORIGIN_LEN];
    struct sending *sending = calloc(1, sizeof(*sending));
    if (!sending) {
        log_warn("webhook_no_memory", LOG_S("asset", event->asset_id)); /* until its lease ends */
        events_free(event);
        return;
    }
    s->held++;
    sending->event = event;
    sending->retry = event->attempts > 0;
    sending->start_by_ms = now_ms + START_WITHIN_MS;
    if (is_draining(s)) {
        give_back(s, sending, DRAIN_PAUSE_MS);
        return;
    }
    /* These two were accepted by an earlier process, which was set up or made otherwise. */
    if (policy_is_off(s->policy)) {
        switch_off(s, sending);
        return;
    }
    if (!url_origin(event->url, name)) {
        const struct answer answer = { .error = "invalid_url", .permanent = true };
        settle(s, sending, &answer, 0);
        return;
    }
    struct origin *origin = origins_get(&s->origins, name);
    if (!origin)
        give_back(s, sending, STARVED_PAUSE_MS);
    else if (origins_shut_ms(origin, now_ms) > 0)
        give_back(s, sending, origins_turn_away_ms(origin, now_ms));
    else if (!origins_has_room(&s->origins, origin, now_ms))
        give_back(s, sending, crowded_pause_ms(s, origin));
    else
        origins_push(&s->origins, origin, sending);
}

static void take_lease(struct sender *s, int64_t now_ms)
{
    s->leasing = false;
    if (s->lease.result != STEP_DONE) {
        s->lease_after_ms = now_ms + LEASE_PAUSE_MS; /* do not spin on a service that drains */
        return;
    }
    struct event *event = s->lease.u.lease.ret_events, *next;
    for (; event; event = next) {
        next = event->next;
        event->next = NULL;
        accept_event(s, event, now_ms);
    }
}

static void take_answers(struct sender *s, int64_t now_ms)
{
    struct mail *mail = mailbox_take(&s->box), *next;
    for (; mail; mail = next) {
        next = mail->next;
        struct step *step = MAIL_ENTRY(mail, struct step, mail);
        if (step == &s->lease) {
            take_lease(s, now_ms);
            continue;
        }
        struct sending *sending = MAIL_ENTRY(step, struct sending, step);
        if (step->result != STEP_DONE)
            sender_log_lost(sending->event);
        sending_free(s, sending);
    }
}

static void lease_more(struct sender *s, int64_t now_ms)
{
    if (s->leasing || is_draining(s) || now_ms < s->lease_after_ms ||
        s->held + s->window > HELD_WINDOWS * s->window + s->origins.unproven)
        return;
    s->lease = (struct step){ .kind = STEP_LEASE, .parkable = true };
    s->lease.u.lease.max = s->window;
    s->lease.u.lease.lease_ms = START_WITHIN_MS + s->total_timeout_ms + LEASE_SLACK_MS;
    s->leasing = true;
    gather(s, &s->lease);
}

/* --- to the receivers --- */

static struct transfer *rested_transfer(struct sender *s)
{
    struct transfer *t = TAILQ_FIRST(&s->at_rest);
    struct err err;
    if (t) {
        TAILQ_REMOVE(&s->at_rest, t, in_list);
        return t;
    }
    if (transfer_new(s->signer, &t, &err) < 0) {
        log_warn("webhook_no_transfer", LOG_S("why", err.msg));
        return NULL;
    }
    return t;
}

static void rest(struct sender *s, struct transfer *t)
{
    t->sending = NULL;
    TAILQ_INSERT_HEAD(&s->at_rest, t, in_list); /* the one used last is warm in the cache */
}

static int start_attempt(struct sender *s, struct sending *sending)
{
    struct transfer *t = rested_transfer(s);
    struct err err;
    if (!t)
        return -1;
    int rc = transfer_prepare(t, sending->event, clock_wall_ms(), &err);
    t->request.stranger = sending->origin->standing != STANDING_GOOD;
    if (rc < 0 || client_begin(s->client, &t->call, &t->request, &err) < 0) {
        log_warn("webhook_not_begun", LOG_S("asset", sending->event->asset_id),
                 LOG_S("why", err.msg));
        rest(s, t);
        return -1;
    }
    t->sending = sending;
    TAILQ_INSERT_TAIL(&s->at_work, t, in_list);
    atomic_fetch_add(&s->in_flight, 1);
    return 0;
}

/* All that may start, but few at origins without a success: a thousand connections made in one turn
 * would keep the answers of the others waiting. */
static void start_attempts(struct sender *s, int64_t now_ms)
{
    struct sending *sending = NULL;
    bool busy = s->origins.running > s->origins.running_unproven; /* somebody answers */
    unsigned unproven = 0, most = busy ? 1 : UNPROVEN_A_TURN;
    while ((sending = origins_next(&s->origins, unproven < most, now_ms)) != NULL) {
        unproven += sending->origin->standing != STANDING_GOOD;
        if (sending->start_by_ms <= now_ms) {
            origins_ended(&s->origins, sending->origin, false, -1, now_ms);
            give_back(s, sending, 0);
        } else if (start_attempt(s, sending) < 0) {
            origins_ended(&s->origins, sending->origin, false, -1, now_ms);
            give_back(s, sending, STARVED_PAUSE_MS);
        }
    }
    s->more_starts = unproven == most;
}

/* t is the client's no more; its attempt is the caller's. */
static struct sending *end_work(struct sender *s, struct transfer *t)
{
    struct sending *sending = t->sending;
    TAILQ_REMOVE(&s->at_work, t, in_list);
    rest(s, t);
    atomic_fetch_sub(&s->in_flight, 1);
    return sending;
}

static void show_breaker(const struct origin *origin, void *arg)
{
    struct sender *s = arg;
    const struct breaker *b = &origin->breaker;
    s->n_breakers[b->state]++;
    if (s->n_shown == SENDER_BREAKERS_MAX)
        return;
    struct sender_breaker *shown = &s->shown[s->n_shown++];
    strcpy(shown->origin, origin->name); /* both of URL_ORIGIN_LEN */
    shown->state = b->state;
    shown->trips = b->trips;
    breaker_counts(b, clock_mono_ms(), &shown->attempts, &shown->failed);
    shown->half_open_ms = clock_wall_ms() + b->until_ms - clock_mono_ms();
}

/* For the other threads. */
static void show_breakers(struct sender *s)
{
    (void)pthread_mutex_lock(&s->shown_lock);
    s->n_shown = 0;
    memset(s->n_breakers, 0, sizeof(s->n_breakers));
    origins_each_shut(&s->origins, show_breaker, s);
    (void)pthread_mutex_unlock(&s->shown_lock);
}

/* origin's breaker has changed its state. */
static void breaker_changed(struct sender *s, struct origin *origin, int64_t now_ms)
{
    unsigned attempts, failed;
    breaker_counts(&origin->breaker, now_ms, &attempts, &failed);
    log_warn("webhook_breaker", LOG_S("origin", origin->name),
             LOG_S("state", breaker_state_name(origin->breaker.state)), LOG_I("attempts", attempts),
             LOG_I("failed", failed));
    if (origin->breaker.state == BREAKER_OPEN) {
        atomic_fetch_add(&s->trips, 1);
        struct sending *sending = origins_take_of(&s->origins, origin), *next;
        for (; sending; sending = next) {
            next = sending->next;
            give_back(s, sending, origins_turn_away_ms(origin, now_ms));
        }
    }
    show_breakers(s);
}

/* What the receiver answered, for the log of its event. */
static void keep_answer(struct sending *sending, const struct transfer *t)
{
    size_t len = transfer_answer_len(t);
    if (len == 0 || !(sending->answer = malloc(len)))
        return;
    memcpy(sending->answer, t->answer, len);
    sending->step.u.delivered.answer = sending->answer;
    sending->step.u.delivered.answer_len = len;
}

static void end_transfer(struct sender *s, struct transfer *t, int64_t now_ms)
{
    struct answer answer;
    transfer_answer(t, clock_wall_ms(), &answer);
    int duration_ms = (int)(t->call.ended_us / 1000);
    struct sending *sending = end_work(s, t);
    struct origin *origin = sending->origin;
    /* These say nothing of the origin: it had no part in them, or one of its URLs is gone. */
    bool silent = answer.ours || answer.refused || answer.status == 410;
    bool changed =
        origins_ended(&s->origins, origin, answer.error == NULL, silent ? -1 : duration_ms, now_ms);
    if (answer.ours) {
        log_warn("webhook_not_begun", LOG_S("asset", sending->event->asset_id),
                 LOG_S("why", answer.error));
        give_back(s, sending, STARVED_PAUSE_MS);
    } else {
        settle(s, sending, &answer, duration_ms);
        keep_answer(sending, t);
    }
    if (changed)
        breaker_changed(s, origin, now_ms);
}

static void end_transfers(struct sender *s, int64_t now_ms)
{
    struct call *call;
    while ((call = client_ended(s->client)) != NULL)
        end_transfer(s, TRANSFER_OF(call), now_ms);
}

/* --- the loop --- */

static void give_back_waiting(struct sender *s, int64_t by_ms, int64_t pause_ms)
{
    struct sending *sending = origins_take(&s->origins, by_ms), *next;
    for (; sending; sending = next) {
        next = sending->next;
        give_back(s, sending, pause_ms);
    }
}

/* What waits too long, and what waits for those that are not expected to take it soon. */
static void sweep(struct sender *s, int64_t now_ms)
{
    struct sending *sending, *next;
    give_back_waiting(s, now_ms, 0);
    for (sending = origins_take_crowd(&s->origins, now_ms); sending; sending = next) {
        next = sending->next;
        give_back(s, sending, crowded_pause_ms(s, sending->origin));
    }
    show_breakers(s);
    s->sweep_ms = now_ms + SWEEP_MS;
}

/* Give back what waits and, when the grace is over, what runs: it is not known to have failed. */
static void drain(struct sender *s, int64_t now_ms)
{
    struct transfer *t;
    give_back_waiting(s, INT64_MAX, DRAIN_PAUSE_MS);
    if (now_ms < atomic_load(&s->drain_by_ms))
        return;
    while ((t = TAILQ_FIRST(&s->at_work)) != NULL) {
        client_cancel(s->client, &t->call);
        struct sending *sending = end_work(s, t);
        origins_ended(&s->origins, sending->origin, false, -1, now_ms);
        give_back(s, sending, DRAIN_PAUSE_MS);
    }
}

static void keep_before(int64_t *wait_ms, int64_t then_ms, int64_t now_ms)
{
    int64_t left_ms = then_ms > now_ms ? then_ms - now_ms : 0;
    if (*wait_ms > left_ms)
        *wait_ms = left_ms;
}

static void sleep_and_perform(struct sender *s, int64_t now_ms)
{
    int64_t wait_ms = s->more_starts ? 0 : IDLE_MS;
    struct err err;
    if (s->held > 0)
        keep_before(&wait_ms, s->sweep_ms, now_ms);
    if (!s->leasing && !is_draining(s) && s->lease_after_ms > now_ms)
        keep_before(&wait_ms, s->lease_after_ms, now_ms);
    if (!TAILQ_EMPTY(&s->at_work))
        keep_before(&wait_ms, atomic_load(&s->drain_by_ms), now_ms);
    if (atomic_load(&s->stop_ms) != INT64_MAX)
        keep_before(&wait_ms, now_ms + SWEEP_MS, now_ms);
    if (client_wait(s->client, wait_ms, &err) < 0) {
        log_error("webhook_wait", LOG_S("why", err.msg));
        (void)poll(NULL, 0, 100); /* most likely memory: do not spin until there is some */
    }
    if (is_draining(s)) { /* it wakes for nothing else */
        eventfd_t ignored;
        (void)eventfd_read(s->wake_fd, &ignored);
    }
}

/* Whether the thread's work is done. The store may be too broken to answer: then what it still holds is
 * left to it, and never freed. */
static bool has_ended(struct sender *s, int64_t now_ms)
{
    if (!is_draining(s))
        return false;
    if (s->held == 0 && !s->leasing)
        return true;
    int64_t stop_ms = atomic_load(&s->stop_ms);
    if (stop_ms == INT64_MAX || !TAILQ_EMPTY(&s->at_work))
        return false;
    int64_t drain_by_ms = atomic_load(&s->drain_by_ms);
    if (stop_ms < drain_by_ms)
        stop_ms = drain_by_ms;
    s->abandoned = now_ms - stop_ms > ABANDON_MS;
    return s->abandoned;
}

static void *sender_run(void *arg)
{
    struct sender *s = arg;
    (void)pthread_setname_np(pthread_self(), "assay-webhook");
    for (;;) {
        int64_t now_ms = clock_mono_ms();
        take_answers(s, now_ms);
        end_transfers(s, now_ms);
        if (is_draining(s)) {
            s->more_starts = false;
            drain(s, now_ms);
        } else {
            if (now_ms >= s->sweep_ms)
                sweep(s, now_ms);
            start_attempts(s, now_ms);
            lease_more(s, now_ms);
        }
        submit(s);
        if (has_ended(s, now_ms))
            return NULL;
        sleep_and_perform(s, now_ms);
    }
}

/* --- for the other threads --- */

static void sender_free(struct sender *s)
{
    struct transfer *t;
    while ((t = TAILQ_FIRST(&s->at_rest)) != NULL) {
        TAILQ_REMOVE(&s->at_rest, t, in_list);
        transfer_free(t);
    }
    origins_release(&s->origins);
    client_free(s->client);
    if (s->wake_fd >= 0)
        (void)close(s->wake_fd);
    (void)pthread_mutex_destroy(&s->shown_lock);
    if (s->box.fd >= 0)
        mailbox_release(&s->box);
    free(s);
}

DEFINE_FREEP(struct sender *, sender_free)

static int or_default(int value, int otherwise)
{
    return value ? value : otherwise;
}

/* How many attempts may hang at once at origins without a success: each has a descriptor. */
static unsigned unproven_window(unsigned configured)
{
    struct rlimit files;
    unsigned most = configured ? configured : DEFAULT_UNPROVEN;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_max / 4 < most)
        most = (unsigned)(files.rlim_max / 4) + 1;
    return most;
}

static void wake(struct sender *s)
{
    (void)eventfd_write(s->wake_fd, 1);
}

/* With every signal blocked: they are the main thread's, and OpenSSL may raise SIGPIPE. */
int sender_start(struct sender *s, struct err *err)
{
    sigset_t all, old;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&s->thread, NULL, sender_run, s);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    s->started = rc == 0;
    return s->started ? 0 : err_errno(err, rc, "start the webhook thread");
}

int sender_new(struct service *service, const struct policy *policy,
               const struct sender_config *config, struct sender **ret_sender, struct err *err)
{
    struct sender *fresh = calloc(1, sizeof(*fresh));
    if (!fresh)
        return err_set(err, ERR_NOMEM, "out of memory");
    CLEANUP(sender_freep) struct sender *s = fresh;
    s->box.fd = s->wake_fd = -1;
    s->service = service;
    (void)pthread_mutex_init(&s->shown_lock, NULL);
    s->window = config->window ? config->window : DEFAULT_WINDOW;
    s->policy = policy;
    s->signer = config->signer;
    s->total_timeout_ms = or_default(config->total_timeout_ms, DEFAULT_TOTAL_TIMEOUT_MS);
    atomic_init(&s->drain_by_ms, INT64_MAX);
    atomic_init(&s->stop_ms, INT64_MAX);
    TAILQ_INIT(&s->at_rest);
    TAILQ_INIT(&s->at_work);
    schedule_init(&s->schedule, config->delays_ms, config->n_delays);
    origins_init(&s->origins, s->window, unproven_window(config->unproven),
                 config->per_host ? config->per_host : DEFAULT_PER_HOST, config->breaker);
    if (!config->per_host)
        s->origins.per_fast_host = PER_FAST_HOST;
    if (getrandom(&s->random, sizeof(s->random), GRND_NONBLOCK) < 0 || s->random == 0)
        s->random = (uint64_t)clock_mono_us() | 1; /* it only spreads retries: any seed will do */
    if (mailbox_init(&s->box, err) < 0)
        return -1;
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->wake_fd < 0)
        return err_errno(err, errno, "eventfd");
    /* More connections than may run: else those of receivers that answer are closed for those that hang. */
    if (transfer_client(policy, s->window + s->origins.unproven, config->connect_timeout_ms,
                        s->total_timeout_ms, &s->client, err) < 0 ||
        client_watch(s->client, s->box.fd, err) < 0 || client_watch(s->client, s->wake_fd, err) < 0)
        return -1;
    *ret_sender = TAKE(s);
    return 0;
}

void sender_stats(struct sender *s, struct sender_stats *ret_stats)
{
    for (int i = 0; i < 2; i++) {
        ret_stats->delivered[i] = atomic_load(&s->delivered[i]);
        ret_stats->failed[i] = atomic_load(&s->failed[i]);
        ret_stats->dead[i] = atomic_load(&s->dead[i]);
    }
    ret_stats->in_flight = atomic_load(&s->in_flight);
    ret_stats->breaker_trips = atomic_load(&s->trips);
    (void)pthread_mutex_lock(&s->shown_lock);
    memcpy(ret_stats->breakers, s->n_breakers, sizeof(ret_stats->breakers));
    (void)pthread_mutex_unlock(&s->shown_lock);
}

const struct histogram *sender_durations(const struct sender *s)
{
    return &s->durations;
}

size_t sender_breakers(struct sender *s,
                       struct sender_breaker ret_breakers[static SENDER_BREAKERS_MAX])
{
    (void)pthread_mutex_lock(&s->shown_lock);
    size_t n = s->n_shown;
    memcpy(ret_breakers, s->shown, n * sizeof(s->shown[0]));
    (void)pthread_mutex_unlock(&s->shown_lock);
    return n;
}

void sender_drain(struct sender *s, int grace_ms)
{
    atomic_store(&s->drain_by_ms, clock_mono_ms() + grace_ms);
    wake(s);
}

void sender_stop(struct sender *s)
{
    if (!s)
        return;
    if (!is_draining(s))
        sender_drain(s, 0);
    service_unpark(s->service); /* or our lease would stay parked there */
    atomic_store(&s->stop_ms, clock_mono_ms());
    wake(s);
    if (s->started)
        (void)pthread_join(s->thread, NULL);
    if (s->abandoned)
        log_warn("webhook_store_silent", LOG_I("events", s->held));
    else
        sender_free(s);
}
