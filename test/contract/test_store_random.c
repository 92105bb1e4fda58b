/* Thousands of random operations over an engine and the plain store in memory, side by side: same
 * steps, same answers, through crashes and jumps of the clock. Besides, what must always hold is checked
 * from outside. The seed is printed when a run fails; SEED=n replays it, ROUNDS=n makes it longer. */
#include "support/store_world.h"

enum { ROUNDS = 40, OPS = 250, BATCH_MAX = 6, SEEN_MAX = 4096, HELD_MAX = 64, KEYS = 6 };

static uint64_t random_state;

static unsigned below(unsigned n)
{
    random_state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    uint64_t z = random_state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (unsigned)((z ^ (z >> 31)) % n);
}

/* What the outside knows of one asset. */
struct seen {
    char ids[2][ASSET_ID_LEN + 1]; /* in either store */
    unsigned runs, ends;
};

struct pair {
    struct world worlds[2]; /* sqlite, memory */
    struct seen seen[SEEN_MAX];
    size_t seen_n;
    struct {
        uint64_t number;
        unsigned run;
    } held[HELD_MAX];
    size_t held_n;
    struct {
        uint64_t key;
        char webhook[WEBHOOK_ID_LEN + 1];
    } leased[HELD_MAX];
    size_t leased_n;
    uint8_t digests[KEYS][IDEMPOTENCY_LEN]; /* also used as keys */
    uint64_t fed;                           /* entries of the feed that were compared */
    char started_over[SEEN_MAX][8];         /* whether the started event of a run was attempted */
    char started_made[SEEN_MAX][8];         /* whether it was ever leased */
};

/* ---- one random step, for both ---- */

static enum url_state random_url(void)
{
    static const enum url_state states[] = { URL_VALID,  URL_VALID,      URL_VALID, URL_VALID,
                                             URL_ABSENT, URL_DISALLOWED, URL_OFF };
    return states[below(ARRAY_LEN(states))];
}

static void random_finish(struct pair *p, struct step *step)
{
    step->u.finish.number = 1 + below((unsigned)p->seen_n + 1);
    step->u.finish.run = 1 + below(2);
    if (p->held_n && below(8)) {
        size_t i = below((unsigned)p->held_n);
        step->u.finish.number = p->held[i].number;
        step->u.finish.run = p->held[i].run;
        if (below(4))
            p->held[i] = p->held[--p->held_n];
    }
    step->u.finish.success = below(2);
    step->u.finish.codes = step->u.finish.success ? 0 : 1u << below(FINDING_CODES);
    step->u.finish.errors = step->u.finish.success ? NULL : "{\"asset\":[\"is corrupt\"]}";
    step->u.finish.report = "{}";
}

static void random_release(struct pair *p, struct step *step, int64_t now_ms)
{
    step->u.release.number = 1 + below((unsigned)p->seen_n + 1);
    step->u.release.run = 1;
    if (p->held_n && below(8)) {
        size_t i = below((unsigned)p->held_n);
        step->u.release.number = p->held[i].number;
        step->u.release.run = p->held[i].run;
        p->held[i] = p->held[--p->held_n];
    }
    step->u.release.not_before_ms = below(2) ? 0 : now_ms + below(100);
    step->u.release.fault = below(2);
}

static void random_delivered(struct pair *p, struct step *step, int64_t now_ms)
{
    static const enum event_state states[] = { EVENT_DELIVERED, EVENT_DELIVERED, EVENT_PENDING,
                                               EVENT_DEAD,      EVENT_DEAD,      EVENT_OFF };
    static const char answer[2000] = "thanks\0a lot";
    struct step_delivered *d = &step->u.delivered;
    d->key = (uint64_t)below((unsigned)p->seen_n + 1) << 16 | 2 | below(2);
    if (p->leased_n && below(8)) {
        size_t i = below((unsigned)p->leased_n);
        d->key = p->leased[i].key;
        if (below(4))
            p->leased[i] = p->leased[--p->leased_n];
    }
    d->state = states[below(ARRAY_LEN(states))];
    d->attempted = d->state == EVENT_DELIVERED || below(4);
    d->next_ms = now_ms + below(200);
    d->http_status = (int)below(600);
    d->duration_ms = (int)below(100000);
    d->error = below(2) ? "timeout" : NULL;
    d->answer = below(3) ? NULL : answer;
    d->answer_len = below(2) ? below(20) : below(sizeof(answer));
}

