#ifndef VALIDATE_ASSET_FILE_H
#define VALIDATE_ASSET_FILE_H
/* asset_file: opens the file that a client's path names: beneath the root, never above, and nothing
 * that could block or be anything but a regular file. The kernel decides (openat2, RESOLVE_BENEATH);
 * where it cannot, a stricter walk, component by component. */
#include <stdint.h>

#include "base/err.h"

struct asset_root;

/* Open the folder once. ERR_…: no such folder. */
int asset_root_open(const char *path, struct asset_root **ret_root, struct err *err);
void asset_root_close(struct asset_root *root);
/* Open path beneath root for reading. 1: *ret_fd (the caller closes) and *ret_size are set.
 * 0: not reachable, *err says why for the log (absent, outside, unreadable, not a file).
 * -1: a fault (descriptors or memory ran out, I/O error): no verdict, try again later. */
int asset_root_file(const struct asset_root *root, const char *path, int *ret_fd,
                    uint64_t *ret_size, struct err *err);
#endif
