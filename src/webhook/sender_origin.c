#include "webhook/sender_origin.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/hash.h"

enum {
    PROVEN_FOR_MS = 5 * 60 * 1000,
    DRAIN_MS = 10 * 1000,
    LEAST_ROOM_ROUNDS = 4,
    UNPROVEN_AT_ONCE = 2, /* not one: it may be a single path that hangs */
    TURN_AWAY_STEP_MS = 10,
    TURN_AWAY_SPAN_MS = 2 * 60 * 1000,
};

static unsigned waiting_of(const struct origin *origin)
{
    return origin->waiting[false].n + origin->waiting[true].n;
}

static bool is_good(const struct origin *origin)
{
    return origin->standing == STANDING_GOOD;
}

void origins_init(struct origins *origins, unsigned window, unsigned unproven, unsigned per_host,
                  const struct breaker_rule *rule)
{
    *origins = (struct origins){ .window = window, .unproven = unproven, .per_host = per_host };
    origins->per_fast_host = per_host;
    origins->rule = rule ? *rule : breaker_default_rule;
    for (unsigned i = 0; i < ORIGIN_BUCKETS; i++)
        LIST_INIT(&origins->buckets[i]);
    for (unsigned i = 0; i < ARRAY_LEN(origins->ready); i++)
        TAILQ_INIT(&origins->ready[i]);
    TAILQ_INIT(&origins->idle);
}

static void forget(struct origins *origins, struct origin *origin)
{
    TAILQ_REMOVE(&origins->idle, origin, in_list);
    LIST_REMOVE(origin, in_bucket);
    origins->n_idle--;
    free(origin);
}

void origins_release(struct origins *origins)
{
    while (!TAILQ_EMPTY(&origins->idle))
        forget(origins, TAILQ_FIRST(&origins->idle));
    for (unsigned i = 0; i < ORIGIN_BUCKETS; i++)
        assert(LIST_EMPTY(&origins->buckets[i]));
}

static struct origin_bucket *bucket_of(struct origins *origins, const char *name)
{
    /* idle origins are few, so crafted names gain nothing */
    return &origins->buckets[fnv1a(FNV1A_BEGIN, name, strlen(name)) % ORIGIN_BUCKETS];
}

static void leave_list(struct origins *origins, struct origin *origin)
{
    if (origin->place == ORIGIN_READY)
        TAILQ_REMOVE(&origins->ready[origin->standing], origin, in_list);
    else if (origin->place == ORIGIN_IDLE) {
        TAILQ_REMOVE(&origins->idle, origin, in_list);
        origins->n_idle--;
    }
    origin->place = ORIGIN_BLOCKED;
}

/* How many attempts at it may run at once. */
static unsigned limit_of(const struct origins *origins, const struct origin *origin)
{
    switch (origin->breaker.state) {
    case BREAKER_OPEN: /* until somebody asks when its time is over: origins_shut_ms() */
        return 0;
    case BREAKER_HALF_OPEN:
        return 1;
    case BREAKER_CLOSED:
        break;
    }
    if (is_good(origin) && origin->mean_ms <= FAST_MS &&
        origins->running - origins->running_unproven < origins->window / 4)
        return origins->per_fast_host;
    return is_good(origin) || origins->per_host < UNPROVEN_AT_ONCE ? origins->per_host
                                                                   : UNPROVEN_AT_ONCE;
}

/* Put origin at the end of the list where it belongs now. */
static void enter_list(struct origins *origins, struct origin *origin)
{
    if (waiting_of(origin) > 0 && origin->running < limit_of(origins, origin)) {
        TAILQ_INSERT_TAIL(&origins->ready[origin->standing], origin, in_list);
        origin->place = ORIGIN_READY;
    } else if (waiting_of(origin) == 0 && origin->running == 0) {
        TAILQ_INSERT_TAIL(&origins->idle, origin, in_list);
        origin->place = ORIGIN_IDLE;
        origins->n_idle++;
    }
}

/* Only while origin is in no list. */
static void set_standing(struct origins *origins, struct origin *origin, enum standing standing)
{
    assert(origin->place == ORIGIN_BLOCKED);
    bool was_good = is_good(origin);
    origin->standing = standing;
    if (was_good == is_good(origin))
        return;
    if (was_good) {
        origins->running_unproven += origin->running;
        origins->waiting_unproven += waiting_of(origin);
    } else {
        origins->running_unproven -= origin->running;
        origins->waiting_unproven -= waiting_of(origin);
    }
}

struct origin *origins_get(struct origins *origins, const char *name)
{
    struct origin_bucket *bucket = bucket_of(origins, name);
    struct origin *origin;
    LIST_FOREACH(origin, bucket, in_bucket)
    {
        if (strcmp(origin->name, name) == 0)
            return origin;
    }
    origin = calloc(1, sizeof(*origin));
    if (!origin)
        return NULL;
    /* Here and nowhere else: whoever holds an origin may trust that it stays. */
    while (origins->n_idle >= ORIGIN_MAX_IDLE)
        forget(origins, TAILQ_FIRST(&origins->idle));
    assert(strlen(name) < sizeof(origin->name));
    strcpy(origin->name, name);
    origin->mean_ms = -1;
    LIST_INSERT_HEAD(bucket, origin, in_bucket);
    /* Idle, and so forgotten one day, even if nothing is ever pushed. */
    enter_list(origins, origin);
    return origin;
}

