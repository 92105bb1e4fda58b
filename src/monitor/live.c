/* live: the figures as server-sent events (WHATWG HTML §9.2): at most one a second, and only when something
 * has changed; every 15 s all the same, for ages grow and proxies close what is silent. However many
 * look, they are made once. What somebody has not taken yet is not added to: the newest is all that
 * counts. */
#include <string.h>

#include "base/clock.h"
#include "monitor/parts.h"

enum { LEAST_MS = 1000, MOST_MS = 15 * 1000, STREAMS_MAX = 256, UNSENT_MAX = 16 * 1024 };

struct stream { /* in the exchange's own room */
    struct stream *next;
    struct http_exchange *x;
};
_Static_assert(sizeof(struct stream) <= HTTP_APP_DATA, "a stream fits in its exchange");

static void watch(struct monitor_thread *t)
{
    if (t->watching || !t->monitor->service)
        return;
    service_watch(t->monitor->service, &t->watch);
    t->watching = true;
}

static void unwatch(struct monitor_thread *t)
{
    if (t->watching)
        service_unwatch(t->monitor->service, &t->watch);
    t->watching = false;
}

void live_changed(struct monitor_thread *t)
{
    t->watch.posted = false;
    t->changed = true;
}

static void add_event(struct monitor_thread *t)
{
    struct figure figures[FIGURES];
    struct err err = { 0 };
    if (overview_figures(t, clock_wall_ms(), figures, &err) < 0) {
        (void)buf_adds(&t->body, "event: away\ndata: {}\n\n");
        return;
    }
    bool healthy = !t->monitor->service || service_healthy(t->monitor->service, &err);
    (void)buf_addf(&t->body, "event: figures\ndata: {\"healthy\":%s", healthy ? "true" : "false");
    for (size_t i = 0; i < FIGURES; i++)
        (void)buf_addf(&t->body, ",\"%s\":\"%s\"", figures[i].key, figures[i].text);
    (void)buf_adds(&t->body, "}\n\n");
}

void live_get(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    (void)r;
    if (t->draining || t->n_streams == STREAMS_MAX) {
        monitor_reply_problem(t, x, 503, "Service Unavailable", "Too many look already.");
        return;
    }
    const struct http_response head = { .status = 200,
                                        .content_type = "text/event-stream",
                                        .fields = "Cache-Control: no-store\r\nX-Accel-Buffering: "
                                                  "no\r\nX-Content-Type-Options: nosniff\r\n" };
    if (!http_stream_begin(x, &head))
        return;
    struct stream *s = http_app_data(x);
    *s = (struct stream){ t->streams, x };
    t->streams = s;
    t->n_streams++;
    watch(t);
    add_event(t);
    http_stream_write(x, t->body.data, t->body.len);
    buf_clear(&t->body);
    if (t->n_streams == 1)
        t->told_ms = clock_mono_ms();
}

int live_sleep_ms(const struct monitor_thread *t)
{
    if (!t->streams)
        return -1;
    int64_t due_ms = t->told_ms + (t->changed ? LEAST_MS : MOST_MS) - clock_mono_ms();
    return due_ms > 0 ? (int)due_ms : 0;
}

void live_turn_over(struct monitor_thread *t)
{
    if (live_sleep_ms(t) != 0)
        return;
    t->changed = false;
    t->told_ms = clock_mono_ms();
    add_event(t);
    for (struct stream *s = t->streams; s; s = s->next)
        if (http_stream_unsent(s->x) < UNSENT_MAX)
            http_stream_write(s->x, t->body.data, t->body.len);
    buf_clear(&t->body);
}

void live_gone(struct monitor_thread *t, struct http_exchange *x)
{
    for (struct stream **s = &t->streams; *s; s = &(*s)->next) {
        if ((*s)->x == x) {
            *s = (*s)->next;
            t->n_streams--;
            break;
        }
    }
    if (!t->streams)
        unwatch(t);
}

void live_end(struct monitor_thread *t)
{
    while (t->streams) {
        struct stream *s = t->streams;
        t->streams = s->next;
        http_stream_end(s->x);
    }
    t->n_streams = 0;
    unwatch(t);
}
