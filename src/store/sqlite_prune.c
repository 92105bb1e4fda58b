/* sqlite_prune: what is old goes, a bounded number of rows a step. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "store/sqlite.h"

enum { OTHERS_MAX = 2000 /* rows of each other table that one step deletes */ };

static int out_of_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "out of memory");
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
        prune_range(s, W_PRUNE_LOGS, number, err) < 0 ||
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

/* Of the feed or the idempotency keys: delete the first rows that are from before before_ms. */
static int prune_oldest(struct sqlite_store *s, int find, int remove, int64_t before_ms,
                        bool *ret_found, struct err *err)
{
    struct query q = query_start(s->stmts[find]);
    query_int(&q, OTHERS_MAX);
    int64_t last = 0;
    int rc;
    while ((rc = query_row(&q, err)) > 0 && query_col(&q, 1) < before_ms)
        last = query_col(&q, 0);
    query_end(&q);
    if (rc < 0 || last == 0)
        return rc < 0 ? -1 : 0;
    *ret_found = true;
    q = query_start(s->stmts[remove]);
    query_int(&q, last);
    return query_run(&q, err);
}

int sqlite_prune(struct sqlite_store *s, struct step *step, struct err *err)
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
    bool more = p->ret_count > 0;
    if (prune_oldest(s, W_FEED_OLDEST, W_FEED_PRUNE, p->before_ms, &more, err) < 0 ||
        prune_oldest(s, W_KEY_OLDEST, W_KEY_PRUNE, s->now_ms - IDEMPOTENCY_MS + 1, &more, err) < 0)
        return -1;
    s->changed |= more;
    step->result = more ? STEP_DONE : STEP_NOTHING;
    return 0;
}
