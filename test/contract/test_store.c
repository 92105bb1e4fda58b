/* What every engine of the store must do. The same tests run over each of them. */
#include "support/store_world.h"

/* ---- putting ---- */

static void an_asset_that_was_put_can_be_found_as_it_was_put(void **state)
{
    struct world *w = *state;
    struct step step = put_step("./images/ä b.jpg", URL_VALID, URL_ABSENT, URL_INVALID);
    step.u.put.notifications[NOTIFY_FAILURE].url = "no url";
    struct asset a;
    assert_int_equal(world_do(w, &step), STEP_DONE);
    assert_int_equal(store_find(w->store, step.u.put.ret_id, &a, NULL), 1);
    assert_string_equal(a.id, step.u.put.ret_id);
    assert_string_equal(a.path, "./images/ä b.jpg");
    assert_int_equal(a.state, ASSET_QUEUED);
    assert_int_equal(a.run, 1);
    assert_int_equal(a.attempts, 0);
    assert_int_equal(a.accepted_ms, w->now_ms);
    assert_int_equal(a.started_ms, 0);
    assert_int_equal(a.ended_ms, 0);
    assert_null(a.errors);
    assert_null(a.report);
    assert_string_equal(a.deliveries[NOTIFY_START].url, "http://a/start");
    assert_int_equal(a.deliveries[NOTIFY_START].url_state, URL_VALID);
    assert_null(a.deliveries[NOTIFY_SUCCESS].url);
    assert_int_equal(a.deliveries[NOTIFY_SUCCESS].url_state, URL_ABSENT);
    assert_string_equal(a.deliveries[NOTIFY_FAILURE].url, "no url");
    assert_int_equal(a.deliveries[NOTIFY_FAILURE].url_state, URL_INVALID);
    for (int i = 0; i < NOTIFY_COUNT; i++)
        assert_false(a.deliveries[i].has_event);
    asset_release(&a);
}

static void ids_are_short_and_begin_with_a_digit_and_differ(void **state)
{
    struct world *w = *state;
    struct id ids[100];
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        ids[i] = put_one(w);
        assert_in_range(strlen(ids[i].text), 7, 13);
        assert_in_range(ids[i].text[0], '0', '9');
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(ids[i].text, ids[j].text);
    }
}

static void an_unknown_id_is_not_found(void **state)
{
    struct world *w = *state;
    static const char *const ids[] = { "",      "x",       "0000000", "9zzzzzz",
                                       "image", "0aaaaaa", "0 aaaaa", "9zzzzzzzzzzzz" };
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        assert_false(exists(w, ids[i]));
}

static void no_more_assets_wait_than_may(void **state)
{
    struct world *w = *state;
    w->max_queued = 3;
    world_reopen(w);
    for (int i = 0; i < 3; i++)
        (void)put_one(w);
    struct step step = put_step("x", URL_ABSENT, URL_ABSENT, URL_ABSENT);
    assert_int_equal(world_do(w, &step), STEP_FULL);
    assert_int_equal(stats_of(w).accepted, 3);
    (void)claim_one(w);
    assert_int_equal(world_do(w, &step), STEP_DONE);
    assert_int_equal(world_do(w, &step), STEP_FULL);
}

static void steps_of_one_batch_see_each_other_in_order(void **state)
{
    struct world *w = *state;
    struct step put = put_step("./a.jpg", URL_VALID, URL_VALID, URL_VALID);
    struct step early = { .kind = STEP_CLAIM, .u.claim.max = 1 }, claim = early;
    struct step lease = { .kind = STEP_LEASE, .u.lease = { .max = 9, .lease_ms = 1000 } };
    struct step *batch[] = { &early, &put, &claim, &lease };
    assert_int_equal(store_apply(w->store, batch, ARRAY_LEN(batch), w->now_ms, NULL), 0);
    assert_int_equal(early.result, STEP_NOTHING);
    assert_int_equal(put.result, STEP_DONE);
    assert_int_equal(claim.result, STEP_DONE);
    assert_string_equal(claim.u.claim.ret_claims->id, put.u.put.ret_id);
    assert_int_equal(lease.result, STEP_DONE);
    assert_int_equal(lease.u.lease.ret_events->notify, NOTIFY_START);
    claims_free(claim.u.claim.ret_claims);
    events_free(lease.u.lease.ret_events);
}

static void a_batch_without_steps_is_fine(void **state)
{
    struct world *w = *state;
    assert_int_equal(store_apply(w->store, NULL, 0, w->now_ms, NULL), 0);
}

/* ---- claiming ---- */

static void assets_are_claimed_oldest_first(void **state)
{
    struct world *w = *state;
    struct id ids[20];
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        ids[i] = put_one(w);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        struct claim c = claim_one(w);
        assert_string_equal(c.id, ids[i].text);
    }
    assert_int_equal(claim_one(w).number, 0);
}

