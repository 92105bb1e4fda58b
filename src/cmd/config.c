#include "cmd/config.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "monitor/monitor.h"
#include "store/redis_url.h"
#include "webhook/policy.h"

enum kind {
    TEXT,
    PATH,
    ADDRESS,
    ADDRESS_OR_NONE,
    STORE,
    NETWORKS,
    NUMBER,
    BYTES,
    DURATION,
    SCHEDULE,
    WORD,
    SWITCH
};

struct option {
    const char *name; /* without "--"; its variable is ASSAY_ and the name in capitals */
    bool environment_only;
    enum kind kind;
    size_t offset;        /* of the field in struct config */
    size_t size;          /* of a NUMBER's field: sizeof(unsigned) or sizeof(uint64_t) */
    const char *fallback; /* parsed like a given value; NULL: see finish() */
    uint64_t least, most; /* of NUMBER, BYTES and DURATION (ms) */
    const char *words;    /* of WORD: "a|b|c", stored as the index */
    unsigned commands;
    const char *shown_default; /* where fallback would not tell a person */
    const char *help;
};

#define FIELD(f) offsetof(struct config, f), sizeof(((struct config *)NULL)->f)
#define DAY_MS ((uint64_t)24 * 60 * 60 * 1000)
#define SHARING (COMMAND_API | COMMAND_WORKER | COMMAND_MONITOR)
#define SERVING (COMMAND_SERVER | SHARING)

