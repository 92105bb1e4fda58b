/* How a store is looked after: brought up to date, backed up, proved to be sound. */
#include <sqlite3.h>
#include <sys/stat.h>

#include "support/store_world.h"

static int setup(void **state)
{
    static enum world_engine engine = WORLD_SQLITE;
    *state = &engine;
    return world_setup(state);
}

static int setup_redis(void **state)
{
    static enum world_engine engine = WORLD_REDIS;
    *state = &engine;
    return world_setup(state);
}

static const char *path_of(const struct world *w)
{
    return strchr(w->url, ':') + 1;
}

/* Somebody else's hand in the file. */
static void tamper(struct world *w, const char *sql)
{
    sqlite3 *db;
    char *text = NULL;
    assert_int_equal(sqlite3_open(path_of(w), &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &text) != SQLITE_OK)
        fail_msg("%s: %s", sql, text);
    (void)sqlite3_close(db);
}

/* Some of everything: queued, started, both endings, a retry, events in each state, a log, a key. */
static void live(struct world *w)
{
    static const uint8_t digest[IDEMPOTENCY_LEN] = { 1 };
    struct step keyed = put_step("./k.jpg", URL_OFF, URL_OFF, URL_OFF);
    keyed.u.put.idempotency_key = keyed.u.put.body_digest = digest;
    assert_int_equal(world_do(w, &keyed), STEP_DONE);
    for (int i = 0; i < 40; i++)
        (void)put_with(w, i % 3 ? URL_VALID : URL_ABSENT, URL_VALID,
                       i % 5 ? URL_VALID : URL_INVALID);
    for (int i = 0; i < 30; i++) {
        struct claim c = claim_one(w);
        if (i < 25)
            assert_int_equal(finish(w, &c, i & 1), STEP_DONE);
        if (i < 5)
            assert_int_equal(retry(w, c.id), STEP_DONE);
        struct leased_event e = lease_one(w);
        if (e.key && i % 3)
            assert_int_equal(delivered(w, e.key, i % 3 == 1 ? EVENT_DEAD : EVENT_DELIVERED, 0),
                             STEP_DONE);
    }
    struct step step = { .kind = STEP_RESEND, .u.resend.max = 1 };
    assert_int_equal(world_do(w, &step), STEP_DONE);
    assert_int_equal(prune(w, w->now_ms + 1, 3), 3);
    for (int i = 0; i < 3; i++) /* the feed's */
        (void)put_one(w);
}

static int verify(struct world *w, char report[4096])
{
    struct err err = { 0 };
    struct buf buf;
    buf_init(&buf, 4000);
    int rc = store_verify(w->store, &buf, &err);
    (void)snprintf(report, 4096, "%s%s", err.msg, buf_str(&buf));
    buf_release(&buf);
    return rc;
}

static void a_store_that_was_lived_in_is_sound(void **state)
{
    struct world *w = *state;
    char report[4096];
    live(w);
    for (int i = 0; i < 2; i++) {
        if (verify(w, report) != 1)
            fail_msg("%s", report);
        assert_non_null(strstr(report, "ok  every ending has its event\n"));
        assert_null(strstr(report, "NOT"));
        world_reopen(w);
    }
}

/* The report's line of the fact begins with NOT; how: what was done to the store. */
static void must_deny(const char *report, const char *fact, const char *how)
{
    const char *line = strstr(report, fact);
    if (!line)
        fail_msg("%s is not in: %s", fact, report);
    while (line > report && line[-1] != '\n')
        line--;
    if (strncmp(line, "NOT ", 4) != 0)
        fail_msg("%s: %s", how, report);
}