/* How many events it can be expected to take in ten seconds. Of an origin that we know nothing of we
 * think well, until its first attempts take their time. */
static unsigned room_of(const struct origins *origins, const struct origin *origin, int64_t now_ms)
{
    int64_t attempt_ms = origin->mean_ms > 1 ? origin->mean_ms : 1;
    if (origin->running > 0 && now_ms - origin->progress_ms > attempt_ms)
        attempt_ms = now_ms - origin->progress_ms;
    int64_t room = (int64_t)origins->per_host * DRAIN_MS / attempt_ms;
    int64_t least = (int64_t)origins->per_host * LEAST_ROOM_ROUNDS;
    return (unsigned)(room > least ? room : least);
}

static unsigned room_of_unproven(const struct origins *origins)
{
    return origins->window * HELD_WINDOWS / 2;
}

bool origins_has_room(const struct origins *origins, const struct origin *origin, int64_t now_ms)
{
    if (!is_good(origin) && origins->was_crowded &&
        origins->waiting_unproven >= room_of_unproven(origins))
        return false;
    return waiting_of(origin) < room_of(origins, origin, now_ms);
}

int64_t origins_shut_ms(struct origin *origin, int64_t now_ms)
{
    struct breaker *b = &origin->breaker;
    (void)breaker_allows(b, now_ms); /* open → half-open: nothing waits for it yet */
    return b->state == BREAKER_OPEN ? b->until_ms - now_ms : 0;
}

int64_t origins_turn_away_ms(struct origin *origin, int64_t now_ms)
{
    int64_t behind_ms = (int64_t)origin->turned_away++ * TURN_AWAY_STEP_MS % TURN_AWAY_SPAN_MS;
    return origins_shut_ms(origin, now_ms) + behind_ms;
}

static void count_waiting(struct origins *origins, struct origin *origin, struct sendings *list,
                          int change)
{
    list->n += (unsigned)change;
    if (!is_good(origin))
        origins->waiting_unproven += (unsigned)change;
}

void origins_push(struct origins *origins, struct origin *origin, struct sending *sending)
{
    struct sendings *list = &origin->waiting[sending->retry];
    sending->origin = origin;
    sending->next = NULL;
    if (list->n == 0)
        list->first = sending;
    else
        list->last->next = sending;
    list->last = sending;
    count_waiting(origins, origin, list, 1);
    if (origin->place != ORIGIN_READY) { /* else it keeps its turn */
        leave_list(origins, origin);
        enter_list(origins, origin);
    }
}

/* Whose last success is too long ago is good no more. */
static void demote(struct origins *origins, int64_t now_ms)
{
    struct origin *origin;
    while ((origin = TAILQ_FIRST(&origins->ready[STANDING_GOOD])) != NULL &&
           now_ms - origin->success_ms > PROVEN_FOR_MS) {
        leave_list(origins, origin);
        set_standing(origins, origin, origin->failed_last ? STANDING_BAD : STANDING_NEW);
        enter_list(origins, origin);
    }
}

/* The origin whose turn it is, out of its list. NULL: none may send. */
static struct origin *next_origin(struct origins *origins, bool unproven, int64_t now_ms)
{
    demote(origins, now_ms);
    struct origin *good = NULL, *other = NULL;
    if (origins->running - origins->running_unproven < origins->window)
        good = TAILQ_FIRST(&origins->ready[STANDING_GOOD]);
    unproven &= origins->running_unproven < origins->unproven;
    if (unproven)
        other = TAILQ_FIRST(&origins->ready[STANDING_NEW]);
    if (unproven && !other)
        other = TAILQ_FIRST(&origins->ready[STANDING_BAD]);
    struct origin *origin = good && (origins->turn || !other) ? good : other;
    if (!origin)
        return NULL;
    origins->turn = !origins->turn;
    leave_list(origins, origin);
    return origin;
}

struct sending *origins_next(struct origins *origins, bool unproven, int64_t now_ms)
{
    struct origin *origin = next_origin(origins, unproven, now_ms);
    if (!origin)
        return NULL;
    struct sendings *list = &origin->waiting[origin->waiting[false].n == 0];
    struct sending *sending = list->first;
    list->first = sending->next;
    sending->next = NULL;
    count_waiting(origins, origin, list, -1);
    breaker_begin(&origin->breaker);
    if (origin->running++ == 0)
        origin->progress_ms = now_ms;
    origins->running++;
    if (!is_good(origin))
        origins->running_unproven++;
    enter_list(origins, origin);
    return sending;
}

