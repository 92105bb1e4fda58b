/* sqlite_events: what readers see of webhook events and of the attempts at them. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "store/attempt_log.h"
#include "store/sqlite.h"
#include "store/webhook_id.h"

static int out_of_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "out of memory");
}

bool sqlite_event_key_of(const struct sqlite_store *s, const char *webhook_id, uint64_t *ret_key,
                         enum notify *ret_notify)
{
    char asset_id[ASSET_ID_LEN + 1];
    unsigned run;
    uint64_t number;
    if (!webhook_id_read(webhook_id, asset_id, &run, ret_notify) || run > MAX_RUN ||
        !permute_number(&s->ids, asset_id, &number) || number > MAX_NUMBER)
        return false;
    *ret_key = event_key(number, run, *ret_notify != NOTIFY_START);
    return true;
}

/* ---- one event ---- */

/* 1, 0 there is none, -1. */
static int read_view(struct sqlite_store *s, struct reader *r, uint64_t key,
                     struct event_view *view, struct attempt *ret_last, struct err *err)
{
    struct query q = query_start(r->stmts[R_EVENT]);
    query_int(&q, (int64_t)key);
    int rc = query_row(&q, err);
    if (rc > 0) {
        permute_name(&s->ids, key >> 16, view->asset_id);
        view->run = event_run(key);
        view->notify = (enum notify)query_col(&q, 0);
        view->state = (enum event_state)(query_col(&q, 1) - STATE_BASE);
        view->attempts = (unsigned)query_col(&q, 2);
        view->created_ms = query_col(&q, 7);
        webhook_id_write(view->webhook_id, view->asset_id, view->run, view->notify);
        if (view->state == EVENT_PENDING)
            view->next_ms = query_col(&q, 5);
        if (view->attempts > 0) {
            view->http_status = (int)query_col(&q, 3);
            view->last_ms = query_col(&q, 6);
            if (query_col_dup(&q, 4, &view->error, err) < 0)
                rc = -1;
        }
        *ret_last = (struct attempt){ .at_ms = view->last_ms,
                                      .http_status = view->http_status,
                                      .duration_ms = (int)query_col(&q, 8) };
        if (rc > 0 && query_col_dup(&q, 9, &view->url, err) < 0)
            rc = -1;
    }
    query_end(&q);
    return rc;
}

/* The log as it is kept, or, where the event's row is log enough, made of it. */
static int read_log(struct reader *r, uint64_t key, const struct attempt *last,
                    struct event_view *view, struct err *err)
{
    struct query q = query_start(r->stmts[R_LOG]);
    query_int(&q, (int64_t)key);
    int rc = query_row(&q, err);
    if (rc > 0 &&
        attempt_log_read(sqlite3_column_blob(q.stmt, 0), (size_t)sqlite3_column_bytes(q.stmt, 0),
                         &view->log, &view->n_log) < 0)
        rc = out_of_memory(err);
    query_end(&q);
    if (rc != 0 || view->attempts == 0)
        return rc < 0 ? -1 : 0;
    CLEANUP(buf_release) struct buf log;
    struct attempt only = *last;
    only.error = view->error;
    attempt_log_init(&log);
    if (attempt_log_add(&log, &only) < 0 ||
        attempt_log_read(log.data, log.len, &view->log, &view->n_log) < 0)
        return out_of_memory(err);
    return 0;
}

static int read_event(struct sqlite_store *s, struct reader *r, uint64_t key, bool with_log,
                      struct event_view *view, struct err *err)
{
    struct attempt last;
    int rc = read_view(s, r, key, view, &last, err);
    if (rc > 0 && with_log && read_log(r, key, &last, view, err) < 0)
        rc = -1;
    return rc;
}

int sqlite_event(struct store *base, const char *webhook_id, struct event_view *ret_event,
                 struct err *err)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    enum notify notify;
    uint64_t key;
    if (!sqlite_event_key_of(s, webhook_id, &key, &notify))
        return 0;
    struct reader *r = sqlite_reader_begin(s, err);
    if (!r)
        return -1;
    struct event_view view = { 0 };
    int rc = read_event(s, r, key, true, &view, err);
    rc = sqlite_reader_end(s, r, rc, err);
    if (rc > 0 && view.notify != notify)
        rc = 0;
    if (rc > 0)
        *ret_event = view;
    else
        event_view_release(&view);
    return rc;
}

/* ---- pages ---- */

static int statement_of(const struct event_query *query)
{
    if (query->by_state && query->state == EVENT_PENDING)
        return R_WALK_PENDING;
    if (query->by_state && query->state == EVENT_WAITING)
        return R_WALK_WAITING;
    if (query->by_state && query->state == EVENT_DEAD)
        return R_WALK_DEAD;
    return R_WALK_EVENTS;
}

