/* redis: open, apply, close. See redis.h for what is promised, redis.lua for what a step does. */
#include "store/redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "store/engine.h"

enum {
    DEFAULT_LEASE_MS = 30 * 1000,
    SKEW_MIN_MS = 1000,         /* clocks that differ by less are as good as the same */
    SKEW_PERIOD_MS = 60 * 1000, /* after which they are compared again */
    JITTER_MS = 200,            /* so that not all processes come back in one moment */
};

DEFINE_FREEP(struct store *, store_close)

static int out_of_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "out of memory");
}

/* ---- the library ---- */

/* The name is a digest of the text: another version of the program has another library. */
static void name_library(struct redis_store *s)
{
    uint64_t sum = 14695981039346656037u; /* FNV-1a */
    for (const char *at = redis_lua; *at; at++)
        sum = (sum ^ (uint8_t)*at) * 1099511628211u;
    (void)snprintf(s->library, sizeof(s->library), "assay_%016llx", (unsigned long long)sum);
}

static int load_library(struct redis_store *s, redisContext *c, struct err *err)
{
    CLEANUP(buf_release) struct buf text;
    CLEANUP(redis_request_release) struct redis_request r = { 0 };
    CLEANUP(redis_reply_freep) redisReply *reply = NULL;
    buf_init(&text, 1 << 20);
    (void)buf_addf(&text, "#!lua name=%s\nlocal NAME = '%s'\n", s->library, s->library);
    (void)buf_adds(&text, redis_lua);
    redis_request_init(&r);
    redis_adds(&r, "FUNCTION");
    redis_adds(&r, "LOAD");
    redis_adds(&r, "REPLACE");
    redis_add(&r, text.data, text.len);
    if (buf_failed(&text))
        return out_of_memory(err);
    if (redis_ask(c, &r, &reply, err) < 0)
        return err_add(err, "load the store's functions");
    return 0;
}

void redis_begin_call(const struct redis_store *s, struct redis_request *r, const char *verb,
                      const char *function)
{
    char name[64];
    (void)snprintf(name, sizeof(name), "%s_%s", s->library, function);
    redis_request_begin(r);
    redis_adds(r, verb);
    redis_adds(r, name);
    redis_adds(r, "1");
    redis_adds(r, REDIS_PREFIX);
}

int redis_call(struct redis_store *s, redisContext *c, const struct redis_request *r,
               redisReply **ret, struct err *err)
{
    struct err local = { 0 };
    if (redis_ask(c, r, ret, &local) == 0)
        return 0;
    if (local.code == ERR_ABSENT && !redis_gone(c)) {
        if (load_library(s, c, err) < 0)
            return -1;
        return redis_ask(c, r, ret, err);
    }
    return err_set(err, local.code, "%s", local.msg);
}

/* ---- connecting ---- */

static int check_server(redisContext *c, struct err *err)
{
    CLEANUP(redis_reply_freep) redisReply *reply = NULL;
    CLEANUP(redis_request_release) struct redis_request r = { 0 };
    redis_request_init(&r);
    redis_adds(&r, "INFO");
    redis_adds(&r, "server");
    if (redis_ask(c, &r, &reply, err) < 0)
        return -1;
    static const char field[] = "redis_version:";
    const char *version = redis_is_text(reply) ? strstr(reply->str, field) : NULL;
    version = version ? version + sizeof(field) - 1 : "0";
    if (atoi(version) < 7)
        return err_set(err, ERR_UNSUPPORTED, "Redis %.*s is too old: 7.0 is the least",
                       (int)strcspn(version, "\r\n"), version);
    return 0;
}

static bool differs(int64_t ms)
{
    return ms <= -SKEW_MIN_MS || ms >= SKEW_MIN_MS;
}

/* Due times are by Redis's clock, so that they mean the same to all. */
static void read_skew(struct redis_store *s, redisContext *c)
{
    CLEANUP(redis_reply_freep) redisReply *reply = NULL;
    CLEANUP(redis_request_release) struct redis_request r = { 0 };
    redis_request_init(&r);
    redis_adds(&r, "TIME");
    int64_t before_ms = clock_wall_ms();
    s->skew_mono = clock_mono_ms();
    s->skew_wall = before_ms;
    if (redis_ask(c, &r, &reply, NULL) < 0 || !redis_is_array(reply, 2))
        return;
    int64_t server_ms =
        redis_number(reply->element[0]) * 1000 + redis_number(reply->element[1]) / 1000;
    int64_t skew_ms = server_ms - (before_ms + clock_wall_ms()) / 2;
    if (!differs(skew_ms - s->skew_ms))
        return;
    s->skew_ms = differs(skew_ms) ? skew_ms : 0;
    if (s->skew_ms)
        log_warn("clock_differs", LOG_I("redis_ahead_ms", s->skew_ms),
                 LOG_S("why", "Redis's clock is used"));
}

