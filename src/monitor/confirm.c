/* confirm: nothing is changed without a page that says what will happen, and a form of ours that says yes. */
#include <strings.h>

#include "base/clock.h"
#include "base/log.h"
#include "monitor/form.h"
#include "monitor/parts.h"

bool confirm_is_allowed(struct monitor_thread *t, struct http_exchange *x)
{
    if (!t->monitor->read_only && t->monitor->service)
        return true;
    monitor_reply_sentence(t, x, 403, "Read only", "This monitor shows, and changes nothing.");
    return false;
}

void confirm_ask(struct monitor_thread *t, struct http_exchange *x, const struct request *r,
                 const struct question *q)
{
    struct page p = monitor_page(t);
    char token[TOKEN_LEN + 1];
    if (token_make(&t->key, q->path, r->http, p.now_ms, token) < 0) {
        monitor_reply_problem(t, x, 503, "Service Unavailable", "There is no memory left.");
        return;
    }
    html_begin(&p, SECTION_NONE, q->title, false);
    (void)buf_addf(p.out, "<p>%s</p><form class=\"confirm\" method=\"post\" action=\"%s%s", q->what,
                   p.prefix, q->path);
    if (q->filter) {
        (void)buf_adds(p.out, "?");
        filter_write(q->filter, p.out);
    }
    (void)buf_addf(
        p.out,
        "\">%s<input type=\"hidden\" name=\"token\" value=\"%s\"><button class=\"do\">%s</button> "
        "<a href=\"%s%s\">No, leave it</a></form>\n",
        q->input ? q->input : "", token, q->title, p.prefix, q->back ? q->back : "/");
    monitor_reply_page(t, x, &p, 200);
}

static bool is_form(const struct http_request *http)
{
    static const char type[] = "application/x-www-form-urlencoded";
    struct http_slice given = http_field(http, "content-type");
    size_t len = sizeof(type) - 1;
    return given.len >= len && strncasecmp(given.data, type, len) == 0 &&
           (given.len == len || given.data[len] == ';');
}

/* Whether what was posted comes from the page that asked. */
bool confirm_is_given(struct monitor_thread *t, struct http_exchange *x, const struct request *r,
                      const char *path)
{
    char token[TOKEN_LEN + 2];
    const char *why = NULL;
    if (token_is_cross_site(r->http))
        why = "Pages of other sites may not do this.";
    else if (!is_form(r->http) ||
             form_value(r->http->body, "token", token, sizeof(token)) != FORM_FOUND ||
             !token_is_good(&t->key, path, r->http, clock_wall_ms(), token))
        why = "This form is too old, or was not made here: go back and try again.";
    if (!why)
        return true;
    log_warn("monitor_refused", LOG_S("action", path), LOG_S("by", t->who), LOG_S("why", why));
    monitor_reply_sentence(t, x, 403, "Not done", why);
    return false;
}
