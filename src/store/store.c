#include "store/store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/engine.h"

/* To add an engine: write its file, add its line, pass test/contract. */
static const struct {
    const char *scheme; /* of --store, with its colon */
    int (*open)(const char *where, const struct store_config *config, struct store **ret_store,
                struct err *err);
} engines[] = {
    { "sqlite:", sqlite_store_open },
};

int store_open(const char *url, const struct store_config *config, struct store **ret_store,
               struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(engines); i++) {
        size_t len = strlen(engines[i].scheme);
        if (strncmp(url, engines[i].scheme, len) == 0)
            return engines[i].open(url + len, config, ret_store, err);
    }
    /* Only the scheme: what follows may hold a password. */
    return err_set(err, ERR_INVALID, "no kind of store is called '%.*s'",
                   (int)strnlen(url, strcspn(url, ":")), url);
}

void store_close(struct store *s)
{
    if (s)
        s->ops->close(s);
}

int store_apply(struct store *s, struct step *steps[], size_t n, int64_t now_ms, struct err *err)
{
    return s->ops->apply(s, steps, n, now_ms, err);
}

int store_find(struct store *s, const char *id, struct asset *ret_asset, struct err *err)
{
    return s->ops->find(s, id, ret_asset, err);
}

int store_list(struct store *s, const struct asset_query *query, struct asset_page *ret_page,
               struct err *err)
{
    assert(query->limit >= 1 && query->limit <= 1000);
    return s->ops->list(s, query, ret_page, err);
}

int store_stats(struct store *s, struct store_stats *ret_stats, struct err *err)
{
    return s->ops->stats(s, ret_stats, err);
}

const char *asset_state_name(enum asset_state state)
{
    static const char *const names[ASSET_STATES] = { "queued", "started", "success", "failed" };
    return names[state];
}

const char *notify_name(enum notify notify)
{
    static const char *const names[NOTIFY_COUNT] = { "onStart", "onSuccess", "onFailure" };
    return names[notify];
}

const char *event_state_name(enum event_state state)
{
    static const char *const names[EVENT_OFF + 1] = { "waiting", "pending", "delivered", "dead",
                                                      "off" };
    return names[state];
}

void claims_free(struct claim *first)
{
    while (first) {
        struct claim *next = first->next;
        free(first->path);
        free(first);
        first = next;
    }
}

void events_free(struct event *first)
{
    while (first) {
        struct event *next = first->next;
        free(first->url);
        free(first->errors);
        free(first);
        first = next;
    }
}

void asset_release(struct asset *asset)
{
    free(asset->path);
    free(asset->errors);
    free(asset->report);
    for (int i = 0; i < NOTIFY_COUNT; i++) {
        free(asset->deliveries[i].url);
        free(asset->deliveries[i].error);
    }
    *asset = (struct asset){ 0 };
}

void asset_page_release(struct asset_page *page)
{
    for (size_t i = 0; i < page->n; i++)
        asset_release(&page->assets[i]);
    free(page->assets);
    *page = (struct asset_page){ 0 };
}
