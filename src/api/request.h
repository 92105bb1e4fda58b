#ifndef API_REQUEST_H
#define API_REQUEST_H
/* request: the body of POST /assets/image.
 *
 *     { "assetPath": { "location": "local", "path": "./images/foo" },
 *       "notifications": { "onStart": "http://…", "onSuccess": "http://…", "onFailure": "http://…" } }
 *
 * Refused is only what is no JSON (RFC 8259, strictly) or not of this shape; what the path or a URL
 * means is judged later. */
#include <stddef.h>

#include "base/buf.h"
#include "store/store.h"

enum { REQUEST_MAX_DEPTH = 16 };

struct asset_request {
    void *json; /* the parsed document; the strings below point into it */
    const char *path;
    const char *urls[NOTIFY_COUNT]; /* NULL: absent or null */
};

enum request_result {
    REQUEST_OK,
    REQUEST_NOT_JSON,    /* 400 */
    REQUEST_WRONG_SHAPE, /* 422 */
    REQUEST_NO_MEMORY,
};

/* Read body. detail becomes a sentence for the client; faults, with REQUEST_WRONG_SHAPE, a JSON array of
 * {"pointer","detail"} (RFC 6901 pointers), every fault there is. Release after REQUEST_OK. */
enum request_result asset_request_parse(const char *body, size_t len, struct asset_request *ret,
                                        struct buf *detail, struct buf *faults);
void asset_request_release(struct asset_request *request);
#endif
