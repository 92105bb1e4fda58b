/* queue: what waits, and where it is kept. */
#include <inttypes.h>

#include "monitor/parts.h"

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