/* Our clock may be set while we run; Redis's, too, which is seen later. */
static void follow_clock(struct redis_store *s)
{
    int64_t passed_ms = clock_mono_ms() - s->skew_mono;
    if (passed_ms >= SKEW_PERIOD_MS || differs(clock_wall_ms() - s->skew_wall - passed_ms))
        read_skew(s, s->writer);
}

static bool read_hex(const char *text, size_t len, uint8_t out[PERMUTE_KEY_LEN])
{
    for (size_t i = 0; i < PERMUTE_KEY_LEN; i++) {
        unsigned byte;
        if (len != 2 * PERMUTE_KEY_LEN || sscanf(text + 2 * i, "%2x", &byte) != 1)
            return false;
        out[i] = (uint8_t)byte;
    }
    return true;
}

/* From version and key, the first two elements of reply. */
static int know_store(struct redis_store *s, const redisReply *reply, struct err *err)
{
    uint8_t key[PERMUTE_KEY_LEN];
    if (!redis_is_array(reply, 2) || !redis_is_text(reply->element[1]))
        return err_set(err, ERR_INVALID, "what Redis keeps for the store makes no sense");
    if (redis_number(reply->element[0]) != REDIS_VERSION)
        return err_set(err, ERR_INVALID, "its data have version %lld, this program knows %d",
                       (long long)redis_number(reply->element[0]), REDIS_VERSION);
    if (!read_hex(reply->element[1]->str, (size_t)reply->element[1]->len, key))
        return err_set(err, ERR_INVALID, "the key of the ids is missing");
    permute_init(&s->ids, key);
    (void)snprintf(s->key_text, sizeof(s->key_text), "%s", reply->element[1]->str);
    return 0;
}

/* The first connection: learn what the store is, or make it. */
static int enter_store(struct redis_store *s, redisContext *c, struct err *err)
{
    CLEANUP(redis_reply_freep) redisReply *reply = NULL;
    CLEANUP(redis_request_release) struct redis_request r = { 0 };
    uint8_t key[PERMUTE_KEY_LEN];
    char text[2 * PERMUTE_KEY_LEN + 1];
    if (getrandom(key, sizeof(key), 0) != sizeof(key))
        return err_set(err, ERR_IO, "no random bytes");
    for (size_t i = 0; i < sizeof(key); i++)
        (void)snprintf(text + 2 * i, 3, "%02x", key[i]);
    redis_request_init(&r);
    redis_begin_call(s, &r, "FCALL", "open");
    redis_add_int(&r, REDIS_VERSION);
    redis_adds(&r, text);
    if (redis_call(s, c, &r, &reply, err) < 0)
        return -1;
    if (!redis_is_array(reply, 3))
        return err_set(err, ERR_INVALID, "what Redis keeps for the store makes no sense");
    if (know_store(s, reply, err) < 0)
        return -1;
    (void)snprintf(s->process, sizeof(s->process), "%lld",
                   (long long)redis_number(reply->element[2]));
    return 0;
}

/* Later ones: nothing may be built upon another store than the one that we entered. */
static int check_store(const struct redis_store *s, redisContext *c, struct err *err)
{
    CLEANUP(redis_reply_freep) redisReply *reply = NULL;
    CLEANUP(redis_request_release) struct redis_request r = { 0 };
    redis_request_init(&r);
    redis_adds(&r, "HGET");
    redis_adds(&r, REDIS_PREFIX ":meta");
    redis_adds(&r, "key");
    if (redis_ask(c, &r, &reply, err) < 0)
        return -1;
    if (!redis_is_text(reply) || strcmp(reply->str, s->key_text) != 0)
        return err_set(err, ERR_IO,
                       "Redis has lost its data, or has others: restore them, or "
                       "start every process again");
    return 0;
}

int redis_connect_store(struct redis_store *s, redisContext **ret, struct err *err)
{
    CLEANUP(redis_disconnectp) redisContext *c = NULL;
    if (redis_connect(&s->url, &c, err) < 0 || check_store(s, c, err) < 0)
        return -1;
    *ret = TAKE(c);
    return 0;
}

static int connect_writer(struct redis_store *s, struct err *err)
{
    int64_t now_mono = clock_mono_ms();
    redis_disconnectp(&s->writer);
    if (now_mono < s->retry_mono)
        return err_set(err, ERR_IO, "Redis is away");
    if (redis_connect_store(s, &s->writer, err) < 0) {
        uint32_t random = 0;
        (void)!getrandom(&random, sizeof(random), 0); /* only jitter */
        s->retry_mono = clock_mono_ms() + random % JITTER_MS;
        return -1;
    }
    read_skew(s, s->writer);
    s->connected_mono = clock_mono_ms();
    return 0;
}