/* Keys of the events of a page. *ret_next: where the next one goes on; 0: there is none. */
static int walk(struct reader *r, const struct event_query *query, uint64_t below, uint64_t keys[],
                size_t *ret_n, uint64_t *ret_next, struct err *err)
{
    int which = statement_of(query), rc;
    struct query q = query_start(r->stmts[which]);
    query_int(&q, (int64_t)below);
    if (which == R_WALK_PENDING || which == R_WALK_WAITING)
        query_int(&q, (int64_t)query->limit + 1);
    size_t n = 0;
    *ret_next = 0;
    for (unsigned examined = 0; (rc = query_row(&q, err)) > 0;) {
        uint64_t key = (uint64_t)query_col(&q, 0);
        bool wanted = !query->by_state || query_col(&q, 1) == query->state + STATE_BASE;
        if (wanted && n == query->limit) {
            *ret_next = keys[n - 1];
            break;
        }
        if (wanted)
            keys[n++] = key;
        if (++examined == LIST_EXAMINE_MAX) {
            *ret_next = key;
            break;
        }
    }
    query_end(&q);
    *ret_n = n;
    return rc < 0 ? -1 : 0;
}

/* The events of keys, in their order. */
static int read_page(struct sqlite_store *s, struct reader *r, const uint64_t keys[], size_t n,
                     bool with_logs, struct event_page *page, struct err *err)
{
    page->events = calloc(n ? n : 1, sizeof(*page->events));
    if (!page->events)
        return out_of_memory(err);
    for (size_t i = 0; i < n; i++) {
        int rc = read_event(s, r, keys[i], with_logs, &page->events[page->n++], err);
        if (rc < 0)
            return -1;
        if (rc == 0)
            page->n--; /* cannot be, in one snapshot, unless its asset is missing */
    }
    return 0;
}

static int list_events(struct sqlite_store *s, struct reader *r, const struct event_query *query,
                       uint64_t below, struct event_page *page, struct err *err)
{
    CLEANUP(freep) uint64_t *keys = calloc(query->limit, sizeof(*keys));
    uint64_t next;
    size_t n;
    if (!keys)
        return out_of_memory(err);
    if (walk(r, query, below, keys, &n, &next, err) < 0 ||
        read_page(s, r, keys, n, false, page, err) < 0)
        return -1;
    page->more = next != 0;
    if (page->more) {
        /* The bit and the name say the same of started; of endings any name leads to the key. */
        char id[ASSET_ID_LEN + 1];
        permute_name(&s->ids, next >> 16, id);
        webhook_id_write(page->next, id, event_run(next), next & 1 ? NOTIFY_SUCCESS : NOTIFY_START);
    }
    return 0;
}

int sqlite_events(struct store *base, const struct event_query *query, struct event_page *ret_page,
                  struct err *err)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    uint64_t below = INT64_MAX;
    enum notify notify;
    if (query->after && !sqlite_event_key_of(s, query->after, &below, &notify))
        return err_set(err, ERR_INVALID, "'%s' is no event's id", query->after);
    struct reader *r = sqlite_reader_begin(s, err);
    if (!r)
        return -1;
    struct event_page page = { 0 };
    int rc = list_events(s, r, query, below, &page, err);
    rc = sqlite_reader_end(s, r, rc, err);
    if (rc < 0)
        event_page_release(&page);
    else
        *ret_page = page;
    return rc;
}

/* ---- all events of one asset ---- */

static int list_deliveries(struct sqlite_store *s, struct reader *r, uint64_t number,
                           struct event_page *page, struct err *err)
{
    CLEANUP(freep) uint64_t *keys = calloc(LIST_LIMIT_MAX, sizeof(*keys));
    if (!keys)
        return out_of_memory(err);
    struct query q = query_start(r->stmts[R_EVENT_KEYS]);
    query_int(&q, (int64_t)event_key(number, 0, false));
    query_int(&q, (int64_t)(event_key(number, 0, false) | 0xffff));
    size_t at = LIST_LIMIT_MAX; /* they come newest first */
    int rc;
    while ((rc = query_row(&q, err)) > 0) {
        if (at == 0) {
            page->more = true;
            break;
        }
        keys[--at] = (uint64_t)query_col(&q, 0);
    }
    query_end(&q);
    if (rc < 0)
        return -1;
    return read_page(s, r, keys + at, LIST_LIMIT_MAX - at, true, page, err);
}

int sqlite_deliveries(struct store *base, const char *asset_id, struct event_page *ret_page,
                      struct err *err)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    struct event_page page = { 0 };
    uint64_t number;
    if (!permute_number(&s->ids, asset_id, &number) || number > MAX_NUMBER) {
        *ret_page = page;
        return 0;
    }
    struct reader *r = sqlite_reader_begin(s, err);
    if (!r)
        return -1;
    int rc = list_deliveries(s, r, number, &page, err);
    rc = sqlite_reader_end(s, r, rc, err);
    if (rc < 0)
        event_page_release(&page);
    else
        *ret_page = page;
    return rc;
}