static void random_put(struct pair *p, struct step *step)
{
    static const char *const paths[] = { "./a.jpg", "./b.jpg", "./c.jpg" };
    *step = put_step(paths[below(ARRAY_LEN(paths))], random_url(), random_url(), random_url());
    if (below(3))
        return;
    step->u.put.idempotency_key = p->digests[below(KEYS)];
    step->u.put.body_digest = p->digests[below(4) ? 0 : below(KEYS)];
}

static void random_sample(struct step *step, int64_t now_ms)
{
    step->u.sample.ring = (enum ring)below(RINGS);
    step->u.sample.sample.at_ms = now_ms + below(2000) * ring_period_ms(step->u.sample.ring);
    step->u.sample.sample.values[below(SAMPLE_VALUES)] = below(1000000);
}

static void random_step(struct pair *p, struct step *step, int64_t now_ms)
{
    static const enum step_kind kinds[] = {
        STEP_PUT,       STEP_PUT,       STEP_PUT,     STEP_CLAIM, STEP_CLAIM,  STEP_FINISH,
        STEP_FINISH,    STEP_FINISH,    STEP_RELEASE, STEP_LEASE, STEP_LEASE,  STEP_DELIVERED,
        STEP_DELIVERED, STEP_DELIVERED, STEP_RETRY,   STEP_PRUNE, STEP_RESEND, STEP_SAMPLE
    };
    *step = (struct step){ .kind = kinds[below(ARRAY_LEN(kinds))] };
    switch (step->kind) {
    case STEP_PUT:
        random_put(p, step);
        break;
    case STEP_RETRY:
        for (int i = 0; i < NOTIFY_COUNT; i++)
            step->u.retry.url_states[i] = random_url();
        break;
    case STEP_CLAIM:
        step->u.claim.max = 1 + below(4);
        break;
    case STEP_FINISH:
        random_finish(p, step);
        break;
    case STEP_RELEASE:
        random_release(p, step, now_ms);
        break;
    case STEP_LEASE:
        step->u.lease.max = 1 + below(5);
        step->u.lease.lease_ms = 1 + below(100);
        break;
    case STEP_DELIVERED:
        random_delivered(p, step, now_ms);
        break;
    case STEP_PRUNE:
        step->u.prune.max = 1 + below(3);
        step->u.prune.before_ms = now_ms - below(3000);
        break;
    case STEP_RESEND: /* its webhook id is another one in each store */
        step->u.resend.max = below(4);
        step->u.resend.before_ms = below(2) ? 0 : now_ms - below(1000);
        break;
    case STEP_SAMPLE:
        random_sample(step, now_ms);
        break;
    }
}

/* ---- the same answers ---- */

static void same_text(const char *a, const char *b)
{
    assert_int_equal(a == NULL, b == NULL);
    if (a)
        assert_string_equal(a, b);
}

static void same_claims(const struct claim *a, const struct claim *b)
{
    for (; a && b; a = a->next, b = b->next) {
        assert_int_equal(a->number, b->number);
        assert_int_equal(a->run, b->run);
        assert_int_equal(a->attempts, b->attempts);
        assert_int_equal(a->accepted_ms, b->accepted_ms);
        assert_int_equal(a->started_ms, b->started_ms);
        assert_memory_equal(a->url_states, b->url_states, sizeof(a->url_states));
        assert_string_equal(a->path, b->path);
    }
    assert_ptr_equal(a, b); /* both NULL */
}

