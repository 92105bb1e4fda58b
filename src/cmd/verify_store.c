/* assay verify-store: has a store prove that all of it adds up, also while it is in use. One line for each
 * fact. Exit 0: it is sound; 1: it is not, or could not be read. */
#include <stdio.h>

#include "base/cleanup.h"
#include "cmd/commands.h"
#include "cmd/config.h"
#include "cmd/secrets.h"
#include "store/store.h"

extern char **environ;

DEFINE_FREEP(struct store *, store_close)
DEFINE_FREEP(char *, secret_free)

int cmd_verify_store(int argc, char *argv[])
{
    struct config config;
    struct err err;
    CLEANUP(store_closep) struct store *store = NULL;
    CLEANUP(secret_freep) char *password = NULL;
    CLEANUP(buf_release) struct buf report;
    buf_init(&report, 1 << 20);
    if (config_parse(&config, COMMAND_VERIFY, argc, argv, environ, &err) != 0 ||
        secret_store(&config, &password, &err) < 0) {
        (void)fprintf(stderr, "assay verify-store: %s\n", err.msg);
        return EXIT_USAGE;
    }
    int sound = store_visit(config.store, password, &store, &err);
    if (sound == 0)
        sound = store_verify(store, &report, &err);
    (void)printf("%s", buf_str(&report));
    if (sound < 0) {
        (void)fprintf(stderr, "assay verify-store: %s\n", err.msg);
        return EXIT_FAULT;
    }
    (void)printf("%s\n", sound ? "sound" : "NOT SOUND");
    return sound ? EXIT_OK : EXIT_FAULT;
}
