#ifndef WEBHOOK_SENDER_TRANSFER_H
#define WEBHOOK_SENDER_TRANSFER_H
/* sender_transfer: one attempt at one event: the request, and what its end means. Part of the sender.
 *
 * The status decides. Once the header of a final answer is complete, a body that never ends or is too
 * large changes nothing: a receiver that said 2xx has the event, and sending it again would only repeat it. */
#include <sys/queue.h>

#include "base/buf.h"
#include "base/err.h"
#include "client/client.h"
#include "store/store.h"
#include "webhook/policy.h"
#include "webhook/sender_schedule.h"
#include "webhook/signature.h"

struct sending;

enum { TRANSFER_MAX_REQUEST = 4 * 1024 * 1024 };

/* Reused from attempt to attempt. Stays where it is: the client knows its address. */
struct transfer {
    TAILQ_ENTRY(transfer) in_list; /* of the sender's: those at rest, those at work */
    struct call call;
    struct client_request request;
    struct signer *signer;   /* borrowed; NULL: unsigned */
    struct sending *sending; /* NULL: at rest */
    struct buf fields, body;
    char id[WEBHOOK_ID_LEN + 1], timestamp[24], signatures[SIGNATURES_LEN];
    int64_t timestamp_s;     /* what timestamp says; 0: nothing yet */
    char answer[ANSWER_MAX]; /* the beginning of the answer's body */
};
#define TRANSFER_OF(call_)                                                                         \
    ((struct transfer *)(void *)((char *)(call_)-offsetof(struct transfer, call)))

/* The words for an event's state in its body, in logs and in metrics. */
const char *event_word(enum notify notify); /* "started", "success", "failed" */

/* A client that connects only where policy, which it borrows, allows. */
int transfer_client(const struct policy *policy, unsigned max_idle, int connect_timeout_ms,
                    int total_timeout_ms, struct client **ret_client, struct err *err);

int transfer_new(struct signer *signer, struct transfer **ret_transfer, struct err *err);
void transfer_free(struct transfer *t);
/* Make t->request, for t->call. Borrows event until that has begun. now_ms: wall clock. */
int transfer_prepare(struct transfer *t, const struct event *event, int64_t now_ms,
                     struct err *err);
/* What came of it, when the call has ended. now_ms: wall clock. */
void transfer_answer(const struct transfer *t, int64_t now_ms, struct answer *ret_answer);
/* How much of the answer's body is kept in t->answer. */
static inline size_t transfer_answer_len(const struct transfer *t)
{
    return response_kept(&t->call.response);
}
#endif
