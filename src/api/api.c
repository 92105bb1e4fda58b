#include "api/api.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/problem.h"
#include "api/request.h"
#include "api/view.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "webhook/judge.h"

enum { BODY_MAX_LEN = 16 * 1024 * 1024, LIST_DEFAULT = 50, LIST_MAX = 1000 };

static const char json_type[] = "application/json";

/* One HTTP thread's own. */
struct api_thread {
    const struct api *api;
    struct mailbox box;        /* answered steps */
    struct step *first, *last; /* to be submitted when the turn is over, joined by mail.next */
    struct buf body;           /* of the answer being made */
};

/* A request whose step is with the store thread; lives in the exchange. */
struct pending {
    struct step step; /* first: the mail that comes back is the pending request */
    struct http_exchange *x;
    struct asset_request request;
    char id[ASSET_ID_LEN + 1];
};
_Static_assert(sizeof(struct pending) <= HTTP_APP_DATA, "a pending request fits in its exchange");

static int thread_start(void *app, void **ret_ctx, int *ret_wake_fd, struct err *err)
{
    struct api_thread *t = calloc(1, sizeof(*t));
    if (!t)
        return err_set(err, ERR_NOMEM, "out of memory");
    t->api = app;
    buf_init(&t->body, BODY_MAX_LEN);
    if (mailbox_init(&t->box, err) < 0) {
        free(t);
        return -1;
    }
    *ret_ctx = t;
    *ret_wake_fd = t->box.fd;
    return 0;
}

static void thread_stop(void *ctx)
{
    struct api_thread *t = ctx;
    mailbox_release(&t->box);
    buf_release(&t->body);
    free(t);
}

/* One lock and one wake-up of the store thread a turn, and what arrived together is committed together:
 * submitted one by one, the first would be a commit of its own that the others wait for. */
static void submit_later(struct api_thread *t, struct step *step)
{
    step->mail.next = NULL;
    if (t->first)
        t->last->mail.next = &step->mail;
    else
        t->first = step;
    t->last = step;
}

static void turn_over(void *ctx)
{
    struct api_thread *t = ctx;
    if (t->first)
        service_submit(t->api->service, t->first, t->last);
    t->first = t->last = NULL;
}

/* Answer with what is in t->body. fields may be NULL. */
static void reply(struct api_thread *t, struct http_exchange *x, int status, const char *type,
                  const char *fields)
{
    struct http_response response = { .status = status,
                                      .content_type = t->body.len ? type : NULL,
                                      .body = t->body.data,
                                      .body_len = t->body.len,
                                      .fields = fields };
    if (buf_failed(&t->body)) /* no memory for the answer */
        response = (struct http_response){ .status = 500 };
    http_reply(x, &response);
    buf_clear(&t->body);
}

static void reply_problem(struct api_thread *t, struct http_exchange *x, int status,
                          const char *detail, const char *faults, const char *fields)
{
    buf_clear(&t->body);
    problem_write(status, detail, faults, &t->body);
    reply(t, x, status, problem_type, fields);
}

/* ---- POST /assets/image -------------------------------------------------------------------- */

/* application/json, alone or with charset=utf-8 (RFC 9110 §8.3). */
static bool is_json_type(struct http_slice type)
{
    size_t len = 0;
    while (len < type.len && type.data[len] != ';' && type.data[len] != ' ' &&
           type.data[len] != '\t')
        len++;
    if (len != sizeof(json_type) - 1 || strncasecmp(type.data, json_type, len) != 0)
        return false;
    while (len < type.len && strchr("; \t", type.data[len]))
        len++;
    struct http_slice rest = { type.data + len, type.len - len };
    if (rest.len == 0)
        return true;
    return (rest.len == 13 && strncasecmp(rest.data, "charset=utf-8", 13) == 0) ||
           (rest.len == 15 && strncasecmp(rest.data, "charset=\"utf-8\"", 15) == 0);
}

static void refuse_body(struct api_thread *t, struct http_exchange *x, enum request_result result,
                        const struct buf *detail, const struct buf *faults)
{
    switch (result) {
    case REQUEST_OK:
        break;
    case REQUEST_NOT_JSON:
        reply_problem(t, x, 400, buf_str(detail), NULL, NULL);
        break;
    case REQUEST_WRONG_SHAPE:
        reply_problem(t, x, 422, buf_str(detail), buf_failed(faults) ? NULL : buf_str(faults),
                      NULL);
        break;
    case REQUEST_NO_MEMORY:
        reply_problem(t, x, 503, "There is no memory left; try again.", NULL, "Retry-After: 1\r\n");
        break;
    }
}

