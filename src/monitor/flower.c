/* flower: the JSON behind the pages. Where Flower has a route for the same thing, ours has its name and
 * its members, with what has a meaning here; times are seconds since 1970 there, as in Flower. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "monitor/form.h"
#include "monitor/parts.h"
#include "validate/verdict.h"

enum { TASKS_DEFAULT = 100 };

/* Celery's words for our states. */
static const char *const task_states[ASSET_STATES] = { "RECEIVED", "STARTED", "SUCCESS",
                                                       "FAILURE" };

static void add_text(struct buf *out, const char *key, const char *text)
{
    (void)buf_addf(out, ",\"%s\":", key);
    if (text)
        (void)buf_add_json(out, text, strlen(text));
    else
        (void)buf_adds(out, "null");
}

static void add_seconds(struct buf *out, const char *key, int64_t wall_ms)
{
    (void)buf_addf(out, wall_ms ? ",\"%s\":%.3f" : ",\"%s\":null", key, (double)wall_ms / 1000);
}

/* ---- queues -------------------------------------------------------------------------------- */

void api_queues_length(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    (void)r;
    struct store_stats s;
    struct err err;
    if (store_stats(t->monitor->store, &s, &err) < 0) {
        monitor_store_away(t, x, true, &err);
        return;
    }
    (void)buf_addf(&t->body,
                   "{\"active_queues\":[{\"name\":\"assets\",\"messages\":%" PRIu64
                   "},{\"name\":\"webhooks\",\"messages\":%" PRIu64 "}]}",
                   s.by_state[ASSET_QUEUED],
                   s.events_by_state[EVENT_WAITING] + s.events_by_state[EVENT_PENDING]);
    monitor_reply_json(t, x);
}

/* ---- tasks: an asset is one --------------------------------------------------------------- */

static void add_task(struct buf *out, const struct asset *a)
{
    bool over = a->state == ASSET_SUCCESS || a->state == ASSET_FAILED;
    (void)buf_addf(out, "{\"uuid\":\"%s\",\"name\":\"validate\",\"state\":\"%s\"", a->id,
                   task_states[a->state]);
    add_text(out, "args", a->path);
    add_seconds(out, "received", a->accepted_ms);
    add_seconds(out, "started", a->started_ms);
    add_seconds(out, "succeeded", a->state == ASSET_SUCCESS ? a->ended_ms : 0);
    add_seconds(out, "failed", a->state == ASSET_FAILED ? a->ended_ms : 0);
    if (over && a->started_ms)
        (void)buf_addf(out, ",\"runtime\":%.3f", (double)(a->ended_ms - a->started_ms) / 1000);
    else
        (void)buf_adds(out, ",\"runtime\":null");
    (void)buf_addf(out, ",\"retries\":%u,\"result\":%s", a->run - 1,
                   a->errors ? a->errors : "null");
}

void api_tasks(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    CLEANUP(asset_page_release) struct asset_page page = { 0 };
    struct filter f;
    const char *why = "limit is a number from 1 to 1000.";
    char word[8];
    long limit = TASKS_DEFAULT;
    struct err err = { 0 };
    enum form_result has_limit = form_value(r->http->query, "limit", word, sizeof(word));
    if (has_limit == FORM_FOUND)
        limit = strtol(word, NULL, 10);
    if (has_limit == FORM_INVALID || limit < 1 || limit > LIST_LIMIT_MAX ||
        !filter_read(r->http->query, &f, &why)) {
        monitor_reply_problem(t, x, 400, "Bad Request", why);
        return;
    }
    struct asset_query query = filter_query(&f, (unsigned)limit);
    if (store_list(t->monitor->store, &query, &page, &err) < 0) {
        if (err.code == ERR_INVALID)
            monitor_reply_problem(t, x, 400, "Bad Request", "after is no id.");
        else
            monitor_store_away(t, x, true, &err);
        return;
    }
    (void)buf_adds(&t->body, "{");
    for (size_t i = 0; i < page.n; i++) {
        (void)buf_addf(&t->body, "%s\"%s\":", i ? "," : "", page.assets[i].id);
        add_task(&t->body, &page.assets[i]);
        (void)buf_adds(&t->body, "}");
    }
    (void)buf_adds(&t->body, "}");
    monitor_reply_json(t, x);
}

static void add_attempts(struct buf *out, const struct event_view *e)
{
    (void)buf_adds(out, ",\"log\":[");
    for (size_t i = 0; i < e->n_log; i++) {
        const struct attempt *a = &e->log[i];
        (void)buf_addf(out, "%s{\"status\":%d,\"durationMs\":%d", i ? "," : "", a->http_status,
                       a->duration_ms);
        add_seconds(out, "at", a->at_ms);
        add_text(out, "error", a->error);
        (void)buf_adds(out, ",\"answer\":");
        (void)buf_add_json(out, a->answer ? a->answer : "", a->answer_len);
        (void)buf_adds(out, "}");
    }
    (void)buf_adds(out, "]");
}

static void add_events(struct buf *out, const struct event_page *page)
{
    (void)buf_adds(out, ",\"webhooks\":[");
    for (size_t i = 0; i < page->n; i++) {
        const struct event_view *e = &page->events[i];
        (void)buf_addf(out,
                       "%s{\"id\":\"%s\",\"notification\":\"%s\",\"run\":%u,\"state\":\"%s\","
                       "\"attempts\":%u",
                       i ? "," : "", e->webhook_id, notify_name(e->notify), e->run,
                       event_state_name(e->state), e->attempts);
        add_text(out, "url", e->url);
        add_attempts(out, e);
        (void)buf_adds(out, "}");
    }
    (void)buf_adds(out, "]");
}

