#ifndef API_PLAIN_H
#define API_PLAIN_H
/* plain: the body of POST /assets/image as nearly everybody writes it, read in one pass: the members that
 * there are, each once, with strings of printable ASCII without escapes. The JSON library, which reads
 * anything, takes two thirds of the instructions that accepting an asset costs. */
#include <stdbool.h>
#include <stddef.h>

#include "store/store.h"

/* A string of the body; data NULL: none. */
struct plain_string {
    const char *data;
    size_t len;
};

struct plain_request {
    struct plain_string path, urls[NOTIFY_COUNT];
};

/* true: body is such a request, and a sound one. false: nothing is known of it. */
bool plain_read(const char *body, size_t len, struct plain_request *ret);
#endif
