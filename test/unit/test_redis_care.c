/* What the Redis engine tells those who look after it. */
#include <poll.h>
#include <signal.h>

#include "base/log.h"
#include "store/redis.h"
#include "support/store_world.h"

static void open_redis(struct world *w)
{
    struct store_config config = { .max_queued = 1000, .lease_ms = 200 };
    world_init(w, WORLD_REDIS);
    assert_int_equal(store_open(w->url, &config, &w->store, NULL), 0);
}

/* ---- what is told of the server ---- */

/* Wait until store_health() says rc, with n warnings of which the last is called name. */
static void health_becomes(struct world *w, int rc, size_t n, const char *name, const char *why)
{
    struct store_warnings now = { 0 };
    struct err err = { 0 };
    for (int i = 0; i < 1000; i++) {
        if (store_health(w->store, &now, &err) == rc && now.n == n &&
            (n == 0 ||
             (strcmp(now.list[n - 1].name, name) == 0 && strstr(now.list[n - 1].why, why))))
            return;
        (void)poll(NULL, 0, 10);
    }
    fail_msg("%zu warnings, not %zu; %s: %s; %s", now.n, n, now.n ? now.list[now.n - 1].name : "",
             now.n ? now.list[now.n - 1].why : "", err.msg);
}

static void what_the_server_may_lose_is_told_while_it_is_so(void **state)
{
    (void)state;
    static const struct {
        const char *set, *unset, *name, *why;
    } cases[] = {
        { "CONFIG SET appendfsync everysec", "CONFIG SET appendfsync always", "not_durable",
          "appendfsync everysec" },
        { "CONFIG SET appendonly no", "CONFIG SET appendonly yes", "not_durable", "appendonly no" },
        { "CONFIG SET maxmemory-policy allkeys-lru", "CONFIG SET maxmemory-policy noeviction",
          "may_evict", "allkeys-lru" },
        { "ACL SETUSER default -config", "ACL SETUSER default +config", "settings_unknown",
          "appendfsync always" },
    };
    struct world w;
    open_redis(&w);
    health_becomes(&w, 0, 0, NULL, NULL);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        (void)redis_server_ask(cases[i].set);
        health_becomes(&w, 0, 1, cases[i].name, cases[i].why);
        (void)redis_server_ask(cases[i].unset);
        health_becomes(&w, 0, 0, NULL, NULL);
    }
    world_release(&w);
}

static void a_server_that_is_away_is_told_before_anybody_runs_into_it(void **state)
{
    (void)state;
    struct world w;
    open_redis(&w);
    if (!redis_server_signal(SIGKILL))
        skip();
    health_becomes(&w, -1, 0, NULL, NULL);
    redis_server_start_again();
    health_becomes(&w, 0, 0, NULL, NULL);
    world_release(&w);
}

int main(void)
{
    log_setup(LOG_ERROR + 1, LOG_LOGFMT); /* what fails here fails on purpose */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_server_may_lose_is_told_while_it_is_so),
        cmocka_unit_test(a_server_that_is_away_is_told_before_anybody_runs_into_it),
    };
    return world_run_redis("redis_care", tests, ARRAY_LEN(tests));
}
