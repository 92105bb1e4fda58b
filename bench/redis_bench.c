/* redis_bench: what the Redis engine adds to Redis itself. Whole lives (put, claim, finish, two events
 * leased and delivered) a second through the store, beside the same reads and writes as bare commands,
 * pipelined, on the same Redis, in turns.
 *
 *     redis_bench redis://host:port/db [rounds] [lives a batch]
 *
 * The database is emptied first. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "store/redis_url.h"
#include "store/store.h"

enum { BATCH_MAX = 256, LEASE_MS = 60000, ROUND_MS = 2000, WORKERS = 8 };

#define GOAL 0.8

static const char path[] = "./images/2026/11/24/camera-07/000123456.jpg";
static const char *const urls[NOTIFY_COUNT] = { "http://labels.example.com/hooks/assets/start",
                                                "http://labels.example.com/hooks/assets/success",
                                                "http://labels.example.com/hooks/assets/failure" };
static const char report[] =
    "{\"findings\":[],\"image\":{\"format\":\"jpeg\",\"width\":1000,\"height\":1000,"
    "\"bytes\":123456,\"orientation\":1,\"sha256\":"
    "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"}}";

static void fail(const char *why)
{
    (void)fprintf(stderr, "redis_bench: %s\n", why);
    exit(1);
}

/* ---- through the store ---- */

static struct step steps[8 * BATCH_MAX], *batch[8 * BATCH_MAX];
static size_t batch_n;

static struct step *add(enum step_kind kind)
{
    struct step *step = batch[batch_n] = &steps[batch_n];
    batch_n++;
    *step = (struct step){ .kind = kind };
    return step;
}

static void add_put(void)
{
    struct step_put *put = &add(STEP_PUT)->u.put;
    put->path = path;
    for (int i = 0; i < NOTIFY_COUNT; i++)
        put->notifications[i] = (struct notification){ urls[i], URL_VALID };
}

static size_t add_held(const struct claim *claims, const struct event *events)
{
    size_t ended = 0;
    for (const struct claim *c = claims; c; c = c->next)
        add(STEP_FINISH)->u.finish = (struct step_finish){
            .number = c->number, .run = c->run, .success = true, .report = report
        };
    for (const struct event *e = events; e; e = e->next) {
        add(STEP_DELIVERED)->u.delivered = (struct step_delivered){ .key = e->key,
                                                                    .state = EVENT_DELIVERED,
                                                                    .attempted = true,
                                                                    .http_status = 204,
                                                                    .duration_ms = 3 };
        ended += e->notify != NOTIFY_START;
    }
    return ended;
}

/* One transaction of a busy service: what was claimed and leased in the one before ends. */
static size_t live(struct store *s, size_t n, struct claim **claims, struct event **events)
{
    struct err err = { 0 };
    batch_n = 0;
    for (size_t i = 0; i < n; i++)
        add_put();
    size_t ended = add_held(*claims, *events), claim_at = batch_n;
    for (size_t i = 0; i < WORKERS; i++)
        add(STEP_CLAIM)->u.claim.max = (unsigned)(n / WORKERS);
    size_t lease_at = batch_n;
    add(STEP_LEASE)->u.lease =
        (struct step_lease){ .max = (unsigned)(5 * n / 2), .lease_ms = LEASE_MS };
    if (store_apply(s, batch, batch_n, clock_wall_ms(), &err) < 0)
        fail(err.msg);
    claims_free(*claims);
    events_free(*events);
    *claims = NULL;
    struct claim **last = claims;
    for (size_t i = 0; i < WORKERS; i++) {
        *last = steps[claim_at + i].u.claim.ret_claims;
        while (*last)
            last = &(*last)->next;
    }
    *events = steps[lease_at].u.lease.ret_events;
    return ended;
}

static double store_round(struct store *s, size_t n)
{
    struct claim *claims = NULL;
    struct event *events = NULL;
    size_t done = 0;
    int64_t start_us = clock_mono_us(), spent_us;
    do {
        done += live(s, n, &claims, &events);
        spent_us = clock_mono_us() - start_us;
    } while (spent_us < ROUND_MS * 1000);
    claims_free(claims);
    events_free(events);
    return (double)done * 1e6 / (double)spent_us;
}

/* ---- bare commands: the same keys of the same kinds, decided beforehand ---- */

static redisContext *bare;
static size_t sent;

#define SEND(...)                                                                                  \
    do {                                                                                           \
        if (redisAppendCommand(bare, __VA_ARGS__) != REDIS_OK)                                     \
            fail("out of memory");                                                                 \
        sent++;                                                                                    \
    } while (0)

static void receive(void)
{
    for (; sent > 0; sent--) {
        void *reply = NULL;
        if (redisGetReply(bare, &reply) != REDIS_OK)
            fail(bare->errstr);
        if (((redisReply *)reply)->type == REDIS_REPLY_ERROR)
            fail(((redisReply *)reply)->str);
        freeReplyObject(reply);
    }
}

/* Of all at once: what belongs to the one is not asked for by the other. */
static void bare_puts(unsigned long long first, size_t n)
{
    static char words[1 + 2 * BATCH_MAX][300];
    const char *argv[1 + 2 * BATCH_MAX] = { "MSET" };
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(words[2 * i], sizeof(words[0]), "b:p:%llu", first + i);
        (void)snprintf(words[2 * i + 1], sizeof(words[0]), "111 1764000000000 %s%s%s%s", path,
                       urls[0], urls[1], urls[2]);
        argv[1 + 2 * i] = words[2 * i];
        argv[2 + 2 * i] = words[2 * i + 1];
    }
    if (redisAppendCommandArgv(bare, (int)(1 + 2 * n), argv, NULL) != REDIS_OK)
        fail("out of memory");
    sent++;
    SEND("HSET b:count accepted %llu", first + n - 1);
}

