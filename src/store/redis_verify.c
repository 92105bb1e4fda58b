/* redis_verify: has a store in Redis prove that all of it adds up, also while it is in use. Assets are walked
 * by their numbers, a bounded part at a time (redis_verify.lua), so what is counted over all of them is
 * compared with counters of before and after; whatever belongs to one asset is looked at in one moment. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/redis_read.h"

enum {
    PART = 200, /* assets, or entries, that one call looks at: some ms */
    EVENT_STATES = EVENT_OFF + 1,
    TRIES = 3, /* of what can only be counted while nobody changes it */
};

/* What one asset or entry can speak against; redis_verify.lua has the same numbers. */
enum fact {
    FACT_RECORD = 1,
    FACT_LISTED,
    FACT_RESULT,
    FACT_ENDING,
    FACT_START,
    FACT_EARLY,
    FACT_WAITS,
    FACT_DUE,
    FACT_LOG,
    FACT_HELD,
    FACT_QUEUE,
    FACTS
};
static const char *const facts[FACTS] = {
    [FACT_RECORD] = "each asset has a record that makes sense",
    [FACT_LISTED] = "each asset is counted in its state, and in no other",
    [FACT_RESULT] = "every run that is over has one result, and no other has",
    [FACT_ENDING] = "every ending has its event",
    [FACT_START] = "every start has its event",
    [FACT_EARLY] = "what has not come to pass has no event",
    [FACT_WAITS] = "an event waits only for a first attempt at its start",
    [FACT_DUE] = "every pending event has its due time, and every dead one its place",
    [FACT_LOG] = "every log of attempts has its event",
    [FACT_HELD] = "every started asset is held, or may be claimed",
    [FACT_QUEUE] = "what waits in the queue is a queued asset",
};

/* As verify_counts() of redis_verify.lua answers, in its order. */
struct counts {
    int64_t accepted, pruned, by_state[ASSET_STATES], events[EVENT_STATES];
    int64_t strangers, queue, again, pending, dead;
};
enum { COUNTS = sizeof(struct counts) / sizeof(int64_t) };

struct proof {
    struct redis_store *s;
    struct counts before, after;
    int64_t seen, events[EVENT_STATES], gaps;
    struct {
        uint64_t against, number; /* how many; of the first */
    } of[FACTS];
};

static int senseless(struct err *err)
{
    return err_set(err, ERR_IO, "Redis gave an answer that makes no sense");
}

/* ---- what is asked ---- */

struct part {
    const char *function;
    const char *args[3]; /* up to the first NULL */
};

static void make_part(struct redis_store *s, struct redis_request *r, const void *what)
{
    const struct part *part = what;
    redis_begin_call(s, r, "FCALL_RO", part->function);
    for (size_t i = 0; i < ARRAY_LEN(part->args) && part->args[i]; i++)
        redis_adds(r, part->args[i]);
}

static int read_counts(struct redis_store *s, struct counts *ret, struct err *err)
{
    CLEANUP(redis_reply_freep) redisReply *reply = NULL;
    const struct part part = { .function = "verify_counts" };
    int64_t values[COUNTS];
    if (redis_read(s, make_part, &part, &reply, err) < 0)
        return -1;
    if (!redis_is_array(reply, COUNTS))
        return senseless(err);
    for (size_t i = 0; i < COUNTS; i++)
        values[i] = redis_number(reply->element[i]);
    memcpy(ret, values, sizeof(*ret));
    return 0;
}

static void speak_against(struct proof *p, unsigned fact, uint64_t number)
{
    if (p->of[fact].against++ == 0)
        p->of[fact].number = number;
}

/* "fact number" of each. */
static int take_faults(struct proof *p, const redisReply *faults, struct err *err)
{
    for (size_t i = 0; i < faults->elements; i++) {
        unsigned fact;
        unsigned long long number;
        if (!redis_is_text(faults->element[i]) ||
            sscanf(faults->element[i]->str, "%u %llu", &fact, &number) != 2 || fact < 1 ||
            fact >= FACTS)
            return senseless(err);
        speak_against(p, fact, number);
    }
    return 0;
}

