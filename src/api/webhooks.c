#include "api/webhooks.h"

#include <string.h>

#include "api/query.h"
#include "api/view.h"
#include "base/cleanup.h"
#include "base/log.h"

enum { LIST_DEFAULT = 50, RESEND_BATCH = 500 };

/* A resend whose step is with the store thread; lives in the exchange. */
struct resend {
    struct api_exchange exchange;
    struct api_step s;
    struct http_exchange *x;
    char id[WEBHOOK_ID_LEN + 1]; /* "": of dead ones */
    uint64_t left, resent;       /* of dead ones */
};
_Static_assert(sizeof(struct resend) <= HTTP_APP_DATA, "a resend fits in its exchange");

static void no_such_webhook(struct api_thread *t, struct http_exchange *x)
{
    api_problem(t, x, 404, "There is no webhook with this id (any more).", NULL, NULL);
}

/* ---- pages --------------------------------------------------------------------------------- */

/* A query with room for what it borrows. */
struct list {
    struct event_query query;
    char after[WEBHOOK_ID_LEN + 1];
};

static const char *read_state(struct list *l, const char *value)
{
    for (int s = 0; s <= EVENT_OFF; s++) {
        if (strcmp(value, event_state_name((enum event_state)s)) != 0)
            continue;
        l->query.by_state = true;
        l->query.state = (enum event_state)s;
        return NULL;
    }
    return "state must be waiting, pending, delivered, dead or off";
}

static const char *read_parameter(struct list *l, const char *name, const char *value)
{
    uint64_t limit;
    if (strcmp(name, "state") == 0)
        return read_state(l, value);
    if (strcmp(name, "limit") == 0) {
        if (!query_number(value, 1, LIST_LIMIT_MAX, &limit))
            return "limit must be a number from 1 to 1000";
        l->query.limit = (unsigned)limit;
        return NULL;
    }
    if (strcmp(name, "after") == 0) {
        size_t len = strlen(value);
        if (len == 0 || len > WEBHOOK_ID_LEN)
            return "after must be the next of an earlier page";
        memcpy(l->after, value, len + 1);
        l->query.after = l->after;
        return NULL;
    }
    return "the parameters are state, limit and after";
}

void api_list_webhooks(struct api_thread *t, struct http_exchange *x,
                       const struct http_request *request, const char *id)
{
    (void)id;
    struct list l = { .query = { .limit = LIST_DEFAULT } };
    struct query q = { .rest = request->query };
    const char *fault = NULL;
    int more;
    while ((more = query_next(&q, &fault)) > 0 &&
           (fault = read_parameter(&l, q.name, q.value)) == NULL)
        ;
    if (fault) {
        api_problem(t, x, 400, fault, NULL, NULL);
        return;
    }
    CLEANUP(event_page_release) struct event_page page = { 0 };
    struct err err = { 0 };
    if (store_events(t->api->store, &l.query, &page, &err) < 0) {
        if (err.code == ERR_INVALID)
            api_problem(t, x, 400, "after must be the next of an earlier page", NULL, NULL);
        else
            api_store_is_away(t, x, &err);
        return;
    }
    (void)buf_adds(&t->body, "{\"webhooks\":[");
    for (size_t i = 0; i < page.n; i++) {
        if (i > 0)
            (void)buf_adds(&t->body, ",");
        view_event(&page.events[i], true, &t->body);
    }
    if (page.more)
        (void)buf_addf(&t->body, "],\"next\":\"%s\"}", page.next);
    else
        (void)buf_adds(&t->body, "],\"next\":null}");
    api_reply(t, x, 200, api_json_type, NULL);
}

/* ---- one ----------------------------------------------------------------------------------- */

void api_get_webhook(struct api_thread *t, struct http_exchange *x,
                     const struct http_request *request, const char *id)
{
    (void)request;
    CLEANUP(event_view_release) struct event_view event = { 0 };
    struct err err;
    int found = store_event(t->api->store, id, &event, &err);
    if (found < 0) {
        api_store_is_away(t, x, &err);
    } else if (found == 0) {
        no_such_webhook(t, x);
    } else {
        view_event(&event, false, &t->body);
        api_reply(t, x, 200, api_json_type, NULL);
    }
}

/* ---- again --------------------------------------------------------------------------------- */

static struct resend *resend_of(struct api_step *s)
{
    return (struct resend *)(void *)((char *)s - offsetof(struct resend, s));
}

