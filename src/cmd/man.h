#ifndef CMD_MAN_H
#define CMD_MAN_H
/* man: the manual page assay(1), in roff; its commands and options come from the tables that drive them. */
#include "base/buf.h"

void man_begin(struct buf *out);
void man_command(struct buf *out, const char *name, const char *does);
void man_end(struct buf *out); /* options, and what else there is to know */
#endif