/* Number and put record of each: whether its bytes are those that were put. "": it was told already. */
static int check_puts(struct proof *p, const redisReply *puts, struct err *err)
{
    for (size_t i = 0; i + 1 < puts->elements; i += 2) {
        const redisReply *put = puts->element[i + 1];
        char *path = NULL, *urls[NOTIFY_COUNT] = { 0 };
        struct err why = { 0 };
        if (!redis_is_text(put))
            return senseless(err);
        if (put->len == 0)
            continue;
        int rc = redis_put_read(put->str, (size_t)put->len, &path, urls, &why);
        free(path);
        for (int j = 0; j < NOTIFY_COUNT; j++)
            free(urls[j]);
        if (rc < 0 && why.code == ERR_NOMEM)
            return err_set(err, why.code, "%s", why.msg);
        if (rc < 0)
            speak_against(p, FACT_RECORD, (uint64_t)redis_number(puts->element[i]));
    }
    return 0;
}

/* ---- walks ---- */

/* Where the next part begins; "": there is none. */
static int copy_next(const redisReply *reply, char next[64], struct err *err)
{
    if (!redis_is_text(reply) || reply->len >= 64)
        return senseless(err);
    (void)snprintf(next, 64, "%s", reply->str);
    return 0;
}

static int walk_assets(struct proof *p, struct err *err)
{
    char next[64], limit[16];
    (void)snprintf(next, sizeof(next), "%llu", (unsigned long long)REDIS_NUMBERS);
    (void)snprintf(limit, sizeof(limit), "%d", PART);
    while (next[0]) {
        CLEANUP(redis_reply_freep) redisReply *reply = NULL;
        const struct part part = { "verify_assets", { next, limit } };
        if (redis_read(p->s, make_part, &part, &reply, err) < 0)
            return -1;
        if (!redis_is_array(reply, 5) || !redis_is_array(reply->element[2], EVENT_STATES) ||
            !redis_is_array(reply->element[3], 0) || !redis_is_array(reply->element[4], 0))
            return senseless(err);
        p->seen += redis_number(reply->element[1]);
        for (size_t i = 0; i < EVENT_STATES; i++)
            p->events[i] += redis_number(reply->element[2]->element[i]);
        if (take_faults(p, reply->element[3], err) < 0 ||
            check_puts(p, reply->element[4], err) < 0 ||
            copy_next(reply->element[0], next, err) < 0)
            return -1;
    }
    return 0;
}

static int walk_queue(struct proof *p, struct err *err)
{
    char next[64] = "0-0", limit[16];
    (void)snprintf(limit, sizeof(limit), "%d", PART);
    while (next[0]) {
        CLEANUP(redis_reply_freep) redisReply *reply = NULL;
        const struct part part = { "verify_queue", { next, limit } };
        if (redis_read(p->s, make_part, &part, &reply, err) < 0)
            return -1;
        if (!redis_is_array(reply, 2) || !redis_is_array(reply->element[1], 0))
            return senseless(err);
        if (take_faults(p, reply->element[1], err) < 0 ||
            copy_next(reply->element[0], next, err) < 0)
            return -1;
    }
    return 0;
}

static int walk_feed(struct proof *p, struct err *err)
{
    char next[64] = "-", before[64] = "", limit[16];
    (void)snprintf(limit, sizeof(limit), "%d", PART);
    while (next[0]) {
        CLEANUP(redis_reply_freep) redisReply *reply = NULL;
        const struct part part = { "verify_feed", { next, before, limit } };
        if (redis_read(p->s, make_part, &part, &reply, err) < 0)
            return -1;
        if (!redis_is_array(reply, 3))
            return senseless(err);
        p->gaps += redis_number(reply->element[2]);
        if (copy_next(reply->element[0], next, err) < 0 ||
            copy_next(reply->element[1], before, err) < 0)
            return -1;
    }
    return 0;
}

