/* assay worker: validates assets of a shared store, delivers their webhooks, and forgets old ones. */
#include "cmd/commands.h"
#include "cmd/parts.h"

int cmd_worker(int argc, char *argv[])
{
    return parts_main("worker", COMMAND_WORKER, PART_WORKERS | PART_SENDER | PART_HEALTH, argc,
                      argv);
}
