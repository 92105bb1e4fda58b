/* What the sender decides without a clock or a socket: when an event is tried again, and whose turn
 * it is. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "webhook/sender_origin.h"
#include "webhook/sender_schedule.h"

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)

static const int64_t NOW = INT64_C(1795507200000); /* 2026-11-24T08:00:00Z */

/* --- the schedule --- */

static struct answer failure(const char *word)
{
    return (struct answer){ .error = word, .retry_after_ms = RETRY_AFTER_NONE };
}

static void the_default_schedule_is_that_of_standard_webhooks(void **state)
{
    (void)state;
    static const int64_t pauses_ms[] = { 5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR,
                                         10 * HOUR,  14 * HOUR,  20 * HOUR,   24 * HOUR };
    struct schedule schedule;
    schedule_init(&schedule, NULL, 0);
    const struct answer answer = failure("timeout");
    for (unsigned i = 0; i < ARRAY_LEN(pauses_ms); i++) {
        const struct {
            uint32_t random;
            int64_t percent;
        } rows[] = { { 0, 80 }, { UINT32_MAX, 120 } };
        for (size_t j = 0; j < ARRAY_LEN(rows); j++) {
            int64_t next_ms = 0;
            assert_int_equal(schedule_settle(&schedule, i, &answer, NOW, rows[j].random, &next_ms),
                             EVENT_PENDING);
            assert_int_equal(next_ms - NOW, pauses_ms[i] * rows[j].percent / 100);
        }
    }
    int64_t next_ms;
    assert_int_equal(schedule_settle(&schedule, 9, &answer, NOW, 0, &next_ms), EVENT_DEAD);
    assert_int_equal(schedule_settle(&schedule, 1000, &answer, NOW, 0, &next_ms), EVENT_DEAD);
}

static void an_answer_decides_what_becomes_of_the_event(void **state)
{
    (void)state;
    const struct {
        struct answer answer;
        unsigned attempts;
        enum event_state expected;
        int64_t least_ms, most_ms; /* pause */
    } rows[] = {
        { { .status = 200, .retry_after_ms = 9 * HOUR }, 0, EVENT_DELIVERED, 0, 0 },
        { { .status = 204, .retry_after_ms = -1 }, 7, EVENT_DELIVERED, 0, 0 },
        { { .status = 410, .error = "status", .permanent = true, .retry_after_ms = 5 },
          0,
          EVENT_DEAD,
          0,
          0 },
        { { .error = "disallowed", .permanent = true, .retry_after_ms = -1 }, 0, EVENT_DEAD, 0, 0 },
        { { .status = 500, .error = "status", .retry_after_ms = -1 }, 0, EVENT_PENDING, 80, 120 },
        { { .status = 500, .error = "status", .retry_after_ms = -1 }, 1, EVENT_PENDING, 160, 240 },
        { { .status = 500, .error = "status", .retry_after_ms = -1 }, 2, EVENT_DEAD, 0, 0 },
        { { .status = 503, .error = "status", .retry_after_ms = HOUR },
          0,
          EVENT_PENDING,
          HOUR,
          HOUR },
        { { .status = 503, .error = "status", .retry_after_ms = 0 }, 0, EVENT_PENDING, 80, 120 },
        { { .status = 503, .error = "status", .retry_after_ms = 10 }, 0, EVENT_PENDING, 80, 120 },
    };
    static const int64_t delays_ms[] = { 100, 200 };
    struct schedule schedule;
    schedule_init(&schedule, delays_ms, ARRAY_LEN(delays_ms));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (uint32_t random = 0; random < UINT32_MAX - 100000000; random += 100000000) {
            int64_t next_ms = NOW;
            enum event_state got = schedule_settle(&schedule, rows[i].attempts, &rows[i].answer,
                                                   NOW, random, &next_ms);
            assert_int_equal(got, rows[i].expected);
            if (got == EVENT_PENDING)
                assert_in_range(next_ms - NOW, rows[i].least_ms, rows[i].most_ms);
        }
    }
}

