/* assay monitor: the pages for people, over a shared store. */
#include "cmd/commands.h"
#include "cmd/parts.h"

int cmd_monitor(int argc, char *argv[])
{
    return parts_main("monitor", COMMAND_MONITOR, PART_MONITOR, argc, argv);
}
