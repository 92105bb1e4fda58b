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
    char *text; /* what the strings below point into */
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

/* A JSON array of such objects, for a batch. The array itself may be nested one deeper. */
enum request_result asset_array_parse(const char *body, size_t len, void **ret_array, size_t *ret_n,
                                      struct buf *detail);
/* As asset_request_parse(); never REQUEST_NOT_JSON. Pointers are relative to the element. */
enum request_result asset_array_item(const void *array, size_t i, struct asset_request *ret,
                                     struct buf *detail, struct buf *faults);
/* SHA-256 of the element, however its text was laid out. */
void asset_array_digest(const void *array, size_t i, uint8_t ret_digest[static 32]);
void asset_array_release(void *array); /* NULL is fine */
#endif
