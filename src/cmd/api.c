/* assay api: accepts assets into a store that others share. */
#include "cmd/commands.h"
#include "cmd/parts.h"

int cmd_api(int argc, char *argv[])
{
    return parts_main("api", COMMAND_API, PART_API, argc, argv);
}
