/* store_memory_read: what readers see of the plain store. */
#include "support/store_memory_disk.h"

static void copy_asset(struct memory_disk *d, const struct memory_asset *a, struct asset *out)
{
    *out = (struct asset){
        .number = (uint64_t)(a - d->assets) + 1,
        .state = a->state,
        .run = a->run,
        .attempts = a->attempts,
        .path = copy(a->path),
        .errors = copy(a->errors),
        .report = copy(a->report),
        .accepted_ms = a->accepted_ms,
        .started_ms = a->state >= ASSET_STARTED ? a->started_ms : 0,
        .ended_ms = a->state >= ASSET_SUCCESS ? a->ended_ms : 0,
    };
    permute_name(&d->ids, out->number, out->id);
}

int memory_find(struct store *base, const char *id, struct asset *ret_asset, struct err *err)
{
    struct memory_disk *d = ((struct memory_store *)base)->disk;
    uint64_t number;
    const struct memory_asset *a = asset_of(d, id, &number);
    (void)err;
    if (!a)
        return 0;
    copy_asset(d, a, ret_asset);
    for (int i = 0; i < NOTIFY_COUNT; i++) {
        ret_asset->deliveries[i].url = copy(a->urls[i]);
        ret_asset->deliveries[i].url_state = a->url_states[i];
    }
    for (int terminal = 0; terminal <= 1; terminal++) {
        const struct memory_event *e = event_at(d, key_of(number, a->run, terminal));
        if (!e)
            continue;
        struct delivery *out = &ret_asset->deliveries[e->notify];
        out->has_event = true;
        out->state = e->state;
        out->attempts = e->attempts;
        out->http_status = e->status;
        out->error = copy(e->error);
        out->next_ms = e->state == EVENT_PENDING ? e->due_ms : 0;
        out->last_ms = e->last_ms;
    }
    return 1;
}

/* Whether a walk over the assets in question comes by this one. */
static bool is_walked(const struct memory_asset *a, const struct asset_query *query)
{
    if (a->pruned || (query->by_state && a->state != query->state))
        return false;
    return !query->by_code || a->state == ASSET_FAILED;
}

int memory_list(struct store *base, const struct asset_query *query, struct asset_page *ret_page,
                struct err *err)
{
    struct memory_disk *d = ((struct memory_store *)base)->disk;
    uint64_t below = d->assets_n + 1;
    unsigned examined = 0;
    if (query->after && !permute_number(&d->ids, query->after, &below))
        return err_set(err, ERR_INVALID, "no id");
    *ret_page = (struct asset_page){ .assets = sure(calloc(query->limit, sizeof(struct asset))) };
    for (size_t i = d->assets_n; i-- > 0;) {
        const struct memory_asset *a = &d->assets[i];
        if (i + 1 >= below || !is_walked(a, query))
            continue;
        if (query->since_ms && a->accepted_ms < query->since_ms)
            break;
        bool fits = (!query->until_ms || a->accepted_ms < query->until_ms) &&
                    (!query->path || strcmp(a->path, query->path) == 0) &&
                    (!query->by_code || (a->codes >> query->code & 1));
        if (fits && ret_page->n == query->limit) {
            ret_page->more = true;
            (void)strcpy(ret_page->next, ret_page->assets[ret_page->n - 1].id);
            break;
        }
        if (fits)
            copy_asset(d, a, &ret_page->assets[ret_page->n++]);
        if (++examined == LIST_EXAMINE_MAX) {
            ret_page->more = true;
            permute_name(&d->ids, i + 1, ret_page->next);
            break;
        }
    }
    return 0;
}

static void view_event(struct memory_disk *d, const struct memory_event *e, bool with_log,
                       struct event_view *view)
{
    *view = (struct event_view){
        .notify = e->notify,
        .state = e->state,
        .run = (unsigned)(e->key >> 1 & 0x7fff),
        .attempts = e->attempts,
        .url = copy(d->assets[(e->key >> 16) - 1].urls[e->notify]),
        .created_ms = e->created_ms,
        .next_ms = e->state == EVENT_PENDING ? e->due_ms : 0,
        .last_ms = e->last_ms,
        .http_status = e->status,
        .error = copy(e->error),
    };
    permute_name(&d->ids, e->key >> 16, view->asset_id);
    webhook_id_write(view->webhook_id, view->asset_id, view->run, view->notify);
    if (!with_log || !e->log_n)
        return;
    view->log = sure(calloc(e->log_n, sizeof(*view->log)));
    view->n_log = e->log_n;
    for (size_t i = 0; i < e->log_n; i++) {
        struct attempt *out = &view->log[i];
        *out = e->log[i];
        out->error = copy(out->error);
        if (out->answer) {
            out->answer = sure(malloc(out->answer_len + 1));
            memcpy(out->answer, e->log[i].answer, out->answer_len + 1);
        }
    }
}