/* Nobody has changed what only the whole walk can count. */
static bool rested(const struct proof *p)
{
    return memcmp(&p->before, &p->after, sizeof(p->before)) == 0;
}

static bool events_match(const struct proof *p)
{
    return memcmp(p->events, p->after.events, sizeof(p->events)) == 0;
}

/* An event that changed and changed back goes unseen by counters, so a walk that disagrees is not believed
 * the first time. */
static int walk_all(struct redis_store *s, struct proof *ret, struct err *err)
{
    for (int i = 0; i < TRIES; i++) {
        *ret = (struct proof){ .s = s };
        if (read_counts(s, &ret->before, err) < 0 || walk_assets(ret, err) < 0 ||
            read_counts(s, &ret->after, err) < 0)
            return -1;
        if (rested(ret) && events_match(ret))
            break;
    }
    return walk_queue(ret, err) < 0 || walk_feed(ret, err) < 0 ? -1 : 0;
}

/* ---- the report ---- */

static void tell(struct buf *report, bool *sound, bool holds, const char *fact)
{
    (void)buf_addf(report, "%s %s\n", holds ? "ok " : "NOT", fact);
    *sound = *sound && holds;
}

static void tell_counts(const struct proof *p, struct buf *report, bool *sound)
{
    const struct counts *c = &p->after;
    int64_t assets = 0;
    for (int i = 0; i < ASSET_STATES; i++)
        assets += c->by_state[i];
    tell(report, sound, c->accepted == assets + c->pruned,
         "accepted = queued + started + success + failed + pruned");
    /* those that were pruned during the walk may have been seen by it, or not */
    tell(report, sound,
         c->strangers == 0 && p->seen + p->before.pruned <= c->accepted &&
             p->seen + c->pruned >= p->before.accepted,
         "as many were accepted as numbers were given out");
    tell(report, sound, c->queue == c->by_state[ASSET_QUEUED] && c->again == 0,
         "the queue holds as many as are queued");
    tell(report, sound, c->pending == c->events[EVENT_PENDING] && c->dead == c->events[EVENT_DEAD],
         "there are as many due times and dead letters as events that are pending and dead");
    if (!rested(p))
        (void)buf_adds(report, "?   each event is counted in its state: not while it is in use\n");
    else
        tell(report, sound, events_match(p), "each event is counted in its state");
}

static int report_on(const struct proof *p, struct buf *report)
{
    bool sound = true;
    tell_counts(p, report, &sound);
    for (int i = 1; i < FACTS; i++) {
        char id[ASSET_ID_LEN + 1];
        if (p->of[i].against == 0) {
            tell(report, &sound, true, facts[i]);
            continue;
        }
        permute_name(&p->s->ids, p->of[i].number, id);
        (void)buf_addf(report, "NOT %s: %llu against it, the first is asset %s\n", facts[i],
                       (unsigned long long)p->of[i].against, id);
        sound = false;
    }
    tell(report, &sound, p->gaps == 0, "the feed has no gap");
    return sound;
}

int redis_verify(struct store *base, struct buf *report, struct err *err)
{
    struct proof proof;
    if (walk_all((struct redis_store *)base, &proof, err) < 0)
        return -1;
    return report_on(&proof, report);
}

int redis_backup(struct store *base, const char *path, struct err *err)
{
    const struct redis_url *url = &((struct redis_store *)base)->url;
    return err_set(err, ERR_UNSUPPORTED,
                   "a Redis makes its own copies. A snapshot, while it is in use: redis-cli -h %s "
                   "-p %d --rdb %s (its password in REDISCLI_AUTH); docs/STORE.md tells how to "
                   "start from it",
                   url->host, url->port, path);
}
