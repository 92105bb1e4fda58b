#ifndef API_API_H
#define API_API_H
/* api: the HTTP API. POST /assets/image is read and checked, handed to the store thread, and answered
 * from the same HTTP thread when its commit is over: 202 leaves only after the asset is durable.
 *
 *     POST /assets/image        GET /assets        GET /assets/{id}       POST /assets/{id}/retry
 *     GET  /healthz             GET /readyz
 */
#include "http/http.h"
#include "store/service.h"
#include "webhook/policy.h"

/* All borrowed for as long as the server runs. */
struct api {
    struct store *store;
    struct service *service;
    const struct policy *policy;
    bool sandbox; /* is the jail on? */
    const char *sandbox_layers;
};

extern const struct http_app api_http; /* its app is a struct api */
#endif