/* ---- apply ---- */

/* Steps that add to what is kept: without memory they are refused, all others go on. */
static bool needs_room(const struct step *step)
{
    return step->kind == STEP_PUT || step->kind == STEP_RETRY || step->kind == STEP_RESEND ||
           step->kind == STEP_SAMPLE;
}

static void forget_results(struct redis_store *s, struct step *steps[], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct step *step = steps[i];
        if (step->kind == STEP_CLAIM)
            claims_free(TAKE(step->u.claim.ret_claims));
        if (step->kind == STEP_LEASE)
            events_free(TAKE(step->u.lease.ret_events));
        if (step->kind == STEP_FINISH && redis_gone(s->writer)) {
            leased_begin(&s->uncertain);
            (void)leased_set(&s->uncertain,
                             redis_claim_ref(step->u.finish.number, step->u.finish.run), 0);
        }
        step->result = STEP_FAILED;
    }
}

/* Make the request of all steps that it is for. Returns how many; their order is that of the steps. */
static size_t encode(struct redis_store *s, struct step *steps[], size_t n, int64_t now_ms,
                     bool without_room, bool asked[])
{
    size_t count = 0;
    bool room = n == 0;
    for (size_t i = 0; i < n; i++)
        room = room || (!without_room && needs_room(steps[i]));
    redis_begin_call(s, &s->request, "FCALL", room ? "apply" : "apply_full");
    redis_adds(&s->request, s->process);
    redis_add_int(&s->request, now_ms);
    redis_add_int(&s->request, s->max_queued > INT64_MAX ? INT64_MAX : (int64_t)s->max_queued);
    for (size_t i = 0; i < n; i++) {
        if (without_room && needs_room(steps[i])) {
            steps[i]->result = STEP_FAILED;
            asked[i] = false;
            continue;
        }
        asked[i] = redis_step_encode(s, steps[i], now_ms);
        count += asked[i];
    }
    return count;
}

static int decode(struct redis_store *s, struct step *steps[], size_t n, const bool asked[],
                  size_t count, const redisReply *reply, struct err *err)
{
    size_t at = 0, failed = 0;
    if (!redis_is_array(reply, count))
        return err_set(err, ERR_IO, "Redis gave an answer that makes no sense");
    struct err why = { 0 };
    for (size_t i = 0; i < n; i++) {
        if (!asked[i])
            continue;
        struct err one = { 0 };
        if (redis_step_decode(s, steps[i], reply->element[at++], &one) < 0) {
            if (one.code == ERR_NOMEM)
                return err_set(err, one.code, "%s", one.msg);
            failed++;
            why = one;
            log_error("store_step_failed", LOG_S("why", one.msg));
            steps[i]->result = needs_room(steps[i]) ? STEP_FAILED : STEP_LOST;
        }
    }
    /* Where nothing at all can be done it is the store that fails; else only some records do. */
    if (failed && failed == count)
        return err_set(err, why.code, "%s", why.msg);
    return 0;
}

static int ask(struct redis_store *s, struct step *steps[], size_t n, int64_t now_ms, bool asked[],
               struct err *err)
{
    CLEANUP(redis_reply_freep) redisReply *reply = NULL;
    size_t count = encode(s, steps, n, now_ms, false, asked);
    if (!count && n && !s->failed)
        return 0;
    int rc = redis_call(s, s->writer, &s->request, &reply, err);
    if (rc < 0 && err->code == ERR_FULL && !redis_gone(s->writer)) {
        size_t rest = encode(s, steps, n, now_ms, true, asked);
        if (rest == 0)
            return -1;
        count = rest;
        rc = redis_call(s, s->writer, &s->request, &reply, err);
    }
    return rc < 0 ? -1 : decode(s, steps, n, asked, count, reply, err);
}

static int redis_apply(struct store *base, struct step *steps[], size_t n, int64_t now_ms,
                       struct err *err)
{
    struct redis_store *s = (struct redis_store *)base;
    bool had_writer = !redis_gone(s->writer);
    if (!had_writer && connect_writer(s, err) < 0) {
        s->failed = true;
        for (size_t i = 0; i < n; i++)
            steps[i]->result = STEP_FAILED;
        return -1;
    }
    if (had_writer)
        follow_clock(s);
    CLEANUP(freep) bool *asked = calloc(n + 1, sizeof(*asked));
    (void)pthread_mutex_lock(&s->lock);
    leased_begin(&s->claims);
    leased_begin(&s->events);
    (void)pthread_mutex_unlock(&s->lock);
    int rc = asked ? ask(s, steps, n, now_ms + s->skew_ms, asked, err) : out_of_memory(err);
    if (rc < 0) {
        (void)pthread_mutex_lock(&s->lock);
        leased_rollback(&s->claims);
        leased_rollback(&s->events);
        (void)pthread_mutex_unlock(&s->lock);
        forget_results(s, steps, n);
    }
    s->failed = rc < 0;
    return rc;
}

