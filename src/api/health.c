/* Liveness, readiness, and what the API says of itself. */
#include <string.h>

#include "api/parts.h"

void api_healthz(struct api_thread *t, struct http_exchange *x, const struct http_request *request,
                 const char *id)
{
    (void)request;
    (void)id;
    (void)buf_adds(&t->body, "{\"status\":\"alive\"}");
    api_reply(t, x, 200, api_json_type, NULL);
}

static void add_warnings(struct buf *out, const struct store_warnings *warnings)
{
    (void)buf_adds(out, ",\"warnings\":[");
    for (size_t i = 0; i < warnings->n; i++) {
        const struct store_warning *w = &warnings->list[i];
        (void)buf_addf(out, "%s{\"name\":\"%s\",\"why\":", i ? "," : "", w->name);
        (void)buf_add_json(out, w->why, strlen(w->why));
        (void)buf_adds(out, "}");
    }
    (void)buf_adds(out, "]");
}

void api_readyz(struct api_thread *t, struct http_exchange *x, const struct http_request *request,
                const char *id)
{
    (void)request;
    (void)id;
    struct err why = { 0 };
    struct store_warnings warnings = { 0 };
    /* the second knows of trouble that nobody has run into yet */
    bool healthy =
        service_healthy(t->api->service, &why) && store_health(t->api->store, &warnings, &why) == 0;
    (void)buf_addf(&t->body, "{\"status\":\"%s\",\"store\":{\"engine\":\"%s\",\"healthy\":%s",
                   !healthy      ? "unavailable"
                   : t->draining ? "draining"
                                 : "ready",
                   t->api->store->ops->scheme, healthy ? "true" : "false");
    if (!healthy) {
        (void)buf_adds(&t->body, ",\"why\":");
        (void)buf_add_json(&t->body, why.msg, strlen(why.msg));
    }
    add_warnings(&t->body, &warnings);
    if (t->api->sandbox_layers)
        (void)buf_addf(&t->body, "},\"sandbox\":{\"enabled\":%s,\"layers\":\"%s\"}}",
                       t->api->sandbox ? "true" : "false", t->api->sandbox_layers);
    else
        (void)buf_adds(&t->body, "},\"sandbox\":null}");
    api_reply(t, x, healthy && !t->draining ? 200 : 503, api_json_type, NULL);
}

/* The file as it is, made part of the program by the assembler. */
__asm__(".section .rodata\n"
        ".global api_openapi_text\n"
        ".global api_openapi_end\n"
        "api_openapi_text:\n"
        ".incbin \"src/api/openapi.json\"\n"
        "api_openapi_end:\n"
        ".byte 0\n"
        ".previous\n");
extern const char api_openapi_text[], api_openapi_end[];

void api_openapi(struct api_thread *t, struct http_exchange *x, const struct http_request *request,
                 const char *id)
{
    (void)request;
    (void)id;
    (void)buf_add(&t->body, api_openapi_text, (size_t)(api_openapi_end - api_openapi_text));
    api_reply(t, x, 200, api_json_type, NULL);
}