static void whatever_does_not_add_up_is_told(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *sql, *fact;
    } cases[] = {
        { "UPDATE counters SET queued = queued + 1, pruned = pruned - 1", "each asset is counted" },
        { "UPDATE counters SET pruned = pruned + 1", "accepted = queued" },
        { "UPDATE counters SET next_number = next_number + 1", "numbers were given out" },
        { "UPDATE counters SET events_dead = events_dead + 1", "each event is counted" },
        { "DELETE FROM results WHERE key = (SELECT max(key) FROM results)", "has one result" },
        { "INSERT INTO results SELECT 9999 << 16 | 3, 0, NULL, NULL",
          "every result has its asset" },
        { "DELETE FROM events WHERE key = (SELECT max(key) FROM events WHERE key & 1)",
          "every ending has its event" },
        { "UPDATE events SET notify = 3 - notify WHERE key = (SELECT max(key) FROM events WHERE "
          "key & 1)",
          "every ending has its event" },
        { "DELETE FROM events WHERE key = (SELECT max(key) FROM events WHERE key & 1 = 0)",
          "every start has its event" },
        { "INSERT INTO events SELECT number << 16 | 2, 0, 3, 0, 0, 0, 0, 0, 0, NULL FROM assets"
          " WHERE state = 2 AND run = 1 LIMIT 1",
          "what has not come to pass" },
        { "INSERT INTO events SELECT 9999 << 16 | 2, 0, 3, 0, 0, 0, 0, 0, 0, NULL",
          "every event has its asset" },
        { "UPDATE events SET state = 2 WHERE key = (SELECT max(e.key) FROM events e JOIN events s"
          " ON s.key = e.key - 1 WHERE e.key & 1 AND s.state = 4)",
          "waits only for a first attempt" },
        { "INSERT INTO attempts VALUES (9999, x'00')", "every log of attempts" },
        { "UPDATE counters SET oldest_open = 1000", "the queue at a start" },
        { "UPDATE feed SET entries = entries || x'0000000000000000' WHERE seq = (SELECT min(seq) "
          "FROM feed)",
          "no gap" },
        { "DELETE FROM feed WHERE seq = (SELECT max(seq) FROM feed)", "no gap" },
        { "DELETE FROM counters", "each asset is counted" },
    };
    char report[4096], copy[88];
    live(w);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        (void)snprintf(copy, sizeof(copy), "%s/data/copy%zu.db", w->folder, i);
        assert_int_equal(store_backup(w->store, copy, NULL), 0);
        struct world broken = *w;
        (void)snprintf(broken.url, sizeof(broken.url), "sqlite:%s", copy);
        world_open(&broken);
        tamper(&broken, cases[i].sql);
        if (verify(&broken, report) != 0)
            fail_msg("%s: %s", cases[i].sql, report);
        must_deny(report, cases[i].fact, cases[i].sql);
        store_close(broken.store);
    }
}

/* Numbers 1 to 5 are queued again, 12 succeeded, with its events, 26 to 30 are started,
 * 31 and more are queued; see live(). */
#define ASSAY(name) "'{assay:0}:" name "'"

static void whatever_does_not_add_up_in_a_redis_is_told(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *script, *fact;
    } cases[] = {
        { "redis.call('HSET'," ASSAY("a:12") ",'s','nonsense')", "a record that makes sense" },
        { "redis.call('SET'," ASSAY("p:12") ",'nonsense')", "a record that makes sense" },
        { "redis.call('SET'," ASSAY("p:12") ",'111 1 nonsense')", "a record that makes sense" },
        { "redis.call('DEL'," ASSAY("p:12") ")", "a record that makes sense" },
        { "redis.call('DEL'," ASSAY("p:40") ")", "a record that makes sense" },
        { "redis.call('DEL'," ASSAY("a:12") ")", "counted in its state, and in no" },
        { "redis.call('HSET'," ASSAY("a:12") ",'e1t','nonsense')", "a record that makes sense" },
        { "redis.call('ZADD'," ASSAY("in:0") ",12,12)", "counted in its state, and in no" },
        { "redis.call('ZADD'," ASSAY("in:0") ",40,40)", "counted in its state, and in no" },
        { "redis.call('HINCRBY'," ASSAY("count") ",'accepted',1)", "a record that makes sense" },
        { "redis.call('HINCRBY'," ASSAY("count") ",'taken',1)", "accepted = queued" },
        { "redis.call('HINCRBY'," ASSAY("count") ",'taken',-1)",
          "counted in its state, and in no" },
        { "redis.call('ZADD'," ASSAY("in:2") ",11,12)", "counted in its state, and in no" },
        { "redis.call('ZREM'," ASSAY("in:2") ",12)", "accepted = queued" },
        { "redis.call('HINCRBY'," ASSAY("count") ",'pruned',1)", "accepted = queued" },
        { "redis.call('ZADD'," ASSAY("in:2") ",9999,9999)", "numbers were given out" },
        { "redis.call('HINCRBY'," ASSAY("count") ",'ev2',1)", "each event is counted" },
        { "redis.call('HDEL'," ASSAY("a:12") ",'r1')", "has one result" },
        { "redis.call('HSET'," ASSAY("a:2") ",'r2','{}')", "has one result" },
        { "redis.call('HDEL'," ASSAY("a:12") ",'e1t')", "every ending has its event" },
        { "redis.call('HSET'," ASSAY("a:12") ",'e1t','2 2 1 1 1 1 204 1 ')",
          "every ending has its event" },
        { "redis.call('HDEL'," ASSAY("a:12") ",'e1s')", "every start has its event" },
        { "redis.call('HSET'," ASSAY("a:2") ",'e2s','2 0 1 1 1 1 204 1 ')",
          "what has not come to pass" },
        { "redis.call('HSET'," ASSAY(
              "a:12") ",'e1s','2 0 1 1 1 1 204 1 ','e1t','0 1 1 0 1 0 0 0 ')",
          "waits only for a first attempt" },
        { "redis.call('DEL'," ASSAY("due") "," ASSAY("leased") ")", "has its due time" },
        { "redis.call('DEL'," ASSAY("dead") ")", "every dead one its place" },
        { "redis.call('ZADD'," ASSAY("due") ",1,'00000000ffff0002')", "as many due times" },
        { "redis.call('ZADD'," ASSAY("dead") ",0,'00000000ffff0002')", "as many due times" },
        { "redis.call('HSET'," ASSAY("a:12") ",'l2s','')", "every log of attempts" },
        { "local s = redis.call('HGET'," ASSAY("a:30") ",'s')"
                                                       " redis.call('HSET'," ASSAY(
                                                           "a:30") ",'s',(s:gsub('%S+$','w')))",
          "held, or may be claimed" },
        { "local s = redis.call('HGET'," ASSAY("a:30") ",'s')"
                                                       " redis.call('HSET'," ASSAY(
                                                           "a:30") ",'s',(s:gsub('@%d+$','@99')))",
          "held, or may be claimed" },
        { "redis.call('XADD'," ASSAY("queue") ",'*','a','12 1 5')", "the queue is a queued asset" },
        { "redis.call('XADD'," ASSAY("queue") ",'*','a','40 1 5')", "the queue is a queued asset" },
        { "local last = redis.call('XREVRANGE'," ASSAY("queue") ",'+','-','COUNT',1)[1]"
                                                                " redis.call('XDEL'," ASSAY(
                                                                    "queue") ",last[1])",
          "the queue holds as many" },
        { "redis.call('XADD'," ASSAY("feed") ",'999999-0','t','1','f','1 1 0')", "no gap" },
        { "local third = redis.call('XRANGE'," ASSAY("feed") ",'-','+','COUNT',3)[3]"
                                                             " redis.call('XDEL'," ASSAY(
                                                                 "feed") ",third[1])",
          "no gap" },
    };
    char report[4096];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        store_close(TAKE(w->store));
        redis_server_clear();
        world_open(w);
        live(w);
        if (verify(w, report) != 1)
            fail_msg("before %s: %s", cases[i].script, report);
        (void)redis_server_eval(cases[i].script);
        if (verify(w, report) != 0)
            fail_msg("%s: %s", cases[i].script, report);
        must_deny(report, cases[i].fact, cases[i].script);
    }
}

