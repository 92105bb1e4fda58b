/* workers: the processes that validate, and how many of their threads claim assets. Where processes share
 * a store, each tells of itself there and reads there what is wanted of it; else the only one is ours. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "monitor/form.h"
#include "monitor/parts.h"

enum { IN_WORK_ROWS = 20 };

/* ---- who there is -------------------------------------------------------------------------- */

static bool is_shared(const struct monitor_thread *t)
{
    return t->monitor->store->ops->processes != NULL;
}

int processes_read(struct monitor_thread *t, struct store_process **ret_all, size_t *ret_n,
                   struct err *err)
{
    const struct monitor_hooks *hooks = &t->monitor->hooks;
    size_t max = is_shared(t) ? PROCESSES_MAX : 1, n = 0;
    CLEANUP(freep) struct store_process *all = calloc(max, sizeof(*all));
    if (!all)
        return err_set(err, ERR_NOMEM, "out of memory");
    if (!is_shared(t))
        n = hooks->self && hooks->self(hooks->arg, all);
    else if (store_processes(t->monitor->store, all, max, &n, err) < 0)
        return -1;
    *ret_all = TAKE(all);
    *ret_n = n;
    return 0;
}

const char *process_name(const struct store_process *process, char ret[static PROCESS_NAME_LEN])
{
    (void)snprintf(ret, PROCESS_NAME_LEN, "%s:%d", process->host, process->pid);
    return ret;
}

/* A container that is started again has its host and pid again; what is left of the one before is
 * silent. */
static bool is_replaced(const struct store_process *all, size_t n, size_t i)
{
    for (size_t j = i + 1; j < n; j++)
        if (all[j].pid == all[i].pid && strcmp(all[j].host, all[i].host) == 0)
            return true;
    return false;
}

static bool is_late(const struct store_process *p, int64_t now_ms)
{
    return now_ms - p->seen_ms >= STORE_PROCESS_LATE_MS;
}

static const char *state_of(const struct store_process *p, int64_t now_ms)
{
    if (is_late(p, now_ms))
        return "late";
    if (p->active > 0 || p->capacity == 0)
        return "online";
    return p->busy > 0 ? "draining" : "drained";
}

/* Active threads, once it has heard of what was asked last. */
static unsigned wanted_of(const struct store_process *p)
{
    if (p->wanted < 0)
        return p->active;
    return (unsigned)p->wanted < p->capacity ? (unsigned)p->wanted : p->capacity;
}

/* ---- the page ------------------------------------------------------------------------------ */

static void add_actions(struct page *p, const struct store_process *w, const char *name)
{
    char path[64];
    if (w->capacity == 0)
        return;
    bool drain = wanted_of(w) > 0;
    (void)snprintf(path, sizeof(path), "/workers/%" PRIu64 "/%s", w->number,
                   drain ? "drain" : "resume");
    html_action(p, path, drain ? "Drain" : "Resume", name);
    (void)buf_adds(p->out, " ");
    (void)snprintf(path, sizeof(path), "/workers/%" PRIu64 "/resize", w->number);
    html_action(p, path, "Resize", name);
}

static void add_threads(struct page *p, const struct store_process *w)
{
    (void)buf_addf(p->out, "</td><td class=\"n\">%u of %u", w->active, w->capacity);
    if (wanted_of(w) != w->active)
        (void)buf_addf(p->out, " <span class=\"pending\">→ %u</span>", wanted_of(w));
    (void)buf_addf(p->out, "</td><td class=\"n\">%u</td><td>", w->busy);
    if (w->n_assets == 0)
        (void)buf_adds(p->out, "–");
    for (unsigned i = 0; i < w->n_assets; i++) {
        (void)buf_adds(p->out, i ? " " : "");
        html_asset_link(p, w->assets[i]);
    }
    if (w->busy > w->n_assets && w->n_assets == STORE_PROCESS_ASSETS)
        (void)buf_adds(p->out, " …");
}

