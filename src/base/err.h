#ifndef BASE_ERR_H
#define BASE_ERR_H
/* err: why a call failed. The code is for the caller to branch on, the text for the reader of the
 * log. A call that can fail takes a struct err last and returns 0, or -1 with it filled in. */

enum err_code {
    ERR_NONE,
    ERR_NOMEM,   /* memory, descriptors or threads ran out: worth another try later */
    ERR_IO,      /* the disk, network or kernel said no */
    ERR_FULL,    /* no space left on the device */
    ERR_INVALID, /* what was asked for makes no sense */
    ERR_DENIED,  /* a policy or permission refused it */
    ERR_ABSENT,  /* there is no such thing */
    ERR_BUSY,    /* somebody else has it */
    ERR_TIMEOUT,
    ERR_UNSUPPORTED, /* this kernel or build cannot */
};

struct err {
    enum err_code code;
    char msg[256];
};

/* Fill *err in; both return -1, so that a failing function can end with one of them. err may be
 * NULL. err_add() puts "context: " in front of the text and keeps the code. */
int err_set(struct err *err, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int err_add(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* err_set() with the code that fits errnum and ": strerror" behind the text. */
int err_errno(struct err *err, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
#endif
