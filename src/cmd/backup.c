/* assay backup FILE: copies a SQLite store while it is in use. The copy is a store like any other. Of a Redis,
 * which makes its own copies, it says how, and ends as for what cannot be done: 2. */
#include <stdio.h>

#include "base/cleanup.h"
#include "cmd/commands.h"
#include "cmd/config.h"
#include "cmd/secrets.h"
#include "store/store.h"

extern char **environ;

DEFINE_FREEP(struct store *, store_close)
DEFINE_FREEP(char *, secret_free)

int cmd_backup(int argc, char *argv[])
{
    struct config config;
    struct err err;
    CLEANUP(store_closep) struct store *store = NULL;
    CLEANUP(secret_freep) char *password = NULL;
    if (config_parse(&config, COMMAND_BACKUP, argc, argv, environ, &err) != 0 ||
        secret_store(&config, &password, &err) < 0) {
        (void)fprintf(stderr, "assay backup: %s\n", err.msg);
        return EXIT_USAGE;
    }
    if (config.n_arguments != 1) {
        (void)fprintf(stderr, "assay backup: name the one file to write (see assay help backup)\n");
        return EXIT_USAGE;
    }
    if (store_visit(config.store, password, &store, &err) < 0 ||
        store_backup(store, config.arguments[0], &err) < 0) {
        (void)fprintf(stderr, "assay backup: %s\n", err.msg);
        return err.code == ERR_INVALID || err.code == ERR_UNSUPPORTED ? EXIT_USAGE : EXIT_FAULT;
    }
    return EXIT_OK;
}