static const struct option options[] = {
    { "listen", false, ADDRESS, FIELD(listen), "127.0.0.1:5001", 0, 0, NULL,
      COMMAND_SERVER | COMMAND_API | COMMAND_HEALTH | COMMAND_HOOK_RESEND, NULL,
      "address of the HTTP API" },
    { "listen", false, ADDRESS, FIELD(receiver_listen), "127.0.0.1:9000", 0, 0, NULL,
      COMMAND_HOOK_LISTEN, NULL, "address of the receiver" },
    { "status", false, NUMBER, FIELD(receiver_status), "204", 200, 599, NULL, COMMAND_HOOK_LISTEN,
      NULL, "what every webhook is answered" },
    { "all-dead", false, SWITCH, FIELD(all_dead), "off", 0, 0, NULL, COMMAND_HOOK_RESEND, NULL,
      "send every dead letter again" },
    { "monitor-listen", false, ADDRESS_OR_NONE, FIELD(monitor_listen), NULL, 0, 0, NULL,
      COMMAND_SERVER | COMMAND_MONITOR, "port 5555 of the API's host",
      "address of the monitor page, or none" },
    { "monitor-prefix", false, TEXT, FIELD(monitor_prefix), "", 0, 0, NULL,
      COMMAND_SERVER | COMMAND_MONITOR, "nothing",
      "what stands before the monitor's paths, as in /assay behind a proxy" },
    { "monitor-read-only", false, SWITCH, FIELD(monitor_read_only), "off", 0, 0, NULL,
      COMMAND_SERVER | COMMAND_MONITOR, NULL,
      "the monitor only shows: it retries and resends nothing" },
    { "health-listen", false, ADDRESS_OR_NONE, FIELD(health_listen), "127.0.0.1:5002", 0, 0, NULL,
      COMMAND_WORKER, NULL, "address of a worker's /healthz, /readyz and /metrics, or none" },
    { "health-path", false, PATH, FIELD(health_path), "/readyz", 0, 0, NULL, COMMAND_HEALTH, NULL,
      "what is asked; a monitor has /healthcheck" },
    { "store", false, STORE, FIELD(store), "sqlite:data/assay.db", 0, 0, NULL,
      SERVING | COMMAND_BACKUP | COMMAND_VERIFY, NULL,
      "where the queue, the records and the outbox are kept" },
    { "store-password", true, TEXT, FIELD(store_password), NULL, 0, 0, NULL,
      SERVING | COMMAND_BACKUP | COMMAND_VERIFY, "none, or what --store says",
      "password of a Redis that --store names without one" },
    { "store-password-file", true, TEXT, FIELD(store_password_file), NULL, 0, 0, NULL,
      SERVING | COMMAND_BACKUP | COMMAND_VERIFY, "none", "a file that holds the same" },
    { "root", false, TEXT, FIELD(root), ".", 0, 0, NULL,
      COMMAND_SERVER | COMMAND_WORKER | COMMAND_MONITOR, ". (the current folder)",
      "local asset paths are resolved beneath it, never above" },
    { "workers", false, NUMBER, FIELD(workers), NULL, 0, 1024, NULL,
      COMMAND_SERVER | COMMAND_WORKER | COMMAND_CHECK, "number of processors",
      "files that are validated at once; 0 only accepts and delivers" },
    { "http-threads", false, NUMBER, FIELD(http_threads), "1", 1, 64, NULL,
      COMMAND_SERVER | COMMAND_API, NULL, "threads that serve the HTTP API" },
    { "max-connections", false, NUMBER, FIELD(max_connections), "1024", 16, 100000, NULL,
      COMMAND_SERVER | COMMAND_API, NULL,
      "clients of the HTTP API at once; files that may be open bound it too" },
    { "lease", false, DURATION, FIELD(lease_ms), "30s", 1000, DAY_MS, NULL, COMMAND_WORKER, NULL,
      "a worker that is silent for so long has lost its assets to others" },
    { "max-width", false, NUMBER, FIELD(max_width), "1000", 1, 65535, NULL,
      COMMAND_SERVER | COMMAND_WORKER | COMMAND_CHECK, NULL, "widest image that passes, pixels" },
    { "max-height", false, NUMBER, FIELD(max_height), "1000", 1, 65535, NULL,
      COMMAND_SERVER | COMMAND_WORKER | COMMAND_CHECK, NULL, "highest image that passes, pixels" },
    { "max-bytes", false, BYTES, FIELD(max_bytes), "32MiB", 1, 128u << 20, NULL,
      COMMAND_SERVER | COMMAND_WORKER | COMMAND_CHECK, NULL,
      "largest file that passes (KiB, MiB or plain bytes)" },
    { "max-queued", false, NUMBER, FIELD(max_queued), "1000000", 1, (uint64_t)1 << 32, NULL,
      COMMAND_SERVER | COMMAND_API, NULL, "assets that may wait; beyond it the API answers 503" },
    { "retain", false, DURATION, FIELD(retain_ms), "30d", 1000, 36500 * DAY_MS, NULL,
      COMMAND_SERVER | COMMAND_WORKER, NULL,
      "ended assets older than this are pruned (s, min, h, d)" },
    { "webhook-allow", false, NETWORKS, FIELD(webhook_allow), "public,private,loopback", 0, 0, NULL,
      COMMAND_SERVER | COMMAND_API | COMMAND_WORKER | COMMAND_MONITOR | COMMAND_HOOK_TEST, NULL,
      "networks that webhooks may reach, CIDRs too, or none" },
    { "webhook-deny", false, NETWORKS, FIELD(webhook_deny), "", 0, 0, NULL,
      COMMAND_SERVER | COMMAND_API | COMMAND_WORKER | COMMAND_MONITOR | COMMAND_HOOK_TEST,
      "nothing", "networks or CIDRs that they may not; wins over allow" },
    { "webhook-schedule", false, SCHEDULE, FIELD(webhook_delays_ms), NULL, 0, 0, NULL,
      COMMAND_SERVER | COMMAND_WORKER, "5s,5min,30min,2h,5h,10h,14h,20h,24h",
      "pauses before a webhook's second attempt, its third, …" },
    { "webhook-secret", true, TEXT, FIELD(webhook_secret), NULL, 0, 0, NULL,
      COMMAND_SERVER | COMMAND_WORKER | COMMAND_HOOK_TEST | COMMAND_HOOK_LISTEN,
      "none: webhooks are not signed",
      "whsec_… that webhooks are signed with; two while a key is replaced" },
    { "webhook-secret-file", true, TEXT, FIELD(webhook_secret_file), NULL, 0, 0, NULL,
      COMMAND_SERVER | COMMAND_WORKER | COMMAND_HOOK_TEST | COMMAND_HOOK_LISTEN, "none",
      "a file that holds the same" },
    { "api-key", true, TEXT, FIELD(api_key), NULL, 0, 0, NULL, SERVING | COMMAND_HOOK_RESEND,
      "none: no key is asked for",
      "key, or name:key, that requests must carry; several are lines" },
    { "api-key-file", true, TEXT, FIELD(api_key_file), NULL, 0, 0, NULL,
      SERVING | COMMAND_HOOK_RESEND, "none", "a file that holds the same" },
    { "log-level", false, WORD, FIELD(log_level), "info", 0, 0, "debug|info|warn|error", SERVING,
      NULL, "least important lines that are logged: debug, info, warn or error" },
    { "log-format", false, WORD, FIELD(log_format), "logfmt", 0, 0, "logfmt|json", SERVING, NULL,
      "form of the log lines: logfmt or json" },
    { "json", false, SWITCH, FIELD(json), "off", 0, 0, NULL, COMMAND_CHECK, NULL,
      "one JSON object a file, in the order given" },
    { "quiet", false, SWITCH, FIELD(quiet), "off", 0, 0, NULL, COMMAND_CHECK, NULL,
      "print nothing: the exit code tells" },
    { "fail-fast", false, SWITCH, FIELD(fail_fast), "off", 0, 0, NULL, COMMAND_CHECK, NULL,
      "stop at the first file that does not pass" },
    { "manifest", false, TEXT, FIELD(manifest), NULL, 0, 0, NULL, COMMAND_CHECK, "none",
      "file of JSON lines with a path each (- for stdin): they come back with a verdict" },
    { "sandbox", true, SWITCH, FIELD(sandbox), "on", 0, 0, NULL,
      COMMAND_SERVER | COMMAND_WORKER | COMMAND_CHECK, NULL,
      "off: images are read without the jail (a warning says so)" },
};

