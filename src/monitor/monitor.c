#include "monitor/monitor.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

enum { PAGE_MAX_LEN = 4 * 1024 * 1024, PAGE_ROWS = 100 };

static const char html_type[] = "text/html; charset=utf-8";
static const char css_type[] = "text/css; charset=utf-8";
static const char text_type[] = "text/plain; charset=utf-8";

/* Nothing from elsewhere, no script, no frame: a hostile file name stays text. */
static const char page_fields[] =
    "Content-Security-Policy: default-src 'none'; style-src 'self'; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'\r\n"
    "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nCache-Control: "
    "no-store\r\n";

static const char style[] =
    ":root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}"
    "body{max-width:60rem;margin:0 auto;padding:1rem}"
    "h1{font-size:1.4rem}a{color:LinkText}"
    "dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:.75rem;margin:0}"
    "dl div{border:1px solid color-mix(in srgb,CanvasText 25%,Canvas);border-radius:.5rem;"
    "padding:.75rem}"
    "dt{font-size:.9rem;opacity:.8}dd{margin:0;font-size:1.6rem;font-variant-numeric:tabular-nums}"
    "table{border-collapse:collapse;width:100%}"
    "th,td{text-align:left;padding:.35rem .5rem;vertical-align:top;overflow-wrap:anywhere;"
    "border-bottom:1px solid color-mix(in srgb,CanvasText 20%,Canvas)}"
    "td:first-child{font-family:ui-monospace,monospace;white-space:nowrap}";

struct monitor_thread {
    const struct monitor *monitor;
    struct buf body;
};

static int thread_start(void *app, void **ret_ctx, int *ret_wake_fd, struct err *err)
{
    struct monitor_thread *t = calloc(1, sizeof(*t));
    if (!t)
        return err_set(err, ERR_NOMEM, "out of memory");
    t->monitor = app;
    buf_init(&t->body, PAGE_MAX_LEN);
    *ret_ctx = t;
    *ret_wake_fd = -1;
    return 0;
}

static void thread_stop(void *ctx)
{
    struct monitor_thread *t = ctx;
    buf_release(&t->body);
    free(t);
}

