#include "cmd/check_output.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "worker/report.h"

enum { BAR_EVERY_MS = 100, BAR_WIDTH = 30, LINE_MAX_LEN = 1024 * 1024 };

static void json_freep(json_t **json)
{
    json_decref(*json);
}

static json_t *number_or_null(uint32_t n)
{
    return n ? json_integer(n) : json_null();
}

/* The verdict's members into object, which is an empty one, or a line of the manifest. */
static void add_verdict(json_t *object, const struct check_output *out, const struct verdict *v)
{
    struct buf errors;
    buf_init(&errors, LINE_MAX_LEN);
    report_asset_errors(v, &out->limits, &errors);
    const char *format = image_format_name(v->format);
    (void)json_object_set_new(object, "valid", json_boolean(verdict_is_valid(v)));
    (void)json_object_set_new(object, "errors", json_loads(buf_str(&errors), 0, NULL));
    (void)json_object_set_new(object, "format", format ? json_string(format) : json_null());
    (void)json_object_set_new(object, "width", number_or_null(v->width));
    (void)json_object_set_new(object, "height", number_or_null(v->height));
    buf_release(&errors);
}

/* A path that is no UTF-8 cannot be a JSON string as it is: its stray bytes become U+FFFD. */
static json_t *json_text(const char *text)
{
    struct buf quoted;
    buf_init(&quoted, LINE_MAX_LEN);
    (void)buf_add_json(&quoted, text, strlen(text));
    json_t *json = json_loads(buf_str(&quoted), JSON_DECODE_ANY, NULL);
    buf_release(&quoted);
    return json;
}

static void print_json(const struct check_output *out, const struct check_item *item,
                       const struct verdict *v)
{
    CLEANUP(json_freep) json_t *line = item->line ? json_loads(item->line, 0, NULL) : json_object();
    if (!json_is_object(line)) { /* a line of the manifest that is none */
        json_decref(line);
        line = json_object();
        (void)json_object_set_new(line, "line", json_integer((json_int_t)item->line_number));
    }
    if (!item->line)
        (void)json_object_set_new(line, "path", json_text(item->path));
    if (item->path) {
        add_verdict(line, out, v);
    } else {
        (void)json_object_set_new(line, "valid", json_false());
        (void)json_object_set_new(line, "errors",
                                  json_pack("[s]", "is not a JSON object with a path"));
    }
    (void)json_dumpf(line, stdout, JSON_COMPACT);
    (void)putchar('\n');
}

/* Control characters of a hostile name would steer the terminal. */
static void print_path(const char *path)
{
    for (const unsigned char *p = (const unsigned char *)path; *p; p++)
        if (*p < 0x20 || *p == 0x7f)
            (void)printf("\\x%02x", *p);
        else
            (void)putchar(*p);
}

static void print_line(const struct check_output *out, const struct check_item *item,
                       const struct verdict *v)
{
    print_path(item->path);
    const char *between = ": ";
    for (int code = 0; code < FINDING_COUNT; code++) {
        for (uint32_t i = 0; i < v->finding_count; i++) {
            const struct finding *f = &v->findings[i];
            if ((int)f->code != code || !finding_is_error(f->code))
                continue;
            struct buf sentence;
            buf_init(&sentence, 256);
            finding_sentence(f->code, &out->limits, &sentence);
            (void)printf("%s%s", between, buf_str(&sentence));
            if (f->measured >= 0 && f->allowed >= 0)
                (void)printf(" (%" PRId64 ")", f->measured);
            else if (f->detail[0])
                (void)printf(" (%s)", f->detail);
            buf_release(&sentence);
            between = "; ";
        }
    }
    (void)putchar('\n');
}

static void remove_bar(const struct check_output *out)
{
    if (out->has_bar && out->bar_ms)
        (void)fputs("\r\033[K", stderr);
}

bool check_output_file(struct check_output *out, const struct check_item *item,
                       const struct verdict *v)
{
    bool valid = item->path && verdict_is_valid(v);
    out->checked++;
    out->bad += !valid;
    for (uint32_t i = 0; item->path && i < v->finding_count; i++)
        out->by_code[v->findings[i].code]++;
    if (out->quiet)
        return valid;
    if (out->json) {
        print_json(out, item, v);
    } else if (!valid) {
        remove_bar(out);
        print_line(out, item, v);
        out->bar_ms = 0;
    }
    return valid;
}

void check_output_bar(struct check_output *out, uint64_t total)
{
    int64_t now_ms = clock_mono_ms();
    if (!out->has_bar || now_ms - out->bar_ms < BAR_EVERY_MS)
        return;
    out->bar_ms = now_ms;
    (void)fflush(stdout);
    double seconds = (double)(now_ms - out->begun_ms) / 1000, rate = 0;
    if (seconds > 0)
        rate = (double)out->checked / seconds;
    if (total > 0) {
        char bar[BAR_WIDTH + 1];
        uint64_t full = out->checked * BAR_WIDTH / total;
        for (unsigned i = 0; i < BAR_WIDTH; i++)
            bar[i] = i < full ? '#' : '.';
        bar[BAR_WIDTH] = '\0';
        uint64_t left = rate > 0 ? (uint64_t)((double)(total - out->checked) / rate) : 0;
        (void)fprintf(stderr,
                      "\r\033[K[%s] %3u %%  %" PRIu64 " of %" PRIu64 ", %" PRIu64
                      " bad, %.0f/s, %" PRIu64 ":%02u left",
                      bar, (unsigned)(out->checked * 100 / total), out->checked, total, out->bad,
                      rate, left / 60, (unsigned)(left % 60));
    } else {
        (void)fprintf(stderr, "\r\033[K%" PRIu64 " checked, %" PRIu64 " bad, %.0f/s", out->checked,
                      out->bad, rate);
    }
    (void)fflush(stderr);
}

void check_output_end(struct check_output *out)
{
    remove_bar(out);
    if (out->quiet || out->json)
        return;
    double seconds = (double)(clock_mono_ms() - out->begun_ms) / 1000;
    (void)printf("%" PRIu64 " checked in %.1f s: %" PRIu64 " good, %" PRIu64 " bad\n", out->checked,
                 seconds, out->checked - out->bad, out->bad);
    for (int severity = 1; severity >= 0; severity--)
        for (int code = 0; code < FINDING_COUNT; code++)
            if (out->by_code[code] && finding_is_error((enum finding_code)code) == severity)
                (void)printf("%10" PRIu64 "  %s%s\n", out->by_code[code],
                             finding_name((enum finding_code)code), severity ? "" : " (warning)");
}
