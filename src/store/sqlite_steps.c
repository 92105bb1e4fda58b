/* sqlite_steps: what each kind of step does to the tables, the counts and the waiting assets. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/sqlite.h"

enum { CLAIM_SHARE = 16 /* of those that wait, one in so many goes to one claim */ };

/* What the steps need of an asset's row. */
struct row {
    enum asset_state state;
    unsigned run, attempts, url_states;
    bool given_back; /* started, and no worker has it */
    int64_t not_before_ms, accepted_ms, started_ms;
};

static enum asset_state state_of(int64_t stored)
{
    return (enum asset_state)(stored - STATE_BASE);
}

/* 1 found, 0 not, -1 failed. With ret_path also a copy of the path. */
static int load_row(struct sqlite_store *s, uint64_t number, struct row *ret_row, char **ret_path,
                    struct err *err)
{
    struct query q = query_start(s->stmts[W_ASSET]);
    query_int(&q, (int64_t)number);
    int rc = query_row(&q, err);
    if (rc > 0) {
        *ret_row = (struct row){
            .state = state_of(query_col(&q, 0)),
            .run = (unsigned)query_col(&q, 1),
            .attempts = (unsigned)query_col(&q, 2),
            .url_states = (unsigned)query_col(&q, 3),
            .given_back = sqlite3_column_type(q.stmt, 4) != SQLITE_NULL,
            .not_before_ms = query_col(&q, 4),
            .accepted_ms = query_col(&q, 5),
            .started_ms = query_col(&q, 6),
        };
        if (ret_path && query_col_dup(&q, 7, ret_path, err) < 0)
            rc = -1;
    }
    query_end(&q);
    return rc;
}

static int add_event(struct sqlite_store *s, uint64_t key, enum notify notify,
                     enum event_state state, struct err *err)
{
    struct query q = query_start(s->stmts[W_EVENT_ADD]);
    query_int(&q, (int64_t)key);
    query_int(&q, notify);
    query_int(&q, state + STATE_BASE);
    query_int(&q, s->now_ms);
    s->counts.events_by_state[state]++;
    return query_run(&q, err);
}

/* 1 found, 0 not, -1 failed. */
static int load_event(struct sqlite_store *s, uint64_t key, enum event_state *ret_state,
                      unsigned *ret_attempts, struct err *err)
{
    struct query q = query_start(s->stmts[W_EVENT]);
    query_int(&q, (int64_t)key);
    int rc = query_row(&q, err);
    if (rc > 0) {
        *ret_state = (enum event_state)(query_col(&q, 0) - STATE_BASE);
        *ret_attempts = (unsigned)query_col(&q, 1);
    }
    query_end(&q);
    return rc;
}

static int out_of_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "out of memory");
}

static bool is_full(const struct sqlite_store *s)
{
    return s->counts.by_state[ASSET_QUEUED] >= s->max_queued;
}

static int apply_put(struct sqlite_store *s, struct step *step, struct err *err)
{
    struct step_put *put = &step->u.put;
    put->ret_repeated = false;
    if (is_full(s) || s->next_number > MAX_NUMBER) {
        step->result = STEP_FULL;
        return 0;
    }
    uint64_t number = s->next_number;
    enum url_state states[NOTIFY_COUNT];
    struct query q = query_start(s->stmts[W_PUT]);
    query_int(&q, (int64_t)number);
    query_text(&q, put->path);
    for (int i = 0; i < NOTIFY_COUNT; i++) {
        states[i] = put->notifications[i].state;
        query_text(&q, put->notifications[i].url);
    }
    query_int(&q, pack_url_states(states));
    query_int(&q, s->now_ms);
    if (query_run(&q, err) < 0)
        return -1;
    if (waiting_add(&s->waiting, run_ref(number, 1), s->now_ms) < 0)
        return out_of_memory(err);
    permute_name(&s->ids, number, put->ret_id);
    s->next_number++;
    s->counts.accepted++;
    s->counts.by_state[ASSET_QUEUED]++;
    s->changed = true;
    step->result = STEP_DONE;
    return 0;
}