static void a_claim_says_all_that_a_worker_needs(void **state)
{
    struct world *w = *state;
    struct id id = put_with(w, URL_VALID, URL_DISALLOWED, URL_OFF);
    int64_t accepted_ms = w->now_ms;
    w->now_ms += 5;
    struct claim *c = claim_up_to(w, 1);
    assert_string_equal(c->id, id.text);
    assert_string_equal(c->path, "./a.jpg");
    assert_int_equal(c->run, 1);
    assert_int_equal(c->attempts, 1);
    assert_int_equal(c->accepted_ms, accepted_ms);
    assert_int_equal(c->started_ms, accepted_ms + 5);
    assert_int_equal(c->url_states[NOTIFY_START], URL_VALID);
    assert_int_equal(c->url_states[NOTIFY_SUCCESS], URL_DISALLOWED);
    assert_int_equal(c->url_states[NOTIFY_FAILURE], URL_OFF);
    claims_free(c);
    assert_int_equal(state_of(w, id.text), ASSET_STARTED);
}

static void a_claim_leaves_some_for_other_workers(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 8; i++)
        (void)put_one(w);
    struct claim *c = claim_up_to(w, 100);
    assert_null(c->next); /* eight wait: one each */
    claims_free(c);
    for (int i = 0; i < 160; i++)
        (void)put_one(w);
    size_t n = 0;
    c = claim_up_to(w, 100);
    for (struct claim *i = c; i; i = i->next)
        n++;
    assert_in_range(n, 2, 30);
    claims_free(c);
    c = claim_up_to(w, 2);
    assert_null(c->next->next);
    claims_free(c);
}

static void a_claimed_asset_is_not_claimed_again(void **state)
{
    struct world *w = *state;
    (void)put_one(w);
    assert_int_not_equal(claim_one(w).number, 0);
    w->now_ms += 1000000000;
    assert_int_equal(claim_one(w).number, 0);
}

static void a_claimed_asset_is_claimed_again_after_a_crash(void **state)
{
    struct world *w = *state;
    struct id id = put_one(w);
    int64_t started_ms = w->now_ms;
    (void)claim_one(w);
    (void)put_one(w);
    world_reopen(w);
    w->now_ms += 10;
    assert_int_equal(state_of(w, id.text), ASSET_STARTED);
    struct claim c = claim_one(w);
    assert_string_equal(c.id, id.text); /* before the one that came later */
    assert_int_equal(c.run, 1);
    assert_int_equal(c.attempts, 2);
    assert_int_equal(c.started_ms, started_ms);
    assert_string_equal(lease_one(w).what, "1_started");
    assert_string_equal(lease_one(w).what, ""); /* no second started event */
    assert_int_equal(finish(w, &c, true), STEP_DONE);
}

static void a_released_asset_comes_back_when_it_may(void **state)
{
    struct world *w = *state;
    struct id id = put_one(w);
    struct claim c = claim_one(w);
    assert_int_equal(release_until(w, &c, w->now_ms + 500, true), STEP_DONE);
    assert_int_equal(state_of(w, id.text), ASSET_STARTED);
    struct step step = { .kind = STEP_CLAIM, .u.claim.max = 1 };
    assert_int_equal(world_do(w, &step), STEP_NOTHING);
    assert_int_equal(step.u.claim.ret_next_ms, w->now_ms + 500);
    w->now_ms += 500;
    c = claim_one(w);
    assert_string_equal(c.id, id.text);
    assert_int_equal(c.attempts, 2);
}

static void a_release_without_a_fault_does_not_count(void **state)
{
    struct world *w = *state;
    (void)put_one(w);
    for (int i = 0; i < 5; i++) {
        struct claim c = claim_one(w);
        assert_int_equal(c.attempts, 1);
        assert_int_equal(release_until(w, &c, 0, false), STEP_DONE);
    }
}

static void a_released_asset_still_waits_for_its_time_after_a_crash(void **state)
{
    struct world *w = *state;
    (void)put_one(w);
    struct claim c = claim_one(w);
    assert_int_equal(release_until(w, &c, w->now_ms + 500, true), STEP_DONE);
    world_reopen(w);
    assert_int_equal(claim_one(w).number, 0);
    w->now_ms += 500;
    assert_int_equal(claim_one(w).number, c.number);
}

static void only_a_claimed_asset_can_be_released(void **state)
{
    struct world *w = *state;
    (void)put_one(w);
    struct claim c = claim_one(w), other_run = c, unknown = c;
    other_run.run++;
    unknown.number = 12345;
    assert_int_equal(release_until(w, &other_run, 0, true), STEP_LOST);
    assert_int_equal(release_until(w, &unknown, 0, true), STEP_LOST);
    assert_int_equal(release_until(w, &c, 0, true), STEP_DONE);
    assert_int_equal(release_until(w, &c, 0, true), STEP_LOST);
    c = claim_one(w);
    assert_int_equal(claim_one(w).number, 0); /* it came back once only */
    assert_int_equal(finish(w, &c, true), STEP_DONE);
    assert_int_equal(release_until(w, &c, 0, true), STEP_LOST);
}

static void without_anything_to_claim_nothing_says_when(void **state)
{
    struct world *w = *state;
    struct step step = { .kind = STEP_CLAIM, .u.claim = { .max = 1, .ret_next_ms = 77 } };
    assert_int_equal(world_do(w, &step), STEP_NOTHING);
    assert_int_equal(step.u.claim.ret_next_ms, 0);
}

/* ---- ending ---- */