/* "max-width" → "ASSAY_MAX_WIDTH" */
static void variable_name(const char *name, char ret_variable[static 64])
{
    memcpy(ret_variable, "ASSAY_", 6);
    size_t i = 0;
    for (; name[i] && i < 57; i++)
        ret_variable[6 + i] = name[i] == '-' ? '_' : (char)toupper((unsigned char)name[i]);
    ret_variable[6 + i] = '\0';
}

/* A whole number followed by one of units ("KiB", …), each standing for its factor. */
struct unit {
    const char *name;
    uint64_t factor;
};
static const struct unit byte_units[] = {
    { "", 1 }, { "KiB", 1 << 10 }, { "MiB", 1 << 20 }, { NULL, 0 }
};
static const struct unit time_units[] = { { "ms", 1 },          { "s", 1000 },
                                          { "min", 60 * 1000 }, { "h", 3600 * 1000 },
                                          { "d", DAY_MS },      { NULL, 0 } };
static const struct unit no_units[] = { { "", 1 }, { NULL, 0 } };

static int parse_amount(const char *text, size_t len, const struct unit *units, uint64_t *ret)
{
    uint64_t value = 0;
    size_t i = 0;
    for (; i < len && isdigit((unsigned char)text[i]); i++) {
        if (value > UINT64_MAX / 10 - 10)
            return -1;
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    if (i == 0)
        return -1;
    for (; units->name; units++) {
        if (strlen(units->name) != len - i || memcmp(units->name, text + i, len - i) != 0)
            continue;
        if (value > UINT64_MAX / units->factor)
            return -1;
        *ret = value * units->factor;
        return 0;
    }
    return -1;
}

static int parse_word(const char *words, const char *text, unsigned *ret)
{
    unsigned index = 0;
    for (const char *w = words;; index++) {
        size_t len = strcspn(w, "|");
        if (strlen(text) == len && memcmp(w, text, len) == 0) {
            *ret = index;
            return 0;
        }
        if (w[len] == '\0')
            return -1;
        w += len + 1;
    }
}

/* "host:port" with a port of 0 … 65535; an IPv6 host stands in brackets. */
static bool is_address(const char *text)
{
    const char *colon = strrchr(text, ':');
    uint64_t port;
    if (!colon || colon == text || parse_amount(colon + 1, strlen(colon + 1), no_units, &port) < 0)
        return false;
    bool bracketed = text[0] == '[' && colon[-1] == ']';
    return port <= 65535 && (bracketed || memchr(text, ':', (size_t)(colon - text)) == NULL);
}

static const char sqlite_scheme[] = "sqlite:", redis_scheme[] = "redis:";

static bool is_redis(const char *text)
{
    return strncmp(text, redis_scheme, sizeof(redis_scheme) - 1) == 0;
}

static bool is_store(const char *text)
{
    size_t len = sizeof(sqlite_scheme) - 1;
    if (is_redis(text)) {
        struct redis_url url;
        if (redis_url_parse(text + sizeof(redis_scheme) - 1, &url, NULL) < 0)
            return false;
        redis_url_release(&url);
        return true;
    }
    return strncmp(text, sqlite_scheme, len) == 0 && text[len] != '\0';
}

static bool is_networks(const char *text)
{
    struct policy *policy;
    struct err err;
    if (policy_new(text, NULL, &policy, &err) < 0)
        return err.code != ERR_INVALID;
    policy_free(policy);
    return true;
}

static int parse_schedule(struct config *config, const char *text)
{
    config->webhook_n_delays = 0;
    for (;;) {
        size_t len = strcspn(text, ",");
        uint64_t ms;
        if (parse_amount(text, len, time_units, &ms) < 0 || ms > 365 * DAY_MS ||
            config->webhook_n_delays == SENDER_MAX_DELAYS)
            return -1;
        config->webhook_delays_ms[config->webhook_n_delays++] = (int64_t)ms;
        if (text[len] == '\0')
            return 0;
        text += len + 1;
    }
}

/* What a value of this option looks like, for the line that refuses another. */
static void describe(const struct option *o, struct buf *out)
{
    switch (o->kind) {
    case TEXT:
        (void)buf_adds(out, "some text");
        break;
    case PATH:
        (void)buf_adds(out, "a path that begins with /");
        break;
    case ADDRESS:
        (void)buf_adds(out, "host:port, as in 127.0.0.1:5001 or [::1]:5001");
        break;
    case ADDRESS_OR_NONE:
        (void)buf_adds(out, "host:port, as in 127.0.0.1:5001 or [::1]:5001, or none");
        break;
    case STORE:
        (void)buf_addf(out, "%sFILE or %s//[:password@]host:port/db", sqlite_scheme, redis_scheme);
        break;
    case NETWORKS:
        (void)buf_adds(out, "public, private, loopback or addresses as in 10.0.0.0/8, joined by "
                            "commas, or none");
        break;
    case NUMBER:
        (void)buf_addf(out, "a whole number from %llu to %llu", (unsigned long long)o->least,
                       (unsigned long long)o->most);
        break;
    case BYTES:
        (void)buf_addf(out, "a size from 1 to %lluMiB, as in 500KiB or 32MiB",
                       (unsigned long long)o->most >> 20);
        break;
    case DURATION:
        (void)buf_adds(out, "a time of at least 1s, as in 90s, 15min, 12h or 30d");
        break;
    case SCHEDULE:
        (void)buf_addf(out, "up to %d times joined by commas, as in 5s,5min,2h", SENDER_MAX_DELAYS);
        break;
    case SWITCH:
        (void)buf_adds(out, "one of off|on");
        break;
    case WORD:
        (void)buf_addf(out, "one of %s", o->words);
        break;
    }
}

static int parse_value(struct config *config, const struct option *o, const char *text)
{
    void *field = (char *)config + o->offset;
    uint64_t amount;
    switch (o->kind) {
    case TEXT:
        memcpy(field, &text, sizeof(text));
        return 0;
    case PATH:
        if (text[0] != '/')
            return -1;
        memcpy(field, &text, sizeof(text));
        return 0;
    case ADDRESS_OR_NONE:
    case ADDRESS:
        if (!is_address(text) && !(o->kind == ADDRESS_OR_NONE && strcmp(text, "none") == 0))
            return -1;
        memcpy(field, &text, sizeof(text));
        return 0;
    case STORE:
        if (!is_store(text))
            return -1;
        memcpy(field, &text, sizeof(text));
        return 0;
    case NETWORKS:
        if (strcmp(text, o->fallback) != 0 && !is_networks(text))
            return -1;
        memcpy(field, &text, sizeof(text));
        return 0;
    case NUMBER:
    case BYTES:
    case DURATION: {
        const struct unit *units = o->kind == BYTES      ? byte_units
                                   : o->kind == DURATION ? time_units
                                                         : no_units;
        if (parse_amount(text, strlen(text), units, &amount) < 0 || amount < o->least ||
            amount > o->most)
            return -1;
        uint32_t narrow = (uint32_t)amount;
        memcpy(field, o->size == sizeof(narrow) ? (void *)&narrow : (void *)&amount, o->size);
        return 0;
    }
    case SCHEDULE:
        return parse_schedule(config, text);
    case WORD: {
        unsigned index;
        if (parse_word(o->words, text, &index) < 0)
            return -1;
        *(unsigned *)field = index;
        return 0;
    }
    case SWITCH: {
        unsigned index;
        if (parse_word("off|on", text, &index) < 0)
            return -1;
        *(bool *)field = index != 0;
        return 0;
    }
    }
    return -1;
}

static int set_value(struct config *config, const struct option *o, const char *text,
                     const char *where, struct err *err)
{
    if (parse_value(config, o, text) == 0)
        return 0;
    struct buf expected;
    buf_init(&expected, 200);
    describe(o, &expected);
    char shown[64];
    (void)err_set(err, ERR_INVALID, "%s: '%.60s' is not %s", where,
                  o->kind == STORE ? redis_url_shown(text, shown, sizeof(shown)) : text,
                  buf_str(&expected));
    buf_release(&expected);
    return -1;
}

/* A name may stand in the table twice, for different commands. */
static const struct option *find_option(enum command command, const char *name, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        if ((options[i].commands & command) && strlen(options[i].name) == len &&
            memcmp(options[i].name, name, len) == 0)
            return &options[i];
    return NULL;
}

/* Every variable that begins with ASSAY_ must be one of ours, else a mistyped one would go unseen. */
static int parse_environment(struct config *config, enum command command, char *const variables[],
                             struct err *err)
{
    for (; *variables; variables++) {
        if (strncmp(*variables, "ASSAY_", 6) != 0)
            continue;
        size_t len = strcspn(*variables, "=");
        const struct option *found = NULL;
        char variable[64];
        for (size_t i = 0; i < ARRAY_LEN(options) && !found; i++) {
            variable_name(options[i].name, variable);
            if (strlen(variable) == len && memcmp(variable, *variables, len) == 0)
                found = &options[i];
        }
        if (!found)
            return err_set(err, ERR_INVALID, "%.*s: there is no such setting (see assay help)",
                           (int)(len < 80 ? len : 80), *variables);
        variable_name(found->name, variable);
        if ((found->commands & command) &&
            set_value(config, found, *variables + len + 1, variable, err) < 0)
            return -1;
    }
    return 0;
}

static int parse_flags(struct config *config, enum command command, int argc, char *argv[],
                       struct err *err)
{
    bool only_arguments = false;
    config->arguments = argv;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return 1;
        only_arguments |= strcmp(argv[i], "--") == 0;
        if (only_arguments && strcmp(argv[i], "--") == 0)
            continue;
        if (only_arguments || strncmp(argv[i], "--", 2) != 0) {
            if (!(command &
                  (COMMAND_CHECK | COMMAND_BACKUP | COMMAND_HOOK_TEST | COMMAND_HOOK_RESEND)))
                return err_set(err, ERR_INVALID, "'%.60s': only flags are expected here", argv[i]);
            argv[config->n_arguments++] = argv[i];
            continue;
        }
        size_t len = strcspn(argv[i] + 2, "=");
        const struct option *o = find_option(command, argv[i] + 2, len);
        if (!o || o->environment_only)
            return err_set(err, ERR_INVALID, "%.60s: there is no such flag (see --help)", argv[i]);
        char flag[64] = "--";
        memcpy(flag + 2, o->name, strlen(o->name) + 1);
        const char *value = argv[i][2 + len] == '=' ? argv[i] + 2 + len + 1
                            : o->kind == SWITCH     ? "on"
                                                    : argv[++i];
        if (i >= argc)
            return err_set(err, ERR_INVALID, "%s: its value is missing", flag);
        if (set_value(config, o, value, flag, err) < 0)
            return -1;
    }
    return 0;
}

