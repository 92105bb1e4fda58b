#include "cmd/check_paths.h"

#include <errno.h>
#include <fts.h>
#include <stdbool.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

struct check_paths {
    char *const *arguments;
    int n, next;    /* the argument that comes next */
    FILE *list;     /* lines of paths (stdin), while there are some; NULL: none */
    FILE *manifest; /* NULL: none */
    size_t line_number;
    FTS *tree; /* the folder being walked; NULL: none */
};

void check_item_free(struct check_item *item)
{
    if (!item)
        return;
    free(item->path);
    free(item->line);
    free(item->why);
    free(item);
}

int check_paths_open(char *const arguments[], int n, const char *manifest,
                     struct check_paths **ret_paths, struct err *err)
{
    struct check_paths *paths = calloc(1, sizeof(*paths));
    if (!paths)
        return err_set(err, ERR_NOMEM, "out of memory");
    paths->arguments = arguments;
    paths->n = n;
    if (manifest) {
        paths->manifest = strcmp(manifest, "-") == 0 ? stdin : fopen(manifest, "re");
        if (!paths->manifest) {
            int errnum = errno;
            check_paths_close(paths);
            return err_errno(err, errnum, "open the manifest '%.100s'", manifest);
        }
    }
    *ret_paths = paths;
    return 0;
}

void check_paths_close(struct check_paths *paths)
{
    if (!paths)
        return;
    if (paths->tree)
        (void)fts_close(paths->tree);
    if (paths->manifest && paths->manifest != stdin)
        (void)fclose(paths->manifest);
    free(paths);
}

/* Takes path and line. */
static int new_item(char *path, char *line, const char *why, struct check_item **ret_item,
                    struct err *err)
{
    struct check_item *item = calloc(1, sizeof(*item));
    if (item && why)
        item->why = strdup(why);
    if (!item || (why && !item->why)) {
        free(path);
        free(line);
        free(item);
        return err_set(err, ERR_NOMEM, "out of memory");
    }
    item->path = path;
    item->line = line;
    *ret_item = item;
    return 1;
}

static int item_of(const char *path, const char *why, struct check_item **ret_item, struct err *err)
{
    char *copy = strdup(path);
    return copy ? new_item(copy, NULL, why, ret_item, err)
                : err_set(err, ERR_NOMEM, "out of memory");
}

/* A line without its end; 1, 0 at the end of file. *ret_line: the caller frees. */
static int read_line(FILE *file, char **ret_line)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t len = getline(&line, &cap, file);
    if (len < 0) {
        free(line);
        return 0;
    }
    while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
        line[--len] = '\0';
    *ret_line = line;
    return 1;
}

/* {"path":"a.jpg"} or, as the API has it, {"assetPath":{"path":"a.jpg"}}. NULL: neither. */
static char *path_of_line(const char *line)
{
    json_t *json = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
    json_t *path = json_object_get(json, "path");
    if (!path)
        path = json_object_get(json_object_get(json, "assetPath"), "path");
    char *copy = json_is_string(path) ? strdup(json_string_value(path)) : NULL;
    json_decref(json);
    return copy;
}

static int next_of_manifest(struct check_paths *paths, struct check_item **ret_item,
                            struct err *err)
{
    char *line;
    do {
        if (!read_line(paths->manifest, &line))
            return 0;
        paths->line_number++;
    } while (line[strspn(line, " \t")] == '\0' && (free(line), true));
    int rc = new_item(path_of_line(line), line, NULL, ret_item, err);
    if (rc == 1)
        (*ret_item)->line_number = paths->line_number;
    return rc;
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

/* 1: an item; 0: the tree has no more. Pipes, sockets and devices are named too: they are no images. */
static int next_of_tree(struct check_paths *paths, struct check_item **ret_item, struct err *err)
{
    for (FTSENT *e; (e = fts_read(paths->tree));) {
        switch (e->fts_info) {
        case FTS_D:
        case FTS_DP:
        case FTS_DOT:
            break;
        case FTS_DC:
            return item_of(e->fts_path, "this folder contains itself", ret_item, err);
        case FTS_DNR:
        case FTS_ERR:
        case FTS_NS:
            return item_of(e->fts_path, strerror(e->fts_errno), ret_item, err);
        default:
            return item_of(e->fts_path, NULL, ret_item, err);
        }
    }
    (void)fts_close(paths->tree);
    paths->tree = NULL;
    return 0;
}

int check_paths_next(struct check_paths *paths, struct check_item **ret_item, struct err *err)
{
    for (;;) {
        if (paths->tree) {
            int rc = next_of_tree(paths, ret_item, err);
            if (rc != 0)
                return rc;
        }
        char *path = NULL;
        if (paths->list && read_line(paths->list, &path)) {
            if (path[0] != '\0')
                return new_item(path, NULL, NULL, ret_item, err);
            free(path);
            continue;
        }
        paths->list = NULL;
        if (paths->next == paths->n)
            return paths->manifest ? next_of_manifest(paths, ret_item, err) : 0;
        char *argument = paths->arguments[paths->next++];
        struct stat st;
        if (strcmp(argument, "-") == 0) {
            paths->list = stdin;
        } else if (stat(argument, &st) == 0 && S_ISDIR(st.st_mode)) {
            char *const roots[] = { argument, NULL };
            paths->tree = fts_open(roots, FTS_LOGICAL | FTS_NOCHDIR | FTS_NOSTAT, by_name);
            if (!paths->tree)
                return item_of(argument, strerror(errno), ret_item, err);
        } else {
            return item_of(argument, NULL, ret_item, err);
        }
    }
}