static int apply_retry(struct sqlite_store *s, struct step *step, struct err *err)
{
    struct row row;
    uint64_t number;
    step->result = STEP_NOTHING;
    if (!permute_number(&s->ids, step->u.retry.id, &number) || number > MAX_NUMBER)
        return 0;
    int rc = load_row(s, number, &row, NULL, err);
    if (rc <= 0)
        return rc;
    if (row.state < ASSET_SUCCESS) {
        step->result = STEP_LOST;
        return 0;
    }
    if (is_full(s) || row.run >= MAX_RUN) {
        step->result = STEP_FULL;
        return 0;
    }
    struct query q = query_start(s->stmts[W_RETRY]);
    query_int(&q, (int64_t)number);
    query_int(&q, row.run + 1);
    query_int(&q, pack_url_states(step->u.retry.url_states));
    query_int(&q, s->now_ms);
    if (query_run(&q, err) < 0)
        return -1;
    if (waiting_add(&s->waiting, run_ref(number, row.run + 1), s->now_ms) < 0)
        return out_of_memory(err);
    s->counts.by_state[row.state]--;
    s->counts.by_state[ASSET_QUEUED]++;
    s->changed = true;
    step->result = STEP_DONE;
    return 0;
}

/* queued → started, or the next attempt at one that was given back. */
static int mark_claimed(struct sqlite_store *s, uint64_t number, struct row *row, struct err *err)
{
    bool first = row->state == ASSET_QUEUED;
    row->attempts++;
    if (first)
        row->started_ms = s->now_ms;
    struct query q = query_start(s->stmts[W_CLAIM]);
    query_int(&q, (int64_t)number);
    query_int(&q, row->attempts);
    query_int(&q, row->started_ms);
    if (query_run(&q, err) < 0)
        return -1;
    s->changed = true;
    if (!first)
        return 0;
    s->counts.by_state[ASSET_QUEUED]--;
    s->counts.by_state[ASSET_STARTED]++;
    enum url_state url = url_state_of(row->url_states, NOTIFY_START);
    if (url != URL_VALID && url != URL_OFF)
        return 0;
    return add_event(s, event_key(number, row->run, false), NOTIFY_START,
                     url == URL_OFF ? EVENT_OFF : EVENT_PENDING, err);
}

static int claim_one(struct sqlite_store *s, uint64_t number, struct claim **ret_claim,
                     struct err *err)
{
    CLEANUP(freep) char *path = NULL;
    struct row row;
    int rc = load_row(s, number, &row, &path, err);
    if (rc == 0)
        return err_set(err, ERR_IO, "a waiting asset is missing");
    if (rc < 0 || mark_claimed(s, number, &row, err) < 0)
        return -1;
    struct claim *claim = malloc(sizeof(*claim));
    if (!claim)
        return out_of_memory(err);
    *claim = (struct claim){
        .number = number,
        .run = row.run,
        .attempts = row.attempts,
        .path = TAKE(path),
        .accepted_ms = row.accepted_ms,
        .started_ms = row.started_ms,
    };
    permute_name(&s->ids, number, claim->id);
    for (int i = 0; i < NOTIFY_COUNT; i++)
        claim->url_states[i] = url_state_of(row.url_states, i);
    *ret_claim = claim;
    return 0;
}

static int apply_claim(struct sqlite_store *s, struct step *step, struct err *err)
{
    struct step_claim *c = &step->u.claim;
    size_t share = 1 + waiting_count(&s->waiting) / CLAIM_SHARE;
    size_t max = c->max < share ? c->max : share;
    struct claim **last = &c->ret_claims;
    struct waiting_item item;
    int rc = 0;
    for (size_t n = 0; n < max && (rc = waiting_take(&s->waiting, s->now_ms, &item)) > 0; n++) {
        if (claim_one(s, item.ref >> 16, last, err) < 0)
            return -1;
        last = &(*last)->next;
    }
    if (rc < 0)
        return out_of_memory(err);
    step->result = c->ret_claims ? STEP_DONE : STEP_NOTHING;
    if (!c->ret_claims && !waiting_next_ms(&s->waiting, &c->ret_next_ms))
        c->ret_next_ms = 0;
    return 0;
}

/* Invariant 3: the terminal event waits while started's first attempt is still to come. */
static int add_terminal_event(struct sqlite_store *s, uint64_t number, const struct row *row,
                              bool success, struct err *err)
{
    enum notify notify = success ? NOTIFY_SUCCESS : NOTIFY_FAILURE;
    enum url_state url = url_state_of(row->url_states, notify);
    enum event_state state = EVENT_PENDING;
    if (url == URL_OFF) {
        state = EVENT_OFF;
    } else if (url != URL_VALID) {
        return 0;
    } else if (url_state_of(row->url_states, NOTIFY_START) == URL_VALID) {
        enum event_state started;
        unsigned attempts;
        int rc = load_event(s, event_key(number, row->run, false), &started, &attempts, err);
        if (rc < 0)
            return -1;
        if (rc > 0 && started == EVENT_PENDING && attempts == 0)
            state = EVENT_WAITING;
    }
    return add_event(s, event_key(number, row->run, true), notify, state, err);
}

