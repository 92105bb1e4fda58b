/* What every engine of the store must do with the events it sends: log each attempt, show them, and send
 * them again. */
#include "support/store_world.h"

static struct event_view view_of(struct world *w, const char *webhook_id)
{
    struct event_view view;
    assert_int_equal(store_event(w->store, webhook_id, &view, NULL), 1);
    return view;
}

static enum step_result attempt_with(struct world *w, uint64_t key, enum event_state state,
                                     const char *answer, size_t answer_len)
{
    struct step step = { .kind = STEP_DELIVERED,
                         .u.delivered = { .key = key,
                                          .state = state,
                                          .attempted = true,
                                          .next_ms = w->now_ms,
                                          .http_status = state == EVENT_DELIVERED ? 200 : 503,
                                          .duration_ms = 34,
                                          .error = state == EVENT_DELIVERED ? NULL : "status",
                                          .answer = answer,
                                          .answer_len = answer_len } };
    return world_do(w, &step);
}

static enum step_result resend(struct world *w, const char *webhook_id)
{
    struct step step = { .kind = STEP_RESEND, .u.resend.webhook_id = webhook_id };
    enum step_result result = world_do(w, &step);
    assert_int_equal(step.u.resend.ret_count, result == STEP_DONE);
    return result;
}

static unsigned resend_dead(struct world *w, unsigned max, int64_t before_ms)
{
    struct step step = { .kind = STEP_RESEND, .u.resend = { .max = max, .before_ms = before_ms } };
    enum step_result result = world_do(w, &step);
    assert_int_equal(result, step.u.resend.ret_count ? STEP_DONE : STEP_NOTHING);
    return step.u.resend.ret_count;
}

/* An asset whose started event has ended as told; that event. */
static struct leased_event settled(struct world *w, enum event_state state)
{
    (void)put_one(w);
    (void)claim_one(w);
    struct leased_event e = lease_one(w);
    assert_string_equal(e.what, "1_started");
    assert_int_equal(delivered(w, e.key, state, 0), STEP_DONE);
    return e;
}

/* ---- one event ---- */

static void an_event_can_be_read_by_its_webhook_id(void **state)
{
    struct world *w = *state;
    struct id id = put_one(w);
    int64_t created_ms = w->now_ms;
    (void)claim_one(w);
    struct leased_event e = lease_one(w);
    struct event_view v = view_of(w, e.id);
    assert_string_equal(v.webhook_id, e.id);
    assert_string_equal(v.asset_id, id.text);
    assert_int_equal(v.notify, NOTIFY_START);
    assert_int_equal(v.state, EVENT_PENDING);
    assert_int_equal(v.run, 1);
    assert_int_equal(v.attempts, 0);
    assert_string_equal(v.url, "http://a/start");
    assert_int_equal(v.created_ms, created_ms);
    assert_int_equal(v.next_ms, created_ms);
    assert_int_equal(v.last_ms, 0);
    assert_null(v.error);
    assert_int_equal(v.n_log, 0);
    event_view_release(&v);
    w->now_ms += 5;
    assert_int_equal(delivered(w, e.key, EVENT_PENDING, w->now_ms + 100), STEP_DONE);
    v = view_of(w, e.id);
    assert_int_equal(v.attempts, 1);
    assert_int_equal(v.http_status, 500);
    assert_string_equal(v.error, "status");
    assert_int_equal(v.last_ms, created_ms + 5);
    assert_int_equal(v.next_ms, w->now_ms + 100);
    event_view_release(&v);
}

static void what_is_no_event_is_not_found(void **state)
{
    struct world *w = *state;
    struct id id = put_one(w);
    static const char *const forms[] = {
        "%s",          "%s_1_started",  "%s_1_success",   "%s_2_failed",
        "%s_0_failed", "%s_01_success", "%s__success",    "%s_1_",
        "_1_%s",       "%s_1_successs", "%s_99999_failed"
    };
    struct claim c = claim_one(w);
    assert_int_equal(finish(w, &c, false), STEP_DONE);
    struct event_view v;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        char name[64];
        (void)snprintf(name, sizeof(name), forms[i], id.text);
        assert_int_equal(store_event(w->store, name, &v, NULL), i == 1);
        if (i == 1)
            event_view_release(&v);
        else
            assert_int_equal(resend(w, name), STEP_NOTHING);
    }
    assert_int_equal(store_event(w->store, "0unknwn_1_started", &v, NULL), 0);
    assert_int_equal(resend(w, "0unknwn_1_started"), STEP_NOTHING);
}

