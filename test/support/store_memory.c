#include "support/store_memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/permute.h"

struct run_result {
    char *errors, *report;
};

struct memory_asset {
    bool pruned;
    enum asset_state state;
    unsigned run, attempts;
    char *path, *urls[NOTIFY_COUNT];
    enum url_state url_states[NOTIFY_COUNT];
    int64_t accepted_ms, started_ms, ended_ms;
    bool given_back;
    int64_t not_before_ms;
    int64_t since_ms; /* queued */
    uint64_t ticket;  /* queued: the lowest is next */
    char *errors, *report;
};

struct memory_event {
    bool gone;
    uint64_t key;
    enum notify notify;
    enum event_state state;
    unsigned attempts;
    int64_t due_ms, created_ms, last_ms;
    int status;
    char *error, *errors;
    bool leased;
    int64_t until_ms;
};

struct memory_disk {
    struct memory_asset *assets; /* number n is at n - 1 */
    size_t assets_n;
    struct memory_event *events;
    size_t events_n;
    uint64_t tickets;
    struct store_stats stats;
    struct permute ids;
};

struct memory_store {
    struct store base;
    struct memory_disk *disk;
    uint64_t max_queued;
    int64_t now_ms;
};

static void *sure(void *p)
{
    if (!p)
        abort();
    return p;
}

static char *copy(const char *text)
{
    return text ? sure(strdup(text)) : NULL;
}

static struct memory_asset *asset_at(struct memory_disk *d, uint64_t number)
{
    if (number == 0 || number > d->assets_n || d->assets[number - 1].pruned)
        return NULL;
    return &d->assets[number - 1];
}

static struct memory_asset *asset_of(struct memory_disk *d, const char *id, uint64_t *number)
{
    return permute_number(&d->ids, id, number) ? asset_at(d, *number) : NULL;
}

static struct memory_event *event_at(struct memory_disk *d, uint64_t key)
{
    for (size_t i = 0; i < d->events_n; i++)
        if (!d->events[i].gone && d->events[i].key == key)
            return &d->events[i];
    return NULL;
}

static uint64_t key_of(uint64_t number, unsigned run, bool terminal)
{
    return number << 16 | run << 1 | terminal;
}

static void set_state(struct memory_disk *d, struct memory_asset *a, enum asset_state state)
{
    d->stats.by_state[a->state]--;
    a->state = state;
    d->stats.by_state[state]++;
}

static void add_event(struct memory_store *s, uint64_t key, enum notify notify,
                      enum event_state state, const char *errors)
{
    struct memory_disk *d = s->disk;
    d->events = sure(reallocarray(d->events, d->events_n + 1, sizeof(*d->events)));
    d->events[d->events_n++] = (struct memory_event){
        .key = key,
        .notify = notify,
        .state = state,
        .due_ms = s->now_ms,
        .created_ms = s->now_ms,
        .errors = copy(errors),
    };
    d->stats.events_by_state[state]++;
}

static enum step_result do_put(struct memory_store *s, struct step_put *put)
{
    struct memory_disk *d = s->disk;
    put->ret_repeated = false;
    if (d->stats.by_state[ASSET_QUEUED] >= s->max_queued)
        return STEP_FULL;
    d->assets = sure(reallocarray(d->assets, d->assets_n + 1, sizeof(*d->assets)));
    struct memory_asset *a = &d->assets[d->assets_n++];
    *a = (struct memory_asset){
        .run = 1,
        .path = copy(put->path),
        .accepted_ms = s->now_ms,
        .since_ms = s->now_ms,
        .ticket = d->tickets++,
    };
    for (int i = 0; i < NOTIFY_COUNT; i++) {
        a->urls[i] = copy(put->notifications[i].url);
        a->url_states[i] = put->notifications[i].state;
    }
    permute_name(&d->ids, d->assets_n, put->ret_id);
    d->stats.accepted++;
    d->stats.by_state[ASSET_QUEUED]++;
    return STEP_DONE;
}

static enum step_result do_retry(struct memory_store *s, struct step_retry *retry)
{
    struct memory_disk *d = s->disk;
    uint64_t number;
    struct memory_asset *a = asset_of(d, retry->id, &number);
    if (!a)
        return STEP_NOTHING;
    if (a->state < ASSET_SUCCESS)
        return STEP_LOST;
    if (d->stats.by_state[ASSET_QUEUED] >= s->max_queued)
        return STEP_FULL;
    set_state(d, a, ASSET_QUEUED);
    a->run++;
    a->attempts = 0;
    a->since_ms = s->now_ms;
    a->ticket = d->tickets++;
    memcpy(a->url_states, retry->url_states, sizeof(a->url_states));
    free(a->errors);
    free(a->report);
    a->errors = a->report = NULL;
    return STEP_DONE;
}

