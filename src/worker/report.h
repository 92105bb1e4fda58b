#ifndef WORKER_REPORT_H
#define WORKER_REPORT_H
/* report: what clients are told of a verdict. errors is the object of the webhook and of GET
 * ({"asset":["is not a jpeg"],"onStart":["is not a valid URL"]}); report is what GET shows besides it:
 * {"findings":[…],"image":{…}}. */
#include <stdint.h>

#include "base/buf.h"
#include "store/store.h"
#include "validate/validator.h"

/* Append both for a verdict on an asset whose URLs were found to be url_states. ret_codes: bit n is set
 * for an error with code n; 0: the asset is valid and errors stays empty. */
void report_write(const struct verdict *verdict,
                  const enum url_state url_states[static NOTIFY_COUNT], const struct limits *limits,
                  struct buf *errors, struct buf *report, uint32_t *ret_codes);
/* The sentences of the errors about the file alone, as a JSON array, in the order of their codes. */
void report_asset_errors(const struct verdict *verdict, const struct limits *limits,
                         struct buf *out);
#endif