static void same_events(const struct event *a, const struct event *b)
{
    for (; a && b; a = a->next, b = b->next) {
        assert_int_equal(a->key, b->key);
        assert_int_equal(a->notify, b->notify);
        assert_int_equal(a->attempts, b->attempts);
        assert_int_equal(a->created_ms, b->created_ms);
        assert_string_equal(strchr(a->webhook_id, '_'), strchr(b->webhook_id, '_'));
        same_text(a->url, b->url);
        same_text(a->errors, b->errors);
    }
    assert_ptr_equal(a, b);
}

static bool took_all(const struct step *lease)
{
    unsigned n = 0;
    for (const struct event *e = lease->u.lease.ret_events; e; e = e->next)
        n++;
    return n < lease->u.lease.max;
}

static void same_answers(const struct step *a, const struct step *b)
{
    assert_int_equal(a->result, b->result);
    if (a->kind == STEP_CLAIM) {
        same_claims(a->u.claim.ret_claims, b->u.claim.ret_claims);
        if (a->result == STEP_NOTHING)
            assert_int_equal(a->u.claim.ret_next_ms, b->u.claim.ret_next_ms);
    }
    if (a->kind == STEP_LEASE) {
        same_events(a->u.lease.ret_events, b->u.lease.ret_events);
        if (took_all(a))
            assert_int_equal(a->u.lease.ret_next_ms, b->u.lease.ret_next_ms);
    }
    if (a->kind == STEP_PUT)
        assert_int_equal(a->u.put.ret_repeated, b->u.put.ret_repeated);
    if (a->kind == STEP_RESEND)
        assert_int_equal(a->u.resend.ret_count, b->u.resend.ret_count);
    if (a->kind == STEP_PRUNE)
        assert_int_equal(a->u.prune.ret_count, b->u.prune.ret_count);
}

static void same_assets(struct pair *p, const struct seen *seen)
{
    struct asset a, b;
    int found = store_find(p->worlds[0].store, seen->ids[0], &a, NULL);
    assert_int_equal(found, store_find(p->worlds[1].store, seen->ids[1], &b, NULL));
    if (!found)
        return;
    assert_int_equal(a.number, b.number);
    assert_int_equal(a.state, b.state);
    assert_int_equal(a.run, b.run);
    assert_int_equal(a.attempts, b.attempts);
    assert_int_equal(a.accepted_ms, b.accepted_ms);
    assert_int_equal(a.started_ms, b.started_ms);
    assert_int_equal(a.ended_ms, b.ended_ms);
    same_text(a.errors, b.errors);
    same_text(a.report, b.report);
    for (int i = 0; i < NOTIFY_COUNT; i++) {
        const struct delivery *d = &a.deliveries[i], *e = &b.deliveries[i];
        assert_int_equal(d->has_event, e->has_event);
        assert_int_equal(d->state, e->state);
        assert_int_equal(d->attempts, e->attempts);
        assert_int_equal(d->http_status, e->http_status);
        assert_int_equal(d->next_ms, e->next_ms);
        assert_int_equal(d->last_ms, e->last_ms);
        assert_int_equal(d->url_state, e->url_state);
        same_text(d->url, e->url);
        same_text(d->error, e->error);
    }
    asset_release(&a);
    asset_release(&b);
}

