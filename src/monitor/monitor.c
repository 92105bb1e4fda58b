#include "monitor/monitor.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "monitor/form.h"
#include "monitor/parts.h"

enum { BODY_MAX_LEN = 4 * 1024 * 1024, ID_MAX_LEN = PROCESS_NAME_LEN - 1 };
_Static_assert((int)ID_MAX_LEN >= (int)WEBHOOK_ID_LEN, "the longest of all ids");

const char type_html[] = "text/html; charset=utf-8";
const char type_json[] = "application/json";
const char type_text[] = "text/plain; charset=utf-8";
static const char problem_type[] = "application/problem+json";

/* Nothing from elsewhere, nothing inline, no frame: a hostile file name stays text. The referrer policy is
 * no stricter, because browsers would then hide the Origin of our own forms. */
static const char page_fields[] =
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'\r\n"
    "X-Content-Type-Options: nosniff\r\nReferrer-Policy: same-origin\r\n"
    "Cross-Origin-Opener-Policy: same-origin\r\nCache-Control: no-store\r\n";
static const char data_fields[] = "X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n";

/* ---- answers ------------------------------------------------------------------------------- */

static const char *prefix_of(const struct monitor *monitor)
{
    return monitor->prefix ? monitor->prefix : "";
}

struct page monitor_page(struct monitor_thread *t)
{
    struct page p = { .out = &t->body,
                      .prefix = prefix_of(t->monitor),
                      .now_ms = clock_wall_ms(),
                      .read_only = t->monitor->read_only || !t->monitor->service,
                      .charts = charts_are_here(t->monitor) };
    memcpy(p.version, t->version, sizeof(p.version));
    return p;
}

void monitor_reply(struct monitor_thread *t, struct http_exchange *x, int status, const char *type,
                   const char *fields)
{
    struct http_response response = { .status = status,
                                      .content_type = t->body.len ? type : NULL,
                                      .body = t->body.data,
                                      .body_len = t->body.len,
                                      .fields = fields };
    if (buf_failed(&t->body))
        response = (struct http_response){ .status = 500 };
    http_reply(x, &response);
    buf_clear(&t->body);
}

void monitor_reply_page(struct monitor_thread *t, struct http_exchange *x, struct page *p,
                        int status)
{
    html_end(p);
    monitor_reply(t, x, status, type_html, page_fields);
}

void monitor_reply_json(struct monitor_thread *t, struct http_exchange *x)
{
    monitor_reply(t, x, 200, type_json, data_fields);
}

void monitor_reply_sentence(struct monitor_thread *t, struct http_exchange *x, int status,
                            const char *title, const char *sentence)
{
    struct page p = monitor_page(t);
    buf_clear(&t->body);
    html_begin(&p, SECTION_NONE, title, false);
    (void)buf_addf(p.out, "<p class=\"alarm\">%s</p>\n", sentence);
    monitor_reply_page(t, x, &p, status);
}

void monitor_reply_problem(struct monitor_thread *t, struct http_exchange *x, int status,
                           const char *title, const char *detail)
{
    buf_clear(&t->body);
    (void)buf_addf(&t->body,
                   "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"detail\":\"%s\"}",
                   title, status, detail);
    monitor_reply(t, x, status, problem_type, data_fields);
}

void monitor_redirect(struct monitor_thread *t, struct http_exchange *x, const char *path)
{
    CLEANUP(buf_release) struct buf fields;
    buf_init(&fields, 1024);
    (void)buf_addf(&fields, "Location: %s%s\r\nCache-Control: no-store\r\n", prefix_of(t->monitor),
                   path);
    buf_clear(&t->body);
    monitor_reply(t, x, 303, NULL, buf_str(&fields));
}

void monitor_store_away(struct monitor_thread *t, struct http_exchange *x, bool json,
                        const struct err *err)
{
    log_error("store_read", LOG_S("why", err->msg));
    if (json)
        monitor_reply_problem(t, x, 503, "Service Unavailable",
                              "The store is away; try again later.");
    else
        monitor_reply_sentence(
            t, x, 503, "The store is away",
            "The store cannot be read just now, so nothing is known here. What was "
            "accepted is safe. Reload in a moment.");
}

/* ---- routes -------------------------------------------------------------------------------- */

/* Whether this monitor can do its work. /healthz: whether it lives. */
static void healthcheck(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    (void)r;
    struct store_stats stats;
    struct err err = { 0 };
    int status = 200;
    if (store_stats(t->monitor->store, &stats, &err) < 0) {
        log_warn("healthcheck", LOG_S("why", err.msg));
        (void)buf_adds(&t->body, "The store is away.\n");
        status = 503;
    } else if (t->monitor->service && !service_healthy(t->monitor->service, &err)) {
        (void)buf_adds(&t->body, "The store cannot be written.\n");
        status = 503;
    } else {
        (void)buf_adds(&t->body, "OK\n");
    }
    monitor_reply(t, x, status, type_text, data_fields);
}

