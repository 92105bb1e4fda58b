#include "monitor/story.h"

#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "monitor/parts.h"

enum { ANSWER_SHOWN = 200 };

/* ---- the report ---------------------------------------------------------------------------- */

void story_read(const struct asset *asset, struct story *ret)
{
    *ret = (struct story){ 0 };
    if (!asset->report)
        return;
    ret->json = json_loads(asset->report, 0, NULL);
    json_t *findings = json_object_get(ret->json, "findings");
    json_t *image = json_object_get(ret->json, "image");
    ret->findings = json_is_array(findings) ? findings : NULL;
    ret->image = json_is_object(image) ? image : NULL;
}

void story_release(struct story *story)
{
    json_decref(story->json);
    *story = (struct story){ 0 };
}

int64_t story_bytes(const struct story *story)
{
    json_t *bytes = json_object_get(story->image, "bytes");
    return json_is_integer(bytes) ? json_integer_value(bytes) : -1;
}

const char *story_sha256(const struct story *story)
{
    return json_string_value(json_object_get(story->image, "sha256"));
}

bool story_has_preview(const struct asset *asset, const struct story *story)
{
    const char *format = json_string_value(json_object_get(story->image, "format"));
    return asset->state == ASSET_SUCCESS && format && strcmp(format, "jpeg") == 0 &&
           story_bytes(story) > 0 && story_sha256(story);
}

void story_errors(struct page *p, const char *errors)
{
    json_t *json = json_loads(errors, 0, NULL), *sentences;
    const char *field;
    bool first = true;
    if (!json)
        html_text(p, errors);
    json_object_foreach(json, field, sentences)
    {
        size_t i;
        json_t *sentence;
        json_array_foreach(sentences, i, sentence)
        {
            if (!first)
                (void)buf_adds(p->out, ", ");
            first = false;
            if (strcmp(field, "asset") != 0) {
                html_text(p, field);
                (void)buf_adds(p->out, " ");
            }
            html_text(p, json_is_string(sentence) ? json_string_value(sentence) : "?");
        }
    }
    json_decref(json);
}

/* ---- what became of it --------------------------------------------------------------------- */

static void fact_begin(struct page *p, const char *name)
{
    (void)buf_addf(p->out, "<div><dt>%s</dt><dd>", name);
}

static void fact_end(struct page *p)
{
    (void)buf_adds(p->out, "</dd></div>");
}

static void fact_time(struct page *p, const char *name, int64_t wall_ms)
{
    fact_begin(p, name);
    html_time(p, wall_ms);
    fact_end(p);
}

static void fact_span(struct page *p, const char *name, int64_t from_ms, int64_t to_ms)
{
    if (!from_ms || !to_ms)
        return;
    fact_begin(p, name);
    html_duration(p, to_ms - from_ms);
    fact_end(p);
}

static void add_summary(struct page *p, const struct asset *a)
{
    (void)buf_adds(p->out, "<dl class=\"facts\" id=\"summary\" data-live>");
    fact_begin(p, "state");
    html_state(p, asset_state_name(a->state));
    fact_end(p);
    fact_begin(p, "path");
    html_text(p, a->path);
    fact_end(p);
    if (a->errors) {
        fact_begin(p, "errors");
        story_errors(p, a->errors);
        fact_end(p);
    }
    fact_time(p, "accepted", a->accepted_ms);
    fact_time(p, "started", a->started_ms);
    fact_time(p, "ended", a->ended_ms);
    fact_span(p, "waited", a->accepted_ms, a->started_ms);
    fact_span(p, "in work for", a->started_ms, a->ended_ms);
    (void)buf_addf(p->out,
                   "<div><dt>run</dt><dd>%u</dd></div><div><dt>attempts</dt><dd>%u</dd></div>"
                   "</dl>\n",
                   a->run, a->attempts);
}

static void fact_json(struct page *p, const struct story *story, const char *key, const char *name,
                      const char *unit)
{
    json_t *value = json_object_get(story->image, key);
    if (!value || json_is_null(value))
        return;
    fact_begin(p, name);
    if (json_is_integer(value))
        (void)buf_addf(p->out, "%" JSON_INTEGER_FORMAT "%s", json_integer_value(value), unit);
    else if (json_is_string(value))
        html_text(p, json_string_value(value));
    fact_end(p);
}

static void add_image(struct page *p, const struct asset *a, const struct story *story,
                      bool preview)
{
    if (!story->image)
        return;
    (void)buf_adds(p->out, "<h2>The file</h2><div class=\"file\">");
    if (preview)
        (void)buf_addf(
            p->out,
            "<figure class=\"preview\"><img src=\"%s/assets/%s/preview\" alt=\"The picture of "
            "this asset\"><figcaption>The file itself, as it was judged.</figcaption>"
            "</figure>",
            p->prefix, a->id);
    (void)buf_adds(p->out, "<dl class=\"facts\">");
    fact_json(p, story, "format", "format", "");
    fact_json(p, story, "width", "width", " px");
    fact_json(p, story, "height", "height", " px");
    fact_json(p, story, "orientation", "orientation", "");
    fact_json(p, story, "bytes", "size", " bytes");
    fact_json(p, story, "sha256", "sha256", "");
    (void)buf_adds(p->out, "</dl></div>\n");
}