static bool goes_before(const struct memory_asset *a, const struct memory_asset *b)
{
    if (!b || a->given_back != b->given_back)
        return !b || a->given_back;
    if (!a->given_back)
        return a->ticket < b->ticket;
    return a->not_before_ms < b->not_before_ms || (a->not_before_ms == b->not_before_ms && a < b);
}

static void claim_one(struct memory_store *s, struct memory_asset *a, struct claim **ret_claim)
{
    struct memory_disk *d = s->disk;
    uint64_t number = (uint64_t)(a - d->assets) + 1;
    a->attempts++;
    a->given_back = false;
    if (a->state == ASSET_QUEUED) {
        set_state(d, a, ASSET_STARTED);
        a->started_ms = s->now_ms;
        enum url_state url = a->url_states[NOTIFY_START];
        if (url == URL_VALID || url == URL_OFF)
            add_event(s, key_of(number, a->run, false), NOTIFY_START,
                      url == URL_OFF ? EVENT_OFF : EVENT_PENDING, NULL);
    }
    struct claim *c = *ret_claim = sure(calloc(1, sizeof(*c)));
    *c = (struct claim){
        .number = number,
        .run = a->run,
        .attempts = a->attempts,
        .path = copy(a->path),
        .accepted_ms = a->accepted_ms,
        .started_ms = a->started_ms,
    };
    permute_name(&d->ids, number, c->id);
    memcpy(c->url_states, a->url_states, sizeof(c->url_states));
}

static enum step_result do_claim(struct memory_store *s, struct step_claim *claim)
{
    struct memory_disk *d = s->disk;
    size_t waiting = 0;
    for (size_t i = 0; i < d->assets_n; i++)
        waiting +=
            !d->assets[i].pruned && (d->assets[i].state == ASSET_QUEUED || d->assets[i].given_back);
    struct claim **last = &claim->ret_claims;
    claim->ret_next_ms = 0;
    for (size_t n = 0; n < claim->max && n < 1 + waiting / 16; n++) {
        struct memory_asset *best = NULL;
        for (size_t i = 0; i < d->assets_n; i++) {
            struct memory_asset *a = &d->assets[i];
            if (a->pruned || (a->state != ASSET_QUEUED && !a->given_back))
                continue;
            if (a->given_back && a->not_before_ms > s->now_ms) {
                if (!claim->ret_next_ms || a->not_before_ms < claim->ret_next_ms)
                    claim->ret_next_ms = a->not_before_ms;
            } else if (goes_before(a, best)) {
                best = a;
            }
        }
        if (!best)
            break;
        claim_one(s, best, last);
        last = &(*last)->next;
    }
    return claim->ret_claims ? STEP_DONE : STEP_NOTHING;
}

static enum step_result do_finish(struct memory_store *s, const struct step_finish *f)
{
    struct memory_disk *d = s->disk;
    struct memory_asset *a = asset_at(d, f->number);
    if (!a || a->state != ASSET_STARTED || a->run != f->run)
        return STEP_LOST;
    set_state(d, a, f->success ? ASSET_SUCCESS : ASSET_FAILED);
    a->given_back = false;
    a->ended_ms = s->now_ms;
    a->errors = copy(f->errors);
    a->report = copy(f->report);
    *(f->success ? &d->stats.runs_success : &d->stats.runs_failed) += 1;
    for (int i = 0; i < FINDING_CODES; i++)
        d->stats.errors_by_code[i] += f->codes >> i & 1;
    enum notify notify = f->success ? NOTIFY_SUCCESS : NOTIFY_FAILURE;
    const struct memory_event *started = event_at(d, key_of(f->number, f->run, false));
    bool waits = started && started->state == EVENT_PENDING && started->attempts == 0;
    if (a->url_states[notify] == URL_VALID || a->url_states[notify] == URL_OFF)
        add_event(s, key_of(f->number, f->run, true), notify,
                  a->url_states[notify] == URL_OFF ? EVENT_OFF
                  : waits                          ? EVENT_WAITING
                                                   : EVENT_PENDING,
                  f->success ? NULL : f->errors);
    return STEP_DONE;
}

static enum step_result do_release(struct memory_store *s, const struct step_release *r)
{
    struct memory_asset *a = asset_at(s->disk, r->number);
    if (!a || a->state != ASSET_STARTED || a->run != r->run || a->given_back)
        return STEP_LOST;
    a->given_back = true;
    a->not_before_ms = r->not_before_ms;
    a->attempts -= !r->fault;
    return STEP_DONE;
}