static void healthz(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    (void)r;
    (void)buf_adds(&t->body, "OK\n");
    monitor_reply(t, x, 200, type_text, data_fields);
}

static void metrics(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    (void)r;
    const struct monitor_hooks *hooks = &t->monitor->hooks;
    struct err err = { 0 };
    if (!hooks->metrics)
        monitor_reply_problem(t, x, 404, "Not Found", "This process has no metrics.");
    else if (hooks->metrics(hooks->arg, &t->body, &err) < 0)
        monitor_store_away(t, x, true, &err);
    else
        monitor_reply(t, x, 200, "text/plain; version=0.0.4; charset=utf-8", data_fields);
}

/* Names that Flower's users type. */
static void to_assets(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    (void)r;
    monitor_redirect(t, x, "/assets");
}

static void to_queue(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    (void)r;
    monitor_redirect(t, x, "/queue");
}

enum { READS = 1, WRITES = 2 };

/* A "*" stands for one id. The first that fits is taken. */
static const struct route {
    const char *path;
    unsigned methods;
    route_fn *answer;
} routes[] = {
    { "/", READS, overview_page },
    { "/assets", READS, assets_page },
    { "/assets/*", READS, story_page },
    { "/assets/*/preview", READS, preview_get },
    { "/assets/*/retry", READS | WRITES, retry_one },
    { "/retry", READS | WRITES, retry_matching },
    { "/failed", READS, failed_page },
    { "/workers", READS, workers_page },
    { "/workers/*/drain", READS | WRITES, drain_worker },
    { "/workers/*/resume", READS | WRITES, resume_worker },
    { "/workers/*/resize", READS | WRITES, resize_worker },
    { "/queue", READS, queue_page },
    { "/webhooks", READS, webhooks_page },
    { "/webhooks/*/resend", READS | WRITES, resend_one },
    { "/resend-dead", READS | WRITES, resend_dead },
    { "/live", READS, live_get },
    { "/style.css", READS, style_get },
    { "/monitor.js", READS, script_get },
    { "/icon.svg", READS, icon_get },
    { "/chart.js", READS, charts_get },
    { "/api/overview", READS, api_overview },
    { "/api/history", READS, api_history },
    { "/api/webhooks", READS, api_webhooks },
    { "/api/workers", READS, api_workers },
    { "/api/worker/pool/grow/*", WRITES, api_grow },
    { "/api/worker/pool/shrink/*", WRITES, api_shrink },
    { "/api/tasks", READS, api_tasks },
    { "/api/task/info/*", READS, api_task_info },
    { "/api/queues/length", READS, api_queues_length },
    { "/metrics", READS, metrics },
    { "/healthcheck", READS, healthcheck },
    { "/healthz", READS, healthz },
    { "/tasks", READS, to_assets },
    { "/broker", READS, to_queue },
};

/* Whether path fits; ret_id gets what the "*" stands for. One that is too long to be an id is none. */
static bool fits(const char *pattern, struct http_slice path, char ret_id[static ID_MAX_LEN + 1])
{
    size_t before = strcspn(pattern, "*");
    ret_id[0] = '\0';
    if (!pattern[before])
        return http_slice_is(path, pattern);
    const char *behind = pattern + before + 1;
    size_t behind_len = strlen(behind);
    if (path.len <= before + behind_len || memcmp(path.data, pattern, before) != 0 ||
        memcmp(path.data + path.len - behind_len, behind, behind_len) != 0)
        return false;
    struct http_slice id = { path.data + before, path.len - before - behind_len };
    if (memchr(id.data, '/', id.len))
        return false;
    bool is_id = form_decode(id, ret_id, ID_MAX_LEN + 1) == FORM_FOUND;
    for (const char *c = ret_id; is_id && *c;
         c++) /* they are written into pages and paths as they are */
        is_id = ((unsigned char)*c < 0x80 && isalnum((unsigned char)*c)) || strchr("_-.:", *c);
    if (!is_id)
        ret_id[0] = '\0';
    return true;
}

static const struct route *route_of(struct http_slice path, char ret_id[static ID_MAX_LEN + 1])
{
    for (size_t i = 0; i < ARRAY_LEN(routes); i++)
        if (fits(routes[i].path, path, ret_id))
            return &routes[i];
    return NULL;
}

/* Take the prefix off. false: it is not there. */
static bool strip_prefix(const struct monitor *monitor, struct http_slice *path)
{
    const char *prefix = prefix_of(monitor);
    size_t len = strlen(prefix);
    if (len == 0)
        return true;
    if (path->len < len || memcmp(path->data, prefix, len) != 0 ||
        (path->len > len && path->data[len] != '/'))
        return false;
    path->data += len;
    path->len -= len;
    if (path->len == 0)
        *path = (struct http_slice){ "/", 1 };
    return true;
}

