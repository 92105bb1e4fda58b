/* redis_lease: says, from a thread that does nothing else, that this process lives and still has what it
 * claimed; and waits for what others do. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "store/redis.h"

enum {
    RENEWALS = 3,              /* in the time of a lease */
    PERIOD_MAX_MS = 10 * 1000, /* between two looks at what /readyz tells */
    AGAIN_MS = 250,            /* when Redis was away */
    WATCH_AGAIN_MS = 1000,     /* the same, for news */
};

/* "%016llx" of each key that is held. */
static void add_held(struct redis_store *s, struct redis_request *r, const struct leased *held)
{
    (void)pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < held->cap; i++) {
        char ref[17];
        if (!held->slots[i].key)
            continue;
        for (int j = 0; j < 16; j++)
            ref[j] = "0123456789abcdef"[held->slots[i].key >> (60 - 4 * j) & 15];
        redis_add(r, ref, 16);
    }
    (void)pthread_mutex_unlock(&s->lock);
}

static bool ever_claimed(struct redis_store *s)
{
    (void)pthread_mutex_lock(&s->lock);
    bool claimed = s->claims.cap > 0;
    (void)pthread_mutex_unlock(&s->lock);
    return claimed;
}

static int renew(struct redis_store *s, redisContext **c, struct redis_request *r, struct err *err)
{
    CLEANUP(redis_reply_freep) redisReply *reply = NULL;
    if (redis_gone(*c)) {
        redis_disconnectp(c);
        if (redis_connect_store(s, c, err) < 0)
            return -1;
    }
    redis_begin_call(s, r, "FCALL", "renew");
    redis_adds(r, s->process);
    redis_add_int(r, ever_claimed(s) ? s->lease_ms : 0);
    add_held(s, r, &s->claims);
    return redis_call(s, *c, r, &reply, err);
}

static bool stops(struct redis_store *s, int timeout_ms)
{
    struct pollfd p = { .fd = s->stop_fd, .events = POLLIN };
    return poll(&p, 1, timeout_ms) > 0;
}

static void *renewer_run(void *arg)
{
    struct redis_store *s = arg;
    CLEANUP(redis_disconnectp) redisContext *c = NULL;
    CLEANUP(redis_request_release) struct redis_request request = { 0 };
    redis_request_init(&request);
    int64_t period_ms = s->lease_ms / RENEWALS;
    if (period_ms > PERIOD_MAX_MS)
        period_ms = PERIOD_MAX_MS;
    bool failing = false;
    while (!stops(s, failing ? AGAIN_MS : (int)period_ms)) {
        struct err err = { 0 };
        bool failed = renew(s, &c, &request, &err) < 0;
        if (failed && !failing)
            log_warn("leases_not_renewed", LOG_S("why", err.msg));
        if (!failed && failing)
            log_info("leases_renewed_again");
        failing = failed;
        redis_note(s, &err);
        if (!failed)
            redis_look(s, c);
    }
    return NULL;
}

int redis_renewer_start(struct redis_store *s, struct err *err)
{
    int rc = pthread_create(&s->renewer, NULL, renewer_run, s);
    if (rc != 0)
        return err_errno(err, rc, "start the thread that renews leases");
    s->renewing = true;
    return 0;
}

void redis_renewer_stop(struct redis_store *s)
{
    if (!s->renewing)
        return;
    (void)eventfd_write(s->stop_fd, 1);
    (void)pthread_join(s->renewer, NULL);
    s->renewing = false;
}

void redis_let_go(struct redis_store *s)
{
    CLEANUP(redis_reply_freep) redisReply *reply = NULL;
    struct err err = { 0 };
    if (redis_gone(s->writer)) {
        redis_disconnectp(&s->writer);
        if (redis_connect_store(s, &s->writer, &err) < 0)
            return; /* the leases run out by themselves */
    }
    redis_begin_call(s, &s->request, "FCALL", "void");
    redis_adds(&s->request, s->process);
    redis_add_int(&s->request, (int64_t)s->claims.n);
    add_held(s, &s->request, &s->claims);
    add_held(s, &s->request, &s->events);
    if (redis_call(s, s->writer, &s->request, &reply, &err) < 0)
        log_warn("leases_not_given_back", LOG_S("why", err.msg));
}

