#include "support/store_memory_disk.h"

/* Room for one more behind n: the array doubles whenever n is a power of two. */
static void *grown(void *array, size_t n, size_t size)
{
    return n & (n - 1) ? array : sure(reallocarray(array, n ? 2 * n : 1, size));
}

static void add_to_feed(struct memory_store *s, const struct memory_asset *a)
{
    struct memory_disk *d = s->disk;
    d->feed = grown(d->feed, d->feed_n, sizeof(*d->feed));
    struct feed_entry *entry = &d->feed[d->feed_n++];
    *entry = (struct feed_entry){
        .seq = d->feed_n,
        .run = a->run,
        .state = a->state,
        .at_ms = s->now_ms,
        .errors = a->state == ASSET_FAILED ? copy(a->errors) : NULL,
    };
    permute_name(&d->ids, (uint64_t)(a - d->assets) + 1, entry->id);
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
    d->events = grown(d->events, d->events_n, sizeof(*d->events));
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

static const struct memory_key *find_key(struct memory_store *s, const uint8_t *key)
{
    struct memory_disk *d = s->disk;
    for (size_t i = d->keys_n; i-- > d->keys_pruned;)
        if (memcmp(d->keys[i].key, key, IDEMPOTENCY_LEN) == 0)
            return s->now_ms - d->keys[i].at_ms < IDEMPOTENCY_MS ? &d->keys[i] : NULL;
    return NULL;
}

static void add_key(struct memory_store *s, const struct step_put *put)
{
    struct memory_disk *d = s->disk;
    d->keys = grown(d->keys, d->keys_n, sizeof(*d->keys));
    struct memory_key *k = &d->keys[d->keys_n++];
    memcpy(k->key, put->idempotency_key, IDEMPOTENCY_LEN);
    memcpy(k->digest, put->body_digest, IDEMPOTENCY_LEN);
    k->number = d->assets_n;
    k->at_ms = s->now_ms;
}

static enum step_result do_put(struct memory_store *s, struct step_put *put)
{
    struct memory_disk *d = s->disk;
    const struct memory_key *key = put->idempotency_key ? find_key(s, put->idempotency_key) : NULL;
    put->ret_repeated = key && memcmp(key->digest, put->body_digest, IDEMPOTENCY_LEN) == 0;
    if (put->ret_repeated)
        permute_name(&d->ids, key->number, put->ret_id);
    if (key)
        return put->ret_repeated ? STEP_DONE : STEP_CONFLICT;
    if (d->stats.by_state[ASSET_QUEUED] >= s->max_queued)
        return STEP_FULL;
    d->assets = grown(d->assets, d->assets_n, sizeof(*d->assets));
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
    if (put->idempotency_key)
        add_key(s, put);
    add_to_feed(s, a);
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
    add_to_feed(s, a);
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
        add_to_feed(s, a);
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
    a->codes = f->codes;
    add_to_feed(s, a);
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
    webhook_id_write(out->webhook_id, out->asset_id, (unsigned)(e->key >> 1 & 0x7fff), e->notify);
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

static void forget_attempt(struct attempt *attempt)
{
    free(attempt->error);
    free(attempt->answer);
}

static void log_attempt(struct memory_store *s, struct memory_event *e,
                        const struct step_delivered *r)
{
    if (e->log_n == ATTEMPTS_MAX) {
        forget_attempt(&e->log[0]);
        memmove(e->log, e->log + 1, --e->log_n * sizeof(e->log[0]));
    }
    struct attempt *attempt = &e->log[e->log_n++];
    *attempt = (struct attempt){
        .at_ms = s->now_ms,
        .http_status = r->http_status,
        .duration_ms = r->duration_ms,
        .error = copy(r->error),
    };
    if (!r->answer)
        return;
    attempt->answer_len = r->answer_len < ANSWER_MAX ? r->answer_len : ANSWER_MAX;
    attempt->answer = sure(calloc(1, attempt->answer_len + 1));
    memcpy(attempt->answer, r->answer, attempt->answer_len);
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
        log_attempt(s, e, r);
    }
    change_event(s->disk, e, r->state, r->next_ms);
    struct memory_event *end = event_at(s->disk, r->key | 1);
    if (end && end != e && end->state == EVENT_WAITING &&
        (e->attempts > 0 || e->state != EVENT_PENDING))
        change_event(s->disk, end, EVENT_PENDING, s->now_ms);
    return STEP_DONE;
}

static void resend_one(struct memory_store *s, struct memory_event *e)
{
    change_event(s->disk, e, EVENT_PENDING, s->now_ms);
    e->attempts = 0;
    e->status = 0;
    e->last_ms = 0;
    free(e->error);
    e->error = NULL;
}

static enum step_result do_resend(struct memory_store *s, struct step_resend *r)
{
    struct memory_disk *d = s->disk;
    r->ret_count = 0;
    if (r->webhook_id) {
        struct memory_event *e = event_of(d, r->webhook_id);
        if (!e)
            return STEP_NOTHING;
        if (e->state != EVENT_DEAD && e->state != EVENT_DELIVERED)
            return STEP_LOST;
        resend_one(s, e);
        r->ret_count = 1;
        return STEP_DONE;
    }
    while (r->ret_count < r->max) {
        struct memory_event *oldest = NULL;
        for (size_t i = 0; i < d->events_n; i++) {
            struct memory_event *e = &d->events[i];
            if (!e->gone && e->state == EVENT_DEAD && (!oldest || e->key < oldest->key) &&
                (r->before_ms == 0 || e->created_ms < r->before_ms))
                oldest = e;
        }
        if (!oldest)
            break;
        resend_one(s, oldest);
        r->ret_count++;
    }
    return r->ret_count ? STEP_DONE : STEP_NOTHING;
}

static enum step_result do_sample(struct memory_store *s, const struct step_sample *sample)
{
    int64_t at = sample->sample.at_ms / ring_period_ms(sample->ring);
    size_t place = (size_t)at % ring_len(sample->ring);
    s->disk->rings[sample->ring][place] = sample->sample;
    s->disk->sampled[sample->ring][place] = true;
    return STEP_DONE;
}

/* The first ones of the feed and of the keys, up to the first that is to stay. */
static bool prune_oldest(struct memory_store *s, int64_t before_ms)
{
    struct memory_disk *d = s->disk;
    size_t feed_pruned = d->feed_pruned, keys_pruned = d->keys_pruned;
    while (d->feed_pruned < d->feed_n && d->feed[d->feed_pruned].at_ms < before_ms)
        d->feed_pruned++;
    while (d->keys_pruned < d->keys_n &&
           s->now_ms - d->keys[d->keys_pruned].at_ms >= IDEMPOTENCY_MS)
        d->keys_pruned++;
    return d->feed_pruned > feed_pruned || d->keys_pruned > keys_pruned;
}

static void forget_errors(struct memory_disk *d, uint64_t number)
{
    char id[ASSET_ID_LEN + 1];
    permute_name(&d->ids, number, id);
    for (size_t i = 0; i < d->feed_n; i++) {
        if (strcmp(d->feed[i].id, id) == 0) {
            free(d->feed[i].errors);
            d->feed[i].errors = NULL;
        }
    }
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
            forget_errors(d, i + 1);
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
    bool others = prune_oldest(s, p->before_ms);
    return others || p->ret_count ? STEP_DONE : STEP_NOTHING;
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
            step->result = do_resend(s, &step->u.resend);
            break;
        case STEP_SAMPLE:
            step->result = do_sample(s, &step->u.sample);
            break;
        }
    }
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
        for (size_t j = 0; j < d->events[i].log_n; j++)
            forget_attempt(&d->events[i].log[j]);
    }
    for (size_t i = 0; i < d->feed_n; i++)
        free(d->feed[i].errors);
    free(d->feed);
    free(d->keys);
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
    .event = memory_event,
    .events = memory_events,
    .deliveries = memory_deliveries,
    .feed = memory_feed,
    .history = memory_history,
    .close = memory_close,
};

/* As after a crash: what was in somebody's hands is to be had again. Queued ones by their time. */
static void void_leases(struct memory_disk *d)
{
    for (size_t i = 0; i < d->events_n; i++)
        d->events[i].leased = false;
    d->stats.rescued = 0;
    for (size_t i = 0; i < d->assets_n; i++) {
        struct memory_asset *a = &d->assets[i];
        if (!a->pruned && a->state == ASSET_STARTED && !a->given_back) {
            a->given_back = true;
            a->not_before_ms = 0;
            d->stats.rescued++;
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
