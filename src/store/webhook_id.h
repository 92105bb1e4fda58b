#ifndef STORE_WEBHOOK_ID_H
#define STORE_WEBHOOK_ID_H
/* webhook_id: the name of an event, {asset id}_{run}_{state}, the same in every engine. */
#include <stdbool.h>

#include "store/store.h"

void webhook_id_write(char out[WEBHOOK_ID_LEN + 1], const char *asset_id, unsigned run,
                      enum notify notify);
/* false: text is not such a name. Whether there is an asset of that id is another question. */
bool webhook_id_read(const char *text, char ret_asset_id[ASSET_ID_LEN + 1], unsigned *ret_run,
                     enum notify *ret_notify);
#endif
