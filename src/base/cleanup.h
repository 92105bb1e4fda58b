#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H
/* cleanup: scope-bound ownership. CLEANUP(fn) frees a variable on every way out of its scope,
 * TAKE(p) hands its value over and leaves NULL behind. */
#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(fn) __attribute__((cleanup(fn)))
#define TAKE(p)                                                                                    \
    __extension__({                                                                                \
        __typeof__(p) taken_ = (p);                                                                \
        (p) = NULL;                                                                                \
        taken_;                                                                                    \
    })
#define TAKE_FD(fd)                                                                                \
    __extension__({                                                                                \
        int taken_ = (fd);                                                                         \
        (fd) = -1;                                                                                 \
        taken_;                                                                                    \
    })
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Define static foo_freep(), which CLEANUP() wants, from foo_free(). */
#define DEFINE_FREEP(type, fn)                                                                     \
    static inline void fn##p(type *p)                                                              \
    {                                                                                              \
        if (*p)                                                                                    \
            fn(*p);                                                                                \
    }

static inline void freep(void *p)
{
    free(*(void **)p);
}

static inline void closep(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}
#endif