bool origins_ended(struct origins *origins, struct origin *origin, bool ok, int64_t duration_ms,
                   int64_t now_ms)
{
    bool known = duration_ms >= 0;
    assert(origin->running > 0);
    bool changed = breaker_end(&origin->breaker, &origins->rule, known, ok, now_ms);
    enum standing standing = origin->standing;
    if (ok)
        standing = STANDING_GOOD;
    else if (known && !is_good(origin))
        standing = STANDING_BAD;
    bool keeps_turn = origin->place == ORIGIN_READY && standing == origin->standing && !changed;
    origin->progress_ms = now_ms;
    if (!keeps_turn)
        leave_list(origins, origin);
    origin->running--;
    origins->running--;
    if (!is_good(origin))
        origins->running_unproven--;
    if (known) {
        origin->mean_ms =
            origin->mean_ms < 0 ? duration_ms : (3 * origin->mean_ms + duration_ms) / 4;
        origin->failed_last = !ok;
    }
    if (ok)
        origin->success_ms = now_ms;
    if (changed)
        origin->turned_away = 0;
    if (!keeps_turn) {
        set_standing(origins, origin, standing);
        enter_list(origins, origin);
    }
    return changed;
}

/* Move the first n of list, which is one of origin's, to the chain that ends at end; its new end. */
static struct sending **take_first(struct origins *origins, struct origin *origin,
                                   struct sendings *list, unsigned n, struct sending **end)
{
    for (; n > 0; n--) {
        *end = list->first;
        end = &list->first->next;
        list->first = *end;
        count_waiting(origins, origin, list, -1);
    }
    return end;
}

/* The same with all but the first `keep`. */
static struct sending **take_rest(struct origins *origins, struct origin *origin,
                                  struct sendings *list, unsigned keep, struct sending **end)
{
    struct sending *last_kept = NULL, *first = list->first, *last = list->last;
    if (list->n <= keep)
        return end;
    for (unsigned i = 0; i < keep; i++) {
        last_kept = first;
        first = first->next;
    }
    *end = first;
    list->last = last_kept;
    if (last_kept)
        last_kept->next = NULL;
    count_waiting(origins, origin, list, (int)keep - (int)list->n);
    return &last->next;
}

struct sending *origins_take_of(struct origins *origins, struct origin *origin)
{
    struct sending *taken = NULL, **end = &taken;
    leave_list(origins, origin);
    for (int i = 0; i < 2; i++)
        end = take_rest(origins, origin, &origin->waiting[i], 0, end);
    enter_list(origins, origin);
    *end = NULL;
    return taken;
}

static unsigned overdue(const struct sendings *list, int64_t by_ms)
{
    unsigned n = 0;
    const struct sending *sending = list->first;
    while (n < list->n && sending->start_by_ms <= by_ms) {
        sending = sending->next;
        n++;
    }
    return n;
}

struct sending *origins_take(struct origins *origins, int64_t by_ms)
{
    struct sending *taken = NULL, **end = &taken;
    struct origin *origin;
    for (unsigned i = 0; i < ORIGIN_BUCKETS; i++) {
        LIST_FOREACH(origin, &origins->buckets[i], in_bucket)
        {
            unsigned n[2] = { overdue(&origin->waiting[0], by_ms),
                              overdue(&origin->waiting[1], by_ms) };
            if (n[0] + n[1] == 0)
                continue;
            leave_list(origins, origin);
            for (int j = 0; j < 2; j++)
                end = take_first(origins, origin, &origin->waiting[j], n[j], end);
            enter_list(origins, origin);
        }
    }
    *end = NULL;
    return taken;
}

struct sending *origins_take_crowd(struct origins *origins, int64_t now_ms)
{
    struct sending *taken = NULL, **end = &taken;
    struct origin *origin;
    unsigned most = room_of_unproven(origins);
    origins->was_crowded = origins->crowded;
    origins->crowded = origins->waiting_unproven >= most;
    for (unsigned i = 0; i < ORIGIN_BUCKETS; i++) {
        LIST_FOREACH(origin, &origins->buckets[i], in_bucket)
        {
            unsigned keep = room_of(origins, origin, now_ms), waiting = waiting_of(origin);
            bool crowds = !is_good(origin) && origins->crowded && origins->was_crowded &&
                          origins->waiting_unproven > most;
            if (crowds) {
                unsigned excess = origins->waiting_unproven - most;
                unsigned fewer = waiting > excess ? waiting - excess : 0;
                keep = keep < fewer ? keep : fewer;
            }
            if (waiting <= keep)
                continue;
            unsigned n = origin->waiting[false].n < keep ? origin->waiting[false].n : keep;
            leave_list(origins, origin);
            end = take_rest(origins, origin, &origin->waiting[false], n, end);
            end = take_rest(origins, origin, &origin->waiting[true], keep - n, end);
            enter_list(origins, origin);
        }
    }
    *end = NULL;
    return taken;
}

void origins_each_shut(struct origins *origins,
                       void (*visit)(const struct origin *origin, void *arg), void *arg)
{
    const struct origin *origin;
    for (unsigned i = 0; i < ORIGIN_BUCKETS; i++) {
        LIST_FOREACH(origin, &origins->buckets[i], in_bucket)
        {
            if (origin->breaker.state != BREAKER_CLOSED)
                visit(origin, arg);
        }
    }
}
