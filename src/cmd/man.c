#include "cmd/man.h"

#include "base/version.h"
#include "cmd/config.h"

void man_begin(struct buf *out)
{
    (void)buf_adds(
        out, ".TH ASSAY 1 \"\" \"assay " ASSAY_VERSION "\" \"User Commands\"\n"
             ".SH NAME\nassay \\- validates image assets\n"
             ".SH SYNOPSIS\n.B assay\n.I command\n.RI [ options ]\n"
             ".SH DESCRIPTION\n"
             "Accepts references to images over HTTP, validates every byte of them in jailed "
             "processes, and tells the clients' webhooks. What was accepted survives a loss of "
             "power.\n"
             ".SH COMMANDS\n");
}

void man_command(struct buf *out, const char *name, const char *does)
{
    (void)buf_addf(out, ".TP\n.B %s\n%s\n", name, does);
}

void man_end(struct buf *out)
{
    (void)buf_adds(
        out, ".SH OPTIONS\n"
             "Each has an environment variable; flags win. What is unknown or cannot be parsed "
             "stops the start. Which command has which is told by\n.BR \"assay help\" \" "
             "\"\\fIcommand\\fR.\n");
    config_man(out);
    (void)buf_adds(
        out, ".SH EXIT STATUS\n"
             "0 after a drain, or done; 1 a fault while running; 2 usage; 78 cannot start "
             "safely.\n"
             ".SH SIGNALS\n"
             "SIGTERM and SIGINT drain within 25 s: nothing is accepted any more, what is under "
             "way ends or is given back. A second one ends at once.\n"
             ".SH FILES\n.TP\n.I data/assay.db\nThe store, with its \\-wal, \\-shm and .lock "
             "beside it. Copy it with\n.BR \"assay backup\" .\n"
             ".SH SEE ALSO\n.BR systemd.service (5),\n.BR promtool (1)\n");
}
