/* assay webhook test | listen | resend */
#include "cmd/webhook.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmd/commands.h"

static const struct {
    const char *name;
    int (*run)(int argc, char *argv[]);
} parts[] = {
    { "test", webhook_test },
    { "listen", webhook_listen },
    { "resend", webhook_resend },
};

int cmd_webhook(int argc, char *argv[])
{
    for (size_t i = 0; argc > 0 && i < ARRAY_LEN(parts); i++)
        if (strcmp(parts[i].name, argv[0]) == 0)
            return parts[i].run(argc - 1, argv + 1);
    (void)fprintf(stderr,
                  "assay webhook: it is test URL, listen, or resend ID (see assay help webhook)\n");
    return EXIT_USAGE;
}