static int remember_ended(struct sqlite_store *s, uint64_t number, struct err *err)
{
    if (s->ended_n == s->ended_cap) {
        size_t cap = s->ended_cap ? 2 * s->ended_cap : 256;
        uint64_t *grown = reallocarray(s->ended, cap, sizeof(*grown));
        if (!grown)
            return out_of_memory(err);
        s->ended = grown;
        s->ended_cap = cap;
    }
    s->ended[s->ended_n++] = number;
    return 0;
}

static int apply_finish(struct sqlite_store *s, struct step *step, struct err *err)
{
    const struct step_finish *f = &step->u.finish;
    struct row row;
    step->result = STEP_LOST;
    int rc = f->number > MAX_NUMBER ? 0 : load_row(s, f->number, &row, NULL, err);
    if (rc <= 0)
        return rc;
    if (row.state != ASSET_STARTED || row.run != f->run)
        return 0;
    enum asset_state state = f->success ? ASSET_SUCCESS : ASSET_FAILED;
    struct query q = query_start(s->stmts[W_FINISH]);
    query_int(&q, (int64_t)f->number);
    query_int(&q, state + STATE_BASE);
    query_int(&q, s->now_ms);
    if (query_run(&q, err) < 0)
        return -1;
    q = query_start(s->stmts[W_RESULT]);
    query_int(&q, (int64_t)event_key(f->number, f->run, true));
    query_int(&q, f->codes);
    query_text(&q, f->errors);
    query_text(&q, f->report);
    if (query_run(&q, err) < 0 || add_terminal_event(s, f->number, &row, f->success, err) < 0)
        return -1;
    /* A worker that is late, after a start: nobody else need do it again. */
    if (row.given_back && waiting_withdraw(&s->waiting, run_ref(f->number, f->run)) < 0)
        return out_of_memory(err);
    if (f->run == 1 && remember_ended(s, f->number, err) < 0)
        return -1;
    s->counts.by_state[ASSET_STARTED]--;
    s->counts.by_state[state]++;
    if (f->success)
        s->counts.runs_success++;
    else
        s->counts.runs_failed++;
    for (int i = 0; i < FINDING_CODES; i++)
        s->counts.errors_by_code[i] += f->codes >> i & 1;
    s->changed = true;
    step->result = STEP_DONE;
    return 0;
}

static int apply_release(struct sqlite_store *s, struct step *step, struct err *err)
{
    const struct step_release *r = &step->u.release;
    struct row row;
    step->result = STEP_LOST;
    int rc = r->number > MAX_NUMBER ? 0 : load_row(s, r->number, &row, NULL, err);
    if (rc <= 0)
        return rc;
    if (row.state != ASSET_STARTED || row.run != r->run || row.given_back)
        return 0;
    if (!r->fault && row.attempts > 0)
        row.attempts--;
    struct query q = query_start(s->stmts[W_RELEASE]);
    query_int(&q, (int64_t)r->number);
    query_int(&q, row.attempts);
    query_int(&q, r->not_before_ms);
    if (query_run(&q, err) < 0)
        return -1;
    if (waiting_give_back(&s->waiting, run_ref(r->number, r->run), r->not_before_ms) < 0)
        return out_of_memory(err);
    s->changed = true;
    step->result = STEP_DONE;
    return 0;
}

/* 1: *ret_event is made; 0: it is gone. */
static int load_outgoing(struct sqlite_store *s, uint64_t key, struct event **ret_event,
                         struct err *err)
{
    static const char *const names[NOTIFY_COUNT] = { "started", "success", "failed" };
    struct event *event = calloc(1, sizeof(*event));
    if (!event)
        return out_of_memory(err);
    struct query q = query_start(s->stmts[W_EVENT_SEND]);
    query_int(&q, (int64_t)key);
    int rc = query_row(&q, err);
    if (rc > 0) {
        event->key = key;
        event->notify = (enum notify)query_col(&q, 0);
        event->attempts = (unsigned)query_col(&q, 1);
        event->created_ms = query_col(&q, 2);
        permute_name(&s->ids, key >> 16, event->asset_id);
        (void)snprintf(event->webhook_id, sizeof(event->webhook_id), "%s_%u_%s", event->asset_id,
                       (unsigned)(key >> 1 & MAX_RUN), names[event->notify]);
        if (query_col_dup(&q, 3, &event->url, err) < 0 ||
            query_col_dup(&q, 4, &event->errors, err) < 0)
            rc = -1;
    }
    query_end(&q);
    if (rc > 0)
        *ret_event = event;
    else
        events_free(event);
    return rc;
}

