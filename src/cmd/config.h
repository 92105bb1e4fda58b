#ifndef CMD_CONFIG_H
#define CMD_CONFIG_H
/* config: every setting of every command. One table (config.c) drives the flags, the environment, the
 * defaults, the ranges and --help. Flags win over the environment; what is unknown, cannot be parsed or
 * makes no sense together stops the start with one line. */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "base/buf.h"
#include "webhook/sender.h"

enum command {
    COMMAND_SERVER = 1 << 0,
    COMMAND_HEALTH = 1 << 1,
    COMMAND_CHECK = 1 << 2,
    COMMAND_API = 1 << 3,
    COMMAND_WORKER = 1 << 4,
    COMMAND_MONITOR = 1 << 5,
    COMMAND_BACKUP = 1 << 6,
    COMMAND_VERIFY = 1 << 7,
    COMMAND_HOOK_TEST = 1 << 8, /* assay webhook … */
    COMMAND_HOOK_LISTEN = 1 << 9,
    COMMAND_HOOK_RESEND = 1 << 10,
    COMMAND_HOOK = COMMAND_HOOK_TEST | COMMAND_HOOK_LISTEN | COMMAND_HOOK_RESEND,
};

struct config {
    const char *listen, *monitor_listen; /* "host:port"; monitor_listen may be "none" */
    const char *monitor_prefix;          /* "" or "/assay" */
    bool monitor_read_only;
    const char *health_listen; /* of worker */
    const char *health_path;   /* of health */
    const char *store, *root;
    int64_t lease_ms; /* of worker */
    unsigned workers;
    uint32_t max_width, max_height; /* pixels */
    uint64_t max_bytes, max_queued;
    int64_t retain_ms;
    const char *webhook_allow, *webhook_deny;
    int64_t webhook_delays_ms[SENDER_MAX_DELAYS];     /* pauses between attempts */
    unsigned webhook_n_delays;                        /* 0: the default schedule */
    const char *webhook_secret, *webhook_secret_file; /* NULL: none; see secrets.h */
    unsigned log_level, log_format;                   /* enum log_level, enum log_format */
    bool sandbox;
    const char *api_key, *api_key_file;               /* likewise */
    const char *store_password, *store_password_file; /* likewise */
    unsigned http_threads, max_connections;
    bool json, quiet, fail_fast; /* of check */
    const char *receiver_listen; /* of webhook listen */
    unsigned receiver_status;
    bool all_dead;        /* of webhook resend */
    const char *manifest; /* of check: a file, "-", or NULL */
    char **arguments;     /* what is no flag, in order; not every command takes some */
    int n_arguments;
    char monitor_listen_default[300];
};

/* Read argv (after the command's name) and environ into *config. 1: --help was asked for.
 * -1: *err is the one line that says what is wrong. Strings are borrowed from argv and environ;
 * argv is put in order (arguments first). */
int config_parse(struct config *config, enum command command, int argc, char *argv[],
                 char *const environ[], struct err *err);
/* The options of command, one a line or two: name, environment variable, default, meaning. */
void config_help(enum command command, struct buf *out);
/* Every setting of command as VARIABLE=value, in the order of the table; secrets are left out. */
void config_show(const struct config *config, enum command command, struct buf *out);
/* The options as a table in Markdown (README.md), or as a list for a man page (roff). */
void config_table(struct buf *out);
void config_man(struct buf *out);
#endif
