/* sqlite_outbox: the events on their way out: leased, attempted with a log of it, and sent again. */
#include <assert.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "store/attempt_log.h"
#include "store/sqlite.h"
#include "store/webhook_id.h"

static int out_of_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "out of memory");
}

int sqlite_event_load(struct sqlite_store *s, uint64_t key, struct event_row *ret_row,
                      struct err *err)
{
    struct query q = query_start(s->stmts[W_EVENT]);
    query_int(&q, (int64_t)key);
    int rc = query_row(&q, err);
    if (rc > 0) {
        ret_row->state = (enum event_state)(query_col(&q, 0) - STATE_BASE);
        ret_row->notify = (enum notify)query_col(&q, 6);
        ret_row->attempts = (unsigned)query_col(&q, 1);
        ret_row->resent = query_col(&q, 4) == DURATION_RESENT;
    }
    query_end(&q);
    return rc;
}

/* ---- leasing ---- */

/* 1: *ret_event is made; 0: it is gone. */
static int load_outgoing(struct sqlite_store *s, uint64_t key, struct event **ret_event,
                         struct err *err)
{
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
        webhook_id_write(event->webhook_id, event->asset_id, event_run(key), event->notify);
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

int sqlite_lease(struct sqlite_store *s, struct step *step, struct err *err)
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
        earlier(&l->ret_next_ms, s->now_ms + l->lease_ms);
    }
    step->result = l->ret_events ? STEP_DONE : STEP_NOTHING;
    return n < l->max ? find_next_due(s, &l->ret_next_ms, err) : 0;
}

/* ---- the log ---- */

/* Append the attempt that only the event's own row tells of. */
static int log_add_of_row(struct sqlite_store *s, uint64_t key, struct buf *log, struct err *err)
{
    struct query q = query_start(s->stmts[W_EVENT]);
    query_int(&q, (int64_t)key);
    int rc = query_row(&q, err);
    if (rc > 0 && query_col(&q, 1) > 0) {
        struct attempt first = {
            .at_ms = query_col(&q, 2),
            .http_status = (int)query_col(&q, 3),
            .duration_ms = (int)query_col(&q, 4),
            .error = (char *)sqlite3_column_text(q.stmt, 5),
        };
        if (attempt_log_add(log, &first) < 0)
            rc = out_of_memory(err);
    }
    query_end(&q);
    return rc < 0 ? -1 : 0;
}

/* All attempts so far, wherever they are. */
static int log_load(struct sqlite_store *s, uint64_t key, struct buf *log, struct err *err)
{
    struct query q = query_start(s->stmts[W_LOG]);
    query_int(&q, (int64_t)key);
    int rc = query_row(&q, err);
    if (rc > 0 &&
        buf_add(log, sqlite3_column_blob(q.stmt, 0), (size_t)sqlite3_column_bytes(q.stmt, 0)) < 0)
        rc = out_of_memory(err);
    query_end(&q);
    if (rc == 0)
        rc = log_add_of_row(s, key, log, err);
    return rc < 0 ? -1 : 0;
}

static int log_save(struct sqlite_store *s, uint64_t key, const struct buf *log, struct err *err)
{
    struct query q = query_start(s->stmts[W_LOG_SET]);
    query_int(&q, (int64_t)key);
    query_blob(&q, log->data, (int)log->len);
    return query_run(&q, err);
}

/* Before the event's row is changed: it may be the only one that knows of the attempt before. */
static int log_attempt(struct sqlite_store *s, const struct step_delivered *d,
                       const struct event_row *row, struct err *err)
{
    if (row->attempts == 0 && !row->resent && !d->answer)
        return 0; /* the row is log enough */
    CLEANUP(buf_release) struct buf log;
    attempt_log_init(&log);
    struct attempt attempt = {
        .at_ms = s->now_ms,
        .http_status = d->http_status,
        .duration_ms = d->duration_ms,
        .error = (char *)d->error,
        .answer = (char *)d->answer,
        .answer_len = d->answer_len,
    };
    if (log_load(s, d->key, &log, err) < 0)
        return -1;
    if (attempt_log_add(&log, &attempt) < 0)
        return out_of_memory(err);
    return log_save(s, d->key, &log, err);
}