static void post_asset(struct api_thread *t, struct http_exchange *x,
                       const struct http_request *request)
{
    if (!is_json_type(http_field(request, "content-type"))) {
        reply_problem(t, x, 415, "The content type must be application/json.", NULL, NULL);
        return;
    }
    CLEANUP(buf_release) struct buf detail, faults;
    buf_init(&detail, 1024);
    buf_init(&faults, BODY_MAX_LEN / 4);
    struct pending *p = http_app_data(x);
    enum request_result result =
        asset_request_parse(request->body.data, request->body.len, &p->request, &detail, &faults);
    if (result != REQUEST_OK) {
        refuse_body(t, x, result, &detail, &faults);
        return;
    }
    p->x = x;
    p->step.kind = STEP_PUT;
    p->step.reply_to = &t->box;
    p->step.u.put.path = p->request.path;
    for (int i = 0; i < NOTIFY_COUNT; i++) {
        const char *url = p->request.urls[i];
        p->step.u.put.notifications[i] =
            (struct notification){ .url = url, .state = judge_url(t->api->policy, url, NULL) };
    }
    submit_later(t, &p->step);
}

static void accepted(struct api_thread *t, struct http_exchange *x, const char *id)
{
    char location[64] = "Location: /assets/";
    strcat(strcat(location, id), "\r\n");
    (void)buf_addf(&t->body, "{\"id\":\"%s\",\"state\":\"queued\"}", id);
    log_debug("asset_accepted", LOG_S("asset", id));
    reply(t, x, 202, json_type, location);
}

static void not_stored(struct api_thread *t, struct http_exchange *x, enum step_result result)
{
    if (result == STEP_FULL)
        reply_problem(t, x, 503, "As many assets wait as may; try again later.", NULL,
                      "Retry-After: 5\r\n");
    else
        reply_problem(t, x, 503, "It could not be stored, so it was not accepted; try again later.",
                      NULL, "Retry-After: 1\r\n");
}

static void put_answered(struct api_thread *t, struct pending *p)
{
    asset_request_release(&p->request);
    if (p->step.result == STEP_DONE)
        accepted(t, p->x, p->step.u.put.ret_id);
    else
        not_stored(t, p->x, p->step.result);
}

/* ---- reading ------------------------------------------------------------------------------- */

static void no_such_asset(struct api_thread *t, struct http_exchange *x)
{
    reply_problem(t, x, 404, "There is no asset with this id (any more).", NULL, NULL);
}

static void store_is_away(struct api_thread *t, struct http_exchange *x, const struct err *err)
{
    log_error("store_read", LOG_S("why", err->msg));
    reply_problem(t, x, 503, "The store could not be read; try again later.", NULL,
                  "Retry-After: 1\r\n");
}

static void get_asset(struct api_thread *t, struct http_exchange *x, const char *id)
{
    CLEANUP(asset_release) struct asset asset = { 0 };
    struct err err;
    int found = store_find(t->api->store, id, &asset, &err);
    if (found < 0) {
        store_is_away(t, x, &err);
    } else if (found == 0) {
        no_such_asset(t, x);
    } else {
        view_asset(&asset, false, &t->body);
        reply(t, x, 200, json_type, NULL);
    }
}

/* One parameter of the list. false: *ret_fault says what is wrong with it. */
static bool read_parameter(struct http_slice name, struct http_slice value,
                           struct asset_query *query, char ret_after[static ASSET_ID_LEN + 1],
                           const char **ret_fault)
{
    if (http_slice_is(name, "state")) {
        for (int s = 0; s < ASSET_STATES; s++) {
            if (!http_slice_is(value, asset_state_name((enum asset_state)s)))
                continue;
            query->by_state = true;
            query->state = (enum asset_state)s;
            return true;
        }
        *ret_fault = "state must be queued, started, success or failed";
    } else if (http_slice_is(name, "limit")) {
        unsigned limit = 0;
        for (size_t i = 0; i < value.len && limit <= LIST_MAX; i++)
            limit = value.data[i] >= '0' && value.data[i] <= '9'
                        ? limit * 10 + (unsigned)(value.data[i] - '0')
                        : LIST_MAX + 1;
        query->limit = limit;
        if (limit >= 1 && limit <= LIST_MAX)
            return true;
        *ret_fault = "limit must be a number from 1 to 1000";
    } else if (http_slice_is(name, "after")) {
        *ret_fault = "after must be the next of an earlier page";
        if (value.len > ASSET_ID_LEN || value.len == 0)
            return false;
        memcpy(ret_after, value.data, value.len);
        ret_after[value.len] = '\0';
        query->after = ret_after;
        return true;
    } else {
        *ret_fault = "the parameters are state, limit and after";
    }
    return false;
}