static void earlier(int64_t *at_ms, int64_t other_ms)
{
    if (*at_ms == 0 || other_ms < *at_ms)
        *at_ms = other_ms;
}

/* Keys of up to max events that are due and in nobody's hands; *ret_n of them. *next_ms: when the
 * earliest of those that are in somebody's hands comes back, if there is one. */
static int find_due(struct sqlite_store *s, uint64_t keys[], size_t max, size_t *ret_n,
                    int64_t *next_ms, struct err *err)
{
    struct query q = query_start(s->stmts[W_EVENTS_DUE]);
    query_int(&q, s->now_ms);
    int rc = 1;
    *ret_n = 0;
    while (*ret_n < max && (rc = query_row(&q, err)) > 0) {
        uint64_t key = (uint64_t)query_col(&q, 0);
        int64_t until_ms;
        if (leased_find(&s->leased, key, &until_ms) && until_ms > s->now_ms)
            earlier(next_ms, until_ms);
        else
            keys[(*ret_n)++] = key;
    }
    query_end(&q);
    return rc < 0 ? -1 : 0;
}

static int find_next_due(struct sqlite_store *s, int64_t *next_ms, struct err *err)
{
    struct query q = query_start(s->stmts[W_EVENT_NEXT]);
    query_int(&q, s->now_ms);
    int rc;
    while ((rc = query_row(&q, err)) > 0) {
        int64_t until_ms, due_ms = query_col(&q, 1);
        if (leased_find(&s->leased, (uint64_t)query_col(&q, 0), &until_ms) && until_ms > due_ms) {
            earlier(next_ms, until_ms);
            continue;
        }
        earlier(next_ms, due_ms);
        break;
    }
    query_end(&q);
    return rc < 0 ? -1 : 0;
}

static int apply_lease(struct sqlite_store *s, struct step *step, struct err *err)
{
    struct step_lease *l = &step->u.lease;
    CLEANUP(freep) uint64_t *keys = calloc(l->max ? l->max : 1, sizeof(*keys));
    size_t n;
    if (!keys)
        return out_of_memory(err);
    l->ret_next_ms = 0;
    if (find_due(s, keys, l->max, &n, &l->ret_next_ms, err) < 0)
        return -1;
    struct event **last = &l->ret_events;
    for (size_t i = 0; i < n; i++) {
        int rc = load_outgoing(s, keys[i], last, err);
        if (rc < 0)
            return -1;
        if (rc == 0)
            continue;
        last = &(*last)->next;
        if (leased_set(&s->leased, keys[i], s->now_ms + l->lease_ms) < 0)
            return out_of_memory(err);
    }
    step->result = l->ret_events ? STEP_DONE : STEP_NOTHING;
    return l->ret_events ? 0 : find_next_due(s, &l->ret_next_ms, err);
}

static int settle(struct sqlite_store *s, const struct step_delivered *d, unsigned attempts,
                  struct err *err)
{
    /* due_ms means nothing in other states, but keeps its length */
    int64_t due_ms = d->state == EVENT_PENDING ? d->next_ms : s->now_ms;
    struct query q = query_start(s->stmts[d->attempted ? W_EVENT_SET : W_EVENT_UNTRIED]);
    query_int(&q, (int64_t)d->key);
    query_int(&q, d->state + STATE_BASE);
    query_int(&q, due_ms);
    if (d->attempted) {
        query_int(&q, attempts);
        query_int(&q, s->now_ms);
        query_int(&q, d->http_status);
        query_int(&q, d->duration_ms);
        query_text(&q, d->error);
    }
    return query_run(&q, err);
}

