#ifndef CMD_WEBHOOK_H
#define CMD_WEBHOOK_H
/* webhook: the parts of `assay webhook …`, one file each. argv begins behind the part's name; the result
 * is the exit code. */

/* test URL: walk the path of a delivery to it, step by step. */
int webhook_test(int argc, char *argv[]);
/* listen: a receiver that shows what comes and whether its signature is good. */
int webhook_listen(int argc, char *argv[]);
/* resend ID | --all-dead: have a running server send events again. */
int webhook_resend(int argc, char *argv[]);
#endif