static void retry_after_is_seconds_or_a_date_and_at_most_a_day(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        int64_t expected_ms;
    } rows[] = {
        { "", RETRY_AFTER_NONE },
        { "0", 0 },
        { "7", 7 * SECOND },
        { "007", 7 * SECOND },
        { "86400", 24 * HOUR },
        { "86401", 24 * HOUR },
        { "99999999999999999999999", 24 * HOUR },
        { "-1", RETRY_AFTER_NONE },
        { "+1", RETRY_AFTER_NONE },
        { "1.5", RETRY_AFTER_NONE },
        { "7 s", RETRY_AFTER_NONE },
        { "soon", RETRY_AFTER_NONE },
        { "Soon", RETRY_AFTER_NONE },
        { "12:00:00", RETRY_AFTER_NONE },
        { "Tue, 24 Nov 2026 08:00:30 GMT", 30 * SECOND },
        { "Tuesday, 24-Nov-26 08:00:30 GMT", 30 * SECOND },
        { "Tue Nov 24 08:00:30 2026", 30 * SECOND },
        { "Tue, 24 Nov 2026 07:00:00 GMT", 0 },
        { "Thu, 01 Jan 1970 00:00:00 GMT", 0 },
        { "Wed, 24 Nov 2027 08:00:00 GMT", 24 * HOUR },
        { "Fri, 31 Dec 9999 23:59:59 GMT", 24 * HOUR },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t got = schedule_retry_after(rows[i].value, NOW);
        if (got != rows[i].expected_ms)
            fail_msg("'%s': %lld", rows[i].value, (long long)got);
    }
}

/* --- whose turn it is --- */

enum { MANY = 64 };

static struct origin *get(struct origins *o, const char *name)
{
    struct origin *origin = origins_get(o, name);
    assert_non_null(origin);
    return origin;
}

static void push(struct origins *o, const char *name, struct sending *attempts, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        origins_push(o, get(o, name), &attempts[i]);
}

/* The first letters of the names of those who start now, in order. */
static const char *starts(struct origins *o, int64_t now_ms)
{
    static char text[MANY * 4];
    size_t n = 0;
    struct sending *sending;
    while ((sending = origins_next(o, true, now_ms)) != NULL)
        text[n++] = sending->origin->name[0];
    text[n] = '\0';
    return text;
}

static void finish(struct origins *o, const char *name, unsigned n, bool ok, int64_t ms,
                   int64_t now_ms)
{
    for (unsigned i = 0; i < n; i++)
        origins_ended(o, get(o, name), ok, ms, now_ms);
}

/* name's origin gets a success at now_ms. */
static void prove(struct origins *o, const char *name, int64_t now_ms)
{
    struct sending one = { 0 };
    push(o, name, &one, 1);
    assert_int_equal(strlen(starts(o, now_ms)), 1);
    finish(o, name, 1, true, 1, now_ms);
}

static void origins_take_turns_up_to_their_limit(void **state)
{
    (void)state;
    struct origins o;
    struct sending a[MANY] = { 0 }, b[MANY] = { 0 }, c[MANY] = { 0 };
    origins_init(&o, 100, (100 + 1) / 2, 3, NULL);
    prove(&o, "a", 0);
    prove(&o, "b", 0);
    prove(&o, "c", 0);
    push(&o, "a", a, 5);
    push(&o, "b", b, 2);
    push(&o, "c", c, 4);
    assert_string_equal(starts(&o, 0), "abcabcac");
    assert_string_equal(starts(&o, 0), "");
    finish(&o, "c", 1, false, 1, 0);
    assert_string_equal(starts(&o, 0), "c");
    finish(&o, "a", 2, true, 1, 0);
    assert_string_equal(starts(&o, 0), "aa");
    finish(&o, "a", 3, true, 1, 0);
    finish(&o, "b", 2, true, 1, 0);
    finish(&o, "c", 3, false, 1, 0);
    assert_int_equal(o.running, 0);
    assert_int_equal(o.running_unproven, 0);
    origins_release(&o);
}

