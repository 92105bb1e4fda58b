/* assets: those that match, newest first. The address says everything, so that a search can be kept. */
#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "monitor/parts.h"
#include "monitor/story.h"
#include "validate/verdict.h"

static void add_option(struct page *p, const char *value, const char *label, bool selected)
{
    (void)buf_addf(p->out, "<option value=\"%s\"%s>%s</option>", value, selected ? " selected" : "",
                   label);
}

static void add_input(struct page *p, const char *name, const char *label, const char *type,
                      const char *value)
{
    (void)buf_addf(p->out,
                   "<div><label for=\"f-%s\">%s</label><input id=\"f-%s\" name=\"%s\" type=\"%s\" "
                   "value=\"",
                   name, label, name, name, type);
    (void)buf_add_html(p->out, value, strlen(value));
    (void)buf_adds(p->out, "\"></div>");
}

static void add_form(struct page *p, const struct filter *f)
{
    (void)buf_addf(p->out, "<form class=\"filter\" action=\"%s/assets\">", p->prefix);
    add_input(p, "q", "id or exact path", "search", f->q);
    (void)buf_adds(
        p->out, "<div><label for=\"f-state\">state</label><select id=\"f-state\" name=\"state\">");
    add_option(p, "", "any", !f->by_state);
    for (int s = 0; s < ASSET_STATES; s++)
        add_option(p, asset_state_name((enum asset_state)s), asset_state_name((enum asset_state)s),
                   f->by_state && (int)f->state == s);
    (void)buf_adds(p->out,
                   "</select></div><div><label for=\"f-code\">error</label><select id=\"f-code\" "
                   "name=\"code\">");
    add_option(p, "", "any", !f->by_code);
    for (unsigned c = 0; c < FINDING_COUNT; c++)
        if (finding_is_error((enum finding_code)c))
            add_option(p, finding_name((enum finding_code)c), finding_name((enum finding_code)c),
                       f->by_code && f->code == c);
    (void)buf_adds(p->out, "</select></div>");
    add_input(p, "since", "accepted since (UTC)", "datetime-local", f->since);
    add_input(p, "until", "until (UTC)", "datetime-local", f->until);
    (void)buf_addf(p->out,
                   "<div><button>Search</button> <a href=\"%s/assets\">all</a></div></form>\n",
                   p->prefix);
}

static void add_row(struct page *p, const struct asset *a)
{
    (void)buf_adds(p->out, "<tr><th scope=\"row\">");
    html_asset_link(p, a->id);
    (void)buf_adds(p->out, "</th><td>");
    html_state(p, asset_state_name(a->state));
    (void)buf_adds(p->out, "</td><td class=\"path\">");
    html_text(p, a->path);
    (void)buf_adds(p->out, "</td><td>");
    html_time(p, a->accepted_ms);
    (void)buf_adds(p->out, "</td><td class=\"n\">");
    if (a->ended_ms)
        html_duration(p, a->ended_ms - a->accepted_ms);
    else
        (void)buf_adds(p->out, "–");
    (void)buf_adds(p->out, "</td><td class=\"errors\">");
    if (a->errors)
        story_errors(p, a->errors);
    (void)buf_adds(p->out, "</td></tr>\n");
}

static void add_list(struct page *p, const struct filter *f, const struct asset_page *page)
{
    html_table_begin(p, "assets", "Assets", "id|state|path|accepted|took|errors");
    for (size_t i = 0; i < page->n; i++)
        add_row(p, &page->assets[i]);
    html_table_end(p, page->n, page->more ? "None among the newest of them." : "None.");
    (void)buf_adds(p->out, "<p class=\"pager\">");
    if (f->after[0]) {
        (void)buf_addf(p->out, "<a href=\"%s/assets?", p->prefix);
        filter_write(f, p->out);
        (void)buf_adds(p->out, "\">The newest ones</a> ");
    }
    if (page->more) {
        (void)buf_addf(p->out, "<a href=\"%s/assets?", p->prefix);
        filter_write(f, p->out);
        (void)buf_addf(p->out, "after=%s\" rel=\"next\">Older ones</a>", page->next);
    }
    (void)buf_adds(p->out, "</p>\n");
}

/* Retry all that match: of failed ones, and of nothing less than a question. */
static void add_actions(struct page *p, const struct filter *f, bool any)
{
    if (p->read_only || !any || !f->by_state || f->state != ASSET_FAILED)
        return;
    (void)buf_addf(p->out, "<p><a class=\"button\" href=\"%s/retry?", p->prefix);
    filter_write(f, p->out);
    (void)buf_adds(p->out, "\">Retry all that match</a></p>\n");
}

static void list(struct monitor_thread *t, struct http_exchange *x, const struct filter *f)
{
    CLEANUP(asset_page_release) struct asset_page page = { 0 };
    struct asset_query query = filter_query(f, PAGE_ROWS);
    struct page p = monitor_page(t);
    struct err err = { 0 };
    if (store_list(t->monitor->store, &query, &page, &err) < 0) {
        if (err.code == ERR_INVALID)
            monitor_reply_sentence(t, x, 400, "Assets", "There is no page after this id.");
        else
            monitor_store_away(t, x, false, &err);
        return;
    }
    html_begin(&p, SECTION_ASSETS,
               f->by_state && f->state == ASSET_FAILED ? "Failed assets" : "Assets", false);
    add_form(&p, f);
    add_actions(&p, f, page.n > 0);
    add_list(&p, f, &page);
    monitor_reply_page(t, x, &p, 200);
}

/* Whoever typed an id wants to see that asset. */
static int is_id(struct monitor_thread *t, const struct filter *f, struct err *err)
{
    struct asset asset;
    if (!f->q[0] || strlen(f->q) > ASSET_ID_LEN)
        return 0;
    int found = store_find(t->monitor->store, f->q, &asset, err);
    if (found > 0)
        asset_release(&asset);
    return found;
}

void assets_page(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    struct filter f;
    const char *why;
    struct err err;
    if (!filter_read(r->http->query, &f, &why)) {
        monitor_reply_sentence(t, x, 400, "Assets", why);
        return;
    }
    int found = is_id(t, &f, &err);
    if (found < 0) {
        monitor_store_away(t, x, false, &err);
    } else if (found > 0) {
        char path[32] = "/assets/";
        monitor_redirect(t, x, strcat(path, f.q));
    } else {
        list(t, x, &f);
    }
}

void failed_page(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    struct filter f;
    const char *why;
    if (!filter_read(r->http->query, &f, &why)) {
        monitor_reply_sentence(t, x, 400, "Assets", why);
        return;
    }
    f.by_state = true;
    f.state = ASSET_FAILED;
    list(t, x, &f);
}
