/* parts: see parts.h. Started in the order of what needs what: the jailed children first, while there is no
 * thread yet. Drained in the order of an asset's life: accept nothing, validate nothing, send nothing,
 * store. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "api/api.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/version.h"
#include "cmd/commands.h"
#include "cmd/config.h"
#include "cmd/monitor_parts.h"
#include "cmd/notify.h"
#include "cmd/parts.h"
#include "cmd/process_metrics.h"
#include "cmd/process_tell.h"
#include "cmd/secrets.h"
#include "monitor/monitor.h"
#include "store/redis_url.h"
#include "webhook/sender.h"
#include "worker/worker.h"

enum {
    DRAIN_MS = 25 * 1000,      /* the whole drain; then the process ends as it is */
    HTTP_DRAIN_MS = 5 * 1000,  /* for answers that are under way */
    SEND_DRAIN_MS = 11 * 1000, /* for transfers under way: a little more than one may take */
    HOUSEKEEPING_MS = 60 * 1000,
    PRUNE_BATCH = 500,
    MAX_CONNECTIONS = 1024, /* of a listener that is not the API's */
    PARTS_WITH_URLS = PART_API | PART_SENDER | PART_MONITOR,
    OTHER_FILES = 640, /* the store's, the workers', 256 webhooks under way, clients to turn away */
};

extern char **environ;

struct server {
    struct config config;
    unsigned parts;   /* enum part */
    int64_t since_ms; /* start, wall clock */
    struct pool *pool;
    struct asset_root *root;
    struct policy *policy;
    struct signer *signer;
    struct http_keys *keys; /* NULL: everybody may */
    char *store_password;   /* NULL: none; until the store is open */
    struct store *store;
    struct service *service;
    struct sender *sender;
    struct workers *workers;
    struct api api, health; /* health: of a process that has no API */
    struct process_parts process;
    struct monitor monitor;
    struct monitor_parts monitor_parts;
    struct monitor_sampler sampler;
    struct http_server *api_server, *monitor_server, *health_server;
};

/* Names that a listener on loopback answers to; others are a page of some site that was rebound. */
static const char *const loopback_hosts[] = { "localhost", "127.0.0.1", "[::1]",
                                              "host.docker.internal", NULL };

static bool is_loopback(const char *listen)
{
    return strncmp(listen, "127.", 4) == 0 || strncmp(listen, "[::1]:", 6) == 0 ||
           strncmp(listen, "localhost:", 10) == 0;
}

/* How many connections a listener may have, so that idle ones never take the descriptors that assets
 * in work need. The usual soft limit of 1024 files is raised first, as far as one may. */
static unsigned connections_allowed(unsigned wanted)
{
    struct rlimit files;
    rlim_t enough = OTHER_FILES + (rlim_t)MAX_CONNECTIONS + wanted;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return wanted / 2;
    if (files.rlim_cur < enough && files.rlim_cur < files.rlim_max) {
        rlim_t before = files.rlim_cur;
        files.rlim_cur = files.rlim_max < enough ? files.rlim_max : enough;
        if (setrlimit(RLIMIT_NOFILE, &files) < 0)
            files.rlim_cur = before;
    }
    if (files.rlim_cur >= enough)
        return wanted;
    return files.rlim_cur > OTHER_FILES + 64 ? (unsigned)(files.rlim_cur - OTHER_FILES) / 2 : 32;
}

static int start_http(const char *listen, unsigned threads, unsigned max_connections,
                      const struct http_app *ops, void *app, struct http_server **ret,
                      struct err *err)
{
    struct http_config http = { .listen = listen,
                                .threads = threads,
                                .max_connections = connections_allowed(max_connections),
                                .hosts = is_loopback(listen) ? loopback_hosts : NULL };
    if (http_start(&http, ops, app, ret, err) < 0)
        return err_add(err, "listen on %s", listen);
    return 0;
}

/* The zygote has to exist before the first thread does. It makes the jailed children while the store is
 * opened. */
static int start_jail(struct server *s, struct err *err)
{
    struct pool_config pool = { .validator = &validator_image,
                                .limits = { .max_width = s->config.max_width,
                                            .max_height = s->config.max_height,
                                            .max_bytes = s->config.max_bytes },
                                .slots = s->config.workers ? s->config.workers : 1,
                                .sandbox = s->config.sandbox,
                                .digest = true };
    return pool_new(&pool, &s->pool, err);
}

