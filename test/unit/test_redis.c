/* The Redis engine where it differs from the others: many processes, and a server that goes away. */
#include <poll.h>
#include <signal.h>

#include "base/log.h"
#include "store/redis.h"
#include "support/store_world.h"

enum { LEASE_MS = 200 };

/* Two processes that share a store: two engines, as far as Redis can tell. */
struct shared {
    struct world a, b;
};

static void open_both(struct shared *s)
{
    world_init(&s->a, WORLD_REDIS);
    s->b = s->a;
    struct store_config config = { .max_queued = 1000, .lease_ms = LEASE_MS };
    assert_int_equal(store_open(s->a.url, &config, &s->a.store, NULL), 0);
    assert_int_equal(store_open(s->b.url, &config, &s->b.store, NULL), 0);
}

static void close_both(struct shared *s)
{
    store_close(TAKE(s->a.store));
    store_close(TAKE(s->b.store));
}

/* As kill -9 does it: nothing more is renewed, nothing is given back. */
static void die(struct world *w)
{
    struct redis_store *s = (struct redis_store *)w->store;
    redis_renewer_stop(s);
    leased_release(&s->claims);
    leased_release(&s->events);
}

/* The other process's next claim that finds something; it looks for the dead by itself. */
static struct claim claim_when_there_is_one(struct world *w)
{
    struct claim c = { 0 };
    for (int i = 0; i < 500 && c.number == 0; i++) {
        (void)poll(NULL, 0, 10);
        c = claim_one(w);
    }
    return c;
}

static void ids_of_many_processes_never_meet(void **state)
{
    (void)state;
    struct shared s;
    open_both(&s);
    struct id ids[20];
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        ids[i] = put_one(i % 2 ? &s.a : &s.b);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(ids[i].text, ids[j].text);
        assert_true(exists(i % 2 ? &s.b : &s.a, ids[i].text));
    }
    close_both(&s);
}

static void who_lives_keeps_its_assets(void **state)
{
    (void)state;
    struct shared s;
    open_both(&s);
    (void)put_one(&s.a);
    struct claim c = claim_one(&s.a);
    for (int i = 0; i < 30; i++) { /* three leases long */
        (void)poll(NULL, 0, LEASE_MS / 10);
        assert_int_equal(claim_one(&s.b).number, 0);
    }
    assert_int_equal(finish(&s.a, &c, true), STEP_DONE);
    close_both(&s);
}

static void who_died_loses_its_assets_and_events_and_the_deaths_are_counted(void **state)
{
    (void)state;
    struct shared s;
    open_both(&s);
    (void)put_one(&s.a);
    struct claim mine = claim_one(&s.a);
    struct leased_event event = lease_one(&s.a);
    assert_string_equal(event.what, "1_started");
    die(&s.a);
    struct claim *c = NULL;
    for (int i = 0; i < 500 && !c; i++) {
        (void)poll(NULL, 0, 10);
        c = claim_up_to(&s.b, 1);
    }
    assert_non_null(c);
    assert_int_equal(c->number, mine.number);
    assert_int_equal(c->attempts, 2);
    assert_int_equal(c->deaths, 1);
    assert_string_equal(lease_one(&s.b).id, event.id); /* long before the event's own lease ends */
    assert_int_equal(stats_of(&s.b).rescued, 1);
    assert_int_equal(finish(&s.b, c, true), STEP_DONE);
    assert_int_equal(finish(&s.a, &mine, false), STEP_LOST); /* it was not dead after all */
    claims_free(c);
    close_both(&s);
}

static void the_longest_lease_of_all_processes_holds(void **state)
{
    (void)state;
    struct shared s;
    open_both(&s);
    struct store_config patient = { .max_queued = 1000, .lease_ms = 60000 };
    struct world c = s.a;
    assert_int_equal(store_open(c.url, &patient, &c.store, NULL), 0);
    (void)put_one(&c);
    assert_int_not_equal(claim_one(&c).number, 0); /* renews every 20 s only */
    for (int i = 0; i < 30; i++) {
        (void)poll(NULL, 0, LEASE_MS / 10);
        assert_int_equal(claim_one(&s.b).number, 0);
    }
    store_close(c.store);
    assert_int_not_equal(claim_when_there_is_one(&s.b).number, 0);
    close_both(&s);
}

/* All of it has come, in as many pieces as it takes. */
static void assert_heard(struct world *w, unsigned wanted, unsigned expected)
{
    unsigned news = 0;
    for (int i = 0; i < 10 && news != expected; i++)
        news |= store_wait(w->store, wanted, -1, 1000);
    assert_int_equal(news, expected);
    assert_int_equal(store_wait(w->store, wanted, -1, 0), 0);
}

