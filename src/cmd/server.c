/* assay server: everything in one process tree.
 *
 *     main thread: signals, housekeeping        HTTP threads (API, monitor)
 *     store thread, checkpoint thread           worker threads ── jailed children
 *     webhook thread                                                                    */
#include "cmd/commands.h"
#include "cmd/parts.h"

int cmd_server(int argc, char *argv[])
{
    return parts_main("server", COMMAND_SERVER,
                      PART_API | PART_WORKERS | PART_SENDER | PART_MONITOR, argc, argv);
}
