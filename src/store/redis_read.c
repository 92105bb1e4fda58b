/* redis_read: readers of assets. Each has a connection to itself while it reads; a few are kept for the
 * next ones. What must fit together is read by one function or one command, so it is of one moment. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "store/redis_read.h"

enum {
    IDLE_READERS = 8,
    FAIL_FAST_MS = 500, /* after a failure nobody else waits for the same */
    EXAMINE_AT_ONCE = 1000,
    ASSET_FIELDS = 5,
};

/* ---- connections ---- */

static void reader_free(struct redis_reader *r)
{
    redis_disconnectp(&r->c);
    redis_request_release(&r->request);
    free(r);
}
DEFINE_FREEP(struct redis_reader *, reader_free)

static struct redis_reader *take_idle(struct redis_store *s, struct err *err)
{
    (void)pthread_mutex_lock(&s->lock);
    struct redis_reader *r = s->idle;
    if (r) {
        s->idle = r->next;
        s->idle_n--;
    } else if (clock_mono_ms() < s->readers_fail_until) {
        (void)err_set(err, s->readers_err.code, "%s", s->readers_err.msg);
    } else {
        (void)err_set(err, ERR_NONE, "%s", "");
    }
    (void)pthread_mutex_unlock(&s->lock);
    return r;
}

static void remember_failure(struct redis_store *s, const struct err *err)
{
    (void)pthread_mutex_lock(&s->lock);
    s->readers_fail_until = clock_mono_ms() + FAIL_FAST_MS;
    s->readers_err = *err;
    (void)pthread_mutex_unlock(&s->lock);
}

struct redis_reader *redis_reader_begin(struct redis_store *s, struct err *err)
{
    struct err local = { 0 };
    struct redis_reader *idle = take_idle(s, &local);
    if (idle)
        return idle;
    CLEANUP(reader_freep) struct redis_reader *r = NULL;
    if (local.code == ERR_NONE) {
        r = calloc(1, sizeof(*r));
        if (!r) {
            (void)err_set(err, ERR_NOMEM, "out of memory");
            return NULL;
        }
        redis_request_init(&r->request);
        if (redis_connect_store(s, &r->c, &local) == 0)
            return TAKE(r);
        remember_failure(s, &local);
    }
    (void)err_set(err, local.code, "%s", local.msg);
    return NULL;
}

int redis_reader_ask(struct redis_store *s, struct redis_reader *r, redisReply **ret,
                     struct err *err)
{
    struct err local = { 0 };
    if (redis_call(s, r->c, &r->request, ret, &local) == 0)
        return 0;
    if (redis_gone(r->c))
        remember_failure(s, &local);
    return err_set(err, local.code, "%s", local.msg);
}

void redis_reader_end(struct redis_store *s, struct redis_reader *r)
{
    (void)pthread_mutex_lock(&s->lock);
    bool keep = !redis_gone(r->c) && s->idle_n < IDLE_READERS;
    if (keep) {
        r->next = s->idle;
        s->idle = r;
        s->idle_n++;
    }
    (void)pthread_mutex_unlock(&s->lock);
    if (!keep)
        reader_free(r);
}

void redis_close_readers(struct redis_store *s)
{
    while (s->idle) {
        struct redis_reader *next = s->idle->next;
        reader_free(s->idle);
        s->idle = next;
    }
}

/* A connection that lay idle may have died meanwhile: one more try on a new one. */
int redis_read(struct redis_store *s, redis_make *make, const void *what, redisReply **ret,
               struct err *err)
{
    struct err local = { 0 };
    for (int i = 0; i < 2; i++) {
        struct redis_reader *r = redis_reader_begin(s, err);
        if (!r)
            return -1;
        redis_request_begin(&r->request);
        make(s, &r->request, what);
        int rc = redis_reader_ask(s, r, ret, &local);
        bool again = rc < 0 && redis_gone(r->c) && local.code != ERR_TIMEOUT;
        redis_reader_end(s, r);
        if (rc == 0)
            return 0;
        if (!again)
            break;
        redis_drop_idle(s);
    }
    return err_set(err, local.code, "%s", local.msg);
}

void redis_drop_idle(struct redis_store *s)
{
    (void)pthread_mutex_lock(&s->lock);
    struct redis_reader *idle = TAKE(s->idle);
    s->idle_n = 0;
    s->readers_fail_until = 0;
    (void)pthread_mutex_unlock(&s->lock);
    while (idle) {
        struct redis_reader *next = idle->next;
        reader_free(idle);
        idle = next;
    }
}

/* ---- one asset ---- */

const redisReply *redis_field(const redisReply *hash, const char *name)
{
    for (size_t i = 0; hash && i + 1 < hash->elements; i += 2)
        if (redis_is_text(hash->element[i]) && strcmp(hash->element[i]->str, name) == 0 &&
            redis_is_text(hash->element[i + 1]))
            return hash->element[i + 1];
    return NULL;
}

