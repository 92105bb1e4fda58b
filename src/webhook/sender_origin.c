#include "webhook/sender_origin.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { PROVEN_FOR_MS = 5 * 60 * 1000, DRAIN_MS = 10 * 1000, LEAST_ROOM_ROUNDS = 4 };

void origins_init(struct origins *origins, unsigned window, unsigned per_host)
{
    *origins = (struct origins){ .window = window, .per_host = per_host };
    for (unsigned i = 0; i < ORIGIN_BUCKETS; i++)
        LIST_INIT(&origins->buckets[i]);
    TAILQ_INIT(&origins->ready[0]);
    TAILQ_INIT(&origins->ready[1]);
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
    uint32_t hash = 2166136261u; /* FNV-1a: idle origins are few, so crafted names gain nothing */
    for (const char *c = name; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    return &origins->buckets[hash % ORIGIN_BUCKETS];
}

static void leave_list(struct origins *origins, struct origin *origin)
{
    if (origin->place == ORIGIN_READY)
        TAILQ_REMOVE(&origins->ready[origin->proven], origin, in_list);
    else if (origin->place == ORIGIN_IDLE) {
        TAILQ_REMOVE(&origins->idle, origin, in_list);
        origins->n_idle--;
    }
    origin->place = ORIGIN_BLOCKED;
}

/* Put origin at the end of the list where it belongs now. */
static void enter_list(struct origins *origins, struct origin *origin)
{
    if (origin->waiting > 0 && origin->running < origins->per_host) {
        TAILQ_INSERT_TAIL(&origins->ready[origin->proven], origin, in_list);
        origin->place = ORIGIN_READY;
    } else if (origin->waiting == 0 && origin->running == 0) {
        TAILQ_INSERT_TAIL(&origins->idle, origin, in_list);
        origin->place = ORIGIN_IDLE;
        origins->n_idle++;
    }
}

/* Only while origin is in no list. */
static void set_proven(struct origins *origins, struct origin *origin, bool proven)
{
    assert(origin->place == ORIGIN_BLOCKED);
    if (origin->proven == proven)
        return;
    origin->proven = proven;
    if (proven) {
        origins->running_unproven -= origin->running;
        origins->waiting_unproven -= origin->waiting;
    } else {
        origins->running_unproven += origin->running;
        origins->waiting_unproven += origin->waiting;
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
    if (!origin->proven && origins->was_crowded &&
        origins->waiting_unproven >= room_of_unproven(origins))
        return false;
    return origin->waiting < room_of(origins, origin, now_ms);
}

static void count_waiting(struct origins *origins, struct origin *origin, int change)
{
    origin->waiting += (unsigned)change;
    if (!origin->proven)
        origins->waiting_unproven += (unsigned)change;
}

void origins_push(struct origins *origins, struct origin *origin, struct sending *sending)
{
    sending->origin = origin;
    sending->next = NULL;
    if (origin->waiting == 0)
        origin->first = sending;
    else
        origin->last->next = sending;
    origin->last = sending;
    count_waiting(origins, origin, 1);
    if (origin->place != ORIGIN_READY) { /* else it keeps its turn */
        leave_list(origins, origin);
        enter_list(origins, origin);
    }
}

/* The origin whose turn it is, out of its list. NULL: none may send. */
static struct origin *next_origin(struct origins *origins, int64_t now_ms)
{
    struct origin *origin;
    while ((origin = TAILQ_FIRST(&origins->ready[true])) != NULL &&
           now_ms - origin->success_ms > PROVEN_FOR_MS) {
        leave_list(origins, origin);
        set_proven(origins, origin, false);
        enter_list(origins, origin);
    }
    unsigned half = origins->window > 1 ? origins->window / 2 : 1;
    struct origin *by_proven[2] = {
        origins->running_unproven < half ? TAILQ_FIRST(&origins->ready[false]) : NULL,
        origin,
    };
    origin = by_proven[origins->turn];
    if (!origin)
        origin = by_proven[!origins->turn];
    if (!origin)
        return NULL;
    origins->turn = !origins->turn;
    leave_list(origins, origin);
    return origin;
}

struct sending *origins_next(struct origins *origins, int64_t now_ms)
{
    if (origins->running >= origins->window)
        return NULL;
    struct origin *origin = next_origin(origins, now_ms);
    if (!origin)
        return NULL;
    struct sending *sending = origin->first;
    origin->first = sending->next;
    sending->next = NULL;
    count_waiting(origins, origin, -1);
    if (origin->running++ == 0)
        origin->progress_ms = now_ms;
    origins->running++;
    if (!origin->proven)
        origins->running_unproven++;
    enter_list(origins, origin);
    return sending;
}

void origins_ended(struct origins *origins, struct origin *origin, bool ok, int64_t duration_ms,
                   int64_t now_ms)
{
    bool keeps_turn = origin->place == ORIGIN_READY && (origin->proven || !ok);
    assert(origin->running > 0);
    origin->progress_ms = now_ms;
    if (!keeps_turn)
        leave_list(origins, origin);
    origin->running--;
    origins->running--;
    if (!origin->proven)
        origins->running_unproven--;
    if (duration_ms >= 0)
        origin->mean_ms =
            origin->mean_ms < 0 ? duration_ms : (3 * origin->mean_ms + duration_ms) / 4;
    if (ok) {
        origin->success_ms = now_ms;
        if (!keeps_turn)
            set_proven(origins, origin, true);
    }
    if (!keeps_turn)
        enter_list(origins, origin);
}

/* Move the first n that wait for origin to the chain that ends at end; returns its new end. */
static struct sending **take_first(struct origins *origins, struct origin *origin, unsigned n,
                                   struct sending **end)
{
    leave_list(origins, origin);
    for (; n > 0; n--) {
        *end = origin->first;
        end = &origin->first->next;
        origin->first = *end;
        count_waiting(origins, origin, -1);
    }
    enter_list(origins, origin);
    return end;
}

/* The same with all but the first `keep`. */
static struct sending **take_rest(struct origins *origins, struct origin *origin, unsigned keep,
                                  struct sending **end)
{
    struct sending *last_kept = NULL, *first = origin->first, *last = origin->last;
    if (origin->waiting <= keep)
        return end;
    leave_list(origins, origin);
    for (unsigned i = 0; i < keep; i++) {
        last_kept = first;
        first = first->next;
    }
    *end = first;
    origin->last = last_kept;
    if (last_kept)
        last_kept->next = NULL;
    count_waiting(origins, origin, (int)keep - (int)origin->waiting);
    enter_list(origins, origin);
    return &last->next;
}

struct sending *origins_take(struct origins *origins, int64_t by_ms)
{
    struct sending *taken = NULL, **end = &taken;
    struct origin *origin;
    for (unsigned i = 0; i < ORIGIN_BUCKETS; i++) {
        LIST_FOREACH(origin, &origins->buckets[i], in_bucket)
        {
            unsigned n = 0;
            const struct sending *sending = origin->first;
            while (n < origin->waiting && sending->start_by_ms <= by_ms) {
                sending = sending->next;
                n++;
            }
            if (n > 0)
                end = take_first(origins, origin, n, end);
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
            unsigned keep = room_of(origins, origin, now_ms);
            bool crowds = !origin->proven && origins->crowded && origins->was_crowded &&
                          origins->waiting_unproven > most;
            if (crowds) {
                unsigned excess = origins->waiting_unproven - most;
                unsigned fewer = origin->waiting > excess ? origin->waiting - excess : 0;
                keep = keep < fewer ? keep : fewer;
            }
            end = take_rest(origins, origin, keep, end);
        }
    }
    *end = NULL;
    return taken;
}
