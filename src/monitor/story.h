#ifndef MONITOR_STORY_H
#define MONITOR_STORY_H
/* story: what the report of a finished asset says, as the worker wrote it (worker/report.h). */
#include <jansson.h>

#include "monitor/html.h"

/* What is needed of {"findings":[…],"image":{…}}. Zeroed: nothing is known. */
struct story {
    json_t *json;     /* owned; NULL: there is no report, or none that can be read */
    json_t *findings; /* array, or NULL */
    json_t *image;    /* object, or NULL */
};
void story_read(const struct asset *asset, struct story *ret);
void story_release(struct story *story);

/* The image's size in bytes, or -1; its sha256 in hexadecimal, or NULL. */
int64_t story_bytes(const struct story *story);
const char *story_sha256(const struct story *story);
/* Whether the file itself may be shown: it passed, and we know exactly which bytes did. */
bool story_has_preview(const struct asset *asset, const struct story *story);

/* {"asset":["is empty"],"onStart":["is not a valid URL"]} as a sentence. */
void story_errors(struct page *p, const char *errors);
#endif
