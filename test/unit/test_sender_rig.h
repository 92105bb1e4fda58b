#ifndef TEST_SENDER_RIG_H
#define TEST_SENDER_RIG_H
/* A sender whole: a real store thread over a scripted store, and a receiver on loopback that
 * answers well, badly or not at all. Nothing sleeps: what waits, waits for an event with a deadline. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "support/receiver.h"
#include "webhook/sender.h"

enum { WAIT_S = 20, MAX_EVENTS = 4096 };

/* --- a store that holds events in an array, and remembers what was reported of them --- */

struct scripted {
    char url[512];
    char *errors;
    enum notify notify;
    unsigned attempts;
    int64_t due_ms, lease_until_ms; /* 0: not leased */
    bool over;
};

struct script {
    struct store base;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct scripted events[MAX_EVENTS];
    size_t n_events;
    struct step_delivered results[MAX_EVENTS]; /* in the order in which they were reported */
    char *answers[MAX_EVENTS];                 /* copies of theirs */
    size_t n_results, n_lost;
    unsigned most_leased, leased;
    int64_t lease_ms;
    bool broken;    /* every batch fails */
    bool forgetful; /* no result is taken */
};

static inline void script_lease(struct script *s, struct step_lease *lease, struct step *step,
                                int64_t now_ms)
{
    struct event **end = &lease->ret_events;
    step->result = STEP_NOTHING;
    lease->ret_next_ms = 0;
    s->lease_ms = lease->lease_ms;
    unsigned n = 0;
    for (size_t i = 0; i < s->n_events && n < lease->max; i++) {
        struct scripted *e = &s->events[i];
        if (e->over || e->lease_until_ms > now_ms)
            continue;
        if (e->due_ms > now_ms) {
            if (!lease->ret_next_ms || e->due_ms < lease->ret_next_ms)
                lease->ret_next_ms = e->due_ms;
            continue;
        }
        struct event *event = calloc(1, sizeof(*event));
        event->key = i;
        event->notify = e->notify;
        event->attempts = e->attempts;
        (void)snprintf(event->asset_id, sizeof(event->asset_id), "%uasset",
                       (unsigned)(i % MAX_EVENTS));
        (void)snprintf(event->webhook_id, sizeof(event->webhook_id), "%uasset_1_x",
                       (unsigned)(i % MAX_EVENTS));
        event->url = strdup(e->url);
        event->errors = e->errors ? strdup(e->errors) : NULL;
        e->lease_until_ms = now_ms + lease->lease_ms;
        s->leased++;
        n++;
        *end = event;
        end = &event->next;
        step->result = STEP_DONE;
    }
    *end = NULL;
    if (s->leased > s->most_leased)
        s->most_leased = s->leased;
}

static inline void script_deliver(struct script *s, const struct step_delivered *d,
                                  struct step *step)
{
    struct scripted *e = &s->events[d->key];
    step->result = e->lease_until_ms && !s->forgetful ? STEP_DONE : STEP_LOST;
    if (step->result == STEP_LOST) {
        s->n_lost++;
        return;
    }
    e->lease_until_ms = 0;
    e->over = d->state != EVENT_PENDING;
    e->due_ms = d->next_ms;
    e->attempts += d->attempted;
    s->leased--;
    if (s->n_results < MAX_EVENTS) {
        s->answers[s->n_results] = d->answer ? strndup(d->answer, d->answer_len) : NULL;
        s->results[s->n_results++] = *d;
    }
}

static inline int script_apply(struct store *store, struct step *steps[], size_t n, int64_t now_ms,
                               struct err *err)
{
    struct script *s = (struct script *)store;
    (void)pthread_mutex_lock(&s->lock);
    bool broken = s->broken;
    for (size_t i = 0; i < n && !broken; i++) {
        if (steps[i]->kind == STEP_LEASE)
            script_lease(s, &steps[i]->u.lease, steps[i], now_ms);
        else if (steps[i]->kind == STEP_DELIVERED)
            script_deliver(s, &steps[i]->u.delivered, steps[i]);
        else
            steps[i]->result = STEP_DONE; /* a PUT: something may have come */
    }
    (void)pthread_cond_broadcast(&s->changed);
    (void)pthread_mutex_unlock(&s->lock);
    return broken ? err_set(err, ERR_IO, "scripted") : 0;
}