static void others_hear_of_work_and_of_changes(void **state)
{
    const unsigned both = STORE_NEWS_WORK | STORE_NEWS_CHANGES;
    (void)state;
    struct shared s;
    open_both(&s);
    assert_heard(&s.b, both, both); /* of what was before */
    (void)put_one(&s.a);
    assert_heard(&s.b, both, both);
    struct claim c = claim_one(&s.a);
    assert_heard(&s.b, both, STORE_NEWS_CHANGES);
    assert_int_equal(finish(&s.a, &c, true), STEP_DONE);
    assert_heard(&s.b, both, STORE_NEWS_CHANGES);
    close_both(&s);
}

static void nobody_hears_of_what_he_does_not_want(void **state)
{
    const unsigned both = STORE_NEWS_WORK | STORE_NEWS_CHANGES;
    (void)state;
    struct shared s;
    open_both(&s);
    (void)put_one(&s.a);
    assert_int_equal(store_wait(s.b.store, 0, -1, 100), 0);
    assert_heard(&s.b, STORE_NEWS_WORK, STORE_NEWS_WORK);
    (void)put_one(&s.a);
    assert_heard(&s.b, STORE_NEWS_WORK, STORE_NEWS_WORK);
    assert_heard(&s.b, both, STORE_NEWS_CHANGES);
    (void)put_one(&s.a);
    assert_heard(&s.b, both, both);
    assert_int_equal(store_wait(s.b.store, STORE_NEWS_CHANGES, -1, 100), 0);
    (void)put_one(&s.a);
    assert_heard(&s.b, STORE_NEWS_CHANGES, STORE_NEWS_CHANGES);
    close_both(&s);
}

static bool may_wait(struct world *w, const struct leased_event *e, enum event_state told)
{
    const struct step step = { .kind = STEP_DELIVERED,
                               .u.delivered = { .key = e->key, .state = told } };
    return store_may_wait(w->store, &step);
}

static void a_start_that_was_told_may_wait_for_the_ending(void **state)
{
    (void)state;
    struct shared s;
    open_both(&s);
    (void)put_one(&s.a);
    struct claim c = claim_one(&s.a);
    struct leased_event start = lease_one(&s.a);
    const struct step end = { .kind = STEP_FINISH,
                              .u.finish = { .number = c.number, .run = c.run } };
    assert_true(may_wait(&s.a, &start, EVENT_DELIVERED));
    assert_false(may_wait(&s.a, &start, EVENT_PENDING));   /* others may try it */
    assert_false(may_wait(&s.b, &start, EVENT_DELIVERED)); /* the asset is another's */
    assert_false(store_may_wait(s.a.store, &end));
    assert_int_equal(finish(&s.a, &c, true), STEP_DONE);
    assert_false(may_wait(&s.a, &start, EVENT_DELIVERED)); /* now the ending waits for it */
    assert_int_equal(delivered(&s.a, start.key, EVENT_DELIVERED, 0), STEP_DONE);
    struct leased_event ending = lease_one(&s.a);
    assert_false(may_wait(&s.a, &ending, EVENT_DELIVERED));
    close_both(&s);
}

static void without_memory_puts_are_refused_and_endings_are_not(void **state)
{
    (void)state;
    struct shared s;
    open_both(&s);
    (void)put_one(&s.a);
    struct claim c = claim_one(&s.a);
    struct step put = put_step("x", URL_ABSENT, URL_ABSENT, URL_ABSENT);
    struct step end = { .kind = STEP_FINISH,
                        .u.finish = {
                            .number = c.number, .run = 1, .success = true, .report = "{}" } };
    struct step *alone[] = { &put }, *both[] = { &put, &end };
    struct err err;
    (void)redis_server_ask("CONFIG SET maxmemory 1");
    assert_int_equal(store_apply(s.a.store, alone, 1, s.a.now_ms, &err), -1);
    assert_int_equal(err.code, ERR_FULL);
    assert_int_equal(store_apply(s.a.store, NULL, 0, s.a.now_ms, &err), -1);
    assert_int_equal(store_apply(s.a.store, both, 2, s.a.now_ms, &err), 0);
    assert_int_equal(put.result, STEP_FAILED);
    assert_int_equal(end.result, STEP_DONE);
    (void)redis_server_ask("CONFIG SET maxmemory 0");
    assert_int_equal(store_apply(s.a.store, alone, 1, s.a.now_ms, &err), 0);
    assert_int_equal(put.result, STEP_DONE);
    close_both(&s);
}