static void an_ending_shows_what_was_found(void **state)
{
    struct world *w = *state;
    struct id id = put_one(w);
    struct claim c = claim_one(w);
    w->now_ms += 7;
    assert_int_equal(finish(w, &c, false), STEP_DONE);
    struct asset a;
    assert_int_equal(store_find(w->store, id.text, &a, NULL), 1);
    assert_int_equal(a.state, ASSET_FAILED);
    assert_string_equal(a.errors, "{\"asset\":[\"is empty\"]}");
    assert_string_equal(a.report, "{\"findings\":[]}");
    assert_int_equal(a.ended_ms, w->now_ms);
    assert_int_equal(a.started_ms, w->now_ms - 7);
    asset_release(&a);
    struct store_stats s = stats_of(w);
    assert_int_equal(s.errors_by_code[0], 1);
    assert_int_equal(s.errors_by_code[1], 0);
    assert_int_equal(s.errors_by_code[2], 1);
    assert_int_equal(s.runs_failed, 1);
    assert_int_equal(s.runs_success, 0);
}

static void a_run_ends_only_once(void **state)
{
    struct world *w = *state;
    struct id id = put_one(w);
    struct claim c = claim_one(w);
    assert_int_equal(finish(w, &c, true), STEP_DONE);
    assert_int_equal(finish(w, &c, false), STEP_LOST);
    assert_int_equal(state_of(w, id.text), ASSET_SUCCESS);
    assert_int_equal(stats_of(w).runs_failed, 0);
}

static void what_was_not_claimed_cannot_end(void **state)
{
    struct world *w = *state;
    (void)put_one(w);
    struct claim c = { .number = 1, .run = 1 };
    assert_int_equal(finish(w, &c, true), STEP_LOST);
    c = claim_one(w);
    c.run = 2;
    assert_int_equal(finish(w, &c, true), STEP_LOST);
    c = (struct claim){ .number = UINT64_MAX, .run = 1 };
    assert_int_equal(finish(w, &c, true), STEP_LOST);
}

static void a_late_ending_after_a_crash_counts_and_is_not_done_again(void **state)
{
    struct world *w = *state;
    struct id id = put_one(w);
    struct claim c = claim_one(w);
    world_reopen(w);
    assert_int_equal(finish(w, &c, true), STEP_DONE);
    assert_int_equal(state_of(w, id.text), ASSET_SUCCESS);
    assert_int_equal(claim_one(w).number, 0);
    world_reopen(w);
    assert_int_equal(claim_one(w).number, 0);
}

/* ---- retrying ---- */

static void a_retry_is_a_new_run(void **state)
{
    struct world *w = *state;
    struct id id = put_one(w);
    struct claim c = claim_one(w);
    assert_int_equal(finish(w, &c, false), STEP_DONE);
    w->now_ms += 100;
    assert_int_equal(retry(w, id.text), STEP_DONE);
    struct asset a;
    assert_int_equal(store_find(w->store, id.text, &a, NULL), 1);
    assert_int_equal(a.state, ASSET_QUEUED);
    assert_int_equal(a.run, 2);
    assert_int_equal(a.attempts, 0);
    assert_null(a.errors);
    assert_null(a.report);
    assert_int_equal(a.accepted_ms, w->now_ms - 100);
    assert_int_equal(a.started_ms, 0);
    assert_int_equal(a.ended_ms, 0);
    for (int i = 0; i < NOTIFY_COUNT; i++)
        assert_false(a.deliveries[i].has_event);
    asset_release(&a);
    assert_int_equal(stats_of(w).oldest_queued_ms, w->now_ms);
    c = claim_one(w);
    assert_int_equal(c.run, 2);
    assert_int_equal(c.attempts, 1);
    assert_int_equal(finish(w, &c, true), STEP_DONE);
    struct store_stats s = stats_of(w);
    assert_int_equal(s.accepted, 1);
    assert_int_equal(s.by_state[ASSET_SUCCESS], 1);
    assert_int_equal(s.by_state[ASSET_FAILED], 0);
    assert_int_equal(s.runs_success, 1);
    assert_int_equal(s.runs_failed, 1);
}

static void only_what_has_ended_can_be_retried(void **state)
{
    struct world *w = *state;
    struct id id = put_one(w);
    assert_int_equal(retry(w, id.text), STEP_LOST);
    struct claim c = claim_one(w);
    assert_int_equal(retry(w, id.text), STEP_LOST);
    assert_int_equal(finish(w, &c, true), STEP_DONE);
    assert_int_equal(retry(w, id.text), STEP_DONE);
    assert_int_equal(retry(w, id.text), STEP_LOST);
    assert_int_equal(retry(w, "0unknwn"), STEP_NOTHING);
    assert_int_equal(retry(w, "no id"), STEP_NOTHING);
}

static void a_retry_needs_room_in_the_queue(void **state)
{
    struct world *w = *state;
    w->max_queued = 1;
    world_reopen(w);
    struct id id = put_one(w);
    struct claim c = claim_one(w);
    assert_int_equal(finish(w, &c, true), STEP_DONE);
    (void)put_one(w);
    assert_int_equal(retry(w, id.text), STEP_FULL);
    assert_int_equal(state_of(w, id.text), ASSET_SUCCESS);
}