/* ---- what others do ---- */

static const struct {
    unsigned news;
    const char *name;
} channels[] = { { STORE_NEWS_WORK, REDIS_PREFIX ":work" },
                 { STORE_NEWS_CHANGES, REDIS_PREFIX ":told" } };

/* Every message wakes who has subscribed, so nobody subscribes to what he does not want. The answer comes
 * among the news. A failure is seen and mended the next time. */
static void tell_wanted(struct redis_store *s, unsigned wanted)
{
    CLEANUP(redis_request_release) struct redis_request r = { 0 };
    redis_request_init(&r);
    for (size_t i = 0; i < ARRAY_LEN(channels); i++) {
        if (!((wanted ^ s->watched) & channels[i].news))
            continue;
        redis_request_begin(&r);
        redis_adds(&r, wanted & channels[i].news ? "SSUBSCRIBE" : "SUNSUBSCRIBE");
        redis_adds(&r, channels[i].name);
        if (redis_send(s->watch, &r, NULL) < 0)
            return;
        s->watched ^= channels[i].news;
    }
}

/* While batches fail nothing is tried here: apply() finds out when Redis is there again. */
static void follow_wanted(struct redis_store *s, unsigned wanted)
{
    if (redis_gone(s->watch)) {
        redis_disconnectp(&s->watch);
        s->watched = 0;
        if (!wanted || s->failed || redis_gone(s->writer) || clock_mono_ms() < s->watch_mono)
            return;
        s->watch_mono = clock_mono_ms() + WATCH_AGAIN_MS;
        if (redis_connect_store(s, &s->watch, NULL) < 0)
            return;
    }
    if (wanted != s->watched)
        tell_wanted(s, wanted);
}

/* ["smessage", channel, …], or ["ssubscribe", channel, …], before which we heard nothing of it. */
static unsigned news_of(const redisReply *r)
{
    if (!redis_is_array(r, 3) || !redis_is_text(r->element[0]) || !redis_is_text(r->element[1]) ||
        strcmp(r->element[0]->str, "sunsubscribe") == 0)
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(channels); i++)
        if (strcmp(r->element[1]->str, channels[i].name) == 0)
            return channels[i].news;
    return 0;
}

/* Everything that has been published so far is one piece of news. */
static unsigned read_news(redisContext *c)
{
    unsigned news = 0;
    void *reply = NULL;
    if (redisBufferRead(c) != REDIS_OK)
        return STORE_NEWS_WORK | STORE_NEWS_CHANGES; /* nobody knows what we miss from here on */
    while (redisGetReplyFromReader(c, &reply) == REDIS_OK && reply) {
        news |= news_of(reply);
        freeReplyObject(reply);
        reply = NULL;
    }
    return news;
}

unsigned redis_wait(struct store *base, unsigned wanted, int wake_fd, int timeout_ms)
{
    struct redis_store *s = (struct redis_store *)base;
    follow_wanted(s, wanted);
    if (!s->watch && timeout_ms == 0)
        return 0;
    int64_t end_mono = clock_mono_ms() + timeout_ms;
    for (int64_t left = timeout_ms; left >= 0; left = end_mono - clock_mono_ms()) {
        struct pollfd fds[2] = { { .fd = wake_fd, .events = POLLIN },
                                 { .fd = s->watch ? s->watch->fd : -1, .events = POLLIN } };
        if (poll(fds, 2, (int)left) <= 0 || !fds[1].revents)
            return 0;
        unsigned news = read_news(s->watch) & wanted;
        if (news || redis_gone(s->watch))
            return news;
    }
    return 0;
}