/* ---- the log ---- */

static void each_attempt_is_in_the_log_also_after_a_crash(void **state)
{
    struct world *w = *state;
    static const char odd[] = "a\0b\xff";
    (void)put_one(w);
    (void)claim_one(w);
    struct leased_event e = lease_one(w);
    int64_t first_ms = w->now_ms;
    assert_int_equal(attempt_with(w, e.key, EVENT_PENDING, NULL, 0), STEP_DONE);
    w->now_ms += 10;
    (void)lease_one(w);
    assert_int_equal(attempt_with(w, e.key, EVENT_PENDING, odd, sizeof(odd)), STEP_DONE);
    w->now_ms += 10;
    (void)lease_one(w);
    assert_int_equal(attempt_with(w, e.key, EVENT_DELIVERED, "", 0), STEP_DONE);
    world_reopen(w);
    struct event_view v = view_of(w, e.id);
    assert_int_equal(v.n_log, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(v.log[i].at_ms, first_ms + 10 * i);
        assert_int_equal(v.log[i].http_status, i == 2 ? 200 : 503);
        assert_int_equal(v.log[i].duration_ms, 34);
    }
    assert_string_equal(v.log[0].error, "status");
    assert_null(v.log[0].answer);
    assert_int_equal(v.log[1].answer_len, sizeof(odd));
    assert_memory_equal(v.log[1].answer, odd, sizeof(odd));
    assert_null(v.log[2].error);
    assert_string_equal(v.log[2].answer, "");
    event_view_release(&v);
}

static void a_single_attempt_is_in_the_log_with_and_without_an_answer(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 2; i++) {
        (void)put_one(w);
        (void)claim_one(w);
        struct leased_event e = lease_one(w);
        assert_int_equal(attempt_with(w, e.key, EVENT_DEAD, i ? "gone" : NULL, 4), STEP_DONE);
        struct event_view v = view_of(w, e.id);
        assert_int_equal(v.n_log, 1);
        assert_int_equal(v.log[0].at_ms, w->now_ms);
        assert_int_equal(v.log[0].http_status, 503);
        assert_int_equal(v.log[0].duration_ms, 34);
        assert_string_equal(v.log[0].error, "status");
        if (i)
            assert_string_equal(v.log[0].answer, "gone");
        else
            assert_null(v.log[0].answer);
        event_view_release(&v);
    }
}

static void of_a_long_answer_the_beginning_is_kept(void **state)
{
    struct world *w = *state;
    char answer[3000];
    memset(answer, 'x', sizeof(answer));
    (void)put_one(w);
    (void)claim_one(w);
    struct leased_event e = lease_one(w);
    assert_int_equal(attempt_with(w, e.key, EVENT_DEAD, answer, sizeof(answer)), STEP_DONE);
    struct event_view v = view_of(w, e.id);
    assert_int_equal(v.log[0].answer_len, ANSWER_MAX);
    event_view_release(&v);
}

static void the_log_keeps_the_newest_attempts(void **state)
{
    struct world *w = *state;
    char answer[ANSWER_MAX];
    memset(answer, 'y', sizeof(answer));
    (void)put_one(w);
    (void)claim_one(w);
    struct leased_event e = lease_one(w);
    for (int i = 0; i < ATTEMPTS_MAX + 7; i++) {
        assert_int_equal(attempt_with(w, e.key, EVENT_PENDING, answer, sizeof(answer)), STEP_DONE);
        w->now_ms++;
        (void)lease_one(w);
    }
    struct event_view v = view_of(w, e.id);
    assert_int_equal(v.attempts, ATTEMPTS_MAX + 7);
    assert_int_equal(v.n_log, ATTEMPTS_MAX);
    for (int i = 0; i < ATTEMPTS_MAX; i++)
        assert_int_equal(v.log[i].at_ms, w->now_ms - ATTEMPTS_MAX + i);
    event_view_release(&v);
}

