/* assay: validates image assets. This file only finds the command. */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/version.h"
#include "cmd/commands.h"
#include "cmd/config.h"
#include "cmd/man.h"

static const struct {
    const char *name;
    enum command options; /* which rows of the table of options it has; 0: none */
    int (*run)(int argc, char *argv[]);
    const char *does;
} commands[] = {
    { "server", COMMAND_SERVER, cmd_server,
      "everything in one process tree: API, queue, validation, webhooks, monitor page" },
    { "api", COMMAND_API, cmd_api, "only the API; shares --store redis://… with workers" },
    { "worker", COMMAND_WORKER, cmd_worker,
      "only validation and webhooks; as many as you like on one --store redis://…" },
    { "monitor", COMMAND_MONITOR, cmd_monitor, "only the monitor page, over --store redis://…" },
    { "check", COMMAND_CHECK, cmd_check,
      "validates files, folders (recursive), a list on stdin (-) or a manifest; no server" },
    { "check-config", COMMAND_SERVER, cmd_check_config,
      "reads all settings as server would, prints them without secrets, and opens nothing" },
    { "backup", COMMAND_BACKUP, cmd_backup,
      "copies a SQLite store to a new file while it is in use; tells how a Redis is copied" },
    { "verify-store", COMMAND_VERIFY, cmd_verify_store,
      "counts a store anew and proves that all of it adds up, also while it is in use" },
    { "webhook", COMMAND_HOOK, cmd_webhook,
      "test URL: walks the path of a delivery; listen: a receiver that shows what comes; "
      "resend ID: sends an event again" },
    { "health", COMMAND_HEALTH, cmd_health, "asks the running server whether it is ready" },
};

/* For the package and the documents; people need not know: assay help --man, --settings. */
static int help_document(bool man)
{
    CLEANUP(buf_release) struct buf out;
    buf_init(&out, 256 * 1024);
    if (man) {
        man_begin(&out);
        for (size_t i = 0; i < ARRAY_LEN(commands); i++)
            man_command(&out, commands[i].name, commands[i].does);
        man_end(&out);
    } else {
        config_table(&out);
    }
    (void)fputs(buf_str(&out), stdout);
    return fflush(stdout) == 0 ? EXIT_OK : EXIT_FAULT;
}

static int help(const char *name)
{
    if (name && (strcmp(name, "help") == 0 || strcmp(name, "version") == 0))
        name = NULL; /* the list of commands says all there is to say of them */
    bool man = name && strcmp(name, "--man") == 0;
    if (man || (name && strcmp(name, "--settings") == 0))
        return help_document(man);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (!name || strcmp(commands[i].name, name) != 0)
            continue;
        struct buf options;
        buf_init(&options, 64 * 1024);
        config_help(commands[i].options, &options);
        (void)printf(
            "assay %s [options]%s: %s\n\nOptions, each with its environment variable (flags "
            "win):\n%s",
            name,
            commands[i].run == cmd_check     ? " PATH…"
            : commands[i].run == cmd_backup  ? " FILE"
            : commands[i].run == cmd_webhook ? " test URL | listen | resend ID"
                                             : "",
            commands[i].does, buf_str(&options));
        buf_release(&options);
        return EXIT_OK;
    }
    if (name) {
        (void)fprintf(stderr, "assay: '%.60s' is no command (see assay help)\n", name);
        return EXIT_USAGE;
    }
    (void)printf("assay %s: validates image assets\n\nCommands:\n", ASSAY_VERSION);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        (void)printf("  %-14s %s\n", commands[i].name, commands[i].does);
    (void)printf("  %-14s prints the version\n  %-14s prints this, or a command's options\n",
                 "version", "help [command]");
    return EXIT_OK;
}

int main(int argc, char *argv[])
{
    const char *name = argc > 1 ? argv[1] : NULL;
    if (!name) {
        (void)fprintf(stderr, "assay: a command is missing (see assay help)\n");
        return EXIT_USAGE;
    }
    if (strcmp(name, "version") == 0 || strcmp(name, "--version") == 0) {
        (void)printf("assay %s\n", ASSAY_VERSION);
        return EXIT_OK;
    }
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return help(argc > 2 ? argv[2] : NULL);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(commands[i].name, name) != 0)
            continue;
        for (int j = 2; j < argc; j++)
            if (strcmp(argv[j], "--help") == 0 || strcmp(argv[j], "-h") == 0)
                return help(name);
        return commands[i].run(argc - 2, argv + 2);
    }
    return help(name);
}
