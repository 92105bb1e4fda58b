/* sqlite_idempotency: which keys came with which body, and what was accepted for them. Only puts that
 * have a key come here. */
#include <string.h>

#include "store/sqlite.h"

/* A key is a digest: its first bytes are as good a hash as any. */
static int64_t hash_of(const uint8_t *key)
{
    int64_t hash;
    memcpy(&hash, key, sizeof(hash));
    return hash;
}

int sqlite_key_find(struct sqlite_store *s, struct step *step, struct err *err)
{
    struct step_put *put = &step->u.put;
    struct query q = query_start(s->stmts[W_KEY]);
    query_int(&q, hash_of(put->idempotency_key));
    query_blob(&q, put->idempotency_key, IDEMPOTENCY_LEN);
    int rc = query_row(&q, err); /* the newest; older ones are over */
    if (rc > 0 && s->now_ms - query_col(&q, 2) >= IDEMPOTENCY_MS) {
        rc = 0;
    } else if (rc > 0) {
        const void *digest = sqlite3_column_blob(q.stmt, 1);
        bool same = digest && sqlite3_column_bytes(q.stmt, 1) == IDEMPOTENCY_LEN &&
                    memcmp(digest, put->body_digest, IDEMPOTENCY_LEN) == 0;
        step->result = same ? STEP_DONE : STEP_CONFLICT;
        put->ret_repeated = same;
        if (same)
            permute_name(&s->ids, (uint64_t)query_col(&q, 0), put->ret_id);
    }
    query_end(&q);
    return rc;
}

int sqlite_key_add(struct sqlite_store *s, const struct step_put *put, uint64_t number,
                   struct err *err)
{
    struct query q = query_start(s->stmts[W_KEY_ADD]);
    query_int(&q, (int64_t)number);
    query_int(&q, hash_of(put->idempotency_key));
    query_blob(&q, put->idempotency_key, IDEMPOTENCY_LEN);
    query_blob(&q, put->body_digest, IDEMPOTENCY_LEN);
    query_int(&q, s->now_ms);
    return query_run(&q, err);
}
