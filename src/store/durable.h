#ifndef STORE_DURABLE_H
#define STORE_DURABLE_H
/* durable: names of files that outlast a power cut. */
#include "base/err.h"

/* Sync the folder that path is in: what was made, renamed or removed there lasts. */
int durable_sync_parent(const char *path, struct err *err);
/* Sync the file part, and only then give it the name path, durably. */
int durable_rename(const char *part, const char *path, struct err *err);
#endif
