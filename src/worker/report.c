#include "worker/report.h"

#include <inttypes.h>
#include <string.h>

_Static_assert((int)FINDING_COUNT <= (int)FINDING_CODES, "a finding's code is a bit of the store's mask");

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

static void add_image(struct buf *out, const struct verdict *v)
{
    const char *format = image_format_name(v->format);
    (void)buf_addf(out, format ? "{\"format\":\"%s\"" : "{\"format\":null", format);
    if (v->width && v->height)
        (void)buf_addf(out, ",\"width\":%" PRIu32 ",\"height\":%" PRIu32, v->width, v->height);
    else
        (void)buf_adds(out, ",\"width\":null,\"height\":null");
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

/* One member of errors: the field's name and its sentences. */
struct field_errors {
    struct buf *out;
    const char *name;
    bool open;
};

static void add_error(struct field_errors *field, enum finding_code code,
                      const struct limits *limits)
{
    if (!field->open)
        (void)buf_addf(field->out, "%s\"%s\":[", field->out->len > 1 ? "," : "", field->name);
    else
        (void)buf_adds(field->out, ",");
    field->open = true;
    add_sentence(field->out, code, limits);
}

void report_write(const struct verdict *verdict,
                  const enum url_state url_states[static NOTIFY_COUNT], const struct limits *limits,
                  struct buf *errors, struct buf *report, uint32_t *ret_codes)
{
    *ret_codes = 0;
    (void)buf_adds(errors, "{");
    (void)buf_adds(report, "{\"findings\":[");
    struct field_errors asset = { errors, "asset", false };
    /* In the order of the codes: it reads from "is it there" to "is it whole". */
    for (uint32_t code = 0; code < FINDING_COUNT; code++) {
        for (uint32_t i = 0; i < verdict->finding_count; i++) {
            const struct finding *f = &verdict->findings[i];
            if (f->code != code)
                continue;
            add_finding(report, "asset", f, limits);
            if (!finding_is_error(code))
                continue;
            *ret_codes |= 1u << code;
            add_error(&asset, code, limits);
        }
    }
    if (asset.open)
        (void)buf_adds(errors, "]");
    for (int i = 0; i < NOTIFY_COUNT; i++) {
        if (url_states[i] != URL_INVALID && url_states[i] != URL_DISALLOWED)
            continue;
        enum finding_code code =
            url_states[i] == URL_INVALID ? FINDING_INVALID_URL : FINDING_DISALLOWED_URL;
        struct finding f = { .code = code, .measured = -1, .allowed = -1, .offset = -1 };
        struct field_errors field = { errors, notify_name((enum notify)i), false };
        add_finding(report, field.name, &f, limits);
        add_error(&field, code, limits);
        (void)buf_adds(errors, "]");
        *ret_codes |= 1u << code;
    }
    (void)buf_adds(report, "],\"image\":");
    add_image(report, verdict);
    (void)buf_adds(report, "}");
    if (*ret_codes)
        (void)buf_adds(errors, "}");
    else
        buf_clear(errors);
}