static int apply_delivered(struct sqlite_store *s, struct step *step, struct err *err)
{
    const struct step_delivered *d = &step->u.delivered;
    assert(d->state != EVENT_WAITING);
    int64_t until_ms;
    enum event_state state;
    unsigned attempts;
    step->result = STEP_LOST;
    if (!leased_find(&s->leased, d->key, &until_ms))
        return 0;
    if (leased_remove(&s->leased, d->key) < 0)
        return out_of_memory(err);
    int rc = load_event(s, d->key, &state, &attempts, err);
    if (rc <= 0)
        return rc;
    attempts += d->attempted;
    if (settle(s, d, attempts, err) < 0)
        return -1;
    s->counts.events_by_state[state]--;
    s->counts.events_by_state[d->state]++;
    s->changed = true;
    step->result = STEP_DONE;
    bool is_started = (d->key & 1) == 0;
    if (!is_started || (attempts == 0 && d->state == EVENT_PENDING))
        return 0;
    /* Its first attempt is over, or none will be made: the ending may go. */
    struct query q = query_start(s->stmts[W_EVENT_WAKE]);
    query_int(&q, (int64_t)d->key | 1);
    query_int(&q, s->now_ms);
    if (query_run(&q, err) < 0)
        return -1;
    if (sqlite3_changes(s->db) == 1) {
        s->counts.events_by_state[EVENT_WAITING]--;
        s->counts.events_by_state[EVENT_PENDING]++;
    }
    return 0;
}

static int prune_range(struct sqlite_store *s, int statement, uint64_t number, struct err *err)
{
    struct query q = query_start(s->stmts[statement]);
    query_int(&q, (int64_t)event_key(number, 0, false));
    query_int(&q, (int64_t)(event_key(number, 0, false) | 0xffff));
    if (statement != W_PRUNE_COUNT)
        return query_run(&q, err);
    int rc;
    while ((rc = query_row(&q, err)) > 0)
        s->counts.events_by_state[query_col(&q, 0) - STATE_BASE]--;
    query_end(&q);
    return rc;
}

static int prune_one(struct sqlite_store *s, uint64_t number, struct err *err)
{
    if (prune_range(s, W_PRUNE_COUNT, number, err) < 0 ||
        prune_range(s, W_PRUNE_EVENTS, number, err) < 0 ||
        prune_range(s, W_PRUNE_RESULTS, number, err) < 0)
        return -1;
    struct query q = query_start(s->stmts[W_PRUNE_ASSET]);
    query_int(&q, (int64_t)number);
    return query_run(&q, err);
}

static int pick_old(struct sqlite_store *s, enum asset_state state, int64_t before_ms,
                    uint64_t numbers[], size_t max, size_t *ret_n, struct err *err)
{
    struct query q = query_start(s->stmts[W_PRUNE_PICK]);
    query_int(&q, state + STATE_BASE);
    int rc = 1;
    *ret_n = 0;
    while (*ret_n < max && (rc = query_row(&q, err)) > 0) {
        if (query_col(&q, 1) >= before_ms)
            break;
        if (query_col(&q, 2) < before_ms)
            numbers[(*ret_n)++] = (uint64_t)query_col(&q, 0);
    }
    query_end(&q);
    return rc < 0 ? -1 : 0;
}

static int apply_prune(struct sqlite_store *s, struct step *step, struct err *err)
{
    struct step_prune *p = &step->u.prune;
    CLEANUP(freep) uint64_t *numbers = calloc(p->max ? p->max : 1, sizeof(*numbers));
    if (!numbers)
        return out_of_memory(err);
    p->ret_count = 0;
    for (enum asset_state state = ASSET_SUCCESS; state <= ASSET_FAILED; state++) {
        size_t n;
        if (pick_old(s, state, p->before_ms, numbers, p->max - p->ret_count, &n, err) < 0)
            return -1;
        for (size_t i = 0; i < n; i++)
            if (prune_one(s, numbers[i], err) < 0)
                return -1;
        s->counts.by_state[state] -= n;
        s->counts.pruned += n;
        p->ret_count += (unsigned)n;
    }
    s->changed |= p->ret_count > 0;
    step->result = p->ret_count ? STEP_DONE : STEP_NOTHING;
    return 0;
}

int sqlite_step_apply(struct sqlite_store *s, struct step *step, struct err *err)
{
    switch (step->kind) {
    case STEP_PUT:
        return apply_put(s, step, err);
    case STEP_RETRY:
        return apply_retry(s, step, err);
    case STEP_CLAIM:
        return apply_claim(s, step, err);
    case STEP_FINISH:
        return apply_finish(s, step, err);
    case STEP_RELEASE:
        return apply_release(s, step, err);
    case STEP_LEASE:
        return apply_lease(s, step, err);
    case STEP_DELIVERED:
        return apply_delivered(s, step, err);
    case STEP_PRUNE:
        return apply_prune(s, step, err);
    case STEP_RESEND:
    case STEP_SAMPLE:
        step->result = STEP_NOTHING;
        return 0;
    }
    return err_set(err, ERR_INVALID, "no such step");
}