static void an_origins_events_keep_their_order(void **state)
{
    (void)state;
    struct origins o;
    struct sending a[4] = { 0 };
    origins_init(&o, 4, (4 + 1) / 2, 4, NULL);
    prove(&o, "a", 0);
    push(&o, "a", a, 2);
    assert_ptr_equal(origins_next(&o, true, 0), &a[0]);
    push(&o, "a", a + 2, 2);
    assert_ptr_equal(origins_next(&o, true, 0), &a[1]);
    finish(&o, "a", 2, true, 1, 0);
    assert_ptr_equal(origins_next(&o, true, 0), &a[2]);
    assert_ptr_equal(origins_next(&o, true, 0), &a[3]);
    finish(&o, "a", 2, true, 1, 0);
    origins_release(&o);
}

static void origins_that_never_answered_have_a_window_of_their_own(void **state)
{
    (void)state;
    struct origins o;
    struct sending a[MANY] = { 0 }, b[MANY] = { 0 }, c[MANY] = { 0 }, d[MANY] = { 0 };
    origins_init(&o, 8, (8 + 1) / 2, 8, NULL);
    prove(&o, "c", 0);
    push(&o, "a", a, 8);
    push(&o, "b", b, 8);
    push(&o, "d", d, 8);
    assert_string_equal(starts(&o, 0), "abda"); /* each two at most, four together */
    push(&o, "c", c, 8);                        /* the whole window is free for it */
    assert_string_equal(starts(&o, 0), "cccccccc");
    finish(&o, "c", 8, true, 1, 0);
    push(&o, "c", c, 8);
    finish(&o, "a", 1, true, 1, 0); /* a has proven itself: what it runs counts no more */
    assert_int_equal(o.running_unproven, 2);
    /* a and c alternate with b and d as far as those may */
    const char *text = starts(&o, 0);
    assert_int_equal(strlen(text), 9);
    assert_int_equal(o.running, 12);
    assert_int_equal(o.running_unproven, 4);
    struct sending *left;
    while ((left = origins_take(&o, INT64_MAX)) != NULL)
        ;
    for (const char *name = "abcd"; *name; name++) {
        const char text_name[2] = { *name, '\0' };
        finish(&o, text_name, get(&o, text_name)->running, false, -1, 0);
    }
    assert_int_equal(o.running_unproven, 0);
    origins_release(&o);
}

static void a_window_of_one_still_serves_new_origins(void **state)
{
    (void)state;
    struct origins o;
    struct sending a[2] = { 0 };
    origins_init(&o, 1, (1 + 1) / 2, 4, NULL);
    push(&o, "a", a, 2);
    assert_string_equal(starts(&o, 0), "a");
    finish(&o, "a", 1, false, 1, 0);
    assert_string_equal(starts(&o, 0), "a");
    finish(&o, "a", 1, false, 1, 0);
    origins_release(&o);
}

static void a_success_counts_for_five_minutes(void **state)
{
    (void)state;
    struct origins o;
    struct sending a[MANY] = { 0 };
    origins_init(&o, 8, (8 + 1) / 2, 8, NULL);
    prove(&o, "a", 1000);
    push(&o, "a", a, 8);
    assert_string_equal(starts(&o, 1000 + 5 * MINUTE), "aaaaaaaa");
    finish(&o, "a", 8, false, 1, 1000 + 5 * MINUTE);
    push(&o, "a", a, 8);
    assert_string_equal(starts(&o, 1001 + 5 * MINUTE), "aa");
    finish(&o, "a", 2, true, 1, 1001 + 5 * MINUTE);
    assert_string_equal(starts(&o, 1001 + 5 * MINUTE), "aaaaaa");
    finish(&o, "a", 6, false, 1, 1001 + 5 * MINUTE);
    assert_int_equal(o.running_unproven, 0);
    origins_release(&o);
}

