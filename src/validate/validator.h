#ifndef VALIDATE_VALIDATOR_H
#define VALIDATE_VALIDATOR_H
/* validator: one per kind of media; today images. A pure function from bytes to verdict: no file,
 * socket, clock or global. It runs in the jail. */
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "validate/verdict.h"

struct limits {
    uint32_t max_width, max_height; /* pixels */
    uint64_t max_bytes;
};

/* What a validator looks at. When the file is over limits.max_bytes only its beginning is there. */
struct media {
    const uint8_t *data;
    size_t len;
    uint64_t file_len;   /* len of the whole file; > len: look for format and size only */
    const uint8_t *tail; /* the last tail_len bytes of the file (formats known by a footer) */
    size_t tail_len;     /* at most 32 */
};

struct validator {
    const char *kind; /* "image" */
    /* Judge all of media; add every finding to *verdict (initialised, bytes set), not only the first.
     * 0: the verdict is complete, valid or not; -1: we could not tell (ERR_NOMEM). */
    int (*check)(const struct media *media, const struct limits *limits, struct verdict *verdict,
                 struct err *err);
};

extern const struct validator validator_image; /* validate/image.c */
#endif