static void reply(struct monitor_thread *t, struct http_exchange *x, int status, const char *type,
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

static void page_begin(struct buf *out, const char *title)
{
    (void)buf_addf(out,
                   "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">"
                   "<meta name=\"viewport\" content=\"width=device-width\"><title>%s: assay</title>"
                   "<link rel=\"stylesheet\" href=\"/style.css\"><h1>%s</h1>",
                   title, title);
}

static void page_store_away(struct monitor_thread *t, struct http_exchange *x,
                            const struct err *err)
{
    log_error("store_read", LOG_S("why", err->msg));
    buf_clear(&t->body);
    page_begin(&t->body, "The store is away");
    (void)buf_adds(&t->body, "<p>The figures cannot be read just now. Reload in a moment.</p>");
    reply(t, x, 503, html_type, page_fields);
}

static void add_figure(struct buf *out, const char *name, uint64_t value)
{
    (void)buf_addf(out, "<div><dt>%s</dt><dd>%" PRIu64 "</dd></div>", name, value);
}

static void overview(struct monitor_thread *t, struct http_exchange *x)
{
    struct store_stats s;
    struct err err;
    if (store_stats(t->monitor->store, &s, &err) < 0) {
        page_store_away(t, x, &err);
        return;
    }
    struct buf *out = &t->body;
    page_begin(out, "Assets");
    (void)buf_adds(out, "<dl>");
    add_figure(out, "accepted", s.accepted);
    add_figure(out, "queue depth", s.by_state[ASSET_QUEUED]);
    add_figure(out, "started", s.by_state[ASSET_STARTED]);
    add_figure(out, "success", s.by_state[ASSET_SUCCESS]);
    add_figure(out, "failed", s.by_state[ASSET_FAILED]);
    add_figure(out, "pruned", s.pruned);
    (void)buf_adds(out, "</dl><p><a href=\"/failed\">The failed ones</a></p><h1>Webhooks</h1><dl>");
    add_figure(out, "waiting", s.events_by_state[EVENT_WAITING] + s.events_by_state[EVENT_PENDING]);
    add_figure(out, "delivered", s.events_by_state[EVENT_DELIVERED]);
    add_figure(out, "dead letters", s.events_by_state[EVENT_DEAD]);
    add_figure(out, "switched off", s.events_by_state[EVENT_OFF]);
    (void)buf_adds(out, "</dl>");
    reply(t, x, 200, html_type, page_fields);
}

static void add_row(struct buf *out, const struct asset *a)
{
    char ended[CLOCK_TEXT_LEN];
    (void)buf_addf(out, "<tr><td>%s</td><td>%s</td><td>", a->id, clock_text(a->ended_ms, ended));
    (void)buf_add_html(out, a->path, strlen(a->path));
    (void)buf_adds(out, "</td><td>");
    if (a->errors)
        (void)buf_add_html(out, a->errors, strlen(a->errors));
    (void)buf_adds(out, "</td></tr>");
}

static void failed(struct monitor_thread *t, struct http_exchange *x, struct http_slice query)
{
    static const char parameter[] = "after=";
    char after[ASSET_ID_LEN + 1] = "";
    struct asset_query q = { .by_state = true, .state = ASSET_FAILED, .limit = PAGE_ROWS };
    size_t skip = sizeof(parameter) - 1;
    if (query.len > skip && query.len <= skip + ASSET_ID_LEN &&
        memcmp(query.data, parameter, skip) == 0) {
        memcpy(after, query.data + skip, query.len - skip);
        q.after = after;
    }
    CLEANUP(asset_page_release) struct asset_page page = { 0 };
    struct err err;
    if (store_list(t->monitor->store, &q, &page, &err) < 0) {
        page_store_away(t, x, &err);
        return;
    }
    struct buf *out = &t->body;
    page_begin(out, "Failed assets");
    (void)buf_adds(out, "<p><a href=\"/\">Overview</a></p><table><thead><tr><th>id<th>ended<th>path"
                        "<th>errors</thead><tbody>");
    for (size_t i = 0; i < page.n; i++)
        add_row(out, &page.assets[i]);
    (void)buf_adds(out, "</tbody></table>");
    if (page.n == 0)
        (void)buf_adds(out, "<p>None.</p>");
    if (page.more)
        (void)buf_addf(out, "<p><a href=\"/failed?after=%s\">Older ones</a></p>",
                       page.assets[page.n - 1].id);
    reply(t, x, 200, html_type, page_fields);
}

static void handle(void *ctx, struct http_exchange *x, const struct http_request *request)
{
    struct monitor_thread *t = ctx;
    if (request->method != HTTP_GET && request->method != HTTP_HEAD) {
        (void)buf_adds(&t->body, "Only GET and HEAD are known here.\n");
        reply(t, x, 405, text_type, "Allow: GET, HEAD\r\n");
    } else if (http_slice_is(request->path, "/")) {
        overview(t, x);
    } else if (http_slice_is(request->path, "/failed")) {
        failed(t, x, request->query);
    } else if (http_slice_is(request->path, "/style.css")) {
        (void)buf_adds(&t->body, style);
        reply(t, x, 200, css_type, "Cache-Control: max-age=3600\r\n");
    } else if (http_slice_is(request->path, "/healthcheck")) {
        (void)buf_adds(&t->body, "OK\n");
        reply(t, x, 200, text_type, NULL);
    } else {
        (void)buf_adds(&t->body, "There is no such page.\n");
        reply(t, x, 404, text_type, NULL);
    }
}

static const char *problem(int status, const char *detail, struct buf *body)
{
    (void)status;
    (void)buf_addf(body, "%s\n", detail);
    return text_type;
}

const struct http_app monitor_http = {
    .thread_start = thread_start, .thread_stop = thread_stop, .handle = handle, .problem = problem
};
