#include "validate/asset_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

enum { TRIES = 8 };

/* How a file is opened at last. NONBLOCK: neither a FIFO nor a lease may hold us up; NOCTTY: a terminal
 * must not become ours. */
static const int READ_FLAGS = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
static const int LOOK_FLAGS = O_PATH | O_CLOEXEC;

struct asset_root {
    int fd;      /* O_PATH */
    char *given; /* the path as given, without slashes at its end; NULL: it was a relative one */
    char *real;  /* the same with links resolved; "" for / */
};

void asset_root_close(struct asset_root *root)
{
    if (!root)
        return;
    if (root->fd >= 0)
        (void)close(root->fd);
    free(root->given);
    free(root->real);
    free(root);
}
DEFINE_FREEP(struct asset_root *, asset_root_close)

static void cut_slashes(char *path)
{
    size_t n = strlen(path);

    while (n > 0 && path[n - 1] == '/')
        path[--n] = '\0';
}

int asset_root_open(const char *path, struct asset_root **ret_root, struct err *err)
{
    CLEANUP(asset_root_closep) struct asset_root *root = calloc(1, sizeof(*root));

    if (!root)
        return err_set(err, ERR_NOMEM, "out of memory");
    root->fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root->fd < 0)
        return err_errno(err, errno, "open the root '%s'", path);
    root->real = realpath(path, NULL);
    if (!root->real)
        return err_errno(err, errno, "resolve the root '%s'", path);
    cut_slashes(root->real);
    if (path[0] == '/') {
        root->given = strdup(path);
        if (!root->given)
            return err_set(err, ERR_NOMEM, "out of memory");
        cut_slashes(root->given);
    }
    *ret_root = TAKE(root);
    return 0;
}

/* What is left of an absolute path behind the root's own path, or NULL. Only the text counts: whatever
 * is left is opened beneath the root like any other path. */
static const char *behind(const char *root, const char *path)
{
    size_t n;

    if (!root)
        return NULL;
    n = strlen(root);
    if (strncmp(path, root, n) != 0 || path[n] != '/')
        return NULL;
    path += n;
    return path + strspn(path, "/");
}

static const char *relative_path(const struct asset_root *root, const char *path)
{
    const char *rest;

    if (path[0] != '/')
        return path;
    rest = behind(root->real, path);
    return rest ? rest : behind(root->given, path);
}

static int open_by_kernel(const struct asset_root *root, const char *path, int flags)
{
    const struct open_how how = { .flags = (uint64_t)flags,
                                  .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
    long fd = -1;

    /* EAGAIN: a rename or mount elsewhere got in the way of ".." being safe. */
    for (int i = 0; i < TRIES; i++) {
        fd = syscall(SYS_openat2, root->fd, path, &how, sizeof(how));
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
            break;
    }
    return (int)fd;
}

/* Where there is no openat2: one component after the other, refusing every link and every "..". */
static int open_by_walk(const struct asset_root *root, const char *path, int flags)
{
    char name[NAME_MAX + 1];
    CLEANUP(closep) int dir = -1;
    int at = root->fd;
    struct stat st;

    for (;;) {
        size_t n = strcspn(path, "/");
        const char *next = path + n + strspn(path + n, "/");
        bool is_last = path[n] == '\0';
        int fd;
        if (n == 0 || n > NAME_MAX) {
            errno = n == 0 ? ENOENT : ENAMETOOLONG;
            return -1;
        }
        memcpy(name, path, n);
        name[n] = '\0';
        if (strcmp(name, "..") == 0) {
            errno = EXDEV;
            return -1;
        }
        fd = openat(at, name, (is_last ? flags : LOOK_FLAGS) | O_NOFOLLOW);
        if (fd < 0 || is_last)
            return fd;
        closep(&dir);
        at = dir = fd;
        if (fstat(fd, &st) < 0)
            return -1;
        if (!S_ISDIR(st.st_mode)) {
            errno = S_ISLNK(st.st_mode) ? ELOOP : ENOTDIR;
            return -1;
        }
        path = *next ? next : "."; /* "a/": a itself, as a folder */
    }
}

static int open_beneath(const struct asset_root *root, const char *path, int flags)
{
    int fd = open_by_kernel(root, path, flags);

    /* EPERM: the answer of a container's filter that does not know the call. */
    if (fd < 0 && (errno == ENOSYS || errno == EPERM))
        fd = open_by_walk(root, path, flags);
    return fd;
}

/* 0: the path is the trouble; -1: we are, or the disk. */
static int refuse(int errnum, struct err *err)
{
    switch (errnum) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
    case EINVAL: /* a name that this file system cannot have */
    case EILSEQ:
        (void)err_set(err, ERR_ABSENT, "absent: %s", strerror(errnum));
        return 0;
    case EXDEV:
    case ELOOP:
        (void)err_set(err, ERR_DENIED, "outside: %s", strerror(errnum));
        return 0;
    case EACCES:
    case EPERM:
        (void)err_set(err, ERR_DENIED, "unreadable: %s", strerror(errnum));
        return 0;
    case EISDIR:
    case ENXIO:
    case ENODEV:
        (void)err_set(err, ERR_INVALID, "not a file: %s", strerror(errnum));
        return 0;
    default:
        return err_errno(err, errnum, "open");
    }
}

/* 1: a regular file, *ret_size is set. 0, -1: as asset_root_file(). */
static int require_file(int fd, uint64_t *ret_size, struct err *err)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return err_errno(err, errno, "fstat");
    if (S_ISLNK(st.st_mode)) /* by the walk only: the kernel follows those that stay beneath */
        return refuse(ELOOP, err);
    if (!S_ISREG(st.st_mode)) {
        (void)err_set(err, ERR_INVALID, "not a file: a %s",
                      S_ISDIR(st.st_mode)    ? "folder"
                      : S_ISFIFO(st.st_mode) ? "pipe"
                      : S_ISSOCK(st.st_mode) ? "socket"
                                             : "device");
        return 0;
    }
    *ret_size = st.st_size > 0 ? (uint64_t)st.st_size : 0;
    return 1;
}

int asset_root_file(const struct asset_root *root, const char *path, int *ret_fd,
                    uint64_t *ret_size, struct err *err)
{
    CLEANUP(closep) int look = -1;
    CLEANUP(closep) int fd = -1;
    uint64_t size;
    int r;

    path = relative_path(root, path);
    if (!path) {
        (void)err_set(err, ERR_DENIED, "outside: an absolute path that is not the root's");
        return 0;
    }
    /* Looked at before it is opened: to open a device or a pipe can already do something. */
    look = open_beneath(root, path, LOOK_FLAGS);
    if (look < 0)
        return refuse(errno, err);
    r = require_file(look, &size, err);
    if (r <= 0)
        return r;
    fd = open_beneath(root, path, READ_FLAGS);
    if (fd < 0)
        return refuse(errno, err);
    r = require_file(fd, &size, err); /* again: it may have been exchanged meanwhile */
    if (r <= 0)
        return r;
    *ret_fd = TAKE_FD(fd);
    *ret_size = size;
    return 1;
}