static void a_retried_asset_waits_behind_those_that_wait_also_after_a_crash(void **state)
{
    struct world *w = *state;
    struct id old = put_one(w);
    struct claim c = claim_one(w);
    assert_int_equal(finish(w, &c, true), STEP_DONE);
    w->now_ms += 1;
    struct id waiting = put_one(w);
    w->now_ms += 1;
    assert_int_equal(retry(w, old.text), STEP_DONE);
    world_reopen(w);
    assert_string_equal(claim_one(w).id, waiting.text);
    assert_string_equal(claim_one(w).id, old.text);
}

static void a_retried_asset_comes_in_its_turn_when_many_are_claimed_at_once(void **state)
{
    struct world *w = *state;
    struct id old = put_one(w);
    struct claim first = claim_one(w);
    assert_int_equal(finish(w, &first, true), STEP_DONE);
    struct id ids[121];
    for (size_t i = 0; i < 120; i++) {
        if (i == 20) {
            ids[i] = old;
            w->now_ms += 1;
            assert_int_equal(retry(w, old.text), STEP_DONE);
            w->now_ms += 1;
            i++;
        }
        ids[i] = put_one(w);
    }
    for (size_t i = 0; i < 30;) { /* 18 to 20 at once */
        struct claim *claims = claim_up_to(w, 3);
        for (struct claim *c = claims; c; c = c->next)
            assert_string_equal(c->id, ids[i++].text);
        claims_free(claims);
    }
}

static void a_retried_asset_that_is_claimed_leaves_room_for_a_put_of_the_same_batch(void **state)
{
    struct world *w = *state;
    w->max_queued = 1;
    world_reopen(w);
    struct id old = put_one(w);
    struct claim first = claim_one(w);
    assert_int_equal(finish(w, &first, true), STEP_DONE);
    assert_int_equal(retry(w, old.text), STEP_DONE);
    struct step claim = { .kind = STEP_CLAIM, .u.claim.max = 1 };
    struct step put = put_step("x", URL_ABSENT, URL_ABSENT, URL_ABSENT),
                *batch[] = { &claim, &put };
    assert_int_equal(store_apply(w->store, batch, 2, w->now_ms, NULL), 0);
    assert_string_equal(claim.u.claim.ret_claims->id, old.text);
    assert_int_equal(put.result, STEP_DONE);
    claims_free(claim.u.claim.ret_claims);
}

static void the_events_of_an_earlier_run_are_still_sent_with_its_errors(void **state)
{
    struct world *w = *state;
    struct id id = put_with(w, URL_INVALID, URL_VALID, URL_VALID);
    struct claim c = claim_one(w);
    assert_int_equal(finish(w, &c, false), STEP_DONE);
    w->now_ms++;
    assert_int_equal(retry(w, id.text), STEP_DONE);
    c = claim_one(w);
    assert_int_equal(finish(w, &c, true), STEP_DONE);
    struct event *e = lease_up_to(w, 10, 1000);
    assert_non_null(strstr(e->webhook_id, "_1_failed"));
    assert_string_equal(e->errors, "{\"asset\":[\"is empty\"]}");
    assert_string_equal(e->url, "http://a/failure");
    size_t n = 0;
    for (const struct event *i = e; i; i = i->next) {
        n++;
        if (strstr(i->webhook_id, "_2_success"))
            assert_null(i->errors);
    }
    assert_int_equal(n, 2); /* and 2_started; 2_success waits for that */
    events_free(e);
}

/* ---- events ---- */

static void an_event_says_all_that_its_sender_needs(void **state)
{
    struct world *w = *state;
    struct id id = put_one(w);
    char webhook_id[WEBHOOK_ID_LEN + 1];
    struct claim c = claim_one(w);
    (void)snprintf(webhook_id, sizeof(webhook_id), "%s_1_started", id.text);
    struct event *e = lease_up_to(w, 10, 1000);
    assert_string_equal(e->webhook_id, webhook_id);
    assert_string_equal(e->asset_id, id.text);
    assert_string_equal(e->url, "http://a/start");
    assert_null(e->errors);
    assert_int_equal(e->attempts, 0);
    assert_int_equal(e->created_ms, w->now_ms);
    assert_null(e->next);
    assert_int_equal(delivered(w, e->key, EVENT_DELIVERED, 0), STEP_DONE);
    events_free(e);
    assert_int_equal(finish(w, &c, false), STEP_DONE);
    (void)snprintf(webhook_id, sizeof(webhook_id), "%s_1_failed", id.text);
    e = lease_up_to(w, 10, 1000);
    assert_string_equal(e->webhook_id, webhook_id);
    assert_string_equal(e->url, "http://a/failure");
    assert_string_equal(e->errors, "{\"asset\":[\"is empty\"]}");
    assert_int_equal(e->notify, NOTIFY_FAILURE);
    events_free(e);
}

