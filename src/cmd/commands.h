#ifndef CMD_COMMANDS_H
#define CMD_COMMANDS_H
/* commands: one function a subcommand, one file each. argv begins behind the command's name; the result
 * is the exit code. */

enum exit_code {
    EXIT_OK = 0,    /* after a drain, or done */
    EXIT_FAULT = 1, /* a fault while running */
    EXIT_USAGE = 2, /* the call makes no sense */
    EXIT_NO_START =
        78, /* cannot start safely: configuration, sandbox, store (sysexits' EX_CONFIG) */
};

int cmd_server(int argc, char *argv[]);
int cmd_api(int argc, char *argv[]);
int cmd_worker(int argc, char *argv[]);
int cmd_monitor(int argc, char *argv[]);
int cmd_check(int argc, char *argv[]);
int cmd_health(int argc, char *argv[]);
int cmd_webhook(int argc, char *argv[]);
int cmd_check_config(int argc, char *argv[]);
int cmd_backup(int argc, char *argv[]);
int cmd_verify_store(int argc, char *argv[]);
#endif