static bool read_query(struct http_slice q, struct asset_query *query,
                       char ret_after[static ASSET_ID_LEN + 1], const char **ret_fault)
{
    while (q.len > 0) {
        const char *end = memchr(q.data, '&', q.len);
        size_t len = end ? (size_t)(end - q.data) : q.len;
        const char *equals = memchr(q.data, '=', len);
        size_t name_len = equals ? (size_t)(equals - q.data) : len;
        struct http_slice name = { q.data, name_len };
        struct http_slice value = { equals ? equals + 1 : q.data + len,
                                    equals ? len - name_len - 1 : 0 };
        if (len > 0 && !read_parameter(name, value, query, ret_after, ret_fault))
            return false;
        q.data += len + (end != NULL);
        q.len -= len + (end != NULL);
    }
    return true;
}

static void list_assets(struct api_thread *t, struct http_exchange *x,
                        const struct http_request *request)
{
    struct asset_query query = { .limit = LIST_DEFAULT };
    char after[ASSET_ID_LEN + 1];
    const char *fault = NULL;
    if (!read_query(request->query, &query, after, &fault)) {
        reply_problem(t, x, 400, fault, NULL, NULL);
        return;
    }
    CLEANUP(asset_page_release) struct asset_page page = { 0 };
    struct err err = { 0 };
    if (store_list(t->api->store, &query, &page, &err) < 0) {
        if (err.code == ERR_INVALID)
            reply_problem(t, x, 400, "after must be the next of an earlier page", NULL, NULL);
        else
            store_is_away(t, x, &err);
        return;
    }
    (void)buf_adds(&t->body, "{\"assets\":[");
    for (size_t i = 0; i < page.n; i++) {
        if (i > 0)
            (void)buf_adds(&t->body, ",");
        view_asset(&page.assets[i], true, &t->body);
    }
    if (page.more)
        (void)buf_addf(&t->body, "],\"next\":\"%s\"}", page.assets[page.n - 1].id);
    else
        (void)buf_adds(&t->body, "],\"next\":null}");
    reply(t, x, 200, json_type, NULL);
}

/* ---- POST /assets/{id}/retry ---------------------------------------------------------------- */

static void retry_asset(struct api_thread *t, struct http_exchange *x, const char *id)
{
    CLEANUP(asset_release) struct asset asset = { 0 };
    struct err err;
    int found = store_find(t->api->store, id, &asset, &err);
    if (found < 0) {
        store_is_away(t, x, &err);
        return;
    }
    if (found == 0) {
        no_such_asset(t, x);
        return;
    }
    struct pending *p = http_app_data(x);
    p->x = x;
    memcpy(p->id, asset.id, sizeof(p->id));
    p->step.kind = STEP_RETRY;
    p->step.reply_to = &t->box;
    p->step.u.retry.id = p->id;
    for (int i = 0; i < NOTIFY_COUNT; i++)
        p->step.u.retry.url_states[i] = judge_url(t->api->policy, asset.deliveries[i].url, NULL);
    submit_later(t, &p->step);
}

static void retry_answered(struct api_thread *t, struct pending *p)
{
    if (p->step.result == STEP_DONE)
        accepted(t, p->x, p->id);
    else if (p->step.result == STEP_NOTHING)
        no_such_asset(t, p->x);
    else if (p->step.result == STEP_LOST)
        reply_problem(t, p->x, 409, "The asset has not ended yet.", NULL, NULL);
    else
        not_stored(t, p->x, p->step.result);
}

static void wake(void *ctx)
{
    struct api_thread *t = ctx;
    struct mail *mail = mailbox_take(&t->box);
    while (mail) {
        struct pending *p = (struct pending *)MAIL_ENTRY(mail, struct step, mail);
        mail = mail->next; /* p is gone after its answer */
        if (p->step.kind == STEP_PUT)
            put_answered(t, p);
        else
            retry_answered(t, p);
    }
}

/* ---- health -------------------------------------------------------------------------------- */

static void healthz(struct api_thread *t, struct http_exchange *x)
{
    (void)buf_adds(&t->body, "{\"status\":\"alive\"}");
    reply(t, x, 200, json_type, NULL);
}

