#include "monitor/filter.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "monitor/form.h"
#include "validate/verdict.h"

bool filter_time(const char *text, int64_t *ret_ms)
{
    struct tm tm = { 0 };
    int n = 0;
    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
               &tm.tm_min, &n) != 5)
        return false;
    const char *rest = text + n;
    if (*rest == ':') {
        if (sscanf(rest, ":%2d%n", &tm.tm_sec, &n) != 1)
            return false;
        rest += n;
    }
    if (strcmp(rest, "") != 0 && strcmp(rest, "Z") != 0)
        return false;
    struct tm asked = tm;
    tm.tm_year -= 1900;
    tm.tm_mon--;
    time_t seconds = timegm(&tm);
    if (seconds < 0 || tm.tm_mon + 1 != asked.tm_mon || tm.tm_mday != asked.tm_mday ||
        tm.tm_hour != asked.tm_hour || tm.tm_min != asked.tm_min || tm.tm_sec != asked.tm_sec)
        return false; /* the 31st of June is no day */
    *ret_ms = (int64_t)seconds * 1000;
    return true;
}

static bool state_of(const char *name, enum asset_state *ret)
{
    for (int s = 0; s < ASSET_STATES; s++) {
        if (strcmp(name, asset_state_name((enum asset_state)s)) == 0) {
            *ret = (enum asset_state)s;
            return true;
        }
    }
    return false;
}

static bool code_of(const char *name, unsigned *ret)
{
    for (unsigned c = 0; c < FINDING_COUNT; c++) {
        if (finding_is_error((enum finding_code)c) &&
            strcmp(name, finding_name((enum finding_code)c)) == 0) {
            *ret = c;
            return true;
        }
    }
    return false;
}

/* As form_value(), but an empty one is absent. */
static enum form_result field(struct http_slice form, const char *name, char *ret, size_t cap)
{
    enum form_result result = form_value(form, name, ret, cap);
    if (result != FORM_FOUND)
        ret[0] = '\0';
    return result == FORM_FOUND && !ret[0] ? FORM_ABSENT : result;
}

bool filter_read(struct http_slice form, struct filter *ret, const char **ret_why)
{
    char word[32];
    *ret = (struct filter){ 0 };
    *ret_why = "That is too long for a path or an id.";
    if (field(form, "q", ret->q, sizeof(ret->q)) == FORM_INVALID ||
        field(form, "after", ret->after, sizeof(ret->after)) == FORM_INVALID)
        return false;
    *ret_why = "A state is queued, started, success or failed.";
    enum form_result result = field(form, "state", word, sizeof(word));
    ret->by_state = result == FORM_FOUND;
    if (result == FORM_INVALID || (ret->by_state && !state_of(word, &ret->state)))
        return false;
    *ret_why = "There is no such error code.";
    result = field(form, "code", word, sizeof(word));
    ret->by_code = result == FORM_FOUND;
    if (result == FORM_INVALID || (ret->by_code && !code_of(word, &ret->code)))
        return false;
    *ret_why = "Times are written as 2026-11-24T08:00, in UTC.";
    result = field(form, "since", ret->since, sizeof(ret->since));
    if (result == FORM_INVALID ||
        (result == FORM_FOUND && !filter_time(ret->since, &ret->since_ms)))
        return false;
    result = field(form, "until", ret->until, sizeof(ret->until));
    if (result == FORM_INVALID ||
        (result == FORM_FOUND && !filter_time(ret->until, &ret->until_ms)))
        return false;
    return true;
}

struct asset_query filter_query(const struct filter *f, unsigned limit)
{
    return (struct asset_query){ .by_state = f->by_state,
                                 .state = f->state,
                                 .by_code = f->by_code,
                                 .code = f->code,
                                 .path = f->q[0] ? f->q : NULL,
                                 .since_ms = f->since_ms,
                                 .until_ms = f->until_ms,
                                 .after = f->after[0] ? f->after : NULL,
                                 .limit = limit };
}

bool filter_is_empty(const struct filter *f)
{
    return !f->q[0] && !f->by_state && !f->by_code && !f->since[0] && !f->until[0];
}

static void write_field(struct buf *out, const char *name, const char *value)
{
    if (!value[0])
        return;
    (void)buf_addf(out, "%s=", name);
    form_encode(out, value);
    (void)buf_adds(out, "&amp;");
}

void filter_write(const struct filter *f, struct buf *out)
{
    write_field(out, "q", f->q);
    write_field(out, "state", f->by_state ? asset_state_name(f->state) : "");
    write_field(out, "code", f->by_code ? finding_name((enum finding_code)f->code) : "");
    write_field(out, "since", f->since);
    write_field(out, "until", f->until);
}
