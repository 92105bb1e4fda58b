#include "store/store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/engine.h"

/* To add an engine: write its file, add its line, pass test/contract. */
static const struct engine {
    const char *scheme; /* of --store, with its colon */
    int (*open)(const char *where, const struct store_config *config, struct store **ret_store,
                struct err *err);
    int (*visit)(const char *where, const char *password, struct store **ret_store,
                 struct err *err);
} engines[] = {
    { "sqlite:", sqlite_store_open, sqlite_store_visit },
    { "redis:", redis_store_open, redis_store_visit },
};

static const struct engine *engine_of(const char *url, const char **ret_where, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(engines); i++) {
        size_t len = strlen(engines[i].scheme);
        if (strncmp(url, engines[i].scheme, len) == 0) {
            *ret_where = url + len;
            return &engines[i];
        }
    }
    /* Only the scheme: what follows may hold a password. */
    (void)err_set(err, ERR_INVALID, "no kind of store is called '%.*s'",
                  (int)strnlen(url, strcspn(url, ":")), url);
    return NULL;
}

int store_open(const char *url, const struct store_config *config, struct store **ret_store,
               struct err *err)
{
    const char *where;
    const struct engine *engine = engine_of(url, &where, err);
    return engine ? engine->open(where, config, ret_store, err) : -1;
}

int store_visit(const char *url, const char *password, struct store **ret_store, struct err *err)
{
    const char *where;
    const struct engine *engine = engine_of(url, &where, err);
    return engine ? engine->visit(where, password, ret_store, err) : -1;
}

void store_close(struct store *s)
{
    if (s)
        s->ops->close(s);
}

int store_apply(struct store *s, struct step *steps[], size_t n, int64_t now_ms, struct err *err)
{
    struct err local;
    if (!err)
        err = &local;
    for (size_t i = 0; i < n; i++) {
        if (steps[i]->kind == STEP_CLAIM)
            steps[i]->u.claim.ret_claims = NULL;
        if (steps[i]->kind == STEP_LEASE)
            steps[i]->u.lease.ret_events = NULL;
    }
    return s->ops->apply(s, steps, n, now_ms, err);
}

int store_find(struct store *s, const char *id, struct asset *ret_asset, struct err *err)
{
    return s->ops->find(s, id, ret_asset, err);
}

int store_list(struct store *s, const struct asset_query *query, struct asset_page *ret_page,
               struct err *err)
{
    assert(query->limit >= 1 && query->limit <= LIST_LIMIT_MAX);
    return s->ops->list(s, query, ret_page, err);
}

int store_stats(struct store *s, struct store_stats *ret_stats, struct err *err)
{
    return s->ops->stats(s, ret_stats, err);
}

const char *const store_warning_names[STORE_WARNINGS] = { "not_durable", "may_evict",
                                                          "log_not_rewritten", "settings_unknown" };

int store_health(struct store *s, struct store_warnings *ret_warnings, struct err *err)
{
    ret_warnings->n = 0;
    return s->ops->health ? s->ops->health(s, ret_warnings, err) : 0;
}

static int unsupported(const struct store *s, const char *what, struct err *err)
{
    return err_set(err, ERR_UNSUPPORTED, "a store of kind '%s' has no %s", s->ops->scheme, what);
}

int store_event(struct store *s, const char *webhook_id, struct event_view *ret_event,
                struct err *err)
{
    return s->ops->event ? s->ops->event(s, webhook_id, ret_event, err)
                         : unsupported(s, "events to read", err);
}

int store_events(struct store *s, const struct event_query *query, struct event_page *ret_page,
                 struct err *err)
{
    assert(query->limit >= 1 && query->limit <= LIST_LIMIT_MAX);
    return s->ops->events ? s->ops->events(s, query, ret_page, err)
                          : unsupported(s, "events to read", err);
}

int store_deliveries(struct store *s, const char *asset_id, struct event_page *ret_page,
                     struct err *err)
{
    return s->ops->deliveries ? s->ops->deliveries(s, asset_id, ret_page, err)
                              : unsupported(s, "events to read", err);
}

int store_feed(struct store *s, uint64_t after_seq, unsigned limit, struct feed_page *ret_page,
               struct err *err)
{
    assert(limit >= 1 && limit <= LIST_LIMIT_MAX);
    return s->ops->feed ? s->ops->feed(s, after_seq, limit, ret_page, err)
                        : unsupported(s, "feed", err);
}

int store_history(struct store *s, enum ring ring, struct sample *ret_samples, size_t max,
                  size_t *ret_n, struct err *err)
{
    return s->ops->history ? s->ops->history(s, ring, ret_samples, max, ret_n, err)
                           : unsupported(s, "history", err);
}

int store_beat(struct store *s, const struct store_process *process, int *ret_wanted,
               struct err *err)
{
    return s->ops->beat ? s->ops->beat(s, process, ret_wanted, err)
                        : unsupported(s, "list of processes", err);
}

int store_ask_active(struct store *s, uint64_t number, unsigned active, struct err *err)
{
    return s->ops->ask_active ? s->ops->ask_active(s, number, active, err)
                              : unsupported(s, "list of processes", err);
}

int store_processes(struct store *s, struct store_process *ret_processes, size_t max, size_t *ret_n,
                    struct err *err)
{
    return s->ops->processes ? s->ops->processes(s, ret_processes, max, ret_n, err)
                             : unsupported(s, "list of processes", err);
}

bool store_may_wait(struct store *s, const struct step *step)
{
    return s->ops->may_wait && s->ops->may_wait(s, step);
}

unsigned store_wait(struct store *s, unsigned wanted, int wake_fd, int timeout_ms)
{
    return s->ops->wait(s, wanted, wake_fd, timeout_ms);
}

int store_backup(struct store *s, const char *path, struct err *err)
{
    return s->ops->backup ? s->ops->backup(s, path, err) : unsupported(s, "backup", err);
}

int store_verify(struct store *s, struct buf *report, struct err *err)
{
    return s->ops->verify ? s->ops->verify(s, report, err) : unsupported(s, "verification", err);
}

size_t ring_len(enum ring ring)
{
    return ring == RING_MINUTE ? 1440 : 30 * 24;
}

int64_t ring_period_ms(enum ring ring)
{
    return ring == RING_MINUTE ? 60 * 1000 : 3600 * 1000;
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

void event_view_release(struct event_view *view)
{
    free(view->url);
    free(view->error);
    for (size_t i = 0; i < view->n_log; i++) {
        free(view->log[i].error);
        free(view->log[i].answer);
    }
    free(view->log);
    *view = (struct event_view){ 0 };
}

void event_page_release(struct event_page *page)
{
    for (size_t i = 0; i < page->n; i++)
        event_view_release(&page->events[i]);
    free(page->events);
    *page = (struct event_page){ 0 };
}

void feed_page_release(struct feed_page *page)
{
    for (size_t i = 0; i < page->n; i++)
        free(page->entries[i].errors);
    free(page->entries);
    *page = (struct feed_page){ 0 };
}