static void lost_data_are_never_built_upon(void **state)
{
    (void)state;
    struct shared s;
    open_both(&s);
    (void)put_one(&s.a);
    redis_server_clear();
    struct step put = put_step("x", URL_ABSENT, URL_ABSENT, URL_ABSENT), *batch[] = { &put };
    struct err err;
    assert_int_equal(store_apply(s.a.store, batch, 1, s.a.now_ms, &err), -1);
    assert_non_null(strstr(err.msg, "GONE"));
    close_both(&s);
}

static void wrong_data_in_a_key_are_told_and_stop_nothing_else(void **state)
{
    (void)state;
    struct shared s;
    open_both(&s);
    struct id bad = put_one(&s.a);
    (void)redis_server_ask("SET {assay:0}:p:1 nonsense");
    struct asset asset;
    struct err err;
    assert_int_equal(store_find(s.a.store, bad.text, &asset, &err), -1);
    assert_int_equal(err.code, ERR_IO);
    for (int i = 0; i < 2; i++) /* it is put aside once */
        assert_int_equal(claim_one(&s.a).number, 0);
    struct id good = put_one(&s.a);
    assert_string_equal(claim_one(&s.a).id, good.text);
    assert_string_equal(redis_server_ask("LLEN {assay:0}:damaged"), "1");
    assert_int_equal(stats_of(&s.a).by_state[ASSET_QUEUED], 1);
    (void)redis_server_ask("SET {assay:0}:in:0 x");
    struct step put = put_step("x", URL_ABSENT, URL_ABSENT, URL_ABSENT), *batch[] = { &put };
    assert_int_equal(store_apply(s.a.store, batch, 1, s.a.now_ms, &err), -1);
    assert_non_null(strstr(err.msg, "WRONGTYPE"));
    close_both(&s);
}

static void a_server_that_was_killed_has_all_that_it_answered(void **state)
{
    (void)state;
    struct shared s;
    open_both(&s);
    struct id id = put_one(&s.a);
    struct claim c = claim_one(&s.a);
    if (!redis_server_signal(SIGKILL))
        skip();
    struct step end = { .kind = STEP_FINISH,
                        .u.finish = {
                            .number = c.number, .run = 1, .success = true, .report = "{}" } };
    struct step *batch[] = { &end };
    struct err err;
    assert_int_equal(store_apply(s.a.store, batch, 1, s.a.now_ms, &err), -1);
    assert_int_equal(end.result, STEP_FAILED);
    struct asset asset;
    assert_int_equal(store_find(s.a.store, id.text, &asset, &err), -1);
    redis_server_start_again();
    int rc = -1;
    for (int i = 0; i < 200 && rc < 0; i++) {
        rc = store_apply(s.a.store, batch, 1, s.a.now_ms, &err);
        (void)poll(NULL, 0, 10);
    }
    assert_int_equal(rc, 0);
    assert_int_equal(end.result, STEP_DONE);
    for (int i = 0; i < 200 && (rc = store_find(s.a.store, id.text, &asset, &err)) < 0; i++)
        (void)poll(NULL, 0, 10);
    assert_int_equal(rc, 1);
    assert_int_equal(asset.state, ASSET_SUCCESS);
    asset_release(&asset);
    close_both(&s);
}

/* What an earlier program would have made of what is there: see the end of redis.lua's first comment. */
static void make_version_1(void)
{
    const char *said =
        redis_server_eval("local k, call = '{assay:0}:', redis.call "
                          "for n = 1, tonumber(call('HGET', k .. 'count', 'accepted')) do "
                          "  local put = call('GET', k .. 'p:' .. n) "
                          "  local urls, at, record = string.match(put, '^(%d+) (%d+) (.*)$') "
                          "  call('HSET', k .. 'a:' .. n, 'p', record) "
                          "  call('DEL', k .. 'p:' .. n) "
                          "  if n > tonumber(call('HGET', k .. 'count', 'taken')) then "
                          "    call('HSET', k .. 'a:' .. n, 's', "
                          "         table.concat({ '0 1 0', urls, at, '0 0', at, '0 0 -' }, ' ')) "
                          "    call('XADD', k .. 'queue', '*', 'a', n .. ' 1 ' .. at) "
                          "    call('ZADD', k .. 'in:0', n, n) "
                          "  end "
                          "end "
                          "call('DEL', k .. 'delayed') "
                          "call('RENAME', k .. 'later', k .. 'delayed') "
                          "call('HDEL', k .. 'count', 'taken') "
                          "call('HSET', k .. 'meta', 'version', 1) "
                          "return 'made'");
    assert_string_equal(said, "made");
}

