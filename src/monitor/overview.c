/* overview: how it goes, at a glance. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "monitor/form.h"
#include "monitor/parts.h"
#include "validate/verdict.h"

enum { TABLE_ROWS = 30, RATE_MS = 30 * 1000 };

/* ---- the figures -------------------------------------------------------------------------- */

static void set(struct figure *f, const char *name, const char *key, uint64_t value)
{
    f->name = name;
    f->key = key;
    (void)snprintf(f->text, sizeof(f->text), "%" PRIu64, value);
}

static void set_text(struct figure *f, const char *name, const char *key, const struct buf *text)
{
    f->name = name;
    f->key = key;
    (void)snprintf(f->text, sizeof(f->text), "%s", text->len ? text->data : "–");
}

static void set_duration(struct figure *f, const char *name, const char *key, bool known,
                         int64_t ms)
{
    struct buf text;
    struct page p = { .out = &text };
    buf_init(&text, sizeof(f->text));
    if (known)
        html_duration(&p, ms);
    set_text(f, name, key, &text);
    buf_release(&text);
}

static void set_rate(struct figure *f, const char *name, const char *key, const char *format,
                     bool known, double value)
{
    f->name = name;
    f->key = key;
    (void)snprintf(f->text, sizeof(f->text), known ? format : "–", value);
}

/* The newest point that is old enough for a steady rate; else the oldest one. NULL: there is only now. */
static const struct point *rate_base(const struct series *s, int64_t now_ms)
{
    const struct point *base = s->n > 1 ? &s->points[0] : NULL;
    for (size_t i = 0; i + 1 < s->n; i++)
        if (s->points[i].at_ms <= now_ms - RATE_MS)
            base = &s->points[i];
    return base;
}

static double since(uint64_t now, uint64_t then)
{
    return now > then ? (double)(now - then) : 0;
}

static void set_rates(struct figure *f, const struct series *s, int64_t now_ms)
{
    const struct point *now = &s->points[s->n - 1], *base = rate_base(s, now_ms);
    double seconds = base ? (double)(now_ms - base->at_ms) / 1000 : 0;
    uint64_t ended_now = now->all_success + now->all_failed;
    uint64_t ended_then = base ? base->all_success + base->all_failed : 0;
    set_rate(&f[0], "throughput", "throughput", "%.1f /s", base && seconds > 0,
             seconds > 0 ? since(ended_now, ended_then) / seconds : 0);
    /* of the last 15 minutes; of all, when none is known of them */
    const struct point *first = s->n > 1 ? &s->points[0] : NULL;
    double success = since(now->all_success, first ? first->all_success : 0);
    double failed = since(now->all_failed, first ? first->all_failed : 0);
    bool any = success + failed > 0;
    set_rate(&f[1], "success rate", "successRate", "%.1f %%", any,
             any ? 100 * success / (success + failed) : 0);
    set_rate(&f[2], "failure rate", "failureRate", "%.1f %%", any,
             any ? 100 * failed / (success + failed) : 0);
}

int overview_figures(struct monitor_thread *t, int64_t now_ms, struct figure ret[static FIGURES],
                     struct err *err)
{
    struct store_stats s;
    if (series_read(t->monitor->store, SPAN_15_MIN, now_ms, &t->series, &s, err) < 0)
        return -1;
    const struct point *now = &t->series.points[t->series.n - 1];
    set(&ret[0], "accepted", "accepted", s.accepted);
    set(&ret[1], "queue depth", "queued", s.by_state[ASSET_QUEUED]);
    set(&ret[2], "in work", "started", s.by_state[ASSET_STARTED]);
    set(&ret[3], "success", "success", s.by_state[ASSET_SUCCESS]);
    set(&ret[4], "failed", "failed", s.by_state[ASSET_FAILED]);
    set(&ret[5], "pruned", "pruned", s.pruned);
    set_rates(&ret[6], &t->series, now_ms);
    set_duration(&ret[9], "oldest waiting", "oldest", s.oldest_queued_ms != 0,
                 (int64_t)now->oldest_ms);
    set_duration(&ret[10], "half take under", "p50", now->latency.known, now->latency.p50_ms);
    set_duration(&ret[11], "99 % take under", "p99", now->latency.known, now->latency.p99_ms);
    set(&ret[12], "webhooks to send", "backlog", now->backlog);
    set(&ret[13], "dead letters", "dead", now->dead);
    return 0;
}