static void lease_one(struct memory_store *s, struct memory_event *e, int64_t lease_ms,
                      struct event **ret_event)
{
    static const char *const names[NOTIFY_COUNT] = { "started", "success", "failed" };
    e->leased = true;
    e->until_ms = s->now_ms + lease_ms;
    struct event *out = *ret_event = sure(calloc(1, sizeof(*out)));
    *out = (struct event){
        .key = e->key,
        .notify = e->notify,
        .attempts = e->attempts,
        .url = copy(s->disk->assets[(e->key >> 16) - 1].urls[e->notify]),
        .errors = copy(e->errors),
        .created_ms = e->created_ms,
    };
    permute_name(&s->disk->ids, e->key >> 16, out->asset_id);
    (void)snprintf(out->webhook_id, sizeof(out->webhook_id), "%s_%u_%s", out->asset_id,
                   (unsigned)(e->key >> 1 & 0x7fff), names[e->notify]);
}

static enum step_result do_lease(struct memory_store *s, struct step_lease *lease)
{
    struct memory_disk *d = s->disk;
    struct event **last = &lease->ret_events;
    lease->ret_next_ms = 0;
    for (unsigned n = 0; n < lease->max; n++) {
        struct memory_event *best = NULL;
        for (size_t i = 0; i < d->events_n; i++) {
            struct memory_event *e = &d->events[i];
            if (e->gone || e->state != EVENT_PENDING)
                continue;
            int64_t at_ms = e->due_ms;
            if (e->leased && e->until_ms > s->now_ms && e->until_ms > at_ms)
                at_ms = e->until_ms;
            if (at_ms > s->now_ms) {
                if (!lease->ret_next_ms || at_ms < lease->ret_next_ms)
                    lease->ret_next_ms = at_ms;
            } else if (!best || e->due_ms < best->due_ms ||
                       (e->due_ms == best->due_ms && e->key < best->key)) {
                best = e;
            }
        }
        if (!best)
            break;
        lease_one(s, best, lease->lease_ms, last);
        last = &(*last)->next;
    }
    return lease->ret_events ? STEP_DONE : STEP_NOTHING;
}

static void change_event(struct memory_disk *d, struct memory_event *e, enum event_state state,
                         int64_t due_ms)
{
    d->stats.events_by_state[e->state]--;
    e->state = state;
    e->due_ms = due_ms;
    d->stats.events_by_state[state]++;
}

static enum step_result do_delivered(struct memory_store *s, const struct step_delivered *r)
{
    struct memory_event *e = event_at(s->disk, r->key);
    if (!e || !e->leased)
        return STEP_LOST;
    e->leased = false;
    if (r->attempted) {
        e->attempts++;
        e->last_ms = s->now_ms;
        e->status = r->http_status;
        free(e->error);
        e->error = copy(r->error);
    }
    change_event(s->disk, e, r->state, r->next_ms);
    struct memory_event *end = event_at(s->disk, r->key | 1);
    if (end && end != e && end->state == EVENT_WAITING &&
        (e->attempts > 0 || e->state != EVENT_PENDING))
        change_event(s->disk, end, EVENT_PENDING, s->now_ms);
    return STEP_DONE;
}

static enum step_result do_prune(struct memory_store *s, struct step_prune *p)
{
    struct memory_disk *d = s->disk;
    p->ret_count = 0;
    for (enum asset_state state = ASSET_SUCCESS; state <= ASSET_FAILED; state++) {
        for (size_t i = 0; i < d->assets_n && p->ret_count < p->max; i++) {
            struct memory_asset *a = &d->assets[i];
            if (a->pruned || a->state != state)
                continue;
            if (a->accepted_ms >= p->before_ms)
                break; /* as engines may, so as not to look at all of them */
            if (a->ended_ms >= p->before_ms)
                continue;
            a->pruned = true;
            d->stats.by_state[state]--;
            d->stats.pruned++;
            p->ret_count++;
            for (size_t j = 0; j < d->events_n; j++) {
                struct memory_event *e = &d->events[j];
                if (!e->gone && e->key >> 16 == i + 1) {
                    e->gone = true;
                    d->stats.events_by_state[e->state]--;
                }
            }
        }
    }
    return p->ret_count ? STEP_DONE : STEP_NOTHING;
}