/* Defaults that depend on the machine or on other settings, and combinations that cannot be. */
static int finish(struct config *config, enum command command, struct err *err)
{
    if ((command & SHARING) && !is_redis(config->store))
        return err_set(
            err, ERR_INVALID,
            "--store: only a Redis (redis://host:port/db) can be shared; one process tree "
            "owns a SQLite store, and assay server is all in one");
    if (command == COMMAND_MONITOR && config->monitor_listen &&
        strcmp(config->monitor_listen, "none") == 0)
        return err_set(err, ERR_INVALID, "--monitor-listen: a monitor has to listen somewhere");
    if (!monitor_prefix_is_valid(config->monitor_prefix))
        return err_set(err, ERR_INVALID, "--monitor-prefix: '%.60s' is no path as in /assay",
                       config->monitor_prefix);
    if (!config->monitor_listen) {
        size_t host_len = (size_t)(strrchr(config->listen, ':') - config->listen);
        if (host_len + sizeof(":5555") > sizeof(config->monitor_listen_default))
            return err_set(err, ERR_INVALID, "--listen: the host is too long");
        memcpy(config->monitor_listen_default, config->listen, host_len);
        memcpy(config->monitor_listen_default + host_len, ":5555", sizeof(":5555"));
        config->monitor_listen = config->monitor_listen_default;
    }
    bool any_port = strcmp(strrchr(config->listen, ':'), ":0") == 0;
    if ((command & COMMAND_SERVER) && !any_port &&
        strcmp(config->listen, config->monitor_listen) == 0)
        return err_set(err, ERR_INVALID, "--listen and --monitor-listen cannot both be %.60s",
                       config->listen);
    return 0;
}

