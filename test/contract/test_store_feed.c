/* What every engine of the store must promise to clients that ask twice, and to those that follow. */
#include "support/store_world.h"

/* ---- idempotency ---- */

static struct step keyed_put(uint8_t key, uint8_t digest)
{
    static uint8_t bytes[256][IDEMPOTENCY_LEN];
    memset(bytes[key], key, IDEMPOTENCY_LEN);
    memset(bytes[digest], digest, IDEMPOTENCY_LEN);
    struct step step = put_step("./a.jpg", URL_VALID, URL_VALID, URL_VALID);
    step.u.put.idempotency_key = bytes[key];
    step.u.put.body_digest = bytes[digest];
    return step;
}

static void a_key_and_body_that_come_again_get_the_first_answer(void **state)
{
    struct world *w = *state;
    struct step first = keyed_put(1, 2), again = keyed_put(1, 2);
    assert_int_equal(world_do(w, &first), STEP_DONE);
    assert_false(first.u.put.ret_repeated);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(world_do(w, &again), STEP_DONE);
        assert_true(again.u.put.ret_repeated);
        assert_string_equal(again.u.put.ret_id, first.u.put.ret_id);
        world_reopen(w);
    }
    assert_int_equal(stats_of(w).accepted, 1);
    struct step other = keyed_put(3, 2);
    assert_int_equal(world_do(w, &other), STEP_DONE);
    assert_false(other.u.put.ret_repeated);
    assert_string_not_equal(other.u.put.ret_id, first.u.put.ret_id);
}

static void a_key_that_comes_with_another_body_is_a_conflict(void **state)
{
    struct world *w = *state;
    struct step first = keyed_put(1, 2), other = keyed_put(1, 3);
    assert_int_equal(world_do(w, &first), STEP_DONE);
    assert_int_equal(world_do(w, &other), STEP_CONFLICT);
    assert_false(other.u.put.ret_repeated);
    assert_int_equal(stats_of(w).accepted, 1);
    assert_int_equal(world_do(w, &first), STEP_DONE);
    assert_true(first.u.put.ret_repeated);
}

static void keys_of_one_batch_see_each_other(void **state)
{
    struct world *w = *state;
    struct step first = keyed_put(1, 2), again = keyed_put(1, 2), other = keyed_put(1, 3);
    struct step *batch[] = { &first, &again, &other };
    assert_int_equal(store_apply(w->store, batch, ARRAY_LEN(batch), w->now_ms, NULL), 0);
    assert_int_equal(first.result, STEP_DONE);
    assert_int_equal(again.result, STEP_DONE);
    assert_true(again.u.put.ret_repeated);
    assert_string_equal(again.u.put.ret_id, first.u.put.ret_id);
    assert_int_equal(other.result, STEP_CONFLICT);
}

static void puts_without_a_key_are_never_repeats(void **state)
{
    struct world *w = *state;
    struct id first = put_one(w), second = put_one(w);
    assert_string_not_equal(first.text, second.text);
}

static void a_key_holds_for_a_day(void **state)
{
    struct world *w = *state;
    struct step first = keyed_put(1, 2), again = keyed_put(1, 2), other = keyed_put(1, 3);
    assert_int_equal(world_do(w, &first), STEP_DONE);
    w->now_ms += IDEMPOTENCY_MS - 1;
    assert_int_equal(world_do(w, &again), STEP_DONE);
    assert_true(again.u.put.ret_repeated);
    w->now_ms += 1;
    assert_int_equal(world_do(w, &other), STEP_DONE); /* also with another body */
    assert_false(other.u.put.ret_repeated);
    assert_string_not_equal(other.u.put.ret_id, first.u.put.ret_id);
    assert_int_equal(world_do(w, &first), STEP_CONFLICT); /* now that one holds */
    struct step step = { .kind = STEP_PRUNE, .u.prune = { .before_ms = 1, .max = 10 } };
    assert_int_equal(world_do(w, &step), STEP_DONE); /* the first one goes … */
    assert_int_equal(world_do(w, &step), STEP_NOTHING);
    assert_int_equal(world_do(w, &first), STEP_CONFLICT); /* … and not the second */
}

