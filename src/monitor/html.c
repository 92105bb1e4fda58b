#include "monitor/html.h"

#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/version.h"

static const struct {
    const char *path, *name;
} sections[SECTIONS] = {
    [SECTION_OVERVIEW] = { "/", "Overview" },         [SECTION_ASSETS] = { "/assets", "Assets" },
    [SECTION_WORKERS] = { "/workers", "Workers" },    [SECTION_QUEUE] = { "/queue", "Queue" },
    [SECTION_WEBHOOKS] = { "/webhooks", "Webhooks" },
};

static void head(struct page *p, const char *title, bool plots)
{
    (void)buf_adds(p->out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                           "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
                           "<title>");
    (void)buf_add_html(p->out, title, strlen(title));
    (void)buf_addf(p->out,
                   " – assay</title><link rel=\"icon\" href=\"%s/icon.svg\" type=\"image/svg+xml\">"
                   "<link rel=\"stylesheet\" href=\"%s/style.css?v=%s\">",
                   p->prefix, p->prefix, p->version);
    if (plots && p->charts)
        (void)buf_addf(p->out, "<script src=\"%s/chart.js\" defer></script>", p->prefix);
    (void)buf_addf(p->out, "<script src=\"%s/monitor.js?v=%s\" defer></script></head>\n", p->prefix,
                   p->version);
}

void html_begin(struct page *p, enum section section, const char *title, bool plots)
{
    head(p, title, plots);
    (void)buf_addf(
        p->out,
        "<body data-prefix=\"%s\"><a class=\"skip\" href=\"#main\">Skip to the content</a>"
        "<header><a class=\"brand\" href=\"%s/\">assay</a><nav aria-label=\"Pages\"><ul>",
        p->prefix, p->prefix);
    for (int i = 0; i < SECTIONS; i++)
        (void)buf_addf(p->out, "<li><a href=\"%s%s\"%s>%s</a></li>", p->prefix, sections[i].path,
                       i == (int)section ? " aria-current=\"page\"" : "", sections[i].name);
    (void)buf_addf(
        p->out,
        "</ul></nav><form role=\"search\" action=\"%s/assets\"><label class=\"away\" "
        "for=\"find\">Find an asset by its id or path</label><input id=\"find\" name=\"q\" "
        "type=\"search\" placeholder=\"id or path\" autocomplete=\"off\">"
        "<button>Find</button></form></header>\n"
        "<main id=\"main\" tabindex=\"-1\"><div class=\"title\"><h1>",
        p->prefix);
    (void)buf_add_html(p->out, title, strlen(title));
    (void)buf_adds(p->out, "</h1><p id=\"live\" role=\"status\"></p></div>\n");
}

void html_end(struct page *p)
{
    char text[CLOCK_TEXT_LEN];
    (void)buf_addf(p->out,
                   "</main>\n<footer><p>assay %s%s. Made at %.19s UTC; all times are UTC.</p>"
                   "</footer></body></html>\n",
                   ASSAY_VERSION, p->read_only ? ", read only" : "", clock_text(p->now_ms, text));
}

void html_unhealthy(struct page *p, const char *why)
{
    (void)buf_adds(p->out,
                   "<p class=\"alarm\" role=\"alert\">The store cannot be written just now, so "
                   "nothing is accepted and nothing ends: ");
    html_text(p, why);
    (void)buf_adds(p->out, "</p>\n");
}

/* Marks that turn the direction of text around (Unicode TR 9 §2) in UTF-8: U+200E, U+200F, U+202A … U+202E,
 * U+2066 … U+2069. With them "gpj.exe" may look like "exe.jpg". */
static bool is_turn(const char *s, size_t len)
{
    const unsigned char *c = (const unsigned char *)s;
    if (len < 3 || c[0] != 0xe2)
        return false;
    return (c[1] == 0x80 && (c[2] == 0x8e || c[2] == 0x8f || (c[2] >= 0xaa && c[2] <= 0xae))) ||
           (c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9);
}