void api_task_info(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    CLEANUP(asset_release) struct asset asset = { 0 };
    CLEANUP(event_page_release) struct event_page events = { 0 };
    struct err err;
    int found = store_find(t->monitor->store, r->id, &asset, &err);
    if (found > 0 && store_deliveries(t->monitor->store, asset.id, &events, &err) < 0)
        found = -1;
    if (found < 0) {
        monitor_store_away(t, x, true, &err);
    } else if (found == 0) {
        monitor_reply_problem(t, x, 404, "Not Found", "There is no asset with this id (any more).");
    } else {
        add_task(&t->body, &asset);
        (void)buf_addf(&t->body, ",\"report\":%s", asset.report ? asset.report : "null");
        add_events(&t->body, &events);
        (void)buf_adds(&t->body, "}");
        monitor_reply_json(t, x);
    }
}

/* ---- what the overview shows --------------------------------------------------------------- */

void api_overview(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    (void)r;
    struct store_stats s;
    struct err err;
    if (store_stats(t->monitor->store, &s, &err) < 0) {
        monitor_store_away(t, x, true, &err);
        return;
    }
    bool healthy = !t->monitor->service || service_healthy(t->monitor->service, &err);
    (void)buf_addf(&t->body, "{\"accepted\":%" PRIu64 ",\"pruned\":%" PRIu64, s.accepted, s.pruned);
    for (int i = 0; i < ASSET_STATES; i++)
        (void)buf_addf(&t->body, ",\"%s\":%" PRIu64, asset_state_name((enum asset_state)i),
                       s.by_state[i]);
    add_seconds(&t->body, "oldestQueued", s.oldest_queued_ms);
    (void)buf_adds(&t->body, ",\"webhooks\":{");
    for (int i = 0; i <= EVENT_OFF; i++)
        (void)buf_addf(&t->body, "%s\"%s\":%" PRIu64, i ? "," : "",
                       event_state_name((enum event_state)i), s.events_by_state[i]);
    (void)buf_addf(&t->body, "},\"store\":{\"engine\":\"%s\",\"healthy\":%s}}",
                   t->monitor->store->ops->scheme, healthy ? "true" : "false");
    monitor_reply_json(t, x);
}

enum column {
    COLUMN_ACCEPTED,
    COLUMN_SUCCESS,
    COLUMN_FAILED,
    COLUMN_QUEUED,
    COLUMN_STARTED,
    COLUMN_OLDEST,
    COLUMN_P50,
    COLUMN_P99,
    COLUMN_BACKLOG,
    COLUMN_DEAD
};
static const char *const columns[] = {
    "acceptedPerSecond", "successPerSecond", "failedPerSecond", "queued",         "started",
    "oldestSeconds",     "p50Seconds",       "p99Seconds",      "webhooksToSend", "deadLetters"
};

/* false: it is not known. */
static bool value_of(const struct point *p, enum column column, double *ret)
{
    switch (column) {
    case COLUMN_ACCEPTED:
        *ret = p->accepted;
        return p->has_rates;
    case COLUMN_SUCCESS:
        *ret = p->success;
        return p->has_rates;
    case COLUMN_FAILED:
        *ret = p->failed;
        return p->has_rates;
    case COLUMN_QUEUED:
        *ret = (double)p->queued;
        return true;
    case COLUMN_STARTED:
        *ret = (double)p->started;
        return true;
    case COLUMN_OLDEST:
        *ret = (double)p->oldest_ms / 1000;
        return true;
    case COLUMN_P50:
        *ret = (double)p->latency.p50_ms / 1000;
        return p->latency.known;
    case COLUMN_P99:
        *ret = (double)p->latency.p99_ms / 1000;
        return p->latency.known;
    case COLUMN_BACKLOG:
        *ret = (double)p->backlog;
        return true;
    case COLUMN_DEAD:
        *ret = (double)p->dead;
        return true;
    }
    return false;
}

static void add_column(struct buf *out, const struct series *s, enum column column)
{
    (void)buf_addf(out, ",\"%s\":[", columns[column]);
    for (size_t i = 0; i < s->n; i++) {
        double value;
        (void)buf_adds(out, i ? "," : "");
        if (value_of(&s->points[i], column, &value))
            (void)buf_addf(out, "%.10g", value);
        else
            (void)buf_adds(out, "null");
    }
    (void)buf_adds(out, "]");
}

void api_history(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    char word[8] = "15m";
    struct err err;
    int span = 0;
    (void)form_value(r->http->query, "span", word, sizeof(word));
    while (span < SPANS && strcmp(word, span_names[span]) != 0)
        span++;
    if (span == SPANS) {
        monitor_reply_problem(t, x, 400, "Bad Request", "span is 15m, 24h or 30d.");
        return;
    }
    if (series_read(t->monitor->store, (enum span)span, clock_wall_ms(), &t->series, NULL, &err) <
        0) {
        monitor_store_away(t, x, true, &err);
        return;
    }
    (void)buf_addf(&t->body, "{\"span\":\"%s\",\"atMs\":[", word);
    for (size_t i = 0; i < t->series.n; i++)
        (void)buf_addf(&t->body, "%s%" PRId64, i ? "," : "", t->series.points[i].at_ms);
    (void)buf_adds(&t->body, "]");
    for (size_t i = 0; i < ARRAY_LEN(columns); i++)
        add_column(&t->body, &t->series, (enum column)i);
    (void)buf_adds(&t->body, ",\"errors\":{");
    for (unsigned i = 0; i < SERIES_CODES; i++)
        (void)buf_addf(&t->body, "%s\"%s\":%" PRIu64, i ? "," : "",
                       finding_name((enum finding_code)i), t->series.errors[i]);
    (void)buf_adds(&t->body, "}}");
    monitor_reply_json(t, x);
}