/* Invariant 3: whatever comes of started's first attempt, the ending is sent after it. */
static void an_ending_is_sent_after_starteds_first_attempt(void **state)
{
    struct world *w = *state;
    static const enum event_state outcomes[] = { EVENT_DELIVERED, EVENT_DEAD, EVENT_PENDING };
    for (size_t i = 0; i < ARRAY_LEN(outcomes); i++) {
        (void)put_one(w);
        struct claim c = claim_one(w);
        assert_int_equal(finish(w, &c, true), STEP_DONE);
        struct leased_event started = lease_one(w);
        assert_string_equal(started.what, "1_started");
        assert_string_equal(lease_one(w).what, "");
        assert_int_equal(stats_of(w).events_by_state[EVENT_WAITING], 1);
        assert_int_equal(delivered(w, started.key, outcomes[i], w->now_ms + 1000000), STEP_DONE);
        assert_int_equal(stats_of(w).events_by_state[EVENT_WAITING], 0);
        struct leased_event ending = lease_one(w);
        assert_string_equal(ending.what, "1_success");
        assert_int_equal(delivered(w, ending.key, EVENT_DELIVERED, 0), STEP_DONE);
    }
}

static void an_attempt_that_was_not_made_keeps_the_ending_waiting(void **state)
{
    struct world *w = *state;
    (void)put_one(w);
    struct claim c = claim_one(w);
    assert_int_equal(finish(w, &c, true), STEP_DONE);
    struct leased_event started = lease_one(w);
    assert_int_equal(give_back_event(w, started.key, w->now_ms + 5), STEP_DONE);
    assert_string_equal(lease_one(w).what, "");
    w->now_ms += 5;
    started = lease_one(w);
    assert_string_equal(started.what, "1_started");
    assert_int_equal(started.attempts, 0);
}

static void a_started_event_that_is_given_up_untried_lets_the_ending_go(void **state)
{
    struct world *w = *state;
    (void)put_one(w);
    struct claim c = claim_one(w);
    assert_int_equal(finish(w, &c, true), STEP_DONE);
    struct step step = { .kind = STEP_DELIVERED,
                         .u.delivered = { .key = lease_one(w).key, .state = EVENT_DEAD } };
    assert_int_equal(world_do(w, &step), STEP_DONE);
    assert_string_equal(lease_one(w).what, "1_success");
}

static void after_a_crash_started_is_sent_again_before_the_ending(void **state)
{
    struct world *w = *state;
    (void)put_one(w);
    struct claim c = claim_one(w);
    assert_int_equal(finish(w, &c, true), STEP_DONE);
    struct leased_event started = lease_one(w);
    world_reopen(w);
    assert_int_equal(delivered(w, started.key, EVENT_DELIVERED, 0), STEP_LOST);
    assert_string_equal(lease_one(w).id, started.id);
    assert_string_equal(lease_one(w).what, "");
}

static void an_ending_is_due_at_once_without_a_started_event(void **state)
{
    struct world *w = *state;
    static const enum url_state starts[] = { URL_ABSENT, URL_INVALID, URL_DISALLOWED };
    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        (void)put_with(w, starts[i], URL_VALID, URL_VALID);
        struct claim c = claim_one(w);
        assert_string_equal(lease_one(w).what, "");
        assert_int_equal(finish(w, &c, false), STEP_DONE);
        assert_string_equal(lease_one(w).what, "1_failed");
    }
}

static void urls_that_cannot_be_used_make_no_event(void **state)
{
    struct world *w = *state;
    static const enum url_state states[] = { URL_ABSENT, URL_INVALID, URL_DISALLOWED };
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        struct id id = put_with(w, states[i], states[i], states[i]);
        struct claim c = claim_one(w);
        assert_int_equal(finish(w, &c, i & 1), STEP_DONE);
        struct asset a;
        assert_int_equal(store_find(w->store, id.text, &a, NULL), 1);
        for (int j = 0; j < NOTIFY_COUNT; j++)
            assert_false(a.deliveries[j].has_event);
        asset_release(&a);
    }
    assert_string_equal(lease_one(w).what, "");
}

static void with_webhooks_off_events_are_recorded_and_never_sent(void **state)
{
    struct world *w = *state;
    struct id id = put_with(w, URL_OFF, URL_OFF, URL_OFF);
    struct claim c = claim_one(w);
    assert_int_equal(finish(w, &c, true), STEP_DONE);
    assert_string_equal(lease_one(w).what, "");
    assert_int_equal(stats_of(w).events_by_state[EVENT_OFF], 2);
    struct asset a;
    assert_int_equal(store_find(w->store, id.text, &a, NULL), 1);
    assert_true(a.deliveries[NOTIFY_START].has_event);
    assert_int_equal(a.deliveries[NOTIFY_SUCCESS].state, EVENT_OFF);
    assert_false(a.deliveries[NOTIFY_FAILURE].has_event);
    asset_release(&a);
}