void html_text(struct page *p, const char *text)
{
    size_t len = strlen(text), from = 0;
    (void)buf_adds(p->out, "<bdi>");
    for (size_t i = 0; i < len; i++) {
        if (!is_turn(text + i, len - i))
            continue;
        (void)buf_add_html(p->out, text + from, i - from);
        (void)buf_adds(p->out, "\xef\xbf\xbd"); /* U+FFFD */
        from = i + 3;
    }
    (void)buf_add_html(p->out, text + from, len - from);
    (void)buf_adds(p->out, "</bdi>");
}

void html_bytes(struct page *p, const char *data, size_t len, size_t max)
{
    CLEANUP(buf_release) struct buf json;
    buf_init(&json, 8 * ATTEMPTS_MAX * ANSWER_MAX);
    /* as JSON has it: what is no UTF-8 is replaced, and what would hide is escaped */
    (void)buf_add_json(&json, data, len < max ? len : max);
    if (json.len > 2)
        (void)buf_add_html(p->out, json.data + 1, json.len - 2);
    if (len > max)
        (void)buf_adds(p->out, "…");
}

void html_time(struct page *p, int64_t wall_ms)
{
    char text[CLOCK_TEXT_LEN];
    if (!wall_ms) {
        (void)buf_adds(p->out, "–");
        return;
    }
    (void)clock_text(wall_ms, text);
    (void)buf_addf(p->out, "<time datetime=\"%s\">%.10s %.12s</time>", text, text, text + 11);
}

void html_duration(struct page *p, int64_t ms)
{
    if (ms < 0)
        ms = 0;
    if (ms < 1000)
        (void)buf_addf(p->out, "%" PRId64 " ms", ms);
    else if (ms < 60000)
        (void)buf_addf(p->out, "%.1f s", (double)ms / 1000);
    else if (ms < 3600000)
        (void)buf_addf(p->out, "%" PRId64 " min %" PRId64 " s", ms / 60000, ms / 1000 % 60);
    else if (ms < 48 * (int64_t)3600000)
        (void)buf_addf(p->out, "%" PRId64 " h %" PRId64 " min", ms / 3600000, ms / 60000 % 60);
    else
        (void)buf_addf(p->out, "%" PRId64 " d %" PRId64 " h", ms / 86400000, ms / 3600000 % 24);
}

void html_asset_link(struct page *p, const char *id)
{
    (void)buf_addf(p->out, "<a class=\"id\" href=\"%s/assets/%s\">%s</a>", p->prefix, id, id);
}

void html_state(struct page *p, const char *state)
{
    (void)buf_addf(p->out, "<span class=\"state %s\">%s</span>", state, state);
}

void html_figure(struct page *p, const char *name, const char *key, uint64_t value)
{
    (void)buf_addf(p->out, "<div><dt>%s</dt><dd data-figure=\"%s\">%" PRIu64 "</dd></div>", name,
                   key, value);
}

void html_action(struct page *p, const char *path, const char *label, const char *about)
{
    if (p->read_only)
        return;
    (void)buf_addf(p->out, "<a class=\"button\" href=\"%s%s\">%s", p->prefix, path, label);
    if (about)
        (void)buf_addf(p->out, "<span class=\"away\"> %s</span>", about);
    (void)buf_adds(p->out, "</a>");
}

void html_table_begin(struct page *p, const char *id, const char *caption, const char *heads)
{
    (void)buf_addf(
        p->out,
        "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"%s\"><table id=\"%s\" "
        "data-live><caption class=\"away\">%s</caption><thead><tr>",
        caption, id, caption);
    for (;;) {
        size_t len = strcspn(heads, "|");
        (void)buf_addf(p->out, "<th scope=\"col\">%.*s</th>", (int)len, heads);
        if (!heads[len])
            break;
        heads += len + 1;
    }
    (void)buf_adds(p->out, "</tr></thead><tbody>\n");
}

void html_table_end(struct page *p, size_t rows, const char *none)
{
    if (rows == 0)
        (void)buf_addf(p->out, "<tr><td class=\"none\" colspan=\"20\">%s</td></tr>", none);
    (void)buf_adds(p->out, "</tbody></table></div>\n");
}