static void same_views(const struct event_view *a, const struct event_view *b)
{
    assert_string_equal(strchr(a->webhook_id, '_'), strchr(b->webhook_id, '_'));
    assert_int_equal(a->notify, b->notify);
    assert_int_equal(a->state, b->state);
    assert_int_equal(a->run, b->run);
    assert_int_equal(a->attempts, b->attempts);
    assert_int_equal(a->created_ms, b->created_ms);
    assert_int_equal(a->next_ms, b->next_ms);
    assert_int_equal(a->last_ms, b->last_ms);
    assert_int_equal(a->http_status, b->http_status);
    same_text(a->url, b->url);
    same_text(a->error, b->error);
    assert_int_equal(a->n_log, b->n_log);
    for (size_t i = 0; i < a->n_log; i++) {
        const struct attempt *x = &a->log[i], *y = &b->log[i];
        assert_int_equal(x->at_ms, y->at_ms);
        assert_int_equal(x->http_status, y->http_status);
        assert_int_equal(x->duration_ms, y->duration_ms);
        same_text(x->error, y->error);
        assert_int_equal(x->answer == NULL, y->answer == NULL);
        assert_int_equal(x->answer_len, y->answer_len);
        if (x->answer)
            assert_memory_equal(x->answer, y->answer, x->answer_len);
    }
}

static void same_event_pages(struct event_page pages[2])
{
    assert_int_equal(pages[0].n, pages[1].n);
    assert_int_equal(pages[0].more, pages[1].more);
    for (size_t i = 0; i < pages[0].n; i++)
        same_views(&pages[0].events[i], &pages[1].events[i]);
    event_page_release(&pages[0]);
    event_page_release(&pages[1]);
}

