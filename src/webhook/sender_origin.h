#ifndef WEBHOOK_SENDER_ORIGIN_H
#define WEBHOOK_SENDER_ORIGIN_H
/* sender_origin: who may be sent to next? Events wait in lists for each origin, and origins take
 * turns, so that none is kept waiting by another. Part of the sender; its thread only. No clock and no
 * I/O in here: now_ms is always the monotonic one.
 *
 *  1. At most `window` attempts run to origins that had a success in the last five minutes, at most
 *     `per_host` of them to one, `per_fast_host` while its answers take no longer than FAST_MS
 *     and three quarters of the window are free.
 *  2. At the others at most `unproven` run, two to one: what hangs there for ten seconds takes nothing
 *     from those that answer, and there is room for many that hang and one that is only new. The new
 *     ones come before those that failed.
 *  3. No more events wait for an origin than it can be expected to take in ten seconds, and those of
 *     origins without a success fill no more than half of what is held (HELD_WINDOWS × window) for
 *     longer than a second or two: memory, too, is left to those that answer.
 *  4. Of one origin's events first attempts come before retries.
 *  5. Nothing is sent while an origin's breaker is open. */
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "store/store.h"
#include "webhook/breaker.h"
#include "client/url.h"

/* One leased event on its way, with room for the step that reports its end. */
struct sending {
    struct sending *next; /* in its origin's list */
    struct origin *origin;
    struct event *event; /* owned */
    bool retry;
    int64_t start_by_ms; /* later, its lease could end before the attempt does */
    char *answer;        /* owned: what the step's answer points to */
    struct step step;
};

struct sendings { /* a queue */
    struct sending *first, *last;
    unsigned n;
};

/* What is known of one origin. */
struct origin {
    LIST_ENTRY(origin) in_bucket;
    TAILQ_ENTRY(origin) in_list; /* of the table's ready or idle lists, if in any */
    enum { ORIGIN_BLOCKED, ORIGIN_READY, ORIGIN_IDLE } place;
    enum standing {
        STANDING_NEW,  /* no attempt has ended, or not for long */
        STANDING_BAD,  /* failed last, without a success in the last five minutes */
        STANDING_GOOD, /* had a success in the last five minutes, when last looked at */
    } standing;
    struct sendings waiting[2]; /* first attempts, retries */
    unsigned running;
    bool failed_last;
    int64_t success_ms;  /* of the last one, monotonic */
    int64_t progress_ms; /* while something runs: when an attempt last ended, or the first began */
    int64_t mean_ms; /* how long its attempts take, recent ones count most; -1: none has ended */
    struct breaker breaker;
    unsigned turned_away; /* events, since the breaker opened */
    char name[URL_ORIGIN_LEN];
};

enum {
    HELD_WINDOWS = 4, /* so many windows of events may be held at once, whatever they do */
    ORIGIN_BUCKETS = 1024,
    FAST_MS = 25,
    ORIGIN_MAX_IDLE = 1024,
};
LIST_HEAD(origin_bucket, origin);
TAILQ_HEAD(origin_list, origin);

struct origins {
    unsigned window, unproven, per_host;
    unsigned per_fast_host; /* origins_init() makes it per_host */
    struct breaker_rule rule;
    unsigned running, running_unproven, waiting_unproven;
    bool crowded, was_crowded; /* by events of unproven origins, at the last look, the one before */
    struct origin_bucket buckets[ORIGIN_BUCKETS];
    struct origin_list ready[STANDING_GOOD + 1]; /* something waits and rules 1 and 5 leave room */
    struct origin_list idle;                     /* nothing waits or runs; longest so first */
    unsigned n_idle;
    bool turn; /* of the good ones, when there are others too */
};

/* rule NULL: the default. */
void origins_init(struct origins *origins, unsigned window, unsigned unproven, unsigned per_host,
                  const struct breaker_rule *rule);
/* Nothing waits or runs any more. */
void origins_release(struct origins *origins);

/* The origin of that name, a new one if need be. NULL: no memory. */
struct origin *origins_get(struct origins *origins, const char *name);
/* Whether one more event may wait for it (rule 3). */
bool origins_has_room(const struct origins *origins, const struct origin *origin, int64_t now_ms);
/* How long nothing may be sent to it (rule 5); 0: something may. Asked before every push. */
int64_t origins_shut_ms(struct origin *origin, int64_t now_ms);
/* For how long one more event is turned away by an open breaker: until it is half-open, the others one
 * after another behind the first, so that they neither come all at once nor again and again. */
int64_t origins_turn_away_ms(struct origin *origin, int64_t now_ms);
void origins_push(struct origins *origins, struct origin *origin, struct sending *sending);
/* The next attempt to make, which from now on runs. NULL: none may start. unproven false: only at origins
 * that had a success. */
struct sending *origins_next(struct origins *origins, bool unproven, int64_t now_ms);
/* A running attempt is over. ok: with success; duration_ms -1: it says nothing of the origin. true: its
 * breaker has changed its state; if it is open now, take out what waits. */
bool origins_ended(struct origins *origins, struct origin *origin, bool ok, int64_t duration_ms,
                   int64_t now_ms);
/* Take out all that waits for origin, linked by next. */
struct sending *origins_take_of(struct origins *origins, struct origin *origin);
/* Take out all that waits and whose start_by_ms is at most by_ms, linked by next. */
struct sending *origins_take(struct origins *origins, int64_t by_ms);
/* Take out what waits against rule 3, linked by next. Called about once a second. */
struct sending *origins_take_crowd(struct origins *origins, int64_t now_ms);
/* Call visit for every origin whose breaker is not closed. */
void origins_each_shut(struct origins *origins,
                       void (*visit)(const struct origin *origin, void *arg), void *arg);
#endif
