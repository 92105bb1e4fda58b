/* The store thread, over a store that the test can make fail, and over a real one with many threads. */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "store/service.h"
#include "support/store_world.h"

/* ---- a store that fails when told to ---- */

struct shaky_store {
    struct store base;
    struct store *real;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool failing;           /* under lock */
    bool held;              /* under lock: apply() waits */
    unsigned long applied;  /* under lock: batches that became durable */
    unsigned long attempts; /* under lock */
    size_t last_n;          /* under lock, as the next: of the last attempt */
    const struct step *last_first;
    bool patient; /* constant while there are steps: a DELIVERED may wait */
    const struct step *poison;
    /* of one that is shared */
    unsigned wanted; /* under lock */
    unsigned news;   /* under lock: what wait() will answer */
    int news_fd;     /* eventfd: readable when there is some */
};

static bool has_poison(const struct shaky_store *s, struct step *steps[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s->poison && steps[i] == s->poison)
            return true;
    return false;
}

static int shaky_apply(struct store *base, struct step *steps[], size_t n, int64_t now_ms,
                       struct err *err)
{
    struct shaky_store *s = (struct shaky_store *)base;
    (void)pthread_mutex_lock(&s->lock);
    s->attempts++;
    s->last_n = n;
    s->last_first = n ? steps[0] : NULL;
    (void)pthread_cond_broadcast(&s->changed);
    while (s->held)
        (void)pthread_cond_wait(&s->changed, &s->lock);
    int rc = s->failing || has_poison(s, steps, n) ? err_set(err, ERR_FULL, "told to fail")
                                                   : store_apply(s->real, steps, n, now_ms, err);
    s->applied += rc == 0;
    (void)pthread_cond_broadcast(&s->changed);
    (void)pthread_mutex_unlock(&s->lock);
    return rc;
}

static bool shaky_may_wait(struct store *base, const struct step *step)
{
    return ((struct shaky_store *)base)->patient && step->kind == STEP_DELIVERED;
}

static const struct store_ops shaky_ops = { .scheme = "shaky",
                                            .apply = shaky_apply,
                                            .may_wait = shaky_may_wait };

/* As an engine that processes share. */
static unsigned shaky_wait(struct store *base, unsigned wanted, int wake_fd, int timeout_ms)
{
    struct shaky_store *s = (struct shaky_store *)base;
    eventfd_t ignored;
    (void)pthread_mutex_lock(&s->lock);
    s->wanted = wanted;
    (void)pthread_cond_broadcast(&s->changed);
    (void)pthread_mutex_unlock(&s->lock);
    struct pollfd fds[2] = { { .fd = wake_fd, .events = POLLIN },
                             { .fd = s->news_fd, .events = POLLIN } };
    (void)poll(fds, 2, timeout_ms);
    (void)eventfd_read(s->news_fd, &ignored);
    (void)pthread_mutex_lock(&s->lock);
    unsigned news = s->news & wanted;
    s->news = 0;
    (void)pthread_mutex_unlock(&s->lock);
    return news;
}

static const struct store_ops shared_ops = { .scheme = "shared",
                                             .apply = shaky_apply,
                                             .wait = shaky_wait };

struct bench {
    struct memory_disk *disk;
    struct shaky_store shaky;
    struct service *service;
    struct mailbox box;
};

static int setup_with(void **state, const struct store_ops *ops)
{
    struct bench *b = calloc(1, sizeof(*b));
    assert_non_null(b);
    struct store_config config = { .max_queued = 100000 };
    b->disk = memory_disk_new();
    b->shaky.base.ops = ops;
    b->shaky.news_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    b->shaky.real = store_memory_new(b->disk, &config);
    (void)pthread_mutex_init(&b->shaky.lock, NULL);
    (void)pthread_cond_init(&b->shaky.changed, NULL);
    assert_int_equal(mailbox_init(&b->box, NULL), 0);
    assert_int_equal(service_start(&b->shaky.base, &b->service, NULL), 0);
    *state = b;
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, &shaky_ops);
}

static int setup_shared(void **state)
{
    return setup_with(state, &shared_ops);
}

static int teardown(void **state)
{
    struct bench *b = *state;
    service_stop(b->service);
    (void)close(b->shaky.news_fd);
    mailbox_release(&b->box);
    store_close(b->shaky.real);
    memory_disk_free(b->disk);
    free(b);
    return 0;
}