static void more_than_one_part_is_walked(void **state)
{
    struct world *w = *state;
    char report[4096];
    for (int i = 0; i < 450; i++) {
        (void)put_one(w);
        struct claim c = i % 3 ? (struct claim){ 0 } : claim_one(w);
        if (c.number)
            assert_int_equal(finish(w, &c, i % 2), STEP_DONE);
    }
    if (verify(w, report) != 1)
        fail_msg("%s", report);
    for (int number = 1; number <= 450;
         number += 449) { /* one in the first part, one in the last */
        char script[128];
        (void)snprintf(script, sizeof(script), "redis.call('SET'," ASSAY("p:%d") ",'x')", number);
        (void)redis_server_eval(script);
    }
    assert_int_equal(verify(w, report), 0);
    assert_non_null(strstr(report, "2 against it"));
}

static void a_visitor_of_a_redis_changes_nothing_and_finds_the_same(void **state)
{
    struct world *w = *state;
    char report[4096], before[64];
    struct store *visitor;
    struct err err;
    live(w);
    (void)snprintf(before, sizeof(before), "%s", redis_server_ask("HGET {assay:0}:meta process"));
    struct world other = *w;
    assert_int_equal(store_visit(w->url, NULL, &other.store, NULL), 0);
    if (verify(&other, report) != 1)
        fail_msg("%s", report);
    (void)redis_server_ask("ZADD {assay:0}:in:0 12 12");
    assert_int_equal(verify(&other, report), 0);
    assert_int_equal(store_backup(other.store, "/tmp/x.rdb", &err), -1);
    assert_int_equal(err.code, ERR_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "--rdb /tmp/x.rdb"));
    store_close(other.store);
    assert_string_equal(redis_server_ask("HGET {assay:0}:meta process"), before);
    assert_string_equal(redis_server_ask("ZCARD {assay:0}:beat"), "1");
    store_close(TAKE(w->store));
    redis_server_clear();
    assert_int_equal(store_visit(w->url, NULL, &visitor, &err), -1);
    assert_int_equal(err.code, ERR_ABSENT);
    assert_string_equal(redis_server_ask("DBSIZE"), "0");
    (void)redis_server_ask("HSET {assay:0}:meta version 99 key x");
    assert_int_equal(store_visit(w->url, NULL, &visitor, &err), -1);
    assert_non_null(strstr(err.msg, "99"));
}