static bool is_admitted(struct monitor_thread *t, struct http_exchange *x,
                        const struct http_request *request, const struct route *route)
{
    const struct monitor_hooks *hooks = &t->monitor->hooks;
    t->who = NULL;
    if (!hooks->admit || (route && (route->answer == healthcheck || route->answer == healthz)) ||
        hooks->admit(hooks->arg, request, &t->who))
        return true;
    (void)buf_adds(&t->body, "A key is needed here: as the password of any user name.\n");
    monitor_reply(t, x, 401, type_text, hooks->challenge);
    return false;
}

/* These are asked for by machines, which need neither a prefix nor a key. */
static bool is_health(struct http_slice path)
{
    return http_slice_is(path, "/healthcheck") || http_slice_is(path, "/healthz");
}

static void handle(void *ctx, struct http_exchange *x, const struct http_request *request)
{
    struct monitor_thread *t = ctx;
    struct http_slice path = request->path;
    char id[ID_MAX_LEN + 1] = "";
    bool beneath = strip_prefix(t->monitor, &path);
    const struct route *route = beneath || is_health(path) ? route_of(path, id) : NULL;
    struct request r = { request, id };
    if (!is_admitted(t, x, request, route))
        return;
    if (!route) {
        monitor_reply_sentence(t, x, 404, "Not found", "There is no such page.");
    } else if (request->method == HTTP_POST
                   ? route->methods & WRITES
                   : (request->method == HTTP_GET || request->method == HTTP_HEAD) &&
                         (route->methods & READS)) {
        route->answer(t, x, &r);
    } else {
        (void)buf_adds(&t->body, "This page does not have this method.\n");
        monitor_reply(t, x, 405, type_text,
                      route->methods == WRITES  ? "Allow: POST\r\n"
                      : route->methods == READS ? "Allow: GET, HEAD\r\n"
                                                : "Allow: GET, HEAD, POST\r\n");
    }
}

bool monitor_prefix_is_valid(const char *prefix)
{
    if (!prefix[0])
        return true;
    if (prefix[0] != '/')
        return false;
    for (const char *c = prefix; *c; c++) {
        bool slash = *c == '/' && c[1] && c[1] != '/';
        bool plain = (unsigned char)*c < 0x80 && (isalnum((unsigned char)*c) || strchr("-._~", *c));
        if (!slash && !plain)
            return false;
    }
    return strlen(prefix) <= 100 && !strstr(prefix, "/.");
}

/* ---- the thread ---------------------------------------------------------------------------- */

static int thread_start(void *app, void **ret_ctx, int *ret_wake_fd, struct err *err)
{
    struct monitor_thread *t = calloc(1, sizeof(*t));
    if (!t)
        return err_set(err, ERR_NOMEM, "out of memory");
    t->monitor = app;
    buf_init(&t->body, BODY_MAX_LEN);
    resources_version(t->version);
    if (token_key_make(&t->key, err) < 0 || mailbox_init(&t->box, err) < 0) {
        free(t);
        return -1;
    }
    t->watch.reply_to = &t->box;
    *ret_ctx = t;
    *ret_wake_fd = t->box.fd;
    return 0;
}

static void thread_stop(void *ctx)
{
    struct monitor_thread *t = ctx;
    live_end(t);
    actions_abandon(t);
    mailbox_release(&t->box);
    buf_release(&t->body);
    free(t);
}

static void wake(void *ctx)
{
    struct monitor_thread *t = ctx;
    struct mail *mail = mailbox_take(&t->box);
    while (mail) {
        struct mail *next = mail->next;
        if (mail == &t->watch.mail)
            live_changed(t);
        else
            actions_answered(t, MAIL_ENTRY(mail, struct step, mail));
        mail = next;
    }
}

static void turn_over(void *ctx)
{
    live_turn_over(ctx);
}

static int sleep_ms(void *ctx)
{
    return live_sleep_ms(ctx);
}

static void gone(void *ctx, struct http_exchange *x)
{
    live_gone(ctx, x);
}

static void drain(void *ctx)
{
    struct monitor_thread *t = ctx;
    t->draining = true;
    live_end(t);
}

static const char *problem(int status, const char *detail, struct buf *body)
{
    (void)status;
    (void)buf_addf(body, "%s\n", detail);
    return type_text;
}

const struct http_app monitor_http = { .thread_start = thread_start,
                                       .thread_stop = thread_stop,
                                       .handle = handle,
                                       .wake = wake,
                                       .turn_over = turn_over,
                                       .sleep_ms = sleep_ms,
                                       .gone = gone,
                                       .drain = drain,
                                       .problem = problem };
