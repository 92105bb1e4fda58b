/* webhooks: what is to be sent, what was, and what was given up. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "monitor/form.h"
#include "monitor/parts.h"

static const enum event_state shown[] = { EVENT_DEAD, EVENT_PENDING, EVENT_WAITING, EVENT_DELIVERED,
                                          EVENT_OFF };

static void add_tabs(struct page *p, const struct event_query *q, const struct store_stats *s)
{
    (void)buf_addf(
        p->out,
        "<div class=\"title\"><h2>Events</h2><nav aria-label=\"State\"><ul class=\"tabs\"><li>"
        "<a href=\"%s/webhooks\"%s>all</a></li>",
        p->prefix, q->by_state ? "" : " aria-current=\"true\"");
    for (size_t i = 0; i < ARRAY_LEN(shown); i++)
        (void)buf_addf(p->out, "<li><a href=\"%s/webhooks?state=%s\"%s>%s %" PRIu64 "</a></li>",
                       p->prefix, event_state_name(shown[i]),
                       q->by_state && q->state == shown[i] ? " aria-current=\"true\"" : "",
                       event_state_name(shown[i]), s->events_by_state[shown[i]]);
    (void)buf_adds(p->out, "</ul></nav></div>\n");
}

static void add_event(struct page *p, const struct event_view *e)
{
    char path[WEBHOOK_ID_LEN + 32];
    (void)buf_adds(p->out, "<tr><th scope=\"row\">");
    html_asset_link(p, e->asset_id);
    (void)buf_addf(p->out, "</th><td>%s</td><td>", notify_name(e->notify));
    html_state(p, event_state_name(e->state));
    (void)buf_addf(p->out, "</td><td class=\"n\">%u</td><td>", e->attempts);
    if (e->http_status)
        (void)buf_addf(p->out, "%d ", e->http_status);
    else if (e->attempts)
        html_text(p, e->error ? e->error : "no answer");
    (void)buf_adds(p->out, "</td><td>");
    html_time(p, e->last_ms);
    (void)buf_adds(p->out, "</td><td>");
    html_time(p, e->next_ms);
    (void)buf_adds(p->out, "</td><td class=\"path\">");
    html_text(p, e->url ? e->url : "");
    (void)buf_adds(p->out, "</td><td>");
    (void)snprintf(path, sizeof(path), "/webhooks/%s/resend", e->webhook_id);
    if (e->state == EVENT_DEAD || e->state == EVENT_DELIVERED)
        html_action(p, path, "Send again", e->asset_id);
    (void)buf_adds(p->out, "</td></tr>\n");
}

static void add_origin(struct page *p, const struct store_origin *o, const char *process)
{
    (void)buf_adds(p->out, "<tr><th scope=\"row\">");
    html_text(p, o->name);
    (void)buf_adds(p->out, "</th><td>");
    html_state(p, o->state);
    (void)buf_addf(p->out,
                   "</td><td class=\"n\">%u</td><td class=\"n\">%u</td><td class=\"n\">%u</td><td>",
                   o->trips, o->attempts, o->failed);
    html_time(p, o->next_ms);
    (void)buf_adds(p->out, "</td><td>");
    html_text(p, process);
    (void)buf_adds(p->out, "</td></tr>\n");
}

static void add_origins(struct page *p, const struct store_process *processes, size_t n)
{
    size_t rows = 0;
    (void)buf_adds(p->out, "<h2>Origins held back from</h2>\n");
    html_table_begin(p, "origins", "Origins held back from",
                     "origin|breaker|opened|attempts in 5 min|failed|next attempt|process");
    for (size_t i = 0; i < n; i++) {
        const struct store_process *from = &processes[i];
        char name[PROCESS_NAME_LEN];
        process_name(from, name);
        for (unsigned j = 0; j < from->n_origins; j++)
            add_origin(p, &from->origins[j], name);
        if (from->all_origins > from->n_origins) {
            (void)buf_addf(p->out, "<tr><td class=\"none\" colspan=\"6\">and %u more</td><td>",
                           from->all_origins - from->n_origins);
            html_text(p, name);
            (void)buf_adds(p->out, "</td></tr>\n");
        }
        rows += from->all_origins;
    }
    html_table_end(p, rows, "None: every breaker is closed.");
}

static void make_page(struct page *p, const struct event_query *q, const struct event_page *page,
                      const struct store_stats *s, const struct store_process *processes,
                      size_t n_processes)
{
    const char *state = q->by_state ? event_state_name(q->state) : NULL;
    html_begin(p, SECTION_WEBHOOKS, "Webhooks", false);
    (void)buf_adds(p->out, "<dl class=\"figures\" aria-label=\"Webhooks\">");
    html_figure(p, "to send", "backlog",
                s->events_by_state[EVENT_WAITING] + s->events_by_state[EVENT_PENDING]);
    html_figure(p, "delivered", "delivered", s->events_by_state[EVENT_DELIVERED]);
    html_figure(p, "dead letters", "dead", s->events_by_state[EVENT_DEAD]);
    (void)buf_adds(p->out, "</dl>\n");
    add_origins(p, processes, n_processes);
    add_tabs(p, q, s);
    if (q->by_state && q->state == EVENT_DEAD && page->n > 0) {
        (void)buf_adds(p->out, "<p>");
        html_action(p, "/resend-dead", "Send all dead letters again", NULL);
        (void)buf_adds(p->out, "</p>\n");
    }
    html_table_begin(p, "events", "Events",
                     "asset|event|state|attempts|last answer|last attempt|next attempt|URL|action");
    for (size_t i = 0; i < page->n; i++)
        add_event(p, &page->events[i]);
    html_table_end(p, page->n, page->more ? "None among the newest of them." : "None.");
    if (page->more)
        (void)buf_addf(
            p->out,
            "<p class=\"pager\"><a href=\"%s/webhooks?%s%s%safter=%s\" rel=\"next\">Older "
            "ones</a></p>\n",
            p->prefix, state ? "state=" : "", state ? state : "", state ? "&amp;" : "", page->next);
}

/* false: there is no such state, or no such id could be. */
static bool read_query(const struct http_request *http, struct event_query *q,
                       char ret_after[static WEBHOOK_ID_LEN + 1])
{
    char word[16];
    enum form_result state = form_value(http->query, "state", word, sizeof(word));
    enum form_result after = form_value(http->query, "after", ret_after, WEBHOOK_ID_LEN + 1);
    *q = (struct event_query){ .limit = PAGE_ROWS,
                               .after = after == FORM_FOUND && ret_after[0] ? ret_after : NULL };
    if (state == FORM_INVALID || after == FORM_INVALID)
        return false;
    if (state == FORM_ABSENT || !word[0])
        return true;
    q->by_state = true;
    for (size_t i = 0; i < ARRAY_LEN(shown); i++) {
        q->state = shown[i];
        if (strcmp(word, event_state_name(shown[i])) == 0)
            return true;
    }
    return false;
}