static void one_answered(struct api_thread *t, struct api_step *s)
{
    struct resend *r = resend_of(s);
    char fields[128] = "Location: /webhooks/";
    switch (s->step.result) {
    case STEP_DONE:
        strcat(strcat(fields, r->id), "\r\n");
        (void)buf_addf(&t->body, "{\"id\":\"%s\",\"state\":\"pending\"}", r->id);
        log_info("webhook_resend", LOG_S("webhook", r->id), LOG_S("client", r->exchange.client));
        api_reply(t, r->x, 202, api_json_type, fields);
        break;
    case STEP_NOTHING:
        no_such_webhook(t, r->x);
        break;
    case STEP_LOST:
        api_problem(t, r->x, 409, "It is on its way already, or never to be sent.", NULL, NULL);
        break;
    case STEP_FULL:
    case STEP_CONFLICT:
    case STEP_FAILED:
        api_not_stored(t, r->x, s->step.result);
        break;
    }
}

void api_resend_webhook(struct api_thread *t, struct http_exchange *x,
                        const struct http_request *request, const char *id)
{
    (void)request;
    struct resend *r = http_app_data(x);
    r->x = x;
    memcpy(r->id, id, strlen(id) + 1);
    r->s.step.kind = STEP_RESEND;
    r->s.step.u.resend.webhook_id = r->id;
    r->s.answered = one_answered;
    api_submit(t, &r->s);
}

static void next_batch(struct api_thread *t, struct resend *r)
{
    r->s.step.u.resend.max = r->left < RESEND_BATCH ? (unsigned)r->left : RESEND_BATCH;
    r->s.step.u.resend.ret_count = 0;
    api_submit(t, &r->s);
}

static void batch_answered(struct api_thread *t, struct api_step *s)
{
    struct resend *r = resend_of(s);
    unsigned n = s->step.u.resend.ret_count;
    if (s->step.result == STEP_DONE) {
        r->resent += n;
        r->left -= n < r->left ? n : r->left;
        if (n == s->step.u.resend.max && r->left > 0) {
            next_batch(t, r);
            return;
        }
    } else if (s->step.result != STEP_NOTHING && r->resent == 0) {
        api_not_stored(t, r->x, s->step.result);
        return;
    }
    (void)buf_addf(&t->body, "{\"resent\":%llu}", (unsigned long long)r->resent);
    log_info("webhook_resend", LOG_I("events", r->resent), LOG_S("client", r->exchange.client));
    api_reply(t, r->x, 202, api_json_type, NULL);
}

/* The parameters of POST /webhooks/resend. NULL: all is well. */
static const char *read_selection(struct http_slice query, int64_t *ret_before_ms)
{
    struct query q = { .rest = query };
    const char *fault = NULL;
    bool dead = false;
    int more;
    while ((more = query_next(&q, &fault)) > 0) {
        if (strcmp(q.name, "state") == 0 && strcmp(q.value, "dead") == 0)
            dead = true;
        else if (strcmp(q.name, "before") != 0)
            return "the parameters are state=dead and before";
        else if (!query_time(q.value, ret_before_ms))
            return "before must be a time, as in 2026-11-24T08:00:00Z";
    }
    if (more < 0)
        return fault;
    return dead ? NULL : "state=dead must say which: it sends many webhooks again";
}

void api_resend_dead(struct api_thread *t, struct http_exchange *x,
                     const struct http_request *request, const char *id)
{
    (void)id;
    int64_t before_ms = 0;
    const char *fault = read_selection(request->query, &before_ms);
    if (fault) {
        api_problem(t, x, 400, fault, NULL, NULL);
        return;
    }
    struct store_stats stats;
    struct err err;
    if (store_stats(t->api->store, &stats, &err) < 0) {
        api_store_is_away(t, x, &err);
        return;
    }
    struct resend *r = http_app_data(x);
    r->x = x;
    /* No more than are dead now: those that die again meanwhile are not sent for ever. */
    r->left = stats.events_by_state[EVENT_DEAD];
    r->s.step.kind = STEP_RESEND;
    r->s.step.u.resend.before_ms = before_ms;
    r->s.answered = batch_answered;
    r->s.step.result = STEP_NOTHING;
    if (r->left == 0)
        batch_answered(t, &r->s);
    else
        next_batch(t, r);
}