static void same_deliveries(struct pair *p, const struct seen *seen)
{
    struct event_page pages[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(store_deliveries(p->worlds[i].store, seen->ids[i], &pages[i], NULL), 0);
    same_event_pages(pages);
}

static void same_event_lists(struct pair *p)
{
    struct event_query query = { .by_state = below(4),
                                 .state = (enum event_state)below(EVENT_OFF + 1),
                                 .limit = 1 + below(20) };
    struct event_page pages[2];
    char after[2][WEBHOOK_ID_LEN + 1];
    bool from_newest = p->seen_n == 0 || below(2);
    size_t at = p->seen_n ? below((unsigned)p->seen_n) : 0;
    const char *suffix = below(2) ? "_1_started" : "_2_failed";
    for (int i = 0; i < 2; i++) {
        (void)snprintf(after[i], sizeof(after[i]), "%s%s", p->seen[at].ids[i], suffix);
        query.after = from_newest ? NULL : after[i];
        assert_int_equal(store_events(p->worlds[i].store, &query, &pages[i], NULL), 0);
    }
    same_event_pages(pages);
}

/* Which seen asset has this id in that store. */
static size_t index_of(const struct pair *p, int world, const char *id)
{
    size_t i = 0;
    while (i < p->seen_n && strcmp(p->seen[i].ids[world], id) != 0)
        i++;
    return i;
}

static void same_feeds(struct pair *p)
{
    struct feed_page pages[2];
    unsigned limit = 1 + below(30);
    if (below(10) == 0)
        p->fed = 0;
    for (int i = 0; i < 2; i++)
        assert_int_equal(store_feed(p->worlds[i].store, p->fed, limit, &pages[i], NULL), 0);
    assert_int_equal(pages[0].n, pages[1].n);
    assert_int_equal(pages[0].first_seq, pages[1].first_seq);
    assert_int_equal(pages[0].last_seq, pages[1].last_seq);
    for (size_t i = 0; i < pages[0].n; i++) {
        const struct feed_entry *a = &pages[0].entries[i], *b = &pages[1].entries[i];
        if (a->seq != p->fed + 1) /* nobody misses any but those that were pruned */
            assert_int_equal(a->seq, pages[0].first_seq);
        p->fed = a->seq;
        assert_int_equal(a->seq, b->seq);
        assert_int_equal(a->run, b->run);
        assert_int_equal(a->state, b->state);
        assert_int_equal(a->at_ms, b->at_ms);
        same_text(a->errors, b->errors);
        assert_int_equal(index_of(p, 0, a->id), index_of(p, 1, b->id));
    }
    feed_page_release(&pages[0]);
    feed_page_release(&pages[1]);
}

static void same_histories(struct pair *p)
{
    static struct sample samples[2][RING_LEN_MAX];
    enum ring ring = (enum ring)below(RINGS);
    size_t n[2], max = below(3) ? RING_LEN_MAX : 1 + below(10);
    for (int i = 0; i < 2; i++)
        assert_int_equal(store_history(p->worlds[i].store, ring, samples[i], max, &n[i], NULL), 0);
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(samples[0], samples[1], n[0] * sizeof(samples[0][0]));
}

static void is_sound(struct pair *p)
{
    struct buf report;
    struct err err = { 0 };
    buf_init(&report, 1 << 16);
    if (p->worlds[0].store->ops->verify && store_verify(p->worlds[0].store, &report, &err) != 1)
        fail_msg("%s%s", err.msg, buf_str(&report));
    buf_release(&report);
}

static void same_lists(struct pair *p, int64_t now_ms)
{
    struct asset_query query = { .by_state = below(4),
                                 .state = (enum asset_state)below(ASSET_STATES),
                                 .limit = 1 + below(20),
                                 .by_code = below(4) == 0,
                                 .code = below(FINDING_CODES),
                                 .path = below(4) ? NULL : "./b.jpg",
                                 .since_ms = below(4) ? 0 : now_ms - below(2000),
                                 .until_ms = below(4) ? 0 : now_ms - below(1000) };
    struct asset_query queries[2] = { query, query };
    struct asset_page pages[2];
    size_t after = p->seen_n ? below((unsigned)p->seen_n) : 0;
    bool from_newest = p->seen_n == 0 || below(2);
    for (int i = 0; i < 2; i++) {
        queries[i].after = from_newest ? NULL : p->seen[after].ids[i];
        assert_int_equal(store_list(p->worlds[i].store, &queries[i], &pages[i], NULL), 0);
    }
    assert_int_equal(pages[0].n, pages[1].n);
    assert_int_equal(pages[0].more, pages[1].more);
    if (pages[0].more)
        assert_int_equal(index_of(p, 0, pages[0].next), index_of(p, 1, pages[1].next));
    for (size_t i = 0; i < pages[0].n; i++)
        assert_int_equal(pages[0].assets[i].number, pages[1].assets[i].number);
    asset_page_release(&pages[0]);
    asset_page_release(&pages[1]);
}

/* ---- what must always hold, seen from outside ---- */

static void learn(struct pair *p, const struct step *a, const struct step *b)
{
    if (a->result != STEP_DONE)
        return;
    if (a->kind == STEP_PUT && a->u.put.ret_repeated) {
        size_t i = index_of(p, 0, a->u.put.ret_id);
        assert_in_range(i, 0, p->seen_n - 1);
        assert_string_equal(b->u.put.ret_id, p->seen[i].ids[1]);
    } else if (a->kind == STEP_PUT) {
        struct seen *s = &p->seen[p->seen_n++];
        *s = (struct seen){ .runs = 1 };
        memcpy(s->ids[0], a->u.put.ret_id, sizeof(s->ids[0]));
        memcpy(s->ids[1], b->u.put.ret_id, sizeof(s->ids[1]));
    }
    for (const struct claim *c = a->kind == STEP_CLAIM ? a->u.claim.ret_claims : NULL; c;
         c = c->next) {
        assert_in_range(c->number, 1, p->seen_n); /* invariant 4: numbers go on where they were */
        assert_string_equal(c->id, p->seen[c->number - 1].ids[0]);
        if (p->held_n < HELD_MAX) {
            p->held[p->held_n].number = c->number;
            p->held[p->held_n++].run = c->run;
        }
    }
    if (a->kind == STEP_FINISH) { /* invariant 2: no run ends twice */
        struct seen *s = &p->seen[a->u.finish.number - 1];
        assert_int_equal(s->runs, a->u.finish.run);
        assert_int_equal(++s->ends, s->runs);
    }
    for (const struct event *e = a->kind == STEP_LEASE ? a->u.lease.ret_events : NULL; e;
         e = e->next) {
        uint64_t number = e->key >> 16, run = e->key >> 1 & 0x7fff;
        if (e->notify == NOTIFY_START)
            p->started_made[number - 1][run % 8] = 1;
        else if (p->started_made[number - 1][run % 8]) /* invariant 3 */
            assert_int_equal(p->started_over[number - 1][run % 8], 1);
        if (p->leased_n < HELD_MAX)
            p->leased[p->leased_n++].key = e->key;
    }
    if (a->kind == STEP_DELIVERED && (a->u.delivered.key & 1) == 0 &&
        (a->u.delivered.attempted || a->u.delivered.state != EVENT_PENDING))
        p->started_over[(a->u.delivered.key >> 16) - 1][(a->u.delivered.key >> 1 & 0x7fff) % 8] = 1;
}

static void same_statistics(struct pair *p)
{
    struct store_stats a = stats_of(&p->worlds[0]), b = stats_of(&p->worlds[1]);
    if (p->worlds[0].engine == WORLD_REDIS)
        b.rescued = a.rescued; /* of all processes there ever were */
    assert_memory_equal(&a, &b, sizeof(a));
    assert_int_equal(a.accepted, p->seen_n);
    uint64_t ends = 0;
    for (size_t i = 0; i < p->seen_n; i++)
        ends += p->seen[i].ends;
    assert_int_equal(a.runs_success + a.runs_failed, ends);
}

static bool queues(const struct step *step)
{
    return step->kind == STEP_PUT || step->kind == STEP_RETRY;
}

static void one_batch(struct pair *p, int64_t now_ms)
{
    struct step steps[2][BATCH_MAX], *batches[2][BATCH_MAX];
    static const char *const suffixes[] = { "_1_started", "_1_success", "_1_failed", "_2_started" };
    char names[2][BATCH_MAX][WEBHOOK_ID_LEN + 1];
    size_t n = 1 + below(BATCH_MAX);
    for (size_t i = 0; i < n; i++) {
        /* A Redis's queue is in the order in which steps came; the others sort by time at a start, and
         * by number what came in the same moment. */
        do
            random_step(p, &steps[0][i], now_ms);
        while (p->worlds[0].engine == WORLD_REDIS && i > 0 && queues(&steps[0][i]));
        steps[1][i] = steps[0][i];
        if (steps[0][i].kind == STEP_RETRY) {
            static const struct seen unknown = { .ids = { "0000000", "0000000" } };
            const struct seen *s = p->seen_n ? &p->seen[below((unsigned)p->seen_n)] : &unknown;
            steps[0][i].u.retry.id = s->ids[0];
            steps[1][i].u.retry.id = s->ids[1];
        }
        if (steps[0][i].kind == STEP_RESEND && p->seen_n && below(2)) {
            const struct seen *s = &p->seen[below((unsigned)p->seen_n)];
            const char *suffix = suffixes[below(ARRAY_LEN(suffixes))];
            for (int j = 0; j < 2; j++) {
                (void)snprintf(names[j][i], sizeof(names[j][i]), "%s%s", s->ids[j], suffix);
                steps[j][i].u.resend.webhook_id = names[j][i];
            }
        }
        for (int j = 0; j < 2; j++)
            batches[j][i] = &steps[j][i];
    }
    struct err err = { 0 };
    for (int j = 0; j < 2; j++)
        if (store_apply(p->worlds[j].store, batches[j], n, now_ms, &err) < 0)
            fail_msg("%s", err.msg);
    for (size_t i = 0; i < n; i++) {
        same_answers(&steps[0][i], &steps[1][i]);
        if (steps[0][i].kind == STEP_RETRY && steps[0][i].result == STEP_DONE) {
            uint64_t number =
                (uint64_t)((const struct seen *)(const void *)steps[0][i].u.retry.id - p->seen);
            p->seen[number].runs++;
        }
        learn(p, &steps[0][i], &steps[1][i]);
        for (int j = 0; j < 2; j++) {
            if (steps[j][i].kind == STEP_CLAIM)
                claims_free(steps[j][i].u.claim.ret_claims);
            if (steps[j][i].kind == STEP_LEASE)
                events_free(steps[j][i].u.lease.ret_events);
        }
    }
}

static void one_round(enum world_engine engine, uint64_t seed)
{
    static struct pair pair;
    struct pair *p = &pair;
    *p = (struct pair){ 0 };
    random_state = seed;
    uint64_t max_queued = 5 + below(100);
    for (int i = 0; i < 2; i++) {
        world_init(&p->worlds[i], i == 0 ? engine : WORLD_MEMORY);
        p->worlds[i].max_queued = max_queued;
        world_open(&p->worlds[i]);
    }
    for (size_t i = 0; i < KEYS; i++)
        memset(p->digests[i], (int)i + 1, IDEMPOTENCY_LEN);
    int64_t now_ms = 1000000;
    for (int op = 0; op < OPS; op++) {
        now_ms += 1 + below(20);
        /* somebody sets the clock; a Redis's queue does not start anew, and never sorts by time */
        if (below(50) == 0 && engine != WORLD_REDIS)
            now_ms += 2000 - (int64_t)below(4000);
        if (below(100) == 0)
            now_ms += IDEMPOTENCY_MS - 1000;
        one_batch(p, now_ms);
        if (below(40) == 0) {
            world_reopen(&p->worlds[0]);
            world_reopen(&p->worlds[1]);
            if (below(2))
                p->held_n = 0; /* else the workers live on */
            p->leased_n = 0;
        }
        if (below(4) == 0)
            same_lists(p, now_ms);
        if (below(4) == 0)
            same_event_lists(p);
        if (below(4) == 0)
            same_feeds(p);
        if (below(20) == 0)
            same_histories(p);
        if (p->seen_n) {
            same_assets(p, &p->seen[below((unsigned)p->seen_n)]);
            same_deliveries(p, &p->seen[below((unsigned)p->seen_n)]);
        }
        same_statistics(p);
    }
    for (size_t i = 0; i < p->seen_n; i++)
        same_assets(p, &p->seen[i]);
    is_sound(p);
    world_release(&p->worlds[0]);
    world_release(&p->worlds[1]);
}

static void both_do_the_same(enum world_engine engine, unsigned long fewer)
{
    const char *seed = getenv("SEED"), *rounds = getenv("ROUNDS");
    unsigned long n = seed ? 1 : rounds ? strtoul(rounds, NULL, 10) : ROUNDS / fewer;
    uint64_t first = seed ? strtoull(seed, NULL, 10) : (uint64_t)getpid() * 1000003;
    for (unsigned long i = 0; i < n; i++) {
        /* Told before: a failed assertion does not come back. */
        print_message("SEED=%llu\n", (unsigned long long)(first + i));
        one_round(engine, first + i);
    }
}

static void sqlite_and_the_plain_store_do_the_same_whatever_happens(void **state)
{
    (void)state;
    both_do_the_same(WORLD_SQLITE, 1);
}

static void redis_and_the_plain_store_do_the_same_whatever_happens(void **state)
{
    (void)state;
    bool any = false;
    for (size_t i = 0; i < REDIS_SERVER_PROGRAMS; i++) {
        if (!redis_server_choose(redis_server_programs[i]))
            continue;
        any = true;
        both_do_the_same(WORLD_REDIS, 4);
    }
    if (!any)
        skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sqlite_and_the_plain_store_do_the_same_whatever_happens),
        cmocka_unit_test(redis_and_the_plain_store_do_the_same_whatever_happens),
    };
    return cmocka_run_group_tests_name("store_random", tests, NULL, NULL);
}