static int open_store(struct server *s, struct err *err)
{
    const struct config *c = &s->config;
    struct store_config store = { .max_queued = c->max_queued,
                                  .lease_ms = c->lease_ms,
                                  .password = s->store_password };
    char shown[300];
    if (store_open(c->store, &store, &s->store, err) < 0)
        return err_add(err, "--store %s", redis_url_shown(c->store, shown, sizeof(shown)));
    return service_start(s->store, &s->service, err);
}

static int make_sender(struct server *s, struct err *err)
{
    struct sender_config sender = { .n_delays = s->config.webhook_n_delays, .signer = s->signer };
    memcpy(sender.delays_ms, s->config.webhook_delays_ms, sizeof(sender.delays_ms));
    return sender_new(s->service, s->policy, &sender, &s->sender, err);
}

static int start_workers(struct server *s, struct err *err)
{
    const struct config *c = &s->config;
    struct workers_config workers = { .count = c->workers,
                                      .service = s->service,
                                      .pool = s->pool,
                                      .root = s->root,
                                      .limits = { .max_width = c->max_width,
                                                  .max_height = c->max_height,
                                                  .max_bytes = c->max_bytes } };
    return workers_start(&workers, &s->workers, err);
}

static void prepare_api(struct server *s)
{
    const struct config *c = &s->config;
    struct api api = { .store = s->store,
                       .service = s->service,
                       .policy = s->policy,
                       .sandbox = c->sandbox,
                       .sandbox_layers = s->pool ? pool_layers(s->pool) : NULL,
                       .max_queued = c->max_queued,
                       .keys = s->keys,
                       .process_metrics = process_metrics,
                       .process = &s->process };
    s->process = (struct process_parts){ s->since_ms, s->workers, s->sender, s->pool };
    s->api = s->health = api;
    s->health.health_only = true;
}

static bool is_none(const char *listen)
{
    return strcmp(listen, "none") == 0;
}

static int start_api(struct server *s, struct err *err)
{
    const struct config *c = &s->config;
    if ((s->parts & PART_API) && start_http(c->listen, c->http_threads, c->max_connections,
                                            &api_http, &s->api, &s->api_server, err) < 0)
        return -1;
    if ((s->parts & PART_HEALTH) && !is_none(c->health_listen) &&
        start_http(c->health_listen, 1, MAX_CONNECTIONS, &api_http, &s->health, &s->health_server,
                   err) < 0)
        return -1;
    return 0;
}

static int start_monitor(struct server *s, struct err *err)
{
    s->monitor_parts =
        (struct monitor_parts){ .process = &s->process, .keys = s->keys, .api = &s->api };
    s->monitor = (struct monitor){ .store = s->store,
                                   .service = s->service,
                                   .policy = s->policy,
                                   .root = s->root,
                                   .prefix = s->config.monitor_prefix,
                                   .read_only = s->config.monitor_read_only,
                                   .hooks = monitor_parts_hooks(&s->monitor_parts) };
    if (is_none(s->config.monitor_listen))
        return 0;
    return start_http(s->config.monitor_listen, 1, MAX_CONNECTIONS, &monitor_http, &s->monitor,
                      &s->monitor_server, err);
}

static int start(struct server *s, struct err *err)
{
    const struct config *c = &s->config;
    if ((s->parts & PART_WORKERS) && start_jail(s, err) < 0)
        return err_add(err, "start the jailed children");
    if ((s->parts & PART_SENDER) && secret_signer(c, &s->signer, err) < 0)
        return -1;
    if (secret_keys(c, &s->keys, err) < 0 || secret_store(c, &s->store_password, err) < 0)
        return -1;
    secrets_forget(&s->config, environ);
    if ((s->parts & (PART_WORKERS | PART_MONITOR)) && asset_root_open(c->root, &s->root, err) < 0)
        return err_add(err, "--root %s", c->root);
    if ((s->parts & PARTS_WITH_URLS) &&
        policy_new(c->webhook_allow, c->webhook_deny, &s->policy, err) < 0)
        return err_add(err, "--webhook-allow, --webhook-deny");
    if (open_store(s, err) < 0)
        return -1;
    secret_free(TAKE(s->store_password));
    if ((s->parts & PART_SENDER) && make_sender(s, err) < 0)
        return -1;
    if ((s->parts & PART_WORKERS) && pool_ready(s->pool, err) < 0)
        return err_add(err, "start the jailed children");
    if ((s->parts & PART_WORKERS) && start_workers(s, err) < 0)
        return -1;
    prepare_api(s); /* the monitor answers /metrics with it */
    if ((s->parts & PART_MONITOR) && start_monitor(s, err) < 0)
        return -1;
    if (start_api(s, err) < 0)
        return -1;
    return s->sender ? sender_start(s->sender, err) : 0;
}