static void add_worker(struct page *p, const struct store_process *w)
{
    char name[PROCESS_NAME_LEN];
    CLEANUP(buf_release) struct buf escaped;
    double seconds = (double)(p->now_ms - w->since_ms) / 1000;
    process_name(w, name);
    buf_init(&escaped, 1024);
    (void)buf_add_html(&escaped, name, strlen(name));
    (void)buf_adds(p->out, "<tr><th scope=\"row\">");
    html_text(p, name);
    (void)buf_adds(p->out, "</th><td>");
    html_state(p, state_of(w, p->now_ms));
    add_threads(p, w);
    (void)buf_addf(p->out, "</td><td class=\"n\">%" PRIu64 "</td><td class=\"n\">", w->done);
    if (w->failed >= 0)
        (void)buf_addf(p->out, "%" PRId64, w->failed);
    else
        (void)buf_adds(p->out, "–");
    (void)buf_addf(p->out,
                   "</td><td class=\"n\">%" PRIu64 "</td><td class=\"n\">%.2f</td><td class=\"n\">",
                   w->faults, seconds > 0 ? (double)w->done / seconds : 0.0);
    if (w->memory_bytes)
        (void)buf_addf(p->out, "%.1f MiB", (double)w->memory_bytes / (1024 * 1024));
    else
        (void)buf_adds(p->out, "–");
    (void)buf_adds(p->out, "</td><td>");
    html_text(p, w->version);
    (void)buf_adds(p->out, "</td><td class=\"n\">");
    html_duration(p, p->now_ms - w->since_ms);
    (void)buf_addf(p->out, "</td><td class=\"n\">%" PRId64 " s ago</td><td class=\"actions\">",
                   (p->now_ms - w->seen_ms) / 1000);
    add_actions(p, w, buf_str(&escaped));
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
    CLEANUP(asset_page_release) struct asset_page page = { 0 };
    CLEANUP(freep) struct store_process *workers = NULL;
    size_t n;
    struct asset_query query = { .by_state = true, .state = ASSET_STARTED, .limit = IN_WORK_ROWS };
    struct page p = monitor_page(t);
    struct err err = { 0 };
    if (processes_read(t, &workers, &n, &err) < 0 ||
        store_list(t->monitor->store, &query, &page, &err) < 0) {
        monitor_store_away(t, x, false, &err);
        return;
    }
    html_begin(&p, SECTION_WORKERS, "Workers", false);
    html_table_begin(&p, "workers", "Workers",
                     "process|state|threads|busy|at work on|done|failed|faults|a second|"
                     "memory|version|up for|seen|actions");
    for (size_t i = 0; i < n; i++)
        add_worker(&p, &workers[i]);
    html_table_end(&p, n, "No worker is known here.");
    (void)buf_addf(
        p.out,
        "<p class=\"note\">Threads: those that claim assets, of all that the process has. Counts "
        "and rate are since it started. A fault is an asset that could not be judged, and is "
        "tried again. A drained process finishes what it has and claims nothing more, until it "
        "is resumed or started again.%s</p>\n",
        is_shared(t) ? " Each process tells of itself, and hears what is asked of it, every five "
                       "seconds; one that has told nothing for 15 s is late, after 30 s it is "
                       "gone from here."
                     : "");
    add_in_work(&p, &page);
    monitor_reply_page(t, x, &p, 200);
}

/* ---- actions ------------------------------------------------------------------------------- */

/* 1; 0: there is no such process (any more); -1: the store is away. */
static int set_active(struct monitor_thread *t, const struct store_process *w, unsigned active,
                      const char *action, struct err *err)
{
    const struct monitor_hooks *hooks = &t->monitor->hooks;
    char room[PROCESS_NAME_LEN];
    const char *name = process_name(w, room);
    log_info("monitor_action", LOG_S("action", action), LOG_S("target", name),
             LOG_I("threads", active), LOG_S("by", t->who));
    int done = 1;
    if (is_shared(t))
        done = store_ask_active(t->monitor->store, w->number, active, err);
    else
        hooks->resize(hooks->arg, active);
    log_info("monitor_action_done", LOG_S("action", action), LOG_S("target", name),
             LOG_I("done", done > 0));
    return done;
}

static void no_such_worker(struct monitor_thread *t, struct http_exchange *x)
{
    monitor_reply_sentence(t, x, 404, "Workers", "There is no such process (any more).");
}

