#ifndef WEBHOOK_SENDER_TRANSFER_H
#define WEBHOOK_SENDER_TRANSFER_H
/* sender_transfer: one attempt at one event, as libcurl makes it: the request, the guard on the address
 * it connects to, the limits on what is read, and what its end means. Part of the sender.
 *
 * The status decides. Once the header of a final answer is complete, a body that never ends or is too
 * large changes nothing: a receiver that said 2xx has the event, and sending it again would only repeat it. */
#include <curl/curl.h>
#include <sys/queue.h>

#include "base/buf.h"
#include "base/err.h"
#include "store/store.h"
#include "webhook/policy.h"
#include "webhook/sender_io.h"
#include "webhook/sender_schedule.h"
#include "webhook/signature.h"

struct sending;

enum {
    TRANSFER_MAX_HEADER = 32 * 1024, /* all header lines of all answers, trailers too */
    TRANSFER_MAX_BODY = 64 * 1024,
    TRANSFER_MAX_REQUEST = 4 * 1024 * 1024,
};

/* Reused from attempt to attempt. Stays where it is: libcurl knows its address. */
struct transfer {
    TAILQ_ENTRY(transfer) in_list; /* of the sender's: those at rest, those at work */
    CURL *easy;
    struct io *io;
    const struct policy *policy;
    struct signer *signer;   /* NULL: unsigned */
    struct sending *sending; /* NULL: at rest */
    CURLcode code;           /* what libcurl has ended with */
    struct buf body;
    char id_line[WEBHOOK_ID_LEN + 32], timestamp_line[64], signature_line[SIGNATURES_LEN + 32];
    int64_t timestamp_s; /* what timestamp_line says; 0: nothing yet */
    struct curl_slist headers[6];
    /* what came so far */
    size_t header_len, body_len;
    char answer[ANSWER_MAX]; /* the first of body_len */
    bool final;              /* the header of the final answer is complete */
    char retry_after[64];    /* "" : none */
    bool refused;            /* the policy refused an address */
    bool tried;              /* a socket was made for an address that it allows */
    bool starved;            /* no socket could be made: ours is the fault */
};

/* The words for an event's state in its body, in logs and in metrics. */
const char *event_word(enum notify notify); /* "started", "success", "failed" */

struct transfer_config { /* all borrowed until transfer_free() */
    const struct policy *policy;
    struct signer *signer; /* NULL: unsigned */
    struct io *io;         /* whose multi it is for; NULL: none */
    int connect_timeout_ms, total_timeout_ms;
};
int transfer_new(const struct transfer_config *config, struct transfer **ret_transfer,
                 struct err *err);
void transfer_free(struct transfer *t);
/* Make t->easy ready to send event, which is borrowed until the end. now_ms: wall clock. */
int transfer_prepare(struct transfer *t, const struct event *event, int64_t now_ms,
                     struct err *err);
/* What came of it, when libcurl has ended with code. now_ms: wall clock. */
void transfer_answer(struct transfer *t, CURLcode code, int64_t now_ms, struct answer *ret_answer);
/* How much of the answer's body is kept in t->answer. */
size_t transfer_answer_len(const struct transfer *t);
/* One word for a code that is not CURLE_OK. os_errno: of the failed connect, 0 if unknown. */
const char *transfer_error_word(CURLcode code, long os_errno);
#endif
