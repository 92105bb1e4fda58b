#include "api/api.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/parts.h"
#include "api/problem.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

enum { BODY_MAX_LEN = 16 * 1024 * 1024 };

const char api_json_type[] = "application/json";

static void thread_stop(void *ctx)
{
    struct api_thread *t = ctx;
    follow_free(t->follow);
    if (t->api)
        mailbox_release(&t->box);
    buf_release(&t->body);
    free(t);
}

static int thread_start(void *app, void **ret_ctx, int *ret_wake_fd, struct err *err)
{
    struct api_thread *t = calloc(1, sizeof(*t));
    if (!t)
        return err_set(err, ERR_NOMEM, "out of memory");
    buf_init(&t->body, BODY_MAX_LEN);
    if (mailbox_init(&t->box, err) < 0) {
        free(t);
        return -1;
    }
    t->api = app;
    if (follow_new(t, &t->follow, err) < 0) {
        thread_stop(t);
        return -1;
    }
    *ret_ctx = t;
    *ret_wake_fd = t->box.fd;
    return 0;
}

/* ---- answers ------------------------------------------------------------------------------- */

void api_reply(struct api_thread *t, struct http_exchange *x, int status, const char *type,
               const char *fields)
{
    struct http_response response = { .status = status,
                                      .content_type = t->body.len ? type : NULL,
                                      .body = t->body.data,
                                      .body_len = t->body.len,
                                      .fields = fields };
    if (buf_failed(&t->body)) /* no memory for the answer */
        response = (struct http_response){ .status = 500 };
    api_count(t, x, response.status);
    http_reply(x, &response);
    buf_clear(&t->body);
}

void api_problem(struct api_thread *t, struct http_exchange *x, int status, const char *detail,
                 const char *faults, const char *fields)
{
    buf_clear(&t->body);
    problem_write(status, detail, faults, &t->body);
    api_reply(t, x, status, problem_type, fields);
}

void api_no_such_asset(struct api_thread *t, struct http_exchange *x)
{
    api_problem(t, x, 404, "There is no asset with this id (any more).", NULL, NULL);
}

void api_store_is_away(struct api_thread *t, struct http_exchange *x, const struct err *err)
{
    log_error("store_read", LOG_S("why", err->msg));
    api_problem(t, x, 503, "The store could not be read; try again later.", NULL,
                "Retry-After: 1\r\n");
}

void api_not_stored(struct api_thread *t, struct http_exchange *x, enum step_result result)
{
    if (result == STEP_FULL)
        api_problem(t, x, 503, "As many assets wait as may; try again later.", NULL,
                    "Retry-After: 5\r\n");
    else
        api_problem(t, x, 503, "It could not be stored, so it was not accepted; try again later.",
                    NULL, "Retry-After: 1\r\n");
}

bool api_is_type(struct http_slice type, const char *name)
{
    size_t len = strlen(name);
    if (type.len < len || strncasecmp(type.data, name, len) != 0)
        return false;
    if (type.len > len && !strchr("; \t", type.data[len]))
        return false;
    while (len < type.len && strchr("; \t", type.data[len]))
        len++;
    struct http_slice rest = { type.data + len, type.len - len };
    if (rest.len == 0)
        return true;
    return (rest.len == 13 && strncasecmp(rest.data, "charset=utf-8", 13) == 0) ||
           (rest.len == 15 && strncasecmp(rest.data, "charset=\"utf-8\"", 15) == 0);
}

/* ---- steps --------------------------------------------------------------------------------- */

void api_submit(struct api_thread *t, struct api_step *s)
{
    s->step.reply_to = &t->box;
    s->step.mail.next = NULL;
    if (t->first)
        t->last->mail.next = &s->step.mail;
    else
        t->first = &s->step;
    t->last = &s->step;
}

static void turn_over(void *ctx)
{
    struct api_thread *t = ctx;
    follow_run(t->follow);
    if (t->first)
        service_submit(t->api->service, t->first, t->last);
    t->first = t->last = NULL;
}

