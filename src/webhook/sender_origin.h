#ifndef WEBHOOK_SENDER_ORIGIN_H
#define WEBHOOK_SENDER_ORIGIN_H
/* sender_origin: who may be sent to next? Events wait in one list for each origin, and origins take
 * turns, so that none is kept waiting by another. Part of the sender; its thread only. No clock and no
 * I/O in here: now_ms is always the monotonic one.
 *
 *  1. At most `window` attempts run, at most `per_host` of them to one origin.
 *  2. Origins without a success in the last five minutes have at most half the window together: what
 *     hangs there for ten seconds at a time leaves the other half to those that answer.
 *  3. No more events wait for an origin than it can be expected to take in ten seconds, and those of
 *     origins without a success fill no more than half of what is held (HELD_WINDOWS × window) for
 *     longer than a second or two: memory, too, is left to those that answer. */
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "store/store.h"
#include "webhook/url.h"

/* One leased event on its way, with room for the step that reports its end. */
struct sending {
    struct sending *next; /* in its origin's list */
    struct origin *origin;
    struct event *event; /* owned */
    int64_t start_by_ms; /* later, its lease could end before the attempt does */
    struct step step;
};

/* What is known of one origin. Breakers belong here. */
struct origin {
    LIST_ENTRY(origin) in_bucket;
    TAILQ_ENTRY(origin) in_list; /* of the table's ready or idle lists, if in any */
    enum { ORIGIN_BLOCKED, ORIGIN_READY, ORIGIN_IDLE } place;
    struct sending *first, *last; /* waiting */
    unsigned waiting, running;
    bool proven;         /* had a success in the last five minutes, when last looked at */
    int64_t success_ms;  /* of the last one, monotonic */
    int64_t progress_ms; /* while something runs: when an attempt last ended, or the first began */
    int64_t mean_ms; /* how long its attempts take, recent ones count most; -1: none has ended */
    char name[URL_ORIGIN_LEN];
};

enum {
    HELD_WINDOWS = 4, /* so many windows of events may be held at once, whatever they do */
    ORIGIN_BUCKETS = 1024,
    ORIGIN_MAX_IDLE = 1024,
};
LIST_HEAD(origin_bucket, origin);
TAILQ_HEAD(origin_list, origin);

struct origins {
    unsigned window, per_host;
    unsigned running, running_unproven, waiting_unproven;
    bool crowded, was_crowded; /* by events of unproven origins, at the last look, the one before */
    struct origin_bucket buckets[ORIGIN_BUCKETS];
    struct origin_list ready[2]; /* by proven: something waits and per_host leaves room */
    struct origin_list idle;     /* nothing waits or runs; longest so first */
    unsigned n_idle;
    unsigned turn; /* which of the two ready lists is asked first */
};

void origins_init(struct origins *origins, unsigned window, unsigned per_host);
/* Nothing waits or runs any more. */
void origins_release(struct origins *origins);

/* The origin of that name, a new one if need be. NULL: no memory. */
struct origin *origins_get(struct origins *origins, const char *name);
/* Whether one more event may wait for it (rule 3). */
bool origins_has_room(const struct origins *origins, const struct origin *origin, int64_t now_ms);
void origins_push(struct origins *origins, struct origin *origin, struct sending *sending);
/* The next attempt to make, which from now on runs. NULL: none may start. */
struct sending *origins_next(struct origins *origins, int64_t now_ms);
/* A running attempt is over. ok: with success; duration_ms -1: it says nothing of the origin. */
void origins_ended(struct origins *origins, struct origin *origin, bool ok, int64_t duration_ms,
                   int64_t now_ms);
/* Take out all that waits and whose start_by_ms is at most by_ms, linked by next. */
struct sending *origins_take(struct origins *origins, int64_t by_ms);
/* Take out what waits against rule 3, linked by next. Called about once a second. */
struct sending *origins_take_crowd(struct origins *origins, int64_t now_ms);
#endif
