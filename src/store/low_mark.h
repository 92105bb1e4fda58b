#ifndef STORE_LOW_MARK_H
#define STORE_LOW_MARK_H
/* low_mark: a lower bound of the numbers of assets that have not ended, so that a store that opens
 * need not look at older ones. One bit a number, from the oldest open one to the newest. */
#include <stddef.h>
#include <stdint.h>

struct low_mark {
    uint64_t *words; /* ring of cap, a power of two; bit n of word w: number 64·w + n has ended */
    size_t cap;
    uint64_t first; /* all numbers below 64·first have ended */
};

/* All zero is one that has seen nothing end. */
void low_mark_init(struct low_mark *m, uint64_t from);
void low_mark_release(struct low_mark *m);
/* number has ended. Without memory the mark just stays where it is until the store opens again. */
void low_mark_end(struct low_mark *m, uint64_t number);
uint64_t low_mark_value(const struct low_mark *m);
#endif