static void wake(void *ctx)
{
    struct api_thread *t = ctx;
    struct mail *mail = mailbox_take(&t->box);
    while (mail) {
        struct mail *next = mail->next; /* what is answered is gone */
        if (!follow_mail(t->follow, mail)) {
            struct api_step *s = (struct api_step *)MAIL_ENTRY(mail, struct step, mail);
            s->answered(t, s);
        }
        mail = next;
    }
}

/* ---- requests ------------------------------------------------------------------------------ */

static const char *allow_of(const struct route *route)
{
    if (route->get && route->post)
        return "Allow: GET, HEAD, POST, OPTIONS\r\n";
    return route->post ? "Allow: POST, OPTIONS\r\n" : "Allow: GET, HEAD, OPTIONS\r\n";
}

static void handle_route(struct api_thread *t, struct http_exchange *x,
                         const struct http_request *request, const struct route *route,
                         const char *id)
{
    bool reads = request->method == HTTP_GET || request->method == HTTP_HEAD;
    if (request->method == HTTP_OPTIONS)
        api_reply(t, x, 204, NULL, allow_of(route));
    else if (!(reads && route->get) && !(request->method == HTTP_POST && route->post))
        api_problem(t, x, 405, "This path does not have this method.", NULL, allow_of(route));
    else if (!reads && http_slice_is(http_field(request, "sec-fetch-site"), "cross-site"))
        api_problem(t, x, 403, "Pages of other sites may not post here.", NULL, NULL);
    else if (reads)
        route->get(t, x, request, id);
    else
        route->post(t, x, request, id);
}

static void handle(void *ctx, struct http_exchange *x, const struct http_request *request)
{
    struct api_thread *t = ctx;
    char id[API_ID_LEN + 1];
    const struct route *route = route_of(request->path, id);
    if (route && t->api->health_only && !route->health)
        route = NULL;
    struct api_exchange *e = http_app_data(x);
    *e = (struct api_exchange){ .began_us = clock_mono_us(), .route = route };
    /* Who has no key does not learn which paths there are. */
    if (!(route && route->open) && !http_keys_admit(t->api->keys, request, &e->client))
        api_problem(t, x, 401, "A key is needed: Authorization: Bearer KEY.", NULL,
                    http_keys_challenge);
    else if (!route)
        api_problem(t, x, 404, "There is nothing at this path.", NULL, NULL);
    else
        handle_route(t, x, request, route, id);
}

static size_t max_body(const struct http_request *head)
{
    char id[API_ID_LEN + 1];
    const struct route *route = route_of(head->path, id);
    return route && head->method == HTTP_POST ? route->max_body : 0;
}

static void gone(void *ctx, struct http_exchange *x)
{
    follow_gone(((struct api_thread *)ctx)->follow, x);
}

static void leaving(void *ctx, struct http_exchange *x)
{
    follow_leaving(((struct api_thread *)ctx)->follow, x);
}

static void drained(void *ctx, struct http_exchange *x)
{
    follow_drained(((struct api_thread *)ctx)->follow, x);
}

static void drain(void *ctx)
{
    struct api_thread *t = ctx;
    t->draining = true;
    follow_drain(t->follow);
}

static int sleep_ms(void *ctx)
{
    return follow_sleep_ms(((struct api_thread *)ctx)->follow);
}

static void refused(void *ctx, int status)
{
    api_count(ctx, NULL, status);
}

const struct http_app api_http = { .thread_start = thread_start,
                                   .thread_stop = thread_stop,
                                   .handle = handle,
                                   .wake = wake,
                                   .turn_over = turn_over,
                                   .sleep_ms = sleep_ms,
                                   .max_body = max_body,
                                   .gone = gone,
                                   .leaving = leaving,
                                   .drained = drained,
                                   .drain = drain,
                                   .refused = refused,
                                   .problem = problem_of_server };
