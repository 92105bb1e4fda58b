#ifndef SUPPORT_STORE_MEMORY_DISK_H
#define SUPPORT_STORE_MEMORY_DISK_H
/* store_memory_disk: what the plain store holds, and how it finds things; private to store_memory*.c. */
#include <stdlib.h>
#include <string.h>

#include "base/permute.h"
#include "store/webhook_id.h"
#include "support/store_memory.h"

struct memory_asset {
    bool pruned;
    enum asset_state state;
    unsigned run, attempts;
    char *path, *urls[NOTIFY_COUNT];
    enum url_state url_states[NOTIFY_COUNT];
    int64_t accepted_ms, started_ms, ended_ms;
    bool given_back;
    int64_t not_before_ms;
    int64_t since_ms; /* queued */
    uint64_t ticket;  /* queued: the lowest is next */
    char *errors, *report;
    uint32_t codes; /* failed: of its latest run */
};

struct memory_event {
    bool gone;
    uint64_t key;
    enum notify notify;
    enum event_state state;
    unsigned attempts;
    int64_t due_ms, created_ms, last_ms;
    int status;
    char *error, *errors;
    bool leased;
    int64_t until_ms;
    struct attempt log[ATTEMPTS_MAX];
    size_t log_n;
};

struct memory_key {
    uint8_t key[IDEMPOTENCY_LEN], digest[IDEMPOTENCY_LEN];
    uint64_t number;
    int64_t at_ms;
};

struct memory_disk {
    struct memory_asset *assets; /* number n is at n - 1 */
    size_t assets_n;
    struct memory_event *events;
    size_t events_n;
    struct feed_entry *feed; /* entry seq is at seq - 1 */
    size_t feed_n, feed_pruned;
    struct memory_key *keys;
    size_t keys_n, keys_pruned;
    struct sample rings[RINGS][RING_LEN_MAX];
    bool sampled[RINGS][RING_LEN_MAX];
    uint64_t tickets;
    struct store_stats stats;
    struct permute ids;
};

struct memory_store {
    struct store base;
    struct memory_disk *disk;
    uint64_t max_queued;
    int64_t now_ms;
};

static inline void *sure(void *p)
{
    if (!p)
        abort();
    return p;
}

static inline char *copy(const char *text)
{
    return text ? sure(strdup(text)) : NULL;
}

static inline struct memory_asset *asset_at(struct memory_disk *d, uint64_t number)
{
    if (number == 0 || number > d->assets_n || d->assets[number - 1].pruned)
        return NULL;
    return &d->assets[number - 1];
}

static inline struct memory_asset *asset_of(struct memory_disk *d, const char *id, uint64_t *number)
{
    return permute_number(&d->ids, id, number) ? asset_at(d, *number) : NULL;
}

static inline struct memory_event *event_at(struct memory_disk *d, uint64_t key)
{
    for (size_t i = 0; i < d->events_n; i++)
        if (!d->events[i].gone && d->events[i].key == key)
            return &d->events[i];
    return NULL;
}

static inline uint64_t key_of(uint64_t number, unsigned run, bool terminal)
{
    return number << 16 | run << 1 | terminal;
}

static inline struct memory_event *event_of(struct memory_disk *d, const char *webhook_id)
{
    char asset_id[ASSET_ID_LEN + 1];
    unsigned run;
    enum notify notify;
    uint64_t number;
    if (!webhook_id_read(webhook_id, asset_id, &run, &notify) || !asset_of(d, asset_id, &number))
        return NULL;
    struct memory_event *e = event_at(d, key_of(number, run, notify != NOTIFY_START));
    return e && e->notify == notify ? e : NULL;
}

/* store_memory_read.c */
int memory_find(struct store *base, const char *id, struct asset *ret_asset, struct err *err);
int memory_list(struct store *base, const struct asset_query *query, struct asset_page *ret_page,
                struct err *err);
int memory_stats(struct store *base, struct store_stats *ret_stats, struct err *err);
int memory_event(struct store *base, const char *webhook_id, struct event_view *ret_event,
                 struct err *err);
int memory_events(struct store *base, const struct event_query *query, struct event_page *ret_page,
                  struct err *err);
int memory_deliveries(struct store *base, const char *asset_id, struct event_page *ret_page,
                      struct err *err);
int memory_feed(struct store *base, uint64_t after_seq, unsigned limit, struct feed_page *ret_page,
                struct err *err);
int memory_history(struct store *base, enum ring ring, struct sample *ret_samples, size_t max,
                   size_t *ret_n, struct err *err);
#endif
