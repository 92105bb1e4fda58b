#include "store/leased.h"

#include <stdlib.h>

#define NOT_LEASED INT64_MIN

void leased_release(struct leased *l)
{
    free(l->slots);
    free(l->undo);
    *l = (struct leased){ 0 };
}

static size_t home(const struct leased *l, uint64_t key)
{
    return (size_t)((key * 0x9e3779b97f4a7c15u) >> 32) & (l->cap - 1);
}

/* The slot that holds key, or the empty one where it belongs. */
static struct lease *slot_of(const struct leased *l, uint64_t key)
{
    size_t i = home(l, key);
    while (l->slots[i].key && l->slots[i].key != key)
        i = (i + 1) & (l->cap - 1);
    return &l->slots[i];
}

bool leased_find(const struct leased *l, uint64_t key, int64_t *ret_until_ms)
{
    if (!l->n)
        return false;
    const struct lease *slot = slot_of(l, key);
    *ret_until_ms = slot->until_ms;
    return slot->key != 0;
}

static int grow(struct leased *l)
{
    struct leased bigger = *l;
    bigger.cap = l->cap ? 2 * l->cap : 256;
    bigger.slots = calloc(bigger.cap, sizeof(*bigger.slots));
    if (!bigger.slots)
        return -1;
    for (size_t i = 0; i < l->cap; i++)
        if (l->slots[i].key)
            *slot_of(&bigger, l->slots[i].key) = l->slots[i];
    free(l->slots);
    *l = bigger;
    return 0;
}

static int remember(struct leased *l, uint64_t key)
{
    if (l->undo_n == l->undo_cap) {
        size_t cap = l->undo_cap ? 2 * l->undo_cap : 256;
        struct lease *grown = reallocarray(l->undo, cap, sizeof(*grown));
        if (!grown)
            return -1;
        l->undo = grown;
        l->undo_cap = cap;
    }
    int64_t until_ms;
    if (!leased_find(l, key, &until_ms))
        until_ms = NOT_LEASED;
    l->undo[l->undo_n++] = (struct lease){ key, until_ms };
    return 0;
}

static void put(struct leased *l, uint64_t key, int64_t until_ms)
{
    struct lease *slot = slot_of(l, key);
    l->n += slot->key == 0;
    *slot = (struct lease){ key, until_ms };
}

/* Empty key's slot and close the gap, so that probing needs no tombstones (Knuth, 6.4, algorithm R). */
static void drop(struct leased *l, uint64_t key)
{
    if (!l->n)
        return;
    struct lease *slot = slot_of(l, key);
    if (!slot->key)
        return;
    size_t gap = (size_t)(slot - l->slots), mask = l->cap - 1;
    for (size_t i = (gap + 1) & mask; l->slots[i].key; i = (i + 1) & mask) {
        if (((i - home(l, l->slots[i].key)) & mask) >= ((i - gap) & mask)) {
            l->slots[gap] = l->slots[i];
            gap = i;
        }
    }
    l->slots[gap].key = 0;
    l->n--;
}

void leased_begin(struct leased *l)
{
    l->undo_n = 0;
}

void leased_rollback(struct leased *l)
{
    while (l->undo_n) {
        const struct lease *old = &l->undo[--l->undo_n];
        if (old->until_ms == NOT_LEASED)
            drop(l, old->key);
        else
            put(l, old->key, old->until_ms); /* has room: it was there before */
    }
}

int leased_set(struct leased *l, uint64_t key, int64_t until_ms)
{
    if (2 * (l->n + 1) > l->cap && grow(l) < 0)
        return -1;
    if (remember(l, key) < 0)
        return -1;
    put(l, key, until_ms);
    return 0;
}

int leased_remove(struct leased *l, uint64_t key)
{
    if (remember(l, key) < 0)
        return -1;
    drop(l, key);
    return 0;
}