static int memory_apply(struct store *base, struct step *steps[], size_t n, int64_t now_ms,
                        struct err *err)
{
    struct memory_store *s = (struct memory_store *)base;
    (void)err;
    s->now_ms = now_ms;
    for (size_t i = 0; i < n; i++) {
        struct step *step = steps[i];
        switch (step->kind) {
        case STEP_PUT:
            step->result = do_put(s, &step->u.put);
            break;
        case STEP_RETRY:
            step->result = do_retry(s, &step->u.retry);
            break;
        case STEP_CLAIM:
            step->u.claim.ret_claims = NULL;
            step->result = do_claim(s, &step->u.claim);
            break;
        case STEP_FINISH:
            step->result = do_finish(s, &step->u.finish);
            break;
        case STEP_RELEASE:
            step->result = do_release(s, &step->u.release);
            break;
        case STEP_LEASE:
            step->u.lease.ret_events = NULL;
            step->result = do_lease(s, &step->u.lease);
            break;
        case STEP_DELIVERED:
            step->result = do_delivered(s, &step->u.delivered);
            break;
        case STEP_PRUNE:
            step->result = do_prune(s, &step->u.prune);
            break;
        case STEP_RESEND:
        case STEP_SAMPLE:
            step->result = STEP_NOTHING;
            break;
        }
    }
    return 0;
}

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

static int memory_find(struct store *base, const char *id, struct asset *ret_asset, struct err *err)
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

static int memory_list(struct store *base, const struct asset_query *query,
                       struct asset_page *ret_page, struct err *err)
{
    struct memory_disk *d = ((struct memory_store *)base)->disk;
    uint64_t below = d->assets_n + 1;
    if (query->after && !permute_number(&d->ids, query->after, &below))
        return err_set(err, ERR_INVALID, "no id");
    *ret_page = (struct asset_page){ .assets = sure(calloc(query->limit, sizeof(struct asset))) };
    for (size_t i = d->assets_n; i-- > 0;) {
        const struct memory_asset *a = &d->assets[i];
        if (a->pruned || i + 1 >= below || (query->by_state && a->state != query->state))
            continue;
        if (ret_page->n == query->limit) {
            ret_page->more = true;
            break;
        }
        copy_asset(d, a, &ret_page->assets[ret_page->n++]);
    }
    return 0;
}

static int memory_stats(struct store *base, struct store_stats *ret_stats, struct err *err)
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

static void memory_close(struct store *base)
{
    free(base);
}

struct memory_disk *memory_disk_new(void)
{
    struct memory_disk *d = sure(calloc(1, sizeof(*d)));
    static const uint8_t key[PERMUTE_KEY_LEN] = { 7 };
    permute_init(&d->ids, key);
    return d;
}

void memory_disk_free(struct memory_disk *d)
{
    if (!d)
        return;
    for (size_t i = 0; i < d->assets_n; i++) {
        struct memory_asset *a = &d->assets[i];
        free(a->path);
        free(a->errors);
        free(a->report);
        for (int j = 0; j < NOTIFY_COUNT; j++)
            free(a->urls[j]);
    }
    for (size_t i = 0; i < d->events_n; i++) {
        free(d->events[i].error);
        free(d->events[i].errors);
    }
    free(d->assets);
    free(d->events);
    free(d);
}

static const struct store_ops memory_ops = {
    .scheme = "memory",
    .apply = memory_apply,
    .find = memory_find,
    .list = memory_list,
    .stats = memory_stats,
    .close = memory_close,
};

/* As after a crash: what was in somebody's hands is to be had again. Queued ones by their time. */
static void void_leases(struct memory_disk *d)
{
    for (size_t i = 0; i < d->events_n; i++)
        d->events[i].leased = false;
    for (size_t i = 0; i < d->assets_n; i++) {
        struct memory_asset *a = &d->assets[i];
        if (!a->pruned && a->state == ASSET_STARTED && !a->given_back) {
            a->given_back = true;
            a->not_before_ms = 0;
        }
    }
    uint64_t base = d->tickets;
    for (size_t i = 0; i < d->assets_n; i++) {
        uint64_t earlier = 0;
        for (size_t j = 0; j < d->assets_n; j++)
            earlier += d->assets[j].since_ms < d->assets[i].since_ms ||
                       (d->assets[j].since_ms == d->assets[i].since_ms && j < i);
        d->assets[i].ticket = base + earlier;
    }
    d->tickets += d->assets_n;
}

struct store *store_memory_new(struct memory_disk *disk, const struct store_config *config)
{
    struct memory_store *s = sure(calloc(1, sizeof(*s)));
    s->base.ops = &memory_ops;
    s->disk = disk;
    s->max_queued = config->max_queued;
    void_leases(disk);
    return &s->base;
}