static void a_repeat_needs_no_room_and_a_refusal_leaves_no_key(void **state)
{
    struct world *w = *state;
    w->max_queued = 1;
    world_reopen(w);
    struct step first = keyed_put(1, 2), full = keyed_put(5, 6);
    assert_int_equal(world_do(w, &first), STEP_DONE);
    assert_int_equal(world_do(w, &full), STEP_FULL);
    assert_int_equal(world_do(w, &first), STEP_DONE);
    assert_true(first.u.put.ret_repeated);
    (void)claim_one(w);
    assert_int_equal(world_do(w, &full), STEP_DONE);
    assert_false(full.u.put.ret_repeated);
}

static void a_key_outlives_its_asset(void **state)
{
    struct world *w = *state;
    struct step first = keyed_put(1, 2), again = keyed_put(1, 2);
    assert_int_equal(world_do(w, &first), STEP_DONE);
    struct claim c = claim_one(w);
    assert_int_equal(finish(w, &c, true), STEP_DONE);
    assert_int_equal(prune(w, w->now_ms + 1, 10), 1);
    assert_int_equal(world_do(w, &again), STEP_DONE);
    assert_true(again.u.put.ret_repeated);
    assert_string_equal(again.u.put.ret_id, first.u.put.ret_id);
}

/* ---- the feed ---- */

static struct feed_page feed_after(struct world *w, uint64_t after, unsigned limit)
{
    struct feed_page page;
    assert_int_equal(store_feed(w->store, after, limit, &page, NULL), 0);
    for (size_t i = 0; i < page.n; i++)
        assert_int_equal(page.entries[i].seq,
                         (after + 1 > page.first_seq ? after + 1 : page.first_seq) + i);
    return page;
}

static void a_feed_of_nothing_is_empty(void **state)
{
    struct world *w = *state;
    static const uint64_t afters[] = { 0, 1, INT64_MAX, UINT64_MAX };
    for (size_t i = 0; i < ARRAY_LEN(afters); i++) {
        struct feed_page page = feed_after(w, afters[i], 10);
        assert_int_equal(page.n, 0);
        assert_int_equal(page.last_seq, 0);
        assert_int_equal(page.first_seq, 1);
        feed_page_release(&page);
    }
}

static void each_change_of_state_of_each_run_is_in_the_feed(void **state)
{
    struct world *w = *state;
    struct id id = put_one(w);
    int64_t put_ms = w->now_ms;
    for (int run = 1; run <= 2; run++) {
        w->now_ms += 10;
        struct claim c = claim_one(w);
        assert_int_equal(release_until(w, &c, 0, true), STEP_DONE);
        c = claim_one(w); /* no change: it is started already */
        w->now_ms += 10;
        assert_int_equal(finish(w, &c, run == 2), STEP_DONE);
        w->now_ms += 10;
        if (run == 1)
            assert_int_equal(retry(w, id.text), STEP_DONE);
    }
    static const enum asset_state states[] = { ASSET_QUEUED, ASSET_STARTED, ASSET_FAILED,
                                               ASSET_QUEUED, ASSET_STARTED, ASSET_SUCCESS };
    for (int reopened = 0; reopened < 2; reopened++) {
        struct feed_page page = feed_after(w, 0, 100);
        assert_int_equal(page.n, ARRAY_LEN(states));
        assert_int_equal(page.last_seq, page.n);
        assert_int_equal(page.first_seq, 1);
        for (size_t i = 0; i < page.n; i++) {
            const struct feed_entry *e = &page.entries[i];
            assert_string_equal(e->id, id.text);
            assert_int_equal(e->run, 1 + i / 3);
            assert_int_equal(e->state, states[i]);
            assert_int_equal(e->at_ms, put_ms + 10 * (int64_t)i);
            if (i == 2)
                assert_string_equal(e->errors, "{\"asset\":[\"is empty\"]}");
            else
                assert_null(e->errors);
        }
        feed_page_release(&page);
        world_reopen(w);
    }
}

static void a_reader_goes_on_where_it_was_whatever_the_batches(void **state)
{
    struct world *w = *state;
    struct id ids[50];
    size_t n = 0;
    for (size_t size = 1; n + size <= ARRAY_LEN(ids); size++) {
        struct step steps[ARRAY_LEN(ids)], *batch[ARRAY_LEN(ids)];
        for (size_t i = 0; i < size; i++) {
            steps[i] = put_step("./a.jpg", URL_VALID, URL_VALID, URL_VALID);
            batch[i] = &steps[i];
        }
        assert_int_equal(store_apply(w->store, batch, size, w->now_ms, NULL), 0);
        for (size_t i = 0; i < size; i++)
            memcpy(ids[n++].text, steps[i].u.put.ret_id, sizeof(ids[0].text));
    }
    for (unsigned limit = 1; limit <= 60; limit += 7) {
        for (uint64_t after = 0; after <= n + 2; after++) {
            struct feed_page page = feed_after(w, after, limit);
            size_t left = after < n ? n - after : 0;
            assert_int_equal(page.n, left < limit ? left : limit);
            assert_int_equal(page.last_seq, n);
            for (size_t i = 0; i < page.n; i++)
                assert_string_equal(page.entries[i].id, ids[after + i].text);
            feed_page_release(&page);
        }
    }
}