static void an_origin_holds_what_it_can_take_in_ten_seconds(void **state)
{
    (void)state;
    static const struct {
        int64_t duration_ms; /* of an attempt that has ended; -1: none has */
        int64_t running_ms;  /* of one that runs; -1: none does */
        unsigned room;
    } rows[] = {
        { -1, -1, 20000 }, { -1, 1000, 20 }, { -1, 60000, 8 }, /* never less than four rounds */
        { 10000, -1, 8 },  { 500, -1, 40 },  { 500, 100, 40 },
        { 500, 1000, 20 }, { 3, -1, 6666 },  { 0, -1, 20000 },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct origins o;
        struct sending a[2] = { 0 };
        origins_init(&o, 16, (16 + 1) / 2, 2, NULL);
        if (rows[i].duration_ms >= 0) {
            push(&o, "a", a, 1);
            assert_string_equal(starts(&o, 0), "a");
            finish(&o, "a", 1, false, rows[i].duration_ms, 0);
        }
        bool running = rows[i].running_ms >= 0;
        if (running) {
            push(&o, "a", a + 1, 1);
            assert_string_equal(starts(&o, 0), "a");
        }
        struct origin *origin = get(&o, "a");
        int64_t now_ms = running ? rows[i].running_ms : 99999;
        origin->waiting[0].n = rows[i].room - 1;
        assert_true(origins_has_room(&o, origin, now_ms));
        origin->waiting[0].n = rows[i].room;
        assert_false(origins_has_room(&o, origin, now_ms));
        origin->waiting[0].n = 0;
        if (running)
            finish(&o, "a", 1, false, -1, 0);
        origins_release(&o);
    }
}

static unsigned length(const struct sending *chain)
{
    unsigned n = 0;
    for (; chain; chain = chain->next)
        n++;
    return n;
}

static void who_turns_out_to_be_slow_loses_the_youngest_of_its_queue(void **state)
{
    (void)state;
    struct origins o;
    struct sending a[MANY] = { 0 }, b[MANY] = { 0 };
    origins_init(&o, 64, (64 + 1) / 2, 2, NULL);
    push(&o, "a", a, 32);
    push(&o, "b", b, 8);
    assert_string_equal(starts(&o, 0), "abab");
    assert_null(origins_take_crowd(&o, 1)); /* too early to tell */
    finish(&o, "b", 1, true, 1, 1000);
    struct sending *taken = origins_take_crowd(&o, 1000);
    assert_int_equal(length(taken), 10); /* of a: in ten seconds it takes 20 of its 30 */
    assert_ptr_equal(taken, &a[22]);
    assert_null(origins_take_crowd(&o, 1000));
    push(&o, "a", a + 22, 1); /* behind the last that stayed */
    finish(&o, "a", 2, true, 1, 1000);
    unsigned n = 0;
    for (struct sending *next; (next = origins_next(&o, true, 1000)) != NULL; n++) {
        if (next->origin->name[0] == 'a')
            assert_true(next <= &a[22]);
        finish(&o, next->origin->name, 1, true, 1, 1000);
    }
    assert_int_equal(n, 21 + 6);
    finish(&o, "b", 1, true, 1, 1000);
    assert_int_equal(o.waiting_unproven, 0);
    origins_release(&o);
}