static void add_figures(struct page *p, const struct figure *figures, size_t from, size_t to,
                        const char *name)
{
    (void)buf_addf(p->out, "<dl class=\"figures\" aria-label=\"%s\">", name);
    for (size_t i = from; i < to; i++)
        (void)buf_addf(p->out, "<div><dt>%s</dt><dd class=\"%s\" data-figure=\"%s\">%s</dd></div>",
                       figures[i].name, figures[i].key, figures[i].key, figures[i].text);
    (void)buf_adds(p->out, "</dl>\n");
}

/* ---- the plots ---------------------------------------------------------------------------- */

static const struct {
    const char *key, *title, *unit, *what;
} plots[] = {
    { "rates", "Throughput", "assets a second", "accepted, ended in success, failed" },
    { "queue", "Queue", "assets", "queued and in work" },
    { "latency", "From accepted to ended", "seconds", "half take under, 99 % take under" },
    { "oldest", "Oldest waiting", "seconds", "the age of the oldest queued asset" },
    { "webhooks", "Webhooks", "events", "to send, and dead letters" },
};

static void add_plots(struct page *p, enum span span)
{
    if (!p->charts) {
        (void)buf_adds(p->out,
                       "<p class=\"note\">There are no plots: the chart library is not installed "
                       "(Debian's package libjs-chart.js). The table has the same "
                       "figures.</p>\n");
        return;
    }
    (void)buf_addf(p->out,
                   "<noscript><p class=\"note\">The plots are drawn by a script; the table below "
                   "them has the same figures.</p></noscript><div class=\"plots\" id=\"plots\" "
                   "data-span=\"%s\">",
                   span_names[span]);
    for (size_t i = 0; i < sizeof(plots) / sizeof(plots[0]); i++)
        (void)buf_addf(
            p->out,
            "<figure><figcaption>%s <span>%s</span></figcaption><div class=\"plot\">"
            "<canvas data-plot=\"%s\" role=\"img\" aria-label=\"%s over the last %s: %s. The "
            "table below has the figures.\"></canvas></div></figure>",
            plots[i].title, plots[i].unit, plots[i].key, plots[i].title, span_titles[span],
            plots[i].what);
    (void)buf_adds(p->out, "</div>\n");
}

static void add_rate(struct page *p, const struct point *point, double rate)
{
    (void)buf_addf(p->out,
                   point->has_rates ? "<td class=\"n\">%.2f</td>" : "<td class=\"n\">–</td>", rate);
}

static void add_latency(struct page *p, const struct latency *l, uint32_t ms)
{
    (void)buf_adds(p->out, "<td class=\"n\">");
    if (l->known)
        html_duration(p, ms);
    else
        (void)buf_adds(p->out, "–");
    (void)buf_adds(p->out, "</td>");
}

static void add_point(struct page *p, const struct point *point)
{
    (void)buf_adds(p->out, "<tr><th scope=\"row\">");
    html_time(p, point->at_ms);
    (void)buf_adds(p->out, "</th>");
    add_rate(p, point, point->accepted);
    add_rate(p, point, point->success);
    add_rate(p, point, point->failed);
    (void)buf_addf(p->out, "<td class=\"n\">%" PRIu64 "</td><td class=\"n\">", point->queued);
    html_duration(p, (int64_t)point->oldest_ms);
    (void)buf_adds(p->out, "</td>");
    add_latency(p, &point->latency, point->latency.p50_ms);
    add_latency(p, &point->latency, point->latency.p99_ms);
    (void)buf_addf(p->out,
                   "<td class=\"n\">%" PRIu64 "</td><td class=\"n\">%" PRIu64 "</td></tr>\n",
                   point->backlog, point->dead);
}

