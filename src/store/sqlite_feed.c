/* sqlite_feed: the feed of state changes. A batch collects its entries in memory and writes them as one
 * row at the end of one table, so that an entry costs a put eight bytes and no statement. */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "store/sqlite.h"

enum { ENTRY_LEN = 8, STATE_BITS = 2, RUN_BITS = 15 };

static int out_of_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "out of memory");
}

int sqlite_feed_add(struct sqlite_store *s, uint64_t number, unsigned run, enum asset_state state)
{
    if (s->feed_n == s->feed_cap) {
        size_t cap = s->feed_cap ? 2 * s->feed_cap : 1024;
        uint64_t *grown = reallocarray(s->feed, cap, sizeof(*grown));
        if (!grown)
            return -1;
        s->feed = grown;
        s->feed_cap = cap;
    }
    s->feed[s->feed_n++] =
        htole64(number << (RUN_BITS + STATE_BITS) | (uint64_t)run << STATE_BITS | state);
    return 0;
}

int sqlite_feed_save(struct sqlite_store *s, struct err *err)
{
    if (!s->feed_n)
        return 0;
    struct query q = query_start(s->stmts[W_FEED_ADD]);
    query_int(&q, (int64_t)s->feed_seq + 1);
    query_int(&q, s->now_ms);
    query_blob(&q, s->feed, (int)(s->feed_n * ENTRY_LEN));
    s->feed_seq += s->feed_n;
    return query_run(&q, err);
}

static int read_errors(struct reader *r, uint64_t number, struct feed_entry *entry, struct err *err)
{
    struct query q = query_start(r->stmts[R_ERRORS]);
    query_int(&q, (int64_t)event_key(number, entry->run, true));
    int rc = query_row(&q, err);
    if (rc > 0)
        rc = query_col_dup(&q, 0, &entry->errors, err);
    query_end(&q);
    return rc;
}

static int read_entry(struct sqlite_store *s, struct reader *r, const uint8_t *data,
                      struct feed_entry *entry, struct err *err)
{
    uint64_t packed;
    memcpy(&packed, data, ENTRY_LEN);
    packed = le64toh(packed);
    uint64_t number = packed >> (RUN_BITS + STATE_BITS);
    entry->run = (unsigned)(packed >> STATE_BITS & MAX_RUN);
    entry->state = (enum asset_state)(packed & ((1 << STATE_BITS) - 1));
    permute_name(&s->ids, number, entry->id);
    return entry->state == ASSET_FAILED ? read_errors(r, number, entry, err) : 0;
}

/* The entries of one row from seq on. */
static int read_row(struct sqlite_store *s, struct reader *r, struct query *q, uint64_t seq,
                    unsigned limit, struct feed_page *page, struct err *err)
{
    uint64_t first = (uint64_t)query_col(q, 0);
    const uint8_t *data = sqlite3_column_blob(q->stmt, 2);
    uint64_t n = data ? (uint64_t)sqlite3_column_bytes(q->stmt, 2) / ENTRY_LEN : 0;
    for (uint64_t i = seq > first ? seq - first : 0; i < n && page->n < limit; i++) {
        struct feed_entry *entry = &page->entries[page->n++];
        entry->seq = first + i;
        entry->at_ms = query_col(q, 1);
        if (read_entry(s, r, data + i * ENTRY_LEN, entry, err) < 0)
            return -1;
    }
    return 0;
}

static int read_ends(struct reader *r, struct feed_page *page, struct err *err)
{
    struct query q = query_start(r->stmts[R_FEED_ENDS]);
    int rc = query_row(&q, err);
    if (rc > 0) {
        page->last_seq = (uint64_t)query_col(&q, 0);
        page->first_seq = sqlite3_column_type(q.stmt, 1) == SQLITE_NULL
                              ? page->last_seq + 1
                              : (uint64_t)query_col(&q, 1);
    }
    query_end(&q);
    return rc < 0 ? -1 : 0;
}

static int read_feed(struct sqlite_store *s, struct reader *r, uint64_t after_seq, unsigned limit,
                     struct feed_page *page, struct err *err)
{
    if (read_ends(r, page, err) < 0)
        return -1;
    if (after_seq >= page->last_seq)
        return 0;
    uint64_t left = page->last_seq - after_seq;
    page->entries = calloc(left < limit ? (size_t)left : limit, sizeof(*page->entries));
    if (!page->entries)
        return out_of_memory(err);
    struct query q = query_start(r->stmts[R_FEED]);
    query_int(&q, (int64_t)after_seq + 1);
    int rc = 1;
    while (page->n < limit && (rc = query_row(&q, err)) > 0) {
        if (read_row(s, r, &q, after_seq + 1, limit, page, err) < 0) {
            rc = -1;
            break;
        }
    }
    query_end(&q);
    return rc < 0 ? -1 : 0;
}

int sqlite_feed(struct store *base, uint64_t after_seq, unsigned limit, struct feed_page *ret_page,
                struct err *err)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    struct feed_page page = { 0 };
    struct reader *r = sqlite_reader_begin(s, err);
    if (!r)
        return -1;
    int rc = read_feed(s, r, after_seq, limit, &page, err);
    rc = sqlite_reader_end(s, r, rc, err);
    if (rc < 0)
        feed_page_release(&page);
    else
        *ret_page = page;
    return rc;
}