static void unproven_origins_do_not_fill_the_memory_for_long(void **state)
{
    (void)state;
    struct origins o;
    struct sending attempts[MANY][4] = { 0 }, good[2] = { 0 };
    char name[16];
    origins_init(&o, 16, (16 + 1) / 2, 1,
                 NULL); /* 64 may be held, 32 of them by origins without a success */
    prove(&o, "good", 0);
    for (unsigned i = 0; i < 12; i++) {
        (void)snprintf(name, sizeof(name), "dead%u", i);
        push(&o, name, attempts[i], 4);
    }
    push(&o, "good", good, 1);
    assert_null(origins_take_crowd(&o, 1)); /* perhaps they are only new */
    assert_true(origins_has_room(&o, get(&o, "dead12"), 1));
    assert_int_equal(length(origins_take_crowd(&o, 1001)), 12 * 4 - 32);
    assert_int_equal(o.waiting_unproven, 32);
    assert_false(origins_has_room(&o, get(&o, "dead12"), 1001));
    assert_true(origins_has_room(&o, get(&o, "good"), 1001));
    assert_int_equal(get(&o, "good")->waiting[0].n, 1);
    assert_int_equal(length(origins_take(&o, INT64_MAX)), 33);
    assert_int_equal(o.waiting_unproven, 0);
    assert_null(origins_take_crowd(&o, 2001));
    assert_null(origins_take_crowd(&o, 3001));
    assert_true(origins_has_room(&o, get(&o, "dead12"), 3001));
    origins_release(&o);
}

static void what_waited_too_long_is_taken_out(void **state)
{
    (void)state;
    struct origins o;
    struct sending a[3] = { 0 }, b[1] = { 0 };
    origins_init(&o, 4, (4 + 1) / 2, 1, NULL);
    for (int i = 0; i < 3; i++)
        a[i].start_by_ms = 100 * (i + 1);
    b[0].start_by_ms = 150;
    push(&o, "a", a, 3);
    push(&o, "b", b, 1);
    assert_null(origins_take(&o, 99));
    struct sending *taken = origins_take(&o, 200);
    unsigned n = 0;
    for (; taken; taken = taken->next, n++)
        assert_true(taken != &a[2]);
    assert_int_equal(n, 3);
    assert_string_equal(starts(&o, 201), "a");
    finish(&o, "a", 1, true, 1, 201);
    assert_null(origins_take(&o, INT64_MAX));
    origins_release(&o);
}

static void idle_origins_are_forgotten_but_never_busy_ones(void **state)
{
    (void)state;
    struct origins o;
    struct sending busy[2] = { 0 };
    char name[32];
    origins_init(&o, 4, (4 + 1) / 2, 1, NULL);
    push(&o, "busy", busy, 2);
    assert_string_equal(starts(&o, 0), "b");
    prove(&o, "old", 0);
    for (int i = 0; i < 3 * ORIGIN_MAX_IDLE; i++) {
        (void)snprintf(name, sizeof(name), "n%d", i);
        (void)get(&o, name);
        assert_true(o.n_idle <= ORIGIN_MAX_IDLE);
    }
    assert_false(get(&o, "old")->standing == STANDING_GOOD); /* a new one of that name */
    assert_int_equal(get(&o, "busy")->running, 1);
    finish(&o, "busy", 1, true, 1, 0);
    assert_string_equal(starts(&o, 0), "b");
    finish(&o, "busy", 1, true, 1, 0);
    origins_release(&o);
}

static void who_answers_at_once_gets_more_at_once(void **state)
{
    (void)state;
    struct origins o;
    struct sending a[MANY] = { 0 };
    origins_init(&o, 100, 50, 4, NULL);
    o.per_fast_host = 8;
    prove(&o, "a", 0);
    push(&o, "a", a, 20);
    assert_string_equal(starts(&o, 0), "aaaaaaaa");
    finish(&o, "a", 8, true, 1000, 0); /* slow now: the four of others */
    assert_string_equal(starts(&o, 0), "aaaa");
    finish(&o, "a", 4, true, 1, 0);
    assert_int_equal(get(&o, "a")->running, 0);
    while (*starts(&o, 0))
        finish(&o, "a", get(&o, "a")->running, true, 1, 0);
    origins_release(&o);
}

