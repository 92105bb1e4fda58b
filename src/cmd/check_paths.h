#ifndef CMD_CHECK_PATHS_H
#define CMD_CHECK_PATHS_H
/* check_paths: what `assay check` is to look at, one file after the other: the files given, those of
 * folders (recursively, by name), those listed on stdin, or the lines of a manifest. */
#include <stdio.h>

#include "base/err.h"

struct check_paths;

/* One file to look at; check_item_free(). */
struct check_item {
    char *path; /* as given. NULL: this line of the manifest names none */
    char *line; /* of the manifest; NULL: there is none */
    size_t line_number;
    char *why; /* it cannot be opened, that is known already; NULL: to be tried */
};
void check_item_free(struct check_item *item);

/* arguments are borrowed. manifest: NULL, a path, or "-". ERR_…: the manifest cannot be opened. */
int check_paths_open(char *const arguments[], int n, const char *manifest,
                     struct check_paths **ret_paths, struct err *err);
void check_paths_close(struct check_paths *paths);
/* The next one. 1: *ret_item; 0: that was all; -1: no memory. */
int check_paths_next(struct check_paths *paths, struct check_item **ret_item, struct err *err);
#endif