/* The process that the path tells. false: it has answered. */
static bool worker_of(struct monitor_thread *t, struct http_exchange *x, const struct request *r,
                      struct store_process *ret)
{
    CLEANUP(freep) struct store_process *all = NULL;
    struct err err = { 0 };
    size_t n;
    if (!confirm_is_allowed(t, x))
        return false;
    if (processes_read(t, &all, &n, &err) < 0) {
        monitor_store_away(t, x, false, &err);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        char number[24];
        (void)snprintf(number, sizeof(number), "%" PRIu64, all[i].number);
        if (strcmp(number, r->id) == 0 && all[i].capacity > 0) {
            *ret = all[i];
            return true;
        }
    }
    no_such_worker(t, x);
    return false;
}

static void ask(struct monitor_thread *t, struct http_exchange *x, const struct request *r,
                const struct store_process *w, struct question *q, const char *will)
{
    CLEANUP(buf_release) struct buf what;
    char name[PROCESS_NAME_LEN];
    process_name(w, name);
    buf_init(&what, 4096);
    (void)buf_add_html(&what, name, strlen(name));
    (void)buf_addf(&what, " %s%s", will,
                   is_shared(t) ? " It hears of it within five seconds." : "");
    q->what = buf_str(&what);
    q->back = "/workers";
    confirm_ask(t, x, r, q);
}

static void answer(struct monitor_thread *t, struct http_exchange *x, int done,
                   const struct err *err)
{
    if (done < 0)
        monitor_store_away(t, x, false, err);
    else if (done == 0)
        no_such_worker(t, x);
    else
        monitor_redirect(t, x, "/workers");
}

static void drain_or_resume(struct monitor_thread *t, struct http_exchange *x,
                            const struct request *r, bool drain)
{
    struct store_process w;
    struct err err = { 0 };
    char path[64];
    if (!worker_of(t, x, r, &w))
        return;
    (void)snprintf(path, sizeof(path), "/workers/%" PRIu64 "/%s", w.number,
                   drain ? "drain" : "resume");
    if (r->http->method != HTTP_POST) {
        struct question q = { .path = path, .title = drain ? "Drain" : "Resume" };
        ask(t, x, r, &w, &q,
            drain ? "claims nothing more and finishes what it has, until it is resumed or started "
                    "again. It goes on sending webhooks."
                  : "works with all its threads again.");
    } else if (confirm_is_given(t, x, r, path)) {
        int done = set_active(t, &w, drain ? 0 : w.capacity, drain ? "drain" : "resume", &err);
        answer(t, x, done, &err);
    }
}

void drain_worker(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    drain_or_resume(t, x, r, true);
}

void resume_worker(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    drain_or_resume(t, x, r, false);
}

/* A number from 0 to max, and nothing else. false: it is none. */
static bool read_number(struct http_slice form, const char *name, unsigned max, unsigned *ret)
{
    char word[8];
    if (form_value(form, name, word, sizeof(word)) != FORM_FOUND || !word[0] ||
        word[strspn(word, "0123456789")])
        return false;
    unsigned long n = strtoul(word, NULL, 10);
    *ret = (unsigned)n;
    return n <= max;
}

void resize_worker(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    struct store_process w;
    struct err err = { 0 };
    char path[64], input[250];
    unsigned active;
    if (!worker_of(t, x, r, &w))
        return;
    (void)snprintf(path, sizeof(path), "/workers/%" PRIu64 "/resize", w.number);
    if (r->http->method != HTTP_POST) {
        (void)snprintf(
            input, sizeof(input),
            "<label for=\"active\">Threads, 0 to %u</label><input id=\"active\" "
            "name=\"active\" type=\"number\" min=\"0\" max=\"%u\" value=\"%u\" required>",
            w.capacity, w.capacity, wanted_of(&w));
        struct question q = { .path = path, .title = "Resize", .input = input };
        ask(t, x, r, &w, &q,
            "claims assets with so many of its threads from then on, until it is started again; "
            "the others finish what they have.");
    } else if (confirm_is_given(t, x, r, path)) {
        if (!read_number(r->http->body, "active", w.capacity, &active)) {
            monitor_reply_sentence(t, x, 400, "Resize", "It does not have so many threads.");
            return;
        }
        answer(t, x, set_active(t, &w, active, "resize", &err), &err);
    }
}

/* ---- JSON, with Flower's names ------------------------------------------------------------- */

