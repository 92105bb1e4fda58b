#ifndef WEBHOOK_SENDER_LOG_H
#define WEBHOOK_SENDER_LOG_H
/* sender_log: the sender's log lines. URLs without their query: that is where clients put secrets. */
#include "store/store.h"
#include "webhook/sender_schedule.h"

/* An attempt ended with answer and left its event in state. A first attempt that succeeds is no news:
 * the asset's own lines tell that it has ended. */
void sender_log_end(const struct event *event, const struct answer *answer, int duration_ms,
                    enum event_state state);
/* The store did not take a result: the event is sent again when its lease is over, at least once. */
void sender_log_lost(const struct event *event);
#endif