static void a_lease_of_fewer_than_it_may_tells_when_there_is_more(void **state)
{
    struct world *w = *state;
    (void)put_one(w);
    (void)claim_one(w);
    (void)put_one(w);
    (void)claim_one(w);
    struct event *both = lease_up_to(w, 2, 30000);
    assert_non_null(both->next);
    uint64_t later = both->next->key, now = both->key;
    events_free(both);
    assert_int_equal(give_back_event(w, later, w->now_ms + 7000), STEP_DONE);
    assert_int_equal(give_back_event(w, now, w->now_ms), STEP_DONE);
    struct step step = { .kind = STEP_LEASE, .u.lease = { .max = 2, .lease_ms = 5000 } };
    assert_int_equal(world_do(w, &step), STEP_DONE);
    assert_int_equal(step.u.lease.ret_events->key, now);
    assert_null(step.u.lease.ret_events->next);
    assert_int_equal(step.u.lease.ret_next_ms, w->now_ms + 5000); /* it may come back */
    events_free(step.u.lease.ret_events);
    assert_int_equal(give_back_event(w, now, w->now_ms), STEP_DONE);
    step = (struct step){ .kind = STEP_LEASE, .u.lease = { .max = 2, .lease_ms = 9000 } };
    assert_int_equal(world_do(w, &step), STEP_DONE);
    assert_int_equal(step.u.lease.ret_next_ms, w->now_ms + 7000); /* the other is due */
    events_free(step.u.lease.ret_events);
}

static void one_batch_claims_what_it_makes(void **state)
{
    struct world *w = *state;
    struct id id = put_one(w);
    struct claim c = claim_one(w);
    struct step none = { .kind = STEP_CLAIM, .u.claim.max = 1 }, released = none, fresh = none,
                last = none;
    struct step release = { .kind = STEP_RELEASE,
                            .u.release = { .number = c.number, .run = c.run } };
    struct step put = put_step("./a.jpg", URL_VALID, URL_VALID, URL_VALID);
    struct step *batch[] = { &none, &release, &released, &put, &fresh, &last };
    assert_int_equal(store_apply(w->store, batch, ARRAY_LEN(batch), w->now_ms, NULL), 0);
    assert_int_equal(none.result, STEP_NOTHING);
    assert_string_equal(released.u.claim.ret_claims->id, id.text);
    assert_string_equal(fresh.u.claim.ret_claims->id, put.u.put.ret_id);
    assert_int_equal(last.result, STEP_NOTHING);
    claims_free(released.u.claim.ret_claims);
    claims_free(fresh.u.claim.ret_claims);
}

static void a_lease_that_runs_out_lets_another_have_the_event(void **state)
{
    struct world *w = *state;
    (void)put_one(w);
    (void)claim_one(w);
    struct leased_event first = lease_one(w);
    w->now_ms += 29999;
    struct step step = { .kind = STEP_LEASE, .u.lease = { .max = 1, .lease_ms = 1000 } };
    assert_int_equal(world_do(w, &step), STEP_NOTHING);
    assert_int_equal(step.u.lease.ret_next_ms, w->now_ms + 1);
    w->now_ms += 1;
    assert_string_equal(lease_one(w).id, first.id);
}

static void a_failed_delivery_is_tried_again_at_its_time(void **state)
{
    struct world *w = *state;
    struct id id = put_one(w);
    (void)claim_one(w);
    struct leased_event e = lease_one(w);
    assert_int_equal(delivered(w, e.key, EVENT_PENDING, w->now_ms + 5000), STEP_DONE);
    struct asset a;
    assert_int_equal(store_find(w->store, id.text, &a, NULL), 1);
    const struct delivery *d = &a.deliveries[NOTIFY_START];
    assert_int_equal(d->state, EVENT_PENDING);
    assert_int_equal(d->attempts, 1);
    assert_int_equal(d->http_status, 500);
    assert_string_equal(d->error, "status");
    assert_int_equal(d->last_ms, w->now_ms);
    assert_int_equal(d->next_ms, w->now_ms + 5000);
    asset_release(&a);
    struct step step = { .kind = STEP_LEASE, .u.lease = { .max = 1, .lease_ms = 1000 } };
    assert_int_equal(world_do(w, &step), STEP_NOTHING);
    assert_int_equal(step.u.lease.ret_next_ms, w->now_ms + 5000);
    world_reopen(w);
    assert_int_equal(world_do(w, &step), STEP_NOTHING);
    w->now_ms += 5000;
    e = lease_one(w);
    assert_int_equal(e.attempts, 1);
    assert_int_equal(delivered(w, e.key, EVENT_DELIVERED, 0), STEP_DONE);
    assert_int_equal(store_find(w->store, id.text, &a, NULL), 1);
    assert_int_equal(a.deliveries[NOTIFY_START].state, EVENT_DELIVERED);
    assert_int_equal(a.deliveries[NOTIFY_START].attempts, 2);
    assert_int_equal(a.deliveries[NOTIFY_START].http_status, 204);
    assert_null(a.deliveries[NOTIFY_START].error);
    assert_int_equal(a.deliveries[NOTIFY_START].next_ms, 0);
    asset_release(&a);
}

static void events_are_leased_most_overdue_first_and_no_more_than_asked(void **state)
{
    struct world *w = *state;
    struct id ids[5];
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        ids[i] = put_one(w);
        (void)claim_one(w);
        w->now_ms++;
    }
    struct event *e = lease_up_to(w, 3, 1000), *rest = lease_up_to(w, 100, 1000);
    size_t i = 0;
    for (const struct event *at = e; at; at = at->next)
        assert_string_equal(at->asset_id, ids[i++].text);
    assert_int_equal(i, 3);
    for (const struct event *at = rest; at; at = at->next)
        assert_string_equal(at->asset_id, ids[i++].text);
    assert_int_equal(i, 5);
    events_free(e);
    events_free(rest);
}