static void bare_claim(unsigned long long n, long long now)
{
    SEND("GET b:p:%llu", n);
    SEND("HSET b:a:%llu s %s e1s %s", n,
         "1 1 1 111 1764000000000 1764000000000 0 1764000000000 0 0 a1764000000000-0@17",
         "1 0 1764000000000 0 1764000000000 0 0 0 ");
    SEND("ZADD b:in:1 %llu %llu", n, n);
    SEND("ZADD b:due %lld %012llx0002", now, n);
    SEND("HINCRBY b:count ev1 1");
}

static void bare_finish(unsigned long long n)
{
    SEND("HMGET b:a:%llu s e1s", n);
    SEND("HSET b:a:%llu s %s r1 %s e1t %s", n,
         "2 1 1 111 1764000000000 1764000000000 1764000000000 1764000000000 0 0 -", report,
         "0 1 1764000000000 0 1764000000000 0 0 0 ");
    SEND("XACK b:again workers %llu-0", n);
    SEND("XDEL b:again %llu-0", n);
    SEND("ZREM b:in:1 %llu", n);
    SEND("ZADD b:in:2 %llu %llu", n, n);
    SEND("HINCRBY b:count ev0 1");
    SEND("HINCRBY b:count runs_success 1");
}

static void bare_deliver(unsigned long long n, long long now, int terminal)
{
    const char *field = terminal ? "t" : "s";
    SEND("HMGET b:a:%llu e1%s x1", n, field); /* the lease */
    SEND("GET b:p:%llu", n);
    SEND("ZREM b:due %012llx000%d", n, 2 + terminal);
    SEND("ZADD b:leased %lld %012llx000%d", now + LEASE_MS, n, 2 + terminal);
    SEND("SADD b:held:1 %012llx000%d", n, 2 + terminal);
    SEND("HMGET b:a:%llu e1%s e1t l1%s", n, field, field); /* the result */
    SEND("HSET b:a:%llu e1%s %s", n, field,
         "2 0 1764000000000 1 1764000000000 1764000000000 204 3 ");
    SEND("ZREM b:leased %012llx000%d", n, 2 + terminal);
    SEND("SREM b:held:1 %012llx000%d", n, 2 + terminal);
    SEND("HINCRBY b:count ev1 -1");
    SEND("HINCRBY b:count ev2 1");
    if (!terminal)
        SEND("ZADD b:due %lld %012llx0003", now, n);
}

static double bare_round(size_t n)
{
    static unsigned long long next = 1;
    size_t done = 0;
    int64_t start_us = clock_mono_us(), spent_us;
    do {
        long long now = (long long)clock_wall_ms();
        bare_puts(next, n);
        for (unsigned long long i = next; i < next + n; i++)
            SEND("XADD b:again %llu-0 a %llu:1", i, i);
        for (int i = 0; i < WORKERS; i++)
            SEND("XREADGROUP GROUP workers 1 COUNT %d STREAMS b:again >", (int)(n / WORKERS));
        for (unsigned long long i = next; i < next + n; i++)
            bare_claim(i, now);
        for (unsigned long long i = next; i < next + n; i++)
            bare_finish(i);
        SEND("ZRANGE b:due -inf %lld BYSCORE LIMIT 0 %d", now, (int)(2 * n));
        for (unsigned long long i = next; i < next + n; i++) {
            bare_deliver(i, now, 0);
            bare_deliver(i, now, 1);
        }
        SEND("XADD b:feed * t %lld f x", now);
        receive();
        next += n;
        done += n;
        spent_us = clock_mono_us() - start_us;
    } while (spent_us < ROUND_MS * 1000);
    return (double)done * 1e6 / (double)spent_us;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char *argv[])
{
    struct redis_url url;
    struct store_config config = { .max_queued = UINT64_MAX };
    struct store *store;
    struct err err = { 0 };
    if (argc < 2 || strncmp(argv[1], "redis:", 6) != 0)
        fail("the URL of a Redis is needed");
    size_t rounds = argc > 2 ? (size_t)atoi(argv[2]) : 5, n = argc > 3 ? (size_t)atoi(argv[3]) : 64;
    double ratios[100];
    if (rounds < 1 || rounds > ARRAY_LEN(ratios) || n < WORKERS || n > BATCH_MAX)
        fail("rounds are 1 to 100, lives a batch 8 to 256");
    if (redis_url_parse(argv[1] + 6, &url, &err) < 0)
        fail(err.msg);
    bare = redisConnect(url.host, url.port);
    if (!bare || bare->err)
        fail("no such Redis");
    SEND("FLUSHALL");
    SEND("XGROUP CREATE b:again workers 0 MKSTREAM");
    receive();
    if (store_open(argv[1], &config, &store, &err) < 0)
        fail(err.msg);
    for (size_t i = 0; i < rounds; i++) {
        double through = store_round(store, n), beside = bare_round(n);
        ratios[i] = through / beside;
        printf("lives/s  store %7.0f  bare %7.0f  ratio %.2f\n", through, beside, ratios[i]);
    }
    qsort(ratios, rounds, sizeof(ratios[0]), compare);
    bool met = ratios[rounds / 2] >= GOAL;
    printf("ratio, median of %zu: %.2f [%.2f-%.2f], batches of %zu lives; goal at least %.2f: %s\n",
           rounds, ratios[rounds / 2], ratios[0], ratios[rounds - 1], n, GOAL,
           met ? "met" : "MISSED");
    store_close(store);
    redisFree(bare);
    redis_url_release(&url);
    return met ? 0 : 1;
}
