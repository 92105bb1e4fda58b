#include "worker/report.h"

#include <inttypes.h>
#include <string.h>

_Static_assert((int)FINDING_COUNT <= (int)FINDING_CODES,
               "a finding's code is a bit of the store's mask");

static void add_json(struct buf *out, const char *text)
{
    (void)buf_add_json(out, text, strlen(text));
}

static void add_sentence(struct buf *out, enum finding_code code, const struct limits *limits)
{
    struct buf sentence;
    buf_init(&sentence, 200);
    finding_sentence(code, limits, &sentence);
    add_json(out, buf_str(&sentence));
    buf_release(&sentence);
}

static void add_number(struct buf *out, const char *key, int64_t value)
{
    if (value >= 0)
        (void)buf_addf(out, ",\"%s\":%" PRId64, key, value);
}

static void add_finding(struct buf *out, const char *field, const struct finding *f,
                        const struct limits *limits)
{
    if (out->data[out->len - 1] != '[')
        (void)buf_adds(out, ",");
    (void)buf_addf(out, "{\"severity\":\"%s\",\"field\":\"%s\",\"code\":\"%s\",\"message\":",
                   finding_is_error(f->code) ? "error" : "warning", field, finding_name(f->code));
    add_sentence(out, f->code, limits);
    if (f->detail[0]) {
        (void)buf_adds(out, ",\"detail\":");
        add_json(out, f->detail);
    }
    add_number(out, "measured", f->measured);
    add_number(out, "allowed", f->allowed);
    add_number(out, "offset", f->offset);
    (void)buf_adds(out, ",\"remedy\":");
    add_json(out, finding_remedy(f->code));
    (void)buf_adds(out, "}");
}

/* Stored, and as it is shown: orientations 5 to 8 turn the picture by a quarter (CIPA DC-008 §4.6.4). */
static void add_size(struct buf *out, const struct verdict *v)
{
    if (!v->width || !v->height) {
        (void)buf_adds(out, ",\"width\":null,\"height\":null,\"displayedWidth\":null,"
                            "\"displayedHeight\":null");
        return;
    }
    bool turned = v->orientation >= 5;
    (void)buf_addf(out,
                   ",\"width\":%" PRIu32 ",\"height\":%" PRIu32 ",\"displayedWidth\":%" PRIu32
                   ",\"displayedHeight\":%" PRIu32,
                   v->width, v->height, turned ? v->height : v->width,
                   turned ? v->width : v->height);
}

static void add_image(struct buf *out, const struct verdict *v)
{
    const char *format = image_format_name(v->format);
    (void)buf_addf(out, format ? "{\"format\":\"%s\"" : "{\"format\":null", format);
    add_size(out, v);
    if (v->orientation)
        (void)buf_addf(out, ",\"orientation\":%" PRIu32, v->orientation);
    else
        (void)buf_adds(out, ",\"orientation\":null");
    if (verdict_has(v, FINDING_NOT_REACHABLE))
        (void)buf_adds(out, ",\"bytes\":null");
    else
        (void)buf_addf(out, ",\"bytes\":%" PRIu64, v->bytes);
    if (v->has_sha256) {
        (void)buf_adds(out, ",\"sha256\":\"");
        for (int i = 0; i < SHA256_LEN; i++)
            (void)buf_addf(out, "%02x", v->sha256[i]);
        (void)buf_adds(out, "\"}");
    } else {
        (void)buf_adds(out, ",\"sha256\":null}");
    }
}

void report_asset_errors(const struct verdict *verdict, const struct limits *limits,
                         struct buf *out)
{
    bool first = true;
    (void)buf_adds(out, "[");
    /* In the order of the codes: it reads from "is it there" to "is it whole". */
    for (int code = 0; code < FINDING_COUNT; code++) {
        if (!finding_is_error((enum finding_code)code) ||
            !verdict_has(verdict, (enum finding_code)code))
            continue;
        if (!first)
            (void)buf_adds(out, ",");
        first = false;
        add_sentence(out, (enum finding_code)code, limits);
    }
    (void)buf_adds(out, "]");
}

static void add_url_error(struct buf *errors, struct buf *report, enum notify notify,
                          enum finding_code code, const struct limits *limits)
{
    const struct finding f = { .code = code, .measured = -1, .allowed = -1, .offset = -1 };
    add_finding(report, notify_name(notify), &f, limits);
    (void)buf_addf(errors, "%s\"%s\":[", errors->len > 1 ? "," : "", notify_name(notify));
    add_sentence(errors, code, limits);
    (void)buf_adds(errors, "]");
}

void report_write(const struct verdict *verdict,
                  const enum url_state url_states[static NOTIFY_COUNT], const struct limits *limits,
                  struct buf *errors, struct buf *report, uint32_t *ret_codes)
{
    uint32_t codes = 0;
    (void)buf_adds(report, "{\"findings\":[");
    for (uint32_t i = 0; i < verdict->finding_count; i++) {
        add_finding(report, "asset", &verdict->findings[i], limits);
        if (finding_is_error(verdict->findings[i].code))
            codes |= 1u << verdict->findings[i].code;
    }
    (void)buf_adds(errors, "{");
    if (codes) {
        (void)buf_adds(errors, "\"asset\":");
        report_asset_errors(verdict, limits, errors);
    }
    for (int i = 0; i < NOTIFY_COUNT; i++) {
        if (url_states[i] != URL_INVALID && url_states[i] != URL_DISALLOWED)
            continue;
        enum finding_code code =
            url_states[i] == URL_INVALID ? FINDING_INVALID_URL : FINDING_DISALLOWED_URL;
        add_url_error(errors, report, (enum notify)i, code, limits);
        codes |= 1u << code;
    }
    (void)buf_adds(errors, "}");
    if (!codes)
        buf_clear(errors);
    (void)buf_adds(report, "],\"image\":");
    add_image(report, verdict);
    (void)buf_adds(report, "}");
    *ret_codes = codes;
}
