/* What every engine of the store must do for those who search it: filters, bounded work, history. */
#include "support/store_world.h"

static struct id put_path(struct world *w, const char *path)
{
    struct step step = put_step(path, URL_ABSENT, URL_ABSENT, URL_ABSENT);
    struct id id;
    assert_int_equal(world_do(w, &step), STEP_DONE);
    memcpy(id.text, step.u.put.ret_id, sizeof(id.text));
    return id;
}

static enum step_result finish_with(struct world *w, const struct claim *c, uint32_t codes)
{
    struct step step = { .kind = STEP_FINISH,
                         .u.finish = { .number = c->number,
                                       .run = c->run,
                                       .success = codes == 0,
                                       .codes = codes,
                                       .errors = codes ? "{}" : NULL,
                                       .report = "{}" } };
    return world_do(w, &step);
}

/* All that match, page by page; ids of the newest first. */
static size_t all_of(struct world *w, struct asset_query query, struct id ids[], size_t max)
{
    char after[ASSET_ID_LEN + 1];
    struct asset_page page;
    size_t n = 0;
    do {
        assert_int_equal(store_list(w->store, &query, &page, NULL), 0);
        assert_true(page.n <= query.limit);
        for (size_t i = 0; i < page.n && n < max; i++)
            memcpy(ids[n++].text, page.assets[i].id, sizeof(ids[0].text));
        (void)strcpy(after, page.next);
        query.after = after;
        asset_page_release(&page);
    } while (after[0]);
    return n;
}

static void the_next_page_begins_where_it_is_told(void **state)
{
    struct world *w = *state;
    struct id put[5], got[6];
    for (size_t i = 0; i < ARRAY_LEN(put); i++)
        put[i] = put_one(w);
    for (unsigned limit = 1; limit <= 6; limit++) {
        struct asset_query query = { .limit = limit };
        assert_int_equal(all_of(w, query, got, ARRAY_LEN(got)), ARRAY_LEN(put));
        for (size_t i = 0; i < ARRAY_LEN(put); i++)
            assert_string_equal(got[i].text, put[ARRAY_LEN(put) - 1 - i].text);
    }
}

static void pages_may_be_as_long_as_what_is_looked_at_in_one_go(void **state)
{
    struct world *w = *state;
    enum { ASSETS = 2100, BATCH = 100 };
    static struct id got[ASSETS + 1];
    for (int done = 0; done < ASSETS; done += BATCH) {
        struct step steps[BATCH], *batch[BATCH];
        for (size_t i = 0; i < BATCH; i++) {
            steps[i] = put_step("./a.jpg", URL_ABSENT, URL_ABSENT, URL_ABSENT);
            batch[i] = &steps[i];
        }
        assert_int_equal(store_apply(w->store, batch, BATCH, w->now_ms, NULL), 0);
    }
    static const unsigned limits[] = { 250, 500, 700, 999, LIST_LIMIT_MAX };
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        struct asset_query query = { .limit = limits[i] };
        assert_int_equal(all_of(w, query, got, ARRAY_LEN(got)), ASSETS);
    }
}

static void lists_can_be_of_one_path(void **state)
{
    struct world *w = *state;
    static const char *const paths[] = { "./a.jpg",  "./b.jpg", "./a.jp",
                                         "./a.jpgx", "./A.jpg", "./a.jpg" };
    struct id ids[ARRAY_LEN(paths)], got[ARRAY_LEN(paths)];
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        ids[i] = put_path(w, paths[i]);
    for (unsigned limit = 1; limit <= 3; limit++) {
        struct asset_query query = { .limit = limit, .path = "./a.jpg" };
        assert_int_equal(all_of(w, query, got, ARRAY_LEN(got)), 2);
        assert_string_equal(got[0].text, ids[5].text);
        assert_string_equal(got[1].text, ids[0].text);
    }
    (void)claim_one(w);
    struct asset_query query = {
        .limit = 9, .path = "./a.jpg", .by_state = true, .state = ASSET_STARTED
    };
    assert_int_equal(all_of(w, query, got, ARRAY_LEN(got)), 1);
    assert_string_equal(got[0].text, ids[0].text);
}