/* Also of a server that is only half started. */
static void stop(struct server *s)
{
    if (s->api_server)
        http_drain(s->api_server);
    if (s->monitor_server)
        http_drain(s->monitor_server);
    if (s->health_server)
        http_drain(s->health_server);
    if (s->api_server) /* before the workers: an answer may wait for its commit */
        http_stop(s->api_server, HTTP_DRAIN_MS);
    if (s->monitor_server)
        http_stop(s->monitor_server, 1000);
    if (s->health_server)
        http_stop(s->health_server, 1000);
    if (s->workers)
        workers_drain(s->workers);
    if (s->sender)
        sender_drain(s->sender, SEND_DRAIN_MS);
    if (s->service)
        service_unpark(s->service);
    workers_stop(s->workers);
    if (s->sender)
        sender_stop(s->sender);
    signer_free(s->signer);
    service_stop(s->service);
    if (s->store)
        store_close(s->store);
    http_keys_free(s->keys);
    secret_free(s->store_password);
    if (s->policy)
        policy_free(s->policy);
    if (s->root)
        asset_root_close(s->root);
    if (s->pool)
        pool_free(s->pool);
}

static void prune(struct server *s)
{
    uint64_t pruned = 0;
    struct step step;
    do {
        step = (struct step){ .kind = STEP_PRUNE };
        step.u.prune = (struct step_prune){ .before_ms = clock_wall_ms() - s->config.retain_ms,
                                            .max = PRUNE_BATCH };
        service_call(s->service, &step);
        if (step.result == STEP_DONE)
            pruned += step.u.prune.ret_count;
    } while (step.result == STEP_DONE);
    if (pruned)
        log_info("pruned", LOG_I("assets", pruned));
}

/* A sample for the plots; one that is missed is a gap in them and no more. */
static void sample(struct server *s)
{
    struct err err;
    if (monitor_sample(&s->sampler, s->store, s->service, clock_wall_ms(), &err) < 0)
        log_warn("history", LOG_S("why", err.msg));
}

/* Whether other processes are told what this one does. */
static bool tells(const struct server *s)
{
    return s->workers && s->store->ops->beat;
}

/* Tell them, and do what somebody asked of us. true: that has changed what there is to tell. */
static bool beat(struct server *s)
{
    struct store_process process;
    struct err err;
    int wanted;
    process_tell(&s->process, &process);
    if (store_beat(s->store, &process, &wanted, &err) < 0) {
        log_debug("beat_failed", LOG_S("why", err.msg));
        return false;
    }
    unsigned active = (unsigned)wanted < process.capacity ? (unsigned)wanted : process.capacity;
    if (wanted < 0 || active == process.active)
        return false;
    log_info("workers_resized", LOG_I("from", process.active), LOG_I("to", active));
    workers_resize(s->workers, active);
    return true;
}

/* Our only child is the zygote, without which no file can be judged any more. */
static bool is_zygote_death(const struct signalfd_siginfo *info)
{
    return info->ssi_signo == SIGCHLD && info->ssi_code != CLD_STOPPED &&
           info->ssi_code != CLD_CONTINUED;
}

