#ifndef API_WEBHOOKS_H
#define API_WEBHOOKS_H
/* webhooks: what became of events, one by one and in pages, and how to have them sent again. */
#include "api/parts.h"

/* GET /webhooks?state=…&limit=…&after=… */
void api_list_webhooks(struct api_thread *t, struct http_exchange *x,
                       const struct http_request *request, const char *id);
/* GET /webhooks/{id} */
void api_get_webhook(struct api_thread *t, struct http_exchange *x,
                     const struct http_request *request, const char *id);
/* POST /webhooks/{id}/resend */
void api_resend_webhook(struct api_thread *t, struct http_exchange *x,
                        const struct http_request *request, const char *id);
/* POST /webhooks/resend?state=dead[&before=…] */
void api_resend_dead(struct api_thread *t, struct http_exchange *x,
                     const struct http_request *request, const char *id);
#endif
