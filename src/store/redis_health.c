/* redis_health: what an operator has to know of the Redis that the data lie in: how long they would last.
 * Looked at by the thread that renews the leases, which also notices that nothing can be written. */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "store/redis.h"

enum { SETTING_MAX = 32 };

/* All that the server answers to a command of some words; NULL: it does not tell. */
static redisReply *ask_words(redisContext *c, size_t n, const char *const words[])
{
    CLEANUP(redis_request_release) struct redis_request r = { 0 };
    redisReply *reply = NULL;
    redis_request_init(&r);
    for (size_t i = 0; i < n; i++)
        redis_adds(&r, words[i]);
    return redis_ask(c, &r, &reply, NULL) == 0 ? reply : NULL;
}

/* What one setting of the server is, in text; false: it does not tell. */
static bool read_setting(redisContext *c, const char *name, char text[SETTING_MAX])
{
    CLEANUP(redis_reply_freep)
    redisReply *reply = ask_words(c, 3, (const char *const[]){ "CONFIG", "GET", name });
    bool told = redis_is_array(reply, 2) && redis_is_text(reply->element[1]);
    (void)snprintf(text, SETTING_MAX, "%s", told ? reply->element[1]->str : "");
    return told;
}

__attribute__((format(printf, 3, 4))) static void warn(struct store_warnings *w, const char *name,
                                                       const char *fmt, ...)
{
    va_list args;
    struct store_warning *one = &w->list[w->n++];
    one->name = name;
    va_start(args, fmt);
    (void)vsnprintf(one->why, sizeof(one->why), fmt, args);
    va_end(args);
}

static void judge_durability(redisContext *c, struct store_warnings *w)
{
    char appendonly[SETTING_MAX], appendfsync[SETTING_MAX], policy[SETTING_MAX];
    if (!read_setting(c, "appendonly", appendonly) ||
        !read_setting(c, "appendfsync", appendfsync) ||
        !read_setting(c, "maxmemory-policy", policy)) {
        warn(w, "settings_unknown",
             "Redis does not tell its settings (CONFIG GET): see to it that they are appendonly "
             "yes, appendfsync always, maxmemory-policy noeviction");
        return;
    }
    if (strcmp(appendonly, "yes") != 0)
        warn(w, "not_durable",
             "Redis has appendonly %s: what was accepted is lost when it ends; only appendonly yes "
             "with appendfsync always keeps it",
             appendonly);
    else if (strcmp(appendfsync, "always") != 0)
        warn(w, "not_durable",
             "Redis has appendfsync %s: what was accepted last is lost with its machine; only "
             "appendfsync always keeps it",
             appendfsync);
    if (strcmp(policy, "noeviction") != 0)
        warn(w, "may_evict",
             "Redis has maxmemory-policy %s: it may delete assets when its memory is full; only "
             "noeviction keeps them",
             policy);
}

static void judge_log(redisContext *c, struct store_warnings *w)
{
    CLEANUP(redis_reply_freep)
    redisReply *info = ask_words(c, 2, (const char *const[]){ "INFO", "persistence" });
    if (redis_is_text(info) && strstr(info->str, "aof_last_bgrewrite_status:err"))
        warn(w, "log_not_rewritten",
             "Redis could not rewrite its log (aof_last_bgrewrite_status:err): it grows until the "
             "disk is full");
}

void redis_look(struct redis_store *s, redisContext *c)
{
    struct store_warnings now = { 0 };
    judge_durability(c, &now);
    judge_log(c, &now);
    if (redis_gone(c)) /* half an answer says nothing */
        return;
    (void)pthread_mutex_lock(&s->lock);
    bool same = memcmp(&now, &s->warnings, sizeof(now)) == 0;
    s->warnings = now;
    (void)pthread_mutex_unlock(&s->lock);
    if (same)
        return;
    for (size_t i = 0; i < now.n; i++)
        log_warn("store_warning", LOG_S("name", now.list[i].name), LOG_S("why", now.list[i].why));
    if (now.n == 0)
        log_info("store_warnings_over");
}

void redis_note(struct redis_store *s, const struct err *why)
{
    (void)pthread_mutex_lock(&s->lock);
    s->trouble = *why;
    (void)pthread_mutex_unlock(&s->lock);
}

int redis_health(struct store *base, struct store_warnings *ret_warnings, struct err *err)
{
    struct redis_store *s = (struct redis_store *)base;
    (void)pthread_mutex_lock(&s->lock);
    *ret_warnings = s->warnings;
    struct err trouble = s->trouble;
    (void)pthread_mutex_unlock(&s->lock);
    return trouble.code == ERR_NONE ? 0 : err_set(err, trouble.code, "%s", trouble.msg);
}