static void set(struct bench *b, bool *what, bool value)
{
    (void)pthread_mutex_lock(&b->shaky.lock);
    *what = value;
    (void)pthread_cond_broadcast(&b->shaky.changed);
    (void)pthread_mutex_unlock(&b->shaky.lock);
}

/* Wait until apply() was called at least n times. */
static void await_attempts(struct bench *b, unsigned long n)
{
    (void)pthread_mutex_lock(&b->shaky.lock);
    while (b->shaky.attempts < n)
        (void)pthread_cond_wait(&b->shaky.changed, &b->shaky.lock);
    (void)pthread_mutex_unlock(&b->shaky.lock);
}

static void submit(struct bench *b, struct step *step)
{
    step->reply_to = &b->box;
    service_submit(b->service, step, step);
}

static struct step *await(struct bench *b)
{
    struct mail *mail = mailbox_wait(&b->box, 10000);
    assert_non_null(mail);
    assert_null(mail->next);
    return MAIL_ENTRY(mail, struct step, mail);
}

static struct step a_put(void)
{
    return put_step("./a.jpg", URL_VALID, URL_VALID, URL_VALID);
}

static struct step a_claim(void)
{
    return (struct step){ .kind = STEP_CLAIM, .parkable = true, .u.claim.max = 1 };
}

static struct step a_lease(void)
{
    return (struct step){ .kind = STEP_LEASE,
                          .parkable = true,
                          .u.lease = { .max = 4, .lease_ms = 100000 } };
}

static enum step_result call(struct bench *b, struct step *step)
{
    service_call(b->service, step);
    return step->result;
}

/* An asset whose start is due, too. */
static void put_and_claim(struct bench *b, struct step *ret_claim)
{
    struct step put = a_put();
    *ret_claim = a_claim();
    assert_int_equal(call(b, &put), STEP_DONE);
    assert_int_equal(call(b, ret_claim), STEP_DONE);
}

/* ---- facts ---- */

static void a_step_comes_back_to_its_mailbox_when_it_is_durable(void **state)
{
    struct bench *b = *state;
    struct step put = a_put();
    submit(b, &put);
    assert_ptr_equal(await(b), &put);
    assert_int_equal(put.result, STEP_DONE);
    assert_true(service_healthy(b->service, NULL));
}

static void what_waits_while_a_batch_is_applied_becomes_one_batch(void **state)
{
    struct bench *b = *state;
    struct step puts[100];
    set(b, &b->shaky.held, true);
    puts[0] = a_put();
    submit(b, &puts[0]);
    await_attempts(b, 1);
    for (size_t i = 1; i < ARRAY_LEN(puts); i++) {
        puts[i] = a_put();
        submit(b, &puts[i]);
    }
    set(b, &b->shaky.held, false);
    size_t n = 0;
    while (n < ARRAY_LEN(puts))
        for (const struct mail *m = mailbox_wait(&b->box, 10000); m; m = m->next)
            n++;
    (void)pthread_mutex_lock(&b->shaky.lock);
    assert_int_equal(b->shaky.applied, 2);
    (void)pthread_mutex_unlock(&b->shaky.lock);
}

static void a_parked_claim_waits_for_an_asset(void **state)
{
    struct bench *b = *state;
    struct step claim = a_claim(), put = a_put();
    submit(b, &claim);
    await_attempts(b, 1);
    assert_null(mailbox_take(&b->box));
    assert_int_equal(call(b, &put), STEP_DONE);
    assert_ptr_equal(await(b), &claim);
    assert_string_equal(claim.u.claim.ret_claims->id, put.u.put.ret_id);
    claims_free(claim.u.claim.ret_claims);
}