/* ---- results ---- */

static void count_change(struct sqlite_store *s, enum event_state from, enum event_state to)
{
    s->counts.events_by_state[from]--;
    s->counts.events_by_state[to]++;
    s->changed = true;
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
        query_int(&q, d->duration_ms < 0 ? 0 : d->duration_ms);
        query_text(&q, d->error);
    }
    return query_run(&q, err);
}

int sqlite_delivered(struct sqlite_store *s, struct step *step, struct err *err)
{
    const struct step_delivered *d = &step->u.delivered;
    assert(d->state != EVENT_WAITING);
    int64_t until_ms;
    struct event_row row;
    step->result = STEP_LOST;
    if (!leased_find(&s->leased, d->key, &until_ms))
        return 0;
    if (leased_remove(&s->leased, d->key) < 0)
        return out_of_memory(err);
    int rc = sqlite_event_load(s, d->key, &row, err);
    if (rc <= 0)
        return rc;
    if (d->attempted && log_attempt(s, d, &row, err) < 0)
        return -1;
    unsigned attempts = row.attempts + d->attempted;
    if (settle(s, d, attempts, err) < 0)
        return -1;
    count_change(s, row.state, d->state);
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
    if (sqlite3_changes(s->db) == 1)
        count_change(s, EVENT_WAITING, EVENT_PENDING);
    return 0;
}

/* ---- sending again ---- */

static int resend_one(struct sqlite_store *s, uint64_t key, enum event_state state, struct err *err)
{
    CLEANUP(buf_release) struct buf log;
    attempt_log_init(&log);
    if (log_load(s, key, &log, err) < 0 || (log.len && log_save(s, key, &log, err) < 0))
        return -1;
    struct query q = query_start(s->stmts[W_EVENT_RESEND]);
    query_int(&q, (int64_t)key);
    query_int(&q, s->now_ms);
    count_change(s, state, EVENT_PENDING);
    return query_run(&q, err);
}

/* Of the oldest dead ones: keys of up to max; *ret_n of them. */
static int pick_dead(struct sqlite_store *s, int64_t before_ms, uint64_t keys[], size_t max,
                     size_t *ret_n, struct err *err)
{
    struct query q = query_start(s->stmts[W_EVENTS_DEAD]);
    int rc = 1;
    *ret_n = 0;
    while (*ret_n < max && (rc = query_row(&q, err)) > 0)
        if (before_ms == 0 || query_col(&q, 1) < before_ms)
            keys[(*ret_n)++] = (uint64_t)query_col(&q, 0);
    query_end(&q);
    return rc < 0 ? -1 : 0;
}

static int resend_dead(struct sqlite_store *s, struct step *step, struct err *err)
{
    struct step_resend *r = &step->u.resend;
    CLEANUP(freep) uint64_t *keys = calloc(r->max ? r->max : 1, sizeof(*keys));
    size_t n;
    if (!keys)
        return out_of_memory(err);
    if (pick_dead(s, r->before_ms, keys, r->max, &n, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (resend_one(s, keys[i], EVENT_DEAD, err) < 0)
            return -1;
    r->ret_count = (unsigned)n;
    step->result = n ? STEP_DONE : STEP_NOTHING;
    return 0;
}

int sqlite_resend(struct sqlite_store *s, struct step *step, struct err *err)
{
    struct step_resend *r = &step->u.resend;
    struct event_row row;
    enum notify notify;
    uint64_t key;
    r->ret_count = 0;
    if (!r->webhook_id)
        return resend_dead(s, step, err);
    step->result = STEP_NOTHING;
    if (!sqlite_event_key_of(s, r->webhook_id, &key, &notify))
        return 0;
    int rc = sqlite_event_load(s, key, &row, err);
    if (rc <= 0 || row.notify != notify)
        return rc < 0 ? -1 : 0;
    if (row.state != EVENT_DEAD && row.state != EVENT_DELIVERED) {
        step->result = STEP_LOST;
        return 0;
    }
    r->ret_count = 1;
    step->result = STEP_DONE;
    return resend_one(s, key, row.state, err);
}
