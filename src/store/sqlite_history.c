/* sqlite_history: the rings of samples. A place in a ring is a row that is written over. */
#include <endian.h>
#include <string.h>

#include "store/sqlite.h"

static int64_t place_of(enum ring ring, int64_t at_ms)
{
    int64_t n = (int64_t)ring_len(ring), place = at_ms / ring_period_ms(ring) % n;
    return (int64_t)ring << 16 | (place < 0 ? place + n : place);
}

int sqlite_sample(struct sqlite_store *s, struct step *step, struct err *err)
{
    const struct step_sample *sample = &step->u.sample;
    uint64_t data[SAMPLE_VALUES];
    for (int i = 0; i < SAMPLE_VALUES; i++)
        data[i] = htole64(sample->sample.values[i]);
    struct query q = query_start(s->stmts[W_SAMPLE]);
    query_int(&q, place_of(sample->ring, sample->sample.at_ms));
    query_int(&q, sample->sample.at_ms);
    query_blob(&q, data, sizeof(data));
    s->changed = true;
    step->result = STEP_DONE;
    return query_run(&q, err);
}

static int read_samples(struct reader *r, enum ring ring, struct sample *samples, size_t max,
                        size_t *ret_n, struct err *err)
{
    struct query q = query_start(r->stmts[R_HISTORY]);
    query_int(&q, (int64_t)ring << 16);
    query_int(&q, (int64_t)ring << 16 | 0xffff);
    query_int(&q, (int64_t)max);
    size_t n = 0;
    int rc;
    while ((rc = query_row(&q, err)) > 0 && n < max) {
        const uint8_t *data = sqlite3_column_blob(q.stmt, 1);
        struct sample *sample = &samples[n++];
        *sample = (struct sample){ .at_ms = query_col(&q, 0) };
        if (data && sqlite3_column_bytes(q.stmt, 1) == sizeof(sample->values))
            memcpy(sample->values, data, sizeof(sample->values));
        for (int i = 0; i < SAMPLE_VALUES; i++)
            sample->values[i] = le64toh(sample->values[i]);
    }
    query_end(&q);
    *ret_n = n;
    return rc < 0 ? -1 : 0;
}

int sqlite_history(struct store *base, enum ring ring, struct sample *ret_samples, size_t max,
                   size_t *ret_n, struct err *err)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    struct reader *r = sqlite_reader_begin(s, err);
    size_t n = 0;
    if (!r)
        return -1;
    int rc = read_samples(r, ring, ret_samples, max, &n, err);
    rc = sqlite_reader_end(s, r, rc, err);
    if (rc < 0)
        return -1;
    for (size_t i = 0; i < n / 2; i++) { /* they came newest first */
        struct sample other = ret_samples[n - 1 - i];
        ret_samples[n - 1 - i] = ret_samples[i];
        ret_samples[i] = other;
    }
    *ret_n = n;
    return 0;
}