static void a_settled_event_is_nobodys(void **state)
{
    struct world *w = *state;
    (void)put_one(w);
    (void)claim_one(w);
    struct leased_event e = lease_one(w);
    assert_int_equal(delivered(w, e.key, EVENT_DELIVERED, 0), STEP_DONE);
    assert_int_equal(delivered(w, e.key, EVENT_DEAD, 0), STEP_LOST);
    assert_int_equal(delivered(w, e.key + 12345, EVENT_DEAD, 0), STEP_LOST);
    w->now_ms += 1000000000;
    assert_string_equal(lease_one(w).what, "");
    assert_int_equal(stats_of(w).events_by_state[EVENT_DELIVERED], 1);
    assert_int_equal(stats_of(w).events_by_state[EVENT_PENDING], 0);
}

/* ---- pruning ---- */

static void old_endings_are_pruned_and_open_assets_never(void **state)
{
    struct world *w = *state;
    struct id ended = put_one(w);
    struct claim c = claim_one(w);
    assert_int_equal(finish(w, &c, true), STEP_DONE);
    struct id started = put_one(w);
    (void)claim_one(w);
    struct id queued = put_one(w);
    w->now_ms += 1000;
    struct id late = put_one(w);
    assert_int_equal(prune(w, w->now_ms - 1000, 10), 0);
    assert_int_equal(prune(w, w->now_ms, 10), 1);
    assert_false(exists(w, ended.text));
    assert_true(exists(w, started.text));
    assert_true(exists(w, queued.text));
    assert_true(exists(w, late.text));
    assert_int_equal(stats_of(w).pruned, 1);
    assert_int_equal(retry(w, ended.text), STEP_NOTHING);
}

static void pruning_takes_the_events_along(void **state)
{
    struct world *w = *state;
    (void)put_one(w);
    struct claim c = claim_one(w);
    assert_int_equal(finish(w, &c, false), STEP_DONE);
    struct leased_event e = lease_one(w);
    assert_int_equal(prune(w, w->now_ms + 1, 10), 1);
    struct store_stats s = stats_of(w);
    for (int i = 0; i <= EVENT_OFF; i++)
        assert_int_equal(s.events_by_state[i], 0);
    assert_int_equal(delivered(w, e.key, EVENT_DELIVERED, 0), STEP_LOST);
    w->now_ms += 1000000000;
    assert_string_equal(lease_one(w).what, "");
    assert_int_equal(s.runs_failed, 1);
}

static void pruning_goes_step_by_step(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 7; i++) {
        (void)put_one(w);
        struct claim c = claim_one(w);
        assert_int_equal(finish(w, &c, i & 1), STEP_DONE);
    }
    assert_int_equal(prune(w, w->now_ms + 1, 5), 5);
    assert_int_equal(prune(w, w->now_ms + 1, 5), 2);
    assert_int_equal(prune(w, w->now_ms + 1, 5), 0);
}

/* Invariant 4. */
static void a_pruned_number_is_never_used_again(void **state)
{
    struct world *w = *state;
    struct id first = put_one(w);
    struct claim c = claim_one(w);
    assert_int_equal(finish(w, &c, true), STEP_DONE);
    assert_int_equal(prune(w, w->now_ms + 1, 10), 1);
    world_reopen(w);
    struct id second = put_one(w);
    assert_string_not_equal(second.text, first.text);
    assert_true(claim_one(w).number > c.number);
    assert_false(exists(w, first.text));
}

/* ---- listing and counting ---- */

static void lists_are_newest_first_in_pages(void **state)
{
    struct world *w = *state;
    struct id ids[7];
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        ids[i] = put_one(w);
    struct asset_query query = { .limit = 3 };
    struct asset_page page;
    char after[ASSET_ID_LEN + 1];
    size_t left = ARRAY_LEN(ids);
    bool more = true;
    while (more) {
        assert_int_equal(store_list(w->store, &query, &page, NULL), 0);
        for (size_t i = 0; i < page.n; i++)
            assert_string_equal(page.assets[i].id, ids[--left].text);
        more = page.more;
        assert_int_equal(more, left > 0);
        (void)strcpy(after, page.assets[page.n - 1].id);
        query.after = after;
        asset_page_release(&page);
    }
    assert_int_equal(left, 0);
    query.after = "no id";
    struct err err;
    assert_int_equal(store_list(w->store, &query, &page, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
}

static size_t count_of(struct world *w, enum asset_state state, unsigned limit, bool *ret_more)
{
    struct asset_query query = { .by_state = true, .state = state, .limit = limit };
    struct asset_page page;
    assert_int_equal(store_list(w->store, &query, &page, NULL), 0);
    for (size_t i = 0; i < page.n; i++) {
        assert_int_equal(page.assets[i].state, state);
        assert_true(i == 0 || page.assets[i].number < page.assets[i - 1].number);
        if (state == ASSET_FAILED)
            assert_string_equal(page.assets[i].errors, "{\"asset\":[\"is empty\"]}");
    }
    size_t n = page.n;
    *ret_more = page.more;
    asset_page_release(&page);
    return n;
}

static void lists_can_be_of_one_state(void **state)
{
    struct world *w = *state;
    bool more;
    struct id first = put_one(w);
    for (int i = 0; i < 199; i++)
        (void)put_one(w);
    for (int i = 0; i < 190; i++) {
        struct claim c = claim_one(w);
        if (i < 185)
            assert_int_equal(finish(w, &c, i % 37 != 36), STEP_DONE);
    }
    assert_int_equal(retry(w, first.text), STEP_DONE);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(count_of(w, ASSET_QUEUED, 100, &more), 11);
        assert_false(more);
        assert_int_equal(count_of(w, ASSET_STARTED, 5, &more), 5);
        assert_false(more);
        assert_int_equal(count_of(w, ASSET_SUCCESS, 100, &more), 100);
        assert_true(more);
        assert_int_equal(count_of(w, ASSET_FAILED, 100, &more), 5);
        assert_false(more);
        world_reopen(w);
    }
}

static void statistics_survive_a_crash(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 10; i++)
        (void)put_one(w);
    for (int i = 0; i < 6; i++) {
        struct claim c = claim_one(w);
        if (i < 4)
            assert_int_equal(finish(w, &c, i & 1), STEP_DONE);
    }
    assert_int_equal(prune(w, w->now_ms + 1, 1), 1);
    struct store_stats before = stats_of(w);
    world_reopen(w);
    struct store_stats after = stats_of(w);
    after.rescued = before.rescued; /* may begin again */
    assert_memory_equal(&before, &after, sizeof(before));
    assert_int_equal(after.oldest_queued_ms, w->now_ms);
}