/* ---- findings ------------------------------------------------------------------------------ */

static int64_t number_of(json_t *finding, const char *key)
{
    json_t *value = json_object_get(finding, key);
    return json_is_integer(value) ? json_integer_value(value) : -1;
}

static void cell_text(struct page *p, json_t *finding, const char *key)
{
    const char *text = json_string_value(json_object_get(finding, key));
    (void)buf_adds(p->out, "<td>");
    html_text(p, text ? text : "–");
    (void)buf_adds(p->out, "</td>");
}

static void cell_number(struct page *p, json_t *finding, const char *key)
{
    int64_t n = number_of(finding, key);
    (void)buf_addf(p->out, n < 0 ? "<td class=\"n\">–</td>" : "<td class=\"n\">%" PRId64 "</td>",
                   n);
}

static void add_finding(struct page *p, json_t *f)
{
    const char *severity = json_string_value(json_object_get(f, "severity"));
    const char *detail = json_string_value(json_object_get(f, "detail"));
    const char *message = json_string_value(json_object_get(f, "message"));
    (void)buf_adds(p->out, "<tr><td>");
    html_state(p, severity && strcmp(severity, "error") == 0 ? "error" : "warning");
    (void)buf_adds(p->out, "</td>");
    cell_text(p, f, "field");
    cell_text(p, f, "code");
    (void)buf_adds(p->out, "<td>");
    html_text(p, message ? message : "");
    if (detail) {
        (void)buf_adds(p->out, "<br><small>");
        html_text(p, detail);
        (void)buf_adds(p->out, "</small>");
    }
    (void)buf_adds(p->out, "</td>");
    cell_number(p, f, "measured");
    cell_number(p, f, "allowed");
    cell_number(p, f, "offset");
    cell_text(p, f, "remedy");
    (void)buf_adds(p->out, "</tr>\n");
}

/* Where in the file the damage begins, drawn on a bar that is the file. What is missing altogether is a
 * mark at its end. */
static void add_damage(struct page *p, int64_t offset, int64_t bytes)
{
    static const double least = 8;
    double at = 1000.0 * (double)offset / (double)bytes;
    double drawn = at < 1000 - least ? at : 1000 - least;
    (void)buf_addf(
        p->out,
        "<figure class=\"damage\"><svg viewBox=\"0 0 1000 20\" preserveAspectRatio=\"none\" "
        "role=\"img\" aria-label=\"Damage at byte %" PRId64 " of %" PRId64
        "\"><rect class=\"whole\" width=\"1000\" height=\"20\"/><rect class=\"bad\" "
        "x=\"%.1f\" width=\"%.1f\" height=\"20\"/></svg><figcaption>",
        offset, bytes, drawn, 1000 - drawn);
    if (offset == bytes)
        (void)buf_addf(
            p->out, "Whole as far as it goes: it ends too early, after %" PRId64 " bytes.", bytes);
    else
        (void)buf_addf(p->out, "Whole up to byte %" PRId64 " of %" PRId64 ": %.1f %% of the file.",
                       offset, bytes, at / 10);
    (void)buf_adds(p->out, "</figcaption></figure>\n");
}

/* "truncated" and "corrupt" tell where; the nearest to the start counts. -1: neither is there. */
static int64_t damage_offset(const struct story *story)
{
    int64_t least = -1;
    size_t i;
    json_t *f;
    json_array_foreach(story->findings, i, f)
    {
        const char *code = json_string_value(json_object_get(f, "code"));
        int64_t offset = number_of(f, "offset");
        if (code && (strcmp(code, "truncated") == 0 || strcmp(code, "corrupt") == 0) &&
            offset >= 0 && (least < 0 || offset < least))
            least = offset;
    }
    return least;
}

static void add_findings(struct page *p, const struct story *story)
{
    size_t i;
    json_t *f;
    int64_t offset = damage_offset(story), bytes = story_bytes(story);
    (void)buf_adds(p->out, "<h2>Findings</h2>\n");
    if (offset >= 0 && bytes > 0 && offset <= bytes)
        add_damage(p, offset, bytes);
    html_table_begin(p, "findings", "Findings",
                     "severity|of|code|what|measured|allowed|at byte|what helps");
    json_array_foreach(story->findings, i, f) add_finding(p, f);
    html_table_end(p, json_array_size(story->findings),
                   story->json ? "None." : "It has not ended yet.");
}

/* ---- webhooks ------------------------------------------------------------------------------ */