/* Until SIGTERM or SIGINT: EXIT_OK; or until it makes no sense to go on: EXIT_FAULT. */
static int run(struct server *s, int signal_fd)
{
    int64_t housekeeping_ms = clock_mono_ms(), beat_ms = housekeeping_ms,
            watchdog_ms = notify_watchdog_ms();
    for (;;) {
        int64_t wait_ms = housekeeping_ms - clock_mono_ms();
        struct pollfd p = { .fd = signal_fd, .events = POLLIN };
        if (watchdog_ms > 0 && wait_ms > watchdog_ms)
            wait_ms = watchdog_ms;
        if (tells(s) && wait_ms > beat_ms - clock_mono_ms())
            wait_ms = beat_ms - clock_mono_ms();
        notify("WATCHDOG=1");
        if (poll(&p, 1, wait_ms > 0 ? (int)wait_ms : 0) > 0) {
            struct signalfd_siginfo info;
            if (read(signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
                continue;
            if (is_zygote_death(&info)) {
                log_error("drain", LOG_S("why", "the zygote of the jailed children has died; after "
                                                "a new start all goes on"));
                return EXIT_FAULT;
            }
            if (info.ssi_signo != SIGCHLD) {
                log_info("drain", LOG_S("signal", strsignal((int)info.ssi_signo)));
                return EXIT_OK;
            }
        }
        if (tells(s) && clock_mono_ms() >= beat_ms) {
            beat_ms = clock_mono_ms() + (beat(s) ? 0 : STORE_BEAT_MS);
        }
        if (clock_mono_ms() >= housekeeping_ms) {
            if (s->parts & PART_WORKERS)
                prune(s);
            if (s->parts & (PART_WORKERS | PART_MONITOR))
                sample(s);
            housekeeping_ms = clock_mono_ms() + HOUSEKEEPING_MS;
        }
    }
}

static void drain_took_too_long(int signal)
{
    (void)signal;
    static const char line[] = "level=error event=drain_timeout why=\"25 s are over\"\n";
    (void)!write(STDERR_FILENO, line, sizeof(line) - 1);
    _exit(EXIT_FAULT);
}

/* From here on a second signal ends the process at once, and so does the end of the time for it. What
 * is not stored then is done again after the next start. */
static void bound_drain(const sigset_t *stopping)
{
    (void)signal(SIGALRM, drain_took_too_long);
    (void)alarm(DRAIN_MS / 1000);
    (void)pthread_sigmask(SIG_UNBLOCK, stopping, NULL);
}

/* What its operator should know of how it runs. */
static void warn(const struct server *s)
{
    const struct config *c = &s->config;
    if (s->pool && !c->sandbox)
        log_warn("sandbox_off",
                 LOG_S("why", "ASSAY_SANDBOX=off: hostile images are read without it"));
    if (s->keys)
        log_info("keys", LOG_I("count", http_keys_count(s->keys)));
    if (!s->api_server || s->keys || is_loopback(c->listen))
        return;
    log_warn("open_to_network", LOG_S("listen", c->listen),
             LOG_S("why", "anyone who reaches this port can post; no API key is set"));
    if (policy_reaches_inside(s->policy))
        log_warn("webhooks_inside", LOG_S("setting", "ASSAY_WEBHOOK_ALLOW"),
                 LOG_S("is", c->webhook_allow),
                 LOG_S("why", "and have webhooks sent to loopback and private addresses"));
}

static void say_ready(const struct server *s)
{
    const struct config *c = &s->config;
    char store[300];
    const char *listen = s->parts & PART_API      ? c->listen
                         : s->parts & PART_HEALTH ? c->health_listen
                                                  : "none";
    const struct http_server *http = s->api_server ? s->api_server : s->health_server;
    warn(s);
    log_info("ready", LOG_S("version", ASSAY_VERSION), LOG_S("listen", listen),
             LOG_I("port", http ? http_port(http) : 0),
             LOG_S("monitor", s->parts & PART_MONITOR ? c->monitor_listen : "none"),
             LOG_S("store", redis_url_shown(c->store, store, sizeof(store))),
             LOG_S("root", c->root), LOG_I("workers", s->workers ? c->workers : 0),
             LOG_S("sandbox", s->pool ? pool_layers(s->pool) : "none"));
}

int parts_main(const char *name, enum command command, unsigned parts, int argc, char *argv[])
{
    struct server s = { .parts = parts, .since_ms = clock_wall_ms() };
    struct err err = { 0 };
    if (config_parse(&s.config, command, argc, argv, environ, &err) != 0 ||
        secret_signer(&s.config, &s.signer, &err) < 0 ||
        secret_keys(&s.config, &s.keys, &err) < 0 ||
        secret_store(&s.config, &s.store_password, &err) < 0) {
        (void)fprintf(stderr, "assay %s: %s\n", name, err.msg);
        return EXIT_USAGE;
    }
    signer_free(
        TAKE(s.signer)); /* so that the jailed children have no copy: start() makes it again */
    http_keys_free(TAKE(s.keys));
    secret_free(TAKE(s.store_password));
    log_setup(s.config.log_level, s.config.log_format);

    sigset_t stopping;
    (void)sigemptyset(&stopping);
    (void)sigaddset(&stopping, SIGTERM);
    (void)sigaddset(&stopping, SIGINT);
    sigset_t watched = stopping;
    (void)sigaddset(&watched, SIGCHLD);
    (void)pthread_sigmask(SIG_BLOCK, &watched, NULL); /* every thread inherits it */
    (void)signal(SIGPIPE, SIG_IGN);
    CLEANUP(closep) int signal_fd = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signal_fd < 0 || start(&s, &err) < 0) {
        (void)fprintf(stderr, "assay %s: %s\n", name, signal_fd < 0 ? strerror(errno) : err.msg);
        stop(&s);
        return EXIT_NO_START;
    }
    say_ready(&s);
    notify("READY=1");
    int code = run(&s, signal_fd);
    notify("STOPPING=1");
    bound_drain(&stopping);
    stop(&s);
    log_info("stopped", LOG_S("why", code == EXIT_OK ? "drained" : "fault"));
    return code;
}