int memory_event(struct store *base, const char *webhook_id, struct event_view *ret_event,
                 struct err *err)
{
    struct memory_disk *d = ((struct memory_store *)base)->disk;
    const struct memory_event *e = event_of(d, webhook_id);
    (void)err;
    if (e)
        view_event(d, e, true, ret_event);
    return e != NULL;
}

/* The event with the highest key below the one given, of those in question. */
static const struct memory_event *next_event(struct memory_disk *d, uint64_t below,
                                             const struct event_query *query)
{
    const struct memory_event *best = NULL;
    for (size_t i = 0; i < d->events_n; i++) {
        const struct memory_event *e = &d->events[i];
        if (!e->gone && e->key < below && (!best || e->key > best->key) &&
            (!query->by_state || e->state == query->state))
            best = e;
    }
    return best;
}

int memory_events(struct store *base, const struct event_query *query, struct event_page *ret_page,
                  struct err *err)
{
    struct memory_disk *d = ((struct memory_store *)base)->disk;
    uint64_t below = UINT64_MAX, number;
    char asset_id[ASSET_ID_LEN + 1];
    unsigned run;
    enum notify notify;
    if (query->after) {
        if (!webhook_id_read(query->after, asset_id, &run, &notify) ||
            !permute_number(&d->ids, asset_id, &number))
            return err_set(err, ERR_INVALID, "no id");
        below = key_of(number, run, notify != NOTIFY_START);
    }
    *ret_page =
        (struct event_page){ .events = sure(calloc(query->limit, sizeof(struct event_view))) };
    const struct memory_event *e;
    while ((e = next_event(d, below, query)) && ret_page->n < query->limit) {
        view_event(d, e, false, &ret_page->events[ret_page->n++]);
        below = e->key;
    }
    ret_page->more = e != NULL;
    if (e)
        (void)strcpy(ret_page->next, ret_page->events[ret_page->n - 1].webhook_id);
    return 0;
}

int memory_deliveries(struct store *base, const char *asset_id, struct event_page *ret_page,
                      struct err *err)
{
    struct memory_disk *d = ((struct memory_store *)base)->disk;
    uint64_t number;
    (void)err;
    *ret_page = (struct event_page){ 0 };
    if (!asset_of(d, asset_id, &number))
        return 0;
    ret_page->events = sure(calloc(d->events_n + 1, sizeof(struct event_view)));
    for (size_t i = 0; i < d->events_n; i++) /* they were made in the order of their keys */
        if (!d->events[i].gone && d->events[i].key >> 16 == number)
            view_event(d, &d->events[i], true, &ret_page->events[ret_page->n++]);
    return 0;
}

int memory_feed(struct store *base, uint64_t after_seq, unsigned limit, struct feed_page *ret_page,
                struct err *err)
{
    struct memory_disk *d = ((struct memory_store *)base)->disk;
    (void)err;
    *ret_page = (struct feed_page){ .entries = sure(calloc(limit, sizeof(struct feed_entry))),
                                    .last_seq = d->feed_n,
                                    .first_seq = d->feed_pruned + 1 };
    uint64_t at = after_seq > d->feed_pruned ? after_seq : d->feed_pruned;
    for (; at < d->feed_n && ret_page->n < limit; at++) {
        struct feed_entry *entry = &ret_page->entries[ret_page->n++];
        *entry = d->feed[at];
        entry->errors = copy(entry->errors);
    }
    return 0;
}

static int newest_first(const void *a, const void *b)
{
    int64_t x = ((const struct sample *)a)->at_ms, y = ((const struct sample *)b)->at_ms;
    return (x < y) - (x > y);
}

int memory_history(struct store *base, enum ring ring, struct sample *ret_samples, size_t max,
                   size_t *ret_n, struct err *err)
{
    struct memory_disk *d = ((struct memory_store *)base)->disk;
    struct sample all[RING_LEN_MAX];
    size_t n = 0;
    (void)err;
    for (size_t i = 0; i < ring_len(ring); i++)
        if (d->sampled[ring][i])
            all[n++] = d->rings[ring][i];
    qsort(all, n, sizeof(all[0]), newest_first);
    *ret_n = n < max ? n : max;
    for (size_t i = 0; i < *ret_n; i++)
        ret_samples[i] = all[*ret_n - 1 - i];
    return 0;
}

int memory_stats(struct store *base, struct store_stats *ret_stats, struct err *err)
{
    struct memory_disk *d = ((struct memory_store *)base)->disk;
    const struct memory_asset *oldest = NULL;
    (void)err;
    *ret_stats = d->stats;
    for (size_t i = 0; i < d->assets_n; i++) {
        const struct memory_asset *a = &d->assets[i];
        if (!a->pruned && a->state == ASSET_QUEUED && (!oldest || a->ticket < oldest->ticket))
            oldest = a;
    }
    ret_stats->oldest_queued_ms = oldest ? oldest->since_ms : 0;
    return 0;
}
