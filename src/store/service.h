#ifndef STORE_SERVICE_H
#define STORE_SERVICE_H
/* service: the store thread. It takes every step that waits, applies them as one transaction and posts
 * each back to its owner's mailbox: group commit with no timer, the commit itself is the batching
 * window. Nobody else writes to the store.
 *
 * A parkable CLAIM or LEASE for which there is nothing to do stays here and is applied again when
 * something may have changed (an asset was put, an event was made, a due time has come), so its owner
 * just waits for the answer. When a batch fails, PUT, RETRY, RESEND and SAMPLE come back with
 * STEP_FAILED at once; all other steps stay and are applied again with a growing pause until they are durable. */
#include <stdatomic.h>
#include <stdbool.h>

#include "store/store.h"

struct service;

/* Somebody who follows the feed. The caller fills in reply_to; posted is false. */
struct service_watch {
    struct mail mail;
    struct mailbox *reply_to;
    atomic_bool posted; /* it is in the mailbox: its owner sets false before it reads the feed */
    struct service_watch *next; /* the service's own */
};

/* Start the thread. Borrows store until service_stop(). */
int service_start(struct store *store, struct service **ret_service, struct err *err);
/* Hand over the chain of steps first…last (joined by mail.next), each with its reply_to. Any thread.
 * A step belongs to the service until it is back in the mailbox. */
void service_submit(struct service *service, struct step *first, struct step *last);
/* Answer every parked step with STEP_NOTHING, now and from now on: the drain has begun. */
void service_unpark(struct service *service);
/* Answer the parked steps whose `recalled` is true with STEP_NOTHING, without applying them. Later ones
 * are answered so by themselves. */
void service_recall(struct service *service);
/* Whether the last batch became durable (and, if not, why): what /readyz tells. */
bool service_healthy(struct service *service, struct err *ret_why);
/* Submit one step and wait for its answer; for callers without a loop. */
void service_call(struct service *service, struct step *step);
/* From now on the watch is posted to its mailbox after each batch in which an asset may have changed its
 * state, unless it is still posted. Borrowed until service_unwatch(), after which nobody posts it
 * any more; it may still be in the mailbox. Any thread. */
void service_watch(struct service *service, struct service_watch *watch);
void service_unwatch(struct service *service, struct service_watch *watch);
/* Apply what is still waiting, answer all, end the thread. Steps that cannot be made durable within
 * 2 s come back with STEP_FAILED. NULL is fine. */
void service_stop(struct service *service);
#endif