/* The same figures for those who see no plots; of many points every so many-th. */
static void add_history_table(struct page *p, const struct series *s)
{
    size_t stride = (s->n + TABLE_ROWS - 1) / TABLE_ROWS;
    (void)buf_addf(p->out, "<details%s><summary>The figures as a table</summary>",
                   p->charts ? "" : " open");
    html_table_begin(p, "history", "History",
                     "time|accepted a second|success a second|failed a second|queued|oldest "
                     "waiting|half take under|99 % take under|webhooks to send|dead letters");
    for (size_t i = 0; i < s->n; i++) /* the newest first */
        if (i % stride == 0)
            add_point(p, &s->points[s->n - 1 - i]);
    html_table_end(p, s->n, "Nothing is known yet.");
    (void)buf_adds(p->out, "</details>\n");
}

static void add_spans(struct page *p, enum span span)
{
    (void)buf_adds(
        p->out,
        "<div class=\"title\"><h2>History</h2><nav aria-label=\"Span\"><ul class=\"tabs\">");
    for (int i = 0; i < SPANS; i++)
        (void)buf_addf(p->out, "<li><a href=\"%s/?span=%s\"%s>%s</a></li>", p->prefix,
                       span_names[i], i == (int)span ? " aria-current=\"true\"" : "",
                       span_titles[i]);
    (void)buf_adds(p->out, "</ul></nav></div>\n");
}

/* ---- why assets failed --------------------------------------------------------------------- */

static void add_reason(struct page *p, unsigned code, uint64_t count, uint64_t most)
{
    const char *name = finding_name((enum finding_code)code);
    (void)buf_addf(
        p->out,
        "<tr><th scope=\"row\"><a href=\"%s/assets?state=failed&amp;code=%s\">%s</a></th>"
        "<td class=\"n\">%" PRIu64 "</td><td class=\"barcell\"><svg class=\"bar\" viewBox=\"0 0 "
        "100 8\" preserveAspectRatio=\"none\" aria-hidden=\"true\"><rect width=\"%.1f\" "
        "height=\"8\"/></svg></td><td>%s</td></tr>\n",
        p->prefix, name, name, count, 100.0 * (double)count / (double)most,
        finding_remedy((enum finding_code)code));
}

static void add_reasons(struct page *p, const struct series *s, enum span span)
{
    uint64_t errors[SERIES_CODES];
    size_t rows = 0;
    memcpy(errors, s->errors, sizeof(errors));
    (void)buf_addf(p->out,
                   "<div class=\"title\"><h2>Why assets failed</h2><p>in the last %s; <a "
                   "href=\"%s/assets?state=failed\">all failed ones</a></p></div>\n",
                   span_titles[span], p->prefix);
    html_table_begin(p, "reasons", "Why assets failed", "finding|assets|share|what helps");
    for (uint64_t most = 0;; rows++) {
        unsigned top = 0;
        for (unsigned i = 1; i < SERIES_CODES; i++)
            if (errors[i] > errors[top])
                top = i;
        if (errors[top] == 0)
            break;
        most = most ? most : errors[top];
        add_reason(p, top, errors[top], most);
        errors[top] = 0;
    }
    html_table_end(p, rows, "None failed.");
}

void overview_page(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    struct page p = monitor_page(t);
    struct figure figures[FIGURES];
    enum span span = SPAN_15_MIN;
    struct err err;
    char word[8];
    if (form_value(r->http->query, "span", word, sizeof(word)) == FORM_FOUND)
        for (int i = 0; i < SPANS; i++)
            if (strcmp(word, span_names[i]) == 0)
                span = (enum span)i;
    if (overview_figures(t, p.now_ms, figures, &err) < 0 ||
        (span != SPAN_15_MIN &&
         series_read(t->monitor->store, span, p.now_ms, &t->series, NULL, &err) < 0)) {
        monitor_store_away(t, x, false, &err);
        return;
    }
    html_begin(&p, SECTION_OVERVIEW, "Overview", true);
    if (t->monitor->service && !service_healthy(t->monitor->service, &err))
        html_unhealthy(&p, err.msg);
    add_figures(&p, figures, 0, 6, "Assets");
    add_figures(&p, figures, 6, FIGURES, "How it goes");
    add_spans(&p, span);
    add_plots(&p, span);
    add_history_table(&p, &t->series);
    add_reasons(&p, &t->series, span);
    monitor_reply_page(t, x, &p, 200);
}