static void lists_can_be_of_one_finding_of_the_latest_run(void **state)
{
    struct world *w = *state;
    static const uint32_t codes[] = { 0, 1u << 3, 1u << 3 | 1u << 31, 1u << 31, 0 };
    struct id ids[ARRAY_LEN(codes)], got[ARRAY_LEN(codes)];
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        ids[i] = put_one(w);
        struct claim c = claim_one(w);
        assert_int_equal(finish_with(w, &c, codes[i]), STEP_DONE);
    }
    (void)put_one(w);
    struct asset_query three = { .limit = 1, .by_code = true, .code = 3 }, last = three;
    last.code = 31;
    assert_int_equal(all_of(w, three, got, ARRAY_LEN(got)), 2);
    assert_string_equal(got[0].text, ids[2].text);
    assert_string_equal(got[1].text, ids[1].text);
    assert_int_equal(all_of(w, last, got, ARRAY_LEN(got)), 2);
    last.by_state = true;
    last.state = ASSET_SUCCESS;
    assert_int_equal(all_of(w, last, got, ARRAY_LEN(got)), 0);
    assert_int_equal(finish_with(w, &(struct claim){ .number = 1 }, 0), STEP_LOST);
    (void)claim_one(w);
    assert_int_equal(retry(w, ids[2].text), STEP_DONE);
    assert_int_equal(all_of(w, three, got, ARRAY_LEN(got)), 1); /* it has not ended */
    struct claim c = claim_one(w);
    assert_int_equal(finish_with(w, &c, 1), STEP_DONE);
    assert_int_equal(all_of(w, three, got, ARRAY_LEN(got)), 1); /* and has another finding now */
}

static void lists_can_be_of_a_time(void **state)
{
    struct world *w = *state;
    int64_t first_ms = w->now_ms;
    struct id ids[6], got[6];
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        ids[i] = put_one(w);
        w->now_ms += 10;
    }
    static const struct {
        int64_t since, until;
        size_t newest, n;
    } cases[] = { { 10, 40, 3, 3 }, { 11, 41, 4, 3 }, { 20, 20, 0, 0 }, { 60, 90, 0, 0 } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct asset_query query = { .limit = 2,
                                     .since_ms = first_ms + cases[i].since,
                                     .until_ms = first_ms + cases[i].until };
        assert_int_equal(all_of(w, query, got, ARRAY_LEN(got)), cases[i].n);
        for (size_t j = 0; j < cases[i].n; j++)
            assert_string_equal(got[j].text, ids[cases[i].newest - j].text);
    }
    struct asset_query since = { .limit = 9, .since_ms = first_ms + 30 };
    assert_int_equal(all_of(w, since, got, ARRAY_LEN(got)), 3);
    struct asset_query until = { .limit = 9, .until_ms = first_ms + 30 };
    assert_int_equal(all_of(w, until, got, ARRAY_LEN(got)), 3);
}

/* A search for what is hardly there ends after so many assets, and says where it goes on. */
static void a_search_looks_at_a_bounded_number_of_assets(void **state)
{
    struct world *w = *state;
    enum { BATCH = 1000 };
    struct step *steps = calloc(BATCH, sizeof(*steps)), *batch[BATCH];
    assert_non_null(steps);
    w->max_queued = 2 * LIST_EXAMINE_MAX;
    world_reopen(w);
    struct id oldest = put_path(w, "./rare.jpg");
    for (size_t done = 0; done < LIST_EXAMINE_MAX; done += BATCH) {
        for (size_t i = 0; i < BATCH; i++) {
            steps[i] = put_step("./a.jpg", URL_ABSENT, URL_ABSENT, URL_ABSENT);
            batch[i] = &steps[i];
        }
        assert_int_equal(store_apply(w->store, batch, BATCH, w->now_ms, NULL), 0);
    }
    free(steps);
    struct asset_query query = { .limit = 10, .path = "./rare.jpg" };
    struct asset_page page, rest;
    for (int open = 0; open < 2; open++) {
        query.by_state = open;
        query.after = NULL;
        assert_int_equal(store_list(w->store, &query, &page, NULL), 0);
        assert_int_equal(page.n, 0);
        assert_true(page.more);
        query.after = page.next;
        assert_int_equal(store_list(w->store, &query, &rest, NULL), 0);
        assert_int_equal(rest.n, 1);
        assert_false(rest.more);
        assert_string_equal(rest.next, "");
        assert_string_equal(rest.assets[0].id, oldest.text);
        asset_page_release(&page);
        asset_page_release(&rest);
    }
}