/* ---- open and close ---- */

static void redis_close(struct store *base)
{
    struct redis_store *s = (struct redis_store *)base;
    redis_renewer_stop(s);
    if (s->process[0])
        redis_let_go(s);
    redis_close_readers(s);
    redis_disconnectp(&s->writer);
    redis_disconnectp(&s->watch);
    redis_request_release(&s->request);
    leased_release(&s->claims);
    leased_release(&s->events);
    leased_release(&s->uncertain);
    redis_url_release(&s->url);
    if (s->stop_fd >= 0)
        (void)close(s->stop_fd);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

static const struct store_ops redis_ops = {
    .scheme = "redis",
    .apply = redis_apply,
    .may_wait = redis_step_may_wait,
    .find = redis_find,
    .list = redis_list,
    .stats = redis_stats,
    .event = redis_event,
    .events = redis_events,
    .deliveries = redis_deliveries,
    .feed = redis_feed,
    .history = redis_history,
    .health = redis_health,
    .backup = redis_backup,
    .verify = redis_verify,
    .wait = redis_wait,
    .beat = redis_beat,
    .processes = redis_processes,
    .ask_active = redis_ask_active,
    .close = redis_close,
};

static int enter(struct redis_store *s, struct err *err)
{
    if (redis_connect(&s->url, &s->writer, err) < 0 || check_server(s->writer, err) < 0 ||
        enter_store(s, s->writer, err) < 0)
        return -1;
    redis_look(s, s->writer);
    read_skew(s, s->writer);
    s->connected_mono = clock_mono_ms();
    return redis_renewer_start(s, err);
}

static struct redis_store *make(const struct store_ops *ops)
{
    struct redis_store *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->base.ops = ops;
    s->stop_fd = -1;
    (void)pthread_mutex_init(&s->lock, NULL);
    redis_request_init(&s->request);
    name_library(s);
    return s;
}

/* Where the Redis is, with the password that comes from elsewhere. */
static int find_server(struct redis_store *s, const char *where, const char *password,
                       struct err *err)
{
    if (redis_url_parse(where, &s->url, err) < 0)
        return -1;
    if (!password)
        return 0;
    free(s->url.password);
    s->url.password = strdup(password);
    return s->url.password ? 0 : out_of_memory(err);
}

int redis_store_open(const char *where, const struct store_config *config, struct store **ret_store,
                     struct err *err)
{
    struct redis_store *s = make(&redis_ops);
    if (!s)
        return out_of_memory(err);
    s->max_queued = config->max_queued;
    s->lease_ms = config->lease_ms ? config->lease_ms : DEFAULT_LEASE_MS;
    CLEANUP(store_closep) struct store *store = &s->base;
    s->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->stop_fd < 0)
        return err_set(err, ERR_NOMEM, "no descriptor is left");
    if (find_server(s, where, config->password, err) < 0 || enter(s, err) < 0)
        return -1;
    *ret_store = TAKE(store);
    return 0;
}

/* ---- a visitor ---- */

static int look_in(struct redis_store *s, struct err *err)
{
    CLEANUP(redis_reply_freep) redisReply *reply = NULL;
    CLEANUP(redis_request_release) struct redis_request r = { 0 };
    redis_request_init(&r);
    redis_adds(&r, "HMGET");
    redis_adds(&r, REDIS_PREFIX ":meta");
    redis_adds(&r, "version");
    redis_adds(&r, "key");
    if (redis_connect(&s->url, &s->writer, err) < 0 || check_server(s->writer, err) < 0 ||
        redis_ask(s->writer, &r, &reply, err) < 0)
        return -1;
    if (redis_is_array(reply, 2) && !redis_is_text(reply->element[0]))
        return err_set(err, ERR_ABSENT, "there is no store of assay in this Redis");
    return know_store(s, reply, err);
}

int redis_store_visit(const char *where, const char *password, struct store **ret_store,
                      struct err *err)
{
    static const struct store_ops visitor_ops = {
        .scheme = "redis", .backup = redis_backup, .verify = redis_verify, .close = redis_close
    };
    struct redis_store *s = make(&visitor_ops);
    if (!s)
        return out_of_memory(err);
    CLEANUP(store_closep) struct store *store = &s->base;
    if (find_server(s, where, password, err) < 0 || look_in(s, err) < 0)
        return -1;
    *ret_store = TAKE(store);
    return 0;
}
