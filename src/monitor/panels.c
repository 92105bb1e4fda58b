/* panels: those who work, and what waits for them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "monitor/parts.h"

enum { IN_WORK_ROWS = 20 };

/* ---- workers ------------------------------------------------------------------------------- */

static void add_worker(struct page *p, const struct monitor_worker *w)
{
    double seconds = (double)(p->now_ms - w->since_ms) / 1000;
    uint64_t done = w->succeeded + w->failed;
    (void)buf_adds(p->out, "<tr><th scope=\"row\">");
    html_text(p, w->name);
    (void)buf_adds(p->out, "</th><td>");
    html_state(p, w->draining ? "draining" : "online");
    (void)buf_adds(p->out, "</td><td>");
    html_text(p, w->version);
    (void)buf_adds(p->out, "</td><td>");
    html_time(p, w->since_ms);
    (void)buf_addf(
        p->out,
        "</td><td class=\"n\">%u</td><td class=\"n\">%" PRIu64 "</td><td class=\"n\">%" PRIu64
        "</td><td class=\"n\">%" PRIu64 "</td><td class=\"n\">%.2f</td><td class=\"n\">",
        w->threads, w->succeeded, w->failed, w->faults, seconds > 0 ? (double)done / seconds : 0.0);
    if (w->memory_bytes)
        (void)buf_addf(p->out, "%.1f MiB", (double)w->memory_bytes / (1024 * 1024));
    else
        (void)buf_adds(p->out, "–");
    (void)buf_adds(p->out, "</td></tr>\n");
}

static void add_in_work(struct page *p, const struct asset_page *page)
{
    (void)buf_adds(p->out, "<h2>In work</h2>\n");
    html_table_begin(p, "in-work", "In work", "asset|path|started|for|attempt");
    for (size_t i = 0; i < page->n; i++) {
        const struct asset *a = &page->assets[i];
        (void)buf_adds(p->out, "<tr><th scope=\"row\">");
        html_asset_link(p, a->id);
        (void)buf_adds(p->out, "</th><td class=\"path\">");
        html_text(p, a->path);
        (void)buf_adds(p->out, "</td><td>");
        html_time(p, a->started_ms);
        (void)buf_adds(p->out, "</td><td class=\"n\">");
        html_duration(p, a->started_ms ? p->now_ms - a->started_ms : 0);
        (void)buf_addf(p->out, "</td><td class=\"n\">%u</td></tr>\n", a->attempts);
    }
    html_table_end(p, page->n, "Nothing just now.");
    if (page->more)
        (void)buf_addf(p->out, "<p><a href=\"%s/assets?state=started\">All of them</a></p>\n",
                       p->prefix);
}

void workers_page(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    (void)r;
    const struct monitor_hooks *hooks = &t->monitor->hooks;
    CLEANUP(asset_page_release) struct asset_page page = { 0 };
    CLEANUP(freep) struct monitor_worker *workers = calloc(MONITOR_WORKERS_MAX, sizeof(*workers));
    struct asset_query query = { .by_state = true, .state = ASSET_STARTED, .limit = IN_WORK_ROWS };
    struct page p = monitor_page(t);
    struct err err = { 0 };
    if (!workers)
        (void)err_set(&err, ERR_NOMEM, "out of memory");
    if (!workers || store_list(t->monitor->store, &query, &page, &err) < 0) {
        monitor_store_away(t, x, false, &err);
        return;
    }
    size_t n = hooks->workers ? hooks->workers(hooks->arg, workers, MONITOR_WORKERS_MAX) : 0;
    html_begin(&p, SECTION_WORKERS, "Workers", false);
    html_table_begin(&p, "workers", "Workers",
                     "process|state|version|since|threads|success|failed|faults|a second|memory");
    for (size_t i = 0; i < n; i++)
        add_worker(&p, &workers[i]);
    html_table_end(&p, n, "No worker is known here.");
    (void)buf_adds(
        p.out, "<p class=\"note\">Counts are since the process started. A fault is an asset that "
               "could not be judged, and is tried again. A process drains on SIGTERM: it gives "
               "back what it has not begun; its number of threads is --workers.</p>\n");
    add_in_work(&p, &page);
    monitor_reply_page(t, x, &p, 200);
}

/* ---- queue --------------------------------------------------------------------------------- */

static void add_queue(struct page *p, const char *name, uint64_t ready, uint64_t held,
                      int64_t oldest_ms, uint64_t dead)
{
    (void)buf_addf(p->out,
                   "<tr><th scope=\"row\">%s</th><td class=\"n\">%" PRIu64
                   "</td><td class=\"n\">%" PRIu64 "</td><td class=\"n\">%" PRIu64
                   "</td><td class=\"n\">",
                   name, ready + held, ready, held);
    if (oldest_ms)
        html_duration(p, p->now_ms - oldest_ms);
    else
        (void)buf_adds(p->out, "–");
    (void)buf_addf(p->out, "</td><td class=\"n\">%" PRIu64 "</td></tr>\n", dead);
}

static void add_store(struct monitor_thread *t, struct page *p, const struct store_stats *s)
{
    struct err why = { 0 };
    bool healthy = !t->monitor->service || service_healthy(t->monitor->service, &why);
    (void)buf_addf(p->out,
                   "<h2>Store</h2><dl class=\"facts\" id=\"store\" data-live><div><dt>engine</dt>"
                   "<dd>%s</dd></div><div><dt>health</dt><dd>",
                   t->monitor->store->ops->scheme);
    html_state(p, healthy ? "healthy" : "unhealthy");
    (void)buf_adds(p->out, " ");
    if (!healthy)
        html_text(p, why.msg);
    (void)buf_addf(p->out,
                   "</dd></div><div><dt>accepted since ever</dt><dd>%" PRIu64 "</dd></div><div><dt>"
                   "of them pruned</dt><dd>%" PRIu64
                   "</dd></div><div><dt>ended runs</dt><dd>%" PRIu64 "</dd></div></dl>\n",
                   s->accepted, s->pruned, s->runs_success + s->runs_failed);
}

void queue_page(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    (void)r;
    struct page p = monitor_page(t);
    struct store_stats s;
    struct err err;
    if (store_stats(t->monitor->store, &s, &err) < 0) {
        monitor_store_away(t, x, false, &err);
        return;
    }
    html_begin(&p, SECTION_QUEUE, "Queue", false);
    if (t->monitor->service && !service_healthy(t->monitor->service, &err))
        html_unhealthy(&p, err.msg);
    html_table_begin(&p, "queues", "Queues",
                     "queue|messages|ready|held by workers|oldest waiting|dead letters");
    add_queue(&p, "assets", s.by_state[ASSET_QUEUED], s.by_state[ASSET_STARTED], s.oldest_queued_ms,
              0);
    add_queue(&p, "webhooks", s.events_by_state[EVENT_PENDING], s.events_by_state[EVENT_WAITING], 0,
              s.events_by_state[EVENT_DEAD]);
    html_table_end(&p, 2, "");
    (void)buf_addf(
        p.out,
        "<p class=\"note\">Held: an asset that a worker has, or that is to be tried again after "
        "a fault; a terminal webhook that waits for its started one. <a href=\"%s/assets?state="
        "queued\">Queued assets</a>, <a href=\"%s/assets?state=started\">those in work</a>, <a "
        "href=\"%s/webhooks?state=dead\">dead letters</a>.</p>\n",
        p.prefix, p.prefix, p.prefix);
    add_store(t, &p, &s);
    monitor_reply_page(t, x, &p, 200);
}