static void an_attempt_that_was_not_made_is_not_in_the_log(void **state)
{
    struct world *w = *state;
    (void)put_one(w);
    (void)claim_one(w);
    struct leased_event e = lease_one(w);
    assert_int_equal(give_back_event(w, e.key, w->now_ms), STEP_DONE);
    struct event_view v = view_of(w, e.id);
    assert_int_equal(v.n_log, 0);
    event_view_release(&v);
}

static void an_event_that_was_pending_can_end_as_off(void **state)
{
    struct world *w = *state;
    (void)put_one(w);
    struct claim c = claim_one(w);
    assert_int_equal(finish(w, &c, true), STEP_DONE);
    for (int i = 0; i < 2; i++) { /* started, then the ending that waited for it */
        struct leased_event e = lease_one(w);
        assert_string_equal(e.what, i ? "1_success" : "1_started");
        struct step step = { .kind = STEP_DELIVERED,
                             .u.delivered = { .key = e.key, .state = EVENT_OFF } };
        assert_int_equal(world_do(w, &step), STEP_DONE);
    }
    assert_string_equal(lease_one(w).what, "");
    assert_int_equal(stats_of(w).events_by_state[EVENT_OFF], 2);
}

/* ---- sending again ---- */

static void a_settled_event_can_be_sent_again_with_its_id_and_its_log(void **state)
{
    struct world *w = *state;
    static const enum event_state ends[] = { EVENT_DEAD, EVENT_DELIVERED };
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        struct leased_event e = settled(w, ends[i]);
        w->now_ms += 1000;
        assert_int_equal(resend(w, e.id), STEP_DONE);
        struct event_view v = view_of(w, e.id);
        assert_int_equal(v.state, EVENT_PENDING);
        assert_int_equal(v.attempts, 0);
        assert_int_equal(v.next_ms, w->now_ms);
        assert_int_equal(v.last_ms, 0);
        assert_int_equal(v.http_status, 0);
        assert_null(v.error);
        assert_int_equal(v.n_log, 1);
        event_view_release(&v);
        if (i == 1)
            world_reopen(w);
        struct leased_event again = lease_one(w);
        assert_string_equal(again.id, e.id);
        assert_int_equal(again.attempts, 0);
        assert_int_equal(delivered(w, e.key, EVENT_DELIVERED, 0), STEP_DONE);
        v = view_of(w, e.id);
        assert_int_equal(v.attempts, 1);
        assert_int_equal(v.last_ms, w->now_ms);
        assert_int_equal(v.n_log, 2);
        assert_int_equal(v.log[0].at_ms, w->now_ms - 1000);
        assert_int_equal(v.log[0].http_status, i ? 204 : 500);
        assert_int_equal(v.log[1].at_ms, w->now_ms);
        event_view_release(&v);
        struct store_stats s = stats_of(w);
        assert_int_equal(s.events_by_state[EVENT_DELIVERED], i + 1);
        assert_int_equal(s.events_by_state[EVENT_DEAD] + s.events_by_state[EVENT_PENDING], 0);
    }
}

static void what_is_not_settled_is_not_sent_again(void **state)
{
    struct world *w = *state;
    (void)put_with(w, URL_VALID, URL_VALID, URL_OFF);
    struct claim c = claim_one(w);
    assert_int_equal(finish(w, &c, true), STEP_DONE);
    struct leased_event started = lease_one(w);
    char ending[WEBHOOK_ID_LEN + 1];
    assert_int_equal(resend(w, started.id), STEP_LOST);
    (void)snprintf(ending, sizeof(ending), "%s_1_success", c.id);
    assert_int_equal(resend(w, ending), STEP_LOST); /* waits */
    (void)put_with(w, URL_OFF, URL_OFF, URL_OFF);
    c = claim_one(w);
    (void)snprintf(ending, sizeof(ending), "%s_1_started", c.id);
    assert_int_equal(resend(w, ending), STEP_LOST); /* off */
}

