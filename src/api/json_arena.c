#include "api/json_arena.h"

#include <jansson.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

enum { FIRST_LEN = 8 * 1024, MORE_LEN = 64 * 1024 };

/* Room that is used from its beginning; the first is the thread's own. */
struct chunk {
    struct chunk *next; /* used up */
    size_t len, used;
    alignas(max_align_t) unsigned char data[];
};

static _Thread_local struct {
    bool open;
    struct chunk *more; /* NULL: first was enough so far */
    size_t used;        /* of first */
    alignas(max_align_t) unsigned char first[FIRST_LEN];
} arena;

static void *take(unsigned char *data, size_t len, size_t *used, size_t want)
{
    if (want > len - *used)
        return NULL;
    void *block = data + *used;
    *used += want;
    return block;
}

static void *arena_malloc(size_t len)
{
    if (!arena.open)
        return malloc(len);
    if (len > SIZE_MAX / 2)
        return NULL;
    len = (len + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
    void *block = arena.more ? take(arena.more->data, arena.more->len, &arena.more->used, len)
                             : take(arena.first, sizeof(arena.first), &arena.used, len);
    if (block)
        return block;
    size_t more_len = len > MORE_LEN ? len : MORE_LEN;
    struct chunk *more = malloc(sizeof(*more) + more_len);
    if (!more)
        return NULL;
    *more = (struct chunk){ .next = arena.more, .len = more_len, .used = len };
    arena.more = more;
    return more->data;
}

/* What is released meanwhile was made in the arena: nothing else is at hand while one is open. */
static void arena_free(void *block)
{
    if (!arena.open)
        free(block);
}

/* jansson wants to hear of it before anything is made. */
__attribute__((constructor)) static void use_arena(void)
{
    json_set_alloc_funcs(arena_malloc, arena_free);
}

void json_arena_begin(void)
{
    arena.open = true;
}

void json_arena_end(void)
{
    while (arena.more) {
        struct chunk *next = arena.more->next;
        free(arena.more);
        arena.more = next;
    }
    arena.used = 0;
    arena.open = false;
}
