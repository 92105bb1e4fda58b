#include "webhook/sender_log.h"

#include <string.h>

#include "base/log.h"
#include "webhook/sender_transfer.h"
#include "client/url.h"

void sender_log_end(const struct event *event, const struct answer *answer, int duration_ms,
                    enum event_state state)
{
    enum log_level level = answer->error || event->attempts > 0 ? LOG_INFO : LOG_DEBUG;
    if (!log_enabled(level))
        return;
    char text[URL_MAX_LEN + 1]; /* without its query: that is where clients put secrets */
    const char *url = text;
    size_t len = strcspn(event->url, "?#");
    if (len >= sizeof(text))
        len = sizeof(text) - 1;
    memcpy(text, event->url, len);
    text[len] = '\0';
    log_at(level, "webhook_attempt", LOG_S("asset", event->asset_id),
           LOG_S("event", event_word(event->notify)), LOG_I("attempt", event->attempts + 1),
           LOG_S("result", event_state_name(state)), LOG_I("status", answer->status),
           LOG_S("why", answer->error), LOG_I("ms", duration_ms), LOG_S("url", url));
    if (state == EVENT_DEAD)
        log_warn("webhook_dead", LOG_S("asset", event->asset_id),
                 LOG_S("event", event_word(event->notify)), LOG_I("attempts", event->attempts + 1),
                 LOG_I("status", answer->status), LOG_S("why", answer->error), LOG_S("url", url));
}

void sender_log_lost(const struct event *event)
{
    const char *word = event_word(event->notify);
    log_warn("webhook_result_lost", LOG_S("asset", event->asset_id), LOG_S("event", word));
}