static void readyz(struct api_thread *t, struct http_exchange *x)
{
    struct err why = { 0 };
    bool healthy = service_healthy(t->api->service, &why);
    (void)buf_addf(&t->body, "{\"status\":\"%s\",\"store\":{\"engine\":\"%s\",\"healthy\":%s",
                   healthy ? "ready" : "unavailable", t->api->store->ops->scheme,
                   healthy ? "true" : "false");
    if (!healthy) {
        (void)buf_adds(&t->body, ",\"why\":");
        (void)buf_add_json(&t->body, why.msg, strlen(why.msg));
    }
    (void)buf_addf(&t->body, "},\"sandbox\":{\"enabled\":%s,\"layers\":\"%s\"}}",
                   t->api->sandbox ? "true" : "false", t->api->sandbox_layers);
    reply(t, x, healthy ? 200 : 503, json_type, NULL);
}

/* ---- routes -------------------------------------------------------------------------------- */

enum route {
    ROUTE_NONE,
    ROUTE_POST_ASSET,
    ROUTE_LIST,
    ROUTE_ASSET,
    ROUTE_RETRY,
    ROUTE_HEALTHZ,
    ROUTE_READYZ
};

/* Fixed routes win over {id}. ret_id is set for the routes that have one. */
static enum route route_of(struct http_slice path, char ret_id[static ASSET_ID_LEN + 1])
{
    static const char prefix[] = "/assets/", retry[] = "/retry";
    static const struct {
        const char *path;
        enum route route;
    } fixed[] = { { "/assets/image", ROUTE_POST_ASSET },
                  { "/assets", ROUTE_LIST },
                  { "/healthz", ROUTE_HEALTHZ },
                  { "/readyz", ROUTE_READYZ } };
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
        if (http_slice_is(path, fixed[i].path))
            return fixed[i].route;
    size_t prefix_len = sizeof(prefix) - 1, retry_len = sizeof(retry) - 1;
    if (path.len <= prefix_len || memcmp(path.data, prefix, prefix_len) != 0)
        return ROUTE_NONE;
    enum route route = ROUTE_ASSET;
    size_t id_len = path.len - prefix_len;
    if (id_len > retry_len && memcmp(path.data + path.len - retry_len, retry, retry_len) == 0) {
        route = ROUTE_RETRY;
        id_len -= retry_len;
    }
    const char *id = path.data + prefix_len;
    if (id_len == 0 || memchr(id, '/', id_len))
        return ROUTE_NONE;
    if (id_len > ASSET_ID_LEN) /* no id, but the route is there: its methods and its 404 are */
        id_len = 0;
    memcpy(ret_id, id, id_len);
    ret_id[id_len] = '\0';
    return route;
}

static void dispatch(struct api_thread *t, struct http_exchange *x,
                     const struct http_request *request, enum route route, const char *id)
{
    switch (route) {
    case ROUTE_NONE:
        break;
    case ROUTE_POST_ASSET:
        post_asset(t, x, request);
        break;
    case ROUTE_LIST:
        list_assets(t, x, request);
        break;
    case ROUTE_ASSET:
        get_asset(t, x, id);
        break;
    case ROUTE_RETRY:
        retry_asset(t, x, id);
        break;
    case ROUTE_HEALTHZ:
        healthz(t, x);
        break;
    case ROUTE_READYZ:
        readyz(t, x);
        break;
    }
}

static void handle(void *ctx, struct http_exchange *x, const struct http_request *request)
{
    struct api_thread *t = ctx;
    char id[ASSET_ID_LEN + 1] = "";
    enum route route = route_of(request->path, id);
    if (route == ROUTE_NONE) {
        reply_problem(t, x, 404, "There is nothing at this path.", NULL, NULL);
        return;
    }
    bool writes = route == ROUTE_POST_ASSET || route == ROUTE_RETRY;
    bool reads = request->method == HTTP_GET || request->method == HTTP_HEAD;
    const char *allow = writes ? "Allow: POST, OPTIONS\r\n" : "Allow: GET, HEAD, OPTIONS\r\n";
    if (request->method == HTTP_OPTIONS)
        reply(t, x, 204, NULL, allow);
    else if (writes ? request->method != HTTP_POST : !reads)
        reply_problem(t, x, 405, "This path does not have this method.", NULL, allow);
    else if (writes && http_slice_is(http_field(request, "sec-fetch-site"), "cross-site"))
        reply_problem(t, x, 403, "Pages of other sites may not post here.", NULL, NULL);
    else
        dispatch(t, x, request, route, id);
}

const struct http_app api_http = { .thread_start = thread_start,
                                   .thread_stop = thread_stop,
                                   .handle = handle,
                                   .wake = wake,
                                   .turn_over = turn_over,
                                   .problem = problem_of_server };