static void parked_claims_are_served_in_order_and_only_as_many_as_can_be(void **state)
{
    struct bench *b = *state;
    struct step claims[5], put = a_put();
    for (size_t i = 0; i < ARRAY_LEN(claims); i++) {
        claims[i] = a_claim();
        submit(b, &claims[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(claims); i++) {
        put = a_put();
        assert_int_equal(call(b, &put), STEP_DONE);
        assert_ptr_equal(await(b), &claims[i]);
        assert_int_equal(claims[i].result, STEP_DONE);
        claims_free(claims[i].u.claim.ret_claims);
    }
}

static void a_claim_that_is_not_parkable_comes_back_empty(void **state)
{
    struct bench *b = *state;
    struct step claim = a_claim();
    claim.parkable = false;
    assert_int_equal(call(b, &claim), STEP_NOTHING);
}

static void a_parked_claim_gets_what_was_given_back_when_its_time_comes(void **state)
{
    struct bench *b = *state;
    struct step claim, again = a_claim();
    put_and_claim(b, &claim);
    submit(b, &again);
    int64_t not_before_ms = clock_wall_ms() + 30;
    struct step release = { .kind = STEP_RELEASE,
                            .u.release = { claim.u.claim.ret_claims->number, 1, not_before_ms,
                                           true } };
    assert_int_equal(call(b, &release), STEP_DONE);
    assert_ptr_equal(await(b), &again);
    assert_true(clock_wall_ms() >= not_before_ms);
    assert_int_equal(again.u.claim.ret_claims->attempts, 2);
    claims_free(claim.u.claim.ret_claims);
    claims_free(again.u.claim.ret_claims);
}

static void a_parked_lease_gets_the_event_of_a_claim(void **state)
{
    struct bench *b = *state;
    struct step lease = a_lease(), put = a_put(), claim = a_claim();
    submit(b, &lease);
    assert_int_equal(call(b, &put), STEP_DONE);
    assert_int_equal(call(b, &claim), STEP_DONE);
    assert_ptr_equal(await(b), &lease);
    assert_int_equal(lease.u.lease.ret_events->notify, NOTIFY_START);
    claims_free(claim.u.claim.ret_claims);
    events_free(lease.u.lease.ret_events);
}

static void a_parked_lease_gets_an_ending_that_is_let_go_and_a_delivery_that_is_due(void **state)
{
    struct bench *b = *state;
    struct step claim, lease = a_lease(), next = a_lease();
    put_and_claim(b, &claim);
    struct step finish_step = {
        .kind = STEP_FINISH,
        .u.finish = { .number = claim.u.claim.ret_claims->number, .run = 1, .success = true }
    };
    assert_int_equal(call(b, &finish_step), STEP_DONE);
    assert_int_equal(call(b, &lease), STEP_DONE);
    struct event *started = lease.u.lease.ret_events;
    assert_null(started->next);
    submit(b, &next);
    struct step again = { .kind = STEP_DELIVERED,
                          .u.delivered = { .key = started->key,
                                           .state = EVENT_PENDING,
                                           .attempted = true,
                                           .next_ms = clock_wall_ms() + 30 } };
    assert_int_equal(call(b, &again), STEP_DONE);
    assert_ptr_equal(await(b), &next);
    assert_int_equal(next.u.lease.ret_events->notify, NOTIFY_SUCCESS);
    events_free(next.u.lease.ret_events);
    next = a_lease();
    submit(b, &next);
    assert_ptr_equal(await(b), &next);
    assert_int_equal(next.u.lease.ret_events->key, started->key);
    assert_int_equal(next.u.lease.ret_events->attempts, 1);
    events_free(next.u.lease.ret_events);
    events_free(started);
    claims_free(claim.u.claim.ret_claims);
}

static void when_a_batch_fails_a_put_comes_back_and_the_others_stay(void **state)
{
    struct bench *b = *state;
    struct step put = a_put(), claim = a_claim();
    struct err why;
    assert_int_equal(call(b, &put), STEP_DONE);
    assert_int_equal(call(b, &claim), STEP_DONE);
    set(b, &b->shaky.failing, true);
    struct step finish_step = {
        .kind = STEP_FINISH,
        .u.finish = { .number = claim.u.claim.ret_claims->number, .run = 1, .success = true }
    };
    submit(b, &finish_step);
    put = a_put();
    assert_int_equal(call(b, &put), STEP_FAILED);
    assert_false(service_healthy(b->service, &why));
    assert_string_equal(why.msg, "told to fail");
    await_attempts(b, 5); /* it goes on trying */
    assert_null(mailbox_take(&b->box));
    set(b, &b->shaky.failing, false);
    assert_ptr_equal(await(b), &finish_step);
    assert_int_equal(finish_step.result, STEP_DONE);
    claims_free(claim.u.claim.ret_claims);
}

static void it_is_healthy_again_without_anybody_asking(void **state)
{
    struct bench *b = *state;
    struct step put = a_put();
    set(b, &b->shaky.failing, true);
    assert_int_equal(call(b, &put), STEP_FAILED);
    assert_false(service_healthy(b->service, NULL));
    set(b, &b->shaky.failing, false);
    while (!service_healthy(b->service, NULL))
        (void)sched_yield();
    put = a_put();
    assert_int_equal(call(b, &put), STEP_DONE);
}

static void a_claim_that_failed_is_parked_again(void **state)
{
    struct bench *b = *state;
    struct step claim = a_claim(), put = a_put();
    set(b, &b->shaky.failing, true);
    submit(b, &claim);
    await_attempts(b, 2);
    set(b, &b->shaky.failing, false);
    while (call(b, &put) == STEP_FAILED)
        put = a_put();
    assert_ptr_equal(await(b), &claim);
    assert_int_equal(claim.result, STEP_DONE);
    claims_free(claim.u.claim.ret_claims);
}

static void a_step_that_never_succeeds_does_not_stop_the_others(void **state)
{
    struct bench *b = *state;
    struct step poison = { .kind = STEP_FINISH, .u.finish = { .number = 1, .run = 1 } };
    struct step others[20];
    b->shaky.poison = &poison;
    submit(b, &poison);
    struct mailbox box;
    assert_int_equal(mailbox_init(&box, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        others[i] = (struct step){ .kind = STEP_FINISH,
                                   .reply_to = &box,
                                   .u.finish = { .number = 99, .run = 1 } };
        service_submit(b->service, &others[i], &others[i]);
    }
    for (size_t n = 0; n < ARRAY_LEN(others);)
        for (const struct mail *m = mailbox_wait(&box, 10000); m; m = m->next)
            n++;
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_int_equal(others[i].result, STEP_LOST);
    mailbox_release(&box);
    service_stop(TAKE(b->service));
    assert_ptr_equal(await(b), &poison);
    assert_int_equal(poison.result, STEP_FAILED);
}

static void unparking_answers_all_that_wait_and_later_ones(void **state)
{
    struct bench *b = *state;
    struct step claim = a_claim(), lease = a_lease(), late = a_claim();
    submit(b, &claim);
    submit(b, &lease);
    await_attempts(b, 1);
    service_unpark(b->service);
    for (size_t n = 0; n < 2;)
        for (const struct mail *m = mailbox_wait(&b->box, 10000); m; m = m->next)
            n++;
    assert_int_equal(claim.result, STEP_NOTHING);
    assert_int_equal(lease.result, STEP_NOTHING);
    assert_int_equal(call(b, &late), STEP_NOTHING);
}

static void unparking_answers_also_while_the_store_fails(void **state)
{
    struct bench *b = *state;
    struct step claim = a_claim(), late = a_claim();
    set(b, &b->shaky.failing, true);
    submit(b, &claim);
    await_attempts(b, 2);
    service_unpark(b->service);
    assert_ptr_equal(await(b), &claim);
    assert_int_equal(claim.result, STEP_NOTHING);
    assert_int_equal(call(b, &late), STEP_NOTHING);
}

static void what_is_recalled_waits_no_longer_and_takes_nothing(void **state)
{
    struct bench *b = *state;
    atomic_bool recalled = false;
    struct step stays = a_claim(), goes = a_claim(), late = a_claim(), put = a_put();
    goes.recalled = late.recalled = &recalled;
    submit(b, &goes);
    submit(b, &stays);
    await_attempts(b, 1);
    recalled = true;
    service_recall(b->service);
    assert_ptr_equal(await(b), &goes);
    assert_int_equal(goes.result, STEP_NOTHING);
    assert_int_equal(call(b, &put), STEP_DONE);
    assert_ptr_equal(await(b), &stays);
    assert_int_equal(stays.result, STEP_DONE);
    claims_free(stays.u.claim.ret_claims);
    put = a_put();
    assert_int_equal(call(b, &put), STEP_DONE);
    assert_int_equal(call(b, &late), STEP_NOTHING);
    recalled = false;
    assert_int_equal(call(b, &late), STEP_DONE);
    claims_free(late.u.claim.ret_claims);
}

static void stopping_answers_everything(void **state)
{
    struct bench *b = *state;
    struct step put = a_put(), claims[2] = { a_claim(), a_claim() };
    submit(b, &claims[0]);
    submit(b, &claims[1]);
    submit(b, &put);
    service_stop(TAKE(b->service));
    size_t n = 0;
    for (const struct mail *m = mailbox_take(&b->box); m; m = m->next)
        n++;
    assert_int_equal(n, 3);
    assert_int_equal(put.result, STEP_DONE);
    for (int i = 0; i < 2; i++)
        if (claims[i].result == STEP_DONE)
            claims_free(claims[i].u.claim.ret_claims);
}

static void stopping_gives_up_on_a_store_that_fails(void **state)
{
    struct bench *b = *state;
    struct step finish_step = { .kind = STEP_FINISH, .u.finish = { .number = 1, .run = 1 } };
    set(b, &b->shaky.failing, true);
    submit(b, &finish_step);
    await_attempts(b, 1);
    int64_t start_ms = clock_mono_ms();
    service_stop(TAKE(b->service));
    assert_in_range(clock_mono_ms() - start_ms, 500, 8000);
    assert_ptr_equal(await(b), &finish_step);
    assert_int_equal(finish_step.result, STEP_FAILED);
}

/* ---- watches ---- */

/* Take the watch as its owner does; false: it is not there. */
static bool take_watch(struct mailbox *box, struct service_watch *watch)
{
    struct mail *mail = mailbox_take(box);
    if (!mail)
        return false;
    assert_ptr_equal(MAIL_ENTRY(mail, struct service_watch, mail), watch);
    assert_null(mail->next);
    assert_true(atomic_exchange(&watch->posted, false));
    return true;
}

static void a_watch_is_posted_when_an_asset_changes_its_state(void **state)
{
    struct bench *b = *state;
    struct mailbox box;
    assert_int_equal(mailbox_init(&box, NULL), 0);
    struct service_watch watch = { .reply_to = &box };
    service_watch(b->service, &watch);
    struct step put = a_put(), claim = a_claim(), lease = a_lease();
    assert_int_equal(call(b, &put), STEP_DONE);
    assert_true(take_watch(&box, &watch)); /* before the answer was */
    assert_int_equal(call(b, &claim), STEP_DONE);
    assert_true(take_watch(&box, &watch));
    assert_int_equal(call(b, &lease), STEP_DONE);
    struct step end = { .kind = STEP_FINISH,
                        .u.finish = { .number = claim.u.claim.ret_claims->number, .run = 1 } };
    struct step lost = { .kind = STEP_FINISH, .u.finish = { .number = 99, .run = 1 } };
    struct step sample = { .kind = STEP_SAMPLE };
    assert_int_equal(call(b, &lost), STEP_LOST);
    assert_int_equal(call(b, &sample), STEP_DONE);
    assert_false(take_watch(&box, &watch)); /* a lease, a loss and a sample change nothing */
    assert_int_equal(call(b, &end), STEP_DONE);
    assert_true(take_watch(&box, &watch));
    struct step retry_step = { .kind = STEP_RETRY, .u.retry.id = put.u.put.ret_id };
    assert_int_equal(call(b, &retry_step), STEP_DONE);
    assert_true(take_watch(&box, &watch));
    service_unwatch(b->service, &watch);
    put = a_put();
    assert_int_equal(call(b, &put), STEP_DONE);
    assert_false(take_watch(&box, &watch));
    service_unwatch(b->service, &watch); /* twice is fine */
    claims_free(claim.u.claim.ret_claims);
    events_free(lease.u.lease.ret_events);
    mailbox_release(&box);
}

static void a_watch_that_is_still_posted_is_not_posted_again(void **state)
{
    struct bench *b = *state;
    struct mailbox box;
    assert_int_equal(mailbox_init(&box, NULL), 0);
    struct service_watch first = { .reply_to = &box }, second = { .reply_to = &b->box };
    service_watch(b->service, &first);
    for (int i = 0; i < 5; i++) {
        struct step put = a_put();
        assert_int_equal(call(b, &put), STEP_DONE);
    }
    service_watch(b->service, &second);
    service_unwatch(b->service, &first);
    assert_true(take_watch(&box, &first));
    assert_false(take_watch(&b->box, &second));
    struct step put = a_put();
    assert_int_equal(call(b, &put), STEP_DONE);
    assert_true(take_watch(&b->box, &second));
    service_unwatch(b->service, &second);
    mailbox_release(&box);
}

static void a_batch_that_failed_posts_no_watch(void **state)
{
    struct bench *b = *state;
    struct mailbox box;
    assert_int_equal(mailbox_init(&box, NULL), 0);
    struct service_watch watch = { .reply_to = &box };
    service_watch(b->service, &watch);
    set(b, &b->shaky.failing, true);
    struct step put = a_put(), resend = { .kind = STEP_RESEND }, sample = { .kind = STEP_SAMPLE };
    assert_int_equal(call(b, &put), STEP_FAILED);
    assert_int_equal(call(b, &resend), STEP_FAILED); /* as a put, a client waits for it */
    assert_int_equal(call(b, &sample), STEP_FAILED);
    assert_false(take_watch(&box, &watch));
    service_unwatch(b->service, &watch);
    mailbox_release(&box);
}

static void a_parked_lease_gets_what_is_sent_again(void **state)
{
    struct bench *b = *state;
    struct step claim, lease = a_lease(), next = a_lease();
    put_and_claim(b, &claim);
    assert_int_equal(call(b, &lease), STEP_DONE);
    struct event *e = lease.u.lease.ret_events;
    struct step dead = { .kind = STEP_DELIVERED,
                         .u.delivered = { .key = e->key, .state = EVENT_DEAD } };
    assert_int_equal(call(b, &dead), STEP_DONE);
    submit(b, &next);
    struct step resend = { .kind = STEP_RESEND, .u.resend.webhook_id = e->webhook_id };
    assert_int_equal(call(b, &resend), STEP_DONE);
    assert_ptr_equal(await(b), &next);
    assert_int_equal(next.u.lease.ret_events->key, e->key);
    events_free(next.u.lease.ret_events);
    events_free(e);
    claims_free(claim.u.claim.ret_claims);
}

static void a_lease_that_took_all_is_not_asked_again_before_there_is_more(void **state)
{
    struct bench *b = *state;
    struct step claim, lease = a_lease(), next = a_lease();
    struct step sample = { .kind = STEP_SAMPLE };
    put_and_claim(b, &claim);
    assert_int_equal(call(b, &lease), STEP_DONE); /* one of the four it would have taken */
    unsigned long attempts = b->shaky.attempts;
    submit(b, &next);
    assert_int_equal(call(b, &sample), STEP_DONE);
    assert_int_equal(b->shaky.attempts, attempts + 1);
    assert_int_equal(b->shaky.last_n, 1);
    service_unpark(b->service);
    assert_ptr_equal(await(b), &next);
    assert_int_equal(next.result, STEP_NOTHING);
    events_free(lease.u.lease.ret_events);
    claims_free(claim.u.claim.ret_claims);
}

static void a_lease_after_one_that_took_all_waits_for_what_comes_back(void **state)
{
    struct bench *b = *state;
    struct step claim, lease = a_lease(), next = a_lease();
    put_and_claim(b, &claim);
    lease.u.lease.lease_ms = 100;
    assert_int_equal(call(b, &lease), STEP_DONE);
    submit(b, &next);
    assert_ptr_equal(await(b), &next); /* when the first one's time is over */
    assert_int_equal(next.u.lease.ret_events->key, lease.u.lease.ret_events->key);
    events_free(next.u.lease.ret_events);
    events_free(lease.u.lease.ret_events);
    claims_free(claim.u.claim.ret_claims);
}

/* ---- steps that may wait ---- */

static struct step a_result(void)
{
    return (struct step){ .kind = STEP_DELIVERED,
                          .u.delivered = { .key = 99, .state = EVENT_DELIVERED } };
}

static void what_may_wait_goes_with_what_comes_next(void **state)
{
    struct bench *b = *state;
    b->shaky.patient = true;
    struct step result = a_result(), sample = { .kind = STEP_SAMPLE };
    sample.reply_to = result.reply_to = &b->box;
    sample.mail.next = &result.mail;
    service_submit(b->service, &sample, &result);
    struct mail *mail = mailbox_wait(&b->box, 10000);
    assert_ptr_equal(mail, &result.mail); /* first, though it came last */
    assert_ptr_equal(mail->next, &sample.mail);
    assert_int_equal(b->shaky.attempts, 1);
    assert_ptr_equal(b->shaky.last_first, &result);
}

static void what_may_wait_does_so_for_a_moment_only(void **state)
{
    struct bench *b = *state;
    b->shaky.patient = true;
    struct step result = a_result();
    int64_t start_ms = clock_mono_ms();
    submit(b, &result);
    assert_ptr_equal(await(b), &result);
    assert_int_equal(result.result, STEP_LOST); /* there is no such event */
    assert_true(clock_mono_ms() - start_ms >= 20);
}

static void what_may_wait_is_applied_before_the_end(void **state)
{
    struct bench *b = *state;
    b->shaky.patient = true;
    struct step result = a_result();
    submit(b, &result);
    service_stop(TAKE(b->service));
    assert_ptr_equal(await(b), &result);
    assert_int_equal(result.result, STEP_LOST);
}

static void what_may_wait_is_answered_by_a_store_that_fails_for_good(void **state)
{
    struct bench *b = *state;
    b->shaky.patient = true;
    set(b, &b->shaky.failing, true);
    struct step result = a_result();
    submit(b, &result);
    service_stop(TAKE(b->service));
    assert_ptr_equal(await(b), &result);
    assert_int_equal(result.result, STEP_FAILED);
}

/* ---- what other processes do ---- */

static void await_wanted(struct bench *b, unsigned wanted)
{
    (void)pthread_mutex_lock(&b->shaky.lock);
    while (b->shaky.wanted != wanted)
        (void)pthread_cond_wait(&b->shaky.changed, &b->shaky.lock);
    (void)pthread_mutex_unlock(&b->shaky.lock);
}

static void tell(struct bench *b, unsigned news)
{
    (void)pthread_mutex_lock(&b->shaky.lock);
    b->shaky.news |= news;
    (void)pthread_mutex_unlock(&b->shaky.lock);
    (void)eventfd_write(b->shaky.news_fd, 1);
}

/* As another process does it: past the service. */
static void put_elsewhere(struct bench *b)
{
    struct step put = a_put(), *batch = &put;
    (void)pthread_mutex_lock(&b->shaky.lock);
    assert_int_equal(store_apply(b->shaky.real, &batch, 1, clock_wall_ms(), NULL), 0);
    (void)pthread_mutex_unlock(&b->shaky.lock);
}

static void only_what_somebody_needs_is_listened_for(void **state)
{
    struct bench *b = *state;
    struct mailbox box;
    assert_int_equal(mailbox_init(&box, NULL), 0);
    struct service_watch watch = { .reply_to = &box };
    struct step put = a_put(), claim = a_claim();
    assert_int_equal(call(b, &put), STEP_DONE);
    await_wanted(b, 0);
    service_watch(b->service, &watch); /* which wakes it */
    await_wanted(b, STORE_NEWS_CHANGES);
    tell(b, STORE_NEWS_CHANGES);
    assert_non_null(mailbox_wait(&box, 10000));
    atomic_store(&watch.posted, false);
    service_unwatch(b->service, &watch);
    await_wanted(b, 0); /* after a while */
    assert_int_equal(call(b, &claim), STEP_DONE);
    claims_free(claim.u.claim.ret_claims);
    claim = a_claim();
    submit(b, &claim);
    await_wanted(b, STORE_NEWS_WORK);
    service_unpark(b->service);
    assert_ptr_equal(await(b), &claim);
    mailbox_release(&box);
}

static void a_parked_claim_gets_what_others_have_put(void **state)
{
    struct bench *b = *state;
    for (int told = 0; told < 2; told++) { /* or else it looks by itself */
        struct step claim = a_claim();
        submit(b, &claim);
        await_wanted(b, STORE_NEWS_WORK);
        put_elsewhere(b);
        if (told)
            tell(b, STORE_NEWS_WORK);
        assert_ptr_equal(await(b), &claim);
        assert_int_equal(claim.result, STEP_DONE);
        claims_free(claim.u.claim.ret_claims);
    }
}

/* ---- many threads over a real store ---- */

enum { CLIENTS = 3, WORKERS = 3, PUTS_EACH = 200 };

struct crowd {
    struct service *service;
    struct store *store;
    _Atomic int ended, delivered;
};

static void *client_run(void *arg)
{
    struct crowd *c = arg;
    for (int i = 0; i < PUTS_EACH; i++) {
        struct step put = a_put();
        struct asset asset;
        service_call(c->service, &put);
        if (put.result != STEP_DONE || store_find(c->store, put.u.put.ret_id, &asset, NULL) != 1)
            abort();
        asset_release(&asset);
    }
    return NULL;
}

static void *worker_run(void *arg)
{
    struct crowd *c = arg;
    for (;;) {
        struct step claim = a_claim();
        service_call(c->service, &claim);
        if (claim.result == STEP_NOTHING)
            return NULL;
        const struct claim *got = claim.u.claim.ret_claims;
        struct step done = {
            .kind = STEP_FINISH,
            .u.finish = { .number = got->number, .run = got->run, .success = true, .report = "{}" }
        };
        service_call(c->service, &done);
        if (done.result != STEP_DONE)
            abort();
        claims_free(claim.u.claim.ret_claims);
        c->ended++;
    }
}

static void *sender_run(void *arg)
{
    struct crowd *c = arg;
    for (;;) {
        struct step lease = a_lease();
        service_call(c->service, &lease);
        if (lease.result == STEP_NOTHING)
            return NULL;
        for (const struct event *e = lease.u.lease.ret_events; e; e = e->next) {
            struct step done = { .kind = STEP_DELIVERED,
                                 .u.delivered = {
                                     .key = e->key, .state = EVENT_DELIVERED, .attempted = true } };
            service_call(c->service, &done);
            if (done.result != STEP_DONE)
                abort();
            if (++c->delivered == 2 * CLIENTS * PUTS_EACH)
                service_unpark(c->service);
        }
        events_free(lease.u.lease.ret_events);
    }
}

static void many_threads_share_one_store(void **state)
{
    (void)state;
    struct world w;
    struct crowd c = { 0 };
    pthread_t threads[CLIENTS + WORKERS + 1];
    world_init(&w, WORLD_SQLITE);
    world_open(&w);
    c.store = w.store;
    assert_int_equal(service_start(w.store, &c.service, NULL), 0);
    for (int i = 0; i < CLIENTS + WORKERS + 1; i++)
        assert_int_equal(pthread_create(&threads[i], NULL,
                                        i < CLIENTS             ? client_run
                                        : i < CLIENTS + WORKERS ? worker_run
                                                                : sender_run,
                                        &c),
                         0);
    for (int i = 0; i < CLIENTS + WORKERS + 1; i++)
        (void)pthread_join(threads[i], NULL);
    service_stop(c.service);
    assert_int_equal(c.ended, CLIENTS * PUTS_EACH);
    struct store_stats s = stats_of(&w);
    assert_int_equal(s.by_state[ASSET_SUCCESS], CLIENTS * PUTS_EACH);
    assert_int_equal(s.events_by_state[EVENT_DELIVERED], 2 * CLIENTS * PUTS_EACH);
    world_release(&w);
}

#undef FACT
#define FACT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define SHARED(name) cmocka_unit_test_setup_teardown(name, setup_shared, teardown)

int main(void)
{
    log_setup(LOG_ERROR + 1, LOG_LOGFMT); /* what fails here fails on purpose */
    const struct CMUnitTest tests[] = {
        FACT(a_step_comes_back_to_its_mailbox_when_it_is_durable),
        FACT(what_waits_while_a_batch_is_applied_becomes_one_batch),
        FACT(a_parked_claim_waits_for_an_asset),
        FACT(parked_claims_are_served_in_order_and_only_as_many_as_can_be),
        FACT(a_claim_that_is_not_parkable_comes_back_empty),
        FACT(a_parked_claim_gets_what_was_given_back_when_its_time_comes),
        FACT(a_parked_lease_gets_the_event_of_a_claim),
        FACT(a_parked_lease_gets_an_ending_that_is_let_go_and_a_delivery_that_is_due),
        FACT(when_a_batch_fails_a_put_comes_back_and_the_others_stay),
        FACT(it_is_healthy_again_without_anybody_asking),
        FACT(a_claim_that_failed_is_parked_again),
        FACT(a_step_that_never_succeeds_does_not_stop_the_others),
        FACT(unparking_answers_all_that_wait_and_later_ones),
        FACT(unparking_answers_also_while_the_store_fails),
        FACT(what_is_recalled_waits_no_longer_and_takes_nothing),
        FACT(stopping_answers_everything),
        FACT(stopping_gives_up_on_a_store_that_fails),
        FACT(a_watch_is_posted_when_an_asset_changes_its_state),
        FACT(a_watch_that_is_still_posted_is_not_posted_again),
        FACT(a_batch_that_failed_posts_no_watch),
        FACT(a_parked_lease_gets_what_is_sent_again),
        FACT(a_lease_that_took_all_is_not_asked_again_before_there_is_more),
        FACT(a_lease_after_one_that_took_all_waits_for_what_comes_back),
        FACT(what_may_wait_goes_with_what_comes_next),
        FACT(what_may_wait_does_so_for_a_moment_only),
        FACT(what_may_wait_is_applied_before_the_end),
        FACT(what_may_wait_is_answered_by_a_store_that_fails_for_good),
        SHARED(only_what_somebody_needs_is_listened_for),
        SHARED(a_parked_claim_gets_what_others_have_put),
        cmocka_unit_test(many_threads_share_one_store),
    };
    return cmocka_run_group_tests_name("service", tests, NULL, NULL);
}