/* ---- history ---- */

static void sample_at(struct world *w, enum ring ring, int64_t at_ms, uint64_t value)
{
    struct step step = { .kind = STEP_SAMPLE, .u.sample = { ring, { .at_ms = at_ms } } };
    step.u.sample.sample.values[0] = value;
    step.u.sample.sample.values[SAMPLE_VALUES - 1] = UINT64_MAX - value;
    assert_int_equal(world_do(w, &step), STEP_DONE);
}

static void samples_are_kept_in_rings_also_after_a_crash(void **state)
{
    struct world *w = *state;
    static struct sample samples[RING_LEN_MAX];
    size_t n;
    for (enum ring ring = RING_MINUTE; ring <= RING_HOUR; ring++) {
        int64_t period = ring_period_ms(ring), len = (int64_t)ring_len(ring);
        for (int64_t i = 0; i < len + 5; i++)
            sample_at(w, ring, (i + 3) * period + 7, (uint64_t)i);
    }
    world_reopen(w);
    for (enum ring ring = RING_MINUTE; ring <= RING_HOUR; ring++) {
        assert_int_equal(store_history(w->store, ring, samples, RING_LEN_MAX, &n, NULL), 0);
        assert_int_equal(n, ring_len(ring));
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(samples[i].values[0], i + 5);
            assert_int_equal(samples[i].values[SAMPLE_VALUES - 1], UINT64_MAX - (i + 5));
            assert_int_equal(samples[i].at_ms, ((int64_t)i + 8) * ring_period_ms(ring) + 7);
        }
        size_t all = n;
        assert_int_equal(store_history(w->store, ring, samples, 3, &n, NULL), 0);
        assert_int_equal(n, 3);
        assert_int_equal(samples[2].values[0], all + 4); /* the newest ones */
    }
}

static void a_sample_is_written_over_that_of_its_minute(void **state)
{
    struct world *w = *state;
    struct sample samples[4];
    size_t n;
    assert_int_equal(store_history(w->store, RING_MINUTE, samples, 4, &n, NULL), 0);
    assert_int_equal(n, 0);
    sample_at(w, RING_MINUTE, 120000, 1);
    sample_at(w, RING_MINUTE, 179999, 2);
    sample_at(w, RING_MINUTE, 180000, 3);
    assert_int_equal(store_history(w->store, RING_MINUTE, samples, 4, &n, NULL), 0);
    assert_int_equal(n, 2);
    assert_int_equal(samples[0].values[0], 2);
    assert_int_equal(samples[1].values[0], 3);
    assert_int_equal(store_history(w->store, RING_HOUR, samples, 4, &n, NULL), 0);
    assert_int_equal(n, 0);
}

int main(void)
{
    struct CMUnitTest tests[] = {
        FACT(the_next_page_begins_where_it_is_told),
        FACT(pages_may_be_as_long_as_what_is_looked_at_in_one_go),
        FACT(lists_can_be_of_one_path),
        FACT(lists_can_be_of_one_finding_of_the_latest_run),
        FACT(lists_can_be_of_a_time),
        FACT(a_search_looks_at_a_bounded_number_of_assets),
        FACT(samples_are_kept_in_rings_also_after_a_crash),
        FACT(a_sample_is_written_over_that_of_its_minute),
    };
    return world_run("store_lists", tests, ARRAY_LEN(tests));
}