int config_parse(struct config *config, enum command command, int argc, char *argv[],
                 char *const variables[], struct err *err)
{
    *config = (struct config){ 0 };
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    config->workers = processors > 0 ? (unsigned)processors : 1;
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        if (options[i].fallback && parse_value(config, &options[i], options[i].fallback) < 0)
            return err_set(err, ERR_INVALID, "the default of --%s is none", options[i].name);
    if (parse_environment(config, command, variables, err) < 0)
        return -1;
    int rc = parse_flags(config, command, argc, argv, err);
    return rc != 0 ? rc : finish(config, command, err);
}

/* A variable is the first option's of that name; another one is only a flag. */
static bool has_variable(const struct option *o)
{
    for (const struct option *other = options; other < o; other++)
        if (strcmp(other->name, o->name) == 0)
            return false;
    return true;
}

/* Which of a command's forms has the option, if not all: "listen: ". */
static const char *form_of(const struct option *o, enum command command)
{
    unsigned forms = o->commands & command;
    return forms == (unsigned)command     ? ""
           : forms == COMMAND_HOOK_LISTEN ? "listen: "
           : forms == COMMAND_HOOK_RESEND ? "resend: "
           : forms == COMMAND_HOOK_TEST   ? "test: "
                                          : "";
}

void config_help(enum command command, struct buf *out)
{
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        const struct option *o = &options[i];
        if (!(o->commands & command))
            continue;
        char variable[64];
        variable_name(o->name, variable);
        if (o->environment_only)
            (void)buf_addf(out, "  %s\n  %20s %s%s\n  %20s ", variable, "", form_of(o, command),
                           o->help, "");
        else
            (void)buf_addf(out, "  --%-18s %s%s\n  %20s %s%s", o->name, form_of(o, command),
                           o->help, "", has_variable(o) ? variable : "",
                           has_variable(o) ? ", " : "");
        (void)buf_addf(out, "default: %s\n", o->shown_default ? o->shown_default : o->fallback);
    }
}

