/* GET /assets: pages of assets, newest first. */
#include <string.h>

#include "api/parts.h"
#include "api/query.h"
#include "api/view.h"
#include "base/cleanup.h"
#include "validate/verdict.h"

enum { LIST_DEFAULT = 50 };

/* A query with room for what it borrows. */
struct list {
    struct asset_query query;
    char after[ASSET_ID_LEN + 1];
    char path[QUERY_VALUE_LEN + 1];
};

static const char *read_state(struct list *l, const char *value)
{
    for (int s = 0; s < ASSET_STATES; s++) {
        if (strcmp(value, asset_state_name((enum asset_state)s)) != 0)
            continue;
        l->query.by_state = true;
        l->query.state = (enum asset_state)s;
        return NULL;
    }
    return "state must be queued, started, success or failed";
}

static const char *read_code(struct list *l, const char *value)
{
    for (int c = 0; c < FINDING_COUNT; c++) {
        if (!finding_is_error((enum finding_code)c) ||
            strcmp(value, finding_name((enum finding_code)c)) != 0)
            continue;
        l->query.by_code = true;
        l->query.code = (unsigned)c;
        return NULL;
    }
    return "code must be that of an error, as in too_wide";
}

static const char *read_limit(struct list *l, const char *value)
{
    uint64_t limit;
    if (!query_number(value, 1, LIST_LIMIT_MAX, &limit))
        return "limit must be a number from 1 to 1000";
    l->query.limit = (unsigned)limit;
    return NULL;
}

static const char *read_after(struct list *l, const char *value)
{
    size_t len = strlen(value);
    if (len == 0 || len > ASSET_ID_LEN)
        return "after must be the next of an earlier page";
    memcpy(l->after, value, len + 1);
    l->query.after = l->after;
    return NULL;
}

static const char *read_path(struct list *l, const char *value)
{
    memcpy(l->path, value, strlen(value) + 1);
    l->query.path = l->path;
    return NULL;
}

static const char *read_since(struct list *l, const char *value)
{
    return query_time(value, &l->query.since_ms)
               ? NULL
               : "since must be a time, as in 2026-11-24T08:00:00Z";
}

static const char *read_until(struct list *l, const char *value)
{
    return query_time(value, &l->query.until_ms)
               ? NULL
               : "until must be a time, as in 2026-11-24T08:00:00Z";
}

/* NULL: all is well. */
static const char *read_parameters(struct http_slice query, struct list *l)
{
    static const struct {
        const char *name;
        const char *(*read)(struct list *l, const char *value);
    } parameters[] = { { "state", read_state }, { "code", read_code },   { "path", read_path },
                       { "since", read_since }, { "until", read_until }, { "limit", read_limit },
                       { "after", read_after } };
    struct query q = { .rest = query };
    const char *fault = NULL;
    int more;
    while ((more = query_next(&q, &fault)) > 0) {
        size_t i = 0;
        while (i < ARRAY_LEN(parameters) && strcmp(parameters[i].name, q.name) != 0)
            i++;
        if (i == ARRAY_LEN(parameters))
            return "the parameters are state, code, path, since, until, limit and after";
        fault = parameters[i].read(l, q.value);
        if (fault)
            return fault;
    }
    return more < 0 ? fault : NULL;
}

void api_list_assets(struct api_thread *t, struct http_exchange *x,
                     const struct http_request *request, const char *id)
{
    (void)id;
    struct list l = { .query = { .limit = LIST_DEFAULT } };
    const char *fault = read_parameters(request->query, &l);
    if (fault) {
        api_problem(t, x, 400, fault, NULL, NULL);
        return;
    }
    CLEANUP(asset_page_release) struct asset_page page = { 0 };
    struct err err = { 0 };
    if (store_list(t->api->store, &l.query, &page, &err) < 0) {
        if (err.code == ERR_INVALID)
            api_problem(t, x, 400, "after must be the next of an earlier page", NULL, NULL);
        else
            api_store_is_away(t, x, &err);
        return;
    }
    (void)buf_adds(&t->body, "{\"assets\":[");
    for (size_t i = 0; i < page.n; i++) {
        if (i > 0)
            (void)buf_adds(&t->body, ",");
        view_asset(&page.assets[i], NULL, &t->body);
    }
    if (page.more)
        (void)buf_addf(&t->body, "],\"next\":\"%s\"}", page.next);
    else
        (void)buf_adds(&t->body, "],\"next\":null}");
    api_reply(t, x, 200, api_json_type, NULL);
}