static void must_be_sound(struct world *w)
{
    CLEANUP(buf_release) struct buf report;
    struct err err = { 0 };
    buf_init(&report, 1 << 16);
    if (store_verify(w->store, &report, &err) != 1)
        fail_msg("%s%s", err.msg, buf_str(&report));
}

static void a_store_of_version_1_is_brought_up_to_date(void **state)
{
    (void)state;
    struct shared s;
    open_both(&s);
    struct id first = put_one(&s.a), second = put_one(&s.a), third = put_one(&s.a);
    struct claim c = claim_one(&s.a);
    assert_int_equal(release_until(&s.a, &c, s.a.now_ms + 1000, true), STEP_DONE);
    close_both(&s);
    make_version_1();
    world_open(&s.a);
    assert_string_equal(redis_server_ask("HGET {assay:0}:meta version"), "2");
    struct id fourth = put_one(&s.a);
    must_be_sound(&s.a);
    assert_int_equal(state_of(&s.a, first.text), ASSET_STARTED);
    assert_int_equal(stats_of(&s.a).by_state[ASSET_QUEUED], 3);
    struct asset_query query = { .limit = 10, .path = "./a.jpg" };
    struct asset_page page;
    assert_int_equal(store_list(s.a.store, &query, &page, NULL), 0);
    assert_int_equal(page.n, 4);
    asset_page_release(&page);
    assert_string_equal(lease_one(&s.a).what, "1_started");
    s.a.now_ms += 1000;
    const struct id *order[] = { &first, &second, &third, &fourth };
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        c = claim_one(&s.a);
        assert_string_equal(c.id, order[i]->text);
        assert_int_equal(finish(&s.a, &c, true), STEP_DONE);
    }
    must_be_sound(&s.a);
    assert_int_equal(prune(&s.a, s.a.now_ms + 1, 10), 4);
    assert_string_equal(redis_server_ask("EXISTS {assay:0}:a:1"), "0");
    assert_string_equal(redis_server_ask("EXISTS {assay:0}:p:4"), "0");
    store_close(TAKE(s.a.store));
}

/* Its functions ask this first, and fail whole when it fails. */
static void a_program_of_version_1_that_still_runs_is_stopped(void **state)
{
    (void)state;
    struct shared s;
    open_both(&s);
    (void)put_one(&s.a);
    struct claim c = claim_one(&s.a);
    assert_int_equal(release_until(&s.a, &c, s.a.now_ms + 1000, true), STEP_DONE);
    make_version_1();
    assert_string_equal(redis_server_ask("ZCARD {assay:0}:delayed"), "1");
    store_close(TAKE(s.b.store));
    world_open(&s.b);
    assert_non_null(strstr(redis_server_ask("ZCARD {assay:0}:delayed"), "WRONGTYPE"));
    close_both(&s);
}

static void an_ending_sent_twice_for_want_of_an_answer_is_done(void **state)
{
    (void)state;
    struct shared s;
    open_both(&s);
    (void)put_one(&s.a);
    struct claim c = claim_one(&s.a);
    /* as if the connection had been lost after the first time */
    struct redis_store *store = (struct redis_store *)s.a.store;
    assert_int_equal(finish(&s.a, &c, true), STEP_DONE);
    leased_begin(&store->uncertain);
    assert_int_equal(leased_set(&store->uncertain, redis_claim_ref(c.number, c.run), 0), 0);
    assert_int_equal(finish(&s.a, &c, true), STEP_DONE);
    assert_int_equal(finish(&s.a, &c, true), STEP_LOST);
    close_both(&s);
}

/* ---- URLs ---- */