static void first_attempts_come_before_retries(void **state)
{
    (void)state;
    struct origins o;
    struct sending old[6] = { 0 }, fresh[3] = { 0 };
    origins_init(&o, 8, (8 + 1) / 2, 1, NULL);
    prove(&o, "a", 0);
    for (int i = 0; i < 6; i++)
        old[i].retry = true;
    push(&o, "a", old, 6);
    push(&o, "a", fresh, 3);
    struct sending *const expected[] = { &fresh[0], &fresh[1], &fresh[2], &old[0], &old[1] };
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        assert_ptr_equal(origins_next(&o, true, 0), expected[i]);
        finish(&o, "a", 1, true, 1, 0);
    }
    struct origin *origin = get(&o, "a");
    push(&o, "a", fresh, 3);
    origin->mean_ms = 2500; /* in ten seconds it takes four of the seven */
    struct sending *taken = origins_take_crowd(&o, 0);
    assert_ptr_equal(taken, &old[3]); /* the youngest retries go */
    assert_int_equal(length(taken), 3);
    assert_ptr_equal(origins_next(&o, true, 0), &fresh[0]);
    finish(&o, "a", 1, true, 1, 0);
    assert_int_equal(length(origins_take(&o, INT64_MAX)), 3);
    origins_release(&o);
}

static void new_origins_come_before_those_that_failed(void **state)
{
    (void)state;
    struct origins o;
    struct sending bad[4] = { 0 }, fresh[2] = { 0 };
    origins_init(&o, 4, (4 + 1) / 2, 2, NULL); /* two for those without a success */
    push(&o, "bad", bad, 2);
    assert_string_equal(starts(&o, 0), "bb");
    finish(&o, "bad", 2, false, 1, 0);
    push(&o, "bad", bad + 2, 2);
    push(&o, "new", fresh, 2);
    assert_string_equal(starts(&o, 0), "nn");
    finish(&o, "new", 2, true, 1, 0);
    assert_string_equal(starts(&o, 0), "bb");
    finish(&o, "bad", 2, false, 1, 0);
    origins_release(&o);
}

static void an_open_breaker_holds_its_origin_alone(void **state)
{
    (void)state;
    struct origins o;
    struct sending bad[MANY] = { 0 }, good[2] = { 0 };
    bool changed = false;
    origins_init(&o, 16, (16 + 1) / 2, 4, NULL);
    for (int i = 0; i < 10; i++) {
        push(&o, "bad", &bad[i], 1);
        assert_string_equal(starts(&o, 0), "b");
        changed = origins_ended(&o, get(&o, "bad"), false, 1, 0);
    }
    assert_true(changed);
    struct origin *origin = get(&o, "bad");
    assert_int_equal(origins_shut_ms(origin, 0), 30000);
    assert_int_equal(origins_turn_away_ms(origin, 0), 30000);
    assert_int_equal(origins_turn_away_ms(origin, 1000), 29010);
    push(&o, "bad", &bad[10], 2);
    push(&o, "good", good, 2);
    assert_string_equal(starts(&o, 0), "gg");
    finish(&o, "good", 2, true, 1, 0);
    assert_int_equal(length(origins_take_of(&o, origin)), 2);

    assert_int_equal(origins_shut_ms(origin, 30000), 0); /* half-open: one probe */
    push(&o, "bad", bad, 8);
    assert_string_equal(starts(&o, 30000), "b");
    assert_true(origins_ended(&o, origin, true, 1, 30001));
    assert_string_equal(starts(&o, 30001), "bbbb"); /* closed, and good */
    finish(&o, "bad", 4, true, 1, 30002);
    assert_string_equal(starts(&o, 30002), "bbb");
    finish(&o, "bad", 3, true, 1, 30003);
    origins_release(&o);
}

/* Windows of 256 and of 128; a good origin that gets an event every millisecond and answers in two; and, from a
 * second on, 1,000 others with one event each that take ten seconds to fail. In steps of a millisecond:
 * how long do the good one's events wait for their start? */
