/* sqlite_list: pages of assets, newest first. A walk over their numbers in the index that fits best;
 * what no index knows is asked of each row, of so many at most. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/sqlite.h"

static int statement_of(const struct asset_query *query, enum asset_state *ret_state)
{
    *ret_state = query->by_state ? query->state : ASSET_FAILED;
    if (query->by_state && query->state < ASSET_SUCCESS)
        return R_WALK_OPEN;
    return query->by_state || query->by_code ? R_WALK_ENDED : R_WALK_ALL;
}

static int has_code(struct reader *r, uint64_t number, unsigned run, unsigned code, struct err *err)
{
    struct query q = query_start(r->stmts[R_CODES]);
    query_int(&q, (int64_t)event_key(number, run, true));
    int rc = query_row(&q, err);
    if (rc > 0)
        rc = (int)(query_col(&q, 0) >> code & 1);
    query_end(&q);
    return rc;
}

enum match { MATCH_FAILED = -1, MATCH_NO, MATCH_YES, MATCH_TOO_OLD };

static enum match matches(struct reader *r, const struct asset_query *query, uint64_t number,
                          struct err *err)
{
    struct query q = query_start(r->stmts[R_ROW]);
    query_int(&q, (int64_t)number);
    int rc = query_row(&q, err);
    if (rc <= 0) {
        query_end(&q);
        return rc < 0 ? MATCH_FAILED : MATCH_NO;
    }
    enum asset_state state = (enum asset_state)(query_col(&q, 0) - STATE_BASE);
    int64_t accepted_ms = query_col(&q, 1);
    unsigned run = (unsigned)query_col(&q, 2);
    bool fits = !query->by_state || state == query->state;
    bool too_old = fits && query->since_ms && accepted_ms < query->since_ms;
    if (query->until_ms && accepted_ms >= query->until_ms)
        fits = false;
    if (fits && query->path) {
        const char *path = (const char *)sqlite3_column_text(q.stmt, 3);
        fits = path && strcmp(path, query->path) == 0;
    }
    query_end(&q);
    if (too_old)
        return MATCH_TOO_OLD;
    if (!fits || !query->by_code)
        return fits ? MATCH_YES : MATCH_NO;
    if (state != ASSET_FAILED)
        return MATCH_NO;
    rc = has_code(r, number, run, query->code, err);
    return rc < 0 ? MATCH_FAILED : rc > 0 ? MATCH_YES : MATCH_NO;
}

/* Numbers of the assets of a page. *ret_next: where the next one goes on; 0: there is none. */
static int walk(struct reader *r, const struct asset_query *query, uint64_t below,
                uint64_t numbers[], size_t *ret_n, uint64_t *ret_next, struct err *err)
{
    enum asset_state state;
    int which = statement_of(query, &state), rc;
    struct query q = query_start(r->stmts[which]);
    query_int(&q, (int64_t)below);
    if (which == R_WALK_ENDED)
        query_int(&q, state + STATE_BASE);
    size_t n = 0;
    *ret_next = 0;
    for (unsigned examined = 0; (rc = query_row(&q, err)) > 0;) {
        uint64_t number = (uint64_t)query_col(&q, 0);
        enum match match = matches(r, query, number, err);
        if (match == MATCH_FAILED)
            rc = -1;
        if (match == MATCH_YES && n == query->limit)
            *ret_next = numbers[n - 1];
        else if (match == MATCH_YES)
            numbers[n++] = number;
        if (rc < 0 || match == MATCH_TOO_OLD || *ret_next)
            break;
        if (++examined == LIST_EXAMINE_MAX) {
            *ret_next = number;
            break;
        }
    }
    query_end(&q);
    *ret_n = n;
    return rc < 0 ? -1 : 0;
}

static int read_page(struct sqlite_store *s, struct reader *r, const struct asset_query *query,
                     uint64_t below, struct asset_page *page, struct err *err)
{
    CLEANUP(freep) uint64_t *numbers = calloc(query->limit, sizeof(*numbers));
    page->assets = calloc(query->limit, sizeof(*page->assets));
    uint64_t next;
    size_t n;
    if (!numbers || !page->assets)
        return err_set(err, ERR_NOMEM, "out of memory");
    if (walk(r, query, below, numbers, &n, &next, err) < 0)
        return -1;
    while (page->n < n) {
        uint64_t number = numbers[page->n];
        if (sqlite_read_asset(s, r, number, false, &page->assets[page->n++], err) < 0)
            return -1;
    }
    page->more = next != 0;
    if (page->more)
        permute_name(&s->ids, next, page->next);
    return 0;
}

int sqlite_list(struct store *base, const struct asset_query *query, struct asset_page *ret_page,
                struct err *err)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    uint64_t below = MAX_NUMBER + 1;
    if (query->after && !permute_number(&s->ids, query->after, &below))
        return err_set(err, ERR_INVALID, "'%s' is no asset's id", query->after);
    if (below > MAX_NUMBER)
        below = MAX_NUMBER + 1;
    struct reader *r = sqlite_reader_begin(s, err);
    if (!r)
        return -1;
    struct asset_page page = { 0 };
    int rc = read_page(s, r, query, below, &page, err);
    rc = sqlite_reader_end(s, r, rc, err);
    if (rc < 0)
        asset_page_release(&page);
    else
        *ret_page = page;
    return rc;
}