static const struct store_ops script_ops = { .scheme = "script", .apply = script_apply };

/* --- the rig: everything a sender needs --- */

struct rig {
    struct script *script;
    struct service *service;
    struct policy *policy;
    struct receiver *receiver;
    struct sender *sender;
};

static inline void rig_up(struct rig *rig, const char *allow, bool v6)
{
    struct err err;
    *rig = (struct rig){ 0 };
    rig->script = calloc(1, sizeof(*rig->script));
    assert_non_null(rig->script);
    rig->script->base.ops = &script_ops;
    (void)pthread_mutex_init(&rig->script->lock, NULL);
    (void)pthread_cond_init(&rig->script->changed, NULL);
    assert_int_equal(policy_new(allow, NULL, &rig->policy, &err), 0);
    assert_int_equal(service_start(&rig->script->base, &rig->service, &err), 0);
    rig->receiver = receiver_start(v6);
}

/* A sender whose time-outs and pauses are short. */
static inline void rig_send(struct rig *rig, struct sender_config config)
{
    struct err err;
    if (!config.total_timeout_ms)
        config.total_timeout_ms = 300;
    if (!config.n_delays) {
        config.n_delays = 2;
        config.delays_ms[0] = config.delays_ms[1] = 10;
    }
    if (sender_new(rig->service, rig->policy, &config, &rig->sender, &err) < 0 ||
        sender_start(rig->sender, &err) < 0)
        fail_msg("%s", err.msg);
}

static inline void rig_down(struct rig *rig)
{
    sender_stop(rig->sender);
    receiver_stop(rig->receiver); /* those who hang end here, not before */
    service_stop(rig->service);
    policy_free(rig->policy);
    for (size_t i = 0; i < rig->script->n_events; i++)
        free(rig->script->events[i].errors);
    for (size_t i = 0; i < rig->script->n_results; i++)
        free(rig->script->answers[i]);
    (void)pthread_cond_destroy(&rig->script->changed);
    (void)pthread_mutex_destroy(&rig->script->lock);
    free(rig->script);
}

static inline size_t add_to(struct rig *rig, const char *url, enum notify notify,
                            const char *errors)
{
    struct script *s = rig->script;
    (void)pthread_mutex_lock(&s->lock);
    size_t i = s->n_events++;
    struct scripted *e = &s->events[i];
    (void)snprintf(e->url, sizeof(e->url), "%s", url);
    e->notify = notify;
    e->errors = errors ? strdup(errors) : NULL;
    (void)pthread_mutex_unlock(&s->lock);
    return i;
}

/* An event for the receiver at this host ("127.0.0.1", "localhost", …) and path. */
static inline size_t add(struct rig *rig, const char *host, const char *path)
{
    char url[256];
    (void)snprintf(url, sizeof(url), "http://%s:%u%s", host, receiver_port(rig->receiver), path);
    return add_to(rig, url, NOTIFY_START, NULL);
}

/* Something has come: the service looks again. */
static inline void stir(struct rig *rig)
{
    struct step finish = { .kind = STEP_FINISH };
    service_call(rig->service, &finish);
}

/* Until that many results were reported. */
static inline void wait_results(struct rig *rig, size_t n)
{
    struct script *s = rig->script;
    struct timespec deadline;
    int rc = 0;
    (void)clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += WAIT_S;
    (void)pthread_mutex_lock(&s->lock);
    while (s->n_results < n && rc == 0)
        rc = pthread_cond_timedwait(&s->changed, &s->lock, &deadline);
    size_t got = s->n_results;
    (void)pthread_mutex_unlock(&s->lock);
    if (got < n)
        fail_msg("%zu of %zu results", got, n);
}

static inline struct step_delivered result(struct rig *rig, size_t i)
{
    (void)pthread_mutex_lock(&rig->script->lock);
    assert_true(i < rig->script->n_results);
    struct step_delivered d = rig->script->results[i];
    (void)pthread_mutex_unlock(&rig->script->lock);
    return d;
}

static inline size_t count_results(struct rig *rig)
{
    (void)pthread_mutex_lock(&rig->script->lock);
    size_t n = rig->script->n_results;
    (void)pthread_mutex_unlock(&rig->script->lock);
    return n;
}
#endif
