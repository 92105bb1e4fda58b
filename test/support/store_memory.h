#ifndef SUPPORT_STORE_MEMORY_H
#define SUPPORT_STORE_MEMORY_H
/* store_memory: the store as plain as it can be, in arrays that are searched from end to end. It says
 * what the others must do: test/contract runs the same tests over it, and compares. Its "disk" outlives
 * the store that is opened on it. Runs out of memory with abort(). */
#include "store/store.h"

struct memory_disk;

struct memory_disk *memory_disk_new(void);
void memory_disk_free(struct memory_disk *disk);
/* Borrows disk until store_close(). */
struct store *store_memory_new(struct memory_disk *disk, const struct store_config *config);
#endif