static void what_changes_nothing_is_not_in_the_feed(void **state)
{
    struct world *w = *state;
    struct step first = keyed_put(1, 2), other = keyed_put(1, 3);
    assert_int_equal(world_do(w, &first), STEP_DONE);
    assert_int_equal(world_do(w, &first), STEP_DONE);
    assert_int_equal(world_do(w, &other), STEP_CONFLICT);
    struct claim c = { .number = 1, .run = 1 };
    assert_int_equal(finish(w, &c, true), STEP_LOST);
    assert_int_equal(retry(w, first.u.put.ret_id), STEP_LOST);
    struct feed_page page = feed_after(w, 0, 10);
    assert_int_equal(page.n, 1);
    feed_page_release(&page);
}

static void old_entries_are_pruned_and_numbers_go_on(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 5; i++) {
        (void)put_one(w);
        w->now_ms += 10;
    }
    struct step step = { .kind = STEP_PRUNE,
                         .u.prune = { .before_ms = w->now_ms - 20, .max = 10 } };
    assert_int_equal(world_do(w, &step), STEP_DONE);
    assert_int_equal(step.u.prune.ret_count, 0); /* the assets are open */
    assert_int_equal(world_do(w, &step), STEP_NOTHING);
    struct feed_page page = feed_after(w, 0, 10);
    assert_int_equal(page.first_seq, 4);
    assert_int_equal(page.last_seq, 5);
    assert_int_equal(page.n, 2);
    feed_page_release(&page);
    step.u.prune.before_ms = w->now_ms;
    assert_int_equal(world_do(w, &step), STEP_DONE);
    world_reopen(w);
    page = feed_after(w, 0, 10);
    assert_int_equal(page.n, 0);
    assert_int_equal(page.first_seq, 6);
    assert_int_equal(page.last_seq, 5);
    feed_page_release(&page);
    (void)put_one(w);
    page = feed_after(w, 5, 10);
    assert_int_equal(page.n, 1);
    assert_int_equal(page.first_seq, 6);
    feed_page_release(&page);
}

static void the_errors_of_a_pruned_asset_are_forgotten(void **state)
{
    struct world *w = *state;
    w->now_ms += 1000;
    (void)put_one(w);
    struct claim c = claim_one(w);
    assert_int_equal(finish(w, &c, false), STEP_DONE);
    w->now_ms -= 500; /* somebody sets the clock: an entry that stays, before those that would go */
    struct step step = { .kind = STEP_PRUNE,
                         .u.prune = { .before_ms = w->now_ms + 501, .max = 10 } };
    assert_int_equal(world_do(w, &step), STEP_DONE);
    struct feed_page page = feed_after(w, 0, 10);
    for (size_t i = 0; i < page.n; i++)
        assert_null(page.entries[i].errors);
    feed_page_release(&page);
}

int main(void)
{
    struct CMUnitTest tests[] = {
        FACT(a_key_and_body_that_come_again_get_the_first_answer),
        FACT(a_key_that_comes_with_another_body_is_a_conflict),
        FACT(keys_of_one_batch_see_each_other),
        FACT(puts_without_a_key_are_never_repeats),
        FACT(a_key_holds_for_a_day),
        FACT(a_repeat_needs_no_room_and_a_refusal_leaves_no_key),
        FACT(a_key_outlives_its_asset),
        FACT(a_feed_of_nothing_is_empty),
        FACT(each_change_of_state_of_each_run_is_in_the_feed),
        FACT(a_reader_goes_on_where_it_was_whatever_the_batches),
        FACT(what_changes_nothing_is_not_in_the_feed),
        FACT(old_entries_are_pruned_and_numbers_go_on),
        FACT(the_errors_of_a_pruned_asset_are_forgotten),
    };
    return world_run("store_feed", tests, ARRAY_LEN(tests));
}
