#include "api/view.h"

#include <string.h>

#include "base/clock.h"

static void add_text(struct buf *out, const char *key, const char *text)
{
    (void)buf_addf(out, ",\"%s\":", key);
    if (text)
        (void)buf_add_json(out, text, strlen(text));
    else
        (void)buf_adds(out, "null");
}

static void add_time(struct buf *out, const char *key, int64_t wall_ms)
{
    char text[CLOCK_TEXT_LEN];
    add_text(out, key, wall_ms ? clock_text(wall_ms, text) : NULL);
}

static const char *delivery_state(const struct delivery *d)
{
    switch (d->url_state) {
    case URL_ABSENT:
        return "none";
    case URL_INVALID:
        return "invalid";
    case URL_DISALLOWED:
        return "disallowed";
    case URL_OFF:
    case URL_VALID:
        break;
    }
    return d->has_event ? event_state_name(d->state) : "none";
}

static void add_delivery(struct buf *out, enum notify notify, const struct delivery *d)
{
    (void)buf_addf(out, "%s\"%s\":{\"state\":\"%s\"", notify > 0 ? "," : "", notify_name(notify),
                   delivery_state(d));
    add_text(out, "url", d->url);
    (void)buf_addf(out, ",\"attempts\":%u,\"lastStatus\":", d->attempts);
    (void)buf_addf(out, d->http_status ? "%d" : "null", d->http_status);
    add_text(out, "lastError", d->error);
    add_time(out, "lastAttemptAt", d->last_ms);
    add_time(out, "nextAttemptAt", d->next_ms);
    (void)buf_adds(out, "}");
}

/* The members of a JSON object without its braces. */
static void add_members(struct buf *out, const char *object)
{
    size_t len = strlen(object);
    if (len <= 2)
        return;
    (void)buf_adds(out, ",");
    (void)buf_add(out, object + 1, len - 2);
}

static void add_log(struct buf *out, const struct event_view *event)
{
    (void)buf_adds(out, ",\"log\":[");
    for (size_t i = 0; i < event->n_log; i++) {
        const struct attempt *a = &event->log[i];
        char text[CLOCK_TEXT_LEN];
        (void)buf_addf(out, "%s{\"at\":\"%s\",\"status\":", i > 0 ? "," : "",
                       clock_text(a->at_ms, text));
        (void)buf_addf(out, a->http_status ? "%d" : "null", a->http_status);
        (void)buf_addf(out, ",\"durationMs\":%d", a->duration_ms);
        add_text(out, "error", a->error);
        (void)buf_adds(out, ",\"answer\":");
        if (a->answer)
            (void)buf_add_json(out, a->answer, a->answer_len);
        else
            (void)buf_adds(out, "null");
        (void)buf_adds(out, "}");
    }
    (void)buf_adds(out, "]");
}

void view_event(const struct event_view *event, bool brief, struct buf *out)
{
    (void)buf_addf(out, "{\"id\":\"%s\",\"assetId\":\"%s\",\"notification\":\"%s\",\"run\":%u",
                   event->webhook_id, event->asset_id, notify_name(event->notify), event->run);
    (void)buf_addf(out, ",\"state\":\"%s\"", event_state_name(event->state));
    add_text(out, "url", event->url);
    (void)buf_addf(out, ",\"attempts\":%u,\"lastStatus\":", event->attempts);
    (void)buf_addf(out, event->http_status ? "%d" : "null", event->http_status);
    add_text(out, "lastError", event->error);
    add_time(out, "createdAt", event->created_ms);
    add_time(out, "lastAttemptAt", event->last_ms);
    add_time(out, "nextAttemptAt", event->next_ms);
    if (!brief)
        add_log(out, event);
    (void)buf_adds(out, "}");
}

void view_asset(const struct asset *asset, const struct event_page *deliveries, struct buf *out)
{
    (void)buf_addf(out, "{\"id\":\"%s\",\"state\":\"%s\"", asset->id,
                   asset_state_name(asset->state));
    if (asset->errors)
        (void)buf_addf(out, ",\"errors\":%s", asset->errors);
    (void)buf_adds(out, ",\"assetPath\":{\"location\":\"local\"");
    add_text(out, "path", asset->path);
    (void)buf_adds(out, "}");
    add_time(out, "acceptedAt", asset->accepted_ms);
    add_time(out, "startedAt", asset->started_ms);
    add_time(out, "endedAt", asset->ended_ms);
    (void)buf_addf(out, ",\"run\":%u,\"attempts\":%u", asset->run, asset->attempts);
    if (deliveries) {
        add_members(out, asset->report ? asset->report : "{\"findings\":[],\"image\":null}");
        (void)buf_adds(out, ",\"notifications\":{");
        for (int i = 0; i < NOTIFY_COUNT; i++)
            add_delivery(out, (enum notify)i, &asset->deliveries[i]);
        (void)buf_adds(out, "},\"deliveries\":[");
        for (size_t i = 0; i < deliveries->n; i++) {
            (void)buf_adds(out, i > 0 ? "," : "");
            view_event(&deliveries->events[i], false, out);
        }
        (void)buf_adds(out, "]");
    }
    (void)buf_adds(out, "}");
}
