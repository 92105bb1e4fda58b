#include "store/low_mark.h"

#include <stdlib.h>

void low_mark_init(struct low_mark *m, uint64_t from)
{
    low_mark_release(m);
    m->first = from / 64;
    for (uint64_t number = m->first * 64; number < from; number++)
        low_mark_end(m, number);
}

void low_mark_release(struct low_mark *m)
{
    free(m->words);
    *m = (struct low_mark){ 0 };
}

static int reach(struct low_mark *m, uint64_t word)
{
    size_t cap = m->cap ? m->cap : 64;
    while (word - m->first >= cap)
        cap *= 2;
    if (cap == m->cap)
        return 0;
    uint64_t *words = calloc(cap, sizeof(*words));
    if (!words)
        return -1;
    for (uint64_t i = m->first; i < m->first + m->cap; i++)
        words[i & (cap - 1)] = m->words[i & (m->cap - 1)];
    free(m->words);
    m->words = words;
    m->cap = cap;
    return 0;
}

void low_mark_end(struct low_mark *m, uint64_t number)
{
    uint64_t word = number / 64;
    if (word < m->first || reach(m, word) < 0)
        return;
    m->words[word & (m->cap - 1)] |= (uint64_t)1 << (number % 64);
    while (m->words[m->first & (m->cap - 1)] == UINT64_MAX) {
        m->words[m->first & (m->cap - 1)] = 0;
        m->first++;
    }
}

uint64_t low_mark_value(const struct low_mark *m)
{
    return m->first * 64;
}