static void add_attempt(struct page *p, const struct attempt *a)
{
    (void)buf_adds(p->out, "<tr><th scope=\"row\">");
    html_time(p, a->at_ms);
    (void)buf_addf(p->out,
                   a->http_status ? "</th><td class=\"n\">%d</td>" : "</th><td>no answer</td>",
                   a->http_status);
    (void)buf_adds(p->out, "<td class=\"n\">");
    html_duration(p, a->duration_ms);
    (void)buf_adds(p->out, "</td><td>");
    html_text(p, a->error ? a->error : "–");
    (void)buf_adds(p->out, "</td><td class=\"answer\">");
    if (a->answer)
        html_bytes(p, a->answer, a->answer_len, ANSWER_SHOWN);
    (void)buf_adds(p->out, "</td></tr>\n");
}

static void add_event(struct page *p, const struct event_view *e, size_t nth)
{
    char id[32], what[40], caption[64];
    (void)snprintf(id, sizeof(id), "attempts-%zu", nth);
    (void)snprintf(what, sizeof(what), "%s, run %u", notify_name(e->notify), e->run);
    (void)snprintf(caption, sizeof(caption), "Attempts at %s", what);
    (void)buf_addf(p->out, "<section class=\"event\"><h3>%s: ", what);
    html_state(p, event_state_name(e->state));
    (void)buf_adds(p->out, "</h3><p>");
    html_text(p, e->url ? e->url : "");
    if (e->next_ms) {
        (void)buf_adds(p->out, "<br>next attempt ");
        html_time(p, e->next_ms);
    }
    (void)buf_adds(p->out, "</p>");
    if (e->state == EVENT_DELIVERED || e->state == EVENT_DEAD) {
        char path[WEBHOOK_ID_LEN + 32];
        (void)snprintf(path, sizeof(path), "/webhooks/%s/resend", e->webhook_id);
        html_action(p, path, "Send again", what);
    }
    html_table_begin(p, id, caption, "attempt at|status|took|error|answer");
    for (size_t i = 0; i < e->n_log; i++)
        add_attempt(p, &e->log[i]);
    html_table_end(p, e->n_log, "No attempt was made yet.");
    (void)buf_adds(p->out, "</section>\n");
}

static const char *why_no_event(enum url_state state)
{
    switch (state) {
    case URL_ABSENT:
    case URL_VALID:
        break;
    case URL_INVALID:
        return "not a valid URL: nothing is sent to it";
    case URL_DISALLOWED:
        return "not an allowed URL: nothing is sent to it";
    case URL_OFF:
        return "webhooks are switched off";
    }
    return NULL;
}

static void add_webhooks(struct page *p, const struct asset *a, const struct event_page *events)
{
    (void)buf_adds(p->out, "<h2>Webhooks</h2>\n<div id=\"events\" data-live>");
    for (int i = 0; i < NOTIFY_COUNT; i++) {
        const char *why = why_no_event(a->deliveries[i].url_state);
        if (!why || !a->deliveries[i].url)
            continue;
        (void)buf_addf(p->out, "<p>%s ", notify_name((enum notify)i));
        html_text(p, a->deliveries[i].url);
        (void)buf_addf(p->out, ": %s.</p>\n", why);
    }
    for (size_t i = 0; i < events->n; i++)
        add_event(p, &events->events[i], i);
    if (events->n == 0)
        (void)buf_adds(p->out, "<p class=\"none\">There are no events (yet).</p>");
    (void)buf_adds(p->out, "</div>\n");
}

/* ---- the page ------------------------------------------------------------------------------ */

static void make_page(struct monitor_thread *t, struct page *p, const struct asset *a,
                      const struct event_page *events)
{
    CLEANUP(story_release) struct story story;
    char title[32], retry[48];
    story_read(a, &story);
    (void)snprintf(title, sizeof(title), "Asset %s", a->id);
    (void)snprintf(retry, sizeof(retry), "/assets/%s/retry", a->id);
    html_begin(p, SECTION_ASSETS, title, false);
    if (a->state == ASSET_SUCCESS || a->state == ASSET_FAILED) {
        (void)buf_adds(p->out, "<p>");
        html_action(p, retry, "Validate again", NULL);
        (void)buf_adds(p->out, "</p>\n");
    }
    add_summary(p, a);
    add_findings(p, &story);
    add_image(p, a, &story, t->monitor->root && story_has_preview(a, &story));
    add_webhooks(p, a, events);
}

void story_page(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    CLEANUP(asset_release) struct asset asset = { 0 };
    CLEANUP(event_page_release) struct event_page events = { 0 };
    struct page p = monitor_page(t);
    struct err err;
    int found = store_find(t->monitor->store, r->id, &asset, &err);
    if (found > 0 && store_deliveries(t->monitor->store, asset.id, &events, &err) < 0)
        found = -1;
    if (found < 0) {
        monitor_store_away(t, x, false, &err);
    } else if (found == 0) {
        monitor_reply_sentence(t, x, 404, "Assets", "There is no asset with this id (any more).");
    } else {
        make_page(t, &p, &asset, &events);
        monitor_reply_page(t, x, &p, 200);
    }
}