void webhooks_page(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    CLEANUP(event_page_release) struct event_page page = { 0 };
    CLEANUP(freep) struct store_process *processes = NULL;
    size_t n_processes;
    struct page p = monitor_page(t);
    char after[WEBHOOK_ID_LEN + 1];
    struct event_query q;
    struct store_stats s;
    struct err err = { 0 };
    if (!read_query(r->http, &q, after)) {
        monitor_reply_sentence(t, x, 400, "Webhooks", "There is no such state or id.");
    } else if (store_stats(t->monitor->store, &s, &err) < 0 ||
               processes_read(t, &processes, &n_processes, &err) < 0 ||
               store_events(t->monitor->store, &q, &page, &err) < 0) {
        if (err.code == ERR_INVALID)
            monitor_reply_sentence(t, x, 400, "Webhooks", "There is no page after this id.");
        else
            monitor_store_away(t, x, false, &err);
    } else {
        make_page(&p, &q, &page, &s, processes, n_processes);
        monitor_reply_page(t, x, &p, 200);
    }
}

static void json_text(struct buf *out, const char *key, const char *text)
{
    (void)buf_addf(out, ",\"%s\":", key);
    if (text)
        (void)buf_add_json(out, text, strlen(text));
    else
        (void)buf_adds(out, "null");
}

static void json_origins(struct buf *out, const struct store_process *processes, size_t n)
{
    const char *before = "";
    (void)buf_adds(out, ",\"origins\":[");
    for (size_t i = 0; i < n; i++) {
        char name[PROCESS_NAME_LEN];
        process_name(&processes[i], name);
        for (unsigned j = 0; j < processes[i].n_origins; j++) {
            const struct store_origin *o = &processes[i].origins[j];
            (void)buf_addf(out,
                           "%s{\"breaker\":\"%s\",\"trips\":%u,\"attempts\":%u,\"failed\":%u,"
                           "\"nextAttemptMs\":%" PRId64,
                           before, o->state, o->trips, o->attempts, o->failed, o->next_ms);
            json_text(out, "origin", o->name);
            json_text(out, "process", name);
            (void)buf_adds(out, "}");
            before = ",";
        }
    }
    (void)buf_adds(out, "]");
}

void api_webhooks(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    CLEANUP(event_page_release) struct event_page page = { 0 };
    CLEANUP(freep) struct store_process *processes = NULL;
    size_t n_processes;
    char after[WEBHOOK_ID_LEN + 1];
    struct event_query q;
    struct err err = { 0 };
    if (!read_query(r->http, &q, after)) {
        monitor_reply_problem(t, x, 400, "Bad Request", "There is no such state or id.");
        return;
    }
    if (processes_read(t, &processes, &n_processes, &err) < 0 ||
        store_events(t->monitor->store, &q, &page, &err) < 0) {
        if (err.code == ERR_INVALID)
            monitor_reply_problem(t, x, 400, "Bad Request", "There is no page after this id.");
        else
            monitor_store_away(t, x, true, &err);
        return;
    }
    (void)buf_adds(&t->body, "{\"events\":[");
    for (size_t i = 0; i < page.n; i++) {
        const struct event_view *e = &page.events[i];
        (void)buf_addf(&t->body,
                       "%s{\"id\":\"%s\",\"asset\":\"%s\",\"notification\":\"%s\",\"state\":\"%s\","
                       "\"attempts\":%u,\"lastStatus\":%d,\"lastAttemptMs\":%" PRId64
                       ",\"nextAttemptMs\":%" PRId64,
                       i ? "," : "", e->webhook_id, e->asset_id, notify_name(e->notify),
                       event_state_name(e->state), e->attempts, e->http_status, e->last_ms,
                       e->next_ms);
        json_text(&t->body, "url", e->url);
        json_text(&t->body, "lastError", e->error);
        (void)buf_adds(&t->body, "}");
    }
    (void)buf_adds(&t->body, "]");
    json_origins(&t->body, processes, n_processes);
    (void)buf_adds(&t->body, ",\"next\":");
    (void)buf_addf(&t->body, page.more ? "\"%s\"}" : "null}", page.next);
    monitor_reply_json(t, x);
}
