#ifndef CMD_PROCESS_TELL_H
#define CMD_PROCESS_TELL_H
/* process_tell: what a process says of itself, to the monitor in it and to the others that share its store. */
#include "cmd/process_metrics.h"
#include "store/store.h"

/* All but number, wanted (-1) and seen_ms (now), which are the store's to say. */
void process_tell(const struct process_parts *parts, struct store_process *ret);
#endif
