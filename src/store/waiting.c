#include "store/waiting.h"

#include <stdlib.h>

enum { SHRINK_ABOVE = 65536 };

void waiting_release(struct waiting *w)
{
    free(w->fifo);
    free(w->heap);
    free(w->popped);
    *w = (struct waiting){ 0 };
}

static bool before(const struct waiting_item *a, const struct waiting_item *b)
{
    return a->time_ms != b->time_ms ? a->time_ms < b->time_ms : a->ref < b->ref;
}

static void sift_up(struct waiting *w, size_t i)
{
    struct waiting_item item = w->heap[i];
    for (; i > 0 && before(&item, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = item;
}

static void sift_down(struct waiting *w, size_t i)
{
    struct waiting_item item = w->heap[i];
    for (size_t child; (child = 2 * i + 1) < w->heap_n; i = child) {
        if (child + 1 < w->heap_n && before(&w->heap[child + 1], &w->heap[child]))
            child++;
        if (!before(&w->heap[child], &item))
            break;
        w->heap[i] = w->heap[child];
    }
    w->heap[i] = item;
}

static int reserve(struct waiting_item **items, size_t *cap, size_t n)
{
    if (n <= *cap)
        return 0;
    size_t new_cap = *cap ? 2 * *cap : 64;
    struct waiting_item *grown = reallocarray(*items, new_cap, sizeof(*grown));
    if (!grown)
        return -1;
    *items = grown;
    *cap = new_cap;
    return 0;
}

void waiting_begin(struct waiting *w)
{
    w->old_head = w->head;
    w->old_tail = w->tail;
    w->popped_n = 0;
    w->batch++;
}

void waiting_commit(struct waiting *w)
{
    waiting_begin(w);
    if (w->head == w->tail && w->fifo_cap > SHRINK_ABOVE) {
        free(w->fifo);
        w->fifo = NULL;
        w->fifo_cap = 0;
    }
}

void waiting_rollback(struct waiting *w)
{
    w->head = w->old_head;
    w->tail = w->old_tail;
    size_t n = 0;
    for (size_t i = 0; i < w->heap_n; i++)
        if (w->heap[i].batch != w->batch)
            w->heap[n++] = w->heap[i];
    for (size_t i = 0; i < w->popped_n; i++)
        if (w->popped[i].batch != w->batch)
            w->heap[n++] = w->popped[i]; /* has room: it was there before */
    w->heap_n = n;
    for (size_t i = n / 2; i-- > 0;)
        sift_down(w, i);
    waiting_begin(w);
}

static int grow_fifo(struct waiting *w)
{
    uint64_t cap = w->fifo_cap ? 2 * w->fifo_cap : 1024;
    struct waiting_item *grown = calloc(cap, sizeof(*grown));
    if (!grown)
        return -1;
    for (uint64_t i = w->old_head; i != w->tail; i++)
        grown[i & (cap - 1)] = w->fifo[i & (w->fifo_cap - 1)];
    free(w->fifo);
    w->fifo = grown;
    w->fifo_cap = cap;
    return 0;
}

int waiting_add(struct waiting *w, uint64_t ref, int64_t since_ms)
{
    if (w->tail - w->old_head >= w->fifo_cap && grow_fifo(w) < 0)
        return -1;
    w->fifo[w->tail++ & (w->fifo_cap - 1)] =
        (struct waiting_item){ .ref = ref, .time_ms = since_ms };
    return 0;
}

int waiting_give_back(struct waiting *w, uint64_t ref, int64_t not_before_ms)
{
    if (reserve(&w->heap, &w->heap_cap, w->heap_n + 1) < 0)
        return -1;
    w->heap[w->heap_n] =
        (struct waiting_item){ .ref = ref, .time_ms = not_before_ms, .batch = w->batch };
    sift_up(w, w->heap_n++);
    return 0;
}

static int take_from_heap(struct waiting *w, size_t i)
{
    if (reserve(&w->popped, &w->popped_cap, w->popped_n + 1) < 0)
        return -1;
    w->popped[w->popped_n++] = w->heap[i];
    w->heap_n--;
    if (i == w->heap_n)
        return 0;
    w->heap[i] = w->heap[w->heap_n];
    sift_down(w, i);
    sift_up(w, i);
    return 0;
}

int waiting_take(struct waiting *w, int64_t now_ms, struct waiting_item *ret_item)
{
    if (w->heap_n && w->heap[0].time_ms <= now_ms) {
        *ret_item = w->heap[0];
        return take_from_heap(w, 0) < 0 ? -1 : 1;
    }
    if (w->head == w->tail)
        return 0;
    *ret_item = w->fifo[w->head++ & (w->fifo_cap - 1)];
    return 1;
}

int waiting_withdraw(struct waiting *w, uint64_t ref)
{
    for (size_t i = 0; i < w->heap_n; i++)
        if (w->heap[i].ref == ref)
            return take_from_heap(w, i);
    return 0;
}

static int compare(const void *a, const void *b)
{
    return before(a, b) ? -1 : before(b, a);
}

void waiting_sort(struct waiting *w)
{
    /* head is 0 and the ring has never wrapped */
    bool sorted = true;
    for (uint64_t i = w->head + 1; sorted && i < w->tail; i++)
        sorted = !before(&w->fifo[i], &w->fifo[i - 1]);
    if (!sorted)
        qsort(w->fifo + w->head, w->tail - w->head, sizeof(*w->fifo), compare);
}

size_t waiting_count(const struct waiting *w)
{
    return (size_t)(w->tail - w->head) + w->heap_n;
}

bool waiting_next_ms(const struct waiting *w, int64_t *ret_ms)
{
    if (!w->heap_n)
        return false;
    *ret_ms = w->heap[0].time_ms;
    return true;
}

int64_t waiting_oldest_ms(const struct waiting *w)
{
    return w->head == w->tail ? 0 : w->fifo[w->head & (w->fifo_cap - 1)].time_ms;
}
