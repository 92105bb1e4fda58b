/* One asset: accepted, looked at, validated again. */
#include <string.h>

#include "api/idempotency.h"
#include "api/parts.h"
#include "api/query.h"
#include "api/request.h"
#include "api/view.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "webhook/judge.h"

enum { FAULTS_MAX_LEN = 4 * 1024 * 1024, WAIT_MAX_S = 60 };

/* A request whose step is with the store thread; lives in the exchange. */
struct pending {
    struct api_exchange exchange;
    struct api_step s;
    struct http_exchange *x;
    struct asset_request request;
    char id[ASSET_ID_LEN + 1];
    uint8_t key[IDEMPOTENCY_LEN], digest[IDEMPOTENCY_LEN];
};
_Static_assert(sizeof(struct pending) <= HTTP_APP_DATA, "a pending request fits in its exchange");

static struct pending *pending_of(struct api_step *s)
{
    return (struct pending *)(void *)((char *)s - offsetof(struct pending, s));
}

static void accepted(struct api_thread *t, struct pending *p, const char *id, bool repeated)
{
    char fields[128] = "Location: /assets/";
    strcat(strcat(fields, id), "\r\n");
    if (repeated) /* as Stripe says it, and those who followed */
        strcat(fields, "Idempotent-Replayed: true\r\n");
    (void)buf_addf(&t->body, "{\"id\":\"%s\",\"state\":\"queued\"}", id);
    log_debug("asset_accepted", LOG_S("asset", id), LOG_S("client", p->exchange.client));
    api_reply(t, p->x, 202, api_json_type, fields);
}

/* ---- POST /assets/image -------------------------------------------------------------------- */

static void refuse_body(struct api_thread *t, struct http_exchange *x, enum request_result result,
                        const struct buf *detail, const struct buf *faults)
{
    switch (result) {
    case REQUEST_OK:
        break;
    case REQUEST_NOT_JSON:
        api_problem(t, x, 400, buf_str(detail), NULL, NULL);
        break;
    case REQUEST_WRONG_SHAPE:
        api_problem(t, x, 422, buf_str(detail), buf_failed(faults) ? NULL : buf_str(faults), NULL);
        break;
    case REQUEST_NO_MEMORY:
        api_problem(t, x, 503, "There is no memory left; try again.", NULL, "Retry-After: 1\r\n");
        break;
    }
}

void api_fill_put(struct api_thread *t, const struct asset_request *request, struct step *step)
{
    step->kind = STEP_PUT;
    step->u.put = (struct step_put){ .path = request->path };
    for (int i = 0; i < NOTIFY_COUNT; i++) {
        const char *url = request->urls[i];
        step->u.put.notifications[i] =
            (struct notification){ .url = url,
                                   .state = judge_url_again(t->api->policy, &t->known, url) };
    }
}

static void put_answered(struct api_thread *t, struct api_step *s)
{
    struct pending *p = pending_of(s);
    const struct step_put *put = &s->step.u.put;
    asset_request_release(&p->request);
    if (s->step.result == STEP_DONE)
        accepted(t, p, put->ret_id, put->ret_repeated);
    else if (s->step.result == STEP_CONFLICT)
        api_problem(t, p->x, 422, "This Idempotency-Key came with another body before.", NULL,
                    NULL);
    else
        api_not_stored(t, p->x, s->step.result);
}

void api_post_asset(struct api_thread *t, struct http_exchange *x,
                    const struct http_request *request, const char *id)
{
    (void)id;
    struct pending *p = http_app_data(x);
    if (!api_is_type(http_field(request, "content-type"), api_json_type)) {
        api_problem(t, x, 415, "The content type must be application/json.", NULL, NULL);
        return;
    }
    int has_key = idempotency_key(request, p->exchange.client, p->key);
    if (has_key < 0) {
        api_problem(t, x, 400,
                    "Idempotency-Key must be 1 to 255 characters, in quotes if not plain.", NULL,
                    NULL);
        return;
    }
    CLEANUP(buf_release) struct buf detail, faults;
    buf_init(&detail, 1024);
    buf_init(&faults, FAULTS_MAX_LEN);
    enum request_result result =
        asset_request_parse(request->body.data, request->body.len, &p->request, &detail, &faults);
    if (result != REQUEST_OK) {
        refuse_body(t, x, result, &detail, &faults);
        return;
    }
    p->x = x;
    api_fill_put(t, &p->request, &p->s.step);
    if (has_key) {
        idempotency_digest(request->body.data, request->body.len, p->digest);
        p->s.step.u.put.idempotency_key = p->key;
        p->s.step.u.put.body_digest = p->digest;
    }
    p->s.answered = put_answered;
    api_submit(t, &p->s);
}