static int copy_text(const redisReply *from, char **ret, struct err *err)
{
    if (!from || from->len == 0)
        return 0;
    *ret = strndup(from->str, (size_t)from->len);
    return *ret ? 0 : err_set(err, ERR_NOMEM, "out of memory");
}

/* Fill in what state and put record say; what was found is behind them. */
static int read_asset(struct redis_store *s, uint64_t number, const redisReply *state,
                      const redisReply *put, const redisReply *errors, const redisReply *report,
                      struct asset *asset, struct err *err)
{
    struct redis_asset a;
    char *urls[NOTIFY_COUNT] = { 0 };
    if (!redis_is_text(state) || !redis_is_text(put))
        return err_set(err, ERR_IO, "a record in Redis makes no sense");
    if (redis_asset_read(state->str, &a, err) < 0)
        return -1;
    int rc = redis_put_read(put->str, (size_t)put->len, &asset->path, urls, err);
    for (int i = 0; i < NOTIFY_COUNT; i++) {
        asset->deliveries[i].url = urls[i];
        asset->deliveries[i].url_state = a.url_states[i];
    }
    if (rc < 0)
        return -1;
    asset->number = number;
    permute_name(&s->ids, number, asset->id);
    asset->state = a.state;
    asset->run = a.run;
    asset->attempts = a.attempts;
    asset->accepted_ms = a.accepted_ms;
    asset->started_ms = a.started_ms;
    asset->ended_ms = a.ended_ms;
    if (a.state < ASSET_SUCCESS)
        return 0;
    return copy_text(errors, &asset->errors, err) < 0 || copy_text(report, &asset->report, err) < 0
               ? -1
               : 0;
}

static int read_deliveries(const redisReply *hash, struct asset *asset, struct err *err)
{
    for (int terminal = 0; terminal < 2; terminal++) {
        char name[24];
        (void)snprintf(name, sizeof(name), "e%u%c", asset->run, terminal ? 't' : 's');
        const redisReply *text = redis_field(hash, name);
        struct redis_event e;
        if (!text)
            continue;
        if (redis_event_read(text->str, &e, err) < 0)
            return -1;
        struct delivery *d = &asset->deliveries[e.notify];
        d->has_event = true;
        d->state = e.state;
        d->attempts = e.attempts;
        d->next_ms = e.state == EVENT_PENDING ? e.due_ms : 0;
        if (e.attempts == 0)
            continue;
        d->http_status = e.http_status;
        d->last_ms = e.last_ms;
        if (e.error[0] && !(d->error = strdup(e.error)))
            return err_set(err, ERR_NOMEM, "out of memory");
    }
    return 0;
}

void redis_make_asset(struct redis_store *s, struct redis_request *r, const void *what)
{
    redis_begin_call(s, r, "FCALL_RO", "asset");
    redis_add_int(r, (int64_t) * (const uint64_t *)what);
}

int redis_find(struct store *base, const char *id, struct asset *ret_asset, struct err *err)
{
    struct redis_store *s = (struct redis_store *)base;
    CLEANUP(redis_reply_freep) redisReply *hash = NULL;
    uint64_t number;
    if (!permute_number(&s->ids, id, &number) || number >= REDIS_NUMBERS)
        return 0;
    if (redis_read(s, redis_make_asset, &number, &hash, err) < 0)
        return -1;
    if (!redis_is_array(hash, 2))
        return 0;
    struct asset asset = { 0 };
    const redisReply *state = redis_field(hash, "s");
    char errors[16], report[16];
    struct redis_asset a = { 0 };
    int rc = state ? redis_asset_read(state->str, &a, err) : 0;
    (void)snprintf(errors, sizeof(errors), "x%u", a.run);
    (void)snprintf(report, sizeof(report), "r%u", a.run);
    if (rc == 0)
        rc = read_asset(s, number, state, redis_field(hash, "p"), redis_field(hash, errors),
                        redis_field(hash, report), &asset, err);
    if (rc == 0)
        rc = read_deliveries(hash, &asset, err);
    if (rc < 0)
        asset_release(&asset);
    else
        *ret_asset = asset;
    return rc < 0 ? -1 : 1;
}

/* ---- lists ---- */

int redis_fill_page(struct redis_store *s, struct redis_paging *paging, struct err *err)
{
    int64_t left = LIST_EXAMINE_MAX;
    for (;;) {
        CLEANUP(redis_reply_freep) redisReply *reply = NULL;
        paging->ask = paging->limit - (unsigned)paging->n;
        paging->examine = left < EXAMINE_AT_ONCE ? (unsigned)left : EXAMINE_AT_ONCE;
        if (redis_read(s, paging->make, paging, &reply, err) < 0)
            return -1;
        if (!redis_is_array(reply, 3) || !redis_is_text(reply->element[1]) ||
            !redis_is_array(reply->element[2], 0))
            return err_set(err, ERR_IO, "Redis gave an answer that makes no sense");
        if (paging->add(s, paging, reply->element[2], err) < 0)
            return -1;
        if (reply->element[1]->len == 0)
            return 0;
        paging->below = strtoull(reply->element[1]->str, NULL, paging->base);
        left -= redis_number(reply->element[0]);
        /* full, and the function saw one more; or nothing more may be looked at */
        if (left <= 0 || paging->n >= paging->limit)
            return 1;
    }
}

