/* redis_events: readers of events, of the feed and of the history. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/attempt_log.h"
#include "store/redis_read.h"
#include "store/webhook_id.h"

enum { EVENT_FIELDS = 3, FEED_FIELDS = 2, NAME_LEN = 24 };

static int out_of_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "out of memory");
}

static int senseless(struct err *err)
{
    return err_set(err, ERR_IO, "Redis gave an answer that makes no sense");
}

static bool key_of(const struct redis_store *s, const char *webhook_id, uint64_t *ret_key)
{
    char asset_id[ASSET_ID_LEN + 1];
    unsigned run;
    enum notify notify;
    uint64_t number;
    if (!webhook_id_read(webhook_id, asset_id, &run, &notify) || run > REDIS_MAX_RUN ||
        !permute_number(&s->ids, asset_id, &number) || number >= REDIS_NUMBERS)
        return false;
    *ret_key = redis_event_ref(number, run, notify != NOTIFY_START);
    return true;
}

/* ---- one event ---- */

static int read_view(struct redis_store *s, uint64_t key, const redisReply *event,
                     const redisReply *put, struct event_view *view, int *ret_duration_ms,
                     struct err *err)
{
    struct redis_event e;
    char *urls[NOTIFY_COUNT] = { 0 };
    if (!redis_is_text(event) || !redis_is_text(put))
        return senseless(err);
    if (redis_event_read(event->str, &e, err) < 0)
        return -1;
    int rc = redis_put_read(put->str, (size_t)put->len, NULL, urls, err);
    view->url = TAKE(urls[e.notify]);
    for (int i = 0; i < NOTIFY_COUNT; i++)
        free(urls[i]);
    if (rc < 0)
        return -1;
    permute_name(&s->ids, key >> 16, view->asset_id);
    view->run = (unsigned)(key >> 1 & REDIS_MAX_RUN);
    view->notify = e.notify;
    view->state = e.state;
    view->attempts = e.attempts;
    view->created_ms = e.created_ms;
    view->next_ms = e.state == EVENT_PENDING ? e.due_ms : 0;
    webhook_id_write(view->webhook_id, view->asset_id, view->run, view->notify);
    *ret_duration_ms = e.duration_ms;
    if (e.attempts == 0)
        return 0;
    view->http_status = e.http_status;
    view->last_ms = e.last_ms;
    if (e.error[0] && !(view->error = strdup(e.error)))
        return out_of_memory(err);
    return 0;
}

/* The log as it is kept, or, where the event itself is log enough, made of it. */
static int read_log(const redisReply *kept, int duration_ms, struct event_view *view,
                    struct err *err)
{
    CLEANUP(buf_release) struct buf log;
    attempt_log_init(&log);
    if (!kept && view->attempts == 0)
        return 0;
    if (kept) {
        (void)buf_add(&log, kept->str, (size_t)kept->len);
    } else {
        const struct attempt only = { .at_ms = view->last_ms,
                                      .http_status = view->http_status,
                                      .duration_ms = duration_ms,
                                      .error = view->error };
        (void)attempt_log_add(&log, &only);
    }
    if (buf_failed(&log) || attempt_log_read(log.data, log.len, &view->log, &view->n_log) < 0)
        return out_of_memory(err);
    return 0;
}

/* Event key of the asset's hash, with its log: 1, 0 there is none, -1. */
static int read_event(struct redis_store *s, uint64_t key, const redisReply *hash,
                      struct event_view *view, struct err *err)
{
    char event[NAME_LEN], log[NAME_LEN];
    unsigned run = (unsigned)(key >> 1 & REDIS_MAX_RUN);
    int duration_ms = 0;
    (void)snprintf(event, sizeof(event), "e%u%c", run, key & 1 ? 't' : 's');
    (void)snprintf(log, sizeof(log), "l%u%c", run, key & 1 ? 't' : 's');
    if (!redis_field(hash, event))
        return 0;
    if (read_view(s, key, redis_field(hash, event), redis_field(hash, "p"), view, &duration_ms,
                  err) < 0 ||
        read_log(redis_field(hash, log), duration_ms, view, err) < 0)
        return -1;
    return 1;
}

int redis_event(struct store *base, const char *webhook_id, struct event_view *ret_event,
                struct err *err)
{
    struct redis_store *s = (struct redis_store *)base;
    CLEANUP(redis_reply_freep) redisReply *hash = NULL;
    uint64_t key;
    if (!key_of(s, webhook_id, &key))
        return 0;
    uint64_t number = key >> 16;
    if (redis_read(s, redis_make_asset, &number, &hash, err) < 0)
        return -1;
    struct event_view view = { 0 };
    int rc = read_event(s, key, hash, &view, err);
    if (rc > 0 && strcmp(view.webhook_id, webhook_id) != 0)
        rc = 0; /* success was asked for, and it failed */
    if (rc > 0)
        *ret_event = view;
    else
        event_view_release(&view);
    return rc;
}