static void a_backup_is_a_store_as_it_was(void **state)
{
    struct world *w = *state;
    char copy[88], report[4096];
    live(w);
    struct id there = put_one(w);
    struct store_stats before = stats_of(w);
    (void)snprintf(copy, sizeof(copy), "%s/data/copy.db", w->folder);
    assert_int_equal(store_backup(w->store, copy, NULL), 0);
    struct id later = put_one(w);
    struct stat st;
    assert_int_equal(stat(copy, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    struct world other = *w;
    (void)snprintf(other.url, sizeof(other.url), "sqlite:%s", copy);
    world_open(&other);
    struct store_stats after = stats_of(&other);
    after.rescued = before.rescued; /* these do not outlive a process */
    assert_memory_equal(&before, &after, sizeof(before));
    assert_true(exists(&other, there.text));
    assert_false(exists(&other, later.text));
    if (verify(&other, report) != 1)
        fail_msg("%s", report);
    store_close(other.store);
}

static void a_backup_writes_over_nothing_and_leaves_nothing_half_done(void **state)
{
    struct world *w = *state;
    struct err err;
    char path[128];
    assert_int_equal(store_backup(w->store, path_of(w), &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    (void)snprintf(path, sizeof(path), "%s/no/such/folder.db", w->folder);
    assert_int_equal(store_backup(w->store, path, &err), -1);
    (void)snprintf(path, sizeof(path), "%s/data/x.db.part", w->folder);
    FILE *other = fopen(path, "w"); /* somebody else's backup is under way */
    assert_non_null(other);
    (void)fclose(other);
    path[strlen(path) - strlen(".part")] = '\0';
    assert_int_equal(store_backup(w->store, path, &err), -1);
    assert_int_equal(access(path, F_OK), -1);
}

static void an_engine_without_backup_says_so(void **state)
{
    (void)state;
    struct world w;
    struct err err;
    struct buf report;
    buf_init(&report, 100);
    world_init(&w, WORLD_MEMORY);
    world_open(&w);
    assert_int_equal(store_backup(w.store, "/tmp/x", &err), -1);
    assert_int_equal(err.code, ERR_UNSUPPORTED);
    assert_int_equal(store_verify(w.store, &report, &err), -1);
    assert_int_equal(err.code, ERR_UNSUPPORTED);
    world_release(&w);
}

/* Make of it what the first version of this program would have left. */
static const char to_version_1[] =
    "ALTER TABLE counters DROP COLUMN feed_seq; DROP TABLE feed; DROP TABLE attempts;"
    "DROP INDEX events_dead; DROP TABLE idempotency; DROP TABLE samples; PRAGMA user_version = 1";

static void a_store_of_the_first_version_is_brought_up_to_date(void **state)
{
    struct world *w = *state;
    char report[4096];
    live(w);
    (void)put_one(w);
    struct store_stats before = stats_of(w);
    store_close(TAKE(w->store));
    tamper(w, to_version_1);
    world_open(w);
    struct store_stats after = stats_of(w);
    after.rescued = before.rescued; /* these do not outlive a process */
    assert_memory_equal(&before, &after, sizeof(before));
    if (verify(w, report) != 1)
        fail_msg("%s", report);
    live(w);
    if (verify(w, report) != 1)
        fail_msg("%s", report);
    struct event_query dead = { .by_state = true, .state = EVENT_DEAD, .limit = 1 };
    struct event_page page;
    assert_int_equal(store_events(w->store, &dead, &page, NULL), 0);
    assert_int_equal(page.n, 1);
    event_page_release(&page);
}

#define CARE(name) cmocka_unit_test_setup_teardown(name, setup, world_teardown)
#define REDIS_CARE(name) cmocka_unit_test_setup_teardown(name, setup_redis, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CARE(a_store_that_was_lived_in_is_sound),
        CARE(whatever_does_not_add_up_is_told),
        CARE(a_backup_is_a_store_as_it_was),
        CARE(a_backup_writes_over_nothing_and_leaves_nothing_half_done),
        CARE(a_store_of_the_first_version_is_brought_up_to_date),
        cmocka_unit_test(an_engine_without_backup_says_so),
    };
    const struct CMUnitTest redis_tests[] = {
        REDIS_CARE(a_store_that_was_lived_in_is_sound),
        REDIS_CARE(whatever_does_not_add_up_in_a_redis_is_told),
        REDIS_CARE(more_than_one_part_is_walked),
        REDIS_CARE(a_visitor_of_a_redis_changes_nothing_and_finds_the_same),
    };
    return cmocka_run_group_tests_name("store_care", tests, NULL, NULL) +
           world_run_redis("store_care", redis_tests, ARRAY_LEN(redis_tests));
}
