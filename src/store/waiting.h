#ifndef STORE_WAITING_H
#define STORE_WAITING_H
/* waiting: which assets wait for a worker, in memory, so that the queue costs the disk no index. Two
 * parts: *queued* assets first in, first out, and *started* ones that were given back, by the time
 * from which they may be claimed again; those that are due go before the queued ones.
 *
 * Every change belongs to a transaction: waiting_begin(), changes, then waiting_commit(), or
 * waiting_rollback(), which leaves everything as it was before. Used by the store thread only. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct waiting_item {
    uint64_t ref;    /* the run of an asset: number << 16 | run */
    int64_t time_ms; /* queued: since when; given back: from when on it may be claimed */
    uint64_t batch;  /* given back: the transaction that put it here */
};

struct waiting {
    struct waiting_item *fifo; /* ring of fifo_cap, a power of two; the items are head … tail-1 */
    uint64_t fifo_cap, head, tail;
    struct waiting_item *heap; /* given back; the earliest time_ms first, then the lowest ref */
    size_t heap_n, heap_cap;

    /* what a rollback needs */
    uint64_t old_head, old_tail; /* slots from old_head on are not written over before the commit */
    uint64_t batch;
    struct waiting_item *popped; /* from the heap in this transaction */
    size_t popped_n, popped_cap;
};

/* All zero is an empty one. */
void waiting_release(struct waiting *w);
void waiting_begin(struct waiting *w);
void waiting_commit(struct waiting *w);
void waiting_rollback(struct waiting *w);

/* Both -1 when memory runs out; nothing has changed then. */
int waiting_add(struct waiting *w, uint64_t ref, int64_t since_ms);
int waiting_give_back(struct waiting *w, uint64_t ref, int64_t not_before_ms);
/* The next one that may be claimed at now_ms: 1, 0 none, -1 out of memory. */
int waiting_take(struct waiting *w, int64_t now_ms, struct waiting_item *ret_item);

/* Take out one that was given back, if it is here. 0, or -1 out of memory. */
int waiting_withdraw(struct waiting *w, uint64_t ref);
/* Order the queued ones by since when they wait. After a start only, where they come by number. */
void waiting_sort(struct waiting *w);

/* How many may be claimed now or later. */
size_t waiting_count(const struct waiting *w);
/* When the earliest one that was given back may be claimed; false: there is none. */
bool waiting_next_ms(const struct waiting *w, int64_t *ret_ms);
/* Since when the queued one that is next has waited; 0: none is queued. */
int64_t waiting_oldest_ms(const struct waiting *w);
#endif
