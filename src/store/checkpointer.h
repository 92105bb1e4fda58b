#ifndef STORE_CHECKPOINTER_H
#define STORE_CHECKPOINTER_H
/* checkpointer: the thread that carries SQLite's write-ahead log over into the database, on its own
 * connection, so that commits need not wait for it. */
#include "base/err.h"

struct checkpointer;

int checkpointer_start(const char *path, struct checkpointer **ret, struct err *err);
/* The log now has so many pages. The writer tells after each commit. */
void checkpointer_tell(struct checkpointer *c, int wal_pages);
/* Between these the thread does nothing, so that the writer can do it. */
void checkpointer_pause(struct checkpointer *c);
void checkpointer_resume(struct checkpointer *c);
/* NULL is fine. */
void checkpointer_stop(struct checkpointer *c);
#endif