static void urls_say_where_a_redis_is(void **state)
{
    (void)state;
    static const struct {
        const char *url, *user, *password, *host;
        int port, db;
    } cases[] = {
        { "//localhost", NULL, NULL, "localhost", 6379, 0 },
        { "//h:1/7", NULL, NULL, "h", 1, 7 },
        { "//:p%40ss@h:1/", NULL, "p@ss", "h", 1, 0 },
        { "//me:a:b@[::1]:2/3", "me", "a:b", "::1", 2, 3 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct redis_url url;
        assert_int_equal(redis_url_parse(cases[i].url, &url, NULL), 0);
        assert_string_equal(url.host, cases[i].host);
        assert_int_equal(url.port, cases[i].port);
        assert_int_equal(url.db, cases[i].db);
        assert_int_equal(url.user != NULL, cases[i].user != NULL);
        assert_string_equal(url.password ? url.password : "",
                            cases[i].password ? cases[i].password : "");
        redis_url_release(&url);
    }
    static const char *const wrong[] = { "",          "h",        "//",      "//h:x",   "//h:0",
                                         "//h:1/x",   "//h/1/2",  "//p@h",   "//:%4@h", "//[::1",
                                         "//h:70000", "//h?db=1", "//:p@/1", "//h:1#" };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct redis_url url;
        struct err err;
        assert_int_equal(redis_url_parse(wrong[i], &url, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
    }
}

static void a_password_is_never_shown(void **state)
{
    (void)state;
    char out[64];
    assert_string_equal(redis_url_shown("redis://:x@h:1/0", out, sizeof(out)), "redis://***@h:1/0");
    assert_string_equal(redis_url_shown("redis://u:x@y@h", out, sizeof(out)), "redis://***@h");
    assert_string_equal(redis_url_shown("redis://h", out, sizeof(out)), "redis://h");
    assert_string_equal(redis_url_shown("sqlite:a@b", out, sizeof(out)), "sqlite:a@b");
}

/* ---- records ---- */

static void a_record_that_was_damaged_is_noticed(void **state)
{
    (void)state;
    const char *const urls[NOTIFY_COUNT] = { "http://a", NULL, "" };
    char *path, *read[NOTIFY_COUNT] = { 0 };
    CLEANUP(buf_release) struct buf record;
    buf_init(&record, 1000);
    redis_put_write("./ä", urls, &record);
    assert_int_equal(redis_put_read(record.data, record.len, &path, read, NULL), 0);
    assert_string_equal(path, "./ä");
    assert_string_equal(read[0], "http://a");
    assert_null(read[1]);
    assert_string_equal(read[2], "");
    free(path);
    free(read[0]);
    free(read[2]);
    for (size_t i = 0; i < record.len; i++) {
        struct err err;
        char saved = record.data[i];
        record.data[i] = (char)(saved ^ 0x10);
        assert_int_equal(redis_put_read(record.data, record.len, &path, read, &err), -1);
        record.data[i] = saved;
        assert_int_equal(redis_put_read(record.data, i, &path, read, &err), -1);
    }
    static const char *const states[] = { "",
                                          "0",
                                          "4 1 0 111 1 0 0 1 0 0 -",
                                          "0 1 0 119 1 0 0 1 0 0 -",
                                          "0 1 0 111 1 0 0 1 x 0 -",
                                          "0 1 0 111" };
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        struct redis_asset a;
        assert_int_equal(redis_asset_read(states[i], &a, NULL), -1);
    }
}

int main(void)
{
    log_setup(LOG_ERROR + 1, LOG_LOGFMT); /* what fails here fails on purpose */
    const struct CMUnitTest alone[] = {
        cmocka_unit_test(urls_say_where_a_redis_is),
        cmocka_unit_test(a_password_is_never_shown),
        cmocka_unit_test(a_record_that_was_damaged_is_noticed),
    };
    const struct CMUnitTest shared[] = {
        cmocka_unit_test(ids_of_many_processes_never_meet),
        cmocka_unit_test(who_lives_keeps_its_assets),
        cmocka_unit_test(who_died_loses_its_assets_and_events_and_the_deaths_are_counted),
        cmocka_unit_test(the_longest_lease_of_all_processes_holds),
        cmocka_unit_test(others_hear_of_work_and_of_changes),
        cmocka_unit_test(nobody_hears_of_what_he_does_not_want),
        cmocka_unit_test(a_start_that_was_told_may_wait_for_the_ending),
        cmocka_unit_test(without_memory_puts_are_refused_and_endings_are_not),
        cmocka_unit_test(lost_data_are_never_built_upon),
        cmocka_unit_test(wrong_data_in_a_key_are_told_and_stop_nothing_else),
        cmocka_unit_test(a_store_of_version_1_is_brought_up_to_date),
        cmocka_unit_test(a_program_of_version_1_that_still_runs_is_stopped),
        cmocka_unit_test(an_ending_sent_twice_for_want_of_an_answer_is_done),
        cmocka_unit_test(a_server_that_was_killed_has_all_that_it_answered),
    };
    int failed = cmocka_run_group_tests_name("redis", alone, NULL, NULL);
    return failed + world_run_redis("redis", shared, ARRAY_LEN(shared));
}
