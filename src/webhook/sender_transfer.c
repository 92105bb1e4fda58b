#include "webhook/sender_transfer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/version.h"

const char *event_word(enum notify notify)
{
    switch (notify) {
    case NOTIFY_START:
        return "started";
    case NOTIFY_SUCCESS:
        return "success";
    case NOTIFY_FAILURE:
        return "failed";
    }
    return "unknown";
}

static bool allows(const void *policy, const struct sockaddr *address)
{
    const char *why;
    return policy_allows(policy, address, &why);
}

int transfer_client(const struct policy *policy, unsigned max_idle, int connect_timeout_ms,
                    int total_timeout_ms, struct client **ret_client, struct err *err)
{
    const struct client_config config = {
        .max_idle = max_idle,
        .connect_timeout_ms = connect_timeout_ms,
        .total_timeout_ms = total_timeout_ms,
        .allows = allows,
        .arg = policy,
    };
    return client_new(&config, ret_client, err);
}

int transfer_new(struct signer *signer, struct transfer **ret_transfer, struct err *err)
{
    struct transfer *t = calloc(1, sizeof(*t));
    if (!t)
        return err_set(err, ERR_NOMEM, "out of memory");
    t->signer = signer;
    buf_init(&t->fields, 4096);
    buf_init(&t->body, TRANSFER_MAX_REQUEST);
    call_init(&t->call, TRANSFER_MAX_REQUEST + 4096, t->answer, sizeof(t->answer));
    *ret_transfer = t;
    return 0;
}

void transfer_free(struct transfer *t)
{
    if (!t)
        return;
    call_release(&t->call);
    buf_release(&t->fields);
    buf_release(&t->body);
    free(t);
}

static int make_body(struct buf *body, const struct event *event)
{
    buf_clear(body);
    (void)buf_adds(body, "{\"id\":\"");
    (void)buf_adds(body, event->asset_id);
    (void)buf_adds(body, "\",\"state\":\"");
    (void)buf_adds(body, event_word(event->notify));
    (void)buf_adds(body, "\"");
    if (event->notify == NOTIFY_FAILURE) {
        (void)buf_adds(body, ",\"errors\":");
        (void)buf_adds(body, event->errors ? event->errors : "{}");
    }
    (void)buf_adds(body, "}");
    return buf_failed(body) ? -1 : 0;
}

static int make_fields(struct transfer *t, int64_t now_ms, struct err *err)
{
    if (t->timestamp_s != now_ms / 1000) {
        t->timestamp_s = now_ms / 1000;
        (void)snprintf(t->timestamp, sizeof(t->timestamp), "%" PRId64, t->timestamp_s);
    }
    buf_clear(&t->fields);
    (void)buf_adds(&t->fields, "content-type: application/json\r\nuser-agent: assay/" ASSAY_VERSION
                               "\r\nwebhook-id: ");
    (void)buf_adds(&t->fields, t->id);
    (void)buf_adds(&t->fields, "\r\nwebhook-timestamp: ");
    (void)buf_adds(&t->fields, t->timestamp);
    if (t->signer) {
        if (signer_sign(t->signer, t->id, t->timestamp, t->body.data, t->body.len, t->signatures,
                        err) < 0)
            return -1;
        (void)buf_adds(&t->fields, "\r\nwebhook-signature: ");
        (void)buf_adds(&t->fields, t->signatures);
    }
    (void)buf_adds(&t->fields, "\r\n");
    return buf_failed(&t->fields) ? err_set(err, ERR_NOMEM, "out of memory") : 0;
}

int transfer_prepare(struct transfer *t, const struct event *event, int64_t now_ms, struct err *err)
{
    strcpy(t->id, event->webhook_id); /* both of WEBHOOK_ID_LEN */
    if (make_body(&t->body, event) < 0)
        return err_set(err, ERR_NOMEM, "the body does not fit");
    if (make_fields(t, now_ms, err) < 0)
        return -1;
    t->request = (struct client_request){
        .method = "POST",
        .url = event->url,
        .fields = t->fields.data,
        .fields_len = t->fields.len,
        .body = t->body.data,
        .body_len = t->body.len,
    };
    return 0;
}

void transfer_answer(const struct transfer *t, int64_t now_ms, struct answer *ret_answer)
{
    const struct response *response = &t->call.response;
    struct answer answer = { .retry_after_ms = RETRY_AFTER_NONE };
    if (response->final) {
        answer.status = response->status;
        answer.error = response->status / 100 == 2 ? NULL : "status";
        answer.permanent = response->status == 410; /* Gone: RFC 9110 §15.5.11 */
        answer.retry_after_ms = schedule_retry_after(response->retry_after, now_ms);
    } else {
        answer.error = client_error_word(t->call.error);
        answer.ours = t->call.error == CLIENT_STARVED;
        answer.refused = answer.permanent = t->call.error == CLIENT_DISALLOWED;
    }
    *ret_answer = answer;
}
