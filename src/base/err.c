#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
    if (!err)
        return -1;
    err->code = code;
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(err->msg, sizeof(err->msg), fmt, args);
    va_end(args);
    return -1;
}

int err_add(struct err *err, const char *fmt, ...)
{
    if (!err)
        return -1;
    char context[sizeof(err->msg)];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(context, sizeof(context), fmt, args);
    va_end(args);

    size_t used = strlen(context), room = sizeof(err->msg) - 1;
    if (used > room - 2)
        used = room - 2;
    size_t rest = strnlen(err->msg, room - used - 2);
    memmove(err->msg + used + 2, err->msg, rest);
    memcpy(err->msg, context, used);
    memcpy(err->msg + used, ": ", 2);
    err->msg[used + 2 + rest] = '\0';
    return -1;
}

static enum err_code code_of(int errnum)
{
    switch (errnum) {
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case EAGAIN:
        return ERR_NOMEM;
    case ENOSPC:
    case EDQUOT:
        return ERR_FULL;
    case EACCES:
    case EPERM:
        return ERR_DENIED;
    case ENOENT:
    case ENOTDIR:
        return ERR_ABSENT;
    case EINVAL:
        return ERR_INVALID;
    case EBUSY:
    case EADDRINUSE:
        return ERR_BUSY;
    case ETIMEDOUT:
        return ERR_TIMEOUT;
    case ENOSYS:
    case EOPNOTSUPP:
        return ERR_UNSUPPORTED;
    default:
        return ERR_IO;
    }
}

int err_errno(struct err *err, int errnum, const char *fmt, ...)
{
    if (!err)
        return -1;
    char text[sizeof(err->msg)];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return err_set(err, code_of(errnum), "%s: %s", text, strerror(errnum));
}