/* ---- GET /assets/{id} ---------------------------------------------------------------------- */

static void show(struct api_thread *t, struct http_exchange *x, const struct asset *asset)
{
    CLEANUP(event_page_release) struct event_page deliveries = { 0 };
    struct err err;
    if (store_deliveries(t->api->store, asset->id, &deliveries, &err) < 0) {
        api_store_is_away(t, x, &err);
        return;
    }
    view_asset(asset, &deliveries, &t->body);
    api_reply(t, x, 200, api_json_type, NULL);
}

void api_show_asset(struct api_thread *t, struct http_exchange *x, const char *id)
{
    CLEANUP(asset_release) struct asset asset = { 0 };
    struct err err;
    int found = store_find(t->api->store, id, &asset, &err);
    if (found < 0)
        api_store_is_away(t, x, &err);
    else if (found == 0)
        api_no_such_asset(t, x);
    else
        show(t, x, &asset);
}

/* "30s": whole seconds, as in RFC 7240's wait. -1: it is none of 0s … 60s. */
static int64_t wait_of(char *text)
{
    size_t len = strlen(text);
    uint64_t seconds;
    if (len < 2 || len > 3 || text[len - 1] != 's')
        return -1;
    text[len - 1] = '\0';
    return query_number(text, 0, WAIT_MAX_S, &seconds) ? (int64_t)seconds * 1000 : -1;
}

/* The parameters of GET /assets/{id}. NULL: all is well. */
static const char *read_wait(struct http_slice query, int64_t *ret_wait_ms)
{
    const char *fault = NULL;
    struct query q = { .rest = query };
    int more;
    while ((more = query_next(&q, &fault)) > 0) {
        if (strcmp(q.name, "wait") != 0)
            return "the only parameter is wait";
        *ret_wait_ms = wait_of(q.value);
        if (*ret_wait_ms < 0)
            return "wait must be whole seconds up to a minute, as in 30s";
    }
    return more < 0 ? fault : NULL;
}

void api_get_asset(struct api_thread *t, struct http_exchange *x,
                   const struct http_request *request, const char *id)
{
    int64_t wait_ms = 0;
    const char *fault = request->query.len > 0 ? read_wait(request->query, &wait_ms) : NULL;
    if (fault)
        api_problem(t, x, 400, fault, NULL, NULL);
    else if (wait_ms > 0 && !t->draining)
        follow_wait(t, x, id, wait_ms);
    else
        api_show_asset(t, x, id);
}

/* ---- POST /assets/{id}/retry ---------------------------------------------------------------- */

static void retry_answered(struct api_thread *t, struct api_step *s)
{
    struct pending *p = pending_of(s);
    if (s->step.result == STEP_DONE)
        accepted(t, p, p->id, false);
    else if (s->step.result == STEP_NOTHING)
        api_no_such_asset(t, p->x);
    else if (s->step.result == STEP_LOST)
        api_problem(t, p->x, 409, "The asset has not ended yet.", NULL, NULL);
    else
        api_not_stored(t, p->x, s->step.result);
}

void api_retry_asset(struct api_thread *t, struct http_exchange *x,
                     const struct http_request *request, const char *id)
{
    (void)request;
    CLEANUP(asset_release) struct asset asset = { 0 };
    struct err err;
    int found = store_find(t->api->store, id, &asset, &err);
    if (found < 0) {
        api_store_is_away(t, x, &err);
        return;
    }
    if (found == 0) {
        api_no_such_asset(t, x);
        return;
    }
    struct pending *p = http_app_data(x);
    p->x = x;
    memcpy(p->id, asset.id, sizeof(p->id));
    p->s.answered = retry_answered;
    p->s.step.kind = STEP_RETRY;
    p->s.step.u.retry.id = p->id;
    for (int i = 0; i < NOTIFY_COUNT; i++)
        p->s.step.u.retry.url_states[i] = judge_url(t->api->policy, asset.deliveries[i].url, NULL);
    api_submit(t, &p->s);
}