/* ---- shown --------------------------------------------------------------------------------- */

static bool is_secret(const struct option *o)
{
    return strcmp(o->name, "api-key") == 0 || strcmp(o->name, "webhook-secret") == 0 ||
           strcmp(o->name, "store-password") == 0;
}

/* In the largest unit that leaves no rest: 2h. */
static void show_duration(uint64_t ms, struct buf *out)
{
    const struct unit *best = time_units;
    for (const struct unit *u = time_units; u->name; u++)
        if (ms > 0 && ms % u->factor == 0)
            best = u;
    (void)buf_addf(out, "%llu%s", (unsigned long long)(ms / best->factor), best->name);
}

static void show_schedule(const struct config *config, struct buf *out)
{
    if (config->webhook_n_delays == 0)
        (void)buf_adds(out, "5s,5min,30min,2h,5h,10h,14h,20h,1d");
    for (unsigned i = 0; i < config->webhook_n_delays; i++) {
        (void)buf_adds(out, i > 0 ? "," : "");
        show_duration((uint64_t)config->webhook_delays_ms[i], out);
    }
}

/* The word at index of "a|b|c". */
static void show_word(const char *words, unsigned index, struct buf *out)
{
    for (; index > 0; index--)
        words += strcspn(words, "|") + 1;
    (void)buf_add(out, words, strcspn(words, "|"));
}