static void add_json(struct buf *out, const struct store_process *w, int64_t now_ms)
{
    (void)buf_addf(out,
                   ":{\"status\":%s,\"state\":\"%s\",\"pid\":%d,\"concurrency\":%u,\"active\":%u,"
                   "\"wanted\":%u,\"busy\":%u,\"processed\":%" PRIu64,
                   is_late(w, now_ms) ? "false" : "true", state_of(w, now_ms), w->pid, w->capacity,
                   w->active, wanted_of(w), w->busy, w->done);
    if (w->failed >= 0)
        (void)buf_addf(out, ",\"succeeded\":%" PRIu64 ",\"failed\":%" PRId64,
                       w->done - (uint64_t)w->failed, w->failed);
    else
        (void)buf_adds(out, ",\"succeeded\":null,\"failed\":null");
    (void)buf_addf(out, ",\"faults\":%" PRIu64 ",\"memoryBytes\":%" PRIu64 ",\"host\":", w->faults,
                   w->memory_bytes);
    (void)buf_add_json(out, w->host, strlen(w->host));
    (void)buf_adds(out, ",\"version\":");
    (void)buf_add_json(out, w->version, strlen(w->version));
    (void)buf_addf(out, ",\"since\":%.3f,\"lastSeen\":%.3f,\"assets\":[",
                   (double)w->since_ms / 1000, (double)w->seen_ms / 1000);
    for (unsigned i = 0; i < w->n_assets; i++)
        (void)buf_addf(out, "%s\"%s\"", i ? "," : "", w->assets[i]);
    (void)buf_adds(out, "]}");
}

void api_workers(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    (void)r;
    CLEANUP(freep) struct store_process *all = NULL;
    struct buf *out = &t->body;
    struct err err = { 0 };
    size_t n;
    if (processes_read(t, &all, &n, &err) < 0) {
        monitor_store_away(t, x, true, &err);
        return;
    }
    int64_t now_ms = clock_wall_ms();
    const char *before = "{";
    for (size_t i = 0; i < n; i++) {
        char name[PROCESS_NAME_LEN];
        if (is_replaced(all, n, i))
            continue;
        process_name(&all[i], name);
        (void)buf_adds(out, before);
        (void)buf_add_json(out, name, strlen(name));
        add_json(out, &all[i], now_ms);
        before = ",";
    }
    (void)buf_adds(out, out->len ? "}" : "{}");
    monitor_reply_json(t, x);
}

/* Whether a program may change something. A browser that another site's page sends here says so. */
static bool may_change(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    const char *why = NULL;
    if (t->monitor->read_only || !t->monitor->service)
        why = "This monitor shows, and changes nothing.";
    else if (token_is_cross_site(r->http))
        why = "Pages of other sites may not do this.";
    if (why)
        monitor_reply_problem(t, x, 403, "Forbidden", why);
    return !why;
}

static void grow(struct monitor_thread *t, struct http_exchange *x, const struct request *r,
                 bool more)
{
    CLEANUP(freep) struct store_process *all = NULL;
    struct err err = { 0 };
    unsigned by = 1;
    size_t n, i;
    char word[8];
    if (!may_change(t, x, r))
        return;
    if (form_value(r->http->query, "n", word, sizeof(word)) != FORM_ABSENT &&
        !read_number(r->http->query, "n", 1024, &by)) {
        monitor_reply_problem(t, x, 400, "Bad Request", "n is a number from 0 to 1024.");
        return;
    }
    if (processes_read(t, &all, &n, &err) < 0) {
        monitor_store_away(t, x, true, &err);
        return;
    }
    for (i = n; i > 0; i--) {
        char name[PROCESS_NAME_LEN];
        process_name(&all[i - 1], name);
        if (strcmp(name, r->id) == 0)
            break;
    }
    int done = 0;
    unsigned active = 0;
    if (i > 0) {
        const struct store_process *w = &all[i - 1];
        unsigned now = wanted_of(w);
        active = more ? now + by : now > by ? now - by : 0;
        active = active < w->capacity ? active : w->capacity;
        done = set_active(t, w, active, more ? "grow" : "shrink", &err);
    }
    if (done < 0) {
        monitor_store_away(t, x, true, &err);
    } else if (done == 0) {
        monitor_reply_problem(t, x, 404, "Not Found", "There is no such worker (any more).");
    } else {
        (void)buf_addf(&t->body, "{\"message\":\"It is to work with %u threads.\",\"wanted\":%u}",
                       active, active);
        monitor_reply_json(t, x);
    }
}

void api_grow(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    grow(t, x, r, true);
}

void api_shrink(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    grow(t, x, r, false);
}