/* ---- pages ---- */

struct events_paging {
    struct redis_paging paging;
    const struct event_query *query;
    struct event_view *events;
};

static void make_events(struct redis_store *s, struct redis_request *r, const void *what)
{
    const struct events_paging *a = what;
    char states[2] = { (char)('0' + a->query->state), '\0' }, below[17];
    (void)snprintf(below, sizeof(below), "%016llx", (unsigned long long)a->paging.below);
    redis_begin_call(s, r, "FCALL_RO", "events");
    redis_adds(r, a->query->by_state ? states : "01234");
    redis_adds(r, below);
    redis_add_int(r, a->paging.ask);
    redis_add_int(r, a->paging.examine);
}

static int add_events(struct redis_store *s, struct redis_paging *paging, const redisReply *found,
                      struct err *err)
{
    struct event_view *events = ((struct events_paging *)paging)->events;
    for (size_t i = 0; i + EVENT_FIELDS <= found->elements && paging->n < paging->limit;
         i += EVENT_FIELDS) {
        redisReply *const *f = found->element + i;
        int ignored;
        if (!redis_is_text(f[0]))
            return senseless(err);
        if (read_view(s, strtoull(f[0]->str, NULL, 16), f[1], f[2], &events[paging->n++], &ignored,
                      err) < 0)
            return -1;
    }
    return 0;
}

int redis_events(struct store *base, const struct event_query *query, struct event_page *ret_page,
                 struct err *err)
{
    struct redis_store *s = (struct redis_store *)base;
    CLEANUP(event_page_release) struct event_page page = { 0 };
    struct events_paging list = { .paging = { .make = make_events,
                                              .add = add_events,
                                              .limit = query->limit,
                                              .below = REDIS_NUMBERS << 16,
                                              .base = 16 },
                                  .query = query };
    uint64_t *below = &list.paging.below;
    if (query->after && !key_of(s, query->after, below))
        return err_set(err, ERR_INVALID, "'%s' is no event's id", query->after);
    page.events = list.events = calloc(query->limit, sizeof(*page.events));
    if (!page.events)
        return out_of_memory(err);
    int more = redis_fill_page(s, &list.paging, err);
    page.n = list.paging.n;
    if (more < 0)
        return -1;
    page.more = more > 0;
    if (page.more) {
        char id[ASSET_ID_LEN + 1];
        permute_name(&s->ids, *below >> 16, id);
        webhook_id_write(page.next, id, (unsigned)(*below >> 1 & REDIS_MAX_RUN),
                         *below & 1 ? NOTIFY_SUCCESS : NOTIFY_START);
    }
    *ret_page = page;
    page = (struct event_page){ 0 };
    return 0;
}

/* ---- all events of one asset ---- */