struct list_paging {
    struct redis_paging paging;
    const struct asset_query *query;
    const struct buf *path;
    struct asset *assets;
};

static void make_list(struct redis_store *s, struct redis_request *r, const void *what)
{
    const struct list_paging *a = what;
    const struct asset_query *q = a->query;
    char states[2] = { (char)('0' + q->state), '\0' };
    redis_begin_call(s, r, "FCALL_RO", "list");
    redis_adds(r, q->by_state ? states : q->by_code ? "3" : "0123");
    redis_add_int(r, (int64_t)a->paging.below);
    redis_add_int(r, a->paging.ask);
    redis_add_int(r, a->paging.examine);
    if (q->by_code)
        redis_add_int(r, q->code);
    else
        redis_adds(r, "");
    redis_add(r, a->path->data, a->path->len);
    redis_add_int(r, q->since_ms);
    redis_add_int(r, q->until_ms);
}

static int add_found(struct redis_store *s, struct redis_paging *paging, const redisReply *found,
                     struct err *err)
{
    struct asset *assets = ((struct list_paging *)paging)->assets;
    for (size_t i = 0; i + ASSET_FIELDS <= found->elements && paging->n < paging->limit;
         i += ASSET_FIELDS) {
        redisReply *const *f = found->element + i;
        struct err why;
        struct asset *asset = &assets[paging->n];
        if (read_asset(s, (uint64_t)redis_number(f[0]), f[1], f[2], f[3], f[4], asset, &why) == 0) {
            paging->n++;
            continue;
        }
        asset_release(asset);
        if (why.code == ERR_NOMEM)
            return err_set(err, why.code, "%s", why.msg);
    }
    return 0;
}

int redis_list(struct store *base, const struct asset_query *query, struct asset_page *ret_page,
               struct err *err)
{
    struct redis_store *s = (struct redis_store *)base;
    CLEANUP(asset_page_release) struct asset_page page = { 0 };
    CLEANUP(buf_release) struct buf path;
    struct list_paging list = { .paging = { .make = make_list,
                                            .add = add_found,
                                            .limit = query->limit,
                                            .below = REDIS_NUMBERS,
                                            .base = 10 },
                                .query = query,
                                .path = &path };
    buf_init(&path, 1 << 20);
    if (query->after && !permute_number(&s->ids, query->after, &list.paging.below))
        return err_set(err, ERR_INVALID, "'%s' is no asset's id", query->after);
    if (query->path)
        redis_path_write(query->path, &path);
    page.assets = list.assets = calloc(query->limit, sizeof(*page.assets));
    if (!page.assets || buf_failed(&path))
        return err_set(err, ERR_NOMEM, "out of memory");
    int more = redis_fill_page(s, &list.paging, err);
    page.n = list.paging.n;
    if (more < 0)
        return -1;
    page.more = more > 0;
    if (page.more)
        permute_name(&s->ids, list.paging.below, page.next);
    *ret_page = page;
    page = (struct asset_page){ 0 };
    return 0;
}

/* ---- statistics ---- */

static void make_stats(struct redis_store *s, struct redis_request *r, const void *what)
{
    (void)what;
    redis_begin_call(s, r, "FCALL_RO", "stats");
}

static uint64_t counter(const redisReply *hash, const char *word, int i)
{
    char name[24];
    (void)snprintf(name, sizeof(name), i < 0 ? "%s" : "%s%d", word, i);
    return (uint64_t)redis_number(redis_field(hash, name));
}

int redis_stats(struct store *base, struct store_stats *ret_stats, struct err *err)
{
    struct redis_store *s = (struct redis_store *)base;
    CLEANUP(redis_reply_freep) redisReply *reply = NULL;
    if (redis_read(s, make_stats, NULL, &reply, err) < 0)
        return -1;
    if (!redis_is_array(reply, 3) || !redis_is_array(reply->element[0], ASSET_STATES))
        return err_set(err, ERR_IO, "Redis gave an answer that makes no sense");
    const redisReply *counts = reply->element[1];
    struct store_stats stats = { 0 };
    for (int i = 0; i < ASSET_STATES; i++)
        stats.by_state[i] = (uint64_t)redis_number(reply->element[0]->element[i]);
    stats.accepted = counter(counts, "accepted", -1);
    stats.pruned = counter(counts, "pruned", -1);
    stats.runs_success = counter(counts, "runs_success", -1);
    stats.runs_failed = counter(counts, "runs_failed", -1);
    stats.rescued = counter(counts, "rescued", -1);
    for (int i = 0; i < FINDING_CODES; i++)
        stats.errors_by_code[i] = counter(counts, "err", i);
    for (int i = 0; i <= EVENT_OFF; i++)
        stats.events_by_state[i] = counter(counts, "ev", i);
    stats.oldest_queued_ms = redis_number(reply->element[2]);
    *ret_stats = stats;
    return 0;
}