static void with_an_empty_queue_nothing_is_oldest(void **state)
{
    struct world *w = *state;
    assert_int_equal(stats_of(w).oldest_queued_ms, 0);
    (void)put_one(w);
    assert_int_equal(stats_of(w).oldest_queued_ms, w->now_ms);
    (void)claim_one(w);
    assert_int_equal(stats_of(w).oldest_queued_ms, 0);
}

int main(void)
{
    struct CMUnitTest tests[] = {
        FACT(an_asset_that_was_put_can_be_found_as_it_was_put),
        FACT(ids_are_short_and_begin_with_a_digit_and_differ),
        FACT(an_unknown_id_is_not_found),
        FACT(no_more_assets_wait_than_may),
        FACT(steps_of_one_batch_see_each_other_in_order),
        FACT(a_batch_without_steps_is_fine),
        FACT(assets_are_claimed_oldest_first),
        FACT(a_claim_says_all_that_a_worker_needs),
        FACT(a_claim_leaves_some_for_other_workers),
        FACT(a_claimed_asset_is_not_claimed_again),
        FACT(a_claimed_asset_is_claimed_again_after_a_crash),
        FACT(a_released_asset_comes_back_when_it_may),
        FACT(a_release_without_a_fault_does_not_count),
        FACT(a_released_asset_still_waits_for_its_time_after_a_crash),
        FACT(only_a_claimed_asset_can_be_released),
        FACT(without_anything_to_claim_nothing_says_when),
        FACT(an_ending_shows_what_was_found),
        FACT(a_run_ends_only_once),
        FACT(what_was_not_claimed_cannot_end),
        FACT(a_late_ending_after_a_crash_counts_and_is_not_done_again),
        FACT(a_retry_is_a_new_run),
        FACT(only_what_has_ended_can_be_retried),
        FACT(a_retry_needs_room_in_the_queue),
        FACT(a_retried_asset_waits_behind_those_that_wait_also_after_a_crash),
        FACT(a_retried_asset_comes_in_its_turn_when_many_are_claimed_at_once),
        FACT(a_retried_asset_that_is_claimed_leaves_room_for_a_put_of_the_same_batch),
        FACT(the_events_of_an_earlier_run_are_still_sent_with_its_errors),
        FACT(an_event_says_all_that_its_sender_needs),
        FACT(an_ending_is_sent_after_starteds_first_attempt),
        FACT(an_attempt_that_was_not_made_keeps_the_ending_waiting),
        FACT(a_started_event_that_is_given_up_untried_lets_the_ending_go),
        FACT(after_a_crash_started_is_sent_again_before_the_ending),
        FACT(an_ending_is_due_at_once_without_a_started_event),
        FACT(urls_that_cannot_be_used_make_no_event),
        FACT(with_webhooks_off_events_are_recorded_and_never_sent),
        FACT(a_lease_of_fewer_than_it_may_tells_when_there_is_more),
        FACT(one_batch_claims_what_it_makes),
        FACT(a_lease_that_runs_out_lets_another_have_the_event),
        FACT(a_failed_delivery_is_tried_again_at_its_time),
        FACT(events_are_leased_most_overdue_first_and_no_more_than_asked),
        FACT(a_settled_event_is_nobodys),
        FACT(old_endings_are_pruned_and_open_assets_never),
        FACT(pruning_takes_the_events_along),
        FACT(pruning_goes_step_by_step),
        FACT(a_pruned_number_is_never_used_again),
        FACT(lists_are_newest_first_in_pages),
        FACT(lists_can_be_of_one_state),
        FACT(statistics_survive_a_crash),
        FACT(with_an_empty_queue_nothing_is_oldest),
    };
    return world_run("store", tests, ARRAY_LEN(tests));
}