static void a_thousand_black_holes_delay_nobody(void **state)
{
    (void)state;
    enum { HOLES = 1000, STEPS = 30000, AT_ONCE = 4 };
    static struct sending holes[HOLES], good[STEPS];
    static int64_t ends_ms[HOLES];
    struct origins o;
    char name[16];
    int64_t pushed_ms[STEPS], good_ends_ms[AT_ONCE] = { 0 };
    struct sending *sending;
    unsigned next_good = 0, started_holes = 0, ended_holes = 0;
    int64_t longest_ms = 0;
    memset(holes, 0, sizeof(holes));
    memset(good, 0, sizeof(good));
    origins_init(&o, 256, (256 + 1) / 2, AT_ONCE, NULL);
    prove(&o, "good", 0);
    for (int64_t now_ms = 1; now_ms < STEPS; now_ms++) {
        for (int i = 0; i < AT_ONCE; i++)
            if (good_ends_ms[i] == now_ms)
                finish(&o, "good", 1, true, 2, now_ms);
        for (int i = 0; i < HOLES; i++)
            if (ends_ms[i] == now_ms) {
                (void)origins_ended(&o, holes[i].origin, false, 10000, now_ms);
                ended_holes++;
            }
        for (int i = 0; now_ms == 1000 && i < HOLES; i++) {
            (void)snprintf(name, sizeof(name), "hole%d", i);
            push(&o, name, &holes[i], 1);
        }
        pushed_ms[next_good] = now_ms;
        push(&o, "good", &good[next_good++], 1);
        while ((sending = origins_next(&o, true, now_ms)) != NULL) {
            if (sending >= good && sending < good + STEPS) {
                int64_t waited_ms = now_ms - pushed_ms[sending - good];
                longest_ms = longest_ms > waited_ms ? longest_ms : waited_ms;
                int i = 0;
                while (good_ends_ms[i] > now_ms)
                    i++;
                good_ends_ms[i] = now_ms + 2;
            } else {
                ends_ms[sending - holes] = now_ms + 10000;
                started_holes++;
            }
        }
        assert_true(o.running_unproven <= 128);
    }
    assert_int_equal(longest_ms, 0);
    assert_int_equal(started_holes, 3 * 128); /* theirs, every ten seconds */
    assert_int_equal(ended_holes, 2 * 128);
    for (struct sending *left = origins_take(&o, INT64_MAX); left; left = left->next)
        ;
    for (int i = 0; i < HOLES; i++)
        if (ends_ms[i] >= STEPS)
            (void)origins_ended(&o, holes[i].origin, false, -1, STEPS);
    while (get(&o, "good")->running > 0)
        finish(&o, "good", 1, true, 2, STEPS);
    origins_release(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_default_schedule_is_that_of_standard_webhooks),
        cmocka_unit_test(an_answer_decides_what_becomes_of_the_event),
        cmocka_unit_test(retry_after_is_seconds_or_a_date_and_at_most_a_day),
        cmocka_unit_test(origins_take_turns_up_to_their_limit),
        cmocka_unit_test(an_origins_events_keep_their_order),
        cmocka_unit_test(origins_that_never_answered_have_a_window_of_their_own),
        cmocka_unit_test(a_window_of_one_still_serves_new_origins),
        cmocka_unit_test(a_success_counts_for_five_minutes),
        cmocka_unit_test(an_origin_holds_what_it_can_take_in_ten_seconds),
        cmocka_unit_test(who_turns_out_to_be_slow_loses_the_youngest_of_its_queue),
        cmocka_unit_test(unproven_origins_do_not_fill_the_memory_for_long),
        cmocka_unit_test(what_waited_too_long_is_taken_out),
        cmocka_unit_test(who_answers_at_once_gets_more_at_once),
        cmocka_unit_test(first_attempts_come_before_retries),
        cmocka_unit_test(new_origins_come_before_those_that_failed),
        cmocka_unit_test(an_open_breaker_holds_its_origin_alone),
        cmocka_unit_test(a_thousand_black_holes_delay_nobody),
        cmocka_unit_test(idle_origins_are_forgotten_but_never_busy_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