static void dead_events_are_sent_again_oldest_first_and_no_more_than_asked(void **state)
{
    struct world *w = *state;
    struct leased_event dead[5];
    for (size_t i = 0; i < ARRAY_LEN(dead); i++) {
        dead[i] = settled(w, EVENT_DEAD);
        w->now_ms += 10;
    }
    (void)settled(w, EVENT_DELIVERED);
    assert_int_equal(resend_dead(w, 2, 0), 2);
    assert_string_equal(lease_one(w).id, dead[0].id);
    assert_string_equal(lease_one(w).id, dead[1].id);
    assert_string_equal(lease_one(w).what, "");
    assert_int_equal(resend_dead(w, 10, w->now_ms - 20), 1); /* created before, not then */
    assert_string_equal(lease_one(w).id, dead[2].id);
    assert_int_equal(resend_dead(w, 10, 0), 2);
    assert_int_equal(resend_dead(w, 10, 0), 0);
    assert_int_equal(stats_of(w).events_by_state[EVENT_DEAD], 0);
    assert_int_equal(stats_of(w).events_by_state[EVENT_PENDING], 5);
}

static void an_ending_waits_for_a_start_that_is_sent_again(void **state)
{
    struct world *w = *state;
    (void)put_one(w);
    struct claim c = claim_one(w);
    struct leased_event e = lease_one(w);
    assert_int_equal(delivered(w, e.key, EVENT_DEAD, 0), STEP_DONE);
    assert_int_equal(resend(w, e.id), STEP_DONE);
    assert_int_equal(finish(w, &c, true), STEP_DONE);
    e = lease_one(w);
    assert_string_equal(e.what, "1_started");
    assert_string_equal(lease_one(w).what, "");
    assert_int_equal(delivered(w, e.key, EVENT_DELIVERED, 0), STEP_DONE);
    assert_string_equal(lease_one(w).what, "1_success");
}

/* ---- lists ---- */

static size_t events_in(struct world *w, bool by_state, enum event_state state, unsigned limit)
{
    struct event_query query = { .by_state = by_state, .state = state, .limit = limit };
    struct event_page page;
    char next[WEBHOOK_ID_LEN + 1], last[WEBHOOK_ID_LEN + 1] = "";
    size_t n = 0;
    bool more = true;
    while (more) {
        assert_int_equal(store_events(w->store, &query, &page, NULL), 0);
        for (size_t i = 0; i < page.n; i++) {
            if (by_state)
                assert_int_equal(page.events[i].state, state);
            assert_string_not_equal(page.events[i].webhook_id, last);
            assert_int_equal(page.events[i].n_log, 0);
            (void)strcpy(last, page.events[i].webhook_id);
        }
        n += page.n;
        assert_true(page.n <= limit);
        more = page.more;
        (void)strcpy(next, page.next);
        query.after = next;
        event_page_release(&page);
    }
    return n;
}

static void events_are_listed_by_state_in_pages(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 7; i++)
        (void)settled(w, i < 3 ? EVENT_DEAD : EVENT_DELIVERED);
    for (int i = 0; i < 4; i++) {
        (void)put_with(w, i ? URL_VALID : URL_OFF, URL_VALID, URL_VALID);
        struct claim c = claim_one(w);
        if (i < 3)
            assert_int_equal(finish(w, &c, i & 1), STEP_DONE);
    }
    static const size_t counts[] = { [EVENT_WAITING] = 2,
                                     [EVENT_PENDING] = 4,
                                     [EVENT_DELIVERED] = 4,
                                     [EVENT_DEAD] = 3,
                                     [EVENT_OFF] = 1 };
    for (unsigned limit = 1; limit < 9; limit += 2) {
        for (enum event_state s = EVENT_WAITING; s <= EVENT_OFF; s++)
            assert_int_equal(events_in(w, true, s, limit), counts[s]);
        assert_int_equal(events_in(w, false, 0, limit), 14);
    }
}

