#ifndef STORE_LEASED_H
#define STORE_LEASED_H
/* leased: which events are in the sender's hands, and until when. In memory only: a SQLite store has
 * one owner, so its leases end with it, and a lease costs the disk nothing.
 *
 * Like waiting.h: leased_begin(), changes, then leased_commit() or leased_rollback(). */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lease {
    uint64_t key; /* of the event; 0 in an empty slot */
    int64_t until_ms;
};

struct leased {
    struct lease *slots; /* open addressing, linear probing; cap is a power of two, half empty */
    size_t cap, n;
    struct lease *undo; /* key's lease before each change; until_ms NOT_LEASED: it had none */
    size_t undo_n, undo_cap;
};

/* All zero is an empty one. */
void leased_release(struct leased *l);
void leased_begin(struct leased *l);
void leased_rollback(struct leased *l);

/* -1 when memory runs out; nothing has changed then. */
int leased_set(struct leased *l, uint64_t key, int64_t until_ms);
int leased_remove(struct leased *l, uint64_t key);
/* Whether key is leased, even if its time is over. */
bool leased_find(const struct leased *l, uint64_t key, int64_t *ret_until_ms);
#endif