static void show_value(const struct config *config, const struct option *o, struct buf *out)
{
    const void *field = (const char *)config + o->offset;
    uint64_t amount = 0;
    unsigned word;
    switch (o->kind) {
    case TEXT:
    case PATH:
    case ADDRESS:
    case ADDRESS_OR_NONE:
    case NETWORKS:
        (void)buf_adds(out, *(const char *const *)field ? *(const char *const *)field : "");
        break;
    case STORE: {
        char shown[300];
        (void)buf_adds(out, redis_url_shown(config->store, shown, sizeof(shown)));
        break;
    }
    case NUMBER:
    case BYTES:
    case DURATION:
        memcpy(&amount, field, o->size); /* little-endian: the smaller field is the lower half */
        if (o->kind == DURATION)
            show_duration(amount, out);
        else
            (void)buf_addf(out, "%llu", (unsigned long long)amount);
        break;
    case SCHEDULE:
        show_schedule(config, out);
        break;
    case WORD:
        memcpy(&word, field, sizeof(word));
        show_word(o->words, word, out);
        break;
    case SWITCH:
        (void)buf_adds(out, *(const bool *)field ? "on" : "off");
        break;
    }
}

void config_show(const struct config *config, enum command command, struct buf *out)
{
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        const struct option *o = &options[i];
        char variable[64];
        if (!(o->commands & command) || is_secret(o))
            continue;
        variable_name(o->name, variable);
        (void)buf_addf(out, "%s=", variable);
        show_value(config, o, out);
        (void)buf_adds(out, "\n");
    }
}

static const char *default_of(const struct option *o)
{
    return o->shown_default ? o->shown_default : o->fallback;
}

/* Those of the commands that serve; check's own are in its help. */
void config_table(struct buf *out)
{
    (void)buf_adds(out, "| flag | variable | default | meaning |\n| --- | --- | --- | --- |\n");
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        const struct option *o = &options[i];
        char variable[64];
        if (!(o->commands & SERVING))
            continue;
        variable_name(o->name, variable);
        (void)buf_addf(out, o->environment_only ? "| |" : "| `--%s` |", o->name);
        (void)buf_addf(out, o->shown_default ? " `%s` | %s | %s |\n" : " `%s` | `%s` | %s |\n",
                       variable, default_of(o), o->help);
    }
}

/* Hyphens are escaped, so that they can be copied from the page. */
static void add_roff(struct buf *out, const char *text)
{
    if (*text == '.' || *text == '\'')
        (void)buf_adds(out, "\\&");
    for (; *text; text++) {
        if (*text == '-' || *text == '\\')
            (void)buf_adds(out, "\\");
        (void)buf_add(out, text, 1);
    }
}

void config_man(struct buf *out)
{
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        const struct option *o = &options[i];
        char variable[64];
        variable_name(o->name, variable);
        (void)buf_adds(out, ".TP\n.B ");
        if (!o->environment_only) {
            (void)buf_adds(out, "\\-\\-");
            add_roff(out, o->name);
        }
        if (has_variable(o))
            (void)buf_addf(out, "%s%s", o->environment_only ? "" : ", ", variable);
        (void)buf_adds(out, "\n");
        add_roff(out, o->help);
        (void)buf_adds(out, "\nDefault: ");
        add_roff(out, default_of(o));
        (void)buf_adds(out, "\n");
    }
}