static void events_are_listed_newest_asset_first(void **state)
{
    struct world *w = *state;
    struct leased_event first = settled(w, EVENT_DEAD), second = settled(w, EVENT_DELIVERED);
    struct event_query query = { .limit = 10 };
    struct event_page page;
    assert_int_equal(store_events(w->store, &query, &page, NULL), 0);
    assert_int_equal(page.n, 2);
    assert_false(page.more);
    assert_string_equal(page.events[0].webhook_id, second.id);
    assert_string_equal(page.events[1].webhook_id, first.id);
    assert_string_equal(page.events[1].error, "status");
    assert_string_equal(page.events[1].url, "http://a/start");
    event_page_release(&page);
    query.after = "no webhook id";
    struct err err;
    assert_int_equal(store_events(w->store, &query, &page, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
}

static void all_events_of_all_runs_of_an_asset_are_told_oldest_first(void **state)
{
    struct world *w = *state;
    (void)settled(w, EVENT_DEAD); /* of another */
    struct id id = put_one(w);
    struct event_page page;
    for (int run = 1; run <= 2; run++) {
        struct claim c = claim_one(w);
        struct event *e = lease_up_to(w, 9, 1000);
        for (const struct event *i = e; i; i = i->next)
            assert_int_equal(attempt_with(w, i->key, EVENT_DELIVERED, "ok", 2), STEP_DONE);
        events_free(e);
        assert_int_equal(finish(w, &c, run == 2), STEP_DONE);
        if (run == 1)
            assert_int_equal(retry(w, id.text), STEP_DONE);
    }
    assert_int_equal(store_deliveries(w->store, id.text, &page, NULL), 0);
    static const char *const names[] = { "_1_started", "_1_failed", "_2_started", "_2_success" };
    assert_int_equal(page.n, ARRAY_LEN(names));
    assert_false(page.more);
    for (size_t i = 0; i < page.n; i++) {
        assert_string_equal(strchr(page.events[i].webhook_id, '_'), names[i]);
        assert_string_equal(page.events[i].asset_id, id.text);
        assert_int_equal(page.events[i].run, 1 + i / 2);
    }
    assert_int_equal(page.events[0].n_log, 1);
    assert_string_equal(page.events[0].log[0].answer, "ok");
    assert_int_equal(page.events[3].n_log, 0);
    event_page_release(&page);
    static const char *const unknown[] = { "0unknwn", "no id", "" };
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
        assert_int_equal(store_deliveries(w->store, unknown[i], &page, NULL), 0);
        assert_int_equal(page.n, 0);
        event_page_release(&page);
    }
}

static void pruning_takes_the_log_along(void **state)
{
    struct world *w = *state;
    struct id id = put_one(w);
    struct claim c = claim_one(w);
    struct leased_event e = lease_one(w);
    assert_int_equal(attempt_with(w, e.key, EVENT_DEAD, "no", 2), STEP_DONE);
    assert_int_equal(finish(w, &c, true), STEP_DONE);
    assert_int_equal(prune(w, w->now_ms + 1, 10), 1);
    struct event_view v;
    struct event_page page;
    assert_int_equal(store_event(w->store, e.id, &v, NULL), 0);
    assert_int_equal(resend(w, e.id), STEP_NOTHING);
    assert_int_equal(resend_dead(w, 10, 0), 0);
    assert_int_equal(store_deliveries(w->store, id.text, &page, NULL), 0);
    assert_int_equal(page.n, 0);
    event_page_release(&page);
}

int main(void)
{
    struct CMUnitTest tests[] = {
        FACT(an_event_can_be_read_by_its_webhook_id),
        FACT(what_is_no_event_is_not_found),
        FACT(each_attempt_is_in_the_log_also_after_a_crash),
        FACT(a_single_attempt_is_in_the_log_with_and_without_an_answer),
        FACT(of_a_long_answer_the_beginning_is_kept),
        FACT(the_log_keeps_the_newest_attempts),
        FACT(an_attempt_that_was_not_made_is_not_in_the_log),
        FACT(an_event_that_was_pending_can_end_as_off),
        FACT(a_settled_event_can_be_sent_again_with_its_id_and_its_log),
        FACT(what_is_not_settled_is_not_sent_again),
        FACT(dead_events_are_sent_again_oldest_first_and_no_more_than_asked),
        FACT(an_ending_waits_for_a_start_that_is_sent_again),
        FACT(events_are_listed_by_state_in_pages),
        FACT(events_are_listed_newest_asset_first),
        FACT(all_events_of_all_runs_of_an_asset_are_told_oldest_first),
        FACT(pruning_takes_the_log_along),
    };
    return world_run("store_events", tests, ARRAY_LEN(tests));
}
