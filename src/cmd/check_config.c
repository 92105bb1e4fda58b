/* assay check-config: reads all that server would read before it opens anything, and prints what would
 * hold, as lines that can be an environment file. Exit 0, or 2 and the one line that server would say. */
#include <stdio.h>

#include "base/cleanup.h"
#include "cmd/commands.h"
#include "cmd/config.h"
#include "cmd/secrets.h"

extern char **environ;

DEFINE_FREEP(char *, secret_free)

int cmd_check_config(int argc, char *argv[])
{
    struct config config;
    struct signer *signer = NULL;
    struct http_keys *keys = NULL;
    CLEANUP(secret_freep) char *password = NULL;
    struct err err;
    if (config_parse(&config, COMMAND_SERVER, argc, argv, environ, &err) != 0 ||
        secret_signer(&config, &signer, &err) < 0 || secret_keys(&config, &keys, &err) < 0 ||
        secret_store(&config, &password, &err) < 0) {
        signer_free(signer);
        (void)fprintf(stderr, "assay check-config: %s\n", err.msg);
        return EXIT_USAGE;
    }
    CLEANUP(buf_release) struct buf out;
    buf_init(&out, 64 * 1024);
    config_show(&config, COMMAND_SERVER, &out);
    (void)printf("%s# keys that clients may have: %zu\n# webhooks are signed: %s\n", buf_str(&out),
                 http_keys_count(keys), signer ? "yes" : "no");
    signer_free(signer);
    http_keys_free(keys);
    return fflush(stdout) == 0 ? EXIT_OK : EXIT_FAULT;
}
