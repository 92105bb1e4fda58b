#include <string.h>

#include "api/parts.h"
#include "api/webhooks.h"
#include "base/cleanup.h"

/* Fixed paths come before those with {id}. A path that is here is in openapi.json too: a test sees to it. */
const struct route api_routes[API_ROUTES] = {
    { .path = "/assets/image", .post = api_post_asset },
    { .path = "/assets/images", .post = api_post_batch, .max_body = BATCH_BODY_MAX },
    { .path = "/assets", .get = api_list_assets },
    { .path = "/events", .get = api_get_events },
    { .path = "/webhooks", .get = api_list_webhooks },
    { .path = "/webhooks/resend", .post = api_resend_dead },
    { .path = "/webhooks/{id}", .get = api_get_webhook },
    { .path = "/webhooks/{id}/resend", .post = api_resend_webhook },
    { .path = "/healthz", .get = api_healthz, .open = true, .health = true },
    { .path = "/readyz", .get = api_readyz, .open = true, .health = true },
    { .path = "/metrics", .get = api_metrics, .health = true },
    { .path = "/openapi.json", .get = api_openapi },
    { .path = "/assets/{id}", .get = api_get_asset },
    { .path = "/assets/{id}/retry", .post = api_retry_asset },
};

/* Whether path is of this form; *ret_id is what stands for {id}, if it has one. */
static bool matches(const char *form, struct http_slice path, struct http_slice *ret_id)
{
    const char *hole = strstr(form, "{id}");
    if (!hole)
        return http_slice_is(path, form);
    size_t before = (size_t)(hole - form), after = strlen(hole + 4);
    if (path.len <= before + after || memcmp(path.data, form, before) != 0 ||
        memcmp(path.data + path.len - after, hole + 4, after) != 0)
        return false;
    *ret_id = (struct http_slice){ path.data + before, path.len - before - after };
    return !memchr(ret_id->data, '/', ret_id->len);
}

const struct route *route_of(struct http_slice path, char ret_id[static API_ID_LEN + 1])
{
    ret_id[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(api_routes) && api_routes[i].path; i++) {
        struct http_slice id = { 0 };
        if (!matches(api_routes[i].path, path, &id))
            continue;
        if (id.len > 0 && id.len <= API_ID_LEN) {
            memcpy(ret_id, id.data, id.len);
            ret_id[id.len] = '\0';
        } /* else it is no id, but the route is there: its methods and its 404 are */
        return &api_routes[i];
    }
    return NULL;
}
