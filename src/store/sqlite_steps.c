/* sqlite_steps: what the steps of an asset's life do to the tables, the counts and the waiting assets:
 * put, retry, claim, finish, release. */
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
    if (put->idempotency_key) {
        int rc = sqlite_key_find(s, step, err);
        if (rc != 0)
            return rc < 0 ? -1 : 0; /* it has its answer */
    }
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
    if (put->idempotency_key && sqlite_key_add(s, put, number, err) < 0)
        return -1;
    if (waiting_add(&s->waiting, run_ref(number, 1), s->now_ms) < 0 ||
        sqlite_feed_add(s, number, 1, ASSET_QUEUED) < 0)
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
    if (waiting_add(&s->waiting, run_ref(number, row.run + 1), s->now_ms) < 0 ||
        sqlite_feed_add(s, number, row.run + 1, ASSET_QUEUED) < 0)
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
    if (sqlite_feed_add(s, number, row->run, ASSET_STARTED) < 0)
        return out_of_memory(err);
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
        struct event_row started;
        int rc = sqlite_event_load(s, event_key(number, row->run, false), &started, err);
        if (rc < 0)
            return -1;
        if (rc > 0 && started.state == EVENT_PENDING && started.attempts == 0)
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
    if (sqlite_feed_add(s, f->number, f->run, state) < 0)
        return out_of_memory(err);
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
        return sqlite_lease(s, step, err);
    case STEP_DELIVERED:
        return sqlite_delivered(s, step, err);
    case STEP_RESEND:
        return sqlite_resend(s, step, err);
    case STEP_PRUNE:
        return sqlite_prune(s, step, err);
    case STEP_SAMPLE:
        return sqlite_sample(s, step, err);
    }
    return err_set(err, ERR_INVALID, "no such step");
}