static int compare_keys(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Keys of the events in the asset's hash, oldest first. Room for one a field. */
static size_t keys_in(const redisReply *hash, uint64_t number, uint64_t keys[])
{
    size_t n = 0;
    for (size_t i = 0; i + 1 < hash->elements; i += 2) {
        unsigned run;
        char letter;
        if (redis_is_text(hash->element[i]) &&
            sscanf(hash->element[i]->str, "e%u%c", &run, &letter) == 2)
            keys[n++] = redis_event_ref(number, run, letter == 't');
    }
    qsort(keys, n, sizeof(*keys), compare_keys);
    return n;
}

int redis_deliveries(struct store *base, const char *asset_id, struct event_page *ret_page,
                     struct err *err)
{
    struct redis_store *s = (struct redis_store *)base;
    CLEANUP(event_page_release) struct event_page page = { 0 };
    CLEANUP(redis_reply_freep) redisReply *hash = NULL;
    uint64_t number;
    if (!permute_number(&s->ids, asset_id, &number) || number >= REDIS_NUMBERS) {
        *ret_page = page;
        return 0;
    }
    if (redis_read(s, redis_make_asset, &number, &hash, err) < 0)
        return -1;
    if (!redis_is_array(hash, 0))
        return senseless(err);
    CLEANUP(freep) uint64_t *keys = calloc(hash->elements + 1, sizeof(*keys));
    if (!keys)
        return out_of_memory(err);
    size_t n = keys_in(hash, number, keys);
    size_t first = n > LIST_LIMIT_MAX ? n - LIST_LIMIT_MAX : 0;
    page.events = calloc(n - first + 1, sizeof(*page.events));
    if (!page.events)
        return out_of_memory(err);
    for (size_t i = first; i < n; i++)
        if (read_event(s, keys[i], hash, &page.events[page.n++], err) < 0)
            return -1;
    page.more = first > 0;
    *ret_page = page;
    page = (struct event_page){ 0 };
    return 0;
}

/* ---- the feed ---- */

struct feed_args {
    uint64_t after;
    unsigned limit;
};

static void make_feed(struct redis_store *s, struct redis_request *r, const void *what)
{
    const struct feed_args *a = what;
    redis_begin_call(s, r, "FCALL_RO", "feed");
    redis_add_int(r, a->after > INT64_MAX ? INT64_MAX : (int64_t)a->after);
    redis_add_int(r, a->limit);
}

/* "seq at number run state" */
static int read_entry(struct redis_store *s, const redisReply *text, const redisReply *errors,
                      struct feed_entry *entry, struct err *err)
{
    unsigned long long seq, number;
    long long at_ms;
    unsigned run, state;
    if (!redis_is_text(text) || !redis_is_text(errors) ||
        sscanf(text->str, "%llu %lld %llu %u %u", &seq, &at_ms, &number, &run, &state) != 5 ||
        state > ASSET_FAILED)
        return senseless(err);
    *entry = (struct feed_entry){
        .seq = seq, .run = run, .state = (enum asset_state)state, .at_ms = at_ms
    };
    permute_name(&s->ids, number, entry->id);
    if (errors->len && !(entry->errors = strndup(errors->str, (size_t)errors->len)))
        return out_of_memory(err);
    return 0;
}

int redis_feed(struct store *base, uint64_t after_seq, unsigned limit, struct feed_page *ret_page,
               struct err *err)
{
    struct redis_store *s = (struct redis_store *)base;
    CLEANUP(feed_page_release) struct feed_page page = { 0 };
    CLEANUP(redis_reply_freep) redisReply *reply = NULL;
    const struct feed_args args = { after_seq, limit };
    if (redis_read(s, make_feed, &args, &reply, err) < 0)
        return -1;
    if (!redis_is_array(reply, 3) || !redis_is_array(reply->element[2], 0))
        return senseless(err);
    const redisReply *list = reply->element[2];
    page.first_seq = (uint64_t)redis_number(reply->element[0]);
    page.last_seq = (uint64_t)redis_number(reply->element[1]);
    page.entries = calloc(list->elements / FEED_FIELDS + 1, sizeof(*page.entries));
    if (!page.entries)
        return out_of_memory(err);
    for (size_t i = 0; i + FEED_FIELDS <= list->elements; i += FEED_FIELDS)
        if (read_entry(s, list->element[i], list->element[i + 1], &page.entries[page.n++], err) < 0)
            return -1;
    *ret_page = page;
    page = (struct feed_page){ 0 };
    return 0;
}

/* ---- history ---- */

static void make_history(struct redis_store *s, struct redis_request *r, const void *what)
{
    char key[NAME_LEN + sizeof(REDIS_PREFIX)];
    (void)s;
    (void)snprintf(key, sizeof(key), REDIS_PREFIX ":ring:%d", (int)*(const enum ring *)what);
    redis_adds(r, "HVALS");
    redis_adds(r, key);
}

static int compare_samples(const void *a, const void *b)
{
    int64_t x = ((const struct sample *)a)->at_ms, y = ((const struct sample *)b)->at_ms;
    return x < y ? -1 : x > y;
}

static void read_sample(const char *text, struct sample *sample)
{
    char *end;
    sample->at_ms = strtoll(text, &end, 10);
    for (int i = 0; i < SAMPLE_VALUES; i++)
        sample->values[i] = strtoull(end, &end, 10);
}

int redis_history(struct store *base, enum ring ring, struct sample *ret_samples, size_t max,
                  size_t *ret_n, struct err *err)
{
    struct redis_store *s = (struct redis_store *)base;
    CLEANUP(redis_reply_freep) redisReply *reply = NULL;
    if (redis_read(s, make_history, &ring, &reply, err) < 0)
        return -1;
    if (!redis_is_array(reply, 0))
        return senseless(err);
    CLEANUP(freep) struct sample *all = calloc(reply->elements + 1, sizeof(*all));
    if (!all)
        return out_of_memory(err);
    size_t n = 0;
    for (size_t i = 0; i < reply->elements; i++)
        if (redis_is_text(reply->element[i]))
            read_sample(reply->element[i]->str, &all[n++]);
    qsort(all, n, sizeof(*all), compare_samples);
    size_t first = n > max ? n - max : 0;
    memcpy(ret_samples, all + first, (n - first) * sizeof(*all));
    *ret_n = n - first;
    return 0;
}
