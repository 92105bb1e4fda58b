#include "store/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

static int sync_path(const char *path, int flags, struct err *err)
{
    CLEANUP(closep) int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno, "open '%s'", path);
    if (fsync(fd) < 0 && errno != EINVAL) /* EINVAL: a file system that has no such thing */
        return err_errno(err, errno, "sync '%s'", path);
    return 0;
}

int durable_sync_parent(const char *path, struct err *err)
{
    CLEANUP(freep) char *folder = strdup(path);
    if (!folder)
        return err_set(err, ERR_NOMEM, "out of memory");
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0';
    return sync_path(slash ? folder : ".", O_RDONLY | O_DIRECTORY, err);
}

int durable_rename(const char *part, const char *path, struct err *err)
{
    if (sync_path(part, O_RDWR, err) < 0)
        return -1;
    if (rename(part, path) < 0)
        return err_errno(err, errno, "rename to '%s'", path);
    return durable_sync_parent(path, err);
}
